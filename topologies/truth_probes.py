"""Real packets between the namespaces of a lab, many at once, and who receives them.

Every namespace has an ear (``packet(7)``) and answers as a guest would: TCP by listening, UDP by echoing, ICMP by its
kernel.  A probe that must not arrive is not waited for: a marker, which every rule set of the truth table allows, goes
the same way before it and after it.  Open vSwitch's userspace datapath handles what comes in by one port in order, so
when the marker has arrived and the probe has not, it never will.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import selectors
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from errno import EHOSTUNREACH, EINPROGRESS, ENETUNREACH
from ipaddress import ip_address
from pathlib import Path

from topologies.errors import LabError
from topologies.oracle import DENIED, OUTSIDE, Question, Sender, Service, Verdict
from topologies.truth_packets import Heard, echo_request, read

_CLONE_NEWNET = 0x40000000
_ALL = socket.htons(0x0003)  # ETH_P_ALL
_RCVBUFFORCE = 33  # SO_RCVBUFFORCE of Linux
_ICMP, _TCP, _UDP, _ICMPV6 = 1, 6, 17, 58
_FIRST_PORT = 10000  # below the kernel's own ephemeral ports
_PATIENCE = 6.0
_AGAIN = 0.4
_BURST = 16
_TOKEN = b"sluice-truth-"


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Let this thread make sockets in a named network namespace for the length of a ``with``."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open("rb") as home, Path("/run/netns", namespace).open("rb") as there:
        if libc.setns(there.fileno(), _CLONE_NEWNET):
            raise LabError(f"namespace {namespace} cannot be entered: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            if libc.setns(home.fileno(), _CLONE_NEWNET):
                raise LabError("the way back out of a network namespace is lost")


@dataclass(slots=True)
class Probe:
    """A question asked with a real packet, and what came of it: who heard it, and whether an answer came back.

    ``key`` tells its packets from all others; ``expected`` is what must come of it.
    """

    question: Question
    expected: Verdict
    key: int
    heard: list[Verdict] = field(default_factory=list)
    answered: bool = False
    tries: list[socket.socket] = field(default_factory=list)

    @property
    def answerable(self) -> bool:
        """Does the far end's kernel, or our echo, answer this?"""
        return self.question[2].protocol in (_ICMP, _TCP, _UDP, _ICMPV6)

    @property
    def settled(self) -> bool:
        """Has all that is expected come?"""
        return bool(self.heard) and (self.answered or not self.answerable)

    def close(self) -> None:
        """End its sockets."""
        while self.tries:
            self.tries.pop().close()

    @property
    def difference(self) -> str | None:
        """How what happened differs from what must, in words; None = not at all."""
        sender, destination, service = self.question
        what = f"{sender} -> {destination} {service}"
        strange = [one for one in self.heard if one != self.expected]
        if strange:
            return f"{what}: a real packet arrived as {strange[0]}, expected {self.expected}"
        if self.expected == DENIED:
            return f"{what}: a real answer came back, expected none" if self.answered else None
        if not self.heard:
            return f"{what}: a real packet did not arrive, expected {self.expected}"
        return None if self.settled else f"{what}: a real packet arrived, its answer did not come back"


