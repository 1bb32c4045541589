"""How a host gets its first certificate: with a join token, from the controller whose authority the token names.

The first connection is to anybody and carries no secret: it asks for the authority's certificate, which has to have
the fingerprint that is in the token.  The second one is to somebody with a certificate of that authority, and only
there the token's secret is said.  The key is made here and never leaves the host.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from certificates import contexts
from certificates.authority import CONTROLLER_NAME, CertificateError, fingerprint, new_key, request
from certificates.files import Credentials, HostFolder
from certificates.token import JoinToken
from channel.frames import FrameError, FrameReader, pack

PORT = 6654
"""Where controllers listen to agents by default."""
_CHUNK = 65536


class JoinError(Exception):
    """The host could not join; the text is one line with cause and mend."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a controller says to anybody: its authority's certificate (PEM) and its port for OpenFlow."""

    authority: bytes
    openflow_port: int


@dataclass(frozen=True, slots=True)
class Joined:
    """The files of a host that has joined, and the controller's port for OpenFlow."""

    credentials: Credentials
    openflow_port: int


def read_address(text: str) -> tuple[str, int]:
    """Return IP address and port of ``[tls://]HOST[:PORT]``, names looked up; raises :class:`JoinError`."""
    rest = text.removeprefix("tls://").rstrip("/")
    if "://" in rest:
        raise JoinError(f"{text!r} is no controller's address; write it as tls://10.0.0.1:{PORT}")
    host, colon, port = rest.rpartition(":")
    if not colon or rest.endswith("]") or (":" in host and not host.startswith("[")):
        host, port = rest, str(PORT)
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0][4]
    except (OSError, ValueError, OverflowError) as error:
        raise JoinError(f"{text!r} is no controller's address ({error}); write it as tls://10.0.0.1:{PORT}") from error
    return str(found[0]), int(found[1])


def greet(address: tuple[str, int], timeout: float) -> Greeting:
    """Ask whoever is at ``address`` for its authority; nothing of what it says is sure.  Raises :class:`JoinError`."""
    said = _ask(address, contexts.stranger(), {"type": "authority"}, timeout)
    authority, port = said.get("certificate"), said.get("openflow_port")
    if not isinstance(authority, bytes) or not isinstance(port, int) or not 0 < port < 65536:
        raise JoinError(f"what listens at {_words(address)} is no controller of Sluice; name its port for agents")
    return Greeting(authority, port)


def join(token: JoinToken, address: tuple[str, int], folder: HostFolder, timeout: float = 30.0) -> Joined:
    """Get a certificate for the token's host and put it into ``folder``.

    ``timeout`` bounds each of two questions, in seconds.  Raises :class:`JoinError`, and
    :class:`certificates.files.FilesError` when the folder cannot be written.
    """
    greeting = greet(address, timeout)
    try:
        pinned = fingerprint(greeting.authority) == token.fingerprint
    except CertificateError:
        pinned = False
    if not pinned:
        raise JoinError(
            f"the authority at {_words(address)} is not the one of the token: this is another cloud's controller, or "
            "somebody in between; nothing was told to it"
        )
    key = new_key()
    asked = {"type": "join", "host": token.host, "secret": token.secret, "request": request(key, token.host)}
    said = _ask(address, contexts.newcomer(greeting.authority), asked, timeout)
    certificate = said.get("certificate")
    if not isinstance(certificate, bytes):
        raise JoinError(" ".join(str(said.get("error")).split())[:300])
    return Joined(folder.take(certificate, key, greeting.authority), greeting.openflow_port)


def _ask(
    address: tuple[str, int], context: ssl.SSLContext, message: Mapping[str, Any], timeout: float
) -> dict[str, Any]:
    reader = FrameReader()
    try:
        with (
            socket.create_connection(address, timeout) as plain,
            context.wrap_socket(plain, server_hostname=CONTROLLER_NAME) as peer,
        ):
            peer.sendall(pack(message))
            while data := peer.recv(_CHUNK):
                for answer in reader.feed(data):
                    return answer
    except (OSError, FrameError) as error:
        reason = getattr(error, "verify_message", None) or getattr(error, "reason", None) or str(error)
        raise JoinError(
            f"the controller at {_words(address)} cannot be asked ({reason}); is it there, with controller.tls = true?"
        ) from error
    raise JoinError(f"the controller at {_words(address)} closed the connection without an answer; see its log")


def _words(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
