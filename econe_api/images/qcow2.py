"""Looks at qcow2 files before a hypervisor does (QEMU's docs/interop/qcow2.txt).  Pure but for reading the file.

An image of a stranger may name other files of the hypervisor, as its backing file or as the file of its data, and QEMU
would open them.  So those are refused, as is what is cut off or does not hang together.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_FEATURES = struct.Struct(">QQQII")
_LEAST_CLUSTER_BITS, _MOST_CLUSTER_BITS = 9, 21
_MOST_SIZE = 1 << 50
_MOST_TABLE = 32 << 20  # what QEMU reads of an L1 table
_EXTERNAL_DATA = 1 << 2
_KNOWN_INCOMPATIBLE = 0b11111
_CORRUPT = 1 << 1


class ImageError(Exception):
    """A file is no image that a machine can be made from; the text is one line."""


@dataclass(frozen=True, slots=True)
class Qcow2:
    """What a header says: ``size`` is the disk's, in bytes."""

    version: int
    size: int
    cluster_size: int


def look(path: Path) -> Qcow2:
    """Return what the file's header says; ImageError when it is no whole qcow2 file that stands by itself.  OSError."""
    with path.open("rb") as file:
        return read(file, os.fstat(file.fileno()).st_size)


def read(file: BinaryIO, length: int) -> Qcow2:
    """Do as :func:`look` does with a file of ``length`` bytes."""
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size or not header.startswith(_MAGIC):
        raise ImageError("it is no qcow2 file")
    _, version, backing, _, cluster_bits, size, encrypted, l1_entries, l1_table, refcounts, *_ = _HEADER.unpack(header)
    if version not in (2, 3):
        raise ImageError(f"qcow2 version {version} is not known")
    if backing:
        raise ImageError("it has a backing file; convert it with qemu-img convert")
    if encrypted:
        raise ImageError("it is encrypted")
    if not _LEAST_CLUSTER_BITS <= cluster_bits <= _MOST_CLUSTER_BITS or not 0 < size <= _MOST_SIZE:
        raise ImageError("its header is corrupt")
    if version == 3:
        _check_features(file.read(_FEATURES.size))
    cluster = 1 << cluster_bits
    # Each L1 entry is for one L2 table, which is one cluster of 8-byte entries, each for one cluster.
    needed = -(-size // (cluster * (cluster // 8)))
    if l1_entries < needed or l1_entries * 8 > _MOST_TABLE or l1_table % cluster or refcounts % cluster:
        raise ImageError("its header is corrupt")
    if not l1_table or l1_table + l1_entries * 8 > length or not 0 < refcounts < length:
        raise ImageError("it is cut off")
    _check_l1(file, l1_table, l1_entries, cluster, length)
    return Qcow2(version, size, cluster)


def _check_features(fields: bytes) -> None:
    if len(fields) < _FEATURES.size:
        raise ImageError("it is cut off")
    incompatible = _FEATURES.unpack(fields)[0]
    if incompatible & _EXTERNAL_DATA:
        raise ImageError("its data is in another file; convert it with qemu-img convert")
    if incompatible & _CORRUPT:
        raise ImageError("it is marked as corrupt")
    if incompatible & ~_KNOWN_INCOMPATIBLE:
        raise ImageError("it has features that are not known")


def _check_l1(file: BinaryIO, table: int, entries: int, cluster: int, length: int) -> None:
    file.seek(table)
    read_ = file.read(entries * 8)
    if len(read_) < entries * 8:
        raise ImageError("it is cut off")
    for (entry,) in struct.iter_unpack(">Q", read_):
        offset = entry & 0x00FFFFFFFFFFFE00
        if offset and (offset % cluster or offset + cluster > length):
            raise ImageError("it is cut off")
