"""What requests ask of network interfaces, checked as far as that goes without the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from econe_api.actions import identifiers, ipv6, private_addresses
from econe_api.actions.ipv6 import Ipv6Request
from econe_api.actions.parameters import given, refuse_unsupported
from econe_api.actions.private_addresses import AddressRequest
from econe_api.call import Params
from econe_api.config import Config
from econe_api.errors import Ec2Error

_LONGEST_DESCRIPTION = 255
#: More than any instance has interfaces; the numbers need not be consecutive.
_LAST_INDEX = 31

#: What CreateNetworkInterface and RunInstances say of an interface alike.
ADDRESSES = frozenset({"PrivateIpAddress", "PrivateIpAddresses", "SecondaryPrivateIpAddressCount"})
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "InterfaceType": ("interface",),
    "Ipv6AddressCount": (0,),
    "Ipv4PrefixCount": (0,),
    "Ipv6PrefixCount": (0,),
    "EnablePrimaryIpv6": (False,),
    "PrimaryIpv6": (False,),
    "NetworkCardIndex": (0,),
    "AssociatePublicIpAddress": (False,),
    "AssociateCarrierIpAddress": (False,),
}
_AT_LAUNCH = ADDRESSES | {
    "DeleteOnTermination",
    "Description",
    "DeviceIndex",
    "Groups",
    "NetworkInterfaceId",
    "SubnetId",
}
_OF_NEW_ONES = ADDRESSES | {"Description", "Groups", "SubnetId", "Ipv6AddressCount", "Ipv6Addresses"}


@dataclass(frozen=True, slots=True)
class InterfaceRequest:
    """One interface of a launch: ``existing`` is its id, None = a new one.

    ``subnet`` None = free to choose; no groups = the VPC's default group.
    """

    device_index: int = 0
    existing: str | None = None
    subnet: str | None = None
    groups: tuple[str, ...] = ()
    addresses: AddressRequest = field(default_factory=AddressRequest)
    ipv6: Ipv6Request = field(default_factory=Ipv6Request)
    description: str = ""
    delete_on_termination: bool = True


def ipv6_parameters(config: Config) -> frozenset[str]:
    """What is supported where there is IPv6."""
    return frozenset({"Ipv6AddressCount", "Ipv6Addresses"}) if config.ipv6 else frozenset()


def of_launch(params: Params, config: Config, most: int) -> tuple[InterfaceRequest, ...]:
    """The interfaces of each instance of a launch of up to ``most``, by device index; the first has index 0.

    Raises:
        Ec2Error: InvalidParameterValue, InvalidParameterCombination, UnsupportedOperation.

    """
    if given(params, "NetworkInterfaces"):
        _refuse_at_both_places(params)
        found = sorted((_of_item(item, config, most) for item in params["NetworkInterfaces"]), key=_index)
        _check_indexes([request.device_index for request in found])
    else:
        found = [
            InterfaceRequest(
                subnet=params.get("SubnetId") or None,
                groups=tuple(params.get("SecurityGroupIds") or ()),
                addresses=private_addresses.parse({"PrivateIpAddress": params.get("PrivateIpAddress")}),
                ipv6=ipv6.parse(params, most),
            )
        ]
    if most > 1 and any(request.addresses.named or request.existing for request in found):
        raise Ec2Error(
            "InvalidParameterCombination", "An IP address may not be specified for more than one instance in a launch"
        )
    _refuse_shared(found)
    return tuple(found)


def _index(request: InterfaceRequest) -> int:
    return request.device_index


def _check_indexes(indexes: Sequence[int]) -> None:
    if indexes[0] != 0:
        raise Ec2Error(
            "InvalidParameterValue", "The first network interface must have the device index 0 (deviceIndex)"
        )
    for index in indexes:
        if indexes.count(index) > 1:
            raise Ec2Error(
                "InvalidParameterValue", f"Each network interface requires a device index of its own, not twice {index}"
            )


def _refuse_shared(requests: Sequence[InterfaceRequest]) -> None:
    """Refuse an address or an interface that several interfaces of one instance shall have."""
    private_addresses.refuse_repeats(
        [
            address
            for request in requests
            for address in (request.addresses.primary, *request.addresses.secondary)
            if address
        ]
    )
    for named in (
        [request.existing for request in requests if request.existing],
        [address for request in requests for address in request.ipv6.addresses],
    ):
        if len(set(named)) != len(named):
            raise Ec2Error("InvalidParameterValue", "The same value must not appear in several network interfaces")


def _of_item(item: Mapping[str, Any], config: Config, most: int) -> InterfaceRequest:
    refuse_unsupported(item, _AT_LAUNCH | ipv6_parameters(config), NEUTRAL)
    index = item.get("DeviceIndex")
    if index is None:
        raise Ec2Error("InvalidParameterValue", "Each network interface requires a device index.")
    check_index(index)
    if item.get("NetworkInterfaceId"):
        return _existing(item, index)
    return InterfaceRequest(
        device_index=index,
        subnet=item.get("SubnetId") or None,
        groups=tuple(item.get("Groups") or ()),
        addresses=private_addresses.parse(item),
        ipv6=ipv6.parse(item, most),
        description=description(item.get("Description")),
        delete_on_termination=item.get("DeleteOnTermination") is not False,
    )


def _existing(item: Mapping[str, Any], index: int) -> InterfaceRequest:
    identifiers.check("eni", [item["NetworkInterfaceId"]])
    for name in sorted(_OF_NEW_ONES):
        if given(item, name) and item[name] not in NEUTRAL.get(name, ()):
            raise Ec2Error(
                "InvalidParameterCombination",
                f"A network interface may not specify both a network interface ID and {name}",
            )
    if item.get("DeleteOnTermination"):
        raise Ec2Error(
            "InvalidParameterCombination",
            "A network interface may not specify both a network interface ID and delete on termination as true",
        )
    return InterfaceRequest(device_index=index, existing=item["NetworkInterfaceId"], delete_on_termination=False)


def _refuse_at_both_places(params: Params) -> None:
    ipv6.refuse_at_both_places(params)
    for name, words in (
        ("SubnetId", "subnet ID"),
        ("SecurityGroupIds", "security groups"),
        ("SecurityGroups", "security groups"),
        ("PrivateIpAddress", "private address"),
    ):
        if given(params, name):
            raise Ec2Error(
                "InvalidParameterCombination",
                f"Network interfaces and an instance-level {words} may not be specified on the same request",
            )


def check_index(index: int) -> None:
    """Refuse a device index that no interface can have.

    Raises:
        Ec2Error: InvalidParameterValue.

    """
    if not 0 <= index <= _LAST_INDEX:
        raise Ec2Error(
            "InvalidParameterValue",
            f"Value ({index}) for parameter deviceIndex is invalid. 0 to {_LAST_INDEX} are valid",
        )


def description(text: str | None) -> str:
    """An interface's description.

    Raises:
        Ec2Error: InvalidParameterValue.

    """
    if text and len(text) > _LONGEST_DESCRIPTION:
        raise Ec2Error(
            "InvalidParameterValue",
            f"Value ({text[:16]}...) for parameter description is invalid. Up to {_LONGEST_DESCRIPTION} characters",
        )
    return text or ""
