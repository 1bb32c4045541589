"""Answers DHCP: who asks is known by host and port, what it is told by the store's records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controller.index import Index, Place
from controller.packet_in import Handler, Unanswerable
from econe_api.config import DhcpConfig, Hypervisor
from flowrules.actions import Output
from flowrules.addresses import ipv4_to_int, mac_to_int
from flowrules.dhcp import Lease, answer, read_request
from flowrules.packet_in import PacketIn, packet_out


def dhcp_handler(settings: DhcpConfig, other_mtus: Mapping[str, int]) -> Handler:
    """A handler for the packets of table DHCP; ``other_mtus`` holds what differs from the settings, by host."""

    def handle(index: Index, host: str, packet: PacketIn) -> tuple[bytes]:
        lease = lease_of(index, Place(host, packet.in_port), settings, other_mtus.get(host, settings.mtu))
        request = read_request(packet.frame)
        frame = answer(request, lease) if request is not None and lease is not None else None
        if frame is None:
            raise Unanswerable(f"no DHCP that port {packet.in_port} may ask")
        # Past the pipeline: nobody else could have sent it, and nobody else gets it.
        return (packet_out([Output(packet.in_port)], frame),)

    return handle


def mtus(hypervisors: Iterable[Hypervisor]) -> dict[str, int]:
    """The MTU of hosts whose compute backend has an option ``mtu`` for its instances' interfaces."""
    return {host.name: int(text) for host in hypervisors if (text := host.options.get("mtu", "")).isdecimal()}


def lease_of(index: Index, place: Place, settings: DhcpConfig, mtu: int) -> Lease | None:
    """What the interface at ``place`` is told; None when there is none that the store knows whole."""
    ports = index.hosts.get(place.host)
    bound = ports.interfaces.items() if ports is not None else ()
    interface = next((name for name, binding in bound if binding.ofport == place.ofport), "")
    record = index.interfaces.get(interface)
    # An interface that is being moved is plugged in twice, and that of a strange MAC is nobody's.
    if record is None or index.places.get(interface) != place:
        return None
    subnet, vpc = index.subnets.get(record.subnet), index.vpcs.get(record.vpc)
    address = next((text for text in record.addresses if ":" not in text), None)
    if subnet is None or vpc is None or address is None:
        return None
    return Lease(
        mac=mac_to_int(record.mac),
        address=ipv4_to_int(address),
        prefix_length=int(subnet.cidr.partition("/")[2]),
        gateway=ipv4_to_int(subnet.gateway),
        mtu=mtu,
        seconds=settings.lease,
        hostname=f"ip-{address.replace('.', '-')}",
        domain=settings.domain,
        dns=tuple(ipv4_to_int(server) for server in settings.dns) if vpc.dns_support else (),
    )
