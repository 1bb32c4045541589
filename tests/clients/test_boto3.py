"""boto3: the whole story with waiters, paginators, resources and presigned URLs."""

import urllib.request

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("signature", ["v4", "v2", "v4-query"])
def test_the_whole_story(cloud, nothing_left, signature):
    settings = cloud.environment
    ec2 = boto3.client(
        "ec2",
        endpoint_url=cloud.endpoint,
        region_name=settings["AWS_DEFAULT_REGION"],
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
        config=Config(signature_version=signature, retries={"total_max_attempts": 1}, proxies={}),
    )
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
    tagged = [{"Key": "story", "Value": signature}]
    by_tag = [{"Name": "tag:story", "Values": [signature]}]

    address = ec2.allocate_address(Domain="vpc", TagSpecifications=[{"ResourceType": "elastic-ip", "Tags": tagged}])
    groups = [
        ec2.create_security_group(
            GroupName=f"story-{number}",
            Description="of the story",
            VpcId=vpc,
            TagSpecifications=[{"ResourceType": "security-group", "Tags": tagged}],
        )["GroupId"]
        for number in range(6)
    ]
    ec2.get_waiter("security_group_exists").wait(GroupIds=groups)
    web = groups[0]
    rules = ec2.authorize_security_group_ingress(
        GroupId=web,
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
            {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": groups[1]}]},
        ],
        TagSpecifications=[{"ResourceType": "security-group-rule", "Tags": tagged}],
    )["SecurityGroupRules"]
    assert len(rules) == 2
    pages = list(
        ec2.get_paginator("describe_security_groups").paginate(Filters=by_tag, PaginationConfig={"PageSize": 5})
    )
    assert [len(page["SecurityGroups"]) for page in pages] == [5, 1]
    shown = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [web]}])["SecurityGroupRules"]
    assert {rule["SecurityGroupRuleId"] for rule in shown} > {rule["SecurityGroupRuleId"] for rule in rules}

    image = ec2.describe_images(Owners=["self", "amazon"])["Images"][0]["ImageId"]
    instance = ec2.run_instances(
        ImageId=image,
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=1,
        SecurityGroupIds=[web],
        TagSpecifications=[{"ResourceType": "instance", "Tags": tagged}],
    )["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    ec2.get_waiter("instance_status_ok").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    ec2.associate_address(AllocationId=address["AllocationId"], InstanceId=instance)
    assert cloud.outside.fetch(address["PublicIp"])
    (found,) = ec2.describe_addresses(Filters=by_tag)["Addresses"]
    assert (found["InstanceId"], found["PublicIp"]) == (instance, address["PublicIp"])

    ec2.modify_security_group_rules(
        GroupId=web,
        SecurityGroupRules=[
            {
                "SecurityGroupRuleId": rules[0]["SecurityGroupRuleId"],
                "SecurityGroupRule": {
                    "IpProtocol": "tcp",
                    "FromPort": 81,
                    "ToPort": 81,
                    "CidrIpv4": "0.0.0.0/0",
                    "Description": "moved",
                },
            }
        ],
    )
    ec2.stop_instances(InstanceIds=[instance])
    ec2.get_waiter("instance_stopped").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    assert ec2.describe_addresses(Filters=by_tag)["Addresses"][0]["InstanceId"] == instance
    with pytest.raises(ClientError) as caught:
        ec2.delete_security_group(GroupId=web)
    assert caught.value.response["Error"]["Code"] == "DependencyViolation"

    ec2.terminate_instances(InstanceIds=[instance])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    for group in groups:
        ec2.delete_security_group(GroupId=group)
    ec2.release_address(AllocationId=address["AllocationId"])
    assert (
        ec2.describe_tags(
            Filters=[
                {"Name": "key", "Values": ["story"]},
                {"Name": "resource-type", "Values": ["elastic-ip", "security-group"]},
            ]
        )["Tags"]
        == []
    )


def test_resources(cloud, nothing_left):
    settings = cloud.environment
    session = boto3.Session(
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
        region_name=settings["AWS_DEFAULT_REGION"],
    )
    ec2 = session.resource("ec2", endpoint_url=cloud.endpoint, config=Config(proxies={}))
    vpc = next(iter(ec2.vpcs.filter(Filters=[{"Name": "is-default", "Values": ["true"]}])))
    group = ec2.create_security_group(GroupName="resource", Description="as an object", VpcId=vpc.id)
    group.authorize_ingress(IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="192.0.2.0/24")
    assert group.ip_permissions[0]["IpRanges"][0]["CidrIp"] == "192.0.2.0/24"
    group.create_tags(Tags=[{"Key": "Name", "Value": "resource"}])
    group.reload()
    assert group.tags == [{"Key": "Name", "Value": "resource"}]
    made = ec2.meta.client.allocate_address()
    address = ec2.VpcAddress(made["AllocationId"])
    assert address.public_ip == made["PublicIp"]
    address.release()
    owner = group.owner_id
    group.delete()
    identity = session.client("sts", endpoint_url=cloud.endpoint, config=Config(proxies={})).get_caller_identity()
    assert identity["Account"] == owner


def test_a_presigned_url(cloud):
    url = cloud.ec2().generate_presigned_url("describe_addresses", HttpMethod="GET")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
        assert b"<DescribeAddressesResponse" in answer.read()
