"""Hosts change their fabric, and instances move, while the world looks on."""

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.bindings import Binding, HostPorts
from controller.desired import Desired
from controller.keys import ElasticKey, NeighbourKey, PeerKey
from controller.world import World
from econe_api.store.records import (
    AddressRecord,
    Batch,
    Change,
    InterfaceRecord,
    Kind,
    PoolRecord,
    SubnetRecord,
    VpcRecord,
)
from flowrules import tables
from flowrules.intent import Local, Neighbour, Peer, Remote, Tunnelled

HOSTS = ("h1", "h2", "h3")
INTERFACES = {"eni-1": 1, "eni-2": 2, "eni-3": 3}
GATEWAY = "203.0.113.1"
ALWAYS = (
    Change(Kind.POOL, "public", PoolRecord("public", "203.0.113.0/24", GATEWAY, "")),
    Change(Kind.VPC, "vpc-1", VpcRecord("vpc-1", 7, "10.0.0.0/16", 101)),
    Change(Kind.SUBNET, "subnet-1", SubnetRecord("subnet-1", "vpc-1", "10.0.1.0/24", "10.0.1.1")),
)


def interface(key, home=None):
    number = INTERFACES[key]
    mac, address = f"02:00:00:00:00:{number:02x}", f"10.0.1.{10 + number}"
    return Change(Kind.INTERFACE, key, InterfaceRecord(key, None, "vpc-1", "subnet-1", mac, (address,), (), home))


def address(public_ip, key):
    return Change(Kind.ADDRESS, public_ip, AddressRecord(public_ip, "public", key, f"10.0.1.{10 + INTERFACES[key]}"))


def plugged(*keys, link_up=True):
    return {key: Binding(20 + INTERFACES[key], 0x020000000000 + INTERFACES[key], link_up) for key in keys}


def ports(host, bindings, mode="vxlan", fabric=2, tunnel=0, gateway=None):
    number = int(host[1:])
    gateways = {GATEWAY: gateway} if gateway else {}
    tunnel_ip = number + tunnel if mode == "vxlan" else None
    return HostPorts(number, "br-int", 1, fabric, bindings, (), mode, tunnel_ip, gateways)


def world_of(changes, hosts):
    world = World()
    world.apply(Batch(1, full=True, changes=(*ALWAYS, *changes)))
    for host, reported in hosts.items():
        world.bind(host, reported)
    return world


def knows(world, host):
    desired = Desired(host)
    desired.update(world.index, world.keys(host))
    assert desired.problems == {}
    for flow in desired.flows.values():
        tables.check(flow)
    return desired.intents()


def via(world, host, key):
    found = knows(world, host)[NeighbourKey(key, f"10.0.1.{10 + INTERFACES[key]}")]
    assert isinstance(found, Neighbour)
    return found.via


def test_each_kind_of_fabric_has_its_way_and_unlike_ones_have_none():
    here, there = plugged("eni-1"), plugged("eni-2")
    changes = [interface("eni-1"), interface("eni-2")]
    for mode, way in (("vlan", Remote(2, 101)), ("flat", Remote(2, None)), ("vxlan", Tunnelled(2, 7, 2))):
        world = world_of(changes, {"h1": ports("h1", here, mode), "h2": ports("h2", there, mode)})
        assert via(world, "h1", "eni-1") == Local(21)
        assert via(world, "h1", "eni-2") == way
        peers = {key: found for key, found in knows(world, "h1").items() if isinstance(key, PeerKey)}
        assert peers == ({PeerKey("h2"): Peer(2, 2)} if mode == "vxlan" else {})
        world.bind("h2", ports("h2", there, "flat" if mode == "vlan" else "vlan"))
        assert via(world, "h1", "eni-2") is None


