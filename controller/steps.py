"""Long work in pieces, so that the one thread also answers echoes, acknowledgements and other bridges meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import eventlet

#: Fragments or flows that are worked on before others get a turn: about 10 ms.
STEP = 500
_Item = TypeVar("_Item")


def in_steps(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """``items`` in parts, with a turn for others between two parts; few items are one part and give nobody a turn."""
    for start in range(0, len(items), STEP):
        if start:
            eventlet.sleep(0)
        yield items[start : start + STEP]
