"""The small oned's events: ZeroMQ publications, some of which are lost."""

from __future__ import annotations

import base64
import random
import threading
from types import TracebackType
from typing import Self

import zmq

from topologies.oned.cloud import Oned
from topologies.oned.model import LCM, STATES, Vm
from topologies.oned.templates import tag


class Bus:
    """Publishes every change of a VM's state but the share ``lost`` (0 to 1) of them; use it as a context manager."""

    def __init__(self, oned: Oned, lost: float = 0.0, seed: int = 1) -> None:
        self.lost = lost
        self.sent = 0
        self._random = random.Random(seed)  # noqa: S311
        self._lock = threading.Lock()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self.address = f"tcp://127.0.0.1:{self._socket.bind_to_random_port('tcp://127.0.0.1')}"
        oned.changed.append(self.publish)

    def publish(self, vm: Vm) -> None:
        """Say that a VM has come to a state, unless that is lost."""
        state, lcm = STATES.get(vm.state, "?"), LCM.get(vm.lcm, "?")
        kind = f"{tag('HOOK_TYPE', 'STATE')}{tag('HOOK_OBJECT', 'VM')}{tag('STATE', state)}{tag('LCM_STATE', lcm)}"
        message = f"<HOOK_MESSAGE>{kind}{tag('RESOURCE_ID', vm.id)}{vm.xml()}</HOOK_MESSAGE>"
        with self._lock:
            if self._socket.closed or self._random.random() < self.lost:
                return
            self.sent += 1
            document = base64.b64encode(message.encode())
            self._socket.send_multipart([f"EVENT STATE VM/{state}/{lcm}/{vm.id} ".encode(), document])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._lock:
            self._socket.close()
        self._context.term()
