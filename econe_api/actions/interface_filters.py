"""The filters of DescribeNetworkInterfaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Row

from econe_api.actions import zones
from econe_api.actions.filters import Field
from econe_api.actions.interface_rows import InterfaceView
from econe_api.config import Config
from econe_api.store.schema import interfaces

_View = Field[InterfaceView]


def _row(read: Callable[[Row[Any]], str | None], column: ColumnElement[Any] | None = None) -> _View:
    return Field(lambda view: (read(view.row),), column)


def _attached(read: Callable[[InterfaceView], str | None]) -> _View:
    """Of the attachment: an interface without one has no value."""
    return Field(lambda view: (read(view),) if view.row.instance is not None else ())


def _always(value: str) -> _View:
    return Field(lambda _view: (value,))


def _never() -> _View:
    return Field(lambda _view: ())


def _each(read: Callable[[Row[Any]], str | None]) -> _View:
    """Of the elastic IPs of all addresses."""
    return Field(lambda view: (read(address.elastic) for address in view.addresses if address.elastic is not None))


def _first(read: Callable[[Row[Any]], str | None]) -> _View:
    """Of the elastic IP of the primary address."""
    return Field(lambda view: () if view.address is None else (read(view.address),))


def _flag(value: bool) -> str:
    return "true" if value else "false"


def fields(config: Config) -> dict[str, _View]:
    """All of them."""
    numbers = zones.ids(config)
    return _FIELDS | {"availability-zone-id": _row(lambda row: numbers.get(row.zone))}


_FIELDS: dict[str, _View] = {
    "addresses.association.owner-id": _each(lambda row: row.account),
    "addresses.association.public-ip": _each(lambda row: row.public_ip),
    "addresses.primary": Field(lambda view: (_flag(address.primary) for address in view.addresses)),
    "addresses.private-ip-address": Field(lambda view: (address.ip for address in view.addresses)),
    "association.allocation-id": _first(lambda row: row.allocation),
    "association.association-id": _first(lambda row: row.association),
    "association.ip-owner-id": _first(lambda row: row.account),
    "association.public-dns-name": _first(lambda _row: ""),
    "association.public-ip": _first(lambda row: row.public_ip),
    "attachment.attach-time": _attached(lambda view: f"{view.row.attached:%Y-%m-%dT%H:%M:%S}.000Z"),
    "attachment.attachment-id": _attached(lambda view: view.row.attachment),
    "attachment.delete-on-termination": _attached(lambda view: _flag(view.row.delete_on_termination)),
    "attachment.device-index": _attached(lambda view: str(view.row.device_index)),
    "attachment.instance-id": _row(lambda row: row.instance, interfaces.c.instance),
    "attachment.instance-owner-id": _attached(lambda view: view.row.account),
    "attachment.status": _attached(lambda view: view.attachment_status),
    "availability-zone": _row(lambda row: row.zone),
    "description": _row(lambda row: row.description, interfaces.c.description),
    "group-id": Field(lambda view: (group for group, _ in view.groups)),
    "group-name": Field(lambda view: (name for _, name in view.groups)),
    "interface-type": _always("interface"),
    "ipv6-addresses.ipv6-address": Field(lambda view: view.ipv6),
    "mac-address": _row(lambda row: row.mac, interfaces.c.mac),
    "network-interface-id": _row(lambda row: row.id, interfaces.c.id),
    "operator.managed": _always("false"),
    "operator.principal": _never(),
    "owner-id": _row(lambda row: row.account, interfaces.c.account),
    "private-dns-name": _never(),
    "private-ip-address": Field(lambda view: (address.ip for address in view.addresses)),
    "requester-id": _never(),
    "requester-managed": _always("false"),
    "source-dest-check": _always("true"),
    "status": Field(lambda view: (view.status,)),
    "subnet-id": _row(lambda row: row.subnet, interfaces.c.subnet),
    "vpc-id": _row(lambda row: row.vpc, interfaces.c.vpc),
}
