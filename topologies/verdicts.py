"""What the switches do with a packet, asked of Open vSwitch itself, and held against the oracle.

One bridge of a :class:`DummySwitch` plays each hypervisor.  ``ofproto/trace`` (``ovs-vswitchd(8)``) says what becomes
of a frame on one bridge, and the tracer carries it on: over the fabric, and over a public network with a router whose
only knowledge is what ARP tells it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from typing import Protocol

from econe_api.store.records import InterfaceRecord, SubnetRecord
from topologies.oracle import DENIED, OUTSIDE, Question, Sender, Service, State, Verdict, verdict
from topologies.trace_output import Frame, field_of, final_flow, frame_of, outputs, tunnel_of

_BROADCAST = "ff:ff:ff:ff:ff:ff"
_PORTED = {6: "tcp", 17: "udp"}
_CLIENT_PORT = 40000
_ECHO, _ECHO_REPLY = 8, 0
_ECHO_IPV6, _ECHO_REPLY_IPV6 = 128, 129


@dataclass(frozen=True, slots=True)
class BridgePorts:
    """A hypervisor's bridge: its name, and the ofports of its uplink and fabric (None = has none).

    ``tunnel_ip`` is its address on the network that carries the tunnels, where the fabric port is one of those.
    """

    name: str
    uplink: int | None
    fabric: int | None
    tunnel_ip: str | None = None


class Asked(Protocol):
    """Whoever answers for the bridges: a :class:`topologies.dummy_switch.DummySwitch`, or those of a lab."""

    def ask(self, command: str, *parameters: str) -> str:
        """What ovs-appctl would say."""


@dataclass(frozen=True, slots=True)
class Guest:
    """A plugged interface, and what its guest knows by DHCP."""

    host: str
    ofport: int
    mac: str
    subnet: str
    gateway: str
    ipv6_subnet: str | None = None
    ipv6_gateway: str | None = None


def guests(state: State, ofports: Mapping[str, int]) -> dict[str, Guest]:
    """The plugged interfaces of a state; ``ofports`` says which OpenFlow port each one has."""
    subnets = {record.id: record for record in state.all(SubnetRecord)}
    return {
        record.id: Guest(
            state.hosts[record.id],
            ofports[record.id],
            record.mac,
            subnets[record.subnet].cidr,
            subnets[record.subnet].gateway,
            subnets[record.subnet].ipv6_cidr,
            subnets[record.subnet].ipv6_gateway,
        )
        for record in state.all(InterfaceRecord)
        if record.id in state.hosts
    }


@dataclass(frozen=True, slots=True)
class Wiring:
    """Hypervisors, guests by interface, and the MAC of the router of the public network."""

    bridges: Mapping[str, BridgePorts]
    guests: Mapping[str, Guest]
    router_mac: str


@dataclass(frozen=True, slots=True)
class _Trip:
    """What stays the same on a packet's way: service and connection state (``new`` or ``est|rpl``)."""

    service: Service
    state: str = "new"

    def transport(self, version: int) -> str:
        service = self.service
        if version == 6:
            return self._over_ipv6()
        if service.protocol == 1:
            return f"icmp,icmp_type={service.port},icmp_code={service.code}"
        name = _PORTED.get(service.protocol)
        if name is None:
            return f"ip,nw_proto={service.protocol}"
        ends = (_CLIENT_PORT, service.port) if self.state == "new" else (service.port, _CLIENT_PORT)
        return f"{name},{name}_src={ends[0]},{name}_dst={ends[1]}"

    def _over_ipv6(self) -> str:
        service = self.service
        if service.protocol == 58:
            return f"icmp6,icmpv6_type={service.port},icmpv6_code={service.code}"
        name = _PORTED.get(service.protocol)
        if name is None:
            return f"ipv6,nw_proto={service.protocol}"
        ends = (_CLIENT_PORT, service.port) if self.state == "new" else (service.port, _CLIENT_PORT)
        return f"{name}6,{name}_src={ends[0]},{name}_dst={ends[1]}"


