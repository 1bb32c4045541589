"""Calls oned, OpenNebula's daemon, through XML-RPC over HTTP (port 2633, path ``/RPC2``).

A reply is an array: ``[true, value, 0]``, or ``[false, "[method] text", code, object id, -1]``; a call that oned cannot
read is answered by an XML-RPC fault.  All of them come with HTTP 200 ("XML-RPC API" in OpenNebula's system reference).
Whatever else comes is no answer: nothing is then known about what became of the call.
"""

from __future__ import annotations

import http.client
import re
import ssl
import threading
import time
import xmlrpc.client
from dataclasses import dataclass
from enum import IntEnum
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

Parameter = str | int | bool
Value = str | int | bool

_TIMEOUT = 10.0
_MOST_BYTES = 64 * 1024 * 1024
_CHUNK = 256 * 1024
_IDLE = 5.0  # oned's own server ends a connection after 15 s; a call must not be sent into one that is just ending
_KEPT = 8
_READS = frozenset({"info", "infoextended", "infoset", "version", "config"})
_UNSENDABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2


class Code(IntEnum):
    """Error codes of oned's replies (``ErrorCode`` in Request.h)."""

    AUTHENTICATION = 0x0100
    AUTHORIZATION = 0x0200
    NO_EXISTS = 0x0400
    ACTION = 0x0800
    XML_RPC_API = 0x1000
    INTERNAL = 0x2000
    ALLOCATE = 0x4000
    LOCKED = 0x8000
    REPLICATION = 0x10000


class OneError(Exception):
    """A call to oned failed; the text is one line and has no secrets."""


class NoAnswerError(OneError):
    """oned cannot be reached, is too slow, or what came is no answer: nothing is known of what became of the call."""


class RefusedError(OneError):
    """oned says no.  ``code`` is one of :class:`Code` (or unknown to us), ``text`` its words without the method."""

    def __init__(self, method: str, code: int, text: str, object_id: int = -1) -> None:
        super().__init__(f"{method}: {text} (error {code:#06x})")
        self.method = method
        self.code = code
        self.text = text
        self.object_id = object_id


class FaultError(OneError):
    """oned does not understand the call (fault -501: parameters, -506: method): another version, or our mistake."""

    def __init__(self, method: str, code: int, text: str) -> None:
        super().__init__(f"{method}: oned does not understand the call: {text} (fault {code})")
        self.method = method
        self.code = code


@dataclass(slots=True)
class _Connection:
    http: http.client.HTTPConnection
    used: float


