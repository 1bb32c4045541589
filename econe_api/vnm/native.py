"""OpenNebula's own security group rules in, rules of ours out.  Pure.

What a rule may say is OpenNebula's "Security Groups" page and its `vnm_mad/remotes/lib/security_groups.rb`, which is
what the Linux bridge drivers enforce: a list of what is let in and out, answers included, everything else dropped.
Nothing is passed over: what has no equal here is a :class:`RefusedError`, so that a machine never runs with fewer or
with wider rules than its owner wrote.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

ANYWHERE = ("0.0.0.0/0", "::/0")
MOST_RULES = 1000
"""Most rules of ours that one group may become."""

_PROTOCOLS = {"ALL": -1, "TCP": 6, "UDP": 17, "ICMP": 1, "ICMPV6": 58, "IPSEC": 50}
"""IANA numbers; IPSEC is ESP, as OpenNebula's own drivers have it."""
_DIRECTIONS = {"INBOUND": False, "OUTBOUND": True}
_KNOWN = frozenset(
    {"PROTOCOL", "RULE_TYPE", "RANGE", "ICMP_TYPE", "ICMPV6_TYPE", "IP", "IP6", "IP6_GLOBAL", "IP6_ULA", "SIZE"}
    | {"NETWORK_ID", "SECURITY_GROUP_ID", "SECURITY_GROUP_NAME"}
)
_OF_RANGES = frozenset({"AR_ID", "TYPE", "MAC"})
"""What oned copies from an address range into a rule that names a network, and that says nothing about packets."""
_FIRST_ADDRESSES = ("IP", "IP6", "IP6_GLOBAL", "IP6_ULA")
_HIGHEST_PORT = 0xFFFF
_HIGHEST_BYTE = 0xFF
_PORTS = re.compile(r"(\d{1,5})(?::(\d{1,5}))?")
_TYPE = re.compile(r"(\d{1,3})(?:/(\d{1,3}))?")


class RefusedError(ValueError):
    """OpenNebula asks for something that Sluice cannot do; the text is one line: what, and what mends it."""


@dataclass(frozen=True, slots=True, order=True)
class NativeRule:
    """One rule as the store has them: ports as EC2 writes them (ICMP: type and code, -1 = any; None = no ports)."""

    egress: bool
    protocol: int
    from_port: int | None
    to_port: int | None
    cidr: str


EVERYTHING = tuple(NativeRule(egress, -1, None, None, cidr) for egress in (False, True) for cidr in ANYWHERE)
"""What an interface without any group may do: OpenNebula takes an empty list for "no filter"."""


def group_rules(rules: Iterable[Mapping[str, str]]) -> tuple[NativeRule, ...]:
    """Return what the rules of one group, as in a VM document, come to: sorted, without repetitions.

    Each rule maps OpenNebula's attribute names to their texts.  Raises :class:`RefusedError`.
    """
    found: set[NativeRule] = set()
    for rule in rules:
        found.update(_rules(rule))
        if len(found) > MOST_RULES:
            raise RefusedError(f"{_of(rule)}: comes to more than {MOST_RULES} rules; use larger ranges, or fewer")
    return tuple(sorted(found))


def template_rules(rules: Sequence[Mapping[str, str]]) -> tuple[NativeRule, ...]:
    """As :func:`group_rules`, for the rules of a group's own template, where nothing is expanded yet.

    Two things can only be seen here: a rule whose source is another group, which oned accepts and then hands out as
    "any source", and is refused; and a network as the source, whose addresses only a machine's document has.
    """
    for rule in rules:
        if "SECURITY_GROUP_ID" in rule:
            raise RefusedError(
                f"{_of(rule)}: names security group {rule['SECURITY_GROUP_ID']} as its source, which OpenNebula "
                "takes for any source; write IP and SIZE, or NETWORK_ID"
            )
    networks = [rule for rule in rules if "NETWORK_ID" in rule]
    for rule in networks:
        group_rules([{**rule, "IP": "192.0.2.0", "SIZE": "1"}])
    return group_rules([rule for rule in rules if "NETWORK_ID" not in rule])


def _rules(rule: Mapping[str, str]) -> list[NativeRule]:
    unknown = sorted(rule.keys() - _KNOWN - (_OF_RANGES if "NETWORK_ID" in rule else frozenset()))
    if unknown:
        raise RefusedError(f"{_of(rule)}: has {', '.join(unknown)}, which Sluice does not know; leave it out")
    name = rule.get("PROTOCOL", "").upper()
    if name not in _PROTOCOLS:
        raise RefusedError(f"{_of(rule)}: has no protocol of {', '.join(_PROTOCOLS)}")
    direction = rule.get("RULE_TYPE", "").upper()
    if direction not in _DIRECTIONS:
        raise RefusedError(f"{_of(rule)}: has no RULE_TYPE of inbound and outbound")
    _refuse_strangers(rule, name)
    return [
        NativeRule(_DIRECTIONS[direction], _PROTOCOLS[name], first, last, cidr)
        for cidr in _sources(rule, name)
        for first, last in _ports(rule, name)
    ]


