"""An HTTP endpoint in Prometheus' text format, for GET /metrics, in threads beside whatever else a process does."""

from __future__ import annotations

import socket
import socketserver
import threading
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_PATIENCE_S = 10.0
_BACKLOG = 16


class EndpointError(Exception):
    """The endpoint cannot be opened; the text is one line."""


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE_S  # of a client that says nothing

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


def listen(address: str) -> socket.socket:
    """Return a socket that listens at ``address``, HOST:PORT with IPv6 in brackets; raises :class:`EndpointError`."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family, backlog=_BACKLOG)
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EndpointError(
            f"metrics: cannot listen at {address}: {reason}; free the port or choose another"
        ) from error


def serve(registry: CollectorRegistry, listener: socket.socket) -> None:
    """Answer at ``listener``, which other processes may share, until the process ends."""
    # Not before: at its import the client decides whether processes share their figures.
    from prometheus_client import make_wsgi_app

    server = _Server(("", 0), _Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    host, port = listener.getsockname()[:2]
    server.server_name, server.server_port = str(host), int(port)
    server.setup_environ()
    server.set_app(make_wsgi_app(registry))
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
