"""Instances with their interfaces, groups and addresses: loaded in nine statements, shown in the API's shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, or_, select

from econe_api.actions import identifiers, interface_rows, metadata_options, tag_rows
from econe_api.actions.interface_rows import InterfaceView
from econe_api.actions.tag_rows import Tags
from econe_api.errors import Ec2Error
from econe_api.store.metadata_tables import MetadataOptions, load_options
from econe_api.store.schema import instances, interfaces
from econe_api.store.transaction import Transaction

#: States and their codes ("InstanceState" in the EC2 API reference).
STATES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
#: States that an instance never leaves for a living one.
ENDED = ("shutting-down", "terminated")

#: What an instance boots from, as clients expect it of one that can be stopped; there is no volume behind it.
ROOT_DEVICE = "/dev/xvda"
ROOT_DEVICE_TYPE = "ebs"
HYPERVISOR = "xen"  # what EC2 says of every instance
PLATFORM = "Linux/UNIX"
USAGE_OPERATION = "RunInstances"

_SHOWN_AFTER_END = timedelta(hours=1)


#: What every instance shows alike.
_ALIKE: Mapping[str, Any] = {
    "PlatformDetails": PLATFORM,
    "UsageOperation": USAGE_OPERATION,
    "CurrentInstanceBootMode": "legacy-bios",
    "CapacityReservationSpecification": {"CapacityReservationPreference": "open"},
    "HibernationOptions": {"Configured": False},
    "EnclaveOptions": {"Enabled": False},
    "MaintenanceOptions": {"AutoRecovery": "default"},
    "PrivateDnsNameOptions": {
        "HostnameType": "ip-name",
        "EnableResourceNameDnsARecord": False,
        "EnableResourceNameDnsAAAARecord": False,
    },
}


@dataclass(frozen=True, slots=True)
class InstanceView:
    """An instance's row with its tags and its interfaces by device index; an ended one has no interfaces."""

    row: Row[Any]
    interfaces: tuple[InterfaceView, ...]
    tags: Tags
    domain: str

    @property
    def private_dns_name(self) -> str:
        """The name that DHCP gives the instance, "" once it has no interface."""
        if not self.interfaces:
            return ""
        return f"ip-{self.interfaces[0].row.private_ip.replace('.', '-')}.{self.domain}"

    metadata: MetadataOptions


def visible(txn: Transaction) -> ColumnElement[bool]:
    """The caller's instances, ended ones for an hour more."""
    recent = or_(instances.c.state != "terminated", instances.c.terminated > txn.now - _SHOWN_AFTER_END)
    return (instances.c.account == txn.account) & recent


def named(txn: Transaction, ids: Sequence[str]) -> list[InstanceView]:
    """The instances named, each once, in the order named.

    Raises:
        Ec2Error: InvalidInstanceID.Malformed, InvalidInstanceID.NotFound.

    """
    wanted = identifiers.check("i", ids)
    found = {view.row.id: view for view in load(txn, visible(txn), instances.c.id.in_(wanted))}
    refuse_absent(wanted, found)
    return [found[text] for text in wanted]


def named_rows(txn: Transaction, ids: Sequence[str]) -> list[Row[Any]]:
    """The rows alone of the instances named; raises as :func:`named` does."""
    wanted = identifiers.check("i", ids)
    chosen = select(instances).where(visible(txn), instances.c.id.in_(wanted))
    found = {row.id: row for row in txn.connection.execute(chosen)}
    refuse_absent(wanted, found)
    return [found[text] for text in wanted]


def refuse_absent(wanted: Sequence[str], found: Container[str]) -> None:
    """Refuse ids that are wanted and not found.

    Raises:
        Ec2Error: InvalidInstanceID.NotFound.

    """
    absent = [text for text in wanted if text not in found]
    if len(absent) == 1:
        raise Ec2Error("InvalidInstanceID.NotFound", f"The instance ID '{absent[0]}' does not exist")
    if absent:
        raise Ec2Error("InvalidInstanceID.NotFound", f"The instance IDs '{', '.join(absent)}' do not exist")


