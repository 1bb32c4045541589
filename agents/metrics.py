"""What the agent tells Prometheus (docs/metrics.md).

Asked from a thread of its own, while the agent's loop goes on: every figure is one attribute that is read once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from agents.agent import Agent
from agents.ovsdb import Ovsdb
from agents.report import Link

_ROLES = ("instance", "uplink", "fabric", "metadata")


class AgentMetrics(Collector):
    """A look at the agent's parts at each scrape."""

    def __init__(self, agent: Agent, ovsdb: Ovsdb, link: Link) -> None:
        self._agent = agent
        self._ovsdb = ovsdb
        self._link = link

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield all metrics."""
        told = self._agent.told
        counts = Counter(port.role for port in told.ports) if told is not None else Counter()
        ports = GaugeMetricFamily("sluice_agent_ports", "Ports reported to the controller.", labels=["role"])
        for role in _ROLES:
            ports.add_metric([role], counts[role])
        yield ports
        for name, words, value in (
            ("problems", "Problems reported to the controller.", len(told.problems) if told is not None else 0),
            ("ovsdb_connected", "Is the local database known?", int(self._ovsdb.ours)),
            ("controller_connected", "Is there a connection to the controller?", int(self._link.connected)),
            ("unsent_bytes", "Bytes that the controller has not taken yet.", self._link.unsent),
        ):
            yield GaugeMetricFamily(f"sluice_agent_{name}", words, value=value)
        for name, words, value in (
            ("snapshots", "States of the bridge that were to be told.", self._agent.snapshots),
            ("connections", "Connections made to the controller.", self._link.connections),
        ):
            yield CounterMetricFamily(f"sluice_agent_{name}", words, value=value)


def registry(agent: Agent, ovsdb: Ovsdb, link: Link) -> CollectorRegistry:
    """Return a registry that asks them."""
    made = CollectorRegistry()
    made.register(AgentMetrics(agent, ovsdb, link))
    return made
