"""OpenFlow between a switch and its controller with one fault in it.

``python -m topologies.openflow_relay ADDRESS PORT CONTROLLER CONTROLLER_PORT FAULT`` listens for switches and passes on
what both sides say, but for one message, the first that fits:

``lost-barrier``: the reply to the barrier behind a flow-mod that goes without a bundle; it is in force.
``lost-filling``: the reply to the barrier behind the messages of a bundle, which has not been committed then.
``lost-commit``: the reply to the barrier behind the commit of a bundle, which is in force.
``bad-flow-mod``: an added flow goes to a table that no switch has (255), for a bundle if there is one.

Prints "ready" when it listens and FAULT when it has happened.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from struct import unpack_from

from flowrules.encode import (
    BUNDLE_ADD,
    BUNDLE_CONTROL,
    HEADER,
    ONF_EXPERIMENTER,
    BundleControl,
    MessageType,
)

_ADD = 0
_TABLE = 24  # in a flow-mod; the command follows
_INNER = 24  # in the message that adds another one to a bundle
_NO_TABLE = 255
_LOST = {"lost-barrier": "flow-mod", "lost-filling": "filling", "lost-commit": "commit"}


class Fault:
    """What is to go wrong once; both directions of a connection ask it."""

    def __init__(self, name: str) -> None:
        self._name: str | None = name
        self._last = ""  # what the controller's latest barrier stands behind
        self._barrier: int | None = None  # xid of the one whose reply goes under

    def from_controller(self, message: bytearray) -> bytearray:
        """What the switch is to get instead."""
        kind = message[1]
        if kind == MessageType.BARRIER_REQUEST:
            if self._name is not None and _LOST.get(self._name) == self._last:
                self._barrier = unpack_from("!I", message, 4)[0]
            self._last = ""
        elif kind == MessageType.FLOW_MOD:
            self._last = "flow-mod"
            self._spoil(message, 0)
        elif kind == MessageType.EXPERIMENTER and unpack_from("!I", message, 8)[0] == ONF_EXPERIMENTER:
            self._bundle(message, unpack_from("!I", message, 12)[0])
        return message

    def _bundle(self, message: bytearray, what: int) -> None:
        if what == BUNDLE_ADD:
            self._last = "filling"
            self._spoil(message, _INNER)
        elif what == BUNDLE_CONTROL and unpack_from("!H", message, 20)[0] == BundleControl.COMMIT_REQUEST:
            self._last = "commit"

    def _spoil(self, message: bytearray, start: int) -> None:
        # A delete from table 255 would be one from all of them.
        is_add = message[start + 1] == MessageType.FLOW_MOD and message[start + _TABLE + 1] == _ADD
        if self._name == "bad-flow-mod" and is_add:
            message[start + _TABLE] = _NO_TABLE
            self._happened()

    def from_switch(self, message: bytearray) -> bytearray:
        """What the controller is to get instead."""
        if message[1] == MessageType.BARRIER_REPLY and unpack_from("!I", message, 4)[0] == self._barrier:
            self._barrier = None
            self._happened()
            return bytearray()
        return message

    def _happened(self) -> None:
        _say(str(self._name))
        self._name = None


def main(arguments: list[str]) -> int:
    """Relay until killed."""
    address, port, controller, controller_port, fault = arguments
    once = Fault(fault)
    with socket.create_server((address, int(port))) as server:
        _say("ready")
        while True:
            switch = server.accept()[0]
            upward = socket.create_connection((controller, int(controller_port)))
            for source, sink, change in ((switch, upward, once.from_switch), (upward, switch, once.from_controller)):
                threading.Thread(target=_pass_on, args=(source, sink, change), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket, change: Callable[[bytearray], bytearray]) -> None:
    """Message by message, until either side ends; the other is told then."""
    with suppress(OSError), source.makefile("rb") as stream:
        while len(head := stream.read(HEADER.size)) == HEADER.size:
            length = HEADER.unpack(head)[2]
            sink.sendall(change(bytearray(head + stream.read(length - HEADER.size))))
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
