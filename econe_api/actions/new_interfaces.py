"""Rows of new network interfaces, gathered and inserted together."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, func, insert, select

from econe_api.actions import group_lookup, ipv6, private_addresses, tag_rows
from econe_api.errors import Ec2Error
from econe_api.store.quotas import GROUPS_PER_INTERFACE, NETWORK_INTERFACES
from econe_api.store.records import Kind
from econe_api.store.schema import groups, interface_groups, interfaces, ipv6_addresses, secondary_addresses
from econe_api.store.transaction import Transaction


@dataclass(slots=True)
class NewInterfaces:
    """The rows so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    _secondary: list[dict[str, Any]] = field(default_factory=list)
    _ipv6: list[dict[str, Any]] = field(default_factory=list)
    _members: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        txn: Transaction,
        subnet: Row[Any],
        addresses: tuple[str, tuple[str, ...]],
        six: Sequence[str],
        chosen: Sequence[str],
        **more: Any,
    ) -> str:
        """One more: its primary and secondary addresses, IPv6 addresses, groups, further columns; gives its id."""
        interface = txn.new_id("eni")
        self.rows.append(
            {
                "id": interface,
                "account": txn.account,
                "vpc": subnet.vpc,
                "subnet": subnet.id,
                "private_ip": addresses[0],
                "created": txn.now,
                **more,
            }
        )
        self._secondary += private_addresses.secondary_rows(subnet.vpc, interface, addresses[1])
        self._ipv6 += ipv6.rows(subnet.vpc, interface, six)
        self._members += [{"interface": interface, "group": group} for group in chosen]
        return interface

    def insert(self, txn: Transaction, tags: Mapping[str, str]) -> None:
        """Write all of them, with MACs and tags.

        Raises:
            Ec2Error: NetworkInterfaceLimitExceeded.

        """
        if not self.rows:
            return
        mine = select(func.count()).select_from(interfaces).where(interfaces.c.account == txn.account)
        if (txn.connection.scalar(mine) or 0) + len(self.rows) > txn.quota(NETWORK_INTERFACES):
            raise Ec2Error(
                "NetworkInterfaceLimitExceeded", "The maximum number of network interfaces has been reached."
            )
        for row, mac in zip(self.rows, _macs(txn, len(self.rows)), strict=True):
            row["mac"] = mac
            txn.touch(Kind.INTERFACE, row["id"])
        for table, rows in (
            (interfaces, self.rows),
            (secondary_addresses, self._secondary),
            (ipv6_addresses, self._ipv6),
            (interface_groups, self._members),
        ):
            if rows:
                txn.connection.execute(insert(table), rows)
        tag_rows.write(txn, "network-interface", [row["id"] for row in self.rows], tags)


def attachment(txn: Transaction, instance: str, device_index: int, state: str) -> dict[str, Any]:
    """The columns of a new attachment."""
    return {
        "instance": instance,
        "device_index": device_index,
        "attachment": txn.new_id("eni-attach"),
        "attachment_state": state,
        "attached": txn.now,
    }


def choose_groups(txn: Transaction, subnet: Row[Any], ids: Sequence[str], names: Sequence[str] = ()) -> list[str]:
    """The groups that an interface in a subnet shall be in; the VPC's default group when none is named.

    Raises:
        Ec2Error: as group_lookup.resolve; InvalidParameter, SecurityGroupsPerInterfaceLimitExceeded.

    """
    if not ids and not names:
        query = select(groups.c.id).where(groups.c.vpc == subnet.vpc, groups.c.name == "default")
        return [txn.connection.execute(query).scalar_one()]
    rows = group_lookup.resolve(txn, ids, names)
    for row in rows:
        if row.vpc != subnet.vpc:
            raise Ec2Error(
                "InvalidParameter", f"Security group {row.id} and subnet {subnet.id} belong to different networks."
            )
    refuse_many_groups(txn, len(rows))
    return [row.id for row in rows]


def refuse_many_groups(txn: Transaction, count: int) -> None:
    """Refuse more groups on an interface than the quota allows.

    Raises:
        Ec2Error: SecurityGroupsPerInterfaceLimitExceeded.

    """
    if count > txn.quota(GROUPS_PER_INTERFACE):
        raise Ec2Error(
            "SecurityGroupsPerInterfaceLimitExceeded",
            "The maximum number of security groups per interface has been reached.",
        )


def _macs(txn: Transaction, count: int) -> list[str]:
    """Fresh MACs of the locally administered range 02:..., which no real card has."""
    chosen: list[str] = []
    while len(chosen) < count:
        drawn = {"02:" + secrets.token_bytes(5).hex(":") for _ in range(count - len(chosen))}.difference(chosen)
        chosen += drawn.difference(txn.connection.scalars(select(interfaces.c.mac).where(interfaces.c.mac.in_(drawn))))
    return chosen
