"""A backend that suddenly sees nothing has lost its sight, not the instances."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from econe_api.compute.backend import ObservedInstance
from econe_api.compute.namespaces import NamespaceBackend
from econe_api.compute.worker import Worker
from econe_api.store.store import Store

pytestmark = pytest.mark.lab


@pytest.fixture
def worker(store: Store, backend: NamespaceBackend) -> Iterator[Worker]:
    """A worker that looks twenty times a second."""
    worker = Worker(store, backend, 0.05)
    thread = threading.Thread(target=worker.run)
    thread.start()
    yield worker
    worker.stop()
    thread.join(60)
    assert not thread.is_alive()


def test_backend_that_lists_nothing_ends_nothing(
    worker: Worker, backend: NamespaceBackend, tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = tenant.run(2)
    assert worker.settle(ids, 20.0)
    looks = threading.Semaphore(0)
    ended: list[str] = []

    def nothing() -> dict[str, ObservedInstance]:
        looks.release()
        return {}

    with monkeypatch.context() as blind:
        blind.setattr(backend, "list", nothing)
        blind.setattr(backend, "terminate", lambda instance, _host: ended.append(instance))
        for _ in range(3):
            assert looks.acquire(timeout=30)
    assert ended == []
    assert sorted(backend.list()) == sorted(ids)
    assert tenant.states(*ids) == ["running", "running"]
    assert worker.settle(ids, 20.0)
