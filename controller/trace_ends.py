"""Who is meant by the two ends of a trace.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from controller.index import Index
from controller.reasons import Service, inside
from controller.words import interface_words
from econe_api.store.records import InterfaceRecord
from flowrules.addresses import version_of

_ICMP, _ICMPV6 = 1, 58
_PORTED = (6, 17, 132)
_ECHO = {1: 8, 58: 128}


class TraceError(Exception):
    """The trace cannot be made; the text names cause and mend in one line."""


@dataclass(frozen=True, slots=True)
class End:
    """An end of a connection: ``interface`` None = somebody outside.  ``problem`` says why it cannot be reached."""

    interface: str | None
    address: str
    problem: str | None = None

    def words(self, index: Index) -> str:
        """Named for a person."""
        if self.interface is None:
            return f"{self.address} outside"
        record = index.interfaces.get(self.interface)
        words = interface_words(index, self.interface)
        return words if record and self.address in record.addresses else f"{words} by {self.address}"


def read_service(message: Mapping[str, Any]) -> Service:
    """Protocol and port of a request; raises :class:`TraceError`."""
    protocol, port, code = message.get("protocol"), message.get("port"), message.get("code")
    if not isinstance(protocol, int) or not 0 <= protocol <= 255:
        raise TraceError(f"there is no protocol {protocol!r}: name tcp, udp, icmp or a number from 0 to 255")
    if protocol in _ECHO:
        kind, code = _ECHO[protocol] if port is None else port, code or 0
        if not isinstance(kind, int) or not isinstance(code, int) or not (0 <= kind <= 255 and 0 <= code <= 255):
            raise TraceError("ICMP type and code are numbers from 0 to 255")
        return Service(protocol, kind, code)
    if protocol not in _PORTED:
        return Service(protocol)
    if not isinstance(port, int) or not 0 <= port <= 65535:
        raise TraceError(f"this protocol needs a port from 0 to 65535, not {port!r}")
    return Service(protocol, port)


def read_version(source: Mapping[str, Any], destination: Mapping[str, Any], service: Service) -> int:
    """4 or 6: the IP version that the ends' addresses have, or else the one of the protocol; raises TraceError."""
    named = {version_of(_address(end)) for end in (source, destination) if end.get("interface") is None}
    if len(named) > 1:
        raise TraceError("source and destination have addresses of different IP versions: name two of one")
    version = named.pop() if named else 6 if service.protocol == _ICMPV6 else 4
    if service.protocol == (_ICMP if version == 6 else _ICMPV6):
        raise TraceError(f"by IPv{version} there is no such ICMP: name {'icmpv6' if version == 6 else 'icmp'}")
    return version


def read_source(index: Index, spec: Mapping[str, Any], version: int = 4) -> End:
    """Who sends: ``{"interface": id}`` or ``{"address": text}``; raises :class:`TraceError`."""
    if spec.get("interface") is not None:
        return _own(index, str(spec["interface"]), version)
    address = _address(spec)
    elastic = index.addresses.get(address)
    if elastic is not None:
        if elastic.interface not in index.interfaces:
            raise TraceError(f"elastic IP {address} belongs to {elastic.interface}, which is attached to no instance")
        return End(elastic.interface, elastic.private_ip)
    holders = _holders(index, address)
    if len(holders) > 1:
        several = ", ".join(interface_words(index, holder) for holder in holders)
        raise TraceError(f"several interfaces have {address}: name one of them by its id: {several}")
    if holders:
        return End(holders[0], address)
    _check_outside(index, address)
    return End(None, address)


def read_destination(index: Index, spec: Mapping[str, Any], source: End, version: int = 4) -> End:
    """Who is asked, as the source would address it; raises :class:`TraceError`."""
    sender = index.interfaces.get(source.interface or "")
    if spec.get("interface") is not None:
        own = _own(index, str(spec["interface"]), version)
        receiver = index.interfaces[str(own.interface)]
        if sender is not None and sender.vpc == receiver.vpc:
            return own
        public = sorted(index.addresses_of.get(receiver.id, ()))
        if public and version == 4:
            return End(receiver.id, public[0])
        where = "in another VPC" if sender else "inside a VPC"
        return End(receiver.id, own.address, f"{interface_words(index, receiver.id)} is {where} and has no elastic IP")
    return _addressed(index, _address(spec), sender)


def _addressed(index: Index, address: str, sender: InterfaceRecord | None) -> End:
    if address in index.addresses:
        return End(index.addresses[address].interface, address)
    if sender is not None and _is_inside(index, sender.vpc, address):
        holders = [one for one in _holders(index, address) if index.interfaces[one].vpc == sender.vpc]
        return End(holders[0] if holders else None, address)
    if sender is None and _holders(index, address):
        return End(
            _holders(index, address)[0], address, f"{address} is private: from outside an instance needs an elastic IP"
        )
    return End(None, address)


def _is_inside(index: Index, vpc: str, address: str) -> bool:
    record = index.vpcs[vpc]
    return any(inside(cidr, address) for cidr in (record.cidr, record.ipv6_cidr) if cidr)


def _own(index: Index, interface: str, version: int) -> End:
    record = index.interfaces.get(interface)
    if record is None or not record.addresses:
        raise TraceError(f"the controller does not know {interface}: is it still starting, or gone?")
    own = [address for address in record.addresses if version_of(address) == version]
    if not own:
        raise TraceError(f"{interface_words(index, interface)} has no IPv{version} address: give it one")
    return End(interface, own[0])


def _holders(index: Index, address: str) -> list[str]:
    return sorted(key for key, record in index.interfaces.items() if address in record.addresses)


def _check_outside(index: Index, address: str) -> None:
    for vpc in index.vpcs.values():
        if _is_inside(index, vpc.id, address):
            raise TraceError(
                f"nobody has {address}, which belongs to {vpc.id}: name an instance or one of its addresses"
            )
    if version_of(address) == 6:
        raise TraceError(f"nobody comes in by IPv6, which stays inside a VPC: {address} has no way to an instance")
    for pool in index.pools.values():
        if inside(pool.cidr, address) and address != pool.gateway:
            raise TraceError(f"elastic IP {address} is not associated with anything, so nobody sends from it")


def _address(spec: Mapping[str, Any]) -> str:
    try:
        return str(ip_address(str(spec.get("address"))))
    except ValueError as error:
        raise TraceError(f"{spec.get('address')!r} is neither an address nor an instance") from error
