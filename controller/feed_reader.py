"""The child process that reads the store, so that no database call can stall the controller.

``python -m controller.feed_reader [--config FILE]`` writes the batches as frames to standard output.  Standard input is
the wake-up line: any byte means "look now"; its end means "the controller is gone".  Without a wake-up the store is
looked at every ``POLL`` seconds, because a hint may get lost and polling may not.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from channel.frames import pack
from controller.feed_changes import written
from econe_api.config import Config, ConfigError, load
from econe_api.store.engine import check_schema, make_engine
from econe_api.store.errors import StoreError
from econe_api.store.feed import Feed
from econe_api.store.records import Batch

POLL = 0.5
#: Seconds that a look waits for somebody else's lock.
PATIENCE = 5.0
#: Changes per frame; a first snapshot of a big cloud comes in several.
_PER_FRAME = 5_000


def main(arguments: list[str] | None = None) -> int:
    """Follow the store until standard input ends."""
    parser = argparse.ArgumentParser(prog="controller.feed_reader", description=__doc__)
    parser.add_argument("--config", type=Path, default=None)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the controller, which closes our standard input
    try:
        _follow(load(options.config))
    except (ConfigError, StoreError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - the one line that the caller reads
        return 1
    except BrokenPipeError:
        return 0
    return 0


class _Source:
    """A database that may go and come back; it is never made here.

    An empty database in the place of the cloud's would mean "forget everything" to whoever follows it.
    """

    def __init__(self, database: str) -> None:
        self._engine = make_engine(database, PATIENCE)
        self._path = str(self._engine.url.database) if self._engine.dialect.name == "sqlite" else None
        self._feed: Feed | None = None
        self._file: tuple[int, int] | None = None

    def read(self, revision: int | None) -> Batch:
        """Return what has changed since ``revision``, None = everything; raises StoreError."""
        file = self._identity()
        if self._feed is None or file != self._file:
            # Open connections would go on reading an SQLite file that has been deleted or replaced.
            self._engine.dispose()
            self._feed = None
            check_schema(self._engine)
            self._feed, self._file = Feed(self._engine), file
            return self._feed.snapshot()
        return self._feed.snapshot() if revision is None else self._feed.since(revision)

    def _identity(self) -> tuple[int, int] | None:
        """Device and inode of an SQLite file; None when it is not there, and for a database behind a server."""
        if self._path is None:
            return None
        try:
            found = os.stat(self._path)  # noqa: PTH116 - at each look; a Path takes longer than the call
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


def _follow(config: Config) -> None:
    source = _Source(config.database)
    revision: int | None = None
    problem: str | None = None
    while True:
        try:
            batch = source.read(revision)
        except (StoreError, OSError) as error:
            text = f"the store cannot be read: {str(error).splitlines()[0]}"
            if text != problem:
                _write({"problem": text})
            problem = text
        else:
            if problem is not None or revision is None or batch.full or batch.revision != revision:
                for message in messages(batch):
                    _write(message)
            revision, problem = batch.revision, None
        if not _wait():
            return


def _wait() -> bool:
    """Sleep until poked or until it is time to look; False when the controller is gone."""
    readable, _, _ = select.select([0], [], [], POLL)
    return not readable or bool(os.read(0, 65536))


def messages(batch: Batch, per_frame: int = _PER_FRAME) -> Iterator[dict[str, Any]]:
    """Yield ``batch`` as messages of at most ``per_frame`` changes; controller.feed_follower reads them."""
    changes = batch.changes
    for start in range(0, max(len(changes), 1), per_frame):
        part = changes[start : start + per_frame]
        yield {
            "revision": batch.revision,
            "full": batch.full,
            "last": start + per_frame >= len(changes),
            "requests": batch.requests,
            "changes": [written(change) for change in part],
        }


def _write(message: dict[str, Any]) -> None:
    data = memoryview(pack(message))
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    sys.exit(main())
