"""Follows a packet through the real switches by ``ofproto/trace``, on every host of its way.

Nothing is sent; what the switches would do now with the first packet of a connection is asked of them, and the flows
that they name are said as the rules and objects they stand for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from eventlet.greenpool import GreenPool

from controller.agent_channel import AskError
from controller.bindings import HostPorts
from controller.composer import Composer
from controller.keys import Key
from controller.reasons import Allowing, Journey, Service, allowing, denial, ending, inside
from controller.trace_ends import End, TraceError, read_destination, read_service, read_source
from controller.trace_text import IN_PORT, Reading, Step, read_trace
from controller.words import group_words, interface_words, key_words, rule_words
from flowrules.flow import COOKIE_HASH_BITS, OWNER_TAG
from flowrules.tables import TABLES

__all__ = ["TraceError", "trace"]

_BROADCAST = "ff:ff:ff:ff:ff:ff"
_CLIENT_PORT = 40000
_PORTED = {6: "tcp", 17: "udp", 132: "sctp"}
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
    source = read_source(index, source_spec)
    destination = read_destination(index, destination_spec, source)
    if source.interface is None and destination.interface is None:
        raise TraceError(f"neither {source.address} nor {destination.address} is in this cloud")
    walk = _Walk(composer, service, source, destination)
    try:
        walk.go()
    except AskError as error:
        raise TraceError(str(error)) from error
    return walk.report()


@dataclass(frozen=True, slots=True)
class _Frame:
    """The header fields that the pipeline may change; MACs are text, ``vlan`` and ``tunnel`` None = none."""

    eth_src: str
    eth_dst: str
    ip_src: str
    ip_dst: str
    ttl: int = 64
    vlan: int | None = None
    tunnel: int | None = None


@dataclass(slots=True)
class _Walk:
    composer: Composer
    service: Service
    source: End
    destination: End
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
            self._arrive(None, _Frame("", "", self.source.address, self.destination.address))
            return
        index = self.composer.index
        record, place = index.interfaces[self.source.interface], index.places.get(self.source.interface)
        subnet = index.subnets.get(record.subnet)
        if place is None or subnet is None:
            self.reason = f"{interface_words(index, record.id)} is not plugged in anywhere: its instance does not run"
            return
        near = inside(subnet.cidr, self.destination.address)
        hop = self.destination.address if near else subnet.gateway
        mac, step = self._arp(place.host, place.ofport, (record.mac, self.source.address), hop)
        if mac is None:
            self._end(place.host, step, _Frame("", "", self.source.address, hop))
            return
        self._pass(place.host, place.ofport, _Frame(record.mac, mac, self.source.address, self.destination.address))

    def _pass(self, host: str, ofport: int, frame: _Frame) -> None:
        """Through one bridge, and on."""
        if len(self.hops) >= _MOST_HOPS:
            raise TraceError(f"the packet goes round in circles: {' -> '.join(hop['host'] for hop in self.hops)}")
        ports = self._ports(host)
        reading = self._ask(host, ofport, self._flow(frame))
        owners = self._cookies(host)
        hop = {
            "host": host,
            "bridge": ports.bridge,
            "entered": self._port_words(host, ofport),
            "steps": [self._step(step, owners) for step in reading.steps],
            "left": None,
        }
        self.hops.append(hop)
        self.rules += [(host, one) for one in allowing(self.composer.index, reading.steps, owners, self.service)]
        self._foreign(host, reading)
        if not reading.outputs:
            self._end(host, ending(reading.steps), self._leaving(reading, frame))
            return
        output = ofport if reading.outputs[0] == IN_PORT else reading.outputs[0]
        hop["left"] = self._port_words(host, output)
        if len(reading.outputs) > 1:
            self.notes.append(f"{host} sends several copies: to ports {', '.join(map(str, reading.outputs))}")
        self._onward(host, output, self._leaving(reading, frame), ports)

    def _onward(self, host: str, output: int, frame: _Frame, ports: HostPorts) -> None:
        if output == ports.uplink:
            self._arrive(host, frame)
        elif output == ports.fabric:
            self._cross(host, frame)
        elif output in {binding.ofport for binding in ports.interfaces.values()}:
            self.allowed = True
            seen = f"it sees {frame.ip_src} as the client"
            self.reason = f"{self._port_words(host, output)} on {host} gets it; {seen}"
        else:
            self.reason = f"{host} sends it to port {output}, where nobody is plugged in"

    def _cross(self, origin: str, frame: _Frame) -> None:
        """Over the fabric, to the host of the interface with that MAC."""
        index = self.composer.index
        for interface, place in index.places.items():
            if index.interfaces[interface].mac == frame.eth_dst and place.host != origin:
                fabric = self._ports(place.host).fabric
                if fabric is None:
                    self.reason = f"{place.host} has no port on the fabric"
                    return
                self._pass(place.host, fabric, frame)
                return
        self.reason = f"{origin} sends it over the fabric to {frame.eth_dst}, and no other host has that MAC"

    def _arrive(self, origin: str | None, frame: _Frame) -> None:
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

    def _outside(self, origin: str | None, frame: _Frame) -> None:
        index = self.composer.index
        record = index.addresses.get(frame.ip_dst)
        if record is not None:
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

    def _end(self, host: str, step: Step | None, frame: _Frame) -> None:
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

    def _arp(self, host: str, ofport: int, asker: tuple[str, str], target: str) -> tuple[str | None, Step | None]:
        """The MAC that ARP finds for an address, or where the question ended."""
        mac, source = asker
        request = f"arp,dl_src={mac},dl_dst={_BROADCAST},arp_op=1,arp_sha={mac},arp_spa={source},arp_tpa={target}"
        reading = self._ask(host, ofport, request)
        if reading.outputs and reading.outputs[0] in (IN_PORT, ofport):
            return reading.field("arp_sha"), None
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
                return host, self._arp(host, index.hosts[host].uplink or 0, _NOBODY, public_ip)[0]
            except AskError as error:
                self.notes.append(f"{error}; whether it answers for {public_ip} is not known")
                return host, None

        return [(host, mac) for host, mac in GreenPool(_MOST_ASKED).imap(ask, hosts) if mac]

    def _flow(self, frame: _Frame) -> str:
        service = self.service
        if service.protocol == 1:
            words = [f"icmp,icmp_type={service.port},icmp_code={service.code}"]
        elif service.protocol in _PORTED:
            name = _PORTED[service.protocol]
            words = [f"{name},{name}_src={_CLIENT_PORT},{name}_dst={service.port}"]
        else:
            words = [f"ip,nw_proto={service.protocol}"]
        words.append(f"dl_src={frame.eth_src},dl_dst={frame.eth_dst}")
        words.append(f"nw_src={frame.ip_src},nw_dst={frame.ip_dst},nw_ttl={frame.ttl}")
        if frame.vlan is not None:
            words.append(f"dl_vlan={frame.vlan}")
        if frame.tunnel is not None:
            words.append(f"tun_id={frame.tunnel:#x}")
        return ",".join(words)

    def _leaving(self, reading: Reading, frame: _Frame) -> _Frame:
        vlan = reading.field("dl_vlan")
        return _Frame(
            reading.field("dl_src") or frame.eth_src,
            reading.field("dl_dst") or frame.eth_dst,
            reading.field("nw_src") or frame.ip_src,
            reading.field("nw_dst") or frame.ip_dst,
            int(reading.field("nw_ttl") or frame.ttl),
            int(vlan) if vlan else None,
            reading.tunnel,
        )

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

    def _journey(self, frame: _Frame) -> Journey:
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
        for interface, binding in ports.interfaces.items():
            if binding.ofport == ofport:
                return interface_words(self.composer.index, interface)
        return f"port {ofport}"
