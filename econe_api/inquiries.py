"""Questions to the compute worker and the controller about what is there now (docs/architecture.md).

None as an answer means that it is not known: nobody listens, or not in time.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from channel.client import ChannelError, request
from econe_api.config import Config

_log = logging.getLogger(__name__)
_PATIENCE = 2.0
"""How long a question may take, in seconds."""
_MOST_IDS = 1000
"""How many instances the worker lets one question name."""


def observed(config: Config, instances: Sequence[str]) -> Mapping[str, str] | None:
    """How the worker found instances: "running", "broken" or "absent", by id."""
    found: dict[str, str] = {}
    for first in range(0, len(instances), _MOST_IDS):
        message = {"op": "observed", "instances": list(instances[first : first + _MOST_IDS])}
        reply = _ask("compute worker", config.compute.socket, message)
        if reply is None:
            return None
        found |= reply["observed"]
    return found


def reached(config: Config) -> Mapping[str, bool] | None:
    """The hosts that the controller knows: are their switch and their agent connected?"""
    reply = _ask("controller", config.controller.socket, {"op": "status"})
    if reply is None:
        return None
    return {host["name"]: bool(host["connected"] and host["agent"]) for host in reply["hosts"]}


def console(config: Config, instance: str) -> tuple[bytes, float] | None:
    """What an instance has said since it booted, and when it last did (seconds since the epoch)."""
    reply = _ask("compute worker", config.compute.socket, {"op": "console", "instance": instance})
    if reply is None or reply["output"] is None:
        return None
    return reply["output"], reply["time"]


def _ask(who: str, socket: Path, message: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        return request(socket, message, _PATIENCE)
    except ChannelError as error:
        _log.warning("no answer from the %s: %s", who, error)
        return None
