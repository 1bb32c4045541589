"""Kinds of resources that this cloud has none of, but that clients ask about on their way: true, empty answers.

An id or a name that is asked for is refused as EC2 refuses one that does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from econe_api.actions import instance_rows, pagination, parameters
from econe_api.actions.absent_networks import NETWORKS
from econe_api.actions.filters import Field, Filters
from econe_api.call import Call, Handler
from econe_api.errors import Ec2Error
from econe_api.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class _Kind:
    """``member`` of the answer is empty; by parameter that names some: the code and the words of a refusal."""

    member: str
    refusals: Mapping[str, tuple[str, str]]


def _volume(parameter: str = "VolumeIds") -> Mapping[str, tuple[str, str]]:
    return {parameter: ("InvalidVolume.NotFound", "The volume '{}' does not exist.")}


_TEMPLATES = {
    "LaunchTemplateIds": (
        "InvalidLaunchTemplateId.NotFound",
        "The specified launch template, with template ID {}, does not exist.",
    ),
    "LaunchTemplateNames": (
        "InvalidLaunchTemplateName.NotFoundException",
        "At least one of the launch templates specified in the request does not exist ({}).",
    ),
}
_KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "DescribeIamInstanceProfileAssociations": _Kind(
            "IamInstanceProfileAssociations",
            {"AssociationIds": ("InvalidAssociationID.NotFound", "The association ID '{}' does not exist")},
        ),
        "DescribeLaunchTemplateVersions": _Kind(
            "LaunchTemplateVersions",
            {
                "LaunchTemplateId": _TEMPLATES["LaunchTemplateIds"],
                "LaunchTemplateName": _TEMPLATES["LaunchTemplateNames"],
            },
        ),
        "DescribeLaunchTemplates": _Kind("LaunchTemplates", _TEMPLATES),
        "DescribePlacementGroups": _Kind(
            "PlacementGroups",
            {
                "GroupNames": ("InvalidPlacementGroup.Unknown", "The Placement Group '{}' is unknown."),
                "GroupIds": ("InvalidPlacementGroupId.Unknown", "The Placement Group '{}' is unknown."),
            },
        ),
        "DescribeReservedInstances": _Kind(
            "ReservedInstances",
            {"ReservedInstancesIds": ("InvalidReservedInstancesId", "The reserved instance ID '{}' does not exist")},
        ),
        "DescribeSnapshots": _Kind(
            "Snapshots", {"SnapshotIds": ("InvalidSnapshot.NotFound", "The snapshot '{}' does not exist.")}
        ),
        "DescribeSpotInstanceRequests": _Kind(
            "SpotInstanceRequests",
            {
                "SpotInstanceRequestIds": (
                    "InvalidSpotInstanceRequestID.NotFound",
                    "The spot instance request ID '{}' does not exist",
                )
            },
        ),
        "DescribeVolumeStatus": _Kind("VolumeStatuses", _volume()),
        "DescribeVolumes": _Kind("Volumes", _volume()),
        "DescribeVolumesModifications": _Kind("VolumesModifications", _volume()),
        **{
            action: _Kind(member, {parameter: (code, "The ID '{}' does not exist")} if parameter else {})
            for action, (member, parameter, code) in NETWORKS.items()
        },
    }
)


def _handler(kind: _Kind) -> Handler:
    def describe(call: Call, _txn: Transaction) -> dict[str, Any]:
        """Show none."""
        pagination.check(call.params)
        for parameter, (code, words) in kind.refusals.items():
            asked = call.params.get(parameter)
            if asked:
                raise Ec2Error(code, words.format(asked if isinstance(asked, str) else asked[0]))
        _, _ = pagination.page((), lambda _item: (), call.params, call.action)
        return {kind.member: []}

    return describe


#: What answers for each action.
HANDLERS: Mapping[str, Handler] = MappingProxyType({action: _handler(kind) for action, kind in _KINDS.items()})

_CREDIT_FIELDS: dict[str, Field[str]] = {"instance-id": Field(lambda instance: (instance,))}


def describe_credits(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the credit option of the instances named; without names only those with the option "unlimited": none."""
    pagination.check(call.params, "InstanceIds")
    filters: Filters[str] = Filters(call.params.get("Filters"), _CREDIT_FIELDS)
    named = call.params.get("InstanceIds")
    views = instance_rows.named(txn, named) if named else []
    return {
        "InstanceCreditSpecifications": [
            {"InstanceId": view.row.id, "CpuCredits": "standard"} for view in views if filters.matches(view.row.id)
        ]
    }


def describe_event_notifications(call: Call, _txn: Transaction) -> dict[str, Any]:
    """Show that no tags are put into notifications about events: there are no such notifications."""
    parameters.refuse_unsupported(call.params, frozenset())
    return {"InstanceTagAttribute": {"InstanceTagKeys": [], "IncludeAllTagsOfInstance": False}}
