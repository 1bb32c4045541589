"""``python -m econe_api.compute`` as a process, asked over its socket."""

from __future__ import annotations

import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channel.client import ChannelError, request
from channel.frames import FrameReader, pack
from econe_api.compute.backend import Condition
from econe_api.compute.namespaces import Host, NamespaceBackend
from econe_api.compute.server import answer
from econe_api.compute.worker import Worker
from econe_api.config import Config, parse
from econe_api.store.store import Store

pytestmark = pytest.mark.lab

Until = Callable[..., None]
Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def config_file(tmp_path: Path, hosts: Mapping[str, Host]) -> Path:
    lines = [f'state = "{tmp_path / "state"}"']
    for host in hosts.values():
        options = f'netns = "{host.netns}", ovsdb = "{host.ovsdb}", prefix = "{host.prefix}"'
        lines += ["[[hypervisor]]", f'name = "{host.name}"', "vcpus = 16", "memory_mib = 32768"]
        lines.append(f"options = {{ {options} }}")
    file = tmp_path / "sluice.toml"
    file.write_text("\n".join(lines))
    return file


@pytest.fixture
def run() -> Iterator[Run]:
    """Start workers as processes; those that still run at the end are killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(file: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "econe_api.compute", "--config", str(file)],
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def _answers(path: Path) -> Callable[[], bool]:
    def ask() -> bool:
        try:
            request(path, {"op": "status"}, 1.0)
        except ChannelError:
            return False
        return True

    return ask


def _settle(path: Path, *ids: str) -> bool:
    settled: bool = request(path, {"op": "settle", "instances": list(ids), "timeout": 20.0}, 25.0)["settled"]
    return settled


def test_instances_outlive_the_worker_and_the_next_one_goes_on(
    config: Config, config_file: Path, backend: NamespaceBackend, tenant: Any, run: Run, until: Until
) -> None:
    path = config.compute.socket
    (first,) = tenant.run()
    worker = run(config_file)
    until(_answers(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert _settle(path, first)
    worker.kill()  # leaves its socket
    worker.wait()
    assert path.exists()
    assert backend.list()[first].state is Condition.RUNNING
    (second,) = tenant.run()
    tenant.terminate(first)
    worker = run(config_file)
    until(_answers(path))
    assert _settle(path, first, second)
    assert tenant.states(first, second) == ["terminated", "running"]
    assert request(path, {"op": "status"}, 5.0) == {"ok": True, "busy": [], "problems": []}
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert not path.exists()
    assert list(backend.list()) == [second]


def test_second_worker_on_the_same_socket_says_so(
    config: Config, config_file: Path, backend: NamespaceBackend, run: Run, until: Until
) -> None:
    run(config_file)
    until(_answers(config.compute.socket))
    second = run(config_file)
    _, error = second.communicate(timeout=30)
    assert second.returncode == 1
    where = config.compute.socket
    assert error == f"compute: another compute worker listens at {where}: end it, or set compute.socket\n"
    assert _answers(where)()


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ('[compute]\nbackend = "opennebulla"', "compute.backend: there is no 'opennebulla'; write one of: "),
        ('[[hypervisor]]\nname = "h1"\nvcpus = 1\nmemory_mib = 1', "hypervisor h1: options.netns is missing"),
        ('[compute]\nsocket = "/dev/null/compute.sock"', "cannot listen at /dev/null/compute.sock (File exists)"),
        ("[compute", "is not TOML"),
    ],
)
def test_bad_configuration_is_one_line(tmp_path: Path, run: Run, lines: str, text: str) -> None:
    file = tmp_path / "sluice.toml"
    file.write_text(f'state = "{tmp_path / "state"}"\n{lines}\n')
    process = run(file)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 1
    assert error.startswith("compute: ")
    assert text in error
    assert error.count("\n") == 1


def test_bytes_that_are_no_frame_end_the_connection_and_not_the_worker(
    config: Config, config_file: Path, backend: NamespaceBackend, run: Run, until: Until
) -> None:
    path = config.compute.socket
    run(config_file)
    until(_answers(path))
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(str(path))
        peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
        received = b""
        while chunk := peer.recv(4096):
            received += chunk
    (reply,) = FrameReader().feed(received)
    assert reply["ok"] is False
    assert "over the limit" in reply["error"]
    with socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(path))
        rude.sendall(pack({"op": "settle", "instances": ["i-0"], "timeout": 0}) * 50)
    assert _answers(path)()


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Worker]:
    """A worker that was not started, on an empty store."""
    store = Store.open(parse({"state": str(tmp_path / "idle")}, "test", tmp_path))
    yield Worker(store, NamespaceBackend([]), interval=0.01)
    store.close()


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({}, "not a request"),
        ({"op": "settle"}, "not a request"),
        ({"op": "settle", "instances": "i-1", "timeout": 1}, "not a request"),
        ({"op": "settle", "instances": [1], "timeout": 1}, "list of up to 1000 ids"),
        ({"op": "settle", "instances": ["i-1"] * 1001, "timeout": 1}, "list of up to 1000 ids"),
        ({"op": "settle", "instances": [], "timeout": -1}, "0 to 60 seconds"),
        ({"op": "settle", "instances": [], "timeout": 61}, "0 to 60 seconds"),
        ({"op": "settle", "instances": [], "timeout": float("nan")}, "0 to 60 seconds"),
        ({"op": "settle", "instances": [], "timeout": True}, "0 to 60 seconds"),
    ],
)
def test_requests_that_make_no_sense_are_refused(idle: Worker, message: dict[str, Any], text: str) -> None:
    reply = answer(idle, message)
    assert reply["ok"] is False
    assert text in reply["error"]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 1) | st.floats(-1, 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(
    message=st.fixed_dictionaries(
        {}, optional={"op": st.sampled_from(["settle", "status"]) | _VALUES, "instances": _VALUES, "timeout": _VALUES}
    )
)
def test_any_message_gets_an_answer_that_can_be_sent(idle: Worker, message: dict[str, Any]) -> None:
    reply = answer(idle, message)
    assert isinstance(reply["ok"], bool)
    assert FrameReader().feed(pack(reply)) == [reply]


def test_settle_of_a_database_that_is_gone_is_an_error(tmp_path: Path, idle: Worker) -> None:
    (tmp_path / "idle" / "sluice.db").unlink()
    (tmp_path / "idle" / "sluice.db").mkdir()
    idle._store.close()
    reply = answer(idle, {"op": "settle", "instances": ["i-1"], "timeout": 0})
    assert reply["ok"] is False
    assert "database does not answer" in reply["error"]
