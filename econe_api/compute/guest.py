"""What runs inside an instance of the namespace backend: a small web server, and an echo to hold connections open.

A script of the standard library alone, run inside the instance's namespace::

    python guest.py INSTANCE_ID [CONSOLE]
    python guest.py --nursery DESCRIPTOR

The first leaves a daemon behind and ends, with status 0, once everything listens.  CONSOLE is the file that what it
says is appended to.  The second does that again and again, for a fraction of the cost: each packet on
DESCRIPTOR, one end of a pair of sockets, is a JSON object with ``instance``, ``console`` and ``namespace``, the path of
the network namespace to live in, and is answered with the instance's id, or with what went wrong.

* TCP 80 and 8080: any GET answers one line of text, the instance's id and the client's address as the instance saw it;
* TCP 9000: every line comes back.

All of it by IPv4 and IPv6.

Each connection has a thread; without one the daemon sleeps.  It ends with SIGTERM.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import selectors
import signal
import socket
import socketserver
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WEB_PORTS = (80, 8080)
ECHO_PORT = 9000
ANY = ""  # every address of the instance
NEW_NETWORK = 0x40000000  # CLONE_NEWNET, linux/sched.h
LONGEST_WISH = 4096
LIBC = ctypes.CDLL(None, use_errno=True)


class Echo(socketserver.StreamRequestHandler):
    """Sends each line back as it comes."""

    def handle(self) -> None:
        """Serve one connection."""
        with contextlib.suppress(OSError):
            for line in self.rfile:
                self.wfile.write(line)


class EchoServer(socketserver.ThreadingTCPServer):
    """TCP, a thread per connection."""

    allow_reuse_address = True
    daemon_threads = True


class WebServer(ThreadingHTTPServer):
    """HTTP, a thread per connection."""

    def server_bind(self) -> None:
        """Listen, but do not ask the name service who we are as HTTPServer does: an instance may reach none."""
        socketserver.TCPServer.server_bind(self)


class Ipv6EchoServer(EchoServer):
    """The same by IPv6."""

    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        """Leave IPv4 to the other one."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()


class Ipv6WebServer(WebServer):
    """The web server by IPv6."""

    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        """Leave IPv4 to the other one."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()


def page_handler(instance_id: str) -> type[BaseHTTPRequestHandler]:
    """Return the handler that answers for ``instance_id``."""

    class Page(BaseHTTPRequestHandler):
        """Answers every GET alike."""

        def do_GET(self) -> None:
            """Say who answers, and to whom."""
            body = f"{instance_id} {self.client_address[0]}\n".encode("ascii")
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    return Page


def power_down(*_: object) -> None:
    """End at once, and say so."""
    os.write(1, b"Power down\n")
    os._exit(0)


def listen(instance_id: str) -> list[socketserver.TCPServer]:
    """Return all servers of an instance, listening."""
    page = page_handler(instance_id)
    servers: list[socketserver.TCPServer] = [WebServer((ANY, port), page) for port in WEB_PORTS]
    servers.append(EchoServer((ANY, ECHO_PORT), Echo))
    with contextlib.suppress(OSError):  # a kernel without IPv6
        servers += [Ipv6WebServer((ANY, port), page) for port in WEB_PORTS]
        servers.append(Ipv6EchoServer((ANY, ECHO_PORT), Echo))
    return servers


def settle(console: str) -> None:
    """Become a daemon that writes to ``console``."""
    os.setsid()
    os.chdir("/")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    said = os.open(console, os.O_WRONLY | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(said, descriptor)
    signal.signal(signal.SIGTERM, power_down)


def serve(servers: list[socketserver.TCPServer]) -> None:
    """Say what listens, and serve until ended."""
    for server in servers:
        os.write(1, f"{type(server).__name__} listens on port {server.server_address[1]}\n".encode("ascii"))
    with selectors.DefaultSelector() as waiting:
        for server in servers:
            server.timeout = 0  # whoever knocked may have gone
            waiting.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                key.fileobj.handle_request()  # type: ignore[union-attr]


def enter(namespace: str) -> None:
    """Move to a network namespace."""
    descriptor = os.open(namespace, os.O_RDONLY)
    if LIBC.setns(descriptor, NEW_NETWORK):
        raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
    os.close(descriptor)


def nursery(peer: socket.socket) -> None:
    """Start a daemon for each packet, until the other end is shut."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker, which then shuts its end
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody has to wait for the daemons
    gc.freeze()
    while wish := peer.recv(LONGEST_WISH):
        if os.fork() == 0:
            try:
                be_born(peer, **json.loads(wish))
            finally:
                os._exit(1)


def be_born(peer: socket.socket, namespace: str, instance: str, console: str) -> None:
    """Become the daemon of an instance, and tell ``peer`` how that went."""
    try:
        enter(namespace)
        servers = listen(instance)
        settle(console)
    except Exception as error:
        peer.send(f"{type(error).__name__}: {error}".encode())
        return
    peer.send(instance.encode())
    peer.close()
    serve(servers)


def main(instance_id: str, console: str = os.devnull) -> None:
    """Listen, go to the background, serve until ended."""
    servers = listen(instance_id)
    if os.fork():
        os._exit(0)
    settle(console)
    serve(servers)


if __name__ == "__main__":
    if sys.argv[1] == "--nursery":
        nursery(socket.socket(fileno=int(sys.argv[2])))
    else:
        main(*sys.argv[1:])
