"""The pipeline described from its own declarations, as the Markdown of ``docs/pipeline.md``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flowrules.addresses import ipv4_to_int, mac_to_int
from flowrules.compiler import compile_all
from flowrules.fields import PIPELINE_STATE, Subfield
from flowrules.flow import COOKIE_HASH_BITS, OWNER_TAG, Flow
from flowrules.intent import (
    ANYWHERE,
    Bridge,
    Destinations,
    Direction,
    ElasticIp,
    Gateway,
    Group,
    GroupMembers,
    Intent,
    Local,
    Member,
    Metadata,
    MetadataClient,
    Neighbour,
    Network,
    Port,
    Prefix,
    Remote,
    Rule,
)
from flowrules.tables import TABLES, Table
from flowrules.text import flow_text

_INTRODUCTION = """\
# The pipeline

*Generated from `flowrules/` by `scripts/docs`; edit the declarations, not this page.*

Every bridge holds the same tables.  Rules never mention ports and members never mention rules, so the number of flows
is the sum, never the product, of ports, rules and members; a change of one object touches the flows of that object.
There is no `conjunction` and no `learn`.

A packet from an instance goes CLASSIFY, SPOOF, then the egress side (15 to 24), ROUTE, and, when its destination is
on this host, the ingress side (40 to 45) and OUTPUT.  A packet from outside enters by EXTERNAL_IN, one from another
hypervisor by FABRIC_IN.  Each side looks the connection up in the conntrack zone of its own port; both zones of a
packet between two local instances take one recirculation each, the most that ever happens.

Every packet of the side that opened a connection is judged by the rules anew.  When the rule that allowed it is gone,
the connection is marked blocked, which stops the replies as well; when the rule comes back, the mark goes.
"""


def example() -> tuple[Intent, ...]:
    """A bridge with one web server, its elastic IP, and a neighbour behind the fabric."""
    web, neighbour = mac_to_int("02:00:00:00:00:01"), mac_to_int("02:00:00:00:00:02")
    private, other = ipv4_to_int("172.31.0.4"), ipv4_to_int("172.31.0.5")
    office, members = Prefix(ipv4_to_int("203.0.113.0"), 24), GroupMembers(1)
    rules = frozenset({Rule(6, 80, 80, ANYWHERE), Rule(6, 8000, 8005, office), Rule(-1, None, None, members)})
    return (
        Bridge(uplink=1, fabric=2),
        Destinations(
            open=frozenset({Prefix(ipv4_to_int("198.51.100.0"), 24)}),
            closed=frozenset({Prefix(ipv4_to_int("198.51.100.1"), 32)}),
        ),
        Network(vpc=1, prefix=Prefix(ipv4_to_int("172.31.0.0"), 16), vlan=101),
        Gateway(vpc=1, address=ipv4_to_int("172.31.0.1")),
        Port(ofport=3, mac=web, addresses=(private,), vpc=1, groups=(1,)),
        Neighbour(vpc=1, address=private, mac=web, via=Local(3), routed=False),
        Neighbour(vpc=1, address=other, mac=neighbour, via=Remote(fabric=2, vlan=101), routed=False),
        Group(number=1, direction=Direction.INGRESS, rules=rules),
        Group(number=1, direction=Direction.EGRESS, rules=frozenset({Rule(-1, None, None, ANYWHERE)})),
        Member(members, Prefix(private, 32), Direction.INGRESS),
        Member(members, Prefix(other, 32), Direction.INGRESS),
        Member(office, office, Direction.INGRESS),
        ElasticIp(
            public=ipv4_to_int("198.51.100.64"),
            private=private,
            ofport=3,
            mac=web,
            vpc=1,
            gateway_mac=mac_to_int("02:00:5e:00:53:01"),
        ),
        Metadata(port=4),
        MetadataClient(ofport=3, mac=web, address=private),
    )


def document() -> str:
    """The whole page."""
    flows = compile_all(example()).values()
    return "\n".join([_INTRODUCTION, *_tables(), *_state(), *_cookie(), *_walk(list(flows))])


def _tables() -> Iterator[str]:
    yield "## Tables\n"
    yield "| table | name | purpose | may match | leads to |"
    yield "|---|---|---|---|---|"
    for table in TABLES.values():
        fields = ", ".join(f"`{name}`" for name in sorted(field.name for field in table.matches)) or "everything"
        onward = ", ".join(TABLES[number].name for number in sorted(table.leads_to)) or "-"
        yield f"| {table.number} | {table.name} | {table.purpose} | {fields} | {onward} |"
    yield ""


def _state() -> Iterator[str]:
    yield "## What a packet carries\n"
    yield "| name | where | meaning |"
    yield "|---|---|---|"
    for name, subfield, meaning in PIPELINE_STATE:
        yield f"| {name} | `{_place(subfield)}` | {meaning} |"
    yield ""


def _place(subfield: Subfield) -> str:
    if subfield == subfield.field.whole:
        return subfield.field.name
    last = subfield.offset + subfield.bits - 1
    bits = f"{subfield.offset}" if subfield.bits == 1 else f"{subfield.offset}..{last}"
    return f"{subfield.field.name}[{bits}]"


def _cookie() -> Iterator[str]:
    yield "## Cookies\n"
    yield (
        f"Bits 63 to {COOKIE_HASH_BITS} of a cookie are `{OWNER_TAG:#x}`, which makes the flow ours; the other "
        f"{COOKIE_HASH_BITS} bits are a BLAKE2b hash of table, priority, match and actions.  What a switch holds is "
        "compared with what is desired by table, priority and cookie.\n"
    )


def _walk(flows: list[Flow]) -> Iterator[str]:
    yield "## An example, table by table\n"
    yield (
        "One web server (`172.31.0.4`, port 3) with the elastic IP `198.51.100.64` in a group that lets anyone reach "
        "tcp/80, `203.0.113.0/24` reach tcp/8000-8005 and its own members reach everything; one more member behind the "
        "fabric.  Port 1 is the uplink, port 2 the fabric.\n"
    )
    for table in TABLES.values():
        yield from _example_table(table, [flow for flow in flows if flow.table == table.number])


def _example_table(table: Table, flows: Iterable[Flow]) -> Iterator[str]:
    yield f"### {table.number} {table.name}\n"
    yield "```"
    yield from sorted(flow_text(flow) for flow in flows)
    yield "```\n"
