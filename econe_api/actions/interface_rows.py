"""Network interfaces with their groups and addresses: loaded in six statements, shown in the API's shapes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Row, Select, bindparam, select

from econe_api.actions import identifiers, ipv6, tag_rows
from econe_api.actions.tag_rows import Tags
from econe_api.errors import Ec2Error
from econe_api.store.attachments import ATTACHED, DETACHING
from econe_api.store.schema import (
    addresses,
    groups,
    instances,
    interface_groups,
    interfaces,
    secondary_addresses,
    subnets,
)
from econe_api.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class PrivateAddress:
    """A private address of an interface, and the row of the elastic IP that stands for it, if one does."""

    ip: str
    primary: bool
    elastic: Row[Any] | None


@dataclass(frozen=True, slots=True)
class InterfaceView:
    """An interface: its row, its groups as (id, name), by id, its addresses, the primary one first, its IPv6, its tags.

    The row has ``zone`` too, and ``instance_state`` and ``instance_type`` while it is attached.
    """

    row: Row[Any]
    groups: tuple[tuple[str, str], ...]
    addresses: tuple[PrivateAddress, ...]
    ipv6: tuple[str, ...]
    tags: Tags

    @property
    def address(self) -> Row[Any] | None:
        """The row of the elastic IP of the primary address."""
        return self.addresses[0].elastic

    @property
    def status(self) -> str:
        """NetworkInterfaceStatus."""
        if self.row.instance is None:
            return "available"
        return DETACHING if self.row.attachment_state == DETACHING else "in-use"

    @property
    def attachment_status(self) -> str:
        """AttachmentStatus of one that is attached."""
        if self.row.instance_state == "pending":
            return "attaching"
        return str(self.row.attachment_state or ATTACHED)


@dataclass(frozen=True, slots=True)
class _Belongings:
    """The statements that read what belongs to chosen interfaces."""

    groups: Select[Any]
    addresses: Select[Any]
    secondary: Select[Any]
    ipv6: Select[Any]

    @classmethod
    def of(cls, chosen: Select[tuple[str]] | BindParameter[Any]) -> _Belongings:
        held = secondary_addresses.c
        return cls(
            select(interface_groups.c.interface, groups.c.id, groups.c.name)
            .join(groups, groups.c.id == interface_groups.c.group)
            .where(interface_groups.c.interface.in_(chosen))
            .order_by(groups.c.id),
            select(addresses).where(addresses.c.interface.in_(chosen)),
            select(secondary_addresses).where(held.interface.in_(chosen)).order_by(held.sort, held.address),
            ipv6.of(chosen),
        )


# Built once: to build a statement takes longer than to execute it.
_FEW = 500
_OF_FEW = _Belongings.of(bindparam("ids", expanding=True))
_ROWS = (
    select(
        interfaces,
        subnets.c.zone,
        instances.c.state.label("instance_state"),
        instances.c.type.label("instance_type"),
    )
    .join(subnets, subnets.c.id == interfaces.c.subnet)
    .outerjoin(instances, instances.c.id == interfaces.c.instance)
    .order_by(interfaces.c.device_index)
)
_OWN = interfaces.c.account == bindparam("account")
_NAMED = _ROWS.where(_OWN, interfaces.c.id.in_(bindparam("ids", expanding=True)))
_ONE = select(interfaces).where(_OWN, interfaces.c.id == bindparam("id"))


def not_found(ids: Sequence[str]) -> Ec2Error:
    """The error for interfaces that are not there, or not the caller's."""
    if len(ids) == 1:
        return Ec2Error("InvalidNetworkInterfaceID.NotFound", f"The networkInterface ID '{ids[0]}' does not exist")
    return Ec2Error("InvalidNetworkInterfaceID.NotFound", f"The networkInterface IDs '{', '.join(ids)}' do not exist")


def named(txn: Transaction, ids: Sequence[str]) -> list[InterfaceView]:
    """The caller's interfaces named, each once, in the order named.

    Raises:
        Ec2Error: InvalidNetworkInterfaceId.Malformed, InvalidNetworkInterfaceID.NotFound.

    """
    wanted = identifiers.check("eni", ids)
    if len(wanted) <= _FEW:
        rows = txn.connection.execute(_NAMED, {"account": txn.account, "ids": wanted}).all()
        views = _views(txn, rows, _OF_FEW, {"ids": [row.id for row in rows]})
    else:
        views = load(txn, own(txn), interfaces.c.id.in_(wanted))
    found = {view.row.id: view for view in views}
    absent = [text for text in wanted if text not in found]
    if absent:
        raise not_found(absent)
    return [found[text] for text in wanted]


def one(txn: Transaction, interface: str) -> Row[Any]:
    """The row of one of the caller's interfaces, by itself (one statement).

    Raises:
        Ec2Error: InvalidNetworkInterfaceId.Malformed, InvalidNetworkInterfaceID.NotFound.

    """
    identifiers.check("eni", [interface])
    row = txn.connection.execute(_ONE, {"account": txn.account, "id": interface}).first()
    if row is None:
        raise not_found([interface])
    return row


