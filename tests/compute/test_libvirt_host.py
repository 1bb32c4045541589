"""Options that are checked, and calls that end in time, with the hypervisor that libvirt itself has for tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from econe_api.compute import libvirt_backend
from econe_api.compute.backend import BackendUnavailableError, Condition, Reporting
from econe_api.compute.libvirt_backend import LibvirtBackend
from econe_api.compute.libvirt_domains import condition, failure
from econe_api.compute.libvirt_host import LibvirtHost, Options
from econe_api.config import ConfigError, Hypervisor, InstanceType
from econe_api.images.library import Library

_TEST = "test:///default"
_MACHINE = "i-0123456789abcdef0"


def options(name: str = "h1", **given: str) -> Options:
    return Options.of(Hypervisor(name, "us-east-1a", 4, 4096, {"uri": _TEST, **given}))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"uri": ""}, "options.uri is missing"),
        ({"netns": "h1"}, "options.netns is not known; known: bridge, "),
        ({"type": "xen"}, "options.type 'xen' is not known; write one of: kvm, qemu"),
        ({"offloads": "no"}, "options.offloads 'no' is not known"),
        ({"mtu": "10"}, "options.mtu '10' is no such number; write 576 to 65535"),
        ({"shutdown_seconds": "-1"}, "options.shutdown_seconds '-1' is no such number"),
        ({"shutdown_seconds": ""}, "options.shutdown_seconds '' is no such number"),
    ],
    ids=lambda value: value if isinstance(value, str) else min(value),
)
def test_a_wrong_option_is_named(given: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        options(**given)


def test_options_have_defaults() -> None:
    read = options()
    assert (read.pool, read.bridge, read.prefix, read.kind) == ("sluice", "br-int", "sluice", "kvm")
    assert (read.offloads, read.mtu, read.shutdown_seconds) == (True, None, 30)


def test_an_answer_and_a_refusal_come_back() -> None:
    host = LibvirtHost(options())
    assert host.call(lambda connection: connection.getType(), 20) == "TEST"
    with pytest.raises(libvirt.libvirtError, match="Domain not found"):
        host.call(lambda connection: connection.lookupByName("nobody"), 20)
    assert host.fault == ""


def test_a_call_that_hangs_is_given_up_and_the_next_one_need_not_wait() -> None:
    host, other = LibvirtHost(options()), LibvirtHost(options("h2"))
    released = threading.Event()
    with pytest.raises(BackendUnavailableError, match=r"hypervisor h1 did not answer within 0\.1 s"):
        host.call(lambda _connection: released.wait(60), 0.1)
    with pytest.raises(BackendUnavailableError, match="hypervisor h1 did not answer"):
        host.call(lambda _connection: pytest.fail("it is not asked again at once"), 60)
    assert other.call(lambda connection: connection.getType(), 20) == "TEST"
    released.set()


def test_a_daemon_that_is_not_there_is_no_verdict(tmp_path: Path) -> None:
    host = LibvirtHost(options(uri=f"qemu+unix:///system?socket={tmp_path}/absent"))
    with pytest.raises(BackendUnavailableError, match="hypervisor h1: Failed to connect socket"):
        host.call(lambda connection: connection.getType(), 20)
    assert host.fault.startswith("hypervisor h1: Failed to connect")


def test_a_list_leaves_out_who_is_silent_and_is_none_when_all_are(tmp_path: Path) -> None:
    sizes, library = [InstanceType("t2.nano", 1, 512)], Library(tmp_path, tmp_path, {})
    absent = options("h2", uri=f"qemu+unix:///system?socket={tmp_path}/absent")
    some = LibvirtBackend([options(), absent], sizes, library)
    assert some.list() == {}
    assert isinstance(some, Reporting)
    (problem,) = some.problems()
    assert problem.startswith("hypervisor h2: ")
    with pytest.raises(BackendUnavailableError, match="hypervisor h2: "):
        LibvirtBackend([absent], sizes, library).list()


def test_an_answer_that_is_none_raises_rather_than_to_say_that_there_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = LibvirtBackend([options()], [], Library(tmp_path, tmp_path, {}))

    def garbage(*_arguments: Any, **_more: Any) -> Any:
        return {"state": None}["nothing"]

    monkeypatch.setattr("econe_api.compute.libvirt_domains.all_of", garbage)
    with pytest.raises(BackendUnavailableError, match="does not answer sensibly"):
        backend.list()


@pytest.fixture
def machine() -> Iterator[Any]:
    """The domain of instance ``_MACHINE``, which runs."""
    connection = libvirt.open(_TEST)
    xml = f"<domain type='test'><name>sluice-{_MACHINE}</name><memory>1024</memory><os><type>hvm</type></os></domain>"
    domain = connection.defineXML(xml)
    domain.create()
    yield domain
    if domain.isActive():
        domain.destroy()
    domain.undefine()


def test_a_machine_that_shuts_itself_down_is_stopped_once_it_has_been_off_for_a_while(
    tmp_path: Path, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = LibvirtBackend([options()], [InstanceType("t2.nano", 1, 512)], Library(tmp_path, tmp_path, 1))

    def seen() -> tuple[Condition, bool]:
        found = backend.list()[_MACHINE]
        return found.state, found.by_guest

    assert seen() == (Condition.RUNNING, False)
    machine.shutdown()
    assert [seen(), seen()] == [(Condition.UNDER_WAY, False)] * 2
    monkeypatch.setattr(libvirt_backend, "OFF_SECONDS", 0.0)
    assert seen() == (Condition.STOPPED, True)
    monkeypatch.undo()
    machine.create()
    assert seen() == (Condition.RUNNING, False)
    machine.shutdown()
    assert seen() == (Condition.UNDER_WAY, False)  # the time runs anew


def test_a_machine_that_was_destroyed_is_broken(tmp_path: Path, machine: Any) -> None:
    backend = LibvirtBackend([options()], [InstanceType("t2.nano", 1, 512)], Library(tmp_path, tmp_path, 1))
    machine.destroy()
    assert backend.list()[_MACHINE].state is Condition.BROKEN


@pytest.mark.parametrize("reason", range(9))
def test_what_is_off_for_another_reason_than_its_own_is_broken(reason: int) -> None:
    by_itself = reason == libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN
    expected = Condition.STOPPED if by_itself else Condition.BROKEN
    assert condition(libvirt.VIR_DOMAIN_SHUTOFF, reason) is expected
    assert condition(libvirt.VIR_DOMAIN_RUNNING, reason) is Condition.RUNNING
    assert condition(libvirt.VIR_DOMAIN_CRASHED, reason) is Condition.BROKEN


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("cannot set up guest memory 'pc.ram': Cannot allocate memory", "Server.InsufficientInstanceCapacity"),
        ("cannot write data to file: No space left on device", "Server.InsufficientInstanceCapacity"),
        ("process exited: could not open disk: Image is not in qcow2 format", "Client.InternalError"),
        ("unsupported configuration: Emulator does not support machine type 'pc'", "Server.InternalError"),
    ],
    ids=["memory", "disk", "image", "else"],
)
def test_what_libvirt_says_about_a_launch_has_a_code_of_ec2s(text: str, code: str) -> None:
    failed = failure(libvirt.libvirtError(text))
    assert (failed.code, failed.reason) == (code, text)
