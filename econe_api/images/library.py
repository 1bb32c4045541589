"""Where the files of images are on the control node: one the operator names, or ``ID.qcow2`` in a directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from econe_api.config import Config
from econe_api.images import qcow2


@dataclass(frozen=True, slots=True)
class Library:
    """``directory`` holds the images that accounts have registered, ``named`` are the configuration's own files."""

    directory: Path
    named: Mapping[str, Path]

    @classmethod
    def of(cls, config: Config) -> Library:
        """Return the library of a configuration."""
        named = {image.id: image.file for image in config.images if image.file is not None}
        return cls(config.library.directory, named)

    def path(self, image: str) -> Path:
        """Return the file of an image, whether it is there or not."""
        return self.named.get(image) or self.directory / f"{Path(image).name}.qcow2"

    def find(self, image: str) -> tuple[Path, qcow2.Qcow2]:
        """Return the file of an image and what its header says.

        Raises FileNotFoundError, OSError and :class:`econe_api.images.qcow2.ImageError`.
        """
        path = self.path(image)
        return path, qcow2.look(path)
