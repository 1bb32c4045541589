"""DescribeInstanceTypes and DescribeInstanceTypeOfferings: the sizes that the configuration offers, and where."""

from __future__ import annotations

from typing import Any

from econe_api.actions import interface_limits, pagination, zones
from econe_api.actions.filters import Field, Filters
from econe_api.actions.instance_rows import ROOT_DEVICE_TYPE
from econe_api.actions.ipv6 import MOST_ADDRESSES
from econe_api.call import Call
from econe_api.config import InstanceType
from econe_api.errors import Ec2Error
from econe_api.store.transaction import Transaction


def _boolean(*, value: bool) -> Field[InstanceType]:
    return Field(lambda _size: (str(value).lower(),))


def _always(value: str) -> Field[InstanceType]:
    return Field(lambda _size: (value,))


_FIELDS: dict[str, Field[InstanceType]] = {
    "auto-recovery-supported": _boolean(value=False),
    "bare-metal": _boolean(value=False),
    "burstable-performance-supported": _boolean(value=False),
    "current-generation": _boolean(value=True),
    "dedicated-hosts-supported": _boolean(value=False),
    "ebs-info.ebs-optimized-support": _always("unsupported"),
    "ebs-info.encryption-support": _always("unsupported"),
    "ebs-info.nvme-support": _always("unsupported"),
    "free-tier-eligible": _boolean(value=False),
    "hibernation-supported": _boolean(value=False),
    "hypervisor": _always("xen"),
    "instance-storage-supported": _boolean(value=False),
    "instance-type": Field(lambda size: (size.name,)),
    "memory-info.size-in-mib": Field(lambda size: (str(size.memory_mib),)),
    "network-info.efa-supported": _boolean(value=False),
    "network-info.ena-support": _always("unsupported"),
    "network-info.ipv4-addresses-per-interface": Field(lambda size: (str(interface_limits.limits(size).addresses),)),
    "network-info.maximum-network-cards": _always("1"),
    "network-info.maximum-network-interfaces": Field(lambda size: (str(interface_limits.limits(size).interfaces),)),
    "nitro-enclaves-support": _always("unsupported"),
    "nitro-tpm-support": _always("unsupported"),
    "processor-info.supported-architecture": _always("x86_64"),
    "supported-boot-mode": _always("legacy-bios"),
    "supported-root-device-type": _always(ROOT_DEVICE_TYPE),
    "supported-usage-class": _always("on-demand"),
    "supported-virtualization-type": _always("hvm"),
    "vcpu-info.default-cores": Field(lambda size: (str(size.vcpus),)),
    "vcpu-info.default-threads-per-core": _always("1"),
    "vcpu-info.default-vcpus": Field(lambda size: (str(size.vcpus),)),
}


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the sizes of instances."""
    params = call.params
    pagination.check(params, "InstanceTypes", (5, 100))
    filters: Filters[InstanceType] = Filters(params.get("Filters"), _FIELDS)
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
    cores = list(range(1, size.vcpus + 1))
    most = interface_limits.limits(size)
    return {
        "InstanceType": size.name,
        "CurrentGeneration": True,
        "FreeTierEligible": False,
        "SupportedUsageClasses": ["on-demand"],
        "SupportedRootDeviceTypes": [ROOT_DEVICE_TYPE],
        "SupportedVirtualizationTypes": ["hvm"],
        "BareMetal": False,
        "Hypervisor": "xen",
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
        "VCpuInfo": {
            "DefaultVCpus": size.vcpus,
            "DefaultCores": size.vcpus,
            "DefaultThreadsPerCore": 1,
            "ValidCores": cores[-1:],
            "ValidThreadsPerCore": [1],
        },
        "MemoryInfo": {"SizeInMiB": size.memory_mib},
        "InstanceStorageSupported": False,
        "EbsInfo": {
            "EbsOptimizedSupport": "unsupported",
            "EncryptionSupport": "unsupported",
            "NvmeSupport": "unsupported",
        },
        "NetworkInfo": {
            "NetworkPerformance": "Moderate",
            "MaximumNetworkInterfaces": most.interfaces,
            "MaximumNetworkCards": 1,
            "DefaultNetworkCardIndex": 0,
            "NetworkCards": [
                {
                    "NetworkCardIndex": 0,
                    "NetworkPerformance": "Moderate",
                    "MaximumNetworkInterfaces": most.interfaces,
                }
            ],
            "Ipv4AddressesPerInterface": most.addresses,
            "Ipv6AddressesPerInterface": MOST_ADDRESSES if ipv6 else 0,
            "Ipv6Supported": ipv6,
            "EnaSupport": "unsupported",
            "EfaSupported": False,
        },
        "PlacementGroupInfo": {"SupportedStrategies": []},
        "HibernationSupported": False,
        "BurstablePerformanceSupported": False,
        "DedicatedHostsSupported": False,
        "AutoRecoverySupported": False,
        "SupportedBootModes": ["legacy-bios"],
        "NitroEnclavesSupport": "unsupported",
        "NitroTpmSupport": "unsupported",
    }


_Offering = tuple[str, str]  # size, place
_OFFERING_FIELDS: dict[str, Field[_Offering]] = {
    "instance-type": Field(lambda offering: (offering[0],)),
    "location": Field(lambda offering: (offering[1],)),
}


def describe_offerings(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show which size can be had where: every one in every zone."""
    params = call.params
    pagination.check(params)
    filters: Filters[_Offering] = Filters(params.get("Filters"), _OFFERING_FIELDS)
    kind = params.get("LocationType") or "region"
    places = {
        "region": [txn.config.region],
        "availability-zone": list(txn.config.zones),
        "availability-zone-id": list(zones.ids(txn.config).values()),
        "outpost": [],
    }
    if kind not in places:
        raise Ec2Error("InvalidParameterValue", f"Value ({kind}) for parameter LocationType is invalid.")
    offered = [(size.name, place) for size in txn.config.instance_types for place in places[kind]]
    found = [offering for offering in offered if filters.matches(offering)]
    shown, token = pagination.page(found, lambda offering: offering, params, call.action)
    return {
        "InstanceTypeOfferings": [
            {"InstanceType": size, "LocationType": kind, "Location": place} for size, place in shown
        ]
    } | ({"NextToken": token} if token else {})
