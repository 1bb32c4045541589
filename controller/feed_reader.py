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
from dataclasses import asdict
from pathlib import Path
from typing import Any

from channel.frames import pack
from econe_api.config import Config, ConfigError, load
from econe_api.store.engine import create_schema, make_engine
from econe_api.store.errors import StoreError
from econe_api.store.feed import Feed
from econe_api.store.records import Batch

POLL = 0.5
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
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the one line that the caller reads
        return 1
    except BrokenPipeError:
        return 0
    return 0


def _follow(config: Config) -> None:
    feed: Feed | None = None
    revision: int | None = None
    problem: str | None = None
    while True:
        try:
            if feed is None:
                engine = make_engine(config.database)
                create_schema(engine)
                feed = Feed(engine)
            batch = feed.snapshot() if revision is None else feed.since(revision)
        except (StoreError, OSError) as error:
            text = f"the store cannot be read: {str(error).splitlines()[0]}"
            if text != problem:
                _write({"problem": text})
            problem = text
        else:
            if problem is not None or revision is None or batch.full or batch.revision != revision:
                _write_batch(batch)
            revision, problem = batch.revision, None
        if not _wait():
            return


def _wait() -> bool:
    """Sleep until poked or until it is time to look; False when the controller is gone."""
    readable, _, _ = select.select([0], [], [], POLL)
    return not readable or bool(os.read(0, 65536))


def _write_batch(batch: Batch) -> None:
    changes = batch.changes
    pieces = range(0, max(len(changes), 1), _PER_FRAME)
    for start in pieces:
        part = changes[start : start + _PER_FRAME]
        _write(
            {
                "revision": batch.revision,
                "full": batch.full,
                "last": start + _PER_FRAME >= len(changes),
                "changes": [
                    [change.kind.value, change.key, asdict(change.record) if change.record else None] for change in part
                ],
            }
        )


def _write(message: dict[str, Any]) -> None:
    data = memoryview(pack(message))
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    sys.exit(main())
