"""The lab stands up quickly, works, and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from econe_api.compute import netns
from topologies import layout, ovs
from topologies.lab import Lab, LabError
from topologies.ovs import SERVER, SWITCH

pytestmark = pytest.mark.lab

_BUILDER = """
import sys
from pathlib import Path
from topologies.lab import Lab
lab = Lab(sys.argv[1], 2, Path(sys.argv[2])).build()
print(*(lab.hypervisor(name).pid(daemon) for name in ("h1", "h2") for daemon in ("ovsdb-server", "ovs-vswitchd")))
sys.stdout.flush()
sys.stdin.read()
"""


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"t{secrets.token_hex(3)}"
    yield chosen
    netns.delete(netns.namespaces(f"{chosen}-"))


@pytest.fixture
def lab(name: str, tmp_path: Path) -> Iterator[Lab]:
    with Lab(name, 2, tmp_path / "state") as built:
        yield built


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.02)


def _pids(lab: Lab) -> list[int]:
    found = [switch.pid(daemon) for switch in lab.hypervisors.values() for daemon in (SERVER, SWITCH)]
    assert None not in found
    return [pid for pid in found if pid is not None]


def test_networks_carry_packets(lab: Lab) -> None:
    for place, address in (
        ("out", layout.GATEWAY_IP),
        ("h1", layout.CONTROLLER_IP),
        ("h2", layout.management_ip("h1")),
        ("rtr", layout.OUTSIDE_IP),
    ):
        pinged = lab.run(place, "ping", "-c1", "-W2", address)
        assert pinged.returncode == 0, f"{place} -> {address}: {pinged.stdout}"


def test_every_hypervisor_has_its_own_switch(lab: Lab) -> None:
    for name, switch in lab.hypervisors.items():
        assert "Open vSwitch" in switch.unixctl("version")
        assert switch.vsctl("list-br") == ""
        switch.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev")
        assert "actions=NORMAL" in switch.ofctl("dump-flows", "br-int")
        assert netns.processes([lab.netns(name)]).keys() >= {switch.pid(SERVER), switch.pid(SWITCH)}
    with pytest.raises(LabError, match="not a valid command"):
        lab.hypervisor("h1").unixctl("no/such/command")


def test_fabric_passes_tagged_frames(lab: Lab) -> None:
    for host, number in (("h1", 1), ("h2", 2)):
        switch = lab.hypervisor(host)
        switch.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev")
        switch.vsctl("add-port", "br-int", "fab0")
        switch.vsctl("add-port", "br-int", "in0", "tag=101", "--", "set", "Interface", "in0", "type=internal")
        netns.ip_batch([f"address add 192.0.2.{number}/24 dev in0", "link set in0 up"], lab.netns(host))
        netns.checksum_in_software(lab.netns(host), "in0")
    lab.popen("h1", "ping", "-qi0.1", "192.0.2.2", stdout=subprocess.DEVNULL)
    capture = lab.popen("fab", "tcpdump", "-eni", "br0", "-c1", "vlan", "101", stdout=subprocess.PIPE)
    assert b"vlan 101" in capture.communicate(timeout=10)[0]
    _until(lambda: lab.run("h1", "ping", "-c1", "-W1", "192.0.2.2").returncode == 0)


def test_router_keeps_its_mac(lab: Lab) -> None:
    assert f"link/ether {Lab.gateway_mac}" in lab.run("rtr", "ip", "link", "show", "pub").stdout


def test_killed_switch_comes_back_with_its_database(lab: Lab) -> None:
    switch = lab.hypervisor("h1")
    switch.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev")
    for daemon in (SWITCH, SERVER):
        before = switch.pid(daemon)
        switch.kill(daemon)
        assert switch.pid(daemon) is None
        switch.start()
        assert switch.pid(daemon) not in (None, before)
        assert switch.vsctl("list-br") == "br-int\n"
    with pytest.raises(LabError, match="another lab"):
        Lab(lab.name, 1, lab.state).build()


def test_close_leaves_nothing_and_may_be_repeated(name: str, tmp_path: Path) -> None:
    # A state directory whose path is longer than a socket's may be.
    state = tmp_path / ("long" * 25)
    lab = Lab(name, 2, state).build()
    lab.hypervisor("h1").vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev")
    sleeper = lab.popen("out", "sleep", "1000")
    stubborn = lab.popen("h1", "sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    _until(lambda: stubborn.pid in netns.processes([lab.netns("h1")]))
    pids = [*_pids(lab), sleeper.pid, stubborn.pid]
    lab.close()
    assert netns.namespaces(f"{name}-") == []
    assert [pid for pid in pids if _alive(pid)] == []
    assert not state.exists()
    lab.close()


def test_close_keeps_the_files_of_others(name: str, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    with Lab(name, 1, tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_exception_inside_closes_the_lab(name: str, tmp_path: Path) -> None:
    pids = []
    with pytest.raises(RuntimeError), Lab(name, 1, tmp_path / "state") as lab:
        pids = _pids(lab)
        raise RuntimeError
    assert netns.namespaces(f"{name}-") == []
    assert [pid for pid in pids if _alive(pid)] == []


def test_failed_step_is_named_and_leaves_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = layout.links
    broken = (layout.End("out", "out0"), layout.End("rtr", "x1"))
    monkeypatch.setattr(layout, "links", lambda hosts: [*good(hosts), broken])
    with pytest.raises(LabError, match=rf"lab {name}: ip link add name out0 .*: RTNETLINK answers: File exists"):
        Lab(name, 1, tmp_path / "state").build()
    assert netns.namespaces(f"{name}-") == []
    assert not (tmp_path / "state").exists()


def test_interrupt_while_building_leaves_nothing(name: str, tmp_path: Path) -> None:
    def interrupt(text: str) -> None:
        if "waiting" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Lab(name, 2, tmp_path / "state").build(interrupt)
    assert netns.namespaces(f"{name}-") == []
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("same_state", [True, False])
def test_leftovers_of_a_killed_builder_are_cleaned(name: str, tmp_path: Path, same_state: bool) -> None:
    state = tmp_path / "state"
    builder = subprocess.Popen(
        [sys.executable, "-c", _BUILDER, name, str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert builder.stdin is not None
    assert builder.stdout is not None
    pids = [int(word) for word in builder.stdout.readline().split()]
    assert len(pids) == 4
    with pytest.raises(LabError, match=f"another lab {name} is running"):
        Lab(name, 1, state).build()
    builder.kill()
    builder.communicate()
    assert all(map(_alive, pids))
    said: list[str] = []
    lab = Lab(name, 1, state if same_state else tmp_path / "other")
    lab.build(said.append)
    try:
        assert any("left behind" in text for text in said)
        assert [pid for pid in pids if _alive(pid)] == []
        assert len(netns.namespaces(f"{name}-")) == 5
    finally:
        lab.close()
    assert netns.namespaces(f"{name}-") == []


def test_daemons_whose_namespace_lost_its_name_are_found_by_their_pidfiles(name: str, tmp_path: Path) -> None:
    lab = Lab(name, 1, tmp_path).build()
    pids = _pids(lab)
    netns.ip_batch([f"netns delete {lab.netns('h1')}"])
    lab.close()
    assert [pid for pid in pids if _alive(pid)] == []


def test_pid_of_somebody_else_is_not_taken_for_a_daemon(lab: Lab) -> None:
    switch = lab.hypervisor("h1")
    switch.kill(SWITCH, signal.SIGKILL)
    (switch.rundir / f"{SWITCH}.pid").write_text(f"{os.getpid()}\n")
    assert switch.pid(SWITCH) is None
    switch.stop()
    with pytest.raises(LabError, match="does not run"):
        switch.kill(SWITCH)


def test_labs_stand_side_by_side(name: str, tmp_path: Path) -> None:
    built: list[Lab] = []

    def build(number: int) -> None:
        built.append(Lab(f"{name}{number}", 1, tmp_path / str(number)).build())

    threads = [threading.Thread(target=build, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert len(built) == 3
        assert all(lab.run("out", "ping", "-c1", "-W2", layout.GATEWAY_IP).returncode == 0 for lab in built)
    finally:
        for lab in built:
            lab.close()
    assert netns.namespaces(name) == []


@pytest.mark.parametrize("bad", ["", "Lab", "a-b", "1a", "a" * 16, "a/b"])
def test_bad_names_are_refused(bad: str, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no name for a lab"):
        Lab(bad, 1, tmp_path)


@pytest.mark.parametrize("count", [0, -1, 65])
def test_bad_numbers_of_hypervisors_are_refused(count: int, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="1 to 64 hypervisors"):
        Lab("lab", count, tmp_path)


def test_machine_that_cannot_hold_a_lab_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(name, 1, tmp_path)
    with monkeypatch.context() as patch, pytest.raises(LabError, match="must run as root"):
        patch.setattr(os, "geteuid", lambda: 1000)
        lab.build()
    with monkeypatch.context() as patch, pytest.raises(LabError, match=r"not installed: .*ovs-vswitchd"):
        patch.setenv("PATH", "/nonexistent")
        lab.build()
    with monkeypatch.context() as patch, pytest.raises(LabError, match="not installed: /nonexistent"):
        patch.setattr(ovs, "SCHEMA", Path("/nonexistent"))
        lab.build()


def test_tools_and_daemons_that_fail_are_named(lab: Lab) -> None:
    switch = lab.hypervisor("h1")
    with pytest.raises(LabError, match=r"ovs-ofctl .* dump-flows br-int: .*br-int is not a bridge"):
        switch.ofctl("dump-flows", "br-int")
    switch.stop()
    with pytest.raises(LabError, match="ovs-vswitchd of h1 does not answer version"):
        switch.unixctl("version")
    (switch.rundir / "conf.db").write_text("this is no database")
    with pytest.raises(LabError, match=r"ovsdb-server .*conf\.db"):
        switch.start()


def test_built_lab_is_not_built_again(lab: Lab) -> None:
    with pytest.raises(LabError, match="is built already"):
        lab.build()
    assert lab.run("out", "ping", "-c1", "-W2", layout.GATEWAY_IP).returncode == 0


def test_long_answers_of_the_switch_come_whole(lab: Lab) -> None:
    switch = lab.hypervisor("h1")
    listed = switch.unixctl("vlog/list") + switch.unixctl("coverage/show") + switch.unixctl("list-commands")
    assert "ofproto/trace" in listed
    switch.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev")
    (switch.rundir / "flows").write_text("".join(f"priority={n},udp,tp_dst={n},actions=drop\n" for n in range(1, 3000)))
    switch.ofctl("add-flows", "br-int", str(switch.rundir / "flows"))
    dumped = switch.unixctl("bridge/dump-flows", "br-int")
    assert dumped.count("tp_dst=") == 2999


def test_close_goes_on_after_a_failed_step(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(name, 1, tmp_path / "state").build()

    def refuse(*_: object) -> None:
        raise netns.CommandError(["kill"], "still there")

    with monkeypatch.context() as patch, pytest.raises(LabError, match=f"closing lab {name}: kill: still there"):
        patch.setattr(Lab, "_end_switches", refuse)
        lab.close()
    assert netns.namespaces(f"{name}-") == []
    assert not (tmp_path / "state").exists()
