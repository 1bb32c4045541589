"""What a switch may say, and whether its lengths add up: bytes in, a checked frame or a refusal out.

Pure, so that it can be tried with millions of frames.  The list is one of what is allowed: a type, a kind of
statistics or an experimenter that is not on it is refused, and whatever is on it is walked to its last list entry
(:mod:`controller.guard_lists`) before anybody builds anything from it.  A walk takes time linear in the frame, which
has at most 65,535 bytes.

Sources: OpenFlow Switch Specification 1.3.5, section 7; ONF extension 230 (bundles).
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import unpack_from

from controller import guard_lists as lists
from controller.guard_lists import BadFrameError, Walk
from controller.guard_statistics import check_statistics
from flowrules.encode import BUNDLE_CONTROL, HEADER, ONF_EXPERIMENTER, VERSION, BundleControl, MessageType

_HEADER = HEADER.size
_VERSION_BITMAP = 1
_MAX_LENGTH = 0xFFFF
#: Longest hello and echo: Open vSwitch sends 16 and 8 bytes, and an echo's answer is as long as the question.
_MAX_SMALL = 1024
_MAX_PORT_REASON = 2
_EXPERIMENTER_ERROR = 0xFFFF
_BUNDLE_REPLIES = frozenset(
    {BundleControl.OPEN_REPLY, BundleControl.CLOSE_REPLY, BundleControl.COMMIT_REPLY, BundleControl.DISCARD_REPLY}
)

#: Shortest and longest frame of every message a switch may send, header included.
_LENGTHS = {
    MessageType.HELLO: (8, _MAX_SMALL),
    MessageType.ERROR: (12, _MAX_LENGTH),
    MessageType.ECHO_REQUEST: (8, _MAX_SMALL),
    MessageType.ECHO_REPLY: (8, _MAX_SMALL),
    MessageType.EXPERIMENTER: (24, _MAX_LENGTH),
    MessageType.FEATURES_REPLY: (32, 32),
    MessageType.GET_CONFIG_REPLY: (12, 12),
    MessageType.PACKET_IN: (34, _MAX_LENGTH),
    MessageType.FLOW_REMOVED: (56, _MAX_LENGTH),
    MessageType.PORT_STATUS: (80, 80),
    MessageType.MULTIPART_REPLY: (16, _MAX_LENGTH),
    MessageType.BARRIER_REPLY: (8, 8),
    MessageType.QUEUE_GET_CONFIG_REPLY: (16, _MAX_LENGTH),
    MessageType.ROLE_REPLY: (24, 24),
    MessageType.GET_ASYNC_REPLY: (32, 32),
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One checked message; ``body`` is what follows the 8 bytes of header."""

    type: MessageType
    xid: int
    body: bytes


def read_frame(buffer: bytes) -> Frame:
    """Check one message, of any kind.  Raises :class:`BadFrameError`."""
    if len(buffer) < _HEADER:
        raise BadFrameError(f"frame of {len(buffer)} bytes")
    version, kind, length, xid = HEADER.unpack_from(buffer)
    if length != len(buffer):
        raise BadFrameError(f"message of {len(buffer)} bytes says it has {length}")
    bounds = _LENGTHS.get(kind)
    if bounds is None:
        raise BadFrameError(f"message type {kind} is not for a switch to send")
    if not bounds[0] <= length <= bounds[1]:
        raise BadFrameError(f"message type {kind} of {length} bytes")
    if kind == MessageType.HELLO:
        _check_hello(version, buffer)
    elif version != VERSION:
        raise BadFrameError(f"message type {kind} of protocol version {version}")
    check = _CHECKS.get(kind)
    if check is not None:
        check(buffer, _HEADER, length)
    return Frame(MessageType(kind), xid, bytes(buffer[_HEADER:]))


def _check_hello(version: int, buffer: bytes) -> None:
    versions: set[int] | None = None
    offset = _HEADER
    while offset < len(buffer):
        if len(buffer) - offset < 4:
            raise BadFrameError("hello element is cut short")
        kind, length = unpack_from("!HH", buffer, offset)
        if length < 4 or offset + length > len(buffer):
            raise BadFrameError(f"hello element of length {length}")
        if kind == _VERSION_BITMAP:
            if length % 4:
                raise BadFrameError(f"hello version bitmap of length {length}")
            words = unpack_from(f"!{length // 4 - 1}I", buffer, offset + 4)
            versions = {32 * n + bit for n, word in enumerate(words) for bit in range(32) if word >> bit & 1}
        offset += (length + 7) // 8 * 8
    if version < VERSION if versions is None else VERSION not in versions:
        offered = sorted(versions or {version})
        raise BadFrameError(f"peer offers protocol versions {offered}, not OpenFlow 1.3 (set protocols=OpenFlow13)")


def _check_error(buffer: bytes, start: int, end: int) -> None:
    if unpack_from("!H", buffer, start)[0] == _EXPERIMENTER_ERROR and end - start < 8:
        raise BadFrameError(f"experimenter error of {end} bytes")


def _check_experimenter(buffer: bytes, start: int, end: int) -> None:
    """Answers about bundles; we use nothing else of any experimenter that is answered."""
    experimenter, number, _, kind = unpack_from("!IIIH", buffer, start)
    if (experimenter, number) != (ONF_EXPERIMENTER, BUNDLE_CONTROL) or kind not in _BUNDLE_REPLIES:
        raise BadFrameError(
            f"experimenter {experimenter:#x} message {number}, kind {kind}, is not for a switch to send"
        )
    lists.bundle_properties(buffer, start + 16, end)


def _check_packet_in(buffer: bytes, start: int, end: int) -> None:
    behind = lists.match(buffer, start + 16, end)
    if end - behind < 2:
        raise BadFrameError("packet-in ends in its match")
    total = unpack_from("!H", buffer, start + 4)[0]
    if total < end - behind - 2:
        raise BadFrameError(f"packet-in of a packet of {total} bytes with {end - behind - 2}")


def _check_flow_removed(buffer: bytes, start: int, end: int) -> None:
    if lists.match(buffer, start + 40, end) != end:
        raise BadFrameError("flow-removed goes on behind its match")


def _check_port_status(buffer: bytes, start: int, _end: int) -> None:
    if buffer[start] > _MAX_PORT_REASON:
        raise BadFrameError(f"port-status with reason {buffer[start]}")


def _check_queues(buffer: bytes, start: int, end: int) -> None:
    lists.queues(buffer, start + 8, end)


_CHECKS: dict[int, Walk] = {
    MessageType.ERROR: _check_error,
    MessageType.EXPERIMENTER: _check_experimenter,
    MessageType.PACKET_IN: _check_packet_in,
    MessageType.FLOW_REMOVED: _check_flow_removed,
    MessageType.PORT_STATUS: _check_port_status,
    MessageType.MULTIPART_REPLY: check_statistics,
    MessageType.QUEUE_GET_CONFIG_REPLY: _check_queues,
}
