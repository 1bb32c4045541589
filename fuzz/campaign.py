"""Sends many hostile requests to a real server and keeps count."""

from __future__ import annotations

import http.client
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from botocore.credentials import Credentials

from econe_api.config import load
from econe_api.store.accounts import create_account
from econe_api.store.pools import create_pool
from econe_api.store.store import Store
from fuzz.requests import HostileRequest, hostile_request
from fuzz.values import Known
from fuzz.verdict import code_of, judge, learn
from topologies.control_plane import api_answers, free_port
from topologies.daemon import Daemon, Recipe
from topologies.errors import LabError

_START = 30.0
_THREADS = 4
_SLOWEST = 30.0
_MOST_SHOWN = 20


@dataclass
class Outcome:
    """What came of it; memory is the resident size of all processes of the server, in kB."""

    requests: int = 0
    seconds: float = 0.0
    codes: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    warm_kb: int = 0
    end_kb: int = 0
    tracebacks: int = 0
    alive: bool = False


def run(folder: Path, requests: int, seed: int, progress: Callable[[str], None]) -> Outcome:
    """Start a server in ``folder``, send ``requests``, end it; LabError when it does not start."""
    port = free_port(0)
    credentials = _prepare(folder, port)
    log = folder / "api.log"
    server = Daemon(
        Recipe("api", (sys.executable, "-m", "econe_api"), log, None, {"SLUICE_CONFIG": str(folder / "sluice.toml")})
    )
    server.start()
    try:
        _await(server, port)
        outcome = _Campaign(port, credentials, server.pid, seed, progress).run(requests)
    finally:
        server.stop()
        server.sweep()
    outcome.tracebacks = log.read_text(errors="replace").count("Traceback (most recent call last)")
    return outcome


class _Campaign:
    def __init__(
        self, port: int, credentials: Credentials, pid: int, seed: int, progress: Callable[[str], None]
    ) -> None:
        self._port = port
        self._credentials = credentials
        self._pid = pid
        self._seed = seed
        self._progress = progress
        self._known = Known()
        self._lock = threading.Lock()
        self._next = 0
        self._outcome = Outcome()

    def run(self, requests: int) -> Outcome:
        begin = time.monotonic()
        warm = requests // 4
        self._send_all(warm)
        self._outcome.warm_kb = resident_kb(self._pid)
        self._send_all(requests)
        self._outcome.end_kb = resident_kb(self._pid)
        self._outcome.seconds = time.monotonic() - begin
        self._outcome.alive = api_answers(self._port)
        return self._outcome

    def _send_all(self, until: int) -> None:
        with ThreadPoolExecutor(_THREADS) as pool:
            for done in [pool.submit(self._work, until) for _ in range(_THREADS)]:
                done.result()

    def _work(self, until: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_SLOWEST)
        while (number := self._take(until)) is not None:
            random = Random(f"{self._seed}/{number}")  # noqa: S311 - to be repeatable is what it is for
            request = hostile_request(random, self._known, f"127.0.0.1:{self._port}", self._credentials)
            self._note(request, *_send(connection, request))
        connection.close()

    def _take(self, until: int) -> int | None:
        with self._lock:
            if self._next >= until:
                return None
            self._next += 1
            if self._next % 5000 == 0:
                self._progress(f"{self._next} requests, {len(self._outcome.wrong)} wrong answers")
            return self._next

    def _note(self, request: HostileRequest, status: int, body: bytes) -> None:
        fault = judge(status, body) if status else body.decode()
        learn(self._known, body)
        with self._lock:
            self._outcome.requests += 1
            self._outcome.codes[code_of(status, body)] += 1
            if fault is not None and len(self._outcome.wrong) < _MOST_SHOWN:
                self._outcome.wrong.append((fault, f"{request}\n-> {status} {body[:600]!r}"))


def _send(connection: http.client.HTTPConnection, request: HostileRequest) -> tuple[int, bytes]:
    """Status and body; status 0 with the reason when there was no answer, twice."""
    for last in (False, True):
        try:
            connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers:
                if name.lower() != "content-length":
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()  # the server may have ended a connection that it had shown an error on
            if last:
                return 0, f"no answer: {error!r}".encode()
    raise AssertionError


def resident_kb(pid: int) -> int:
    """The resident memory of a process and its children, in kB (proc(5))."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        if int(status.parent.name) == pid or f"PPid:\t{pid}\n" in text:
            found = re.search(r"VmRSS:\s+(\d+)", text)
            total += int(found[1]) if found else 0
    return total


def _prepare(folder: Path, port: int) -> Credentials:
    file = folder / "sluice.toml"
    file.write_text(
        f"""\
state = "{folder / "state"}"
ipv6 = true
[api]
bind = "127.0.0.1:{port}"
[[hypervisor]]
name = "hv1"
vcpus = 1000000
memory_mib = 1000000000
""",
        encoding="utf-8",
    )
    store = Store.open(load(file))
    try:
        create_pool(store, "fuzz", "198.18.0.0/16", "198.18.0.1", "", "198.18.1.0", "198.18.4.0")
        made = create_account(store, "fuzz")
    finally:
        store.close()
    return Credentials(made.access_key_id, made.secret)


def _await(server: Daemon, port: int) -> None:
    deadline = time.monotonic() + _START
    while not api_answers(port):
        if server.status is not None or time.monotonic() > deadline:
            raise LabError(f"the API did not start: {server.last_words()}")
        time.sleep(0.05)
