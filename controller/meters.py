"""The meters of one bridge: there before the first flow that needs them, gone after the last."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from flowrules.meters import Meter, meter_add, meter_delete, meter_modify, ours


class Session(Protocol):
    """What :class:`controller.openflow.OpenFlowSession` offers."""

    def set_meters(self, messages: Sequence[bytes]) -> None:
        """Send meter-mods."""

    def meters(self) -> list[Meter]:
        """Read all meters back."""


class BridgeMeters:
    """What the switch has acknowledged; nothing until :meth:`read`."""

    def __init__(self) -> None:
        self.mods = 0
        self._installed: dict[int, Meter] = {}

    def read(self, session: Session) -> None:
        """Take over what the switch says; meters that are not ours are left alone."""
        self._installed = {meter.id: meter for meter in session.meters() if ours(meter.id)}

    def prepare(self, session: Session, wanted: Collection[Meter]) -> None:
        """Install what flows are about to name."""
        changed = [meter for meter in wanted if self._installed.get(meter.id) != meter]
        self._send(
            session,
            [meter_modify(meter) if meter.id in self._installed else meter_add(meter) for meter in changed],
        )
        self._installed.update({meter.id: meter for meter in changed})

    def prune(self, session: Session, wanted: Collection[Meter]) -> None:
        """Remove what no flow names any more."""
        stale = self._installed.keys() - {meter.id for meter in wanted}
        self._send(session, [meter_delete(self._installed[number]) for number in sorted(stale)])
        for number in stale:
            del self._installed[number]

    def _send(self, session: Session, messages: list[bytes]) -> None:
        if messages:
            session.set_meters(messages)
            self.mods += len(messages)