class Client:
    """Calls one oned; safe to use from several threads, connections are kept for a few seconds and used again.

    ``endpoint`` is a URL such as ``http://127.0.0.1:2633/RPC2``; ``timeout`` in seconds is for the whole of a call,
    ``most_bytes`` for a reply.
    """

    def __init__(self, endpoint: str, timeout: float = _TIMEOUT, most_bytes: int = _MOST_BYTES) -> None:
        parts = urlsplit(endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
            raise ValueError(f"{endpoint!r} is no endpoint of oned; write it as http://127.0.0.1:2633/RPC2")
        self.endpoint = endpoint
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port or (443 if self._secure else 2633)
        self._path = parts.path or "/RPC2"
        self._timeout = timeout
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept; the client can still be used."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.http.close()

    def call(self, session: str, method: str, *parameters: Parameter) -> Value:
        """Call ``method`` ("one.vm.info") as ``session`` (``user:password`` or an impersonation's); return the value.

        Raises :class:`RefusedError`, :class:`FaultError` or :class:`NoAnswerError`, and ValueError for text that XML
        cannot carry.
        """
        for parameter in (session, *parameters):
            if isinstance(parameter, str) and (found := _UNSENDABLE.search(parameter)):
                raise ValueError(f"{method}: the character {found[0]!r} cannot be sent")
        body = xmlrpc.client.dumps((session, *parameters), method, encoding="utf-8").encode()
        return _value(method, self._exchange(method, body))

    def text(self, session: str, method: str, *parameters: Parameter) -> str:
        """Call ``method`` and return its value, which has to be text; otherwise NoAnswerError."""
        value = self.call(session, method, *parameters)
        if not isinstance(value, str):
            raise NoAnswerError(f"{method}: oned answered {value!r} where a document belongs")
        return value

    def number(self, session: str, method: str, *parameters: Parameter) -> int:
        """Call ``method`` and return its value, which has to be an id; otherwise NoAnswerError."""
        value = self.call(session, method, *parameters)
        if isinstance(value, bool) or not isinstance(value, int):
            raise NoAnswerError(f"{method}: oned answered {value!r} where an id belongs")
        return value

    def document(self, session: str, method: str, *parameters: Parameter) -> Element:
        """Call ``method`` and return the XML document that its value is; NoAnswerError when it is none."""
        return parse_document(self.text(session, method, *parameters), method)

    def _exchange(self, method: str, body: bytes) -> bytes:
        deadline = time.monotonic() + self._timeout
        connection, is_fresh = self._take()
        try:
            try:
                reply = self._send(connection, method, body, deadline)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # oned may have ended a kept connection meanwhile.  Only what changes nothing is sent once more.
                connection.http.close()
                if is_fresh or method.rpartition(".")[2] not in _READS:
                    raise
                connection = self._fresh()
                reply = self._send(connection, method, body, deadline)
        except NoAnswerError:
            connection.http.close()
            raise
        except TimeoutError:
            connection.http.close()
            raise NoAnswerError(f"{method}: oned at {self.endpoint} did not answer in {self._timeout:g} s") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.http.close()
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise NoAnswerError(f"{method}: oned at {self.endpoint}: {' '.join(why.split())}") from error
        self._keep(connection)
        return reply

    def _send(self, connection: _Connection, method: str, body: bytes, deadline: float) -> bytes:
        connection.http.timeout = _left(deadline)
        if connection.http.sock is not None:
            connection.http.sock.settimeout(_left(deadline))
        connection.http.request("POST", self._path, body, {"Content-Type": "text/xml"})
        socket = connection.http.sock  # http.client lets go of it as soon as it knows that the server will close
        response = connection.http.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise NoAnswerError(
                f"{method}: {self.endpoint} answered with HTTP status {response.status}, which is not oned's"
            )
        parts, size = [], 0
        while True:
            if socket is not None and socket.fileno() >= 0:
                socket.settimeout(_left(deadline))
            data = response.read1(_CHUNK)
            if not data:
                break
            size += len(data)
            if size > self._most_bytes:
                raise NoAnswerError(f"{method}: oned's reply has more than {self._most_bytes} bytes")
            parts.append(data)
        left = response.length
        response.close()
        if left:
            raise NoAnswerError(f"{method}: oned's reply ended {left} bytes early")
        return b"".join(parts)

    def _take(self) -> tuple[_Connection, bool]:
        """Return a connection, and whether it is a new one."""
        now = time.monotonic()
        stale = []
        try:
            with self._lock:
                while self._idle:
                    connection = self._idle.pop()
                    if now - connection.used < _IDLE:
                        return connection, False
                    stale.append(connection)
        finally:
            for connection in stale:
                connection.http.close()
        return self._fresh(), True

    def _fresh(self) -> _Connection:
        if self._secure:
            context = ssl.create_default_context()
            return _Connection(http.client.HTTPSConnection(self._host, self._port, context=context), 0.0)
        return _Connection(http.client.HTTPConnection(self._host, self._port), 0.0)

    def _keep(self, connection: _Connection) -> None:
        connection.used = time.monotonic()
        with self._lock:
            if connection.http.sock is not None and len(self._idle) < _KEPT:
                self._idle.append(connection)
                return
        connection.http.close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _value(method: str, reply: bytes) -> Value:
    match _unmarshal(method, reply):
        case [True, str() | int() as value, *_]:
            return value
        case [False, str(text), int(code), *rest]:
            object_id = rest[0] if rest and isinstance(rest[0], int) else -1
            raise RefusedError(method, code, _one_line(text.removeprefix(f"[{method}]")), object_id)
    raise NoAnswerError(f"{method}: oned's reply is not one that is known")


def _unmarshal(method: str, reply: bytes) -> Any:
    """Return what the XML-RPC reply holds: one value."""
    unmarshaller = xmlrpc.client.Unmarshaller()
    unmarshaller.xml("", None)  # text comes decoded from the parser
    parser = _safe_parser()
    parser.StartElementHandler = unmarshaller.start
    parser.EndElementHandler = unmarshaller.end
    parser.CharacterDataHandler = unmarshaller.data
    try:
        parser.Parse(reply, True)
        values = unmarshaller.close()
    except xmlrpc.client.Fault as fault:
        raise FaultError(method, int(fault.faultCode), _one_line(str(fault.faultString))) from None
    except Exception as error:
        # The standard library's unmarshaller answers nonsense with errors of any kind.
        raise NoAnswerError(f"{method}: what came is no reply of oned's: {_one_line(str(error))}") from error
    return values[0] if isinstance(values, tuple) and len(values) == 1 else None


def parse_document(text: str, origin: str = "document") -> Element:
    """Return the root of an XML document; NoAnswerError names ``origin`` when it is none, or has a document type."""
    builder = TreeBuilder()
    parser = _safe_parser()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(text.encode(), True)
        root: Element = builder.close()
    except (expat.ExpatError, AssertionError, ValueError) as error:
        raise NoAnswerError(f"{origin}: oned's document cannot be read: {_one_line(str(error))}") from error
    return root


def _safe_parser() -> expat.XMLParserType:
    """Return a parser that refuses document types, and with them entities of every kind."""
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def refuse(*_: object) -> None:
        raise ValueError("it has a document type, which oned's never have")

    parser.StartDoctypeDeclHandler = refuse
    return parser


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
