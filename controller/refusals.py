"""Who was refused, at whichever door and for whatever reason: lines in the log, and words in the status for a while.

A hostile peer may come back a thousand times a second, so a reason that goes on is one line, an address gets at most
one line a second, and a bounded number of addresses, and of reasons for each, is remembered.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

LOG = logging.getLogger(__name__)

#: Seconds that a refusal stays in the status.
REMEMBERED = 300.0
#: How many addresses do, and how many refusals of each.
MOST_ADDRESSES = 64
MOST_REASONS = 8
_BETWEEN_LINES = 1.0  # seconds, about one address
_Item = TypeVar("_Item")


@dataclass(slots=True)
class _Refusal:
    times: int = 0
    last: float = 0.0
    told: bool = False


@dataclass(slots=True)
class _Address:
    next_line: float
    untold: int = 0
    refusals: OrderedDict[str, _Refusal] = field(default_factory=OrderedDict)


class Refusals:
    """``clock`` gives seconds; ``count`` is how many refusals there were."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        self._clock = clock
        self._addresses: OrderedDict[str, _Address] = OrderedDict()

    def note(self, what: str, address: str, reason: str) -> None:
        """The connection, or the request, of ``what`` ("OpenFlow connection from") ``address`` is refused."""
        self.count += 1
        now = self._clock()
        known = _last(self._addresses, address, MOST_ADDRESSES, lambda: _Address(now))
        refusal = _last(known.refusals, f"{what} {address}: {reason}", MOST_REASONS, _Refusal)
        if now - refusal.last > REMEMBERED:
            refusal.told = False
        refusal.times, refusal.last = refusal.times + 1, now
        if refusal.told or now < known.next_line:
            known.untold += 1
            return
        more = f" ({known.untold} more since the last line)" if known.untold else ""
        LOG.warning("%s %s is refused: %s%s", what, address, reason, more)
        known.next_line, known.untold, refusal.told = now + _BETWEEN_LINES, 0, True

    def problems(self) -> list[str]:
        """The refusals of the last minutes, in words for the status."""
        now = self._clock()
        found = []
        for known in self._addresses.values():
            for text, refusal in known.refusals.items():
                ago = now - refusal.last
                times = f", {refusal.times} times" if refusal.times > 1 else ""
                if ago <= REMEMBERED:
                    found.append(f"refused: {text} ({ago:.0f} s ago{times})")
        return found


def _last(items: OrderedDict[str, _Item], key: str, most: int, make: Callable[[], _Item]) -> _Item:
    """The item of ``key``, which becomes the youngest; of more than ``most`` the oldest goes."""
    if key not in items:
        items[key] = make()
        if len(items) > most:
            items.popitem(last=False)
    items.move_to_end(key)
    return items[key]
