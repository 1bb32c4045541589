"""Network namespaces by system calls, where a process of iproute2 for each step would cost more than the step.

A thread has a network namespace of its own (setns(2)): :func:`entered` moves the calling one, and what it starts
meanwhile, and no other.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

NAMED = Path("/run/netns")
_NEWNET = 0x40000000  # CLONE_NEWNET, linux/sched.h
_DETACH = 2  # MNT_DETACH, linux/fs.h
_BIND = 4096  # MS_BIND, linux/mount.h
_LIBC = ctypes.CDLL(None, use_errno=True)

_FLAGS = struct.Struct("16sh14x")  # struct ifreq with ifr_flags
_POINTER = struct.Struct("16sP16x")  # struct ifreq with ifr_data
_VALUE = struct.Struct("II")  # struct ethtool_value
_GET_FLAGS, _SET_FLAGS, _ETHTOOL = 0x8913, 0x8914, 0x8946  # linux/sockios.h
_UP = 1  # IFF_UP
_SET_TX_CHECKSUM = 0x17  # ETHTOOL_STXCSUM, linux/ethtool.h


@contextmanager
def entered(name: str) -> Iterator[None]:
    """Have the calling thread in the namespace ``name`` while the block lasts; OSError when there is none."""
    with _opened(Path("/proc/thread-self/ns/net")) as own:
        with _opened(NAMED / name) as other:
            _enter(other, name)
        try:
            yield
        finally:
            _enter(own, "its own")


def create(name: str) -> None:
    """Make the namespace ``name`` as ``ip netns add`` does, in a directory that is prepared for that; OSError."""
    path = NAMED / name
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
    with _opened(Path("/proc/thread-self/ns/net")) as own:
        if _LIBC.unshare(_NEWNET):
            raise _error(f"namespace {name}")
        try:
            if _LIBC.mount(b"/proc/thread-self/ns/net", bytes(path), b"none", _BIND, None):
                raise _error(f"namespace {name}")
        finally:
            _enter(own, "its own")


@contextmanager
def opened(name: str) -> Iterator[int]:
    """Give a descriptor of the namespace ``name``; OSError when there is none."""
    with _opened(NAMED / name) as descriptor:
        yield descriptor


def write_settings(settings: Mapping[str, str]) -> None:
    """Write kernel ``settings`` (paths below /proc/sys) of the calling thread's namespace."""
    for key, value in settings.items():
        (Path("/proc/sys") / key).write_text(value)


def set_up(*devices: str) -> None:
    """Switch network devices of the calling thread's namespace on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for device in devices:
            _, flags = _FLAGS.unpack(fcntl.ioctl(asking, _GET_FLAGS, _FLAGS.pack(device.encode(), 0)))
            fcntl.ioctl(asking, _SET_FLAGS, _FLAGS.pack(device.encode(), flags | _UP))


def checksum_in_software(*devices: str) -> None:
    """Have the kernel write checksums itself on devices of the calling thread's namespace."""
    value = ctypes.create_string_buffer(_VALUE.pack(_SET_TX_CHECKSUM, 0), _VALUE.size)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for device in devices:
            fcntl.ioctl(asking, _ETHTOOL, _POINTER.pack(device.encode(), ctypes.addressof(value)))


def forget(name: str) -> None:
    """Take a namespace's name away, as ``ip netns delete`` does: it goes when nobody lives there.

    An absent one is fine.
    """
    path = NAMED / name
    _LIBC.umount2(bytes(path), _DETACH)  # of one that is only a file: an error that does not matter
    path.unlink(missing_ok=True)


def _enter(descriptor: int, name: str) -> None:
    if _LIBC.setns(descriptor, _NEWNET):
        raise _error(f"namespace {name}")


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
