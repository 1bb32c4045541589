"""Where the files of images are on the control node.

An image of the configuration is the file that it names, or ``ID.qcow2`` in ``images.directory``, as a registered one
is.  What accounts upload is in ``images.uploads``, a folder each.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from econe_api.config import Config
from econe_api.images import qcow2

_UPLOAD = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,255}")


@dataclass(frozen=True, slots=True)
class Library:
    """``directory`` holds the images, ``uploads`` what they are made from, ``named`` are the configuration's files."""

    directory: Path
    uploads: Path
    named: Mapping[str, Path]

    @classmethod
    def of(cls, config: Config) -> Library:
        """Return the library of a configuration."""
        named = {image.id: image.file for image in config.images if image.file is not None}
        return cls(config.library.directory, config.library.uploads, named)

    def path(self, image: str) -> Path:
        """Return the file of an image, whether it is there or not."""
        return self.named.get(image) or self.directory / f"{Path(image).name}.qcow2"

    def find(self, image: str) -> tuple[Path, qcow2.Qcow2]:
        """Return the file of an image and what its header says.

        Raises FileNotFoundError, OSError and :class:`econe_api.images.qcow2.ImageError`.
        """
        path = self.path(image)
        return path, qcow2.look(path)

    @contextmanager
    def upload(self, account: str, name: str) -> Iterator[tuple[BinaryIO, int]]:
        """Open a file that an account has uploaded; gives it with its size in bytes.

        A link is refused, since it could lead to another account's file.  Raises FileNotFoundError and OSError.
        """
        if not _UPLOAD.fullmatch(name):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        descriptor = os.open(self.uploads / Path(account).name / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is no regular file", name)
            yield file, status.st_size
