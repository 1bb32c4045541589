"""A server that answers as it is told, and the recorded exchanges with a real oned where they are there."""

from __future__ import annotations

import html
import http.server
import os
import re
import threading
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(os.environ.get("OPENNEBULA_RECORDINGS") or Path(__file__).parents[2].parent / "shared" / "opennebula")


class Recordings:
    """Exchanges with oned 6.10, as they went over the wire, by their names."""

    def names(self) -> list[str]:
        return sorted(path.name.removesuffix(".response.xml") for path in FOLDER.glob("*.response.xml"))

    def request(self, name: str) -> tuple[str, tuple[Any, ...]]:
        parameters, method = xmlrpc.client.loads((FOLDER / f"{name}.request.xml").read_bytes())
        return str(method), parameters

    def reply(self, name: str) -> bytes:
        return (FOLDER / f"{name}.response.xml").read_bytes()

    def document(self, name: str) -> str:
        """The document of a reply, taken out of it without an XML-RPC library."""
        found = re.search(r"<value><string>(.*?)</string></value>", self.reply(name).decode(), re.DOTALL)
        assert found is not None
        return html.unescape(found[1])

    def events(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted((FOLDER / "events").glob("*.xml"))]


@pytest.fixture(scope="session")
def recordings() -> Recordings:
    if not FOLDER.is_dir():
        pytest.skip(f"no recordings of oned in {FOLDER}; $OPENNEBULA_RECORDINGS names another folder")
    return Recordings()


class Answering:
    """An HTTP server that gives ``answer`` to every request; ``bodies`` are what it was sent."""

    def __init__(self) -> None:
        self.answer: bytes | Callable[[http.server.BaseHTTPRequestHandler], None] = b""
        self.bodies: list[bytes] = []
        self.connections = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                outer.connections += 1
                super().setup()

            def do_POST(self) -> None:
                outer.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                if callable(outer.answer):
                    outer.answer(self)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(outer.answer)))
                self.end_headers()
                self.wfile.write(outer.answer)

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/RPC2"


@pytest.fixture
def answering() -> Iterator[Answering]:
    made = Answering()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()
