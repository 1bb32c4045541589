"""Every verdict of the compiled flows on real Open vSwitch is the oracle's."""

import itertools
import os
import random

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from flowrules import tables as t
from flowrules.actions import Load
from flowrules.fields import VERDICT
from flowrules.flow import flow
from flowrules.text import flow_text
from topologies.oracle import DENIED, OUTSIDE, Sender, Service, questions, verdict
from topologies.verdicts import TraceError, mismatches

#: Random clouds per run; each is asked about up to 50 packets.
EXAMPLES = int(os.environ.get("SLUICE_ORACLE_EXAMPLES", "200"))
ASKED = 50


@pytest.mark.timeout(900)  # a failure takes its time to become small
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False)
@given(data=st.data())
def test_random_clouds(data, stage, random_states, compiled):
    state = data.draw(random_states)
    asked = list(questions(state, random.Random(data.draw(st.integers(0, 1 << 16))), ASKED))
    kinds = {verdict(state, *question).receiver for question in asked}
    event("delivers" if kinds - {None, OUTSIDE} else "denies all")
    stage.install(compiled(state))
    assert list(mismatches(stage.tracer(state), state, asked)) == []


@pytest.fixture(scope="module")
def asked():
    """Everything that the small cloud may be asked."""
    own = ["10.0.1.10", "10.0.2.11", "10.0.1.12", "10.0.1.10", "10.0.1.14"]
    senders = [Sender(None, "198.51.100.7"), *(Sender(f"eni-{number}", address) for number, address in enumerate(own))]
    public = [f"203.0.113.1{number}" for number in (0, 1, 3, 5)]
    services = [*(Service(6, port) for port in (22, 79, 80, 81, 82, 5432)), Service(17, 53), Service(1, 8)]
    every = itertools.product(senders, sorted({*own, *public, "198.51.100.7"}), services)
    return [question for question in every if question[0].address != question[1]]


@pytest.fixture
def installed(stage, small_cloud, compiled):
    flows = compiled(small_cloud)
    stage.install(flows)
    return flows


def test_small_cloud_exhaustively(stage, small_cloud, installed, asked):
    tracer = stage.tracer(small_cloud)
    assert list(mismatches(tracer, small_cloud, asked)) == []
    assert len(asked) == 384
    assert tracer.traces > len(asked)


def _finds_fault(stage, state, host, flows, asked):
    stage.install({host: flows})
    try:
        return any(mismatches(stage.tracer(state), state, asked))
    except TraceError:
        return True


#: Tables in which every flow of the small cloud decides about some first packet or its answer.
DECISIVE = (t.EXTERNAL_IN, t.EGRESS_GROUPS, t.INGRESS_GROUPS, t.INGRESS_RULES, t.INGRESS_REMOTES, t.ELASTIC_OUT)


def test_a_missing_flow_is_found(stage, small_cloud, installed, asked):
    flows = installed["hv1"]
    # Port 82 and the like ask for nothing that a missing flow could take away.
    allowed = [question for question in asked if verdict(small_cloud, *question) != DENIED]
    for gone in [one for one in flows if one.table in DECISIVE]:
        rest = [one for one in flows if one is not gone]
        assert _finds_fault(stage, small_cloud, "hv1", rest, allowed), flow_text(gone)


@pytest.mark.parametrize(
    ("host", "table"),
    [
        ("hv1", t.INGRESS_RULES),
        ("hv2", t.INGRESS_RULES),
        ("hv3", t.INGRESS_RULES),
        ("hv1", t.INGRESS_REMOTES),
        ("hv2", t.INGRESS_REMOTES),
        ("hv3", t.EGRESS_RULES),  # the one host with a sender that may not send
    ],
)
def test_a_flow_that_allows_too_much_is_found(stage, small_cloud, installed, asked, host, table):
    broken = [*installed[host], flow(table, 1000, (), (Load(VERDICT, 1),))]
    assert _finds_fault(stage, small_cloud, host, broken, asked)


def test_forged_frames_go_nowhere(stage, small_cloud, installed):
    """Whatever an instance claims to be that it is not, no port and no controller sees it."""
    tracer = stage.tracer(small_cloud)
    mac, victim, router = "02:00:00:00:01:00", "02:00:00:00:01:01", "02:5c:e0:00:00:01"
    arp = f"arp,dl_src={mac},dl_dst=ff:ff:ff:ff:ff:ff,arp_op=1,arp_sha={mac},arp_spa=10.0.1.10,arp_tpa=10.0.1.12"
    ip = f"tcp,dl_src={mac},dl_dst={router},nw_src=10.0.1.10,nw_dst=198.51.100.7,nw_ttl=64,tcp_dst=80"
    assert tracer.inject("hv1", 10, arp) == [10]
    assert tracer.inject("hv1", 10, ip) == [1]
    forged = [
        ip.replace("nw_src=10.0.1.10", "nw_src=10.0.2.11"),
        ip.replace("nw_src=10.0.1.10", "nw_src=203.0.113.10"),
        ip.replace(f"dl_src={mac}", f"dl_src={victim}"),
        f"{ip},dl_vlan=101",
        f"{ip},dl_vlan=0",
        arp.replace("arp_spa=10.0.1.10", "arp_spa=10.0.2.11"),
        arp.replace(f"arp_sha={mac}", f"arp_sha={victim}"),
        arp.replace(f"dl_src={mac}", f"dl_src={victim}"),
        arp.replace("arp_op=1", "arp_op=2"),
        arp.replace("arp_tpa=10.0.1.12", "arp_tpa=10.0.1.10"),
        f"{arp},dl_vlan=101",
        f"udp,dl_src={mac},dl_dst=ff:ff:ff:ff:ff:ff,nw_src=10.0.1.10,nw_dst=255.255.255.255,udp_src=67,udp_dst=68",
        f"icmp6,dl_src={mac},dl_dst=33:33:00:00:00:01,ipv6_src=fe80::1,ipv6_dst=ff02::1,icmpv6_type=134",
        f"icmp6,dl_src={mac},dl_dst=33:33:00:00:00:01,ipv6_src=fe80::1,ipv6_dst=ff02::1,icmpv6_type=136",
        f"dl_src={mac},dl_dst=01:80:c2:00:00:0e,dl_type=0x88cc",
        f"dl_src={mac},dl_dst=01:80:c2:00:00:03,dl_type=0x888e",
        f"dl_src={mac},dl_dst=01:80:c2:00:00:00,dl_type=0x05ff",
    ]
    assert [frame for frame in forged if tracer.inject("hv1", 10, frame)] == []


def test_neighbours_of_the_uplink_reach_nothing_directly(stage, small_cloud, installed):
    """A frame from the public network that is not for an elastic IP goes nowhere, whatever MAC it knows."""
    tracer = stage.tracer(small_cloud)
    macs = ["02:5c:e0:00:00:01", "02:e1:cb:00:71:0a", "02:00:00:00:01:00", "ff:ff:ff:ff:ff:ff"]
    addresses = ["10.0.1.10", "10.0.2.11", "10.0.1.12", "203.0.113.12", "203.0.113.15", "198.51.100.7"]
    for mac, address in itertools.product(macs, addresses):
        frame = f"tcp,dl_src=02:00:00:00:00:99,dl_dst={mac},nw_src=198.51.100.7,nw_dst={address},nw_ttl=64,tcp_dst=80"
        assert tracer.inject("hv1", 1, frame) == []
        assert tracer.inject("hv1", 1, f"{frame},dl_vlan=101") == []
