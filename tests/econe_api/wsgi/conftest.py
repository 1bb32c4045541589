"""The application over a real SQLite store, with real sockets where the controller and the compute worker listen."""

from __future__ import annotations

import io
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
from wsgiref.validate import validator

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from channel.frames import FrameReader, pack
from econe_api.call import Action
from econe_api.config import Config
from econe_api.notify import Notifier
from econe_api.store.accounts import NewAccount
from econe_api.store.store import Store
from econe_api.wsgi import Application


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: what differs between databases is tested with the store."""
    return f"sqlite:///{tmp_path / 'state' / 'sluice.db'}"


class Listener:
    """A unix socket that answers every request alike and remembers what it was asked."""

    def __init__(self, path: Path, reply: Mapping[str, Any] | None) -> None:
        self.heard: list[dict[str, Any]] = []
        self._reply = reply
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(16)
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            reader = FrameReader()
            messages: list[dict[str, Any]] = []
            while not messages:
                messages = reader.feed(peer.recv(65536))
            self.heard += messages
            if self._reply is None:
                self._held.append(peer)  # never answers
            else:
                peer.sendall(pack(self._reply))
                peer.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        for peer in (*self._held, self._socket):
            peer.close()


@pytest.fixture
def listen() -> Iterator[Callable[[Path, Mapping[str, Any] | None], Listener]]:
    """Start a listener; without a reply it takes requests and never answers."""
    started: list[Listener] = []

    def start(path: Path, reply: Mapping[str, Any] | None) -> Listener:
        path.parent.mkdir(parents=True, exist_ok=True)
        started.append(Listener(path, reply))
        return started[-1]

    yield start
    for listener in started:
        listener.close()


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        return ET.fromstring(self.body).findtext("Errors/Error/Code")

    @property
    def message(self) -> str | None:
        return ET.fromstring(self.body).findtext("Errors/Error/Message")


class Client:
    """Calls the application as a WSGI server would, under the eyes of wsgiref's validator."""

    def __init__(self, application: Application, account: NewAccount, clock: Callable[[], datetime]) -> None:
        self._application = validator(application)
        self.close = application.close
        self.flush = application.flush
        self.account = account
        self._clock = clock

    def environ(self, fields: Mapping[str, str], method: str = "POST", path: str = "/") -> dict[str, Any]:
        """A signed request."""
        encoded = urlencode({"Version": "2016-11-15", **fields}).replace("+", "%20")
        url = f"http://localhost:8773{path}" + (f"?{encoded}" if method == "GET" else "")
        request = AWSRequest(method=method, url=url, data=encoded if method == "POST" else None)
        request.headers["Host"] = urlsplit(url).netloc
        credentials = Credentials(self.account.access_key_id, self.account.secret)
        botocore.auth.SigV4Auth(credentials, "ec2", "us-east-1").add_auth(request)
        body = encoded.encode() if method == "POST" else b""
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": urlsplit(url).query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "8773",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "192.0.2.7",
            "CONTENT_TYPE": "application/x-www-form-urlencoded",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        return environ | {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()}

    def send(self, environ: dict[str, Any]) -> Response:
        answered: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _info: object = None) -> Callable[[bytes], Any]:
            answered.append((status, headers))
            return lambda data: None

        chunks = self._application(environ, start_response)
        try:
            body = b"".join(chunks)
        finally:
            chunks.close()  # type: ignore[attr-defined]
        status, headers = answered[0]
        return Response(int(status[:3]), dict(headers), body)

    def call(self, action: str, **fields: str) -> Response:
        return self.send(self.environ({"Action": action, **fields}))


@pytest.fixture
def client_of(config: Config, store: Store, account: NewAccount) -> Iterator[Callable[..., Client]]:
    """Make a client of an application with the given actions; it sees the clock ``skew`` off."""

    made: list[Client] = []

    def make(actions: Mapping[str, Action], skew: timedelta = timedelta(0)) -> Client:
        def clock() -> datetime:
            return datetime.now(UTC) + skew

        made.append(Client(Application(store, actions, config, Notifier(config), clock), account, clock))
        return made[-1]

    yield make
    for client in made:
        client.close()


@dataclass
class Api:
    """``python -m econe_api`` on a free port."""

    process: subprocess.Popen[str]
    url: str
    account: NewAccount
    log: Path

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0


@pytest.fixture
def request_deadline() -> float:
    """Seconds that the server gives a request to come in."""
    return 30.0


@pytest.fixture
def api_settings() -> str:
    """Lines of ``[api]`` in the server's configuration."""
    return ""


@contextmanager
def _serving(config: Config, account: NewAccount, file: Path, deadline: float, settings: str) -> Iterator[Api]:
    places = f'state = "{config.state}"\ndatabase = "{config.database}"\n'
    file.write_text(f"{places}acknowledge_timeout = 0.2\nsettle_timeout = 0.2\n[api]\n{settings}\n")
    log = file.with_suffix(".log")
    command = [sys.executable, "-m", "econe_api"]
    if deadline != 30.0:
        program = f"from econe_api import __main__, server; server.REQUEST_DEADLINE = {deadline}; __main__.main()"
        command = [sys.executable, "-c", program]
    command += ["--config", str(file), "--bind", "127.0.0.1:0"]
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ})
    assert process.stdout is not None
    try:
        readable, _, _ = select.select([process.stdout], [], [], 30)
        assert readable, log.read_text()
        line = process.stdout.readline()
        assert " at http" in line, log.read_text()
        yield Api(process, line.split()[-1], account, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.fixture
def api(
    config: Config, account: NewAccount, tmp_path: Path, request_deadline: float, api_settings: str
) -> Iterator[Api]:
    """The real server over the store of the test."""
    with _serving(config, account, tmp_path / "api.toml", request_deadline, api_settings) as server:
        yield server


@pytest.fixture
def second_api(api: Api, config: Config, tmp_path: Path, request_deadline: float, api_settings: str) -> Iterator[Api]:
    """Another process over the same store."""
    with _serving(config, api.account, tmp_path / "second.toml", request_deadline, api_settings) as server:
        yield server
