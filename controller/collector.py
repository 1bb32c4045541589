"""Keeps Python's cycle collector away from what stays.

It goes through all objects that live for long whenever they have become a quarter more.  A controller of 500 hosts has
ten million of them, nearly all values in no cycle, and a look at each stops everything else for seconds: echoes are
late, and switches that wait for them take the controller for dead.  So what is there after a host's flows have come
is set aside; what is in no cycle is freed as ever.  Connections are in cycles: after many have gone, everything
is looked at.
"""

from __future__ import annotations

import gc

#: New objects between two looks.  While a hundred thousand flows come, each look walks through what is there: with
#: Python's 700 that is a third of the time of a first synchronisation.  What is really cyclic waits longer: some ten
#: megabytes at most.
_NEW_OBJECTS = 100_000
#: Lost connections between two looks at everything; each keeps some 100 kB until then.
_LOSSES = 1024


class Collector:
    """Sets aside, and counts what may be lost thereby."""

    def __init__(self) -> None:
        self._losses = 0

    def set_aside(self) -> None:
        """Much has come that will stay; young garbage goes first."""
        gc.collect(1)
        gc.freeze()

    def lost(self) -> None:
        """A connection has gone, which may leave cycles behind."""
        self._losses += 1
        if self._losses % _LOSSES == 0:
            gc.unfreeze()
            gc.collect()


def collect_rarely() -> None:
    """Look for cycles less often than Python does by itself, for the whole process."""
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
