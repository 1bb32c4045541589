"""What a RunInstances request asks for, checked as far as that goes without the store."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from econe_api.actions import interface_request, launch_options, metadata_options, tag_rows
from econe_api.actions.interface_request import InterfaceRequest
from econe_api.actions.launch_options import LaunchOptions
from econe_api.actions.parameters import refuse_unsupported, require
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
_PLACEMENT = frozenset({"AvailabilityZone"})
_PLACEMENT_NEUTRAL: Mapping[str, tuple[Any, ...]] = {"Tenancy": ("default",), "Affinity": ("default",)}


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """A launch.  ``links`` are the interfaces of each instance by device index.

    ``zone`` and ``host`` None = free to choose; ``group_names`` are the groups of the only interface, beside those in
    ``links``.
    """

    image: str
    size: InstanceType
    least: int
    most: int
    key_name: str | None
    user_data: str | None
    links: tuple[InterfaceRequest, ...]
    group_names: tuple[str, ...]
    zone: str | None
    host: str | None
    token: str | None
    fingerprint: str
    tags: Mapping[str, tag_rows.Tags]
    options: LaunchOptions
    metadata: Mapping[str, Any]

    @property
    def primary(self) -> InterfaceRequest:
        """The interface with device index 0."""
        return self.links[0]


def parse(params: Params, config: Config) -> LaunchRequest:
    """The launch that ``params`` ask for.

    Raises:
        Ec2Error: MissingParameter, InvalidParameterValue, InvalidParameterCombination, InvalidUserData.Malformed,
            UnsupportedOperation.

    """
    require(params, "ImageId", "MinCount", "MaxCount")
    options = launch_options.parse(params)
    known = _SUPPORTED | launch_options.KNOWN | interface_request.ipv6_parameters(config)
    refuse_unsupported(params, known, _NEUTRAL)
    size = instance_type(params.get("InstanceType") or _DEFAULT_TYPE, config)
    launch_options.check_cpu(params.get("CpuOptions") or {}, size)
    least, most = _counts(params)
    return LaunchRequest(
        image=params["ImageId"],
        size=size,
        least=least,
        most=most,
        key_name=params.get("KeyName") or None,
        user_data=user_data(params.get("UserData")),
        options=options,
        links=interface_request.of_launch(params, config, most),
        group_names=tuple(params.get("SecurityGroups") or ()),
        zone=_zone(params.get("Placement") or {}, config),
        host=_host(params.get("Placement") or {}, config),
        token=check_token(params.get("ClientToken")),
        fingerprint=fingerprint(params),
        # Clients tag the volumes of an instance as they tag the instance; it has none, so these tags go nowhere.
        tags=tag_rows.specified(params, "instance", "network-interface", "volume"),
        metadata=metadata_options.read(params.get("MetadataOptions") or {}),
    )


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
    known = _PLACEMENT | ({"HostId"} if config.compute.host_pinning else set())
    refuse_unsupported(placement, known, _PLACEMENT_NEUTRAL)
    zone = placement.get("AvailabilityZone") or None
    if zone is not None and zone not in config.zones:
        raise Ec2Error("InvalidParameterValue", f"Invalid Availability Zone ({zone})")
    return zone


def _host(placement: Mapping[str, Any], config: Config) -> str | None:
    host = placement.get("HostId") or None
    if host is not None and host not in {known.name for known in config.hypervisors}:
        raise Ec2Error("InvalidHostID.NotFound", f"The host ID '{host}' does not exist")
    return host


def check_token(token: str | None) -> str | None:
    """A ClientToken.

    Raises:
        Ec2Error: InvalidParameterValue.

    """
    if token and (len(token) > _LONGEST_TOKEN or not token.isascii()):
        raise Ec2Error(
            "InvalidParameterValue",
            f"Value ({token}) for parameter clientToken is invalid. Up to {_LONGEST_TOKEN} ASCII characters are valid",
        )
    return token or None


def token_mismatch() -> Ec2Error:
    """The refusal of a ClientToken that comes again with another request."""
    return Ec2Error(
        "IdempotentParameterMismatch",
        "The client token you have provided is associated with a resource that has different parameters.",
    )


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
