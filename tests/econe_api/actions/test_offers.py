"""What the cloud offers: images, sizes, zones, the region."""

from __future__ import annotations

from typing import Any

import pytest

from econe_api.actions import ACTIONS
from econe_api.config import Image

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_images(tenant: Any, refused: Any, reconfigure: Any) -> None:
    reconfigure(images=(Image("ami-00000001", "debian"), Image("ami-00000002", "alpine")))

    def shown(**params: Any) -> list[str]:
        return [image["Name"] for image in tenant("DescribeImages", **params)["Images"]]

    assert shown() == ["debian", "alpine"]
    assert shown(ImageIds=["ami-00000002"]) == ["alpine"]
    assert shown(Owners=["self"]) == shown(ExecutableUsers=["self"]) == []
    assert shown(Owners=["self", "amazon"]) == shown(ExecutableUsers=["all"]) == ["debian", "alpine"]
    assert shown(Filters=[{"Name": "name", "Values": ["deb*"]}]) == ["debian"]
    for name, value in (
        ("architecture", "x86_64"),
        ("image-id", "ami-*"),
        ("image-type", "machine"),
        ("is-public", "true"),
        ("owner-alias", "amazon"),
        ("owner-id", "000000000000"),
        ("root-device-type", "ebs"),
        ("state", "available"),
        ("virtualization-type", "hvm"),
    ):
        assert len(shown(Filters=[{"Name": name, "Values": [value]}])) == 2, name
    assert shown(Filters=[{"Name": "hypervisor", "Values": ["ovm"]}]) == []
    page = tenant("DescribeImages", MaxResults=1)
    assert [image["ImageId"] for image in page["Images"]] == ["ami-00000001"]
    assert shown(MaxResults=1, NextToken=page["NextToken"]) == ["alpine"]
    for code, params in (
        ("InvalidAMIID.NotFound", {"ImageIds": ["ami-00000001", "ami-00000003"]}),
        ("InvalidAMIID.Malformed", {"ImageIds": ["debian"]}),
        ("InvalidParameterValue", {"Filters": [{"Name": "colour", "Values": ["red"]}]}),
    ):
        refused(tenant, code, "DescribeImages", **params)


def test_sizes(tenant: Any, refused: Any) -> None:
    (size,) = tenant("DescribeInstanceTypes", InstanceTypes=["t2.medium"])["InstanceTypes"]
    assert (size["VCpuInfo"]["DefaultVCpus"], size["MemoryInfo"]["SizeInMiB"]) == (2, 4096)
    everything = len(tenant.store.config.instance_types)

    def count(name: str, value: str) -> int:
        return len(tenant("DescribeInstanceTypes", Filters=[{"Name": name, "Values": [value]}])["InstanceTypes"])

    assert count("instance-type", "t2.*") == 5
    assert count("vcpu-info.default-vcpus", "4") == 2
    assert count("memory-info.size-in-mib", "4096") == 3
    for name, value in (
        ("bare-metal", "false"),
        ("current-generation", "true"),
        ("processor-info.supported-architecture", "x86_64"),
        ("supported-root-device-type", "ebs"),
        ("supported-virtualization-type", "hvm"),
    ):
        assert count(name, value) == everything, name
    first = tenant("DescribeInstanceTypes", MaxResults=10)
    rest = tenant("DescribeInstanceTypes", MaxResults=100, NextToken=first["NextToken"])
    assert len(first["InstanceTypes"]) + len(rest["InstanceTypes"]) == everything
    refused(tenant, "InvalidInstanceType", "DescribeInstanceTypes", InstanceTypes=["t99.huge"])
    refused(tenant, "InvalidParameterValue", "DescribeInstanceTypes", MaxResults=101)


def test_attributes_of_an_image(tenant: Any, refused: Any) -> None:
    image = tenant("DescribeImages")["Images"][0]

    def shown(attribute: str) -> Any:
        answer = tenant("DescribeImageAttribute", ImageId=image["ImageId"], Attribute=attribute)
        assert answer.pop("ImageId") == image["ImageId"]
        return answer

    assert shown("launchPermission") == {"LaunchPermissions": [{"Group": "all"}]}
    assert shown("description") == {"Description": {"Value": image["Name"]}}
    assert shown("kernel") == {"KernelId": {}}
    absent = "ami-00000000000000bad"
    refused(tenant, "InvalidAMIID.NotFound", "DescribeImageAttribute", ImageId=absent, Attribute="kernel")
    refused(tenant, "InvalidAMIID.Malformed", "DescribeImageAttribute", ImageId="x", Attribute="kernel")
    refused(tenant, "InvalidParameterValue", "DescribeImageAttribute", ImageId=image["ImageId"], Attribute="colour")
    refused(tenant, "MissingParameter", "DescribeImageAttribute", ImageId=image["ImageId"])


