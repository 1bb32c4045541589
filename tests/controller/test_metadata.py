"""Whose port asked, and whether that is still so when the facts have come."""

import pytest

from controller.bindings import Binding, HostPorts
from controller.facts import Facts, FactsError
from controller.metadata import MetadataDesk
from controller.world import World
from econe_api.store.records import Batch, Change, InterfaceRecord, Kind
from flowrules.addresses import mac_to_int

MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")


class Source:
    """Facts that name the interface; ``during`` happens while they are read."""

    def __init__(self):
        self.during = lambda: None

    def prepare(self):
        pass

    def of(self, interface):
        self.during()
        return {"of": interface}


@pytest.fixture
def world():
    """h1 has eni-1 at port 3 and a stranger at port 5; h2 has eni-2 at port 3 and eni-1, which is at h1, at port 4."""
    made = World()
    records = [
        InterfaceRecord(f"eni-{n}", f"i-{n}", "vpc-1", "subnet-1", mac, ("10.0.0.4",), ())
        for n, mac in enumerate(MACS, 1)
    ]
    made.apply(Batch(1, full=True, changes=tuple(Change(Kind.INTERFACE, one.id, one) for one in records)))
    first, second = (Binding(3, mac_to_int(mac)) for mac in MACS)
    stranger = Binding(5, mac_to_int(MACS[0]))
    made.bind("h1", HostPorts(1, "br-int", interfaces={"eni-1": first, "eni-9": stranger}))
    made.bind("h2", HostPorts(2, "br-int", interfaces={"eni-2": second, "eni-1": Binding(4, mac_to_int(MACS[0]))}))
    return made


def ask(world, host, ofport, mac, source=None):
    reply = MetadataDesk(lambda: world.index, source or Source()).answer(host, {"id": 7, "ofport": ofport, "mac": mac})
    assert (reply["type"], reply["id"], (reply["facts"] is None) == (reply["error"] is not None)) == (
        "metadata_reply",
        7,
        True,
    )
    return reply["facts"]["of"] if reply["facts"] else None


def test_a_port_is_known_by_host_number_and_mac(world):
    assert ask(world, "h1", 3, 1) == "eni-1"
    assert ask(world, "h2", 3, 2) == "eni-2"
    for host, ofport, mac in (
        ("h1", 3, 2),  # the port's former instance
        ("h1", 4, 1),
        ("h1", 5, 1),  # nobody's
        ("h2", 4, 1),  # on its way to h2, but still at h1
        ("h3", 3, 1),
        ("h1", None, None),
        ("h1", "3", "1"),
    ):
        assert ask(world, host, ofport, mac) is None, (host, ofport, mac)


def test_an_answer_that_came_too_late_is_none(world):
    source = Source()
    source.during = lambda: world.bind("h1", HostPorts(1, "br-int"))
    assert ask(world, "h1", 3, 1, source) is None


def test_no_facts(world):
    source = Source()
    source.of = lambda interface: None
    assert ask(world, "h1", 3, 1, source) is None

    def fail(interface):
        raise FactsError("the store gave no answer")

    source.of = fail
    assert ask(world, "h1", 3, 1, source) is None


def test_a_reader_without_a_store_is_an_error_and_tried_again(tmp_path):
    config = tmp_path / "sluice.toml"
    config.write_text(f'state = "{tmp_path}"\n')
    facts = Facts(str(config))
    try:
        for _ in range(2):
            with pytest.raises(FactsError, match=r"has ended|has just ended|does not take|no answer"):
                facts.of("eni-1")
    finally:
        facts.stop()