def test_an_elastic_ip_waits_for_its_gateway_and_follows_it():
    report = [ports("h1", plugged("eni-1"), gateway=gateway) for gateway in (None, 5, 6)]
    world = world_of([interface("eni-1"), address("203.0.113.10", "eni-1")], {"h1": report[0]})
    key = ElasticKey("203.0.113.10")
    assert key not in knows(world, "h1")
    assert world.index.unresolved("h1") == [GATEWAY]
    for gateway in (1, 2):
        assert key in world.bind("h1", report[gateway])["h1"]
        assert knows(world, "h1")[key].gateway_mac == 4 + gateway
        assert world.index.unresolved("h1") == []


def test_while_an_instance_moves_its_place_changes_once():
    both = {"h1": ports("h1", plugged("eni-1")), "h2": ports("h2", plugged("eni-1"))}
    for source, target in (("h1", "h2"), ("h2", "h1")):
        world = world_of([interface("eni-1", source)], {source: both[source]})
        places = [world.index.places["eni-1"].host]
        for host, report in (
            (target, ports(target, plugged("eni-1", link_up=False))),  # made, with nobody behind it yet
            (target, both[target]),  # opened; memory is being copied
            (source, ports(source, {})),  # the old one has ended
        ):
            world.bind(host, report)
            places.append(world.index.places["eni-1"].host)
        world.apply(Batch(2, full=False, changes=(interface("eni-1", target),)))  # the store has been told
        places.append(world.index.places["eni-1"].host)
        assert places == [source, source, source, target, target]


def test_a_host_that_is_silent_for_ever_keeps_no_instance_that_the_store_has_elsewhere():
    world = world_of([interface("eni-1", "h2")], {host: ports(host, plugged("eni-1")) for host in ("h1", "h2")})
    assert world.index.places["eni-1"].host == "h2"


REPORTS = st.builds(
    lambda host, keys, up, *wiring: (host, ports(host, plugged(*keys, link_up=up), *wiring)),
    st.sampled_from(HOSTS),
    st.lists(st.sampled_from(sorted(INTERFACES)), unique=True),
    st.booleans(),
    st.sampled_from(["vxlan", "vxlan", "vlan", "flat"]),
    st.sampled_from([2, 2, 3, None]),
    st.sampled_from([0, 10]),
    st.sampled_from([None, 1, 2]),
)
RECORDS = st.builds(interface, st.sampled_from(sorted(INTERFACES)), st.none() | st.sampled_from(HOSTS))
ADDRESSES = st.builds(address, st.sampled_from(["203.0.113.10", "203.0.113.11"]), st.sampled_from(sorted(INTERFACES)))
GONE = st.builds(lambda host: (host, None), st.sampled_from(HOSTS))


def twin(known, event):
    """Two elastic IPs of one private address; the store does not have that."""
    if event.kind is not Kind.ADDRESS or known.kind is not Kind.ADDRESS:
        return False
    return known.key != event.key and known.record.interface == event.record.interface


@settings(deadline=None, max_examples=200)
@given(st.lists(REPORTS | RECORDS | ADDRESSES | GONE, max_size=15))
def test_what_is_kept_up_to_date_equals_what_is_built_at_once(events):
    world = World()
    world.apply(Batch(1, full=True, changes=ALWAYS))
    records, hosts = {}, {}
    kept = {host: Desired(host) for host in HOSTS}
    for number, event in enumerate(events, 2):
        if isinstance(event, Change):
            for key in [key for key, known in records.items() if twin(known, event)]:
                gone = Change(Kind.ADDRESS, records.pop(key).key, None)
                for host, keys in world.apply(Batch(number, full=False, changes=(gone,))).items():
                    kept[host].update(world.index, keys)
            records[event.key] = event
            dirty = world.apply(Batch(number, full=False, changes=(event,)))
        else:
            host, report = event
            hosts.pop(host, None)
            if report is not None:
                hosts[host] = report
            dirty = world.bind(host, report)
        for host, keys in dirty.items():
            kept[host].update(world.index, keys)
        fresh = world_of(records.values(), hosts)
        assert world.index.places == fresh.index.places
        for host in HOSTS:
            assert kept[host].intents() == knows(fresh, host), host
