"""Entry point of the service, started by the agent: ``python -m agents.metadata PORT DESCRIPTOR``."""

from __future__ import annotations

import logging
import os
import resource
import secrets
import signal
import socket
import sys

from agents.metadata.room import RoomError, listen
from agents.metadata.server import Server
from agents.metadata.tokens import Tokens
from channel.frames import pack

_NOBODY = 65534
_DESCRIPTORS = 8192


def main() -> int:
    """Serve instances until the other end of the descriptor, a socket, is closed."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s metadata: %(message)s")
    port, descriptor = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the agent, which closes the descriptor
    agent = socket.socket(fileno=descriptor)
    try:
        listener = listen(port)
        _drop_privileges()
    except (RoomError, OSError) as error:
        agent.sendall(pack({"type": "failed", "problem": str(error)}))
        return 1
    Server(listener, agent, Tokens(secrets.token_bytes(32))).run()
    return 0


def _drop_privileges() -> None:
    """Be nobody from here on: this process reads what instances write."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)


if __name__ == "__main__":
    sys.exit(main())
