"""The Ryu application: ``ryu-manager controller.app``, or ``python -m controller``.

A thin shim: it hands connected switches to the composer and starts the servers around it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import eventlet
from ryu.base import app_manager
from ryu.controller import ofp_event
from ryu.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from ryu.ofproto import ofproto_v1_3

from certificates.files import AuthorityFolder
from controller import wire
from controller.agent_server import AgentServer
from controller.auditor import Auditor
from controller.collector import collect_rarely
from controller.composer import Composer
from controller.dhcp import dhcp_handler, mtus
from controller.enrolment import Enrolment
from controller.facts import Facts
from controller.feed_follower import FeedFollower
from controller.metadata import MetadataDesk
from controller.metrics import Endpoint
from controller.openflow_server import OpenFlowServer
from controller.opennebula import DriverDesk
from controller.packet_handlers import HANDLERS
from controller.request_server import RequestServer
from controller.tls import TlsDoor
from econe_api.config import load
from flowrules import tables
from flowrules.intent import Revocation
from telemetry import logs

LOG = logging.getLogger(__name__)

#: Names the configuration file; ``--sluice-config`` sets it.
CONFIG_VARIABLE = "SLUICE_CONFIG"


class SluiceApp(app_manager.RyuApp):  # type: ignore[misc]
    """Elastic IPs and security groups on every bridge that connects."""

    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]  # noqa: RUF012 - Ryu's own convention

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        config_file = os.environ.get(CONFIG_VARIABLE)
        config = load(Path(config_file) if config_file else None)
        logs.dress(config.log.format, "controller")
        self._composer = Composer(
            expected=[hypervisor.name for hypervisor in config.hypervisors],
            revocation=Revocation(config.controller.revoked_connections),
            handlers={**HANDLERS, tables.DHCP: dhcp_handler(config.dhcp, mtus(config.hypervisors))},
            # Instances are told to ask these servers.
            allowed_destinations=(*config.controller.allowed_destinations, *(f"{one}/32" for one in config.dhcp.dns)),
            denied_destinations=config.controller.denied_destinations,
        )
        self._feed = FeedFollower(config_file, self._composer.take_batch, self._store_problem)
        self._facts = Facts(config_file)
        desk = MetadataDesk(lambda: self._composer.index, self._facts)
        driver = DriverDesk(self._composer, config.compute.socket, self._feed.poke)
        folder = AuthorityFolder(config.state) if config.controller.tls else None
        self._openflow = OpenFlowServer(self._composer, TlsDoor(folder, demand=True) if folder else None)
        security = self._secure(folder, config_file) if folder else None
        self._agents = AgentServer(self._composer, config.controller.agent_listen, desk, driver, security)
        self._auditor = Auditor(self._composer, config.controller.audit_interval)
        self._requests = RequestServer(self._composer, config.controller.socket, self._feed.poke, self._auditor)
        self._metrics = (
            [Endpoint(config.metrics.controller, self._composer, self._requests.waited)]
            if config.metrics.enabled
            else []
        )
        self._services: list[Any] = []
        collect_rarely()
        wire.install(self._composer.refusals)
        self._openflow.install()

    def _secure(self, folder: AuthorityFolder, config_file: str | None) -> tuple[TlsDoor, Enrolment]:
        """What the agents' server needs for TLS."""
        authority = folder.authority().certificate
        port = self.CONF.ofp_tcp_listen_port
        enrolment = Enrolment(config_file, self._composer.admission, authority, port, self._feed.poke)
        return TlsDoor(folder, demand=False), enrolment

    def start(self) -> None:
        """Begin to serve."""
        super().start()
        for service in (
            self._feed.run,
            self._agents.serve_forever,
            self._requests.serve_forever,
            self._auditor.run,
            *(endpoint.serve_forever for endpoint in self._metrics),
        ):
            self._services.append(eventlet.spawn(_vital, service))

    def stop(self) -> None:
        """End everything that was started; the switches keep their flows."""
        for service in self._services:
            service.kill()
        for service in self._services:
            with suppress(eventlet.greenlet.GreenletExit):  # of one that had not begun yet
                service.wait()
        self._requests.close()
        self._composer.close()
        self._feed.stop()
        self._facts.stop()
        super().stop()

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])  # type: ignore[untyped-decorator]
    def switch_changed(self, event: Any) -> None:
        """A peer has finished its handshake, or is gone."""
        if event.state == MAIN_DISPATCHER:
            self._openflow.ready(event.datapath)
        else:
            self._openflow.gone(event.datapath)

    def _store_problem(self, text: str) -> None:
        self._composer.store_problem = text


def _vital(service: Callable[[], None]) -> None:
    """Run a service that must not end: a fault kills the process loudly, and its supervisor starts it again.

    A controller that is half alive would look well and enforce nothing new; the switches keep their flows meanwhile.
    """
    try:
        service()
    except eventlet.greenlet.GreenletExit:
        return
    except Exception:
        LOG.critical("%s failed; the controller ends", getattr(service, "__qualname__", service), exc_info=True)
    os._exit(70)
