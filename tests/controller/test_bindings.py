"""Snapshots of agents: read strictly, whatever comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.bindings import Binding, HostPorts, SnapshotError, read_snapshot

PORT = {"name": "tap1", "ofport": 3, "role": "instance", "iface_id": "eni-1", "mac": "02:00:00:00:00:01"}
SNAPSHOT = {
    "dpid": 0x1234,
    "bridge": "br-int",
    "ports": [
        {"name": "ext0", "ofport": 1, "role": "uplink", "iface_id": None, "mac": None},
        {"name": "fab0", "ofport": 2, "role": "fabric", "iface_id": None, "mac": None},
        PORT,
    ],
}


def test_a_snapshot_names_uplink_fabric_and_interfaces():
    assert read_snapshot(SNAPSHOT) == HostPorts(0x1234, "br-int", 1, 2, {"eni-1": Binding(3, 0x020000000001)})


def test_an_interface_plugged_in_twice_keeps_its_first_port_and_is_reported():
    ports = read_snapshot({**SNAPSHOT, "ports": [PORT, {**PORT, "name": "tap2", "ofport": 4}]})
    assert ports.interfaces == {"eni-1": Binding(3, 0x020000000001)}
    assert "tap2" in ports.problems[0]


def test_a_port_without_a_mac_stays_dark_and_is_reported():
    ports = read_snapshot({**SNAPSHOT, "ports": [{**PORT, "mac": None}]})
    assert not ports.interfaces
    assert "tap1" in ports.problems[0]


@pytest.mark.parametrize(
    "change",
    [
        {"dpid": 0},
        {"dpid": "12"},
        {"dpid": 1 << 64},
        {"bridge": None},
        {"ports": {}},
        {"ports": ["tap1"]},
        {"ports": [{**PORT, "ofport": 0}]},
        {"ports": [{**PORT, "ofport": 0xFF00}]},
        {"ports": [{**PORT, "name": 7}]},
    ],
)
def test_a_wrong_snapshot_is_refused(change):
    with pytest.raises(SnapshotError):
        read_snapshot({**SNAPSHOT, **change})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(["dpid", "bridge", "ports", "problems"])


@given(st.dictionaries(KEYS, VALUES | st.just([PORT])))
def test_any_message_is_a_snapshot_or_refused(message):
    try:
        ports = read_snapshot(message)
    except SnapshotError:
        return
    assert ports.dpid > 0


def test_a_tunnel_fabric_needs_an_address():
    assert read_snapshot(SNAPSHOT).mode == "vlan"
    read = read_snapshot({**SNAPSHOT, "fabric_mode": "vxlan", "fabric_ip": "10.254.0.11"})
    assert (read.mode, read.tunnel_ip) == ("vxlan", 0x0AFE000B)
    for broken in ({"fabric_mode": "vxlan"}, {"fabric_mode": "gre"}, {"fabric_mode": []}):
        with pytest.raises(SnapshotError):
            read_snapshot({**SNAPSHOT, **broken})
