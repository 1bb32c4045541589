"""Word to the controller and to the compute worker that something has been committed (docs/architecture.md)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from channel.client import ChannelError, Line, request
from econe_api.config import Config
from econe_api.config_sections import LOCAL

_log = logging.getLogger(__name__)
_GRACE = 0.5
"""Seconds beyond the timeout that the other side was told, for its answer to come back."""


class Notifier:
    """Tells, and waits a bounded time for the effect.

    The commit is durable and its followers poll, so a side that does not answer delays a call and never fails it.
    """

    def __init__(self, config: Config) -> None:
        # Every call that changes the data plane asks the controller, and may ask twice.
        self._controller = Line(config.controller.socket).request
        self._compute = partial(request, config.compute.socket)
        self._is_local = config.compute.backend == LOCAL
        self._acknowledge_timeout = config.acknowledge_timeout
        self._settle_timeout = config.settle_timeout

    def can_start(self) -> bool:
        """Tell whether instances can be started, for all that is known: only a worker that says no means no."""
        if self._is_local:
            return True
        reply = _ask("compute worker", self._compute, {"op": "status"}, self._acknowledge_timeout)
        return reply is None or reply.get("down") is None

    def wake(self, instances: Sequence[str], request: str) -> None:
        """Have the compute worker begin with ``instances`` now, for the call ``request``; nothing is waited for."""
        message = {"op": "settle", "instances": list(instances), "timeout": 0, "request": request}
        _ask("compute worker", self._compute, message, 0)

    def installed(self, revision: int, request: str = "") -> bool:
        """Wait until every reachable host that ``revision`` concerns has it installed; tell whether it came in time."""
        message: dict[str, Any] = {"op": "installed", "revision": revision, "timeout": self._acknowledge_timeout}
        if request:
            message["request"] = request
        reply = _ask("controller", self._controller, message, self._acknowledge_timeout)
        if reply is None:
            return False
        if reply.get("installed") is not True:
            lagging = ", ".join(map(str, reply.get("lagging", ()))) or "unknown"
            _log.warning("revision %d is not installed everywhere yet; lagging: %s", revision, lagging)
        return reply.get("installed") is True

    def settle(self, instances: Sequence[str]) -> bool:
        """Wait until ``instances`` are where their rows want them; tell whether that came in time."""
        if not instances:
            return True
        message = {"op": "settle", "instances": list(instances), "timeout": self._settle_timeout}
        reply = _ask("compute worker", self._compute, message, self._settle_timeout)
        return reply is not None and reply.get("settled") is True


def _ask(
    who: str, side: Callable[[Mapping[str, Any], float], dict[str, Any]], message: Mapping[str, Any], timeout: float
) -> dict[str, Any] | None:
    try:
        return side(message, timeout + _GRACE)
    except ChannelError as error:
        _log.warning("no answer from the %s: %s", who, error)
        return None
