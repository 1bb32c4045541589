"""The child process that reads what instances may know of themselves, so that no database call stalls the controller.

``python -m controller.facts_reader [--config FILE]`` answers frames on standard input, ``{"id", "interface"}``, with
frames on standard output, ``{"id", "facts", "error"}``.  It is not the reader of the feed: questions of instances must
not hold up changes of rules.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from channel.frames import FrameReader, pack
from econe_api.config import Config, ConfigError, load
from econe_api.store.engine import check_schema, make_engine
from econe_api.store.errors import StoreError
from econe_api.store.instance_facts import read_facts

#: Seconds that a question waits for somebody else's lock.
_PATIENCE = 1.0
_CHUNK = 65536


def main(arguments: list[str] | None = None) -> int:
    """Answer until standard input ends."""
    parser = argparse.ArgumentParser(prog="controller.facts_reader", description=__doc__)
    parser.add_argument("--config", type=Path, default=None)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the controller, which closes our standard input
    try:
        config = load(options.config)
        engine = make_engine(config.database, _PATIENCE)
        check_schema(engine)
    except (ConfigError, StoreError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - the one line that the caller reads
        return 1
    frames = FrameReader()
    try:
        while data := os.read(0, _CHUNK):
            for question in frames.feed(data):
                _write(_answer(engine, config, question))
    except BrokenPipeError:
        return 0
    return 0


def _answer(engine: Engine, config: Config, question: Mapping[str, Any]) -> dict[str, Any]:
    number = question["id"]
    try:
        return {"id": number, "facts": read_facts(engine, config, str(question["interface"])), "error": None}
    except StoreError as error:
        return {"id": number, "facts": None, "error": str(error).splitlines()[0]}


def _write(message: dict[str, Any]) -> None:
    data = memoryview(pack(message))
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    sys.exit(main())
