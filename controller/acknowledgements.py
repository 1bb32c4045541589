"""Who waits for which hosts: each acknowledgement costs those who wait for it, whatever else there is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from eventlet.event import Event


@dataclass(slots=True, eq=False)
class _Wait:
    revision: int
    hosts: set[str]
    over: Event = field(default_factory=Event)


class Acknowledgements:
    """Waits of callers for hosts to have a revision."""

    def __init__(self) -> None:
        self._waits: list[_Wait] = []

    def wait(self, revision: int, hosts: Collection[str]) -> None:
        """Wait until each of ``hosts`` has been seen with ``revision``, or out of reach."""
        mine = _Wait(revision, set(hosts))
        self._waits.append(mine)
        try:
            mine.over.wait()
        finally:
            self._waits.remove(mine)

    def settled(self, host: str, has: Callable[[int], bool] | None) -> None:
        """``host`` has every revision of which ``has`` says so; None = it is out of reach."""
        for one in self._waits:
            if host in one.hosts and (has is None or has(one.revision)):
                one.hosts.remove(host)
                if not one.hosts and not one.over.ready():
                    one.over.send()
