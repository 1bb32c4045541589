"""Desired against observed: the plan converges and never touches what empties a live bridge."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agents.bridge import (
    TUNNEL,
    TUNNEL_OPTIONS,
    AddPort,
    CreateBridge,
    DesiredBridge,
    Operation,
    ReplacePort,
    SetController,
    plan,
)
from agents.rows import BridgeRow, ControllerRow, Database, InterfaceRow

DPIDS = st.sampled_from([None, "00000000000000a1", "00000000000000b2"])
TARGETS = st.sampled_from(["tcp:10.0.0.1:6653", "tcp:10.0.0.2:6653", "ssl:10.0.0.1:6653"])
DESIRED = st.builds(
    DesiredBridge,
    name=st.just("br-int"),
    controller=TARGETS,
    datapath_type=st.sampled_from([None, "system", "netdev"]),
    dpid=DPIDS,
    uplink=st.sampled_from([None, "up0"]),
    fabric=st.sampled_from([None, "fab0"]),
    fabric_mode=st.sampled_from(["vlan", "flat", "vxlan"]),
)
CONTROLLERS = st.builds(ControllerRow, TARGETS, st.sampled_from([None, 0, 5000]), st.sampled_from([None, 1000, 8000]))
BRIDGES = st.builds(
    BridgeRow,
    name=st.just("br-int"),
    fail_mode=st.sampled_from([None, "standalone", "secure"]),
    datapath_type=st.sampled_from(["", "system", "netdev"]),
    datapath_id=DPIDS,
    protocols=st.frozensets(st.sampled_from(["OpenFlow10", "OpenFlow13", "OpenFlow15"])),
    other_config=st.dictionaries(
        st.sampled_from(["disable-in-band", "datapath-id", "mac-table-size"]),
        st.sampled_from(["true", "false", "00000000000000a1", "00000000000000A1"]),
    ),
    controllers=st.lists(CONTROLLERS, max_size=3).map(tuple),
    ports=st.frozensets(st.sampled_from(["tap1", "up0", "fab0", "bond0"])),
    interfaces=st.lists(
        st.builds(
            InterfaceRow,
            name=st.sampled_from(["br-int", "tap1", "up0", "fab0"]),
            kind=st.sampled_from(["", "vxlan", "geneve"]),
            options=st.sampled_from([frozenset(), frozenset({*TUNNEL_OPTIONS.items(), ("csum", "true")})]),
        ),
        max_size=4,
        unique_by=lambda row: row.name,
    ).map(tuple),
)
DATABASES = st.builds(
    lambda bridge, elsewhere: Database(
        bridge,
        {port: name for port, name in elsewhere.items() if port not in _held(bridge)},
    ),
    st.none() | BRIDGES,
    st.dictionaries(st.sampled_from(["up0", "fab0", "eth7"]), st.just("br-ex")),
)


def _held(bridge: BridgeRow | None) -> frozenset[str]:
    return frozenset() if bridge is None else bridge.ports | {one.name for one in bridge.interfaces}


def _interface(name: str, kind: str) -> InterfaceRow:
    return InterfaceRow(name, kind=kind, options=frozenset(TUNNEL_OPTIONS.items()) if kind == TUNNEL else frozenset())


def carried_out(observed: Database, operations: tuple[Operation, ...]) -> Database:
    """The database after the operations, by another way than the agent's."""
    bridge = observed.bridge
    for operation in operations:
        match operation:
            case CreateBridge(desired, ports):
                assert bridge is None
                bridge = BridgeRow(
                    name=desired.name,
                    fail_mode="secure",
                    datapath_type=desired.datapath_type or "",
                    protocols=frozenset({"OpenFlow13"}),
                    other_config=desired.other_config,
                    controllers=(desired.controller_row,),
                    ports=frozenset((desired.name, *ports)),
                    interfaces=tuple(_interface(name, desired.kind(name)) for name in (desired.name, *ports)),
                )
            case SetController(row):
                assert bridge is not None
                assert len(bridge.controllers) == 1
                bridge = replace(bridge, controllers=(row,))
            case AddPort(name, kind):
                assert bridge is not None
                assert name not in bridge.ports
                interfaces = (*bridge.interfaces, _interface(name, kind))
                bridge = replace(bridge, ports=bridge.ports | {name}, interfaces=interfaces)
    return replace(observed, bridge=bridge)


@given(DESIRED, DATABASES)
def test_a_plan_carried_out_leaves_nothing_to_do(desired: DesiredBridge, observed: Database) -> None:
    first = plan(desired, observed)
    second = plan(desired, carried_out(observed, first.operations))
    assert second.operations == ()
    assert second.problems == first.problems


