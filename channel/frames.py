"""Length-prefixed msgpack frames: 4 bytes big-endian length, then one map whose keys are strings.

Pure: bytes in, messages out.  The peer is not trusted, so what a frame may cost is bounded before it is built: its
length, its nesting, the items in it.  Any breach is a :class:`FrameError`, after which the connection is of no use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack

MAX_FRAME = 16 * 1024 * 1024
"""Longest body of a frame in bytes."""
MAX_DEPTH = 16
"""Deepest nesting of maps and lists, the message itself counted."""
MAX_ITEMS = 1 << 18
"""Most items (list elements and map entries) in one frame, all nesting levels together."""
_PREFIX = 4


class FrameError(Exception):
    """The bytes are not a frame of this protocol, or a message cannot be one.  The text is one line."""


def pack(message: Mapping[str, Any]) -> bytes:
    """Return ``message`` as one frame, prefix included; :class:`FrameError` if it does not fit one."""
    try:
        body: bytes = msgpack.packb(dict(message), use_bin_type=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise FrameError(f"message cannot be packed: {_line(error)}") from error
    if len(body) > MAX_FRAME:
        raise FrameError(f"message of {len(body)} bytes is over the limit of {MAX_FRAME}")
    return len(body).to_bytes(_PREFIX, "big") + body


class FrameReader:
    """Turns a byte stream, however it is cut, into messages.

    ``limit`` is the longest body accepted, in bytes; it may be changed between two calls.  At most ``limit`` + 4 bytes
    and the last chunk fed are held.
    """

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._failure: str | None = None

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Return the messages that ``data`` completes, in order.

        Raises :class:`FrameError` on the first bad frame, and on every call from then on: behind a bad frame there is
        no telling where the next one starts.  Good frames that came in the same call before the bad one go with it.
        """
        if self._failure is not None:
            raise FrameError(self._failure)
        self._buffer += data
        messages = []
        try:
            while (message := self._next()) is not None:
                messages.append(message)
        except FrameError as error:
            self._failure = str(error)
            self._buffer.clear()
            raise
        return messages

    def _next(self) -> dict[str, Any] | None:
        if len(self._buffer) < _PREFIX:
            return None
        length = int.from_bytes(self._buffer[:_PREFIX], "big")
        if length > self.limit:
            raise FrameError(f"frame of {length} bytes is over the limit of {self.limit}")
        end = _PREFIX + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_PREFIX:end])
        del self._buffer[:end]
        return _decode(body)


class _Budget:
    """Counts what the decoder builds, and stops it in the middle when it is too much."""

    def __init__(self) -> None:
        self._left = MAX_ITEMS

    def on_map(self, value: dict[Any, Any]) -> dict[Any, Any]:
        for key in value:
            if type(key) is not str:
                raise FrameError("frame holds a map key that is not a string")
        self._spend(len(value))
        return value

    def on_list(self, value: list[Any]) -> list[Any]:
        self._spend(len(value))
        return value

    def _spend(self, items: int) -> None:
        self._left -= items
        if self._left < 0:
            raise FrameError(f"frame holds more than {MAX_ITEMS} items")


def _decode(body: bytes) -> dict[str, Any]:
    budget = _Budget()
    try:
        # A list header alone makes the decoder reserve the claimed length.  Walking the frame first, which builds
        # nothing, leaves only claims that bytes stand behind.
        walker = msgpack.Unpacker(max_buffer_size=len(body) + 1)
        walker.feed(body)
        walker.skip()
        value: object = msgpack.unpackb(
            body,
            raw=False,
            strict_map_key=True,
            object_hook=budget.on_map,
            list_hook=budget.on_list,
            ext_hook=_refuse_extension,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
            max_ext_len=0,
        )
    except (msgpack.UnpackException, ValueError, TypeError, OverflowError) as error:
        raise FrameError(f"frame is not valid msgpack: {_line(error)}") from error
    if not isinstance(value, dict):
        raise FrameError(f"frame holds a {type(value).__name__} where a map belongs")
    if not _within_depth(value, MAX_DEPTH):
        raise FrameError(f"frame is nested deeper than {MAX_DEPTH}")
    return value


def _refuse_extension(code: int, _data: bytes) -> None:
    raise FrameError(f"frame holds an extension type ({code})")


def _within_depth(value: dict[str, Any], depth: int) -> bool:
    """Tell whether ``value``, which the decoder built of nothing but its own types, has at most ``depth`` levels."""
    level: list[dict[str, Any] | list[Any]] = [value]
    for _ in range(depth):
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) is list or type(child) is dict
        ]
        if not level:
            return True
    return False


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return text or type(error).__name__