def own(txn: Transaction) -> ColumnElement[bool]:
    """The caller's interfaces."""
    return interfaces.c.account == txn.account


def load(txn: Transaction, *clauses: ColumnElement[bool]) -> list[InterfaceView]:
    """The interfaces that the clauses (on the table alone) choose, by device index."""
    rows = txn.connection.execute(_ROWS.where(*clauses)).all()
    if len(rows) <= _FEW:
        return _views(txn, rows, _OF_FEW, {"ids": [row.id for row in rows]})
    # More than a statement takes by name.
    return _views(txn, rows, _Belongings.of(select(interfaces.c.id).where(*clauses)), {})


def _views(
    txn: Transaction, rows: Sequence[Row[Any]], belongings: _Belongings, named: Mapping[str, Any]
) -> list[InterfaceView]:
    if not rows:
        return []
    execute = txn.connection.execute
    members: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for interface, group, name in execute(belongings.groups, named):
        members[interface].append((group, name))
    elastic = {(row.interface, row.private_ip): row for row in execute(belongings.addresses, named)}
    further: defaultdict[str, list[str]] = defaultdict(list)
    for row in execute(belongings.secondary, named):
        further[row.interface].append(row.address)
    six: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for row in execute(belongings.ipv6, named):
        six[row.interface] += (row.address,)
    tags = tag_rows.load(txn, "network-interface", [row.id for row in rows])
    views = []
    for row in rows:
        own_addresses = tuple(
            PrivateAddress(ip, ip == row.private_ip, elastic.get((row.id, ip)))
            for ip in (row.private_ip, *further[row.id])
        )
        views.append(InterfaceView(row, tuple(members[row.id]), own_addresses, six[row.id], tags[row.id]))
    return views


def group_shapes(view: InterfaceView) -> list[dict[str, str]]:
    """GroupIdentifierList."""
    return [{"GroupId": group, "GroupName": name} for group, name in view.groups]


def attachment(view: InterfaceView) -> dict[str, Any]:
    """What both shapes of an attachment have, of an interface that is attached."""
    row = view.row
    return {
        "AttachmentId": row.attachment,
        "DeviceIndex": row.device_index,
        "Status": view.attachment_status,
        "AttachTime": row.attached,
        "DeleteOnTermination": row.delete_on_termination,
        "NetworkCardIndex": 0,
    }


def _common(view: InterfaceView) -> dict[str, Any]:
    row = view.row
    return {
        "NetworkInterfaceId": row.id,
        "SubnetId": row.subnet,
        "VpcId": row.vpc,
        "Description": row.description,
        "OwnerId": row.account,
        "Status": view.status,
        "MacAddress": row.mac,
        "PrivateIpAddress": row.private_ip,
        "SourceDestCheck": True,
        "Groups": group_shapes(view),
        "InterfaceType": "interface",
    }


def of_instance(view: InterfaceView) -> dict[str, Any]:
    """InstanceNetworkInterface.  There is no DNS, so the names are empty."""
    shown = [_address(address, _short_association) for address in view.addresses]
    return {
        **_common(view),
        "Ipv6Addresses": ipv6.shape(view.ipv6),
        "PrivateIpAddresses": shown,
        "Attachment": attachment(view),
        **{name: value for name, value in shown[0].items() if name == "Association"},
    }


def network_interface(view: InterfaceView) -> dict[str, Any]:
    """NetworkInterface."""
    shown = [_address(address, _association) for address in view.addresses]
    shape = {
        **_common(view),
        "AvailabilityZone": view.row.zone,
        "RequesterManaged": False,
        "Ipv6Addresses": ipv6.shape(view.ipv6),
        "PrivateIpAddresses": shown,
        "TagSet": tag_rows.shape(view.tags),
        **{name: value for name, value in shown[0].items() if name == "Association"},
    }
    if view.ipv6:
        shape["Ipv6Address"] = view.ipv6[0]
    if view.row.instance is not None:
        shape["Attachment"] = attached_to(view)
    return shape


def attached_to(view: InterfaceView) -> dict[str, Any]:
    """NetworkInterfaceAttachment of an interface that is attached."""
    return attachment(view) | {"InstanceId": view.row.instance, "InstanceOwnerId": view.row.account}


def _address(address: PrivateAddress, association: Any) -> dict[str, Any]:
    shape: dict[str, Any] = {"Primary": address.primary, "PrivateIpAddress": address.ip}
    return shape if address.elastic is None else shape | {"Association": association(address.elastic)}


def _short_association(row: Row[Any]) -> dict[str, Any]:
    return {"PublicIp": row.public_ip, "PublicDnsName": "", "IpOwnerId": row.account}


def _association(row: Row[Any]) -> dict[str, Any]:
    return _short_association(row) | {"AllocationId": row.allocation, "AssociationId": row.association}
