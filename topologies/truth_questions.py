"""Which packets a truth table asks about: every kind of path alike, at the edges of the rules that stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, ip_address
from random import Random

from econe_api.store.records import AddressRecord, GroupRecord, InterfaceRecord, VpcRecord
from topologies.oracle import DENIED, Question, Sender, Service, State, Verdict, verdict

#: Names of the paths, as they are printed.
PRIVATE_SAME = "private, same host"
PRIVATE_OTHER = "private, other host"
NOBODY = "nobody's address"
IPV6_SAME = "IPv6, same host"
IPV6_OTHER = "IPv6, other host"
IPV6_ELSEWHERE = "IPv6, nobody's address"
OUTSIDE_IN = "outside -> elastic IP"
OUTSIDE_PRIVATE = "outside -> private address"
ELASTIC_SAME = "VM -> elastic IP, same host"
ELASTIC_OTHER = "VM -> elastic IP, other host"
ELASTIC_OWN = "VM -> own elastic IP"
OUT_WITH = "VM with elastic IP -> outside"
OUT_WITHOUT = "VM without elastic IP -> outside"
FORGED = "forged source address"
PATHS = (
    *(PRIVATE_SAME, PRIVATE_OTHER, NOBODY, IPV6_SAME, IPV6_OTHER, IPV6_ELSEWHERE, OUTSIDE_IN, OUTSIDE_PRIVATE),
    *(ELASTIC_SAME, ELASTIC_OTHER, ELASTIC_OWN, OUT_WITH, OUT_WITHOUT, FORGED),
)

_ICMP, _TCP, _UDP, _ICMPV6 = 1, 6, 17, 58
_ABSENT = ("172.31.200.200", "10.99.0.1")
_ABSENT_IPV6 = ("2001:db8::99",)
_TRIES = 12
_QUERIES = (8, 13, 128)

Pair = tuple[Sender, str]


def pairs(state: State, strangers: Sequence[str]) -> dict[str, list[Pair]]:
    """Every sender with every destination that is worth asking about, by path."""
    found: dict[str, list[Pair]] = {path: [] for path in PATHS}
    # Ids and IPv6 addresses differ from run to run; the same seed shall ask the same all the same.
    number = {record.id: record.number for record in state.all(VpcRecord)}
    plugged = [record for record in state.all(InterfaceRecord) if record.id in state.hosts]
    plugged.sort(key=lambda record: (number[record.vpc], IPv4Address(record.addresses[0])))
    public = {record.public_ip: record for record in sorted(state.all(AddressRecord), key=lambda each: each.public_ip)}
    private = list(dict.fromkeys(address for record in plugged for address in record.addresses))
    places = [*private, *public, *strangers, *_ABSENT, *_ABSENT_IPV6]
    for record in plugged:
        claims = [
            *record.addresses,
            *(address for address in (*private[:3], *public) if address not in record.addresses),
        ]
        for source in claims:
            for destination in places:
                alike = ip_address(source).version == ip_address(destination).version
                # What a guest sends to itself never leaves it.
                if alike and destination not in record.addresses and destination != source:
                    honest = source in record.addresses
                    path = _path(state, record, source, destination, public, strangers) if honest else FORGED
                    found[path].append((Sender(record.id, source), destination))
    for stranger in strangers:
        found[OUTSIDE_IN] += [(Sender(None, stranger), address) for address in public]
        inside = [address for address in private if ip_address(address).version == 4]
        found[OUTSIDE_PRIVATE] += [(Sender(None, stranger), address) for address in inside]
    return {path: them for path, them in found.items() if them}


def _path(
    state: State,
    record: InterfaceRecord,
    source: str,
    destination: str,
    public: dict[str, AddressRecord],
    strangers: Sequence[str],
) -> str:
    if destination in strangers:
        served = any(each.interface == record.id and each.private_ip == source for each in public.values())
        return OUT_WITH if served else OUT_WITHOUT
    address = public.get(destination)
    if address is not None:
        if (address.interface, address.private_ip) == (record.id, source):
            return ELASTIC_OWN
        return ELASTIC_SAME if state.hosts.get(address.interface) == state.hosts[record.id] else ELASTIC_OTHER
    six = ip_address(destination).version == 6
    near = next(
        (each for each in state.all(InterfaceRecord) if each.vpc == record.vpc and destination in each.addresses), None
    )
    if near is None or near.id not in state.hosts:
        return IPV6_ELSEWHERE if six else NOBODY
    if state.hosts[near.id] == state.hosts[record.id]:
        return IPV6_SAME if six else PRIVATE_SAME
    return IPV6_OTHER if six else PRIVATE_OTHER


def table(state: State, strangers: Sequence[str], rng: Random, count: int) -> Iterator[tuple[str, Question, Verdict]]:
    """``count`` different questions with their paths and right answers; fewer when there are no more.

    As many of each path as it has, and as many allowed as denied ones where both can be found.
    """
    known, made = pairs(state, strangers), set[Question]()
    services = {version: sorted(_services(state, version)) for version in (4, 6)}
    while known and len(made) < count:
        for path in list(known):
            wanted, found = rng.random() < 0.6, None
            for _ in range(_TRIES):
                sender, destination = rng.choice(known[path])
                question = (sender, destination, rng.choice(services[ip_address(destination).version]))
                if question in made:
                    continue
                found = question, verdict(state, *question)
                if (found[1] != DENIED) is wanted:
                    break
            if found is None:
                del known[path]  # (nearly) all of it has been asked
                continue
            made.add(found[0])
            yield path, *found
            if len(made) == count:
                return


def real(path: str, question: Question) -> bool:
    """Can a guest's own kernel ask this?"""
    service = question[2]
    if path == FORGED or (service.protocol in (_TCP, _UDP) and service.port == 0):
        return False
    return service.protocol not in (_ICMP, _ICMPV6) or (service.code == 0 and service.port in _QUERIES)


def portless(question: Question) -> bool:
    """Has it nothing that tells one connection from the next between the same two addresses, and from its answer?"""
    return question[2].protocol not in (_ICMP, _TCP, _UDP, _ICMPV6)


def _services(state: State, version: int) -> set[Service]:
    """What the rules speak of, and what lies beside it."""
    echo = {Service(_ICMP, 8), Service(_ICMP, 13)} if version == 4 else {Service(_ICMPV6, 128), Service(_ICMPV6, 129)}
    found = {Service(_TCP, 80), Service(_UDP, 53), Service(47), Service(50), Service(112), Service(132), *echo}
    for rule in (rule for group in state.all(GroupRecord) for rule in group.rules):
        if rule.protocol in (_TCP, _UDP):
            edges = {edge + step for edge in (rule.from_port, rule.to_port) if edge is not None for step in (-1, 0, 1)}
            found |= {Service(rule.protocol, port) for port in edges if 0 <= port <= 0xFFFF}
        elif rule.protocol == (_ICMP if version == 4 else _ICMPV6) and (rule.from_port or -1) >= 0:
            found |= {Service(rule.protocol, rule.from_port or 0, code) for code in (0, 1)}
    return found
