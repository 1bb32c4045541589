"""What the API tells Prometheus, over all its processes (docs/metrics.md).

The processes keep their figures in files of one directory, and whichever of them is asked adds them up
("Multiprocess Mode" of the Prometheus Python client).  The client decides at its import whether it does so: import this
module after :func:`econe_api.metrics_files.share`.
"""

from __future__ import annotations

from collections.abc import Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy import Engine
from sqlalchemy.pool import QueuePool

#: Seconds.  A read takes milliseconds, a change as long as switches need, a launch as long as its backend.
_CALLS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_OTHER = "other"
_GOOD = "ok"


class CallMetrics:
    """Implements :class:`econe_api.wsgi.Meter`; ``actions`` are the names that may become label values."""

    def __init__(self, actions: Collection[str], engine: Engine) -> None:
        self._actions = frozenset(actions)
        self._engine = engine
        own = CollectorRegistry()
        self._calls = Counter("sluice_api_calls", "Calls answered.", ["action", "code"], registry=own)
        self._seconds = Histogram(
            "sluice_api_call_seconds", "From request to answer.", ["action"], buckets=_CALLS, registry=own
        )
        self._enforced = Histogram(
            "sluice_api_enforced_seconds",
            "From request until every reachable switch concerned has acknowledged the flows.",
            ["action"],
            buckets=_CALLS,
            registry=own,
        )
        self._late = Counter(
            "sluice_api_unacknowledged", "Calls answered before all flows were acknowledged.", ["action"], registry=own
        )
        self._under_way = Gauge(
            "sluice_api_calls_under_way", "Calls being worked on.", registry=own, multiprocess_mode="livesum"
        )
        self._database = Gauge(
            "sluice_api_database_connections",
            "Connections to the database.",
            ["state"],
            registry=own,
            multiprocess_mode="livesum",
        )

    def began(self) -> None:
        """A call has come."""
        self._under_way.inc()

    def enforced(self, action: str, seconds: float, *, everywhere: bool) -> None:
        """The wait for the data plane is over, ``seconds`` after the request."""
        if everywhere:
            self._enforced.labels(action).observe(seconds)
        else:
            self._late.labels(action).inc()

    def answered(self, action: str, code: str, seconds: float) -> None:
        """A call is answered, with an error ``code`` or "" for success."""
        known = action if action in self._actions else _OTHER
        self._calls.labels(known, code or _GOOD).inc()
        self._seconds.labels(known).observe(seconds)
        self._under_way.dec()
        pool = self._engine.pool
        if isinstance(pool, QueuePool):
            self._database.labels("in use").set(pool.checkedout())
            self._database.labels("idle").set(pool.checkedin())


def shared(directory: str) -> CollectorRegistry:
    """Return the figures of all processes that share ``directory``."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=directory)  # type: ignore[no-untyped-call]
    return registry
