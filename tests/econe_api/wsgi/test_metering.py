"""The metering thread beside the API: whom it asks, when it gives up, when it is heard of."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from econe_api import metering
from econe_api.config import Config, parse
from econe_api.store.store import Store, wall_clock
from econe_api.store.usage import is_due


def cloud(tmp_path: Path, interval: float) -> Config:
    return parse({"state": str(tmp_path), "api": {"metering_interval": interval}}, "test", tmp_path)


def test_it_reads_by_itself_until_it_is_stopped(tmp_path: Path, listen) -> None:
    config = cloud(tmp_path, 0.05)
    store = Store.open(config)
    controller = listen(config.controller.socket, {"ok": True, "hosts": {"hv1": []}})
    stop = threading.Event()
    beside = threading.Thread(target=metering.run, args=(store, config, wall_clock, stop))
    beside.start()
    while is_due(store, wall_clock(), 60):
        assert beside.is_alive()
    stop.set()
    beside.join(10)
    assert controller.heard[0] == {"op": "elastic-counts"}
    store.close()


def test_a_controller_that_is_away_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = cloud(tmp_path, 0.01)
    store = Store.open(config)
    stop = _CountsDown(5)
    with caplog.at_level(logging.WARNING):
        metering.run(store, config, wall_clock, stop)
    assert len([record for record in caplog.records if "cannot be read now: nobody listens" in record.message]) == 1
    assert is_due(store, wall_clock(), 60)
    store.close()


def test_an_interval_of_0_starts_nothing(tmp_path: Path) -> None:
    config = cloud(tmp_path, 0)
    store = Store.open(config)
    before = threading.active_count()
    metering.start(store, config, wall_clock)
    assert threading.active_count() == before
    store.close()


class _CountsDown(threading.Event):
    def __init__(self, rounds: int) -> None:
        super().__init__()
        self._left = rounds

    def wait(self, timeout: float | None = None) -> bool:
        self._left -= 1
        return self._left < 0
