"""The files of virtual machines, in a storage pool of their hypervisor: all of it through libvirt.

A pool is a directory.  Of an image it holds ``AMI.qcow2`` and, once that is whole, the empty ``AMI.ready``; of an
instance its disk ``ID.qcow2`` over the image, its seed ``ID.iso`` and its console ``ID.log``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import libvirt

from econe_api.compute import libvirt_xml
from econe_api.compute.backend import Console
from econe_api.compute.consoles import MOST

_SECTOR = 512


class Pool:
    """A storage pool for as long as one call takes; its methods raise libvirtError."""

    def __init__(self, connection: Any, name: str) -> None:
        """Find the pool ``name``, and start it if nobody has."""
        self._connection = connection
        self._pool = connection.storagePoolLookupByName(name)
        if not self._pool.isActive():
            self._pool.create(0)
        self.path = libvirt_xml.pool_path(self._pool.XMLDesc(0))

    def file(self, name: str) -> str:
        """Return the path of a volume on the hypervisor."""
        return f"{self.path.rstrip('/')}/{name}"

    def has(self, name: str) -> bool:
        """Whether a volume is there."""
        return self._find(name) is not None

    def has_image(self, image: str) -> bool:
        """Whether an image is there, whole."""
        return self.has(f"{image}.ready") and self.has(f"{image}.qcow2")

    def put_image(self, image: str, source: Path) -> None:
        """Copy the qcow2 file ``source`` into the pool; half a copy of before is begun anew.  Raises OSError."""
        self.delete([f"{image}.ready", f"{image}.qcow2"])
        with source.open("rb") as file:
            size = source.stat().st_size
            self._upload(f"{image}.qcow2", file, size)
        self._pool.createXML(libvirt_xml.volume(f"{image}.ready", _SECTOR, "raw"), 0)
        self.refresh()  # libvirt reads then that the file is qcow2

    def make_disk(self, name: str, image: str, size: int) -> None:
        """Make a disk of ``size`` bytes that holds what ``image`` holds; one that is there stays as it is."""
        if not self.has(name):
            xml = libvirt_xml.volume(name, size, "qcow2", self.file(f"{image}.qcow2"))
            self._pool.createXML(xml, 0)

    def put(self, name: str, data: bytes) -> None:
        """Write a small volume, in place of one of that name."""
        self.delete([name])
        volume = self._pool.createXML(libvirt_xml.volume(name, len(data), "raw"), 0)
        stream = self._connection.newStream(0)
        volume.upload(stream, 0, len(data), 0)
        _send_all(stream, data)
        stream.finish()

    def touch(self, name: str) -> None:
        """Make an empty volume unless there is one; what a hypervisor writes itself can be read then."""
        if not self.has(name):
            self._pool.createXML(libvirt_xml.volume(name, 0, "raw"), 0)

    def tail(self, name: str) -> Console | None:
        """Return the end of a volume that holds text; None when there is none."""
        volume = self._find(name)
        if volume is None:
            self.refresh()  # a machine that has migrated brings a file that libvirt has not been told of
            volume = self._find(name)
        if volume is None:
            return None
        size, written = libvirt_xml.volume_state(volume.XMLDesc(0))
        if size == 0:
            return Console(b"", written)
        start = max(0, size - MOST)
        stream = self._connection.newStream(0)
        volume.download(stream, start, size - start, 0)
        chunks = []
        while chunk := stream.recv(MOST):
            chunks.append(chunk)
        stream.finish()
        return Console(b"".join(chunks), written)

    def delete_all(self, stem: str) -> None:
        """Delete every volume ``STEM.*``, also those that libvirt has not been told of."""
        self.refresh()
        self.delete([name for name in self._pool.listVolumes() if name.startswith(f"{stem}.")])

    def delete(self, names: Iterable[str]) -> None:
        """Delete volumes; those that are not there are fine."""
        for name in names:
            volume = self._find(name)
            if volume is not None:
                try:
                    volume.delete(0)
                except libvirt.libvirtError:
                    self.refresh()  # somebody deleted the file itself
                    if self.has(name):
                        raise

    def refresh(self) -> None:
        """Have libvirt look at the directory; while an image is copied there it refuses, and goes on as it is."""
        try:
            self._pool.refresh(0)
        except libvirt.libvirtError as error:
            # "storage pool has asynchronous jobs running" has no code of its own.
            if error.get_error_code() != libvirt.VIR_ERR_INTERNAL_ERROR:
                raise

    def _find(self, name: str) -> Any:
        try:
            return self._pool.storageVolLookupByName(name)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_VOL:
                return None
            raise

    def _upload(self, name: str, file: IO[bytes], size: int) -> None:
        volume = self._pool.createXML(libvirt_xml.volume(name, size, "raw"), 0)
        stream = self._connection.newStream(0)
        volume.upload(stream, 0, size, 0)
        stream.sendAll(lambda _stream, count, source: source.read(count), file)
        stream.finish()


def _send_all(stream: Any, data: bytes) -> None:
    sent = 0
    while sent < len(data):
        sent += stream.send(data[sent:])
