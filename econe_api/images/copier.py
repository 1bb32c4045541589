"""Brings registered images to where their rows want them: copied into the library, or deleted.

Part of the compute worker.  A copy is written beside its place and takes it when it is whole and has been looked at;
one that a restart has cut off is begun anew.  Files without a row are left alone.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Row, delete, select, update

from econe_api.compute.rounds import Rounds
from econe_api.compute.rows import worker_call
from econe_api.images import qcow2
from econe_api.images.library import Library
from econe_api.store.image_tables import AVAILABLE, DEREGISTERED, FAILED, PENDING, images
from econe_api.store.store import Store

_LOG = logging.getLogger(__name__)
_CHUNK = 4 << 20
_LONGEST_REASON = 255
#: Seconds between two looks for work, and between two notes of how far a copy is.
_INTERVAL = 1.0


class _GivenUpError(Exception):
    """The image was deregistered, or the worker ends."""


class Copier(Rounds):
    """Use :meth:`start` and :meth:`stop`; one image at a time, and a copy under way is given up."""

    def __init__(self, store: Store, library: Library, interval: float = _INTERVAL) -> None:
        super().__init__("images", interval)
        self._store = store
        self._library = library

    def turn(self) -> None:
        """Do all that is to be done now.  Raises StoreError."""
        with self._store.read(worker_call()) as txn:
            open_ = images.c.state.in_((PENDING, DEREGISTERED))
            rows = txn.connection.execute(select(images).where(open_).order_by(images.c.created)).all()
        for row in rows:
            if self._stopping.is_set():
                return
            if row.state == DEREGISTERED:
                self._remove(row)
            else:
                self._provide(row)

    def _remove(self, row: Row[Any]) -> None:
        for path in (self._library.path(row.id), self._part(row.id)):
            path.unlink(missing_ok=True)
        with self._store.write(worker_call()) as txn:
            txn.connection.execute(delete(images).where(images.c.id == row.id, images.c.state == DEREGISTERED))
        _LOG.info("image %s is deleted", row.id)

    def _provide(self, row: Row[Any]) -> None:
        part = self._part(row.id)
        try:
            part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._library.upload(row.account, row.location) as (source, size), part.open("wb") as target:
                _copy(source, target, size, self._noting(row.id))
            qcow2.look(part)
            part.rename(self._library.path(row.id))
        except _GivenUpError:
            part.unlink(missing_ok=True)
            return
        except (qcow2.ImageError, OSError) as error:
            part.unlink(missing_ok=True)
            text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._set(row.id, state=FAILED, reason_code="Client.InternalError", reason=text[:_LONGEST_REASON])
            _LOG.warning("image %s cannot be made from %s: %s", row.id, row.location, text)
            return
        self._set(row.id, state=AVAILABLE, progress=100)
        _LOG.info("image %s is available", row.id)

    def _part(self, image: str) -> Path:
        return self._library.path(image).with_suffix(".part")

    def _noting(self, image: str) -> Callable[[int], None]:
        """A function that hears how many per cent are copied; it raises when nobody wants the rest."""
        last = time.monotonic()

        def note(progress: int) -> None:
            nonlocal last
            if self._stopping.is_set():
                raise _GivenUpError
            if time.monotonic() - last >= self._interval:
                last = time.monotonic()
                if not self._set(image, progress=progress):
                    raise _GivenUpError

        return note

    def _set(self, image: str, **values: Any) -> bool:
        with self._store.write(worker_call()) as txn:
            still = (images.c.id == image) & (images.c.state == PENDING)
            return bool(txn.connection.execute(update(images).where(still).values(**values)).rowcount)


def _copy(source: BinaryIO, target: BinaryIO, size: int, note: Callable[[int], None]) -> None:
    source.seek(0)
    copied = 0
    while chunk := source.read(_CHUNK):
        target.write(chunk)
        copied += len(chunk)
        note(min(99, copied * 100 // max(1, size)))
    target.flush()
    os.fsync(target.fileno())
