"""Rows to snapshot."""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from agents.ports import Snapshot, snapshot
from agents.rows import BridgeRow, Database, InterfaceRow
from channel.frames import FrameReader, pack

ROWS = st.builds(
    InterfaceRow,
    name=st.sampled_from(["br-int", "up0", "fab0"]) | st.from_regex(r"tap[0-9]{1,2}", fullmatch=True),
    ofport=st.none() | st.sampled_from([-1, 0, 65279, 65280, 65534]) | st.integers(1, 50),
    link_state=st.sampled_from([None, "up", "down"]),
    iface_id=st.none() | st.sampled_from(["", "eni-1", "eni-2", "x" * 256]) | st.text(max_size=8),
    attached_mac=st.none() | st.sampled_from(["", "02:00:00:00:00:0A", "02:00:00:00:00:0a\n", "nonsense"]),
    error=st.none() | st.just("could not open\nnetwork device"),
)
INTERFACES = st.lists(ROWS, max_size=12, unique_by=lambda row: row.name)


def seen(rows: list[InterfaceRow], datapath_id: str | None = "00000000000000a1") -> Database:
    return Database(BridgeRow("br-int", datapath_id=datapath_id, interfaces=tuple(rows)), ovs_version="3.1.0")


def reported(rows: list[InterfaceRow]) -> Snapshot:
    got = snapshot(seen(rows), "up0", "fab0", ["first"])
    assert got is not None
    return got


@given(INTERFACES)
def test_what_is_reported_is_true_and_usable(rows: list[InterfaceRow]) -> None:
    by_name = {row.name: row for row in rows}
    ports = reported(rows).ports
    assert [port.name for port in ports] == sorted(port.name for port in ports)
    for port in ports:
        row = by_name[port.name]
        assert port.ofport == row.ofport
        assert 0 < port.ofport < 0xFF00
        assert port.name != "br-int"
        assert port.role == {"up0": "uplink", "fab0": "fabric"}.get(port.name, "instance")
        assert port.iface_id == (row.iface_id if port.role == "instance" else None)
        assert (port.role == "instance") == bool(port.iface_id)
        assert port.mac is None or re.fullmatch("([0-9a-f]{2}:){5}[0-9a-f]{2}", port.mac)
        assert port.link_up == (row.link_state == "up")


@given(INTERFACES)
def test_every_open_port_is_reported_or_named_as_a_problem(rows: list[InterfaceRow]) -> None:
    got = reported(rows)
    assert got.problems[0] == "first"
    names = {port.name for port in got.ports}
    for row in rows:
        if row.name != "br-int" and row.ofport is not None and row.name not in names:
            assert any(f"port {row.name} " in problem for problem in got.problems)
    assert all("\n" not in problem for problem in got.problems)


@given(INTERFACES)
def test_no_interface_id_is_reported_twice(rows: list[InterfaceRow]) -> None:
    ids = [port.iface_id for port in reported(rows).ports if port.iface_id is not None]
    assert len(ids) == len(set(ids))


@given(INTERFACES, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(rows: list[InterfaceRow], random: Random) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert reported(shuffled) == reported(rows)


@given(INTERFACES, st.integers(1, 2**40))
def test_the_message_goes_through_a_frame_unchanged(rows: list[InterfaceRow], seq: int) -> None:
    message = reported(rows).message(seq)
    assert FrameReader().feed(pack(message)) == [message]


def test_nothing_is_known_until_the_switch_has_set_the_bridge_up() -> None:
    row = InterfaceRow("tap1", 1, "up", "eni-1", "02:00:00:00:00:01")
    assert snapshot(seen([row], None), None, None, []) is None
    assert snapshot(Database(), None, None, []) is None


def test_of_two_ports_with_one_id_the_living_one_counts_then_the_newer() -> None:
    old = InterfaceRow("tap1", 1, "down", "eni-1")
    new = InterfaceRow("tap2", 2, "up", "eni-1")
    got = reported([old, new])
    assert [port.name for port in got.ports] == ["tap2"]
    assert got.problems == ("first", "port tap1 is left out: port tap2 has the same iface-id eni-1")
    assert [port.name for port in reported([replace(old, link_state="up"), new]).ports] == ["tap2"]
    assert [port.name for port in reported([replace(old, ofport=9, link_state="up"), new]).ports] == ["tap1"]


def test_the_message_is_as_documented() -> None:
    row = InterfaceRow("tap1", 7, "up", "eni-1", "02:00:00:00:00:0A")
    assert reported([row, InterfaceRow("up0", 1, "down")]).message(3) == {
        "type": "snapshot",
        "seq": 3,
        "dpid": 0xA1,
        "bridge": "br-int",
        "ports": [
            {
                "name": "tap1",
                "ofport": 7,
                "role": "instance",
                "iface_id": "eni-1",
                "mac": "02:00:00:00:00:0a",
                "link_up": True,
            },
            {"name": "up0", "ofport": 1, "role": "uplink", "iface_id": None, "mac": None, "link_up": False},
        ],
        "ovs_version": "3.1.0",
        "agent_version": None,
        "problems": ["first"],
        "fabric_mode": "vlan",
        "fabric_ip": None,
        "gateways": {},
    }


def test_the_port_of_the_metadata_service() -> None:
    """It is reported by the number that it has or will have, and says nothing while it is not open."""
    for row, number in (
        (InterfaceRow("md1", 5), 5),
        (InterfaceRow("md1", None, ofport_request=6), 6),
        (InterfaceRow("md1", -1, ofport_request=6, error="no such device"), None),
        (InterfaceRow("md1", None), None),
    ):
        got = snapshot(seen([row]), None, None, [], ("md0", "md1"))
        assert got is not None
        assert [(port.role, port.ofport) for port in got.ports] == ([("metadata", number)] if number else [])
        assert got.problems == ()
