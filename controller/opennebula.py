"""Answers what OpenNebula's network driver asks on a host: by way of the compute worker, and from the flows themselves.

The host is the one whose agent brought the question, never one that the question names.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import eventlet
from eventlet.green import socket
from eventlet.timeout import Timeout

from channel.frames import FrameError, FrameReader, pack
from controller.composer import Composer
from controller.keys import PortKey

_WORKER_PATIENCE = 15.0
"""Seconds that the compute worker has: a transaction may have to wait for others."""
_LONGEST_WAIT = 60.0
_PAUSE = 0.02
_MOST_PORTS = 64


class DriverDesk:
    """Answers one question at a time; any number of greenlets may ask.

    ``worker`` is the compute worker's socket, ``hint`` hears of every revision that somebody waits for.
    """

    def __init__(self, composer: Composer, worker: Path, hint: Callable[[int], None]) -> None:
        self._composer = composer
        self._worker = worker
        self._hint = hint

    def answer(self, host: str, message: Mapping[str, Any]) -> dict[str, Any]:
        """The ``driver_reply`` to a ``driver`` message of ``host`` (docs/architecture.md, "Messages")."""
        reply: dict[str, Any] = {"type": "driver_reply", "id": message.get("id"), "error": None}
        match message.get("question"):
            case {"op": "check" | "take-over" | "forget" as op, "document": str(document)}:
                found = self._ask(host, {"op": op, "document": document})
            case {
                "op": "filtered",
                "revision": int(revision),
                "interfaces": list(names),
                "timeout": int() | float() as bound,
            } if 0 <= bound <= _LONGEST_WAIT and len(names) <= _MOST_PORTS:
                found = self._filtered(host, revision, [str(name) for name in names], bound)
            case _:
                found = {"ok": False, "error": "not a question that the controller knows"}
        return reply | {"answer": found}

    def _ask(self, host: str, question: dict[str, Any]) -> dict[str, Any]:
        """Have the compute worker read a document, and what comes of it written."""
        try:
            with Timeout(_WORKER_PATIENCE, OSError(f"no answer within {_WORKER_PATIENCE:g} s")):
                return self._exchange({"op": "opennebula", "host": host, "question": question})
        except (OSError, FrameError) as error:
            cause = (error.strerror if isinstance(error, OSError) else None) or str(error)
            return {"ok": False, "error": f"the compute worker gives no answer ({cause}); see that it runs"}

    def _exchange(self, message: Mapping[str, Any]) -> dict[str, Any]:
        reader = FrameReader()
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            peer.connect(str(self._worker))
            peer.sendall(pack(message))
            while data := peer.recv(65536):
                for reply in reader.feed(data):
                    return reply
        finally:
            peer.close()
        raise OSError("it closed the connection")

    def _filtered(self, host: str, revision: int, interfaces: list[str], timeout: float) -> dict[str, Any]:
        """Wait until ``revision`` is known, the interfaces are at ``host`` and its switch has all of their flows.

        With no interfaces: until the host's switch has what ``revision`` asks of it.
        """
        self._hint(revision)
        floor: int | None = None
        deadline = time.monotonic() + timeout
        while True:
            why = self._unknown(host, revision, interfaces)
            # Marks carry the revision that was known when they were made, also those that a new port made: so this
            # waits for all of them, and for none that comes later.
            floor = None if why else self._composer.world.revision if floor is None else floor
            if floor is not None:
                why = self._unenforced(host, floor, interfaces)
            if not why:
                return {"ok": True}
            if time.monotonic() >= deadline:
                return {"ok": False, "error": f"not filtered within {timeout:g} s: {why}"}
            eventlet.sleep(_PAUSE)

    def _unknown(self, host: str, revision: int, interfaces: list[str]) -> str:
        """What is not known yet, in words; "" = nothing."""
        composer = self._composer
        bridge = composer.bridges.get(host)
        if not composer.loaded or composer.world.revision < revision:
            return f"the controller has not read revision {revision}"
        if bridge is None or bridge.session is None or not bridge.synced:
            return f"the switch of {host} is not connected"
        for interface in interfaces:
            place = composer.index.places.get(interface)
            if place is None or place.host != host:
                where = "nowhere" if place is None else f"at {place.host}"
                return f"{interface} is plugged in {where}, as far as the agents say"
        return ""

    def _unenforced(self, host: str, floor: int, interfaces: list[str]) -> str:
        """What the switch has not acknowledged yet, in words; "" = nothing."""
        bridge = self._composer.bridges[host]
        for interface in interfaces:
            key = PortKey(interface)
            if key in bridge.desired.problems:
                return bridge.desired.problems[key]
            if key not in bridge.desired.fragments:
                return f"the flows of {interface} are being made"
        return "" if bridge.has_installed(floor) else f"the switch of {host} has not acknowledged them"
