"""What the controller tells Prometheus (docs/metrics.md): read from the composer whenever somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import eventlet
import eventlet.wsgi
from prometheus_client import CollectorRegistry, Histogram, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from controller.composer import Composer
from controller.doors import family

_MOST_CLIENTS = 16
_PATIENCE_S = 10.0
_OUTCOMES = ("answered", "refused", "dropped")


class ComposerMetrics(Collector):
    """A snapshot of ``composer`` at each scrape; nothing is counted twice."""

    def __init__(self, composer: Composer) -> None:
        self._composer = composer

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield all metrics."""
        yield from self._work()
        yield from self._hosts()
        yield from self._queues()

    def _work(self) -> Iterator[CounterMetricFamily]:
        bridges = list(self._composer.bridges.values())
        counters = self._composer.counters()
        for name, key, words in (
            ("flow_mods", "flow_mods", "Flow-mods sent."),
            ("bundles", "bundles", "Bundles sent."),
            ("meter_mods", "meter_mods", "Meter-mods sent."),
            ("fragments_compiled", "compiled", "Fragments compiled."),
            ("fragments_resolved", "resolved", "Fragments looked at."),
            ("connections_marked", "marked", "Connections blocked or unblocked after a change of rules."),
        ):
            yield CounterMetricFamily(f"sluice_controller_{name}", words, value=counters[key])
        packets: Counter[str] = Counter()
        for bridge in bridges:
            packets.update(bridge.packets.counters)
        seen = CounterMetricFamily(
            "sluice_controller_packet_ins", "Packets that switches have shown.", labels=["outcome"]
        )
        for outcome in _OUTCOMES:
            seen.add_metric([outcome], packets[outcome])
        yield seen

    def _hosts(self) -> Iterator[GaugeMetricFamily]:
        composer = self._composer
        bridges, revision = composer.bridges, composer.revision()
        lags = {host: revision - bridge.installed_revision for host, bridge in bridges.items()}
        for name, words, value in (
            ("revision", "Revision of the store that the controller has read.", revision),
            ("hosts", "Hosts that are expected or have been heard.", len(composer.known_hosts())),
            ("switches_connected", "Hosts whose switch is connected.", len(composer.connected())),
            ("agents_connected", "Hosts whose agent is connected.", composer.agents),
            ("hosts_lagging", "Hosts that have not acknowledged all they should have.", sum(map(bool, lags.values()))),
        ):
            yield GaugeMetricFamily(f"sluice_controller_{name}", words, value=value)
        behind = GaugeMetricFamily(
            "sluice_controller_host_lag_revisions", "Revisions not acknowledged.", labels=["host"]
        )
        flows = GaugeMetricFamily("sluice_controller_host_flows", "Flows acknowledged.", labels=["host"])
        for host, bridge in bridges.items():
            behind.add_metric([host], lags[host])
            flows.add_metric([host], bridge.flows)
        yield behind
        yield flows

    def _queues(self) -> Iterator[GaugeMetricFamily]:
        bridges = self._composer.bridges.values()
        depth = GaugeMetricFamily("sluice_controller_queue_depth", "What waits to be dealt with.", labels=["queue"])
        depth.add_metric(["packet-ins"], sum(bridge.packets.depth for bridge in bridges))
        depth.add_metric(["fragments"], sum(bridge.backlog for bridge in bridges))
        depth.add_metric(["calls"], self._composer.waiting)
        yield depth


class Endpoint:
    """Answers Prometheus at ``address`` from the controller's own thread."""

    def __init__(self, address: str, composer: Composer, waited: Histogram) -> None:
        registry = CollectorRegistry()
        registry.register(ComposerMetrics(composer))
        registry.register(waited)
        host, _, port = address.rpartition(":")
        self._listener = eventlet.listen((host.strip("[]"), int(port)), family=family(host), reuse_port=False)
        self._answer = make_wsgi_app(registry)

    def serve_forever(self) -> None:
        """Accept until the process ends."""
        limits = {"max_size": _MOST_CLIENTS, "socket_timeout": _PATIENCE_S, "log_output": False, "debug": False}
        eventlet.wsgi.server(self._listener, self._answer, **limits)
