"""What a RunInstances request asks for, checked as far as that goes without the store."""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from econe_api.actions import identifiers, ipv6, launch_options, metadata_options, tag_rows
from econe_api.actions.ipv6 import Ipv6Request
from econe_api.actions.launch_options import LaunchOptions
from econe_api.actions.parameters import given, ipv4, refuse_unsupported, require
from econe_api.call import Params
from econe_api.config import Config, InstanceType
from econe_api.errors import Ec2Error

_DEFAULT_TYPE = "m1.small"
_LONGEST_TOKEN = 64
_LONGEST_USER_DATA = 16 * 1024

_SUPPORTED = frozenset(
    {
        "ImageId",
        "InstanceType",
        "MinCount",
        "MaxCount",
        "KeyName",
        "UserData",
        "SecurityGroupIds",
        "SecurityGroups",
        "SubnetId",
        "PrivateIpAddress",
        "Placement",
        "NetworkInterfaces",
        "ClientToken",
        "TagSpecifications",
        "MetadataOptions",
    }
)
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {"Ipv6AddressCount": (0,)}
_INTERFACE = frozenset({"DeviceIndex", "Groups", "SubnetId", "PrivateIpAddress"})
_INTERFACE_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "AssociatePublicIpAddress": (False,),
    "DeleteOnTermination": (True,),
    "InterfaceType": ("interface",),
    "NetworkCardIndex": (0,),
    "Ipv6AddressCount": (0,),
    "SecondaryPrivateIpAddressCount": (0,),
}
_PLACEMENT = frozenset({"AvailabilityZone"})
_PLACEMENT_NEUTRAL: Mapping[str, tuple[Any, ...]] = {"Tenancy": ("default",), "Affinity": ("default",)}


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """A launch.  ``zone``, ``subnet``, ``private_ip``: None = free to choose; no groups = the VPC's default group."""

    image: str
    size: InstanceType
    least: int
    most: int
    key_name: str | None
    user_data: str | None
    group_ids: tuple[str, ...]
    group_names: tuple[str, ...]
    subnet: str | None
    private_ip: str | None
    zone: str | None
    token: str | None
    fingerprint: str
    tags: Mapping[str, tag_rows.Tags]
    ipv6: Ipv6Request
    options: LaunchOptions
    metadata: Mapping[str, Any]


def parse(params: Params, config: Config) -> LaunchRequest:
    """The launch that ``params`` ask for.

    Raises:
        Ec2Error: MissingParameter, InvalidParameterValue, InvalidParameterCombination, InvalidAMIID.Malformed,
            InvalidAMIID.NotFound, InvalidUserData.Malformed, UnsupportedOperation.

    """
    require(params, "ImageId", "MinCount", "MaxCount")
    options = launch_options.parse(params)
    refuse_unsupported(params, _SUPPORTED | launch_options.KNOWN | _ipv6(config), _NEUTRAL)
    size = instance_type(params.get("InstanceType") or _DEFAULT_TYPE, config)
    launch_options.check_cpu(params.get("CpuOptions") or {}, size)
    least, most = _counts(params)
    network = _network(params, config)
    private_ip = ipv4(network["PrivateIpAddress"], "privateIpAddress") if network.get("PrivateIpAddress") else None
    _check_private_ip(private_ip, network.get("SubnetId"), most)
    return LaunchRequest(
        image=_image(params["ImageId"], config),
        size=size,
        least=least,
        most=most,
        key_name=params.get("KeyName") or None,
        user_data=user_data(params.get("UserData")),
        options=options,
        group_ids=tuple(network.get("Groups") or ()),
        group_names=tuple(params.get("SecurityGroups") or ()),
        subnet=network.get("SubnetId") or None,
        private_ip=private_ip,
        zone=_zone(params.get("Placement") or {}, config),
        token=_token(params.get("ClientToken")),
        fingerprint=fingerprint(params),
        # Clients tag the volumes of an instance as they tag the instance; it has none, so these tags go nowhere.
        tags=tag_rows.specified(params, "instance", "network-interface", "volume"),
        ipv6=ipv6.parse(network, most),
        metadata=metadata_options.read(params.get("MetadataOptions") or {}),
    )


def _ipv6(config: Config) -> frozenset[str]:
    """What is supported where there is IPv6."""
    return frozenset({"Ipv6AddressCount", "Ipv6Addresses"}) if config.ipv6 else frozenset()


