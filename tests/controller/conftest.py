"""Ryu's OpenFlow server in this process, behind the guard; a private Open vSwitch; controllers as processes."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import eventlet
import eventlet.wsgi
import pytest

# Ryu's WSGI module, which its own imports pull in, wants a name that newer eventlets no longer have.
eventlet.wsgi.ALREADY_HANDLED = getattr(eventlet.wsgi, "ALREADY_HANDLED", object())

from ryu.base import app_manager  # noqa: E402
from ryu.controller import controller as ryu_controller  # noqa: E402
from ryu.controller import handler, ofp_handler  # noqa: E402
from ryu.lib import hub  # noqa: E402
from ryu.ofproto import ofproto_protocol, ofproto_v1_3  # noqa: E402

from certificates.authority import CONTROLLER_NAME  # noqa: E402
from channel.client import ChannelError, request  # noqa: E402
from channel.frames import FrameReader, pack  # noqa: E402
from controller import wire  # noqa: E402
from controller.openflow import OpenFlowSession  # noqa: E402
from flowrules.encode import HEADER  # noqa: E402

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
PATIENCE_S = 20.0


class PrivateOvs:
    """ovsdb-server and ovs-vswitchd with a dummy datapath, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "OVS_RUNDIR": str(folder), "OVS_LOGDIR": str(folder)}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        database = self.folder / "conf.db"
        self.run("ovsdb-tool", "create", str(database), SCHEMA)
        self._daemon("ovsdb-server", str(database), f"--remote=punix:{self.folder}/db.sock")
        self.vsctl("--retry", "--no-wait", "init")
        self._daemon("ovs-vswitchd", f"unix:{self.folder}/db.sock", "--enable-dummy=override")

    def _daemon(self, *command: str) -> None:
        quiet = ("-vconsole:off", "-vsyslog:off")
        self._daemons.append(subprocess.Popen([*command, *quiet], env=self.environment, stderr=subprocess.DEVNULL))

    def stop(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.kill()
            daemon.wait(PATIENCE_S)

    def signal(self, number: int) -> None:
        """Send a signal to ovs-vswitchd."""
        self._daemons[-1].send_signal(number)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def vsctl(self, *arguments: str) -> str:
        return self.run("ovs-vsctl", f"--db=unix:{self.folder}/db.sock", "--timeout=15", *arguments)

    def flow_count(self, bridge: str) -> int:
        shown = self.run("ovs-ofctl", "-O", "OpenFlow13", "dump-aggregate", bridge)
        return int(shown.rsplit("flow_count=", 1)[1])


class RyuServer:
    """Ryu's side of OpenFlow on a port of its own, without ryu-manager: every connection becomes a Datapath."""

    def __init__(self) -> None:
        self._listener = eventlet.listen(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.datapaths: list[ryu_controller.Datapath] = []
        self._accepting = eventlet.spawn(self._accept)

    def _accept(self) -> None:
        while True:
            socket, address = self._listener.accept()
            datapath = ryu_controller.Datapath(socket, address)
            self.datapaths.append(datapath)
            hub.spawn(self._serve, datapath)

    @staticmethod
    def _serve(datapath: ryu_controller.Datapath) -> None:
        with contextlib.closing(datapath):
            datapath.serve()

    def wait(self, condition, what: str):
        """Let the server run until ``condition`` holds; return what it says."""
        with eventlet.Timeout(PATIENCE_S, AssertionError(f"waited in vain for {what}")):
            while not (value := condition()):
                eventlet.sleep(0.005)
        return value

    def ready(self) -> ryu_controller.Datapath | None:
        """A connection past its handshake."""
        return next((each for each in self.datapaths if each.state == handler.MAIN_DISPATCHER), None)

    def close(self) -> None:
        self._accepting.kill()
        self._listener.close()
        for datapath in self.datapaths:
            datapath.close()
        self.wait(lambda: not any(each.is_active for each in self.datapaths), "the connections to end")


@pytest.fixture(scope="session")
def ryu_handlers():
    """Ryu's handshake, loaded as ryu-manager does, and the guard."""
    ofproto_protocol.set_app_supported_versions([ofproto_v1_3.OFP_VERSION])
    if app_manager.lookup_service_brick("ofp_event") is None:
        service = ofp_handler.OFPHandler()
        app_manager.register_app(service)
    wire.install()


@pytest.fixture
def ryu_server(ryu_handlers):
    server = RyuServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def private_ovs():
    folder = Path(tempfile.mkdtemp(prefix="session-ovs-"))
    ovs = PrivateOvs(folder)
    try:
        ovs.start()
        yield ovs
    finally:
        ovs.stop()
        shutil.rmtree(folder)


@pytest.fixture
def bridge(private_ovs, ryu_server):
    """An empty bridge that has the server as its controller."""
    controller = f"tcp:127.0.0.1:{ryu_server.port}"
    secure = ("datapath_type=dummy", "fail_mode=secure", "protocols=OpenFlow13")
    private_ovs.vsctl("add-br", "br0", "--", "set", "bridge", "br0", *secure, "--", "set-controller", "br0", controller)
    yield "br0"
    private_ovs.vsctl("del-br", "br0")


@pytest.fixture
def session(ryu_server, bridge):
    """A session with the bridge."""
    session = OpenFlowSession(ryu_server.wait(ryu_server.ready, "a handshake"))
    yield session
    session.close()


def until(condition, seconds=PATIENCE_S, what="the condition"):
    """Wait for a condition, bounded; return what it says."""
    deadline = time.monotonic() + seconds
    while not (seen := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return seen


class ControllerProcess:
    """A controller with ports, state and log of its own."""

    def __init__(self, folder, settings=""):
        self.state = folder / "state"
        self.socket = self.state / "controller.sock"
        self.config = folder / "sluice.toml"
        self.openflow, self.agents = free_port(), free_port()
        self.log = folder / "controller.log"
        self.config.write_text(
            f'state = "{self.state}"\n[controller]\nagent_listen = "127.0.0.1:{self.agents}"\n{settings}'
        )
        self.process = None

    @property
    def flags(self):
        return ("--ofp-tcp-listen-port", str(self.openflow), "--sluice-config", str(self.config))

    def start(self, command=(sys.executable, "-m", "controller"), flags=None):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *(self.flags if flags is None else flags)], stdout=log, stderr=log, start_new_session=True
            )

    def status(self):
        return request(self.socket, {"op": "status"}, 5.0)

    def answers(self):
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(ChannelError):
            return self.status()

    def children(self):
        return children(self.process.pid)

    def agent(self):
        return Peer(socket.create_connection(("127.0.0.1", self.agents), timeout=PATIENCE_S))

    def client(self):
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(PATIENCE_S)
        peer.connect(str(self.socket))
        return Peer(peer)

    def lines(self, word):
        return [line for line in self.log.read_text().splitlines() if word in line]

    def end(self):
        if self.process is not None:
            left = self.children()
            self.process.kill()
            self.process.wait()
            until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), what="the feed reader to end")


