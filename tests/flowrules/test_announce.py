"""Gratuitous ARP, read back by two other programs."""

import subprocess

from scapy.layers.l2 import ARP, Ether

from flowrules.actions import Output
from flowrules.addresses import elastic_ip_mac, ipv4_to_int, mac_to_text
from flowrules.announce import announcement
from flowrules.packet_in import packet_out

PUBLIC = ipv4_to_int("198.51.100.64")
MAC = mac_to_text(elastic_ip_mac(PUBLIC))


def test_the_announcement_is_a_broadcast_request_for_its_own_address():
    frame = Ether(announcement(PUBLIC))
    assert (frame.dst, frame.src) == ("ff:ff:ff:ff:ff:ff", MAC)
    arp = frame[ARP]
    assert (arp.op, arp.psrc, arp.pdst, arp.hwsrc) == (1, "198.51.100.64", "198.51.100.64", MAC)


def test_open_vswitch_reads_the_packet_out_as_meant():
    message = packet_out([Output(1)], announcement(PUBLIC), xid=7)
    said = subprocess.run(
        ["ovs-ofctl", "ofp-print", "-"], input=message.hex(), capture_output=True, text=True, check=True
    ).stdout
    assert "OFPT_PACKET_OUT (OF1.3) (xid=0x7)" in said
    assert "in_port=CONTROLLER actions=output:1" in said
    assert "arp_spa=198.51.100.64,arp_tpa=198.51.100.64,arp_op=1" in said
