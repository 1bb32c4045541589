"""The network namespace in which the service listens, joined to the bridge by one pair of virtual devices.

Nothing else is in there: who gets the better of the service is still nowhere, and no other service of the host can be
reached by way of it.  The namespace has no name; with the process its devices go, so that nothing is left behind.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections.abc import Sequence

SERVICE = ("169.254.169.254", 80)
_MAC = "02:5c:e0:00:00:02"
_CLIENTS = "10.0.0.0/8"
_ROUTER = ("169.254.0.1", "02:5c:e0:00:00:01")
_INSIDE = "md0"
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET, sched.h
_BACKLOG = 1024
_PATIENCE_S = 10.0


class RoomError(Exception):
    """The room cannot be built; the text names the cause in one line."""


def listen(port: str) -> socket.socket:
    """Leave the host's network, give the host a device ``port`` that leads here, and listen.

    For the whole process and for good.  Raises :class:`RoomError`.
    """
    outside = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_NEW_NETWORK) != 0:
            raise RoomError(f"no network namespace can be made: {os.strerror(ctypes.get_errno())}")
        there = ("nsenter", f"--net=/proc/self/fd/{outside}", "--")
        _run((*there, "ip", "link", "delete", port, "type", "veth"), outside, must=False)
        peer = ("type", "veth", "peer", "name", _INSIDE, "address", _MAC, "netns", str(os.getpid()))
        _run((*there, "ip", "link", "add", port, *peer), outside)
        # Partial checksums do not survive a switch in user space.
        _run((*there, "ethtool", "-K", port, "tx", "off"), outside)
        _run(("ethtool", "-K", _INSIDE, "tx", "off"))
        # The host itself must not speak there, not even by IPv6's automatic addresses.
        _run((*there, "ip", "link", "set", port, "addrgenmode", "none", "up"), outside)
        for words in _inside():
            _run(("ip", *words.split()))
    finally:
        os.close(outside)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.bind(SERVICE)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise RoomError(f"nothing can listen at {SERVICE[0]}: {error.strerror}") from error
    return listener


def _inside() -> list[str]:
    router, mac = _ROUTER
    return [
        f"link set {_INSIDE} addrgenmode none",
        f"address add {SERVICE[0]}/32 dev {_INSIDE}",
        f"link set {_INSIDE} up",
        f"neighbour add {router} lladdr {mac} dev {_INSIDE} nud permanent",
        f"route add {_CLIENTS} via {router} dev {_INSIDE} onlink",
    ]


def _run(command: Sequence[str], keep: int | None = None, *, must: bool = True) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
            pass_fds=() if keep is None else (keep,),
        )
    except FileNotFoundError as error:
        raise RoomError(f"{error.filename} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise RoomError(f"{' '.join(command)}: not done within {_PATIENCE_S:g} s") from error
    if must and done.returncode != 0:
        raise RoomError(f"{' '.join(command)}: {' '.join(done.stderr.split()) or f'status {done.returncode}'}")
