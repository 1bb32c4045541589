"""Who is let in: exactly those whose certificate the store lists, for their own host and their own datapath."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certificates import authority as ca
from controller.admission import REMEMBERED, Admission, Peer, RefusedError
from controller.bindings import HostPorts
from controller.switches import Switches
from econe_api.store.hosts import INVITED, JOINED, KNOWN
from econe_api.store.records import REMOVED, HostRecord

NAMES, SERIALS = ("h1", "h2", "h3"), ("a", "b", "c", "d")
RECORDS = st.dictionaries(
    st.sampled_from(NAMES),
    st.tuples(st.sampled_from([KNOWN, INVITED, JOINED, REMOVED]), st.frozensets(st.sampled_from(SERIALS))),
).map(lambda found: {name: HostRecord(name, state, tuple(sorted(held))) for name, (state, held) in found.items()})
PEERS = st.builds(Peer, st.sampled_from(NAMES), st.sampled_from(SERIALS))


def _good(records, peer, host):
    """The oracle: listed, not removed, and for nobody else."""
    record = records.get(peer.host)
    return record is not None and record.state != REMOVED and peer.serial in record.serials and peer.host == host


@given(st.lists(RECORDS, min_size=1, max_size=4), st.lists(st.tuples(PEERS, st.sampled_from(NAMES)), max_size=6))
def test_who_is_in_after_any_history_is_who_may_be_in(history, arrivals):
    admission, inside = Admission(lambda: 0.0), {}
    for step, records in enumerate(history):
        admission.update(records)
        for number in [one for one, (peer, host) in inside.items() if not _good(records, peer, host)]:
            pytest.fail(f"{inside[number]} is still in")
        for number, (peer, host) in enumerate(arrivals):
            key = (step, number)
            try:
                admission.check(peer)
                admission.check_host(peer, host)
            except RefusedError:
                assert not _good(records, peer, host)
                continue
            assert _good(records, peer, host)
            inside[key] = (peer, host)
            admission.enter(peer, lambda key=key: inside.pop(key), host)


def test_nobody_is_let_in_before_the_store_has_been_read():
    with pytest.raises(RefusedError, match="has not been read"):
        Admission(lambda: 0.0).check(Peer("h1", "a"))


def test_without_tls_only_a_removed_host_is_refused():
    admission = Admission(lambda: 0.0)
    admission.check_host(Peer(), "h1")
    admission.update({"h1": HostRecord("h1", REMOVED)})
    admission.check_host(Peer(), "h2")
    with pytest.raises(RefusedError, match="sluice host add h1"):
        admission.check_host(Peer(), "h1")


def test_a_certificate_is_read():
    authority = ca.new_authority(ca.new_key(), datetime.now(UTC))
    pem = ca.issue(authority, "h1", ca.request(key := ca.new_key(), "h1"), datetime.now(UTC))
    admission = Admission(lambda: 0.0)
    admission.update({"h1": HostRecord("h1", JOINED, (ca.holder(pem).serial,))})
    assert ca.fits(pem, key)
    assert admission.identify(pem) == Peer("h1", ca.holder(pem).serial)
    for nonsense in (None, b"", b"\x30\x00"):
        with pytest.raises(RefusedError):
            admission.identify(nonsense)


def test_refusals_are_counted_and_forgotten():
    now = 100.0
    admission = Admission(lambda: now)
    worth_a_line = [admission.refused("an agent at 10.0.0.9", "shows no certificate") for _ in range(3)]
    assert worth_a_line == [True, False, False]
    now += 5
    assert admission.problems() == ["refused: an agent at 10.0.0.9 shows no certificate (5 s ago, 3 times)"]
    for number in range(1000):
        admission.refused(f"an agent at 10.0.0.{number}", "speaks no TLS")
    assert len(admission.problems()) == 32
    now += REMEMBERED + 1
    assert admission.problems() == []


@given(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from([None, *NAMES])), max_size=8),
    st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3)),
)
def test_a_host_gets_no_switch_but_its_own(arrivals, datapaths):
    hosts = {name: HostPorts(dpid, "br-int") for name, dpid in datapaths.items()}
    switches = Switches()
    for number, (dpid, owner) in enumerate(arrivals):
        session = (number, dpid, owner)
        others = {name for name, known in datapaths.items() if known == dpid}
        wrong = owner is not None and ((bool(others) and owner not in others) or datapaths.get(owner, dpid) != dpid)
        try:
            switches.enter(dpid, owner, session, hosts)
        except RefusedError:
            assert owner is not None
        else:
            assert not wrong
    for name in NAMES:
        for dpid in (1, 2, 3):
            found = switches.of(name, dpid)
            assert found is None or (found[1] == dpid and found[2] in (None, name))


def test_a_thief_that_came_first_does_not_come_between():
    switches = Switches()
    switches.enter(1, "h2", "thief", {})
    switches.enter(1, "h1", "right", {})
    hosts = {"h1": HostPorts(1, "br-int")}
    assert switches.of("h1", 1) == "right"
    assert list(switches.strangers(hosts)) == [
        "switch 0000000000000001 has the certificate of h2, but is that of h1; it gets nothing"
    ]
    switches.leave("thief")
    assert list(switches.strangers(hosts)) == []
