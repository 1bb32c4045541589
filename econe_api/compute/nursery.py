"""Starts instances' servers out of one process that has all they need in memory: a fork instead of an interpreter."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

_PATIENCE_S = 30.0
_LONGEST_ANSWER = 4096


class NurseryError(Exception):
    """A server has not started; the text is one line."""


class Nursery:
    """Keeps a process that forks; one that has ended is started anew.

    ``script`` gives the guest's script (:mod:`econe_api.compute.guest`); the process ends with this one, the servers do
    not.
    """

    def __init__(self, script: Callable[[], Path]) -> None:
        self._script = script
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._peer: socket.socket | None = None

    def start(self, namespace: Path, instance_id: str, console: Path) -> None:
        """Start the server of an instance in its namespace; returns when it listens.  Raises :class:`NurseryError`."""
        wish = {"namespace": str(namespace), "instance": instance_id, "console": str(console)}
        with self._lock:
            try:
                peer = self._ready()
                peer.send(json.dumps(wish).encode())
                answer = peer.recv(_LONGEST_ANSWER).decode()
            except OSError as error:
                self._end()
                raise NurseryError(f"{self._script()}: {error.strerror or error}") from error
            if answer != instance_id:
                self._end()
                raise NurseryError(f"{self._script()} {instance_id}: {answer or 'ended without a word'}")

    def close(self) -> None:
        """End the process that forks."""
        with self._lock:
            self._end()

    def _ready(self) -> socket.socket:
        if self._peer is not None and self._process is not None and self._process.poll() is None:
            return self._peer
        self._end()
        self._peer, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._peer.settimeout(_PATIENCE_S)
        with theirs:
            number = theirs.fileno()
            command = (sys.executable, "-I", "-S", str(self._script()), "--nursery", str(number))
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(number,))
        return self._peer

    def _end(self) -> None:
        if self._peer is not None:
            self._peer.close()
        if self._process is not None:
            try:
                self._process.wait(1.0)  # its end of the pair is shut
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._peer = self._process = None