def load(txn: Transaction, *clauses: ColumnElement[bool]) -> list[InstanceView]:
    """The instances that the clauses choose."""
    rows = list(txn.connection.execute(select(instances).where(*clauses)))
    if not rows:
        return []
    chosen = select(instances.c.id).where(*clauses, instances.c.state.not_in(ENDED))
    views = defaultdict(list)
    for view in interface_rows.load(txn, interfaces.c.instance.in_(chosen)):
        views[view.row.instance].append(view)
    tags = tag_rows.load(txn, "instance", [row.id for row in rows])
    options = load_options(txn.connection, txn.config, [row.id for row in rows])
    domain = txn.config.dhcp.domain
    return [InstanceView(row, tuple(views[row.id]), tags[row.id], domain, options[row.id]) for row in rows]


def state(name: str) -> dict[str, Any]:
    """InstanceState of a state's name."""
    return {"Code": STATES[name], "Name": name}


def instance(view: InstanceView) -> dict[str, Any]:
    """Instance of a view.  There is no DNS, so the public name is empty; the private one is what DHCP says."""
    row = view.row
    shape: dict[str, Any] = {
        "InstanceId": row.id,
        "ImageId": row.image,
        "State": state(row.state),
        "PrivateDnsName": view.private_dns_name,
        "PublicDnsName": "",
        "StateTransitionReason": transition(row),
        "AmiLaunchIndex": row.launch_index,
        "ProductCodes": [],
        "InstanceType": row.type,
        "LaunchTime": row.launched,
        "Placement": {"AvailabilityZone": row.zone, "GroupName": "", "Tenancy": "default"},
        "Monitoring": monitoring(wanted=row.monitoring),
        "Architecture": "x86_64",
        "Hypervisor": HYPERVISOR,
        "RootDeviceName": ROOT_DEVICE,
        "RootDeviceType": ROOT_DEVICE_TYPE,
        "BlockDeviceMappings": [],
        "VirtualizationType": "hvm",
        "EbsOptimized": False,
        "EnaSupport": False,
        **_ALIKE,
        "NetworkInterfaces": [interface_rows.of_instance(interface) for interface in view.interfaces],
        "SecurityGroups": [],
        "MetadataOptions": metadata_options.shape(view.metadata),
    }
    optional: dict[str, Any] = {
        "KeyName": row.key_name,
        "ClientToken": row.client_token,
        "Tags": tag_rows.shape(view.tags),
    }
    if row.reason_code:
        optional["StateReason"] = {"Code": row.reason_code, "Message": row.reason or ""}
    if view.interfaces:
        shape |= _primary(view.interfaces[0])
    return shape | {name: value for name, value in optional.items() if value}


def _primary(view: InterfaceView) -> dict[str, Any]:
    shape = {
        "VpcId": view.row.vpc,
        "SubnetId": view.row.subnet,
        "PrivateIpAddress": view.row.private_ip,
        "SourceDestCheck": True,
        "SecurityGroups": interface_rows.group_shapes(view),
    }
    if view.ipv6:
        shape["Ipv6Address"] = view.ipv6[0]
    return shape if view.address is None else shape | {"PublicIpAddress": view.address.public_ip}


def groups_of(views: Iterable[InterfaceView]) -> list[dict[str, str]]:
    """GroupIdentifierList of the groups of interfaces."""
    return [group for view in views for group in interface_rows.group_shapes(view)]


def monitoring(*, wanted: bool) -> dict[str, str]:
    """Monitoring of an instance."""
    return {"State": "enabled" if wanted else "disabled"}


def transition(row: Row[Any]) -> str:
    """EC2's short words for why an instance stopped or ended."""
    if row.reason_code != "Client.UserInitiatedShutdown":
        return ""
    moment = {"terminated": row.terminated, "stopped": row.stopped}.get(row.state)
    return f"User initiated ({moment:%Y-%m-%d %H:%M:%S} GMT)" if moment else "User initiated"