@given(DESIRED, DATABASES)
def test_a_live_bridge_keeps_whatever_its_flows_hang_on(desired: DesiredBridge, observed: Database) -> None:
    after = carried_out(observed, plan(desired, observed).operations)
    if observed.bridge is not None and after.bridge is not None:
        untouched = replace(
            after.bridge,
            controllers=observed.bridge.controllers,
            ports=observed.bridge.ports,
            interfaces=observed.bridge.interfaces,
        )
        assert untouched == observed.bridge
        assert len(after.bridge.controllers) == len(observed.bridge.controllers)
        assert set(after.bridge.interfaces) >= set(observed.bridge.interfaces)


@given(DESIRED, DATABASES)
def test_a_new_bridge_is_born_with_its_safeguards_and_without_a_problem(
    desired: DesiredBridge, observed: Database
) -> None:
    fresh = replace(observed, bridge=None)
    (create,) = plan(desired, fresh).operations
    assert isinstance(create, CreateBridge)
    assert create.bridge.other_config["disable-in-band"] == "true"
    assert all("is on bridge br-ex" in problem for problem in plan(desired, fresh).problems)
    assert not set(create.ports) & set(observed.elsewhere)


@given(DESIRED, DATABASES)
def test_every_problem_is_one_line_with_its_mend(desired: DesiredBridge, observed: Database) -> None:
    for problem in plan(desired, observed).problems:
        assert "\n" not in problem
        assert ": ovs-vsctl " in problem


def live(**changes: object) -> Database:
    good = BridgeRow(
        name="br-int",
        fail_mode="secure",
        datapath_type="netdev",
        datapath_id="00000000000000a1",
        protocols=frozenset({"OpenFlow13"}),
        other_config={"disable-in-band": "true", "datapath-id": "00000000000000A1"},
        controllers=(ControllerRow("tcp:10.0.0.1:6653", 5000, 1000),),
        interfaces=(InterfaceRow("br-int"),),
    )
    return Database(replace(good, **changes))  # type: ignore[arg-type]


WANTED = DesiredBridge("br-int", "tcp:10.0.0.1:6653", "netdev", "00000000000000a1")


def test_a_bridge_as_it_should_be_costs_nothing() -> None:
    assert plan(WANTED, live()) == plan(WANTED, live(protocols=frozenset()))
    assert plan(WANTED, live()).operations == ()
    assert plan(WANTED, live()).problems == ()


def test_each_difference_is_named_with_its_own_mend() -> None:
    def problem(**changes: object) -> str:
        (only,) = plan(WANTED, live(**changes)).problems
        return only

    assert problem(fail_mode=None) == (
        "bridge br-int has fail_mode unset; to mend, which may empty its flow tables: "
        "ovs-vsctl set-fail-mode br-int secure"
    )
    assert problem(datapath_type="").endswith(
        "datapath_type system; to mend, which may empty its flow tables: "
        "ovs-vsctl set bridge br-int datapath_type=netdev"
    )
    assert "protocols OpenFlow10; " in problem(protocols=frozenset({"OpenFlow10"}))
    assert "other_config:disable-in-band unset" in problem(other_config={"datapath-id": WANTED.dpid})
    assert "has no controller" in problem(controllers=())
    assert "several controllers (a, b)" in problem(controllers=(ControllerRow("b"), ControllerRow("a")))


def test_a_fabric_port_of_the_wrong_kind_is_named() -> None:
    tunnel = _interface("vxlan0", TUNNEL)
    wanted = replace(WANTED, fabric="vxlan0", fabric_mode="vxlan", fabric_ip="10.254.0.11")
    assert plan(wanted, live(interfaces=(tunnel,))).problems == ()
    for present, desired in (
        (InterfaceRow("vxlan0"), wanted),
        (replace(tunnel, options=frozenset({("remote_ip", "10.0.0.9")})), wanted),
        (tunnel, replace(wanted, fabric_mode="vlan", fabric_ip=None)),
    ):
        (problem,) = plan(desired, live(interfaces=(present,))).problems
        assert problem.endswith(": ovs-vsctl del-port br-int vxlan0")


def test_the_metadata_port_takes_the_place_and_number_of_the_one_before() -> None:
    desired = DesiredBridge("br-int", "tcp:10.0.0.1:6653", metadata="md1", retired="md0")
    bridge = BridgeRow("br-int", fail_mode="secure", controllers=(desired.controller_row,), ports=frozenset({"md0"}))
    for number, asked in ((7, 7), (-1, None), (None, None)):
        live = replace(bridge, interfaces=(InterfaceRow("md0", number),))
        assert plan(desired, Database(live)).operations == (ReplacePort("md0", "md1", asked),)
    assert plan(desired, Database(replace(bridge, ports=frozenset()))).operations == (AddPort("md1"),)
    assert plan(desired, Database(replace(bridge, ports=frozenset({"md1"})))).operations == ()