def fingerprint(params: Params) -> str:
    """What must be equal when a ClientToken comes again: all parameters but the token itself."""
    asked = {name: value for name, value in params.items() if name not in {"ClientToken", "DryRun"}}
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


def _counts(params: Params) -> tuple[int, int]:
    least, most = params["MinCount"], params["MaxCount"]
    for value, name in ((least, "minCount"), (most, "maxCount")):
        if value < 1:
            raise Ec2Error("InvalidParameterValue", f"Value ({value}) for parameter {name} is invalid. Minimum is 1")
    if least > most:
        raise Ec2Error(
            "InvalidParameterValue", f"Value ({least}) for parameter minCount is invalid. It is above maxCount ({most})"
        )
    return least, most


def _network(params: Params, config: Config) -> Mapping[str, Any]:
    """Groups, SubnetId, PrivateIpAddress and IPv6, from the instance's own parameters or from NetworkInterfaces.1."""
    if not given(params, "NetworkInterfaces"):
        return {
            "Groups": params.get("SecurityGroupIds"),
            "SubnetId": params.get("SubnetId"),
            "PrivateIpAddress": params.get("PrivateIpAddress"),
            "Ipv6AddressCount": params.get("Ipv6AddressCount"),
            "Ipv6Addresses": params.get("Ipv6Addresses"),
        }
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
    interfaces = params["NetworkInterfaces"]
    if len(interfaces) > 1:
        raise Ec2Error("UnsupportedOperation", "Instances with several network interfaces are not supported")
    interface = interfaces[0]
    refuse_unsupported(interface, _INTERFACE | _ipv6(config), _INTERFACE_NEUTRAL)
    if interface.get("DeviceIndex") != 0:
        raise Ec2Error(
            "InvalidParameterValue", "The first network interface must have the device index 0 (deviceIndex)"
        )
    return dict(interface)


def _check_private_ip(private_ip: str | None, subnet: str | None, most: int) -> None:
    if private_ip is None:
        return
    if not subnet:
        raise Ec2Error(
            "InvalidParameterCombination", "Specifying an IP address requires a subnet in which to launch the instance"
        )
    if most > 1:
        raise Ec2Error(
            "InvalidParameterCombination", "An IP address may not be specified for more than one instance in a launch"
        )


def check_in_subnet(private_ip: str, cidr: str) -> None:
    """Refuse an address outside its subnet.

    Raises:
        Ec2Error: InvalidParameterValue.

    """
    if ipaddress.IPv4Address(private_ip) not in ipaddress.IPv4Network(cidr):
        raise Ec2Error("InvalidParameterValue", f"Address {private_ip} does not fall within the subnet's address range")


def _image(image: str, config: Config) -> str:
    if image not in {known.id for known in config.images}:
        identifiers.check("ami", [image])
        raise Ec2Error("InvalidAMIID.NotFound", f"The image id '[{image}]' does not exist")
    return image


def instance_type(name: str, config: Config) -> InstanceType:
    """The size of that name.

    Raises:
        Ec2Error: InvalidParameterValue.

    """
    for size in config.instance_types:
        if size.name == name:
            return size
    raise Ec2Error("InvalidParameterValue", f"Invalid value '{name}' for InstanceType.")


def _zone(placement: Mapping[str, Any], config: Config) -> str | None:
    refuse_unsupported(placement, _PLACEMENT, _PLACEMENT_NEUTRAL)
    zone = placement.get("AvailabilityZone") or None
    if zone is not None and zone not in config.zones:
        raise Ec2Error("InvalidParameterValue", f"Invalid Availability Zone ({zone})")
    return zone


def _token(token: str | None) -> str | None:
    if token and (len(token) > _LONGEST_TOKEN or not token.isascii()):
        raise Ec2Error(
            "InvalidParameterValue",
            f"Value ({token}) for parameter clientToken is invalid. Up to {_LONGEST_TOKEN} ASCII characters are valid",
        )
    return token or None


def user_data(text: str | None) -> str | None:
    """User data (base64) after a check; None for none.

    Raises:
        Ec2Error: InvalidUserData.Malformed, InvalidParameterValue (above 16 KiB).

    """
    if not text:
        return None
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Ec2Error("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from None
    if len(data) > _LONGEST_USER_DATA:
        raise Ec2Error("InvalidParameterValue", f"User data is limited to {_LONGEST_USER_DATA} bytes")
    return text
