"""A client of signature version 2 that was written by hand, as many were: by GET and by POST."""

import base64
import hashlib
import hmac
import urllib.request
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from urllib.parse import quote, urlencode, urlsplit

import pytest

pytestmark = pytest.mark.lab

VERSION = "2010-08-31"


@pytest.fixture(params=[("GET", "HmacSHA1"), ("POST", "HmacSHA256")], ids=["GET", "POST"])
def call(request, cloud):
    method, algorithm = request.param
    settings = cloud.environment
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def run(action, **parameters):
        """The answer as XML, of the version that was asked for."""
        given = {
            **parameters,
            "Action": action,
            "Version": VERSION,
            "AWSAccessKeyId": settings["AWS_ACCESS_KEY_ID"],
            "SignatureVersion": "2",
            "SignatureMethod": algorithm,
            "Timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
        text = "&".join(
            f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(given.items())
        )
        host = urlsplit(cloud.endpoint).netloc
        signed = "\n".join([method, host, "/services/compute", text])
        digest = hashlib.sha1 if algorithm == "HmacSHA1" else hashlib.sha256
        signature = base64.b64encode(
            hmac.new(settings["AWS_SECRET_ACCESS_KEY"].encode(), signed.encode(), digest).digest()
        )
        body = f"{text}&{urlencode({'Signature': signature})}"
        url = f"{cloud.endpoint}/services/compute"
        asked = url + "?" + body if method == "GET" else urllib.request.Request(url, data=body.encode(), method="POST")
        with opener.open(asked, timeout=30) as answer:
            root = ET.fromstring(answer.read())
        namespace = f"{{http://ec2.amazonaws.com/doc/{VERSION}/}}"
        assert root.tag == f"{namespace}{action}Response"
        return lambda name: [element.text for element in root.iter(namespace + name)]

    return run


def test_the_whole_story(call, cloud, nothing_left, wait_until):
    (image, *_) = call("DescribeImages")("imageId")
    (group,) = call("CreateSecurityGroup", GroupName="by-hand", GroupDescription="of 2010")("groupId")
    opened = call(
        "AuthorizeSecurityGroupIngress",
        GroupName="by-hand",
        IpProtocol="tcp",
        FromPort="80",
        ToPort="80",
        CidrIp="0.0.0.0/0",
    )
    assert opened("return") == ["true"]
    run = {"ImageId": image, "MinCount": "1", "MaxCount": "1", "InstanceType": "m1.small", "SecurityGroup.1": "by-hand"}
    (instance,) = call("RunInstances", **run)("instanceId")

    def state():
        return call("DescribeInstances", **{"InstanceId.1": instance})("name")

    assert wait_until(lambda: "running" in state(), 20)
    (address,) = call("AllocateAddress")("publicIp")
    assert call("AssociateAddress", PublicIp=address, InstanceId=instance)("return") == ["true"]
    assert cloud.outside.fetch(address)
    filtered = {"Filter.1.Name": "public-ip", "Filter.1.Value.1": address}
    assert call("DescribeAddresses", **filtered)("instanceId") == [instance]
    assert call("DisassociateAddress", PublicIp=address)("return") == ["true"]
    assert call("ReleaseAddress", PublicIp=address)("return") == ["true"]
    call("TerminateInstances", **{"InstanceId.1": instance})
    assert wait_until(lambda: "terminated" in state(), 20)
    assert call("DeleteSecurityGroup", GroupId=group)("return") == ["true"]
