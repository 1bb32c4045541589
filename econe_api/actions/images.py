"""DescribeImages and DescribeInstanceTypes: what the configuration offers."""

from __future__ import annotations

from typing import Any

from econe_api.actions import identifiers, interface_limits, pagination
from econe_api.actions.filters import Field, Filters
from econe_api.actions.ipv6 import MOST_ADDRESSES
from econe_api.call import Call
from econe_api.config import Image, InstanceType
from econe_api.errors import Ec2Error
from econe_api.store.administration import OPERATOR
from econe_api.store.transaction import Transaction

_ALIAS = "amazon"  # what clients ask for when they mean the cloud's own images

_IMAGE_FIELDS: dict[str, Field[Image]] = {
    "architecture": Field(lambda _image: ("x86_64",)),
    "hypervisor": Field(lambda _image: ()),
    "image-id": Field(lambda image: (image.id,)),
    "image-type": Field(lambda _image: ("machine",)),
    "is-public": Field(lambda _image: ("true",)),
    "name": Field(lambda image: (image.name,)),
    "owner-alias": Field(lambda _image: (_ALIAS,)),
    "owner-id": Field(lambda _image: (OPERATOR.account_id,)),
    "root-device-type": Field(lambda _image: ("instance-store",)),
    "state": Field(lambda _image: ("available",)),
    "virtualization-type": Field(lambda _image: ("hvm",)),
}
_TYPE_FIELDS: dict[str, Field[InstanceType]] = {
    "bare-metal": Field(lambda _size: ("false",)),
    "current-generation": Field(lambda _size: ("true",)),
    "instance-type": Field(lambda size: (size.name,)),
    "memory-info.size-in-mib": Field(lambda size: (str(size.memory_mib),)),
    "processor-info.supported-architecture": Field(lambda _size: ("x86_64",)),
    "supported-root-device-type": Field(lambda _size: ("instance-store",)),
    "supported-virtualization-type": Field(lambda _size: ("hvm",)),
    "vcpu-info.default-vcpus": Field(lambda size: (str(size.vcpus),)),
}


def describe_images(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the images; all are the cloud's own and everybody's to use."""
    params = call.params
    pagination.check(params, "ImageIds", (1, 1000))
    filters: Filters[Image] = Filters(params.get("Filters"), _IMAGE_FIELDS, tagged=True)
    known = {image.id: image for image in txn.config.images}
    wanted = list(dict.fromkeys(params.get("ImageIds") or ()))
    identifiers.check("ami", [text for text in wanted if text not in known])
    absent = [text for text in wanted if text not in known]
    if absent:
        verb = "does" if len(absent) == 1 else "do"
        noun = "id" if len(absent) == 1 else "ids"
        raise Ec2Error("InvalidAMIID.NotFound", f"The image {noun} '[{', '.join(absent)}]' {verb} not exist")
    owners, users = params.get("Owners") or (), params.get("ExecutableUsers") or ()
    found = [
        image
        for image in known.values()
        if (not wanted or image.id in wanted)
        and (not owners or {_ALIAS, OPERATOR.account_id}.intersection(owners))
        and (not users or "all" in users)
        and filters.matches(image)
    ]
    shown, token = pagination.page(found, lambda image: (image.id,), params, call.action)
    return {"Images": [_image(image) for image in shown]} | ({"NextToken": token} if token else {})


def _image(image: Image) -> dict[str, Any]:
    return {
        "ImageId": image.id,
        "Name": image.name,
        "ImageLocation": f"{_ALIAS}/{image.name}",
        "ImageType": "machine",
        "ImageOwnerAlias": _ALIAS,
        "OwnerId": OPERATOR.account_id,
        "Public": True,
        "State": "available",
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "RootDeviceType": "instance-store",
        "BlockDeviceMappings": [],
        "ProductCodes": [],
        "Tags": [],
    }


def describe_types(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the sizes of instances."""
    params = call.params
    pagination.check(params, "InstanceTypes", (5, 100))
    filters: Filters[InstanceType] = Filters(params.get("Filters"), _TYPE_FIELDS)
    sizes = {size.name: size for size in txn.config.instance_types}
    wanted = list(dict.fromkeys(params.get("InstanceTypes") or ()))
    absent = [name for name in wanted if name not in sizes]
    if absent:
        raise Ec2Error(
            "InvalidInstanceType", f"The following supplied instance types do not exist: [{', '.join(absent)}]"
        )
    found = [size for size in sizes.values() if (not wanted or size.name in wanted) and filters.matches(size)]
    shown, token = pagination.page(found, lambda size: (size.name,), params, call.action)
    return {"InstanceTypes": [_type(size, ipv6=txn.config.ipv6) for size in shown]} | (
        {"NextToken": token} if token else {}
    )


def _type(size: InstanceType, *, ipv6: bool) -> dict[str, Any]:
    most = interface_limits.limits(size)
    return {
        "InstanceType": size.name,
        "CurrentGeneration": True,
        "FreeTierEligible": False,
        "SupportedUsageClasses": ["on-demand"],
        "SupportedRootDeviceTypes": ["instance-store"],
        "SupportedVirtualizationTypes": ["hvm"],
        "BareMetal": False,
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
        "VCpuInfo": {"DefaultVCpus": size.vcpus, "DefaultCores": size.vcpus, "DefaultThreadsPerCore": 1},
        "MemoryInfo": {"SizeInMiB": size.memory_mib},
        "InstanceStorageSupported": False,
        "NetworkInfo": {
            "MaximumNetworkInterfaces": most.interfaces,
            "Ipv4AddressesPerInterface": most.addresses,
            "Ipv6AddressesPerInterface": MOST_ADDRESSES if ipv6 else 0,
            "Ipv6Supported": ipv6,
        },
        "HibernationSupported": False,
        "BurstablePerformanceSupported": False,
        "DedicatedHostsSupported": False,
        "AutoRecoverySupported": False,
    }
