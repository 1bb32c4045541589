"""What runs inside an instance of the namespace backend: a small web server, and an echo to hold connections open.

A script of the standard library alone, run inside the instance's namespace::

    python guest.py INSTANCE_ID [CONSOLE]

It leaves a daemon behind and ends, with status 0, once everything listens.  CONSOLE is the file that what it says is
appended to.

* TCP 80 and 8080: any GET answers one line of text, the instance's id and the client's address as the instance saw it;
* TCP 9000: every line comes back.

All of it by IPv4 and IPv6.

Each connection has a thread.  The daemon ends with SIGTERM.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WEB_PORTS = (80, 8080)
ECHO_PORT = 9000
ANY = ""  # every address of the instance


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


def main(instance_id: str, console: str = os.devnull) -> None:
    """Listen, go to the background, serve until ended."""
    page = page_handler(instance_id)
    servers: list[socketserver.TCPServer] = [WebServer((ANY, port), page) for port in WEB_PORTS]
    servers.append(EchoServer((ANY, ECHO_PORT), Echo))
    with contextlib.suppress(OSError):  # a kernel without IPv6
        servers += [Ipv6WebServer((ANY, port), page) for port in WEB_PORTS]
        servers.append(Ipv6EchoServer((ANY, ECHO_PORT), Echo))
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    said = os.open(console, os.O_WRONLY | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(said, descriptor)
    for server in servers:
        os.write(1, f"{type(server).__name__} listens on port {server.server_address[1]}\n".encode("ascii"))
    signal.signal(signal.SIGTERM, power_down)
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