def test_offerings(tenant: Any, refused: Any) -> None:
    sizes = len(tenant.store.config.instance_types)

    def offered(**params: Any) -> list[tuple[str, str]]:
        answer = tenant("DescribeInstanceTypeOfferings", **params)["InstanceTypeOfferings"]
        return [(item["InstanceType"], item["Location"]) for item in answer]

    assert {location for _, location in offered()} == {"us-east-1"}
    assert len(offered(LocationType="availability-zone")) == 2 * sizes
    one = {"Name": "instance-type", "Values": ["t2.nano"]}
    assert offered(LocationType="availability-zone-id", Filters=[one]) == [
        ("t2.nano", "use1-az1"),
        ("t2.nano", "use1-az2"),
    ]
    assert offered(LocationType="outpost") == []
    refused(tenant, "InvalidParameterValue", "DescribeInstanceTypeOfferings", LocationType="moon")


def test_kinds_that_there_are_none_of(tenant: Any, refused: Any) -> None:
    for action, member in (
        ("DescribeVolumes", "Volumes"),
        ("DescribeVolumeStatus", "VolumeStatuses"),
        ("DescribeSnapshots", "Snapshots"),
        ("DescribePlacementGroups", "PlacementGroups"),
        ("DescribeLaunchTemplates", "LaunchTemplates"),
        ("DescribeSpotInstanceRequests", "SpotInstanceRequests"),
        ("DescribeReservedInstances", "ReservedInstances"),
        ("DescribeIamInstanceProfileAssociations", "IamInstanceProfileAssociations"),
        ("DescribeVolumesModifications", "VolumesModifications"),
    ):
        filters = [{"Name": "state", "Values": ["available"]}]
        assert tenant(action, Filters=filters) == {member: []}
    for code, action, params in (
        ("InvalidVolume.NotFound", "DescribeVolumes", {"VolumeIds": ["vol-00000000"]}),
        ("InvalidSnapshot.NotFound", "DescribeSnapshots", {"SnapshotIds": ["snap-00000000"]}),
        ("InvalidPlacementGroup.Unknown", "DescribePlacementGroups", {"GroupNames": ["x"]}),
        ("InvalidLaunchTemplateId.NotFound", "DescribeLaunchTemplateVersions", {"LaunchTemplateId": "lt-0"}),
        ("InvalidNextToken", "DescribeVolumes", {"NextToken": "x"}),
        ("InvalidParameterValue", "DescribeVolumes", {"MaxResults": 1001}),
    ):
        refused(tenant, code, action, **params)


def test_credits_of_named_instances(tenant: Any, stranger: Any, refused: Any) -> None:
    mine, theirs = tenant.run()["InstanceId"], stranger.run()["InstanceId"]
    shown = {"InstanceCreditSpecifications": [{"InstanceId": mine, "CpuCredits": "standard"}]}
    assert tenant("DescribeInstanceCreditSpecifications", InstanceIds=[mine]) == shown
    assert tenant("DescribeInstanceCreditSpecifications") == {"InstanceCreditSpecifications": []}
    refused(tenant, "InvalidInstanceID.NotFound", "DescribeInstanceCreditSpecifications", InstanceIds=[theirs])


def test_zones(tenant: Any, refused: Any) -> None:
    zones = tenant("DescribeAvailabilityZones")["AvailabilityZones"]
    assert [(zone["ZoneName"], zone["ZoneId"]) for zone in zones] == [
        ("us-east-1a", "use1-az1"),
        ("us-east-1b", "use1-az2"),
    ]
    named = tenant("DescribeAvailabilityZones", ZoneNames=["us-east-1b"])["AvailabilityZones"]
    assert named == tenant("DescribeAvailabilityZones", ZoneIds=["use1-az2"])["AvailabilityZones"] == zones[1:]
    for name, value, expected in (
        ("group-name", "us-east-1", 2),
        ("opt-in-status", "opt-in-not-required", 2),
        ("region-name", "us-east-1", 2),
        ("state", "available", 2),
        ("zone-id", "*1", 1),
        ("zone-name", "us-east-1a", 1),
        ("zone-type", "availability-zone", 2),
    ):
        answer = tenant("DescribeAvailabilityZones", Filters=[{"Name": name, "Values": [value]}])
        assert len(answer["AvailabilityZones"]) == expected, name
    error = refused(tenant, "InvalidParameterValue", "DescribeAvailabilityZones", ZoneNames=["mars-1a"])
    assert error.message == "Invalid Availability Zone (mars-1a)"
    refused(tenant, "InvalidParameterValue", "DescribeAvailabilityZones", ZoneIds=["az9"])


def test_region(tenant: Any, refused: Any) -> None:
    region = {
        "RegionName": "us-east-1",
        "Endpoint": tenant.store.config.api.bind,
        "OptInStatus": "opt-in-not-required",
    }
    assert tenant("DescribeRegions", RegionNames=["us-east-1"]) == {"Regions": [region]}
    assert tenant("DescribeRegions", Filters=[{"Name": "region-name", "Values": ["eu-*"]}]) == {"Regions": []}
    refused(tenant, "InvalidParameterValue", "DescribeRegions", RegionNames=["mars-1"])


def test_settling_names_the_instances(tenant: Any) -> None:
    run, end = ACTIONS["RunInstances"].settles, ACTIONS["TerminateInstances"].settles
    assert run is not None
    assert end is not None
    assert run({"Instances": [{"InstanceId": "i-1"}, {"InstanceId": "i-2"}]}) == ["i-1", "i-2"]
    assert end({"TerminatingInstances": [{"InstanceId": "i-1"}]}) == ["i-1"]
