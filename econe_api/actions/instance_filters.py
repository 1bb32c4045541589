"""The filters of DescribeInstances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Row

from econe_api.actions.filters import Field
from econe_api.actions.instance_rows import (
    HYPERVISOR,
    PLATFORM,
    ROOT_DEVICE,
    ROOT_DEVICE_TYPE,
    STATES,
    USAGE_OPERATION,
    InstanceView,
    transition,
)
from econe_api.actions.interface_rows import InterfaceView, PrivateAddress
from econe_api.store.schema import instances

_View = Field[InstanceView]


def _row(read: Callable[[Row[Any]], str | None], column: ColumnElement[Any] | None = None) -> _View:
    return Field(lambda view: (read(view.row),), column)


def _always(value: str) -> _View:
    return Field(lambda _view: (value,))


def _never() -> _View:
    """A filter on something that no instance has."""
    return Field(lambda _view: ())


def _first(read: Callable[[InterfaceView], str | None]) -> _View:
    return Field(lambda view: (read(interface) for interface in view.interfaces[:1]))


def _each(read: Callable[[InterfaceView], str | None]) -> _View:
    return Field(lambda view: (read(interface) for interface in view.interfaces))


def _group(part: int, first: int | None = None) -> _View:
    return Field(lambda view: (group[part] for interface in view.interfaces[:first] for group in interface.groups))


def _all_addresses(read: Callable[[PrivateAddress], str | None]) -> _View:
    return Field(lambda view: (read(address) for link in view.interfaces for address in link.addresses))


def _of_address(column: str) -> Callable[[InterfaceView], str | None]:
    return lambda view: None if view.address is None else getattr(view.address, column)


def _elastic_is(text: str) -> _View:
    return _all_addresses(lambda address: None if address.elastic is None else text)


def _six(read: Callable[[str], str]) -> _View:
    return Field(lambda view: (read(address) for link in view.interfaces for address in link.ipv6))


def _elastic(column: str) -> _View:
    return _all_addresses(lambda address: None if address.elastic is None else getattr(address.elastic, column))


FIELDS: dict[str, _View] = {
    "affinity": _never(),
    "architecture": _always("x86_64"),
    "availability-zone": _row(lambda row: row.zone, instances.c.zone),
    "block-device-mapping.attach-time": _never(),
    "block-device-mapping.delete-on-termination": _never(),
    "block-device-mapping.device-name": _never(),
    "block-device-mapping.status": _never(),
    "block-device-mapping.volume-id": _never(),
    "capacity-reservation-id": _never(),
    "capacity-reservation-specification.capacity-reservation-preference": _always("open"),
    "client-token": _row(lambda row: row.client_token, instances.c.client_token),
    "current-instance-boot-mode": _always("legacy-bios"),
    "dns-name": _always(""),
    "ebs-optimized": _always("false"),
    "ena-support": _always("false"),
    "enclave-options.enabled": _always("false"),
    "group-id": _group(0, 1),
    "group-name": _group(1, 1),
    "hibernation-options.configured": _always("false"),
    "host-id": _never(),
    "hypervisor": _always(HYPERVISOR),
    "iam-instance-profile.arn": _never(),
    "image-id": _row(lambda row: row.image, instances.c.image),
    "instance-id": _row(lambda row: row.id, instances.c.id),
    "instance-lifecycle": _never(),
    "instance-state-code": _row(lambda row: str(STATES[row.state])),
    "instance-state-name": _row(lambda row: row.state, instances.c.state),
    "instance-type": _row(lambda row: row.type, instances.c.type),
    "instance.group-id": _group(0, 1),
    "instance.group-name": _group(1, 1),
    "ip-address": _first(_of_address("public_ip")),
    "kernel-id": _never(),
    "key-name": _row(lambda row: row.key_name, instances.c.key_name),
    "launch-index": _row(lambda row: str(row.launch_index)),
    "launch-time": _row(lambda row: f"{row.launched:%Y-%m-%dT%H:%M:%S}.000Z"),
    "maintenance-options.auto-recovery": _always("default"),
    "monitoring-state": _row(lambda row: "enabled" if row.monitoring else "disabled"),
    "owner-id": _row(lambda row: row.account, instances.c.account),
    "placement-group-name": _always(""),
    "platform": _never(),
    "platform-details": _always(PLATFORM),
    "private-dns-name": Field(lambda view: (view.private_dns_name,)),
    "private-ip-address": _first(lambda view: view.row.private_ip),
    "product-code": _never(),
    "product-code.type": _never(),
    "ramdisk-id": _never(),
    "reason": _row(transition),
    "reservation-id": _row(lambda row: row.reservation, instances.c.reservation),
    "root-device-name": _always(ROOT_DEVICE),
    "root-device-type": _always(ROOT_DEVICE_TYPE),
    "source-dest-check": _always("true"),
    "spot-instance-request-id": _never(),
    "state-reason-code": _row(lambda row: row.reason_code, instances.c.reason_code),
    "state-reason-message": _row(lambda row: row.reason, instances.c.reason),
    "subnet-id": _first(lambda view: view.row.subnet),
    "tenancy": _always("default"),
    "usage-operation": _always(USAGE_OPERATION),
    "virtualization-type": _always("hvm"),
    "vpc-id": _first(lambda view: view.row.vpc),
    "network-interface.addresses.association.allocation-id": _elastic("allocation"),
    "network-interface.addresses.association.association-id": _elastic("association"),
    "network-interface.addresses.association.ip-owner-id": _elastic("account"),
    "network-interface.addresses.association.public-ip": _elastic("public_ip"),
    "network-interface.addresses.primary": _all_addresses(lambda address: "true" if address.primary else "false"),
    "network-interface.addresses.private-ip-address": _all_addresses(lambda address: address.ip),
    "network-interface.addresses.association.public-dns-name": _elastic_is(""),
    "network-interface.association.allocation-id": _each(_of_address("allocation")),
    "network-interface.association.association-id": _each(_of_address("association")),
    "network-interface.association.ip-owner-id": _each(_of_address("account")),
    "network-interface.association.public-dns-name": _each(lambda view: None if view.address is None else ""),
    "network-interface.association.public-ip": _each(_of_address("public_ip")),
    "network-interface.attachment.attach-time": _each(lambda view: f"{view.row.attached:%Y-%m-%dT%H:%M:%S}.000Z"),
    "network-interface.attachment.attachment-id": _each(lambda view: view.row.attachment),
    "network-interface.attachment.delete-on-termination": _each(
        lambda view: "true" if view.row.delete_on_termination else "false"
    ),
    "network-interface.attachment.device-index": _each(lambda view: str(view.row.device_index)),
    "network-interface.attachment.instance-id": _each(lambda view: view.row.instance),
    "network-interface.attachment.instance-owner-id": _each(lambda view: view.row.account),
    "network-interface.attachment.network-card-index": _each(lambda _view: "0"),
    "network-interface.attachment.status": _each(lambda view: view.attachment_status),
    "network-interface.availability-zone": _each(lambda view: view.row.zone),
    "network-interface.deny-all-igw-traffic": _each(lambda _view: "false"),
    "network-interface.description": _each(lambda view: view.row.description),
    "network-interface.group-id": _group(0),
    "network-interface.group-name": _group(1),
    "network-interface.ipv6-address": _six(lambda address: address),
    "network-interface.ipv6-addresses.ipv6-address": _six(lambda address: address),
    "network-interface.ipv6-addresses.is-primary-ipv6": _six(lambda _address: "false"),
    "network-interface.ipv6-native": _each(lambda _view: "false"),
    "network-interface.mac-address": _each(lambda view: view.row.mac),
    "network-interface.network-interface-id": _each(lambda view: view.row.id),
    "network-interface.operator.managed": _each(lambda _view: "false"),
    "network-interface.owner-id": _each(lambda view: view.row.account),
    "network-interface.private-ip-address": _each(lambda view: view.row.private_ip),
    "network-interface.requester-managed": _each(lambda _view: "false"),
    "network-interface.source-dest-check": _each(lambda _view: "true"),
    "network-interface.status": _each(lambda view: view.status),
    "network-interface.subnet-id": _each(lambda view: view.row.subnet),
    "network-interface.tag-key": Field(lambda view: (key for link in view.interfaces for key in link.tags)),
    "network-interface.tag-value": Field(
        lambda view: (value for link in view.interfaces for value in link.tags.values())
    ),
    "network-interface.vpc-id": _each(lambda view: view.row.vpc),
    # What no interface of this cloud has.
    **{
        f"network-interface.{name}": Field(lambda _view: ())
        for name in (
            "addresses.association.carrier-ip",
            "addresses.association.customer-owned-ip",
            "addresses.private-dns-name",
            "association.carrier-ip",
            "association.customer-owned-ip",
            "ipv4-prefixes.ipv4-prefix",
            "ipv6-prefixes.ipv6-prefix",
            "operator.principal",
            "outpost-arn",
            "private-dns-name",
            "public-dns-name",
            "requester-id",
        )
    },
}
