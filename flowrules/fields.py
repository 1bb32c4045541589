"""Every packet and metadata field the pipeline uses, by name.

Headers follow the OpenFlow 1.3 specification (section 7.2.3, OXM TLVs) and Open vSwitch's ``ovs-fields(7)`` for the
Nicira extensions.  No other module writes a register number.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum

_OPENFLOW_BASIC = 0x8000
_OPENFLOW_PACKET_REGISTERS = 0x8001
_NICIRA_0 = 0x0000
_NICIRA_1 = 0x0001
_ERICSSON = 0x1000


class Style(Enum):
    """How ``ovs-ofctl`` spells a value of the field."""

    DECIMAL = "decimal"
    HEXADECIMAL = "hexadecimal"
    MAC = "mac"
    IPV4 = "ipv4"
    IPV6 = "ipv6"


@dataclass(frozen=True, slots=True)
class Field:
    """One match field.

    ``name`` is ``ovs-ofctl``'s spelling, ``oxm_class`` and ``oxm_field`` address it on the wire, ``bits`` is its width.
    """

    name: str
    oxm_class: int
    oxm_field: int
    bits: int
    style: Style = Style.DECIMAL
    #: Width on the wire in bytes, the 32-bit OXM header without the mask bit, a mask of all bits, and all bits as a
    #: subfield: kept, since every test and every action asks for some.
    bytes: int = dataclasses.field(init=False, repr=False, compare=False)
    header: int = dataclasses.field(init=False, repr=False, compare=False)
    ones: int = dataclasses.field(init=False, repr=False, compare=False)
    whole: Subfield = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out what follows from the rest."""
        object.__setattr__(self, "bytes", (self.bits + 7) // 8)
        object.__setattr__(self, "header", self.oxm_class << 16 | self.oxm_field << 9 | self.bytes)
        object.__setattr__(self, "ones", (1 << self.bits) - 1)
        object.__setattr__(self, "whole", Subfield(self, 0, self.bits))

    def __hash__(self) -> int:
        """A string remembers its hash, so this is much cheaper than one over all values."""
        return hash(self.name)


@dataclass(frozen=True, slots=True)
class Subfield:
    """``bits`` bits of ``field`` from bit ``offset`` (0 = least significant) upward."""

    field: Field
    offset: int
    bits: int
    #: The bits of the field that belong to this subfield.
    mask: int = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out the mask."""
        object.__setattr__(self, "mask", ((1 << self.bits) - 1) << self.offset)


def _basic(name: str, number: int, bits: int, style: Style = Style.DECIMAL) -> Field:
    return Field(name, _OPENFLOW_BASIC, number, bits, style)


def _nicira(name: str, number: int, bits: int, style: Style = Style.HEXADECIMAL) -> Field:
    return Field(name, _NICIRA_1, number, bits, style)


IN_PORT = _basic("in_port", 0, 32)
METADATA = _basic("metadata", 2, 64, Style.HEXADECIMAL)
ETH_DST = _basic("dl_dst", 3, 48, Style.MAC)
ETH_SRC = _basic("dl_src", 4, 48, Style.MAC)
ETH_TYPE = _basic("dl_type", 5, 16, Style.HEXADECIMAL)
VLAN_VID = _basic("vlan_vid", 6, 16, Style.HEXADECIMAL)
IP_PROTO = _basic("nw_proto", 10, 8)
IPV4_SRC = _basic("nw_src", 11, 32, Style.IPV4)
IPV4_DST = _basic("nw_dst", 12, 32, Style.IPV4)
TCP_SRC = _basic("tcp_src", 13, 16)
TCP_DST = _basic("tcp_dst", 14, 16)
UDP_SRC = _basic("udp_src", 15, 16)
UDP_DST = _basic("udp_dst", 16, 16)
SCTP_SRC = _basic("sctp_src", 17, 16)
SCTP_DST = _basic("sctp_dst", 18, 16)
ICMP_TYPE = _basic("icmp_type", 19, 8)
ICMP_CODE = _basic("icmp_code", 20, 8)
ARP_OP = _basic("arp_op", 21, 16)
ARP_SPA = _basic("arp_spa", 22, 32, Style.IPV4)
ARP_TPA = _basic("arp_tpa", 23, 32, Style.IPV4)
ARP_SHA = _basic("arp_sha", 24, 48, Style.MAC)
ARP_THA = _basic("arp_tha", 25, 48, Style.MAC)
IPV6_SRC = _basic("ipv6_src", 26, 128, Style.IPV6)
IPV6_DST = _basic("ipv6_dst", 27, 128, Style.IPV6)
ICMPV6_TYPE = _basic("icmpv6_type", 29, 8)
ICMPV6_CODE = _basic("icmpv6_code", 30, 8)
ND_TARGET = _basic("nd_target", 31, 128, Style.IPV6)
ND_SLL = _basic("nd_sll", 32, 48, Style.MAC)
ND_TLL = _basic("nd_tll", 33, 48, Style.MAC)
#: Flags of a neighbour advertisement, and the type of the link-layer address option (Ericsson's extensions).
ND_RESERVED = Field("nd_reserved", _ERICSSON, 1, 32, Style.DECIMAL)
ND_OPTIONS_TYPE = Field("nd_options_type", _ERICSSON, 2, 8)
TUN_ID = _basic("tun_id", 38, 64, Style.HEXADECIMAL)

#: The 16-bit ingress port of NXM; actions clear it so that a packet may leave where it came in (``ovs-actions(7)``).
NXM_IN_PORT = Field("NXM_OF_IN_PORT", _NICIRA_0, 0, 16)

TUN_SRC = _nicira("tun_src", 31, 32, Style.IPV4)
TUN_DST = _nicira("tun_dst", 32, 32, Style.IPV4)
CT_STATE = _nicira("ct_state", 105, 32)
CT_ZONE = _nicira("ct_zone", 106, 16, Style.DECIMAL)
CT_MARK = _nicira("ct_mark", 107, 32)

REG0 = _nicira("reg0", 0, 32)
REG1 = _nicira("reg1", 1, 32)
REG3 = _nicira("reg3", 3, 32)
REG5 = _nicira("reg5", 5, 32)
REG6 = _nicira("reg6", 6, 32)
REG10 = _nicira("reg10", 10, 32)
#: 64 bits made of reg8 (high half) and reg9 (low half).
XREG4 = Field("xreg4", _OPENFLOW_PACKET_REGISTERS, 4, 64, Style.HEXADECIMAL)

# What the registers mean.  ``docs/pipeline.md`` prints this table; a test checks that nothing overlaps.

#: The VPC of the packet: its number in the store.
VPC = METADATA.whole
#: ofport of the local port the packet came from, which is also its conntrack zone; 0 = from outside this host.
SOURCE_PORT = REG0.whole
#: ofport of the local port the packet goes to, which is also its conntrack zone; 0 = not known.
DESTINATION_PORT = REG1.whole
#: The conntrack zones of the two ports: the lower 16 bits of their ofports.
SOURCE_ZONE = Subfield(REG0, 0, 16)
DESTINATION_ZONE = Subfield(REG1, 0, 16)
#: The security group whose rules are being looked up.
GROUP = REG3.whole
#: The remote set being looked up (:func:`flowrules.remotes.remote_set_id`).
REMOTE_SET = XREG4.whole
#: 1 = some rule of some group allows the packet.
VERDICT = Subfield(REG5, 0, 1)
#: 1 = the destination was an elastic IP of this host.
VIA_ELASTIC_IP = Subfield(REG6, 0, 1)
#: 1 = came from the private fabric between hypervisors.
FROM_FABRIC = Subfield(REG6, 1, 1)
#: The address that the rewrite of an elastic IP has replaced: inward the elastic IP, outward the private address.
REPLACED = REG10.whole
#: Bit of the connection mark: 1 = the rule that allowed this connection is gone.
BLOCKED = Subfield(CT_MARK, 0, 1)

#: Name, subfield and meaning of every piece of pipeline state, for documentation and the overlap test.
PIPELINE_STATE: tuple[tuple[str, Subfield, str], ...] = (
    ("VPC", VPC, "number of the packet's VPC"),
    ("SOURCE_PORT", SOURCE_PORT, "ofport and conntrack zone of the local source port; 0 = from outside this host"),
    ("DESTINATION_PORT", DESTINATION_PORT, "ofport and conntrack zone of the local destination port; 0 = not known"),
    ("GROUP", GROUP, "security group being looked up"),
    ("REMOTE_SET", REMOTE_SET, "remote set being looked up: a group, a CIDR, a prefix list"),
    ("VERDICT", VERDICT, "1 = a rule of a group allows the packet"),
    ("VIA_ELASTIC_IP", VIA_ELASTIC_IP, "1 = was sent to an elastic IP of this host"),
    ("FROM_FABRIC", FROM_FABRIC, "1 = came from the fabric between hypervisors"),
    ("REPLACED", REPLACED, "address that the rewrite of an elastic IP has replaced, for the repair of ICMP errors"),
    ("BLOCKED", BLOCKED, "connection mark: 1 = the rule that allowed the connection is gone"),
)


class CtState:
    """Bits of ``ct_state`` (``ovs-fields(7)``)."""

    NEW = 0x01
    ESTABLISHED = 0x02
    RELATED = 0x04
    REPLY = 0x08
    INVALID = 0x10
    TRACKED = 0x20


class EtherType:
    """IEEE 802 EtherTypes the pipeline knows."""

    IPV4 = 0x0800
    ARP = 0x0806
    VLAN = 0x8100
    IPV6 = 0x86DD


class IpProtocol:
    """IANA protocol numbers with a name in the EC2 API."""

    ANY = -1
    ICMP = 1
    TCP = 6
    UDP = 17
    ICMPV6 = 58
    SCTP = 132
