"""What a launch says about its instances besides image, size and network: honoured, harmless, or refused.

Clients send many parameters of their own accord, with the value that an instance has anyway.  Those are accepted; one
that asks for something that this cloud does not have is refused and never passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from econe_api.actions.parameters import given, refuse_unsupported
from econe_api.call import Params
from econe_api.config import InstanceType
from econe_api.errors import Ec2Error

#: What an instance does when it is shut down from inside.
SHUTDOWN_BEHAVIORS = ("stop", "terminate")

_Allowed = Mapping[str, tuple[Any, ...]]

#: Structures by name: the only values that their members may have.
_HARMLESS: Mapping[str, _Allowed] = {
    "CapacityReservationSpecification": {"CapacityReservationPreference": ("open", "none")},
    "CreditSpecification": {"CpuCredits": ("standard", "unlimited")},  # nothing is throttled
    "EnclaveOptions": {"Enabled": (False,)},
    "HibernationOptions": {"Configured": (False,)},
    "MaintenanceOptions": {"AutoRecovery": ("default", "disabled")},
    "NetworkPerformanceOptions": {"BandwidthWeighting": ("default",)},
    "PrivateDnsNameOptions": {
        "HostnameType": ("ip-name",),
        "EnableResourceNameDnsARecord": (False,),
        "EnableResourceNameDnsAAAARecord": (False,),
    },
}
_PLAIN: _Allowed = {"EbsOptimized": (False,), "EnablePrimaryIpv6": (False,)}

KNOWN = frozenset(
    {
        *_HARMLESS,
        *_PLAIN,
        "BlockDeviceMappings",
        "CpuOptions",
        "DisableApiStop",
        "DisableApiTermination",
        "IamInstanceProfile",
        "InstanceInitiatedShutdownBehavior",
        "Monitoring",
    }
)
"""The parameters of RunInstances that :func:`parse` and :func:`check_cpu` look after."""


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """What is kept of an instance's attributes, by the names of the columns."""

    monitoring: bool
    shutdown_behavior: str
    disable_api_termination: bool
    disable_api_stop: bool

    def columns(self) -> dict[str, Any]:
        """Values of the columns."""
        return asdict(self)


def parse(params: Params) -> LaunchOptions:
    """The options of a launch.

    Raises:
        Ec2Error: InvalidParameterValue, UnsupportedOperation.

    """
    for name, allowed in _HARMLESS.items():
        refuse_unsupported(params.get(name) or {}, frozenset(), allowed)
    refuse_unsupported({name: params.get(name) for name in _PLAIN}, frozenset(), _PLAIN)
    for mapping in params.get("BlockDeviceMappings") or ():
        _check_device(mapping)
    if given(params, "IamInstanceProfile"):
        profile = params["IamInstanceProfile"]
        kind = "arn" if profile.get("Arn") else "name"
        text = profile.get("Arn") or profile.get("Name")
        raise Ec2Error(
            "InvalidParameterValue",
            f"Value ({text}) for parameter iamInstanceProfile.{kind} is invalid. Invalid IAM Instance Profile {kind}",
        )
    monitoring = params.get("Monitoring") or {}
    refuse_unsupported(monitoring, frozenset({"Enabled"}))
    return LaunchOptions(
        monitoring=bool(monitoring.get("Enabled")),
        shutdown_behavior=shutdown_behavior(params.get("InstanceInitiatedShutdownBehavior") or "stop"),
        disable_api_termination=bool(params.get("DisableApiTermination")),
        disable_api_stop=bool(params.get("DisableApiStop")),
    )


def shutdown_behavior(text: str) -> str:
    """The behavior, if there is one of that name.

    Raises:
        Ec2Error: InvalidParameterValue.

    """
    if text not in SHUTDOWN_BEHAVIORS:
        raise Ec2Error(
            "InvalidParameterValue",
            f"Value ({text}) for parameter instanceInitiatedShutdownBehavior is invalid. Expecting stop or terminate.",
        )
    return text


def check_cpu(options: Mapping[str, Any], size: InstanceType) -> None:
    """Refuse CPU options that ask for other processors than the size has.

    Raises:
        Ec2Error: UnsupportedOperation.

    """
    allowed: _Allowed = {"CoreCount": (size.vcpus,), "ThreadsPerCore": (1,), "AmdSevSnp": ("disabled",)}
    refuse_unsupported(options, frozenset(), allowed)


def _check_device(mapping: Mapping[str, Any]) -> None:
    """Pass a mapping that asks for no volume of a certain kind; there are no volumes to attach."""
    refuse_unsupported(mapping, frozenset({"DeviceName", "NoDevice", "VirtualName", "Ebs"}))
    refuse_unsupported(mapping.get("Ebs") or {}, frozenset(), {"DeleteOnTermination": (True,), "Encrypted": (False,)})
