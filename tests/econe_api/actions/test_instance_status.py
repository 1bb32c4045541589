"""Status, console and password: out of what the compute worker and the controller answer on their sockets."""

from __future__ import annotations

import base64
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from channel.frames import FrameReader, pack

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

NO_INSTANCE = "i-0000000000000dead"
Reply = Callable[[Mapping[str, Any]], dict[str, Any]]


class _Peer(socketserver.ThreadingUnixStreamServer):
    """Speaks the frames of the worker and of the controller, with the answers of a test."""

    daemon_threads = True

    def __init__(self, path: Path, reply: Reply) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(str(path), _Connection)
        self.reply = reply


class _Connection(socketserver.BaseRequestHandler):
    server: _Peer

    def handle(self) -> None:
        reader = FrameReader()
        while data := self.request.recv(65536):
            for message in reader.feed(data):
                self.request.sendall(pack(self.server.reply(message)))


@pytest.fixture
def listen() -> Iterator[Callable[[Path, Reply], None]]:
    peers: list[_Peer] = []

    def begin(path: Path, reply: Reply) -> None:
        peers.append(_Peer(path, reply))
        threading.Thread(target=peers[-1].serve_forever, kwargs={"poll_interval": 0.02}).start()

    yield begin
    for peer in peers:
        peer.shutdown()
        peer.server_close()


@pytest.fixture
def seen(tenant: Any, listen: Any, reconfigure: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What worker and controller say, to be filled by the test: instances, hosts, consoles."""
    said: dict[str, Any] = {"instances": {}, "hosts": {}, "consoles": {}}
    folder = tmp_path_factory.mktemp("s")
    config = tenant.store.config
    reconfigure(
        compute=replace(config.compute, socket=folder / "w"), controller=replace(config.controller, socket=folder / "c")
    )

    def worker(message: Mapping[str, Any]) -> dict[str, Any]:
        if message["op"] == "console":
            output, time = said["consoles"].get(message["instance"], (None, None))
            return {"ok": True, "output": output, "time": time}
        return {"ok": True, "observed": {name: said["instances"].get(name, "absent") for name in message["instances"]}}

    def controller(_message: Mapping[str, Any]) -> dict[str, Any]:
        hosts = [{"name": name, "connected": yes, "agent": yes} for name, yes in said["hosts"].items()]
        return {"ok": True, "hosts": hosts}

    listen(folder / "w", worker)
    listen(folder / "c", controller)
    return said


def _statuses(tenant: Any, **params: Any) -> dict[str, tuple[str, str]]:
    return {
        status["InstanceId"]: (status["SystemStatus"]["Status"], status["InstanceStatus"]["Status"])
        for status in tenant("DescribeInstanceStatus", **params)["InstanceStatuses"]
    }


def test_nobody_answers_and_nothing_is_claimed(tenant: Any) -> None:
    mine = tenant.run()["InstanceId"]
    assert _statuses(tenant) == {mine: ("insufficient-data", "insufficient-data")}
    assert "Output" not in tenant("GetConsoleOutput", InstanceId=mine)


def test_what_is_seen_is_what_is_shown(tenant: Any, seen: dict[str, Any], states: Any, clock: Any) -> None:
    image = tenant.store.config.images[0].id
    launched = tenant("RunInstances", ImageId=image, InstanceType="t2.nano", MinCount=6, MaxCount=6)["Instances"]
    well, broken, gone, pending, stopped, ended = (item["InstanceId"] for item in launched)
    states("running", well, broken, gone)
    states("stopped", stopped)
    states("shutting-down", ended)
    seen["instances"] = {well: "running", broken: "broken"}
    seen["hosts"] = {"hv1": True}
    # What has just been launched may not have been looked at yet.
    assert _statuses(tenant) == {well: ("ok", "ok"), broken: ("ok", "impaired"), gone: ("ok", "initializing")}
    clock.advance(minutes=1)
    assert _statuses(tenant) == {well: ("ok", "ok"), broken: ("ok", "impaired"), gone: ("ok", "impaired")}
    everything = {
        pending: ("initializing", "initializing"),
        stopped: ("not-applicable", "not-applicable"),
        ended: ("not-applicable", "not-applicable"),
    }
    assert _statuses(tenant, IncludeAllInstances=True) == _statuses(tenant) | everything
    assert _statuses(tenant, InstanceIds=[well, stopped]) == {well: ("ok", "ok")}
    (status,) = tenant("DescribeInstanceStatus", InstanceIds=[broken])["InstanceStatuses"]
    assert status["InstanceStatus"]["Details"] == [{"Name": "reachability", "Status": "failed"}]
    assert status["InstanceState"] == {"Code": 16, "Name": "running"}
    for name, value, expected in (
        ("instance-status.status", "impaired", {broken, gone}),
        ("instance-status.reachability", "passed", {well}),
        ("system-status.status", "ok", {well, broken, gone}),
        ("system-status.reachability", "initializing", {pending}),
        ("instance-state-name", "stopped", {stopped}),
        ("instance-state-code", "32", {ended}),
        ("availability-zone", "us-east-1b", set()),
        ("event.code", "*", set()),
    ):
        filters = [{"Name": name, "Values": [value]}]
        assert set(_statuses(tenant, IncludeAllInstances=True, Filters=filters)) == expected, name
    seen["hosts"] = {"hv1": False}
    assert _statuses(tenant)[well] == ("impaired", "ok")
    page = tenant("DescribeInstanceStatus", IncludeAllInstances=True, MaxResults=5)
    rest = tenant("DescribeInstanceStatus", IncludeAllInstances=True, MaxResults=5, NextToken=page["NextToken"])
    assert [len(part["InstanceStatuses"]) for part in (page, rest)] == [5, 1]


def test_refused_questions(tenant: Any, stranger: Any, refused: Any) -> None:
    mine, theirs = tenant.run()["InstanceId"], stranger.run()["InstanceId"]
    for code, params in (
        ("InvalidInstanceID.NotFound", {"InstanceIds": [mine, theirs]}),
        ("InvalidInstanceID.NotFound", {"InstanceIds": [NO_INSTANCE]}),
        ("InvalidInstanceID.Malformed", {"InstanceIds": ["rubbish"]}),
        ("InvalidParameterCombination", {"InstanceIds": [mine], "MaxResults": 5}),
        ("InvalidParameterValue", {"Filters": [{"Name": "colour", "Values": ["red"]}]}),
        ("InvalidParameterValue", {"MaxResults": 4}),
    ):
        refused(tenant, code, "DescribeInstanceStatus", **params)
    for action in ("GetConsoleOutput", "GetPasswordData"):
        for code, params in (
            ("MissingParameter", {}),
            ("InvalidInstanceID.NotFound", {"InstanceId": theirs}),
            ("InvalidInstanceID.Malformed", {"InstanceId": "rubbish"}),
        ):
            refused(tenant, code, action, **params)


def test_console_and_password(tenant: Any, seen: dict[str, Any]) -> None:
    mine = tenant.run()["InstanceId"]
    seen["consoles"] = {mine: (b"boots\n", 1_700_000_000.0)}
    shown = tenant("GetConsoleOutput", InstanceId=mine, Latest=True)
    assert base64.b64decode(shown["Output"]) == b"boots\n"
    assert shown["Timestamp"] == datetime.fromtimestamp(1_700_000_000, UTC)
    assert tenant("GetPasswordData", InstanceId=mine)["PasswordData"] == ""
