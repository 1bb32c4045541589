"""TLS at the controller's doors, for green threads; how long a handshake may take is the listener's to say
(:mod:`controller.handshakes`).

Ryu reads a socket in a loop that takes every TLS error for "nothing yet", so one bad record would hold its only thread
for ever; what Ryu gets is therefore a :class:`GreenTls`, whose errors are those of a lost connection.
"""

from __future__ import annotations

import contextlib
import ssl
from _socket import socket as raw_socket
from datetime import UTC, datetime, timedelta
from typing import Any

from eventlet.green import ssl as green_ssl

from certificates import contexts
from certificates.files import AuthorityFolder, FilesError
from controller.admission import RefusedError

_LOOK_AGAIN = timedelta(hours=12)


class TlsDoor:
    """The controller's side of TLS.

    Without ``demand`` a peer may come without a certificate.  The own certificate is made anew a month before its end.
    Raises :class:`certificates.files.FilesError` when there is none to be had.
    """

    def __init__(self, folder: AuthorityFolder, *, demand: bool) -> None:
        self._folder = folder
        self._context = contexts.server(folder.controller(), green_ssl.GreenSSLContext, demand=demand)
        self._looked = datetime.now(UTC)

    def wrap(self, accepted: Any) -> GreenTls:
        """Take an accepted connection, which is no more to be used itself; nothing has been read or sent yet.

        Raises ``ConnectionError`` when the peer has gone.
        """
        self._refresh()
        try:
            return GreenTls(self._context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False))
        except OSError as error:
            raise ConnectionAbortedError(f"has gone ({error.strerror or error})") from error

    def _refresh(self) -> None:
        now = datetime.now(UTC)
        if now - self._looked > _LOOK_AGAIN:
            self._looked = now
            with contextlib.suppress(FilesError):  # the present one is good for a while
                contexts.load(self._context, self._folder.controller())


class GreenTls:
    """A connection as Ryu and the agents' server use sockets, after :meth:`shake`; a fault is an ``OSError``."""

    def __init__(self, tls: Any) -> None:
        self._tls = tls

    def shake(self) -> None:
        """Do the handshake.

        Raises :class:`RefusedError`, and ``ConnectionError`` when the peer has gone: who only looks whether somebody
        listens is no intruder.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLEOFError as error:
            raise ConnectionAbortedError("broke off the TLS handshake") from error
        except ssl.SSLError as error:
            raise RefusedError(_words(error)) from error
        except OSError as error:
            raise ConnectionAbortedError(f"broke off the TLS handshake ({error.strerror or error})") from error

    @property
    def certificate(self) -> bytes | None:
        """The peer's certificate, DER; None when it showed none."""
        found: bytes | None = self._tls.getpeercert(binary_form=True)
        return found

    def recv(self, size: int) -> bytes:
        """Read; b"" at the end."""
        try:
            data: bytes = self._tls.recv(size)
        except ssl.SSLError as error:
            raise ConnectionResetError(_words(error)) from error
        return data

    def sendall(self, data: Any) -> None:
        """Send all of it."""
        try:
            self._tls.sendall(data)
        except ssl.SSLError as error:
            raise ConnectionResetError(_words(error)) from error

    def setsockopt(self, *option: Any) -> None:
        """As of a socket."""
        self._tls.setsockopt(*option)

    def settimeout(self, seconds: float | None) -> None:
        """As of a socket."""
        self._tls.settimeout(seconds)

    def shutdown(self, how: int) -> None:
        """End a direction of the connection beneath; Python's own would go on in plain text."""
        raw_socket.shutdown(self._tls, how)

    def close(self) -> None:
        """Close it."""
        self._tls.close()


def _words(error: ssl.SSLError) -> str:
    """What OpenSSL says, for people."""
    reason = (error.reason or str(error)).replace("_", " ").lower()
    known = {
        "http request": "speaks HTTP where TLS is spoken",
        "wrong version number": "speaks no TLS",
        "unknown protocol": "speaks no TLS",
        "certificate verify failed": f"shows a certificate that is not good ({getattr(error, 'verify_message', '')})",
        "peer did not return a certificate": "shows no certificate",
    }
    return known.get(reason, f"fails the TLS handshake ({reason})")
