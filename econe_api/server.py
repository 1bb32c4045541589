"""The API behind gunicorn: processes of threads, connections kept alive, slow clients shown the door."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.workers.gthread import ThreadWorker

from econe_api import metering, metrics_files, tls
from econe_api.actions import ACTIONS
from econe_api.actions.identity import IDENTITY
from econe_api.config import Config
from econe_api.notify import Notifier
from econe_api.opennebula.addresses import native
from econe_api.protocol.model import BESIDE, service, service_beside
from econe_api.store.store import Store
from econe_api.tls import Identity
from econe_api.wsgi import Application, Meter, utc_now
from telemetry import exposition

_log = logging.getLogger(__name__)

KEEP_ALIVE = 65
"""Seconds that an idle connection stays open."""
REQUEST_DEADLINE = 30.0
"""Seconds in which a request must have come in, headers and body."""
_BACKLOG = 1024
_CONNECTIONS = 2048
_REQUEST_LINE = 8190
"""Bytes: as much as gunicorn can take, for calls by GET and signed URLs."""


class ServerError(Exception):
    """The server cannot start; the text is one line with cause and mend."""


def listen(address: str) -> socket.socket:
    """Return a socket that listens at ``address`` (HOST:PORT, IPv6 in brackets).  Raises :class:`ServerError`."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family, backlog=_BACKLOG)
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ServerError(
            f"cannot listen at {address}: {reason}; free the port or choose another (--bind or api.bind)"
        ) from error


def url(listener: socket.socket, scheme: str = "http") -> str:
    """Return the URL at which ``listener`` is reached."""
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"{scheme}://{host}:{port}"


def load(config: Config, metrics: socket.socket | None = None) -> Application:
    """Return the API of ``config``, with a store of its own: connections must not cross a fork.

    ``metrics`` is a socket at which every process of the API answers Prometheus, for all of them.
    """
    store = Store.open(config)
    metering.start(store, config, utc_now)
    meter = None if metrics is None else _meter(store, metrics)
    return Application(store, native(ACTIONS, config, store), config, Notifier(config), utc_now, meter)


def _meter(store: Store, metrics: socket.socket) -> Meter:
    from econe_api import call_metrics

    exposition.serve(call_metrics.shared(metrics_files.directory()), metrics)
    return call_metrics.CallMetrics([*ACTIONS, *(name for each in IDENTITY.values() for name in each)], store.engine)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's thread worker with bounds on how long a client may hold a thread.

    A new connection waits in the poller, not in a thread, until its first byte comes.  A request that has not come in
    whole within ``REQUEST_DEADLINE`` has its reading side shut, which wakes the thread that reads it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reading: dict[Any, float] = {}

    def enqueue_req(self, conn: Any) -> None:
        """Hand ``conn`` to the threads, or to the poller while it is silent.  Called by the main thread alone."""
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.set_timeout()
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def handle(self, conn: Any) -> Any:
        """Serve one request on ``conn``.  Called by the threads."""
        self._reading[conn] = time.monotonic() + REQUEST_DEADLINE
        try:
            return super().handle(conn)
        finally:
            self._reading.pop(conn, None)

    def murder_pending(self) -> None:
        """Close what has been silent for too long.  Called every second by the main thread."""
        super().murder_pending()
        now = time.monotonic()
        for conn, deadline in list(self._reading.items()):
            if now > deadline and self._reading.pop(conn, None) is not None:
                _stop_reading(conn.sock)


def _stop_reading(connection: socket.socket) -> None:
    try:
        socket.socket.shutdown(connection, socket.SHUT_RD)  # an SSLSocket's own would go on in plain text
    except OSError:
        _log.debug("a slow client had gone by itself")


def _close(_arbiter: Any, worker: Any) -> None:
    """Let the application finish what it does behind the calls.  Called by gunicorn in a worker that ends."""
    application = getattr(worker, "wsgi", None)
    if isinstance(application, Application):
        application.close()


def _gone(_arbiter: Any, worker: Any) -> None:
    """Called by gunicorn, in its first process, for a worker that has ended."""
    metrics_files.forget(worker.pid)


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn set up in code; its own command line and environment play no part."""

    def __init__(
        self,
        config: Config,
        listener: socket.socket,
        application: Callable[[], Application],
        identity: Identity | None = None,
    ) -> None:
        scheme = "http" if identity is None else "https"
        self._line = f"EC2 API of {config.region} at {url(listener, scheme)}"
        self._settings = {
            "bind": f"fd://{listener.fileno()}",
            "worker_class": Worker,
            "workers": config.api.workers,
            "threads": config.api.threads,
            "worker_connections": _CONNECTIONS + config.api.threads,
            "keepalive": KEEP_ALIVE,
            "limit_request_line": _REQUEST_LINE,
            "graceful_timeout": 5,
            "when_ready": self._announce,
            "worker_exit": _close,
            "child_exit": _gone,
            "loglevel": "warning",
            "control_socket_disable": True,
        }
        if identity is not None:
            context = identity.context()
            self._settings |= {
                "certfile": str(identity.certificate),
                "keyfile": str(identity.key),
                "ssl_context": lambda _config, _default: context,
            }
        self._application = application
        super().__init__()

    def load_config(self) -> None:
        """Take the settings (called by gunicorn)."""
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def _announce(self, _arbiter: Any) -> None:
        """Say where the API is: from now on connections are taken and signals end the server in order."""
        print(self._line, flush=True)  # noqa: T201

    def load(self) -> Application:
        """Make the application, in the worker (called by gunicorn)."""
        return self._application()


def serve(config: Config) -> None:
    """Serve the API at ``config.api.bind`` until a signal ends it.

    Raises :class:`ServerError` when the port cannot be had and :class:`econe_api.store.errors.StoreError` when the
    store cannot be opened and :class:`econe_api.tls.TlsError` when the certificate cannot be used, before anything is
    served.
    """
    Store.open(config).close()
    service()  # read before the fork, shared by the workers
    for name in BESIDE.values():
        service_beside(name)
    own = tls.identity(config, config.api.bind.rpartition(":")[0].strip("[]"))
    metrics = None
    if config.metrics.enabled:
        metrics_files.share(config.state)
        metrics = exposition.listen(config.metrics.api)
    listener = listen(config.api.bind)
    server = Server(config, listener, partial(load, config, metrics), own)
    if own is not None:
        _log.info("certificate %s, SHA-256 fingerprint %s", own.certificate, own.fingerprint())
    server.run()
