"""IpPermissions in canonical form: pure, so that equal permissions compare equal however they were written.

A permission of the EC2 API names a protocol, ports and any number of sources; a *rule* is one source of it.  Every
rule has exactly one spelling here: protocol as IANA number (-1 = any), ports only where the protocol has them,
prefixes with their host bits cleared.  Errors and limits follow "IpPermission" in the EC2 API reference.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from econe_api.errors import Ec2Error

ANY = -1
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58

NAMES = {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMPV6: "icmpv6"}
_NUMBERS = {name: number for number, name in NAMES.items()}

_CIDR = re.compile(r"[^/%\s]+/(0|[1-9][0-9]{0,2})")
_NUMBER = re.compile(r"[0-9]{1,3}")
_DESCRIPTION = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{0,255}")


class SourceKind(StrEnum):
    """What the other side of a rule is."""

    CIDR = "cidrIp"
    CIDR6 = "cidrIpv6"
    PREFIX_LIST = "prefixListId"
    GROUP = "referencedGroupId"


class Permission(NamedTuple):
    """One rule's meaning.  ``source`` is a canonical prefix, a prefix list id or a group id, as ``kind`` says.

    A tuple, because a change of a group compares those of all its rules.
    """

    protocol: int
    from_port: int | None
    to_port: int | None
    kind: SourceKind
    source: str

    def __str__(self) -> str:
        """The words of EC2's InvalidPermission.Duplicate."""
        name = "ALL" if self.protocol == ANY else protocol_name(self.protocol).upper()
        ports = ""
        if self.from_port is not None:
            first, last = ("type", "code") if self.protocol in {ICMP, ICMPV6} else ("from port", "to port")
            ports = f", {first}: {self.from_port}, {last}: {self.to_port}"
        return f"peer: {self.source}, {name}{ports}, ALLOW"


@dataclass(frozen=True, slots=True)
class GroupReference:
    """A group as a request names it: by id or by name; ``owner`` and ``vpc`` as given."""

    id: str | None
    name: str | None
    owner: str | None = None
    vpc: str | None = None
    peering: str | None = None


@dataclass(frozen=True, slots=True)
class AskedRule:
    """One rule of a request.  ``source`` is canonical text, or a reference that the store has still to resolve."""

    protocol: int
    from_port: int | None
    to_port: int | None
    kind: SourceKind
    source: str | GroupReference
    description: str | None = None

    def permission(self, group: str | None = None) -> Permission:
        """The rule's meaning; ``group`` is the id that its reference stands for."""
        source = self.source if isinstance(self.source, str) else group
        if source is None:
            raise ValueError("a group reference needs the id of its group")
        return Permission(self.protocol, self.from_port, self.to_port, self.kind, source)


def protocol_name(number: int) -> str:
    """How the API writes a protocol: ``tcp udp icmp icmpv6``, else the number as text."""
    return NAMES.get(number, str(number))


def protocol_number(text: str | None) -> int:
    """The IANA number of a protocol name (any case) or number; -1 = any.

    Raises:
        Ec2Error: MissingParameter, InvalidParameterValue.

    """
    if not text:
        raise Ec2Error(
            "InvalidParameterValue",
            "Invalid value 'null' for protocol. VPC security group rules must specify protocols explicitly.",
        )
    if text == "-1":
        return ANY
    if text.lower() in _NUMBERS:
        return _NUMBERS[text.lower()]
    if _NUMBER.fullmatch(text) and int(text) <= 255:
        return int(text)
    raise Ec2Error("InvalidParameterValue", f"Invalid value '{text}' for IP protocol. Unknown protocol.")


def ports(protocol: int, first: int | None, last: int | None) -> tuple[int | None, int | None]:
    """The canonical ports (ICMP: type and code, -1 = any) of a permission; (None, None) where there are none.

    Raises:
        Ec2Error: InvalidParameterValue.

    """
    if protocol in {TCP, UDP}:
        return _port_range(first, last)
    if protocol == ICMP or (protocol == ICMPV6 and first is not None):
        return _icmp(first, last)
    return None, None


def _port_range(first: int | None, last: int | None) -> tuple[int, int]:
    if first is None or last is None:
        raise _invalid("Must specify both from and to ports with TCP/UDP.", "portRange")
    for port in (first, last):
        if not 0 <= port <= 65535:
            raise Ec2Error("InvalidParameterValue", f"TCP/UDP port ({port}) out of range")
    if first > last:
        raise Ec2Error("InvalidParameterValue", f"Invalid TCP/UDP port range ({first}:{last})")
    return first, last


