"""Follows a packet through the real switches by ``ofproto/trace``, on every host of its way.

Nothing is sent; what the switches would do now with the first packet of a connection is asked of them, and the flows
that they name are said as the rules and objects they stand for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from eventlet.greenpool import GreenPool

from controller.agent_channel import AskError
from controller.bindings import HostPorts
from controller.composer import Composer
from controller.keys import Key
from controller.reasons import Allowing, Journey, Service, allowing, closed_subnet, denial, ending, inside
from controller.trace_ends import End, TraceError, read_destination, read_service, read_source, read_version
from controller.trace_frame import Frame, flow_words, leaving, question_for
from controller.trace_text import IN_PORT, Reading, Step, read_trace
from controller.words import group_words, interface_words, key_words, rule_words
from flowrules.addresses import ipv4_to_text
from flowrules.flow import COOKIE_HASH_BITS, OWNER_TAG
from flowrules.tables import TABLES

__all__ = ["TraceError", "trace"]

_NEW = ("--ct-next", "trk,new") * 4
#: A packet sees at most: out, public network, in; or out, fabric, in.
_MOST_HOPS = 4
#: Hosts that are asked at once who answers for an elastic IP; with more of them only the expected one is asked.
_MOST_ASKED = 32
#: Who asks by ARP on the public network; it takes part in nothing else.
_NOBODY = ("02:00:00:00:00:fe", "192.0.2.254")


def trace(composer: Composer, message: Mapping[str, Any]) -> dict[str, Any]:
    """The reply to a ``trace`` request (docs/architecture.md, "Messages"); raises :class:`TraceError`."""
    source_spec, destination_spec = message.get("source"), message.get("destination")
    if not isinstance(source_spec, dict) or not isinstance(destination_spec, dict):
        raise TraceError("source and destination must name an interface or an address")
    index, service = composer.index, read_service(message)
    version = read_version(source_spec, destination_spec, service)
    source = read_source(index, source_spec, version)
    destination = read_destination(index, destination_spec, source, version)
    if source.interface is None and destination.interface is None:
        raise TraceError(f"neither {source.address} nor {destination.address} is in this cloud")
    walk = _Walk(composer, service, source, destination, version)
    try:
        walk.go()
    except AskError as error:
        raise TraceError(str(error)) from error
    return walk.report()


@dataclass(slots=True)
class _Walk:
    composer: Composer
    service: Service
    source: End
    destination: End
    version: int = 4
    allowed: bool = False
    reason: str = ""
    dropped: dict[str, Any] | None = None
    hops: list[dict[str, Any]] = field(default_factory=list)
    rules: list[tuple[str, Allowing]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _owners: dict[str, dict[int, Key]] = field(default_factory=dict)

    # The ways of a packet.

    def go(self) -> None:
        """Send it off."""
        if self.destination.problem is not None:
            self.reason = self.destination.problem
            return
        if self.source.interface is None:
            self._arrive(None, Frame("", "", self.source.address, self.destination.address))
            return
        index = self.composer.index
        record, place = index.interfaces[self.source.interface], index.places.get(self.source.interface)
        subnet = index.subnets.get(record.subnet)
        if place is None or subnet is None:
            self.reason = f"{interface_words(index, record.id)} is not plugged in anywhere: its instance does not run"
            return
        cidr, gateway = subnet.cidr, subnet.gateway
        if self.version == 6:
            cidr, gateway = subnet.ipv6_cidr or "", subnet.ipv6_gateway or ""
        hop = self.destination.address if cidr and inside(cidr, self.destination.address) else gateway
        mac, step = self._find(place.host, place.ofport, (record.mac, self.source.address), hop)
        if mac is None:
            self._end(place.host, step, Frame("", "", self.source.address, hop))
            return
        self._pass(place.host, place.ofport, Frame(record.mac, mac, self.source.address, self.destination.address))

    def _pass(self, host: str, ofport: int, frame: Frame) -> None:
        """Through one bridge, and on."""
        if len(self.hops) >= _MOST_HOPS:
            raise TraceError(f"the packet goes round in circles: {' -> '.join(hop['host'] for hop in self.hops)}")
        ports = self._ports(host)
        reading = self._ask(host, ofport, flow_words(frame, self.service))
        owners = self._cookies(host)
        hop = {
            "host": host,
            "bridge": ports.bridge,
            "entered": self._port_words(host, ofport),
            "steps": [self._step(step, owners) for step in reading.steps],
            "left": None,
        }
        self.hops.append(hop)
        self.rules += [(host, one) for one in self._allowing(reading.steps, owners)]
        self._foreign(host, reading)
        if not reading.outputs:
            self._end(host, ending(reading.steps), leaving(reading, frame))
            return
        output = ofport if reading.outputs[0] == IN_PORT else reading.outputs[0]
        hop["left"] = self._port_words(host, output)
        if len(reading.outputs) > 1:
            self.notes.append(f"{host} sends several copies: to ports {', '.join(map(str, reading.outputs))}")
        self._onward(host, output, leaving(reading, frame), ports)

    def _onward(self, host: str, output: int, frame: Frame, ports: HostPorts) -> None:
        if output == ports.uplink:
            self._arrive(host, frame)
        elif output == ports.fabric:
            self._cross(host, frame)
        elif output in {binding.ofport for binding in ports.interfaces.values()}:
            self.allowed = True
            seen = f"it sees {frame.ip_src} as the client"
            self.reason = f"{self._port_words(host, output)} on {host} gets it; {seen}"
        elif output == ports.metadata:
            self.allowed = True
            self.reason = f"the metadata service of {host} gets it"
        else:
            self.reason = f"{host} sends it to port {output}, where nobody is plugged in"

    def _cross(self, origin: str, frame: Frame) -> None:
        """Over the fabric, to the host of the interface with that MAC."""
        index = self.composer.index
        for interface, place in index.places.items():
            if index.interfaces[interface].mac == frame.eth_dst and place.host != origin:
                fabric = self._ports(place.host).fabric
                if fabric is None:
                    self.reason = f"{place.host} has no port on the fabric"
                    return
                self._pass(place.host, fabric, self._tunnelled(origin, frame))
                return
        self.reason = f"{origin} sends it over the fabric to {frame.eth_dst}, and no other host has that MAC"

    def _arrive(self, origin: str | None, frame: Frame) -> None:
        """The public network: the router sends on to whoever answers ARP for the destination."""
        answers = self._who_has(frame.ip_dst)
        if not answers:
            self._outside(origin, frame)
            return
        if len(answers) > 1:
            self.notes.append(
                f"{' and '.join(host for host, _ in answers)} both answer for {frame.ip_dst}: run sluice audit"
            )
        host, mac = answers[0]
        uplink = self._ports(host).uplink
        router = next(iter(self.composer.index.pools.values())).gateway_mac
        if uplink is not None:
            self._pass(host, uplink, replace(frame, eth_src=router, eth_dst=mac, ttl=frame.ttl - 1))

    def _outside(self, origin: str | None, frame: Frame) -> None:
        index = self.composer.index
        record = index.addresses.get(frame.ip_dst)
        holder = index.interfaces.get(record.interface) if record is not None else None
        if holder is not None and not index.reaches_outside(holder):
            self.reason = f"no host answers for elastic IP {frame.ip_dst}: {closed_subnet(index, holder)}"
        elif record is not None:
            self.reason = (
                f"no host answers for elastic IP {frame.ip_dst}: {interface_words(index, record.interface)} is "
            )
            self.reason += "not plugged in anywhere" if record.interface not in index.places else "not there yet"
        elif origin is None:
            self.reason = f"no host answers for {frame.ip_dst}: it is no elastic IP in use"
        elif any(inside(pool.cidr, frame.ip_dst) and pool.gateway != frame.ip_dst for pool in index.pools.values()):
            self.reason = f"it leaves {origin} as {frame.ip_src}, and nobody of this cloud has {frame.ip_dst}"
        else:
            self.allowed = True
            self.reason = f"it leaves {origin} for the public network as {frame.ip_src}"

    def _end(self, host: str, step: Step | None, frame: Frame) -> None:
        self.reason = denial(self.composer.index, step, self._journey(frame))
        if step is not None:
            name = TABLES[step.table].name if step.table in TABLES else ""
            self.dropped = {"host": host, "table": step.table, "name": name}
            owner = self._cookies(host).get(step.cookie)
            if step.cookie >> COOKIE_HASH_BITS != OWNER_TAG and step.priority is not None and owner is None:
                self.reason = f"a flow that is not ours drops it on {host} in table {step.table}: run sluice audit"

    # Asking.

    def _ask(self, host: str, ofport: int, flow: str) -> Reading:
        bridge = self._ports(host).bridge
        answer = self.composer.channel.ask(host, "ofproto/trace", bridge, f"in_port={ofport},{flow}", *_NEW)
        return read_trace(answer.text)

    def _tunnelled(self, origin: str, frame: Frame) -> Frame:
        """A packet in a tunnel as its far end sees it."""
        sender = self._ports(origin).tunnel_ip
        if frame.tunnel is None or sender is None:
            return frame
        return replace(frame, tunnel=(frame.tunnel[0], ipv4_to_text(sender)))

    def _find(self, host: str, ofport: int, asker: tuple[str, str], target: str) -> tuple[str | None, Step | None]:
        """The MAC that ARP or neighbour discovery finds for an address, or where the question ended."""
        question, answer = question_for(asker, target)
        reading = self._ask(host, ofport, question)
        if reading.outputs and reading.outputs[0] in (IN_PORT, ofport):
            return reading.field(answer), None
        return None, ending(reading.steps)

    def _who_has(self, public_ip: str) -> list[tuple[str, str]]:
        composer, index = self.composer, self.composer.index
        hosts = [host for host, ports in sorted(index.hosts.items()) if ports.uplink and composer.has_agent(host)]
        if len(hosts) > _MOST_ASKED:
            record = index.addresses.get(public_ip)
            place = index.places.get(record.interface) if record else None
            hosts = [place.host] if place else []

        def ask(host: str) -> tuple[str, str | None]:
            try:
                return host, self._find(host, index.hosts[host].uplink or 0, _NOBODY, public_ip)[0]
            except AskError as error:
                self.notes.append(f"{error}; whether it answers for {public_ip} is not known")
                return host, None

        return [(host, mac) for host, mac in GreenPool(_MOST_ASKED).imap(ask, hosts) if mac]

    # Words.

    def report(self) -> dict[str, Any]:
        """What the walk found."""
        index = self.composer.index
        return {
            "allowed": self.allowed,
            "reason": self.reason,
            "source": self.source.words(index),
            "destination": self.destination.words(index),
            "service": self.service.words,
            "rules": [
                {
                    "host": host,
                    "direction": "egress" if one.egress else "ingress",
                    "group": one.group,
                    "group_words": group_words(index, one.group),
                    "rule": one.rule.id,
                    "words": rule_words(index, one.rule),
                }
                for host, one in self.rules
            ],
            "dropped": self.dropped,
            "hops": self.hops,
            "notes": self.notes,
        }

    def _allowing(self, steps: tuple[Step, ...], owners: Mapping[int, Key]) -> Iterator[Allowing]:
        return allowing(self.composer.index, steps, owners, self.service, self.version)

    def _journey(self, frame: Frame) -> Journey:
        return Journey(self.service, frame.ip_src, frame.ip_dst, self.source.interface, self.destination.interface)

    def _step(self, step: Step, owners: Mapping[int, Key]) -> dict[str, Any]:
        table = TABLES.get(step.table)
        owner = owners.get(step.cookie)
        if step.priority is None:
            words = "no flow matches"
        elif owner is None and step.cookie >> COOKIE_HASH_BITS != OWNER_TAG:
            words = f"a flow that is not ours (cookie {step.cookie:#x})"
        else:
            words = key_words(self.composer.index, owner) if owner else "a flow of ours that should be gone"
        return {
            "table": step.table,
            "name": table.name if table else "",
            "words": words,
            "match": step.match,
            "priority": step.priority,
            "cookie": f"{step.cookie:#x}",
            "drops": step.drops,
        }

    def _foreign(self, host: str, reading: Reading) -> None:
        owners = self._cookies(host)
        if any(step.priority is not None and step.cookie not in owners for step in reading.steps):
            self.notes.append(f"{host} has flows on the way that Sluice does not want: run sluice audit --host {host}")

    def _ports(self, host: str) -> HostPorts:
        return self.composer.index.hosts[host]

    def _cookies(self, host: str) -> dict[int, Key]:
        if host not in self._owners:
            desired = self.composer.bridges[host].desired
            self._owners[host] = {flow.cookie: desired.owners[key] for key, flow in desired.flows.items()}
        return self._owners[host]

    def _port_words(self, host: str, ofport: int) -> str:
        ports = self._ports(host)
        if ofport == ports.uplink:
            return f"uplink (port {ofport})"
        if ofport == ports.fabric:
            return f"fabric (port {ofport})"
        if ofport == ports.metadata:
            return f"metadata service (port {ofport})"
        for interface, binding in ports.interfaces.items():
            if binding.ofport == ofport:
                return interface_words(self.composer.index, interface)
        return f"port {ofport}"
