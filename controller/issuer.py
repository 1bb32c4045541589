"""The child process that issues certificates: it holds the authority's key and writes to the store, and then it ends.

``python -m controller.issuer [--config FILE]`` reads one frame from standard input, ``{"op": "join" or "renew", "host",
"request", "digest" or "serial"}``, and writes one to standard output, ``{"certificate", "serial", "revision",
"error"}``.
So neither a database call nor a key that opens every door is in the process that listens to the network.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from certificates.authority import CertificateError, holder, issue
from certificates.files import AuthorityFolder, FilesError
from channel.frames import FrameReader, pack
from econe_api.config import Config, ConfigError, load
from econe_api.store import hosts
from econe_api.store.errors import StoreError
from econe_api.store.store import Store

_CHUNK = 65536


def main(arguments: list[str] | None = None) -> int:
    """Answer the one question."""
    parser = argparse.ArgumentParser(prog="controller.issuer", description=__doc__)
    parser.add_argument("--config", type=Path, default=None)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the controller, which closes our standard input
    frames = FrameReader()
    while data := os.read(0, _CHUNK):
        for question in frames.feed(data):
            _write(_answer(options.config, question))
            return 0
    return 1


def _answer(file: Path | None, question: Mapping[str, Any]) -> dict[str, Any]:
    try:
        config = load(file)
        store = Store.open(config)
        try:
            return _issue(config, store, question)
        finally:
            store.close()
    except (ConfigError, StoreError, CertificateError, FilesError) as error:
        return {"certificate": None, "serial": None, "revision": None, "error": str(error).splitlines()[0]}


def _issue(config: Config, store: Store, question: Mapping[str, Any]) -> dict[str, Any]:
    name = str(question["host"])
    authority = AuthorityFolder(config.state).authority()
    certificate = issue(authority, name, question["request"], datetime.now(UTC))
    made = holder(certificate)
    if question["op"] == "join":
        revision = hosts.redeem(store, name, str(question["digest"]), made.serial, made.until)
    else:
        revision = hosts.renew(store, name, str(question["serial"]), made.serial, made.until)
    return {"certificate": certificate, "serial": made.serial, "revision": revision, "error": None}


def _write(message: dict[str, Any]) -> None:
    data = memoryview(pack(message))
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    sys.exit(main())
