"""Verdicts about IPv6, alone and beside IPv4: the compiled flows on real Open vSwitch against the oracle."""

import random
from dataclasses import replace

import pytest

from econe_api.store.records import (
    GroupRecord,
    InterfaceRecord,
    PrefixListRecord,
    RuleRecord,
    SubnetRecord,
    VpcRecord,
)
from topologies.oracle import DENIED, Sender, Service, verdict
from topologies.verdicts import mismatches

SERVICES = [
    *(Service(6, port) for port in (22, 79, 80, 81, 82, 5432)),
    *(Service(17, port) for port in (53, 54)),
    *(Service(58, kind, code) for kind in (1, 128, 129) for code in (0, 1)),
    *(Service(1, kind) for kind in (0, 8)),
    Service(47),
    Service(132),
]
RULES = [
    (-1, None, None),
    (6, 80, 81),
    (6, 0, 65535),
    (6, 22, 79),
    (17, 53, 53),
    (58, -1, -1),
    (58, 128, -1),
    (58, 128, 0),
    (58, 1, 1),
    (1, 8, -1),
    (47, None, None),
]
CIDRS = [
    "::/0",
    "fd00:1::/56",
    "fd00:1:0:2::/64",
    "fd00:1:0:1::10/124",
    "fd00:1:0:1::12/128",
    "0.0.0.0/0",
    "10.0.1.0/24",
]
#: Two entries that overlap.
LISTED = PrefixListRecord("pl-6", 6, 6, ("fd00:1:0:1::/64", "fd00:1:0:1::12/128"))


def six(address, vpc):
    """The IPv6 address that goes with an IPv4 one: 10.0.1.12 and fd00:1:0:1::12."""
    *_, third, fourth = address.split(".")
    return f"fd00:{vpc.removeprefix('vpc-')}:0:{third}::{fourth}"


def with_ipv6(record):
    if isinstance(record, VpcRecord):
        return replace(record, ipv6_cidr=f"fd00:{record.number}::/56")
    if isinstance(record, SubnetRecord):
        network = six(record.cidr.removesuffix("/24"), record.vpc).removesuffix("0")
        return replace(record, ipv6_cidr=f"{network}/64", ipv6_gateway=f"{network}1")
    if isinstance(record, InterfaceRecord) and record.id != "eni-4":  # one has none
        return replace(record, addresses=(*record.addresses, six(record.addresses[0], record.vpc)))
    return record


def random_rules(rng, group, siblings):
    rules = [RuleRecord(f"{group.id}-out", True, -1, None, None, "::/0", None)] if rng.randrange(8) else []
    for number in range(rng.randint(4, 12)):
        egress, service = rng.random() < 0.3, rng.choice(RULES)
        remote = rng.choice([*CIDRS[:1] * 3, *CIDRS, *siblings * 2, LISTED.id])
        cidr, listed = remote if "/" in remote else None, remote if remote == LISTED.id else None
        reference = remote if remote in siblings else None
        if (service[0], ":" in (cidr or "")) not in {(1, True)} and not (service[0] == 58 and cidr and ":" not in cidr):
            rules.append(RuleRecord(f"{group.id}-{number}", egress, *service, cidr, reference, listed))
    return tuple(rules)


def cloud(small_cloud, seed):
    rng = random.Random(seed)
    groups = list(small_cloud.all(GroupRecord))
    records = [LISTED]
    for record in map(with_ipv6, small_cloud.records):
        if not isinstance(record, GroupRecord):
            records.append(record)
            continue
        siblings = [group.id for group in groups if group.vpc == record.vpc]
        records.append(replace(record, rules=random_rules(rng, record, siblings)))
    return replace(small_cloud, records=tuple(records))


def asked(state, rng, count):
    addresses = sorted({address for record in state.all(InterfaceRecord) for address in record.addresses})
    places = [*addresses, "fd00:1:0:1::99", "2001:db8::1", "198.51.100.7"]
    for _ in range(count):
        record = rng.choice(list(state.all(InterfaceRecord)))
        honest = rng.random() < 0.9
        sender = Sender(record.id, rng.choice(record.addresses if honest else [*addresses, "fe80::1", "2001:db8::1"]))
        near = [each for other in state.all(InterfaceRecord) if other.vpc == record.vpc for each in other.addresses]
        destination = rng.choice(near if rng.random() < 0.8 else places)
        alike = (":" in sender.address) == (":" in destination)
        if alike and destination not in record.addresses and destination != sender.address:
            yield sender, destination, rng.choice(SERVICES)


@pytest.mark.parametrize("seed", range(40))
def test_random_rules(stage, small_cloud, compiled, seed):
    state = cloud(small_cloud, seed)
    stage.install(compiled(state))
    questions = list(asked(state, random.Random(seed), 600))
    assert list(mismatches(stage.tracer(state), state, questions)) == []


def test_the_questions_are_worth_asking(small_cloud):
    """Of what the random clouds are asked by IPv6, a good part is allowed and a good part is not."""
    allowed = denied = 0
    for seed in range(40):
        state = cloud(small_cloud, seed)
        for question in asked(state, random.Random(seed), 600):
            if ":" in question[1]:
                passed = verdict(state, *question) != DENIED
                allowed, denied = allowed + passed, denied + (not passed)
    assert allowed > 300
    assert denied > 300


def test_no_ipv6_no_flows_for_it(small_cloud, compiled):
    """Rules about IPv6 alone make no flows on hosts without it, and take none of those for IPv4 away."""
    before = compiled(small_cloud)
    networks = tuple(with_ipv6(r) if isinstance(r, VpcRecord) else r for r in small_cloud.records)
    after = compiled(replace(small_cloud, records=networks))
    assert {host: {flow.key for flow in flows} for host, flows in before.items()} == {
        host: {flow.key for flow in flows} for host, flows in after.items()
    }
