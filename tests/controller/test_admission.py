"""Who is let in: exactly those whose certificate the store lists, for their own host and their own datapath."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certificates import authority as ca
from controller.admission import Admission, Peer, RefusedError
from controller.bindings import HostPorts
from controller.refusals import Refusals
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
    admission, inside = Admission(Refusals()), {}
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
        Admission(Refusals()).check(Peer("h1", "a"))


def test_without_tls_only_a_removed_host_is_refused():
    admission = Admission(Refusals())
    admission.check_host(Peer(), "h1")
    admission.update({"h1": HostRecord("h1", REMOVED)})
    admission.check_host(Peer(), "h2")
    with pytest.raises(RefusedError, match="sluice host add h1"):
        admission.check_host(Peer(), "h1")


def test_a_certificate_is_read():
    authority = ca.new_authority(ca.new_key(), datetime.now(UTC))
    pem = ca.issue(authority, "h1", ca.request(key := ca.new_key(), "h1"), datetime.now(UTC))
    admission = Admission(Refusals())
    admission.update({"h1": HostRecord("h1", JOINED, (ca.holder(pem).serial,))})
    assert ca.fits(pem, key)
    assert admission.identify(pem) == Peer("h1", ca.holder(pem).serial)
    for nonsense in (None, b"", b"\x30\x00"):
        with pytest.raises(RefusedError):
            admission.identify(nonsense)


def _nobody_minds(_session):
    pass


class Held:
    """Stands where a session with a switch stands."""

    address = "192.0.2.7"

    def __init__(self, dpid, owner, *, there=True):
        self.dpid, self.owner, self.there, self.asked, self.hung_up = dpid, owner, there, 0, False

    def is_there(self, _patience):
        self.asked += 1
        return self.there

    def hang_up(self):
        self.hung_up = True


@given(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from([None, *NAMES])), max_size=8),
    st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3)),
)
def test_a_host_gets_no_switch_but_its_own(arrivals, datapaths):
    hosts = {name: HostPorts(dpid, "br-int") for name, dpid in datapaths.items()}
    switches = Switches(Refusals(), _nobody_minds)
    for dpid, owner in arrivals:
        session = Held(dpid, owner, there=False)
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
            assert found is None or (found.dpid == dpid and found.owner in (None, name))


def test_a_thief_that_came_first_does_not_come_between():
    switches = Switches(Refusals(), _nobody_minds)
    thief, right = Held(1, "h2"), Held(1, "h1")
    switches.enter(1, "h2", thief, {})
    switches.enter(1, "h1", right, {})
    hosts = {"h1": HostPorts(1, "br-int")}
    assert switches.of("h1", 1) is right
    assert list(switches.strangers(hosts)) == [
        "switch 0000000000000001 has the certificate of h2, but is that of h1; it gets nothing"
    ]
    switches.leave(thief)
    assert list(switches.strangers(hosts)) == []


@pytest.mark.parametrize("owner", [None, "h1"])
def test_who_holds_a_datapath_keeps_it_while_it_answers(owner):
    refusals = Refusals()
    switches = Switches(refusals, _nobody_minds)
    first, second = Held(1, owner), Held(1, owner)
    switches.enter(1, owner, first, {})
    with pytest.raises(RefusedError, match="which is connected from"):
        switches.enter(1, owner, second, {})
    assert (switches.of("h1", 1), first.asked, first.hung_up) == (first, 1, False)
    first.there = False
    switches.enter(1, owner, second, {})
    assert (switches.of("h1", 1), first.hung_up) == (second, True)
    assert "it is silent" in refusals.problems()[0]


def test_whose_a_datapath_is_counts_as_it_is_after_the_wait():
    """While its holder was asked, another host's agent has said that the datapath is its own."""
    switches, hosts = Switches(Refusals(), _nobody_minds), {}

    class Slow(Held):
        def is_there(self, _patience):
            hosts["h2"] = HostPorts(1, "br-int")
            return False

    switches.enter(1, "h1", Slow(1, "h1"), hosts)
    with pytest.raises(RefusedError, match="host h2's, with the certificate of h1"):
        switches.enter(1, "h1", Held(1, "h1"), hosts)
    assert switches.of("h1", 1) is None
