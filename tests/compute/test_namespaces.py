"""The namespace backend on real hypervisors of a lab, whose bridges forward everything."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from econe_api.compute import namespaces, netns
from econe_api.compute.backend import (
    BackendUnavailableError,
    Condition,
    LaunchFailedError,
    LaunchSpec,
    ObservedInstance,
)
from econe_api.compute.namespaces import Host, NamespaceBackend, guest_namespace, port_name
from econe_api.config import Config, ConfigError, Hypervisor
from topologies.lab import Lab
from topologies.ovs import SERVER, SWITCH

pytestmark = pytest.mark.lab

Spec = Callable[..., LaunchSpec]


def _inside(lab: Lab, spec: LaunchSpec, *command: str) -> subprocess.CompletedProcess[str]:
    return lab.run(spec.instance_id, *command)


def _fetch(lab: Lab, client: LaunchSpec, address: str, port: int = 80) -> str:
    got = _inside(lab, client, "curl", "-s", "--noproxy", "*", "--max-time", "3", f"http://{address}:{port}/")
    return got.stdout if got.returncode == 0 else f"curl: {got.returncode}"


def test_instances_reach_each_other_and_see_who_calls(lab: Lab, backend: NamespaceBackend, spec: Spec) -> None:
    here, near, far = spec("h1", 11), spec("h1", 12), spec("h2", 13)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(backend.launch, (here, near, far)))
    for server in (near, far):
        address = server.interfaces[0].address
        for port in (80, 8080):
            assert _fetch(lab, here, address, port) == f"{server.instance_id} {here.interfaces[0].address}\n"
        # A closed port says so; it is not the silence of a filter.
        assert _fetch(lab, here, address, 81) == "curl: 7"
    echo = f"exec 3<>/dev/tcp/{far.interfaces[0].address}/9000; echo hello >&3; read -t 3 line <&3; echo $line"
    assert _inside(lab, here, "bash", "-c", echo).stdout == "hello\n"


def test_instance_has_what_its_specification_says(lab: Lab, backend: NamespaceBackend, spec: Spec) -> None:
    wanted = spec("h1", 21, interfaces=2)
    backend.launch(wanted)
    for link in wanted.interfaces:
        shown = _inside(lab, wanted, "ip", "address", "show", f"eth{link.device_index}").stdout
        assert f"link/ether {link.mac}" in shown
        assert f"inet {link.address}/{link.prefix_length} " in shown
        assert "mtu 1500" in shown
        assert "inet6" not in shown
        port = port_name(link.id)
        assert len(port) <= 15
        ids = lab.hypervisor("h1").vsctl("get", "Interface", port, "external_ids")
        for expected in (f"iface-id={link.id}", f'attached-mac="{link.mac}"', f"vm-id={wanted.instance_id}"):
            assert expected in ids
        assert int(lab.hypervisor("h1").vsctl("get", "Interface", port, "ofport")) > 0
        for place, device in ((wanted.instance_id, f"eth{link.device_index}"), ("h1", port)):
            assert "tx-checksumming: off" in lab.run(place, "ethtool", "-k", device).stdout
    routes = _inside(lab, wanted, "ip", "route").stdout
    assert f"default via {wanted.interfaces[0].gateway} dev eth0" in routes
    assert "LOOPBACK,UP" in _inside(lab, wanted, "ip", "link", "show", "lo").stdout


def test_launch_twice_changes_nothing_and_terminate_leaves_nothing(
    lab: Lab, backend: NamespaceBackend, spec: Spec, until: Callable[..., None]
) -> None:
    wanted = spec("h1", 31)
    name = guest_namespace(lab.name, wanted.instance_id)
    backend.launch(wanted)
    pids = netns.processes([name])
    backend.launch(wanted)
    assert netns.processes([name]) == pids
    assert backend.list() == {wanted.instance_id: ObservedInstance(wanted.instance_id, "", Condition.RUNNING)}
    devices = lab.run("h1", "ip", "-o", "link").stdout
    assert port_name(wanted.interfaces[0].id) in devices
    for _ in range(2):
        backend.terminate(wanted.instance_id, "h1")
        assert backend.list() == {}
        assert netns.namespaces(name) == []
        assert not [pid for pid in pids if Path(f"/proc/{pid}/ns/net").exists()]
        assert lab.hypervisor("h1").vsctl("list-ports", "br-int") == "fab0\n"
        # The kernel takes a namespace apart, and the pair that reaches into it, after it has said that it is gone.
        until(lambda: port_name(wanted.interfaces[0].id) not in lab.run("h1", "ip", "-o", "link").stdout)


def test_what_is_left_of_a_broken_instance_is_mended_by_launch(
    lab: Lab, backend: NamespaceBackend, spec: Spec, until: Callable[..., None]
) -> None:
    wanted = spec("h1", 41)
    name = guest_namespace(lab.name, wanted.instance_id)
    backend.launch(wanted)
    (pid,) = netns.processes([name])
    os.kill(pid, signal.SIGKILL)
    until(lambda: backend.list()[wanted.instance_id].state is Condition.BROKEN)
    backend.launch(wanted)
    assert backend.list()[wanted.instance_id].state is Condition.RUNNING
    assert lab.hypervisor("h1").vsctl("list-ports", "br-int").split() == [
        "fab0",
        port_name(wanted.interfaces[0].id),
    ]
    netns.delete([name])
    assert backend.list() == {}
    backend.launch(wanted)
    assert backend.list()[wanted.instance_id].state is Condition.RUNNING
    netns.delete([name])
    backend.terminate(wanted.instance_id, "")
    assert lab.hypervisor("h1").vsctl("list-ports", "br-int") == "fab0\n"


def test_failed_launch_says_why_and_leaves_nothing(lab: Lab, backend: NamespaceBackend, spec: Spec) -> None:
    first, second = spec("h1", 51), spec("h1", 51, interfaces=2)
    broken = LaunchSpec(second.instance_id, "h1", "ami-1", "t2.micro", None, (first.interfaces[0],) * 2)
    with pytest.raises(LaunchFailedError, match="File exists") as failure:
        backend.launch(broken)
    assert failure.value.code == "Server.InternalError"
    assert backend.list() == {}
    assert lab.hypervisor("h1").vsctl("list-ports", "br-int") == "fab0\n"


def test_instance_without_interfaces_runs_alone(lab: Lab, backend: NamespaceBackend) -> None:
    backend.launch(LaunchSpec("i-0a", "h1", "ami-1", "t2.micro", None, ()))
    assert backend.list()["i-0a"].state is Condition.RUNNING
    assert lab.run("i-0a", "curl", "-s", "http://127.0.0.1/").stdout == "i-0a 127.0.0.1\n"


def test_port_that_the_switch_does_not_take_is_a_failed_launch(
    lab: Lab, backend: NamespaceBackend, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespaces, "_wire", lambda *_: None)  # no device behind the port
    with pytest.raises(LaunchFailedError, match="got no port number"):
        backend.launch(spec("h1", 53))
    assert lab.hypervisor("h1").vsctl("list-ports", "br-int") == "fab0\n"


def test_interfaces_come_and_go(lab: Lab, backend: NamespaceBackend, spec: Spec) -> None:
    whole, peer = spec("h1", 61, interfaces=2), spec("h1", 62, interfaces=2)
    first, second = whole.interfaces
    second = replace(second, secondary=("172.31.1.161",), ipv6=("fd00::61",), ipv6_gateway="fd00::1")
    one = replace(whole, interfaces=(first,))
    backend.launch(one)
    backend.launch(peer)
    for _ in range(2):  # the second time changes nothing
        backend.attach(one, second)
        assert len(lab.hypervisor("h1").vsctl("list-ports", "br-int").split()) == 5  # the fabric and two each
        for address in (second.address, *second.secondary):
            assert _fetch(lab, peer, address) == f"{one.instance_id} {peer.interfaces[1].address}\n"
        rules = _inside(lab, one, "ip", "rule").stdout
        assert rules.count("lookup 101") == 2
        assert "from fd00::61 lookup 101" in _inside(lab, one, "ip", "-6", "rule").stdout
    for address, device in ((second.address, "eth1"), (first.address, "eth0")):
        way = _inside(lab, one, "ip", "route", "get", "192.0.2.1", "from", address).stdout
        assert f"dev {device}" in way
    for _ in range(2):
        backend.detach(one, second)
        assert len(lab.hypervisor("h1").vsctl("list-ports", "br-int").split()) == 4
        assert "eth1" not in _inside(lab, one, "ip", "link").stdout
        assert "101" not in _inside(lab, one, "ip", "rule").stdout
    assert backend.list()[one.instance_id].state is Condition.RUNNING
    # Half of it was there when the worker died: it is made anew.
    lab.run("h1", "ip", "link", "add", port_name(second.id), "type", "veth", "peer", "name", "left-over")
    backend.attach(one, second)
    assert _fetch(lab, peer, second.address) == f"{one.instance_id} {peer.interfaces[1].address}\n"


def test_instance_that_does_not_end_is_tried_again_later(
    backend: NamespaceBackend, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = spec("h1", 54)
    backend.launch(wanted)

    def refuse(*_: object) -> None:
        raise netns.CommandError(["kill", "-9", "1"], "still there")

    with monkeypatch.context() as patch, pytest.raises(BackendUnavailableError, match="kill -9 1: still there"):
        patch.setattr(netns, "end_processes", refuse)
        backend.terminate(wanted.instance_id, "h1")
    assert wanted.instance_id in backend.list()


def test_guest_that_cannot_start_is_a_failed_launch(
    backend: NamespaceBackend, spec: Spec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(namespaces, "GUEST", tmp_path / "absent.py")
    with pytest.raises(LaunchFailedError, match=r"absent\.py"):
        backend.launch(spec("h1", 52))
    assert backend.list() == {}


def test_hypervisor_that_does_not_answer_is_unavailable_and_caught_up_with_later(
    lab: Lab, backend: NamespaceBackend, spec: Spec
) -> None:
    running, wanted = spec("h1", 61), spec("h1", 62)
    backend.launch(running)
    lab.hypervisor("h1").kill(SERVER)
    lab.hypervisor("h1").kill(SWITCH)
    start = time.monotonic()
    with pytest.raises(BackendUnavailableError, match="hypervisor h1: OVSDB at unix:"):
        backend.launch(wanted)
    with pytest.raises(BackendUnavailableError, match="hypervisor h1: OVSDB at unix:"):
        backend.terminate(running.instance_id, "h1")
    assert time.monotonic() - start < 20
    # The instance itself is gone all the same.
    assert running.instance_id not in backend.list()
    lab.hypervisor("h1").start()
    backend.terminate(running.instance_id, "h1")
    backend.launch(wanted)
    assert lab.hypervisor("h1").vsctl("list-ports", "br-int").split() == [
        "fab0",
        port_name(wanted.interfaces[0].id),
    ]


def test_bridge_or_hypervisor_that_is_not_there_is_unavailable(
    hosts: Mapping[str, Host], backend: NamespaceBackend, spec: Spec
) -> None:
    host = hosts["h1"]
    gone = Host("gone", "no-such-namespace", host.ovsdb, "br-int", host.prefix)
    bare = Host("bare", host.netns, host.ovsdb, "no-such-bridge", host.prefix)
    other = NamespaceBackend([gone, bare])
    with pytest.raises(BackendUnavailableError, match="hypervisor nobody is not in the configuration"):
        backend.launch(spec("nobody", 63))
    with pytest.raises(BackendUnavailableError, match="gone is down: there is no namespace no-such-namespace"):
        other.launch(spec("gone", 64))
    with pytest.raises(BackendUnavailableError, match="no bridge named no-such-bridge"):
        other.launch(spec("bare", 65))


def test_other_clouds_and_the_lab_itself_are_not_listed(lab: Lab, hosts: Mapping[str, Host], spec: Spec) -> None:
    host = hosts["h1"]
    theirs = NamespaceBackend([Host("h1", host.netns, host.ovsdb, "br-int", f"{lab.name}x")])
    mine = NamespaceBackend(hosts.values())
    wanted = spec("h1", 71)
    theirs.launch(wanted)
    try:
        assert mine.list() == {}
        assert list(theirs.list()) == [wanted.instance_id]
    finally:
        theirs.destroy_all()
    assert theirs.list() == {}


def test_options_are_checked(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def hypervisor(**options: str) -> Hypervisor:
        return Hypervisor("h1", "zone", 1, 1, options)

    NamespaceBackend.from_config(config)
    assert Host.of(hypervisor(netns="n", ovsdb="unix:x")) == Host("h1", "n", "unix:x", "br-int", "sluice")
    assert Host.of(hypervisor(netns="n", ovsdb="unix:x", mtu="1450")).mtu == 1450
    for options, text in (
        ({"netns": "n"}, r"h1: options\.ovsdb is missing"),
        ({"netns": "n", "ovsdb": "o", "mtu": "15k"}, r"options\.mtu .15k. is no MTU"),
        ({"netns": "n", "ovsdb": "o", "briddge": "x"}, r"options\.briddge is not known; known: bridge, mtu, netns"),
    ):
        with pytest.raises(ConfigError, match=text):
            Host.of(hypervisor(**options))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigError, match="run the worker as root"):
        NamespaceBackend.from_config(config)


def test_commands_name_themselves_when_they_fail(tmp_path: Path) -> None:
    def said(*command: str, **options: Any) -> str:
        with pytest.raises(netns.CommandError) as failure:
            netns.run(command, **options)
        return str(failure.value)

    assert said("sh", "-c", "echo out of luck >&2; exit 3") == "sh -c echo out of luck >&2; exit 3: out of luck"
    assert said("false") == "false: exit status 1"
    assert said("sleep", "10", timeout=0.05) == "sleep 10: not done within 0.05 s"
    assert said(str(tmp_path / "absent")).endswith("absent: No such file or directory")
    for lines in (["link set lo up", "link set nope up"], ["address add 1.2.3.4.5/24 dev lo"]):
        with pytest.raises(netns.CommandError, match=r"nope up: .*nope|1\.2\.3\.4\.5"):
            netns.ip_batch(lines)
    assert netns.processes(["no-such-namespace"]) == {}
    netns.delete(["no-such-namespace"])