def _refuse_strangers(rule: Mapping[str, str], protocol: str) -> None:
    for attribute, owners in (("RANGE", ("TCP", "UDP")), ("ICMP_TYPE", ("ICMP",)), ("ICMPV6_TYPE", ("ICMPV6",))):
        if attribute in rule and protocol not in owners:
            raise RefusedError(f"{_of(rule)}: has {attribute}, which goes with {' and '.join(owners)} only")


def _ports(rule: Mapping[str, str], protocol: str) -> list[tuple[int | None, int | None]]:
    if protocol in ("TCP", "UDP"):
        return [*_range(rule)] if "RANGE" in rule else [(0, _HIGHEST_PORT)]
    if protocol in ("ICMP", "ICMPV6"):
        attribute = "ICMP_TYPE" if protocol == "ICMP" else "ICMPV6_TYPE"
        return [_icmp(rule, attribute)] if attribute in rule else [(-1, -1)]
    return [(None, None)]


def _range(rule: Mapping[str, str]) -> Iterable[tuple[int, int]]:
    """Ports of a list such as ``22,53,80:90``, as iptables' multiport takes it."""
    for part in rule["RANGE"].split(","):
        match = _PORTS.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last <= _HIGHEST_PORT:
            raise RefusedError(f"{_of(rule)}: RANGE {part!r} is neither a port nor FIRST:LAST")
        yield first, last


def _icmp(rule: Mapping[str, str], attribute: str) -> tuple[int, int]:
    match = _TYPE.fullmatch(rule[attribute].strip())
    kind, code = (int(match[1]), int(match[2]) if match[2] else -1) if match else (-1, -1)
    if not 0 <= kind <= _HIGHEST_BYTE or code > _HIGHEST_BYTE:
        raise RefusedError(f"{_of(rule)}: {attribute} {rule[attribute]!r} is neither TYPE nor TYPE/CODE")
    return kind, code


def _sources(rule: Mapping[str, str], protocol: str) -> list[str]:
    """The networks that a rule is about, of the families that its protocol has."""
    version = {"ICMP": 4, "ICMPV6": 6}.get(protocol)
    firsts = [rule[name] for name in _FIRST_ADDRESSES if name in rule]
    if not firsts and "SIZE" not in rule and "NETWORK_ID" not in rule:
        return [cidr for cidr in ANYWHERE if version in (None, _version(cidr))]
    if not firsts and "NETWORK_ID" in rule:
        raise RefusedError(
            f"{_of(rule)}: network {rule['NETWORK_ID']} has no addresses in this document; give it an address "
            "range, or write IP and SIZE"
        )
    if not firsts or "SIZE" not in rule:
        raise RefusedError(f"{_of(rule)}: IP and SIZE go together")
    cidrs = [cidr for first in firsts for cidr in _cidrs(rule, first)]
    fitting = [cidr for cidr in cidrs if version in (None, _version(cidr))]
    if not fitting:
        raise RefusedError(f"{_of(rule)}: no address of it is of IPv{version}, which {protocol} is about")
    return fitting


def _cidrs(rule: Mapping[str, str], first: str) -> list[str]:
    """The fewest CIDR blocks that hold ``SIZE`` addresses from ``first`` on and no other one."""
    size = rule["SIZE"].strip()
    try:
        begin = ipaddress.ip_address(first.strip())
        if not (size.isascii() and size.isdigit() and int(size) > 0):
            raise ValueError
        end = begin + (int(size) - 1)
    except ValueError:
        raise RefusedError(f"{_of(rule)}: {size[:40]!r} addresses from {first[:60]!r} on are no range") from None
    return [str(block) for block in ipaddress.summarize_address_range(begin, end)]


def _version(cidr: str) -> int:
    return 6 if ":" in cidr else 4


def _of(rule: Mapping[str, str]) -> str:
    """Which rule is meant, in words."""
    said = " ".join(f"{name}={value[:60]}" for name, value in sorted(rule.items()) if name in _WORDS)
    return f"a rule of security group {rule.get('SECURITY_GROUP_NAME', '(its template)')} ({said})"


_WORDS = frozenset({"PROTOCOL", "RULE_TYPE", "RANGE", "ICMP_TYPE", "ICMPV6_TYPE", "IP", "SIZE", "NETWORK_ID"})
