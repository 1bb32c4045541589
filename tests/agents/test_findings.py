"""What a survey of a host means: every lack is found, names its mend, and a good host has none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.findings import BridgeSeen, Device, Survey, Verdict, Wanted, judge

NOW = datetime(2026, 11, 21, tzinfo=UTC)
WANTED = Wanted(controller="ssl:10.0.0.1:6653", uplink="eth1", fabric="eth2", tls=True)
BRIDGE = BridgeSeen("secure", frozenset({"OpenFlow13"}), (WANTED.controller,))
GOOD = Survey(
    ovs_version="3.1.0",
    switch=True,
    bridge=BRIDGE,
    features={"CT state": "Yes", "CT zone": "Yes"},
    meters=200_000,
    devices={"eth1": Device("eth1", True, 1500), "eth2": Device("eth2", True, 1500)},
    skew=0.1,
    certificate=NOW + timedelta(days=80),
)


def _said(survey, wanted=WANTED):
    return {one.what: one for one in judge(wanted, survey, NOW) if one.verdict is not Verdict.OK}


def test_a_good_host_has_nothing_to_mend():
    assert _said(GOOD) == {}
    assert len(judge(WANTED, GOOD, NOW)) >= 10


@pytest.mark.parametrize(
    ("change", "what", "verdict", "mend"),
    [
        ({"ovs_version": None, "bridge": None}, "ovs", "fail", "systemctl start"),
        ({"ovs_version": "2.9.2"}, "ovs version", "fail", "3.1"),
        ({"ovs_version": "2.17.9"}, "ovs version", "warn", "3.1"),
        ({"ovs_version": "unknown"}, "ovs version", "fail", "3.1"),
        ({"switch": False}, "ovs-vswitchd", "fail", "systemctl restart"),
        ({"bridge": None, "features": None}, "bridge", "warn", "systemctl start sluice-agent"),
        ({"bridge": replace(BRIDGE, fail_mode="")}, "fail mode", "fail", "ovs-vsctl set-fail-mode br-int secure"),
        ({"bridge": replace(BRIDGE, protocols=frozenset({"OpenFlow10"}))}, "openflow", "fail", "protocols=OpenFlow13"),
        ({"bridge": replace(BRIDGE, targets=())}, "controller target", "warn", "sluice-agent"),
        ({"features": {"CT zone": "No"}}, "datapath", "fail", "modprobe"),
        ({"meters": 0}, "meters", "fail", "kernel"),
        ({"devices": {"eth2": Device("eth2", True, 1500)}}, "uplink", "fail", "ip link"),
        ({"devices": {**GOOD.devices, "eth1": Device("eth1", False, 1500)}}, "uplink", "fail", "ip link set eth1 up"),
        (
            {"devices": {**GOOD.devices, "eth1": Device("eth1", True, 1500, frozenset({"large-receive-offload"}))}},
            "uplink offloads",
            "warn",
            "ethtool -K eth1 lro off",
        ),
        ({"unreachable": "no route"}, "controller", "fail", "start it"),
        ({"skew": -3600.0}, "clock", "fail", "timedatectl"),
        ({"skew": 7.0}, "clock", "warn", "timedatectl"),
        ({"certificate": NOW}, "certificate", "fail", "sluice agent join"),
        ({"certificate": NOW + timedelta(days=3)}, "certificate", "warn", "restart"),
        ({"certificate": "it is host h9's"}, "certificate", "fail", "sluice agent join"),
        ({"certificate": None}, "certificate", "fail", "sluice agent join"),
    ],
)
def test_a_lack_is_said_with_its_mend(change, what, verdict, mend):
    said = _said(replace(GOOD, **change))
    assert said[what].verdict == verdict
    assert mend in said[what].mend
    assert set(said) == {what}


def test_offloads_that_only_a_userspace_switch_minds():
    busy = Device("eth1", True, 1500, frozenset({"generic-receive-offload", "tx-checksumming", "rx-checksumming"}))
    survey = replace(GOOD, devices={**GOOD.devices, "eth1": busy})
    assert _said(survey) == {}
    found = judge(
        replace(WANTED, datapath_type="netdev"), replace(survey, bridge=replace(BRIDGE, datapath_type="netdev")), NOW
    )
    assert {one.mend for one in found if one.verdict is not Verdict.OK} == {
        "ethtool -K eth1 gro off",
        "ethtool -K eth1 tx off",
    }


@pytest.mark.parametrize(("mtu", "verdict"), [(1500, "warn"), (1549, "warn"), (1550, "ok"), (9000, "ok")])
def test_tunnels_need_room(mtu, verdict):
    wanted = replace(WANTED, fabric="vxlan0", fabric_mode="vxlan", fabric_ip="10.1.0.1")
    found = {one.what: one for one in judge(wanted, replace(GOOD, underlay=Device("eth2", True, mtu)), NOW)}
    assert found["tunnels"].verdict == verdict
    assert {one.what: one for one in judge(wanted, GOOD, NOW)}["tunnels"].verdict == "fail"


DEVICES = st.builds(Device, st.just("eth1"), st.booleans(), st.integers(68, 65535), st.frozensets(st.text(max_size=9)))
SURVEYS = st.builds(
    Survey,
    st.none() | st.text(max_size=12),
    st.booleans(),
    st.none() | st.builds(BridgeSeen, st.text(max_size=9), st.frozensets(st.text(max_size=9)), st.tuples(st.text())),
    st.none() | st.dictionaries(st.text(max_size=9), st.sampled_from(["Yes", "No", "0", "7"])),
    st.none() | st.integers(0, 1 << 32),
    st.dictionaries(st.just("eth1"), DEVICES),
    st.none() | DEVICES,
    st.none() | st.text(min_size=1, max_size=20),
    st.none() | st.floats(-1e9, 1e9),
    st.none() | st.text(min_size=1, max_size=9) | st.datetimes().map(lambda when: when.replace(tzinfo=UTC)),
)


@given(SURVEYS, st.sampled_from([WANTED, Wanted(), replace(WANTED, fabric_mode="vxlan", fabric_ip="10.1.0.1")]))
def test_whatever_is_seen_every_lack_has_a_mend(survey, wanted):
    for one in judge(wanted, survey, NOW):
        assert one.what
        assert one.said
        assert bool(one.mend) is (one.verdict is not Verdict.OK)
        assert "\n" not in one.mend