class Peer:
    """A connection that speaks frames, or nonsense."""

    def __init__(self, connection):
        self.connection = connection
        self._reader = FrameReader()
        self._received = []

    def send(self, message):
        self.connection.sendall(pack(message))

    def receive(self):
        """The next message, or None when the other side has closed."""
        while not self._received:
            try:
                data = self.connection.recv(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self._received += self._reader.feed(data)
        return self._received.pop(0)

    def hello(self, host, version=1):
        self.send({"type": "hello", "version": version, "host": host})

    def snapshot(self, dpid, seq=1, ports=()):
        self.send(
            {
                "type": "snapshot",
                "seq": seq,
                "dpid": dpid,
                "bridge": "br-int",
                "ports": list(ports),
                "ovs_version": "3",
                "problems": [],
            }
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()


def children(pid):
    """Process ids of the children of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def wait_until():
    return until


@pytest.fixture
def new_controller(tmp_path):
    """Make controllers, not started yet; they end with the test."""
    made = []

    def make(settings=""):
        folder = tmp_path / f"controller{len(made)}"
        folder.mkdir()
        made.append(ControllerProcess(folder, settings))
        return made[-1]

    yield make
    for controller in made:
        controller.end()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A controller that answers; what it is told stays for the tests of its module."""
    controller = ControllerProcess(tmp_path_factory.mktemp("controller"))
    controller.start()
    try:
        until(controller.answers, what="the controller")
        yield controller
        assert controller.process.poll() is None, controller.log.read_text()
        assert controller.lines("Traceback") == []
    finally:
        controller.end()


def secured(port, context):
    """A connection past the handshake of TLS."""
    return context.wrap_socket(
        socket.create_connection(("127.0.0.1", port), PATIENCE_S), server_hostname=CONTROLLER_NAME
    )


class Mute:
    """A peer that shakes hands as a switch and then says nothing, or what it is told."""

    def __init__(self, port, dpid=0xD0, context=None):
        self.socket = eventlet.connect(("127.0.0.1", port)) if context is None else secured(port, context)
        self.socket.settimeout(20)
        self.socket.sendall(HEADER.pack(4, 0, 8, 0))
        self.answer(5, lambda xid: HEADER.pack(4, 6, 32, xid) + dpid.to_bytes(8, "big") + bytes(16))
        self.answer(18, lambda xid: HEADER.pack(4, 19, 16, xid) + b"\0\x0d" + bytes(6))

    def answer(self, kind, make):
        """Read up to a request of this kind and answer it."""
        while True:
            head = self.read(8)
            _, found, length, xid = HEADER.unpack(head)
            self.read(length - 8)
            if found == kind:
                self.socket.sendall(make(xid))
                return

    def wait_closed(self):
        """Read until the other side has closed."""
        with contextlib.suppress(ConnectionError):
            while self.socket.recv(65536):
                pass
        self.socket.close()

    def read(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            assert part, "closed"
            data += part
        return data


@pytest.fixture
def mute_switch():
    return Mute


@pytest.fixture
def secure_peer():
    return secured
