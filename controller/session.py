"""What the rest of the controller asks of a conversation with a switch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from flowrules.counters import FlowCount
from flowrules.decode import InstalledFlow
from flowrules.live import LiveFlow
from flowrules.meters import Meter


class Session(Protocol):
    """What :class:`controller.openflow.OpenFlowSession` offers."""

    def apply(self, deletes: Sequence[bytes], adds: Sequence[bytes]) -> None:
        """Send flow-mods; see :meth:`controller.openflow.OpenFlowSession.apply`."""

    def dump(self) -> list[InstalledFlow]:
        """Read all flows back."""

    def dump_live(self) -> Iterator[list[LiveFlow]]:
        """Read all flows back whole, in pieces."""

    def counts(self, table: int) -> list[FlowCount]:
        """What the flows of a table have counted."""

    def ports(self) -> dict[str, int]:
        """Port numbers by name."""

    def flush_zone(self, *zones: int) -> None:
        """Forget the connections of conntrack zones."""

    def meters(self) -> list[Meter]:
        """Read all meters back."""

    def set_meters(self, messages: Sequence[bytes]) -> None:
        """Send meter-mods."""

    def on_packet_in(self, receiver: Callable[[Any, bytes], None]) -> None:
        """Hand over the body of every packet-in."""

    def emit(self, message: bytes) -> None:
        """Send a message that nobody answers."""

    @property
    def address(self) -> str:
        """Where the switch has connected from."""

    def is_there(self, patience: float) -> bool:
        """Does the switch say anything within so many seconds?"""

    def close(self) -> None:
        """End the session."""

    def hang_up(self) -> None:
        """End the session and its connection."""