def _icmp(kind: int | None, code: int | None) -> tuple[int, int]:
    if kind == -1 and code is None:
        code = -1
    if kind is None or code is None:
        raise _invalid("Must specify both type and code with ICMP.", "portRange")
    if not -1 <= kind <= 255:
        raise Ec2Error("InvalidParameterValue", f"ICMP type ({kind}) out of range")
    if not -1 <= code <= 255:
        raise Ec2Error("InvalidParameterValue", f"ICMP code ({code}) out of range")
    if kind == -1 and code != -1:
        raise Ec2Error("InvalidParameterValue", f"ICMP code ({code}) must be -1 when the ICMP type is -1")
    return kind, code


def prefix(text: str | None, version: int = 4) -> str:
    """A CIDR block in canonical form: host bits cleared.

    Raises:
        Ec2Error: InvalidParameterValue.

    """
    try:
        if text is None or not _CIDR.fullmatch(text):
            raise ValueError
        network = ipaddress.IPv4Network if version == 4 else ipaddress.IPv6Network
        return str(network(text, strict=False))
    except ValueError:
        raise Ec2Error("InvalidParameterValue", f"CIDR block {text or ''} is malformed") from None


def parse(permissions: Iterable[Mapping[str, Any]]) -> list[AskedRule]:
    """The rules that IpPermissions (botocore's shape) stand for, in the order given.

    Raises:
        Ec2Error: MissingParameter (no source: never read as "anyone"), InvalidParameterValue,
            InvalidParameterCombination.

    """
    rules = []
    for permission in permissions:
        protocol = protocol_number(permission.get("IpProtocol"))
        first, last = ports(protocol, permission.get("FromPort"), permission.get("ToPort"))
        sources = list(_sources(permission))
        if not sources:
            raise no_source()
        rules += [AskedRule(protocol, first, last, kind, source, description(text)) for kind, source, text in sources]
    return rules


def _sources(permission: Mapping[str, Any]) -> Iterator[tuple[SourceKind, str | GroupReference, str | None]]:
    for item in permission.get("IpRanges") or ():
        yield SourceKind.CIDR, prefix(item.get("CidrIp")), item.get("Description")
    for item in permission.get("Ipv6Ranges") or ():
        yield SourceKind.CIDR6, prefix(item.get("CidrIpv6"), 6), item.get("Description")
    for item in permission.get("PrefixListIds") or ():
        if not item.get("PrefixListId"):
            raise no_source()
        yield SourceKind.PREFIX_LIST, item["PrefixListId"], item.get("Description")
    for item in permission.get("UserIdGroupPairs") or ():
        if not (item.get("GroupId") or item.get("GroupName")):
            raise no_source()
        reference = GroupReference(
            item.get("GroupId") or None,
            item.get("GroupName") or None,
            item.get("UserId") or None,
            item.get("VpcId") or None,
            item.get("VpcPeeringConnectionId") or None,
        )
        yield SourceKind.GROUP, reference, item.get("Description")


def description(text: str | None) -> str | None:
    """A rule's description as it is kept, None = it has none.

    Raises:
        Ec2Error: InvalidParameterValue.

    """
    if text and not _DESCRIPTION.fullmatch(text):
        raise Ec2Error(
            "InvalidParameterValue",
            "Invalid rule description. Valid descriptions are strings less than 256 characters from the following "
            "set: a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*",
        )
    return text or None


def refuse_repeats(permissions: Sequence[Permission]) -> None:
    """Refuse a request that holds one permission twice (in whatever spelling).

    Raises:
        Ec2Error: InvalidParameterValue.

    """
    if len(set(permissions)) != len(permissions):
        raise Ec2Error("InvalidParameterValue", "The same permission must not appear multiple times")


def added(present: frozenset[Permission], asked: Sequence[Permission]) -> frozenset[Permission]:
    """The permissions after an authorisation of ``asked``.

    Raises:
        Ec2Error: InvalidPermission.Duplicate, InvalidParameterValue (one twice in ``asked``).

    """
    refuse_repeats(asked)
    for permission in asked:
        if permission in present:
            raise Ec2Error("InvalidPermission.Duplicate", f'the specified rule "{permission}" already exists')
    return present.union(asked)


def removed(
    present: frozenset[Permission], asked: Sequence[Permission]
) -> tuple[frozenset[Permission], list[Permission]]:
    """The permissions after a revocation of ``asked``, and those of ``asked`` that were not there."""
    return present.difference(asked), [permission for permission in asked if permission not in present]


def no_source() -> Ec2Error:
    """The refusal of a rule that names nobody."""
    return Ec2Error(
        "MissingParameter",
        "The request must contain exactly one of: cidrIp, cidrIpv6, prefixListId, or referencedGroupId",
    )


def _invalid(value: str, parameter: str) -> Ec2Error:
    return Ec2Error("InvalidParameterValue", f"Invalid value '{value}' for {parameter}.")
