"""Answers the agents' metadata services: whose port asked, and what may its instance know of itself?

A port is known by its host, its number and a byte of its MAC: all three come from the switch, never from what the
instance says.  The facts come from the store at every question, so that they are never older than the last call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from controller.facts import FactsError
from controller.index import Index, Place
from flowrules.addresses import mac_to_int


class Source(Protocol):
    """Where facts come from."""

    def prepare(self) -> None:
        """Be ready: a question may come soon."""

    def of(self, interface: str) -> Mapping[str, Any] | None:
        """The facts of the instance with this interface; None = there is none.  Raises FactsError."""


class MetadataDesk:
    """Answers one question at a time; any number of greenlets may ask."""

    def __init__(self, index: Callable[[], Index], source: Source) -> None:
        self._index = index
        self._source = source

    def prepare(self) -> None:
        """Be ready: a host has a metadata service."""
        self._source.prepare()

    def answer(self, host: str, question: Mapping[str, Any]) -> dict[str, Any]:
        """The ``metadata_reply`` to a ``metadata`` message of ``host`` (docs/architecture.md, "Messages")."""
        reply: dict[str, Any] = {"type": "metadata_reply", "id": question.get("id"), "facts": None, "error": None}
        ofport, mac = question.get("ofport"), question.get("mac")
        interface = self._interface(host, ofport, mac)
        if interface is None:
            return reply | {"error": f"nobody that the store knows is at port {ofport!r}"}
        try:
            facts = self._source.of(interface)
        except FactsError as error:
            return reply | {"error": str(error)}
        if facts is None or self._interface(host, ofport, mac) != interface:
            return reply | {"error": f"the instance at port {ofport!r} is just ending or beginning"}
        return reply | {"facts": facts}

    def _interface(self, host: str, ofport: object, mac: object) -> str | None:
        index = self._index()
        ports = index.hosts.get(host)
        for interface, binding in ports.interfaces.items() if ports is not None else ():
            record = index.interfaces.get(interface)
            if binding.ofport != ofport or record is None or mac_to_int(record.mac) & 0xFF != mac:
                continue
            # An interface that is being moved is plugged in twice, and that of a strange MAC is nobody's.
            return interface if index.places.get(interface) == Place(host, binding.ofport) else None
        return None
