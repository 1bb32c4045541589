"""A server that answers as it is told, and the recorded exchanges with a real oned where they are there."""

from __future__ import annotations

import html
import http.server
import os
import re
import secrets
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from econe_api.actions import ACTIONS
from econe_api.call import Call, Caller
from econe_api.compute.worker import Worker
from econe_api.config import Config, parse
from econe_api.opennebula.backend import OpenNebulaBackend
from econe_api.store.accounts import NewAccount, create_account
from econe_api.store.opennebula_tables import opennebula_vms
from econe_api.store.pools import create_pool
from econe_api.store.store import Store
from topologies.oned.bus import Bus
from topologies.oned.cloud import Oned
from topologies.oned.model import Network, Vm
from topologies.oned.server import Server
from topologies.oned.templates import Template

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

    def event_keys(self) -> list[bytes]:
        """The keys of the events, in order; the file has them in quotes."""
        lines = (FOLDER / "events" / "EVENTS.tsv").read_text().splitlines()[1:]
        return [line.split("\t")[3].strip("'").encode() for line in lines]

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


IMAGE = "ami-0123456789abcdef0"


def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.01)


def make_oned() -> Oned:
    """Two hosts, a service account, the user alice, a network of MAC addresses, and a template."""
    oned = Oned()
    oned.add_user("serveradmin", "service-secret", group=0, driver="server_cipher")
    oned.add_user("alice", "alice-secret")
    oned.add_user("bob", "bob-secret")
    oned.hosts = {0: "node-a", 1: "node-b"}
    oned.networks[7] = Network(7, "instances", oned.users[0], "02:00:5e:00:00:00", 4096)
    oned.templates[3] = Template.parse('CPU="0.1"\nMEMORY="64"\nCONTEXT=[NETWORK="YES",SET_HOSTNAME="$NAME"]')
    return oned


@dataclass
class Cloud:
    """An account's view of the API's actions, a worker, and the small oned behind it."""

    oned: Oned
    server: Server
    store: Store
    account: NewAccount
    config: Config
    workers: list[tuple[Worker, threading.Thread]] = field(default_factory=list)
    follow: Callable[[], Any] = lambda: None

    def start(self) -> Worker:
        worker = Worker(self.store, OpenNebulaBackend(self.config, self.store), 0.05)
        thread = threading.Thread(target=worker.run)
        thread.start()
        self.workers.append((worker, thread))
        return worker

    def stop(self) -> None:
        for worker, thread in self.workers:
            worker.stop()
            thread.join()
        self.workers.clear()

    def call(self, action: str, **params: Any) -> dict[str, Any]:
        caller = Caller(self.account.account_id, self.account.access_key_id)
        call = Call(action=action, params=params, caller=caller, request_id=secrets.token_hex(8))
        with self.store.write(call) as txn:
            answer: dict[str, Any] = ACTIONS[action].handler(call, txn)
        return answer

    def run(self, count: int = 1, **more: Any) -> list[str]:
        sizes = {"InstanceType": "t2.micro", "MinCount": count, "MaxCount": count}
        made = self.call("RunInstances", ImageId=IMAGE, **sizes, **more)
        return [instance["InstanceId"] for instance in made["Instances"]]

    def running(self, count: int = 1, **more: Any) -> list[str]:
        ids = self.run(count, **more)
        self.await_state("running", *ids)
        return ids

    def describe(self, instance: str) -> dict[str, Any]:
        found = self.call("DescribeInstances", InstanceIds=[instance])["Reservations"][0]["Instances"][0]
        return dict(found)

    def state(self, instance: str) -> str:
        return str(self.describe(instance)["State"]["Name"])

    def await_state(self, state: str, *ids: str) -> None:
        until(lambda: all(self.state(each) == state for each in ids))

    def vm(self, instance: str) -> Vm:
        with self.store.engine.connect() as connection:
            number = connection.scalar(select(opennebula_vms.c.vm).filter_by(instance=instance))
        assert number is not None
        return self.oned.vms[number]

    def associated(self, instance: str) -> tuple[str, Callable[[], Any]]:
        """Associate a new elastic IP; gives it, and what asks for its association."""
        made = self.call("AllocateAddress")
        self.call("AssociateAddress", AllocationId=made["AllocationId"], InstanceId=instance)

        def association() -> Any:
            found = self.call("DescribeAddresses", AllocationIds=[made["AllocationId"]])["Addresses"][0]
            return found.get("AssociationId")

        return made["PublicIp"], association


MakeCloud = Callable[..., Cloud]


@pytest.fixture
def make_cloud(tmp_path: Path) -> Iterator[MakeCloud]:
    """Make a cloud: ``make_cloud(resync=0.1, ...)``; keywords are settings of ``[opennebula]``."""
    made: list[Cloud] = []
    servers: list[Server] = []

    def make(**settings: Any) -> Cloud:
        oned = make_oned()
        server = Server(oned)
        server.__enter__()
        servers.append(server)
        (tmp_path / "auth").write_text("serveradmin:service-secret\n")
        names = {"h1": "node-a", "h2": "node-b"}
        hosts = [
            {"name": name, "vcpus": 16, "memory_mib": 32768, "options": {"host": host}} for name, host in names.items()
        ]
        base = {"endpoint": server.url, "secret_file": str(tmp_path / "auth"), "network": 7, "template": 3}
        used = {**base, "resync": 0.05, "page": 2, "timeout": 5, **settings}
        document = {"state": str(tmp_path / "state"), "hypervisor": hosts, "opennebula": used}
        config = parse(document, "test", tmp_path)
        store = Store.open(config)
        create_pool(
            store, "public", "203.0.113.0/24", "203.0.113.1", "02:00:00:00:00:fe", "203.0.113.10", "203.0.113.17"
        )
        made.append(Cloud(oned, server, store, create_account(store, "alice"), config))
        return made[-1]

    yield make
    for cloud in made:
        cloud.stop()
        cloud.store.close()
    for server in servers:
        server.__exit__(None, None, None)


@pytest.fixture
def cloud(make_cloud: MakeCloud) -> Cloud:
    """A cloud whose worker works."""
    made = make_cloud()
    made.start()
    return made


@pytest.fixture
def bus_of() -> Iterator[Callable[..., Bus]]:
    """Start the events of an oned: ``bus_of(oned, lost=0.5)``."""
    made: list[Bus] = []

    def start(oned: Oned, lost: float = 0.0) -> Bus:
        made.append(Bus(oned, lost))
        return made[-1]

    yield start
    for bus in made:
        bus.__exit__(None, None, None)
