"""The anchor: a small file that names the newest entry of the audit log, out of reach of who can write the database.

It moves forward only along the chain that it stands on, so that a log which was cut off and went on stays found out.
Every process of a machine that writes the store moves the same file, under its lock.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from econe_api.store.audit_log import Head, Sealer
from econe_api.store.errors import StoreError

_log = logging.getLogger(__name__)
_WIDTH = 256
_WHAT = "anchor"


class Anchor:
    """The anchor file at ``path``."""

    def __init__(self, path: Path, sealer: Sealer) -> None:
        self._path = path
        self._sealer = sealer
        self._complained = False
        self._own: tuple[bytes, Head] | None = (
            None  # what this process wrote last: good without another look at its seal
        )

    def read(self) -> Head | None:
        """Return the entry that is noted, None when nothing has been yet; StoreError when the file is not ours."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        return self._parse(content) if content else None

    def advance(self, before: Head, after: Head, holds: Callable[[Head], bool]) -> None:
        """Note ``after``, which was appended to ``before``; ``holds`` tells whether the log still has an entry.

        A log that does not hold the noted entry is left found out: the file stays as it is and the matter is logged
        once.  The same goes for a file that cannot be written: what it guards is never a reason to refuse a call.
        """
        try:
            with self._locked() as file:
                content = os.pread(file, _WIDTH, 0)
                noted = self._parse(content) if content else before
                if noted.id >= after.id:
                    return  # another process was quicker, or the log is shorter than it was
                if noted != before and not holds(noted):
                    raise StoreError(f"entry {noted.id} of the audit log is gone or altered; see 'sluice log verify'")
                self._write(file, after)
        except (OSError, StoreError) as error:
            if not self._complained:
                self._complained = True
                _log.error("%s", error)

    def reset(self, head: Head) -> None:
        """Note ``head`` whatever was noted before: the operator vouches for the log as it is."""
        try:
            with self._locked() as file:
                self._write(file, head)
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written ({error.strerror}); mend its rights") from error

    @contextmanager
    def _locked(self) -> Iterator[int]:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)

    def _write(self, file: int, head: Head) -> None:
        text = json.dumps({"id": head.id, "mac": head.mac, "seal": self._sealer.head(_WHAT, head)})
        content = text.encode().ljust(_WIDTH - 1) + b"\n"
        os.pwrite(file, content, 0)
        self._own = content, head

    def _parse(self, content: bytes) -> Head:
        own = self._own
        if own is not None and own[0] == content:
            return own[1]
        try:
            note = json.loads(content)
            head, seal = Head(int(note["id"]), str(note["mac"])), str(note["seal"])
        except (ValueError, TypeError, KeyError):
            head, seal = Head(0, ""), ""
        if not hmac.compare_digest(self._sealer.head(_WHAT, head).encode(), seal.encode()):
            raise StoreError(f"anchor file {self._path} is damaged or not ours; see 'sluice log anchor --help'")
        return head