class Probes:
    """Ears and sockets in all ``places``: namespaces by interface, and that of the hosts outside by OUTSIDE."""

    def __init__(self, places: Mapping[str, str], marker_port: int) -> None:
        self._places = places
        self._marker = Service(_UDP, marker_port)
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self._servers: set[tuple[str, str, int, int]] = set()
        self._known: dict[int, Probe] = {}
        self._keys = itertools.count(_FIRST_PORT)

    def __enter__(self) -> Probes:
        for name, namespace in self._places.items():
            with inside(namespace):
                ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, _ALL)
            ear.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, 32 << 20)
            ear.setblocking(False)
            self._sockets.append(ear)
            self._selector.register(ear, selectors.EVENT_READ, (self._hear, name))
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for each in self._sockets:
            each.close()
        for probe in self._known.values():
            probe.close()

    def ask(self, questions: Mapping[Question, Verdict], markers: Mapping[Question, Verdict]) -> list[Probe]:
        """Send a packet for each question and say what came of it; ``markers`` go before and after all of them.

        Returns the probes, and those of markers that did not arrive.
        """
        before = self._send(markers)
        self._wait(before, again=True)
        probes = self._send(questions)
        after = self._send(markers)
        self._wait(after, again=True)
        self._wait([probe for probe in probes if probe.expected != DENIED], again=False)
        for probe in (*before, *probes, *after):
            probe.close()
        return [*probes, *(probe for probe in (*before, *after) if probe.difference)]

    def marker(self, sender: Sender, destination: str) -> Question:
        """The question that everybody may ask everybody."""
        return sender, destination, self._marker

    # Sending.

    def _send(self, questions: Mapping[Question, Verdict]) -> list[Probe]:
        probes = [Probe(question, expected, next(self._keys)) for question, expected in questions.items()]
        for probe in probes:
            self._known[probe.key] = probe
            if probe.expected.receiver is not None:
                self._serve(probe.expected.receiver, probe.expected.destination, probe.question[2])
        for number, probe in enumerate(probes):
            self._try(probe)
            if number % _BURST == 0:
                self._listen(0.002)
        return probes

    def _try(self, probe: Probe) -> None:
        sender, destination, service = probe.question
        family = socket.AF_INET6 if ip_address(destination).version == 6 else socket.AF_INET
        namespace = self._places[sender.interface or OUTSIDE]
        with inside(namespace):
            made = self._socket(family, service, probe.key, sender.address)
        probe.tries.append(made)
        try:
            if service.protocol == _TCP:
                made.connect((destination, service.port))
            elif service.protocol == _UDP:
                made.sendto(_token(probe.key), (destination, service.port))
            elif service.protocol in (_ICMP, _ICMPV6):
                made.sendto(echo_request(service.port, service.code, probe.key), (destination, 0))
            else:
                made.sendto(_token(probe.key), (destination, 0))
        except OSError as error:
            # An address that nobody has is looked for in vain, and the kernel says so: then nothing could be sent.
            if error.errno not in (EINPROGRESS, EHOSTUNREACH, ENETUNREACH):
                raise

    @staticmethod
    def _socket(family: int, service: Service, key: int, source: str) -> socket.socket:
        kinds = {_TCP: socket.SOCK_STREAM, _UDP: socket.SOCK_DGRAM}
        kind = kinds.get(service.protocol, socket.SOCK_RAW)
        made = socket.socket(family, kind, service.protocol if kind == socket.SOCK_RAW else 0)
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((source, key if service.protocol in kinds else 0))
        return made

    def _serve(self, place: str, address: str, service: Service) -> None:
        wanted = (place, address, service.protocol, service.port)
        if service.protocol not in (_TCP, _UDP) or wanted in self._servers or place not in self._places:
            return
        self._servers.add(wanted)
        family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
        kind = socket.SOCK_STREAM if service.protocol == _TCP else socket.SOCK_DGRAM
        with inside(self._places[place]):
            made = socket.socket(family, kind)
        self._sockets.append(made)
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # the guest serves that port itself
            made.bind((address, service.port))
            if service.protocol == _TCP:
                made.listen(128)
            else:
                self._selector.register(made, selectors.EVENT_READ, (self._echo, place))

    # Listening.

    def _wait(self, probes: list[Probe], *, again: bool) -> None:
        """Until all have settled or the patience is over; what did not arrive is sent ``again``, if asked to."""
        deadline, repeat = time.monotonic() + _PATIENCE, time.monotonic() + _AGAIN
        while not all(probe.settled for probe in probes) and time.monotonic() < deadline:
            self._listen(0.02)
            if again and time.monotonic() > repeat:
                repeat += _AGAIN
                for probe in probes:
                    if not probe.settled:
                        probe.close()
                        self._try(probe)
        self._listen(0.0)

    def _listen(self, seconds: float) -> None:
        while ready := self._selector.select(seconds):
            for key, _ in ready:
                handle, place = key.data
                handle(key.fileobj, place)
            seconds = 0.0

    def _hear(self, ear: socket.socket, place: str) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, address = ear.recvfrom(65536)
                if address[2] not in (socket.PACKET_OUTGOING, socket.PACKET_OTHERHOST):
                    heard = read(frame, _TOKEN)
                    if heard is not None:
                        self._note(place, heard)

    def _note(self, place: str, heard: Heard) -> None:
        probe = self._known.get(heard.key)
        if probe is None:
            return
        sender, destination, service = probe.question
        if heard.answer:
            if (place, heard.source) == (
                sender.interface or OUTSIDE,
                destination,
            ) and heard.protocol == service.protocol:
                probe.answered = True
            return
        if heard.protocol == service.protocol and heard.service in (None, service.port):
            arrived = Verdict(place, heard.source, heard.destination)
            if arrived not in probe.heard:
                probe.heard.append(arrived)

    def _echo(self, server: socket.socket, _place: str) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            while True:
                data, client = server.recvfrom(2048)
                server.sendto(data, client)


def _token(key: int) -> bytes:
    return _TOKEN + key.to_bytes(4, "big")
