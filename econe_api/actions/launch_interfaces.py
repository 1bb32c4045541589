"""The network interfaces of a launch: existing ones that instances take over, and new ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, update

from econe_api.actions import attachments, interface_limits, interface_rows, ipv6, networks, new_interfaces
from econe_api.actions.interface_request import InterfaceRequest
from econe_api.actions.interface_rows import InterfaceView
from econe_api.actions.launch_request import LaunchRequest
from econe_api.actions.new_interfaces import NewInterfaces
from econe_api.actions.private_addresses import FreeAddresses
from econe_api.errors import Ec2Error
from econe_api.store.attachments import ATTACHED
from econe_api.store.records import Kind
from econe_api.store.schema import interfaces
from econe_api.store.transaction import Transaction


class LaunchedInterfaces:
    """What each instance of a launch is plugged in with; its methods are called in the order written here."""

    def __init__(self, txn: Transaction, request: LaunchRequest) -> None:
        """Look up what the request names.

        Raises:
            Ec2Error: AttachmentLimitExceeded, PrivateIpAddressLimitExceeded, InvalidNetworkInterfaceID.NotFound,
                InvalidNetworkInterface.InUse, InvalidSubnetID.NotFound, InvalidParameterValue.

        """
        self._txn = txn
        self._request = request
        size = request.size.name
        interface_limits.refuse_interfaces(txn, size, len(request.links))
        self._existing = self._load_existing()
        named = {link.subnet for link in request.links if link.subnet}
        named |= {view.row.subnet for view in self._existing.values()}
        self._subnets = {subnet: networks.subnet(txn, subnet) for subnet in sorted(named)}
        zones = {row.zone for row in self._subnets.values()}
        if len(zones) > 1:
            raise Ec2Error(
                "InvalidParameterCombination", "All network interfaces of an instance must be in one availability zone"
            )
        for link in request.links:
            wanted = len(self._existing[link.existing].addresses) if link.existing else link.addresses.wanted
            interface_limits.refuse_addresses(txn, size, wanted)
        #: Where the instances must go; None = anywhere.
        self.zone = min(zones) if zones else None
        self.subnet = self._subnet_of(request.primary)
        self._groups: dict[int, list[str]] = {}
        self._free = FreeAddresses()

    def _load_existing(self) -> dict[str, InterfaceView]:
        ids = [link.existing for link in self._request.links if link.existing]
        views = interface_rows.named(self._txn, ids) if ids else []
        for view in views:
            if view.row.instance is not None:
                raise attachments.in_use(view.row.id)
        return {view.row.id: view for view in views}

    def _subnet_of(self, link: InterfaceRequest) -> Row[Any] | None:
        named = self._existing[link.existing].row.subnet if link.existing else link.subnet
        return self._subnets[named] if named else None

    def choose_groups(self, subnet: Row[Any]) -> None:
        """Find the groups of every new interface; ``subnet`` is where the first one goes."""
        for link in self._request.links:
            if link.existing is None:
                where = self._subnet_of(link) or subnet
                names = self._request.group_names if link is self._request.primary else ()
                self._groups[link.device_index] = new_interfaces.choose_groups(self._txn, where, link.groups, names)

    def look_for_addresses(self, subnets: Sequence[Row[Any]]) -> None:
        """Read the free addresses of all subnets that may be needed."""
        self._free = FreeAddresses.of(self._txn, *{*self._subnets, *(subnet.id for subnet in subnets)})

    def most_in(self, subnet: Row[Any], count: int) -> int:
        """How many of ``count`` instances ``subnet`` has addresses for.

        Raises:
            Ec2Error: InvalidParameterValue, InvalidIPAddress.InUse.

        """
        each = 0
        for link in self._request.links:
            if link.existing is None and (self._subnet_of(link) or subnet).id == subnet.id:
                each += link.addresses.wanted
                if link.addresses.primary is not None:
                    self._free.check_free(subnet, link.addresses.primary)
        return len(self._free.few(subnet, count * each)) // each if each else count

    def give(self, instances: Sequence[str], subnet: Row[Any]) -> None:
        """Make and attach the interfaces of new instances; ``subnet`` is where the first ones go."""
        made = NewInterfaces()
        for link in self._request.links:
            if link.existing:
                (instance,) = instances
                self._take_over(link, instance)
                continue
            where = self._subnet_of(link) or subnet
            six = ipv6.choose(self._txn, where, link.ipv6, len(instances))
            for instance, own_six in zip(instances, six, strict=True):
                columns = new_interfaces.attachment(self._txn, instance, link.device_index, ATTACHED)
                made.add(
                    self._txn,
                    where,
                    self._free.choose(where, link.addresses),
                    own_six,
                    self._groups[link.device_index],
                    description=link.description,
                    delete_on_termination=link.delete_on_termination,
                    **columns,
                )
        made.insert(self._txn, self._request.tags.get("network-interface", {}))

    def _take_over(self, link: InterfaceRequest, instance: str) -> None:
        columns = new_interfaces.attachment(self._txn, instance, link.device_index, ATTACHED)
        self._txn.connection.execute(
            update(interfaces)
            .where(interfaces.c.id == link.existing)
            .values(**columns, delete_on_termination=link.delete_on_termination)
        )
        self._txn.touch(Kind.INTERFACE, str(link.existing))
