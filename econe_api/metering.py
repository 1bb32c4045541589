"""Reads now and then what the elastic IPs have carried, from the controller, and keeps it in the store."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from channel.client import ChannelError, request
from econe_api.config import Config
from econe_api.store import usage
from econe_api.store.errors import StoreError
from econe_api.store.store import Store

_log = logging.getLogger(__name__)
_PATIENCE = 30.0
"""Seconds for the controller to ask its switches."""


def collect(store: Store, config: Config, now: datetime) -> None:
    """Take one reading of all switches; raises :class:`ChannelError` or :class:`StoreError`.

    No lock of the store is held while the controller is waited for.
    """
    reply = request(config.controller.socket, {"op": "elastic-counts"}, _PATIENCE)
    usage.take(store, {host: [_reading(one) for one in counts] for host, counts in reply["hosts"].items()}, now)


def run(store: Store, config: Config, clock: Callable[[], datetime], stop: threading.Event) -> None:
    """Collect every ``config.api.metering_interval`` seconds until ``stop`` is set.

    Several API processes do this side by side: whoever comes first in an interval does it for all.
    """
    interval = config.api.metering_interval
    working = True
    while not stop.wait(interval):
        try:
            if usage.is_due(store, clock(), interval):
                collect(store, config, clock())
            working = True
        except (ChannelError, StoreError) as error:
            if working:
                _log.warning("what elastic IPs carry cannot be read now: %s", error)
            working = False


def start(store: Store, config: Config, clock: Callable[[], datetime]) -> threading.Event:
    """Run beside the API, in a thread that ends with the process or when the returned event is set."""
    stop = threading.Event()
    if config.api.metering_interval:
        threading.Thread(target=run, args=(store, config, clock, stop), name="metering", daemon=True).start()
    return stop


def _reading(one: dict[str, Any]) -> usage.Reading:
    return usage.Reading(one["public_ip"], one["direction"], one["age"], one["packets"], one["bytes"])
