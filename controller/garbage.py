"""How often Python looks for cycles of garbage in the controller."""

from __future__ import annotations

import gc

#: New objects between two looks.  The controller's flows, records and intents are in no cycles and go by themselves,
#: but while a hundred thousand of them come, each look walks through what is there: with Python's 700 that is a third
#: of the time of a first synchronisation.  What is really cyclic waits longer: some ten megabytes at most.
_NEW_OBJECTS = 100_000


def collect_rarely() -> None:
    """Look for cycles less often than Python does by itself, for the whole process."""
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
