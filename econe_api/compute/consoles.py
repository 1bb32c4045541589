"""What instances of the namespace backend say on their consoles: a file each, begun anew whenever one boots."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

from econe_api.compute.backend import Console, InterfaceSpec, LaunchSpec

_LOG = logging.getLogger(__name__)
#: How much GetConsoleOutput shows ("Instance console output" in the EC2 user guide).
MOST = 64 * 1024
#: How many files are kept at most; those that have been silent longest go first.
_KEPT = 1000


class Consoles:
    """The files of one cloud's instances in ``directory``; None: nothing is kept."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = None if directory is None else directory.absolute()

    def fresh(self, spec: LaunchSpec) -> Path:
        """Begin the console of an instance that boots; gives the file for it to write to.

        An instance runs also where there is no room for what it says.
        """
        if self._directory is None:
            return Path(os.devnull)
        try:
            return self._begin(self._directory, spec)
        except OSError as error:
            _LOG.warning("no console for %s: %s", spec.instance_id, error)
            return Path(os.devnull)

    def _begin(self, directory: Path, spec: LaunchSpec) -> Path:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _forget_oldest(directory)
        path = self._path(spec.instance_id)
        path.unlink(missing_ok=True)  # what the server of before still says does not belong here
        path.write_text("".join(f"{line}\n" for line in _banner(spec)))
        path.chmod(0o600)
        return path

    def read(self, instance_id: str) -> Console | None:
        """Return the end of an instance's console; None: it has none."""
        if self._directory is None:
            return None
        try:
            with self._path(instance_id).open("rb") as file:
                status = os.fstat(file.fileno())
                file.seek(max(0, status.st_size - MOST))
                return Console(file.read(MOST), status.st_mtime)
        except OSError:
            return None

    def _path(self, instance_id: str) -> Path:
        return (self._directory or Path()) / f"{Path(instance_id).name}.log"


def _forget_oldest(directory: Path) -> None:
    """Make room for one more; a tenth goes at a time, because to find the oldest takes a look at each."""
    if len(os.listdir(directory)) < _KEPT:  # noqa: PTH208 - at each launch: no objects for a thousand names
        return
    found = sorted(_by_age(directory))
    for _, path in found[: max(0, len(found) - _KEPT + max(1, _KEPT // 10))]:
        path.unlink(missing_ok=True)


def _by_age(directory: Path) -> Iterable[tuple[float, Path]]:
    for path in directory.glob("*.log"):
        try:
            yield path.stat().st_mtime, path
        except FileNotFoundError:
            continue


def _banner(spec: LaunchSpec) -> list[str]:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return [f"{spec.instance_id} boots from {spec.image} at {moment}", *map(_line, spec.interfaces)]


def _line(interface: InterfaceSpec) -> str:
    addresses = [f"{interface.address}/{interface.prefix_length}", *interface.ipv6]
    return f"eth{interface.device_index}: {interface.mac} {' '.join(addresses)}"
