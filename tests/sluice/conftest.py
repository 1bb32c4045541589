"""A command line with a configuration of its own, and a controller's socket that answers what a test says."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from channel.frames import FrameReader, pack
from sluice.__main__ import main

CONFIG = """
state = "state"
[controller]
socket = "{socket}"
[[hypervisor]]
name = "hv1"
vcpus = 4
memory_mib = 4096
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A configuration on SQLite in the test's folder, with one hypervisor."""
    file = tmp_path / "sluice.toml"
    file.write_text(CONFIG.format(socket=tmp_path / "c.sock"))
    return file


@pytest.fixture
def sluice(config_file: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Runs a command as the shell would: ``sluice("account", "list")``."""

    def run(*arguments: str) -> Answer:
        status = main(["--config", str(config_file), *arguments])
        out, err = capfd.readouterr()
        return Answer(status, out, err)

    return run


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Callable[[dict[str, Any]], list[dict[str, Any]]]]:
    """Answer one request at the controller's socket, after those of earlier calls; the list will hold the request."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "c.sock"))
    listener.listen()
    listener.settimeout(10)
    threads: list[threading.Thread] = []

    def answer(reply: dict[str, Any]) -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] = []

        earlier = threads[-1:]

        def serve() -> None:
            for thread in earlier:
                thread.join()
            peer, _ = listener.accept()
            with peer:
                reader = FrameReader()
                while not asked:
                    asked.extend(reader.feed(peer.recv(65536)))
                peer.sendall(pack(reply))

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return asked

    yield answer
    for thread in threads:
        thread.join(timeout=15)
    listener.close()