class TraceError(AssertionError):
    """The switches did what no correct pipeline does: two owners of one address, a frame in two places."""


@dataclass(slots=True)
class Tracer:
    """Follows packets through the bridges of ``switch``; remembers ARP, so make a new one when flows have changed."""

    switch: Asked
    wiring: Wiring
    traces: int = 0
    #: What Open vSwitch said about the latest question.
    said: list[str] = field(default_factory=list)
    _ports: dict[str, dict[int, int]] = field(default_factory=dict)
    _holders: dict[str, tuple[str, str] | None] = field(default_factory=dict)
    _neighbours: dict[tuple[str, str, str], str | None] = field(default_factory=dict)

    def verdict(self, sender: Sender, destination: str, service: Service) -> Verdict:
        """What becomes of the first packet of a connection; raises :class:`TraceError`."""
        self.said.clear()
        return self._send(sender, destination, _Trip(service))

    def reply(self, verdict: Verdict, service: Service) -> Verdict:
        """What becomes of the answer to a connection's packet that had ``verdict``."""
        if service.protocol == 1:
            service = replace(service, port=_ECHO_REPLY if service.port == _ECHO else service.port)
        if service.protocol == 58 and service.port == _ECHO_IPV6:
            service = replace(service, port=_ECHO_REPLY_IPV6)
        receiver = None if verdict.receiver == OUTSIDE else verdict.receiver
        return self._send(Sender(receiver, verdict.destination), verdict.source, _Trip(service, "est|rpl"))

    def _send(self, sender: Sender, destination: str, trip: _Trip) -> Verdict:
        if sender.interface is None:
            return self._arrive(None, Frame("", self.wiring.router_mac, sender.address, destination), trip)
        guest = self.wiring.guests.get(sender.interface)
        if guest is None:
            return DENIED
        version = ip_address(destination).version
        subnet, gateway = guest.subnet, guest.gateway
        if version == 6:
            if guest.ipv6_subnet is None or guest.ipv6_gateway is None:
                return DENIED
            subnet, gateway = guest.ipv6_subnet, guest.ipv6_gateway
        if ip_address(sender.address).version != version:
            return DENIED  # there is no such packet
        near = ip_address(destination) in ip_network(subnet)
        hop = self._neighbour(guest, sender.address, destination if near else gateway)
        if hop is None:
            return DENIED
        frame = Frame(guest.mac, hop, sender.address, destination)
        return self._follow(guest.host, self._pass(guest.host, guest.ofport, frame, trip), trip)

    def inject(self, host: str, ofport: int, frame: str) -> list[int]:
        """Where a raw frame (fields as ``ofproto/trace`` reads them) that enters by ``ofport`` goes."""
        return self._trace(host, f"in_port={ofport},{frame}", "new")[0]

    # The ways of a packet.

    def _follow(self, host: str, emission: tuple[int, Frame] | None, trip: _Trip) -> Verdict:
        if emission is None:
            return DENIED
        ofport, frame = emission
        bridge = self.wiring.bridges[host]
        if ofport == bridge.uplink:
            return self._arrive(host, frame, trip)
        if ofport == bridge.fabric:
            return self._cross(host, frame, trip)
        for interface, guest in self.wiring.guests.items():
            if (guest.host, guest.ofport) == (host, ofport):
                if guest.mac != frame.eth_dst or frame.vlan is not None:
                    raise TraceError(f"{interface} gets a frame that is not for it: {frame}")
                return Verdict(interface, frame.ip_src, frame.ip_dst)
        raise TraceError(f"output to port {ofport} of {host}, where nobody is")

    def _cross(self, origin: str, frame: Frame, trip: _Trip) -> Verdict:
        """The fabric may deliver to every other hypervisor; one at most may take the frame."""
        taken = [
            self._follow(host, emission, trip)
            for host, bridge in self.wiring.bridges.items()
            if host != origin and bridge.fabric is not None
            if (arriving := self._tunnelled(origin, host, frame)) is not None
            if (emission := self._pass(host, bridge.fabric, arriving, trip)) is not None
        ]
        if len(taken) > 1:
            raise TraceError(f"taken by several hosts: {frame}")
        return taken[0] if taken else DENIED

    def _tunnelled(self, origin: str, host: str, frame: Frame) -> Frame | None:
        """The frame as it comes to ``host`` over the fabric; None when it is in a tunnel to another one."""
        bridges = self.wiring.bridges
        far, near = bridges[host].tunnel_ip, bridges[origin].tunnel_ip
        if far is None or near is None:
            return replace(frame, tunnel=None)
        if frame.tunnel is None:
            raise TraceError(f"left {origin} by a tunnel without its number and far end: {frame}")
        return replace(frame, tunnel=(frame.tunnel[0], near)) if frame.tunnel[1] == far else None

    def _arrive(self, origin: str | None, frame: Frame, trip: _Trip) -> Verdict:
        """The public network: the router sends on to whoever answers ARP for the destination."""
        if origin is not None and frame.eth_dst != self.wiring.router_mac:
            raise TraceError(f"left {origin} for a MAC that is not the router's: {frame}")
        if origin is not None and self._holder(frame.ip_src) != (origin, frame.eth_src):
            raise TraceError(f"left {origin} from an address that is not its own: {frame}")
        holder = self._holder(frame.ip_dst)
        if holder is None:
            return DENIED if origin is None else Verdict(OUTSIDE, frame.ip_src, frame.ip_dst)
        host, mac = holder
        uplink = self.wiring.bridges[host].uplink
        if uplink is None:
            raise TraceError(f"{host} answered without an uplink")
        forwarded = replace(frame, eth_src=self.wiring.router_mac, eth_dst=mac, ttl=frame.ttl - 1)
        return self._follow(host, self._pass(host, uplink, forwarded, trip), trip)

    # ARP.

    def _holder(self, public_ip: str) -> tuple[str, str] | None:
        """Which host answers for an address on the public network, and with which MAC."""
        if public_ip not in self._holders:
            answers = [
                (host, mac)
                for host, bridge in self.wiring.bridges.items()
                if bridge.uplink is not None
                if (mac := self._arp(host, bridge.uplink, self.wiring.router_mac, "192.0.2.254", public_ip))
            ]
            if len(answers) > 1:
                raise TraceError(f"{public_ip} has several owners: {answers}")
            self._holders[public_ip] = answers[0] if answers else None
        return self._holders[public_ip]

    def _neighbour(self, guest: Guest, source: str, target: str) -> str | None:
        """The MAC that a guest finds for an address of its subnet."""
        asked = (guest.mac, source, target)
        if asked not in self._neighbours:
            find = self._arp if ip_address(target).version == 4 else self._solicit
            self._neighbours[asked] = find(guest.host, guest.ofport, guest.mac, source, target)
        return self._neighbours[asked]

    def _arp(self, host: str, ofport: int, mac: str, source: str, target: str) -> str | None:
        request = f"arp,dl_src={mac},dl_dst={_BROADCAST},arp_op=1,arp_sha={mac},arp_spa={source},arp_tpa={target}"
        found, final = self._trace(host, f"in_port={ofport},{request}", "new")
        if found != [ofport]:
            if found:
                raise TraceError(f"ARP from port {ofport} of {host} went to {found}")
            return None
        said = {name: field_of(final, name) for name in ("dl_dst", "arp_op", "arp_spa", "arp_tpa", "arp_tha")}
        if said != {"dl_dst": mac, "arp_op": "2", "arp_spa": target, "arp_tpa": source, "arp_tha": mac}:
            raise TraceError(f"a wrong ARP answer: {final}")
        return field_of(final, "arp_sha")

    def _solicit(self, host: str, ofport: int, mac: str, source: str, target: str) -> str | None:
        request = (
            f"icmp6,dl_src={mac},dl_dst=33:33:ff:00:00:01,ipv6_src={source},ipv6_dst=ff02::1:ff00:1,nw_ttl=255,"
            f"icmpv6_type=135,icmpv6_code=0,nd_target={target},nd_sll={mac}"
        )
        found, final = self._trace(host, f"in_port={ofport},{request}", "new")
        if found != [ofport]:
            if found:
                raise TraceError(f"a solicitation from port {ofport} of {host} went to {found}")
            return None
        said = {name: field_of(final, name) for name in ("dl_dst", "icmp_type", "ipv6_src", "ipv6_dst", "nd_target")}
        expected = {"dl_dst": mac, "icmp_type": "136", "ipv6_src": target, "ipv6_dst": source, "nd_target": target}
        if said != expected or field_of(final, "dl_src") != field_of(final, "nd_tll"):
            raise TraceError(f"a wrong advertisement: {final}")
        return field_of(final, "nd_tll")

    # One bridge.

    def _pass(self, host: str, ofport: int, frame: Frame, trip: _Trip) -> tuple[int, Frame] | None:
        version = ip_address(frame.ip_dst).version
        source, destination = ("nw_src", "nw_dst") if version == 4 else ("ipv6_src", "ipv6_dst")
        words = [
            f"in_port={ofport},{trip.transport(version)}",
            f"dl_src={frame.eth_src},dl_dst={frame.eth_dst}",
            f"{source}={frame.ip_src},{destination}={frame.ip_dst},nw_ttl={frame.ttl}",
        ]
        if frame.vlan is not None:
            words.append(f"dl_vlan={frame.vlan}")
        if frame.tunnel is not None and ofport == self.wiring.bridges[host].fabric:
            words.append(f"tun_id={frame.tunnel[0]},tun_src={frame.tunnel[1]}")
        found, final = self._trace(host, ",".join(words), trip.state)
        if len(found) > 1:
            raise TraceError(f"one frame, several copies: {found} of {host}")
        return (found[0], replace(frame_of(final), tunnel=tunnel_of(self.said[-1]))) if found else None

    def _trace(self, host: str, flow: str, state: str) -> tuple[list[int], str]:
        """The ofports that a frame leaves by, and the frame as it is at the end."""
        bridge = self.wiring.bridges[host].name
        self.traces += 1
        states = ("--ct-next", f"trk,{state.replace('|', ',')}") * 3
        text = self.switch.ask("ofproto/trace", bridge, flow, *states)
        self.said.append(text)
        return outputs(text, self._numbers(bridge)), final_flow(text)

    def _numbers(self, bridge: str) -> dict[int, int]:
        """OpenFlow port number by datapath port number."""
        if bridge not in self._ports:
            # All bridges of one type share a datapath: a block per bridge, a line "name ofport/number: ..." per port.
            block = re.search(rf"^  {re.escape(bridge)}:\n((?:    .*\n?)*)", self.switch.ask("dpif/show"), re.MULTILINE)
            pairs = re.findall(r" (\d+)/(\d+):", block[1] if block else "")
            self._ports[bridge] = {int(number): int(ofport) for ofport, number in pairs}
        return self._ports[bridge]


def mismatches(tracer: Tracer, state: State, asked: Iterable[Question]) -> Iterator[str]:
    """Where the switches and the oracle differ, in words; raises :class:`TraceError`."""
    for question in asked:
        difference = mismatch(tracer, question, verdict(state, *question))
        if difference is not None:
            yield difference


def mismatch(tracer: Tracer, question: Question, expected: Verdict) -> str | None:
    """How the switches' verdict differs from the ``expected`` one, in words; None = not at all.

    The answer of what passes must come back as well.  Raises :class:`TraceError`.
    """
    sender, destination, service = question
    found = tracer.verdict(sender, destination, service)
    if found != expected:
        return f"{sender} -> {destination} {service}: found {found}, expected {expected}"
    if expected == DENIED:
        return None
    back = tracer.reply(found, service)
    # An answer reaches the opener from the very address that it had called.
    if (back.receiver, back.source) != (sender.interface or OUTSIDE, destination):
        return f"{sender} -> {destination} {service}: the answer arrives as {back}"
    return None
