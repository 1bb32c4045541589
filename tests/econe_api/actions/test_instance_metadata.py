"""Metadata options of instances, and what an instance may know of itself."""

from typing import Any

import pytest

from econe_api.config import MetadataConfig
from econe_api.store.instance_facts import read_facts

USUAL = {
    "State": "applied",
    "HttpTokens": "optional",
    "HttpPutResponseHopLimit": 1,
    "HttpEndpoint": "enabled",
    "HttpProtocolIpv6": "disabled",
    "InstanceMetadataTags": "disabled",
}


def _shown(tenant: Any, instance: str) -> Any:
    return tenant("DescribeInstances", InstanceIds=[instance])["Reservations"][0]["Instances"][0]["MetadataOptions"]


def test_options_at_the_launch_and_later(tenant: Any, reconfigure: Any) -> None:
    plain = tenant.run()
    assert plain["MetadataOptions"] == USUAL
    asked = {"HttpTokens": "required", "HttpPutResponseHopLimit": 2, "HttpProtocolIpv6": "disabled"}
    strict = tenant.run(MetadataOptions=asked)
    expected = USUAL | {"HttpTokens": "required", "HttpPutResponseHopLimit": 2}
    assert strict["MetadataOptions"] == _shown(tenant, strict["InstanceId"]) == expected
    answer = tenant("ModifyInstanceMetadataOptions", InstanceId=strict["InstanceId"], HttpEndpoint="disabled")
    expected |= {"HttpEndpoint": "disabled"}
    assert answer == {"InstanceId": strict["InstanceId"], "InstanceMetadataOptions": expected}
    assert _shown(tenant, strict["InstanceId"]) == expected
    # What nobody has said follows the configuration.
    reconfigure(metadata=MetadataConfig("required", 3))
    assert _shown(tenant, plain["InstanceId"]) == USUAL | {"HttpTokens": "required", "HttpPutResponseHopLimit": 3}
    assert _shown(tenant, strict["InstanceId"]) == expected


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"HttpTokens": "never"}, "InvalidParameterValue"),
        ({"HttpEndpoint": "on"}, "InvalidParameterValue"),
        ({"HttpPutResponseHopLimit": 0}, "InvalidParameterValue"),
        ({"HttpPutResponseHopLimit": 65}, "InvalidParameterValue"),
        ({"InstanceMetadataTags": "enabled"}, "UnsupportedOperation"),
    ],
    ids=["tokens", "endpoint", "no hops", "many hops", "tags"],
)
def test_options_that_are_none(tenant: Any, refused: Any, options: Any, code: str) -> None:
    instance = tenant.run()["InstanceId"]
    refused(tenant, code, "ModifyInstanceMetadataOptions", InstanceId=instance, **options)
    image = tenant.store.config.images[0].id
    refused(tenant, code, "RunInstances", ImageId=image, MinCount=1, MaxCount=1, MetadataOptions=options)


def test_whose_options(tenant: Any, stranger: Any, refused: Any) -> None:
    instance = tenant.run()["InstanceId"]
    asked = {"InstanceId": instance, "HttpTokens": "required"}
    theirs = refused(stranger, "InvalidInstanceID.NotFound", "ModifyInstanceMetadataOptions", **asked)
    assert theirs.message == f"The instance ID '{instance}' does not exist"
    refused(tenant, "MissingParameter", "ModifyInstanceMetadataOptions", InstanceId=instance)
    refused(tenant, "MissingParameter", "ModifyInstanceMetadataOptions", HttpTokens="required")
    tenant("TerminateInstances", InstanceIds=[instance])
    refused(tenant, "IncorrectInstanceState", "ModifyInstanceMetadataOptions", **asked)


def test_the_facts_of_an_instance(tenant: Any) -> None:
    store = tenant.store
    made = tenant.run(UserData="aGVsbG8=", MetadataOptions={"HttpTokens": "required"})
    instance, interface = made["InstanceId"], made["NetworkInterfaces"][0]
    eni = interface["NetworkInterfaceId"]
    facts = read_facts(store.engine, store.config, eni)
    assert facts is not None
    assert (facts["instance"], facts["account"], facts["user_data"]) == (instance, tenant.account, "aGVsbG8=")
    assert (facts["tokens"], facts["endpoint"], facts["hop_limit"], facts["key"]) == ("required", True, 1, None)
    assert (facts["launched"], facts["zone"], facts["domain"]) == ("2024-05-06T07:08:09Z", "us-east-1a", "ec2.internal")
    (one,) = facts["interfaces"]
    assert (one["id"], one["mac"], one["addresses"]) == (eni, interface["MacAddress"], ["172.31.0.4"])
    assert one["groups"] == [[tenant.default_group(), "default"]]
    assert one["public"] == []
    address = tenant("AllocateAddress")
    tenant("AssociateAddress", AllocationId=address["AllocationId"], InstanceId=instance)
    facts = read_facts(store.engine, store.config, eni)
    assert facts is not None
    assert facts["interfaces"][0]["public"] == [[address["PublicIp"], "172.31.0.4"]]
    second = tenant.second_interface(instance)
    tenant("AssignPrivateIpAddresses", NetworkInterfaceId=second, PrivateIpAddresses=["172.31.0.40"])
    facts = read_facts(store.engine, store.config, second)
    assert facts is not None
    assert [(each["device"], each["id"]) for each in facts["interfaces"]] == [(0, eni), (1, second)]
    assert facts["interfaces"][1]["addresses"][1:] == ["172.31.0.40"]


def test_nobody_has_facts(tenant: Any) -> None:
    store = tenant.store
    made = tenant.run()
    tenant("TerminateInstances", InstanceIds=[made["InstanceId"]])
    assert read_facts(store.engine, store.config, made["NetworkInterfaces"][0]["NetworkInterfaceId"]) is None
    assert read_facts(store.engine, store.config, "eni-00000000000000001") is None
