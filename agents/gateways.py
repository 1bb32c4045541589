"""Which MAC the gateways of the public network have: asked by ARP on the uplink, and asked again, since it may change.

The probe has no sender address (RFC 5227 section 2.1.1), so that nobody's cache takes this host for an address that it
has not.  Only an answer to this host counts.  What others say about a gateway makes it be asked again at once: a router
that takes over announces itself.
"""

from __future__ import annotations

import ctypes
import logging
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from struct import Struct

_LOG = logging.getLogger(__name__)
UNKNOWN_S = 1.0
"""Seconds between probes for a gateway that has not answered yet."""
KNOWN_S = 10.0
"""Seconds between probes for one that has."""
_HINT_S = 0.1
_REOPEN_S = 5.0
_ARP = Struct("!6s6sHHHBBH6s4s6s4s")
_KIND = (0x0806, 1, 0x0800, 6, 4)
_BROADCAST = b"\xff" * 6
_REQUEST, _REPLY = 1, 2
_EVERY_PROTOCOL = 0x0003
_SO_ATTACH_FILTER = 26


@dataclass(frozen=True, slots=True)
class Heard:
    """An ARP packet from ``address`` with ``mac``; ``answer`` = a reply to this host."""

    address: str
    mac: str
    answer: bool


def probe(own: bytes, address: str) -> bytes:
    """The frame that asks who has ``address``, from the MAC ``own``."""
    target = IPv4Address(address).packed
    return _ARP.pack(_BROADCAST, own, *_KIND, _REQUEST, own, bytes(4), bytes(6), target)


def read(frame: bytes, own: bytes) -> Heard | None:
    """What an ARP frame says about its sender; None when it is none, or says nothing that can be used."""
    if len(frame) < _ARP.size:
        return None
    target, _, *kind, operation, mac, address, _, _ = _ARP.unpack_from(frame)
    usable = tuple(kind) == _KIND and operation in (_REQUEST, _REPLY) and not mac[0] & 1 and any(mac)
    if not usable:
        return None
    return Heard(str(IPv4Address(address)), mac.hex(":"), operation == _REPLY and target == own)


class Asked:
    """What is known of the gateways and when to ask next.  Pure: times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self._due: dict[str, float] = {}

    def want(self, addresses: Iterable[str], now: float) -> None:
        """Make these the gateways that matter; what is known of others is forgotten."""
        wanted = set(addresses)
        if wanted != self._due.keys():
            self._due = {address: self._due.get(address, now) for address in wanted}
            self.known = {address: mac for address, mac in self.known.items() if address in wanted}

    def take(self, now: float) -> list[str]:
        """Return the gateways to probe now."""
        due = sorted(address for address, when in self._due.items() if when <= now)
        for address in due:
            self._due[address] = now + (KNOWN_S if address in self.known else UNKNOWN_S)
        return due

    def hear(self, heard: Heard, now: float) -> None:
        """Take an ARP packet in."""
        if heard.address not in self._due or self.known.get(heard.address) == heard.mac:
            return
        if heard.answer:
            self.known[heard.address] = heard.mac
            self._due[heard.address] = now + KNOWN_S
        else:
            self._due[heard.address] = min(self._due[heard.address], now + _HINT_S)

    @property
    def deadline(self) -> float | None:
        """When :meth:`take` is due; None while nothing is wanted."""
        return min(self._due.values(), default=None)


class Resolver:
    """Asks on the device ``uplink`` for the gateways that :meth:`want` names; nothing here blocks or raises."""

    def __init__(self, uplink: str | None) -> None:
        self._uplink = uplink
        self._asked = Asked()
        self._socket: socket.socket | None = None
        self._not_before = 0.0
        self.problem: str | None = None

    @property
    def known(self) -> tuple[tuple[str, str], ...]:
        """Gateways and their MACs, in order."""
        return tuple(sorted(self._asked.known.items()))

    @property
    def wants(self) -> tuple[int, bool] | None:
        """Descriptor to wait on for reading, and that it is not for writing."""
        return None if self._socket is None else (self._socket.fileno(), False)

    @property
    def deadline(self) -> float | None:
        """When :meth:`run` is due, on the monotonic clock."""
        due = self._asked.deadline
        return None if due is None else max(due, self._not_before)

    def run(self, addresses: Iterable[str], now: float) -> None:
        """Hear what there is to hear and ask what is due; ``addresses`` are the gateways that matter."""
        if self._uplink is None:
            return
        self._asked.want(addresses, now)
        if self._asked.deadline is None:
            self.close()
            return
        if now < self._not_before:
            return
        try:
            if self._socket is None:
                self._socket = _listen(self._uplink)
            self._talk(self._socket, now)
            self.problem = None
        except OSError as error:
            self.close()
            self._not_before = now + _REOPEN_S
            self.problem = f"gateways cannot be asked for on {self._uplink}: {error.strerror}; give their pools a MAC"

    def close(self) -> None:
        """Stop listening."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _talk(self, wire: socket.socket, now: float) -> None:
        own = wire.getsockname()[4]
        while True:
            try:
                frame, sender = wire.recvfrom(128)
            except BlockingIOError:
                break
            heard = read(frame, own) if sender[2] != socket.PACKET_OUTGOING else None
            if heard is not None:
                self._asked.hear(heard, now)
        for address in self._asked.take(now):
            wire.send(probe(own, address))


def _listen(device: str) -> socket.socket:
    """A raw socket on ``device`` that hears ARP alone.

    It is opened for every protocol, since the kernel's Open vSwitch takes packets before the listeners of one; the
    filter keeps everything else from waking this process.
    """
    # Closed until it is bound, so that nothing from other devices is heard.
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        instruction = Struct("=HBBI")
        program = b"".join(
            (
                instruction.pack(0x28, 0, 0, 12),  # load the ethertype
                instruction.pack(0x15, 0, 1, _KIND[0]),  # is it ARP?
                instruction.pack(0x06, 0, 0, 0xFFFF),  # yes: all of it
                instruction.pack(0x06, 0, 0, 0),  # no: nothing
            )
        )
        held = ctypes.create_string_buffer(program, len(program))
        attached = Struct("HL").pack(len(program) // instruction.size, ctypes.addressof(held))
        wire.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, attached)
        wire.bind((device, _EVERY_PROTOCOL))
    except OSError:
        wire.close()
        raise
    return wire
