"""Flows as text: the lines that ``ovs-ofctl`` reads, in the words and the order in which it prints them.

A line of ours and the line that ``ovs-ofctl dump-flows`` shows for the same flow have the same match and the same
actions, letter for letter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from flowrules import actions as act
from flowrules import fields
from flowrules.fields import CtState, EtherType, Field, IpProtocol, Style, Subfield
from flowrules.flow import Flow, Match

_PORTS = {0xFFFFFFF8: "IN_PORT", 0xFFFFFFFE: "LOCAL"}
_PROTOCOLS = {
    (EtherType.IPV4, IpProtocol.ICMP): "icmp",
    (EtherType.IPV4, IpProtocol.TCP): "tcp",
    (EtherType.IPV4, IpProtocol.UDP): "udp",
    (EtherType.IPV4, IpProtocol.SCTP): "sctp",
    (EtherType.IPV6, IpProtocol.ICMPV6): "icmp6",
    (EtherType.IPV6, IpProtocol.TCP): "tcp6",
    (EtherType.IPV6, IpProtocol.UDP): "udp6",
    (EtherType.IPV6, IpProtocol.SCTP): "sctp6",
}
_ETHERTYPES = {EtherType.IPV4: "ip", EtherType.ARP: "arp", EtherType.IPV6: "ipv6"}
_CT_STATES = (
    (CtState.NEW, "new"),
    (CtState.ESTABLISHED, "est"),
    (CtState.RELATED, "rel"),
    (CtState.REPLY, "rpl"),
    (CtState.INVALID, "inv"),
    (CtState.TRACKED, "trk"),
)
_VLAN_PRESENT = 0x1000
_VLAN_BITS = 0x1FFF

#: Names in a match that differ from the field's own, and the order of all of them; protocol words come after ct_*.
_PORT_NAMES = {
    "tcp_src": "tp_src",
    "tcp_dst": "tp_dst",
    "udp_src": "tp_src",
    "udp_dst": "tp_dst",
    "sctp_src": "tp_src",
    "sctp_dst": "tp_dst",
    "icmpv6_type": "icmp_type",
    "icmpv6_code": "icmp_code",
}
_ORDER = (
    "ct_state",
    "ct_zone",
    "ct_mark",
    "PROTOCOL",
    "REGISTER",
    "tun_id",
    "tun_src",
    "tun_dst",
    "metadata",
    "in_port",
    "vlan_vid",
    "dl_src",
    "dl_dst",
    "dl_type",
    "nw_src",
    "nw_dst",
    "ipv6_src",
    "ipv6_dst",
    "arp_spa",
    "arp_tpa",
    "nw_proto",
    "arp_op",
    "arp_sha",
    "arp_tha",
    "icmp_type",
    "icmp_code",
    "tp_src",
    "tp_dst",
    "nd_target",
    "nd_sll",
    "nd_tll",
)
_RANK = {name: number for number, name in enumerate(_ORDER)}

#: Names of fields in ``load`` and ``move``, and in ``set_field``.
_SUBFIELD_NAMES = {
    "metadata": "OXM_OF_METADATA",
    "xreg4": "OXM_OF_PKT_REG4",
    "vlan_vid": "OXM_OF_VLAN_VID",
    "dl_dst": "NXM_OF_ETH_DST",
    "dl_src": "NXM_OF_ETH_SRC",
    "nw_src": "NXM_OF_IP_SRC",
    "nw_dst": "NXM_OF_IP_DST",
    "arp_op": "NXM_OF_ARP_OP",
    "arp_spa": "NXM_OF_ARP_SPA",
    "arp_tpa": "NXM_OF_ARP_TPA",
    "arp_sha": "NXM_NX_ARP_SHA",
    "arp_tha": "NXM_NX_ARP_THA",
    "ipv6_src": "NXM_NX_IPV6_SRC",
    "ipv6_dst": "NXM_NX_IPV6_DST",
    "NXM_OF_IN_PORT": "NXM_OF_IN_PORT",
}
_SET_FIELD_NAMES = {"dl_dst": "eth_dst", "dl_src": "eth_src", "nw_src": "ip_src", "nw_dst": "ip_dst"}


def _mac(value: int) -> str:
    return value.to_bytes(6, "big").hex(":")


def _spell(style: Style, value: int) -> str:
    if style is Style.MAC:
        return _mac(value)
    if style is Style.IPV4:
        return str(IPv4Address(value))
    if style is Style.IPV6:
        return str(IPv6Address(value))
    if style is Style.HEXADECIMAL:
        return f"{value:#x}" if value else "0"
    return str(value)


def _prefix_length(mask: int, bits: int) -> int | None:
    """Length of the prefix that ``mask`` is, None when its ones are not on the left."""
    ones = mask.bit_count()
    return ones if mask == ((1 << ones) - 1) << (bits - ones) else None


def _ct_state(item: Match) -> str:
    flags = [("+" if item.value & bit else "-") + name for bit, name in _CT_STATES if item.mask & bit]
    return "ct_state=" + "".join(flags)


def _vlan(item: Match) -> str:
    if item.mask & _VLAN_BITS == _VLAN_BITS and item.value & _VLAN_PRESENT:
        return f"dl_vlan={item.value & ~_VLAN_PRESENT}"
    return f"vlan_tci=0x{item.value:04x}/0x{item.mask & _VLAN_BITS:04x}"


def _masked(style: Style, item: Match) -> str:
    if style is Style.MAC:
        return f"{_mac(item.value)}/{_mac(item.mask)}"
    if style in (Style.IPV4, Style.IPV6):
        prefix = _prefix_length(item.mask, item.field.bits)
        return f"{_spell(style, item.value)}/{_spell(style, item.mask) if prefix is None else prefix}"
    # As printf's %#x, which leaves the base out at zero; ports are always written with it.
    value = _spell(style, item.value) if style is Style.HEXADECIMAL else f"{item.value:#x}"
    return f"{value}/{item.mask:#x}"


def _test(item: Match) -> str:
    if item.name == "ct_state":
        return _ct_state(item)
    if item.name == "vlan_vid":
        return _vlan(item)
    if item.name == "in_port":
        return f"in_port={_PORTS.get(item.value, item.value)}"
    value = _spell(item.field.style, item.value) if item.exact else _masked(item.field.style, item)
    return f"{_PORT_NAMES.get(item.name, item.name)}={value}"


def _protocol(tests: dict[str, Match]) -> str | None:
    """The word that stands for ethertype and protocol; takes out of ``tests`` what it says."""
    ethertype = tests.get("dl_type")
    if ethertype is None or ethertype.value not in _ETHERTYPES:
        return None
    del tests["dl_type"]
    protocol = tests.get("nw_proto")
    word = _PROTOCOLS.get((ethertype.value, protocol.value)) if protocol is not None else None
    if word is None:
        return _ETHERTYPES[ethertype.value]
    del tests["nw_proto"]
    return word


def _registers(item: Match) -> Iterable[tuple[int, int, str]]:
    """Spell a register; a 64-bit one as its two halves."""
    number = int(item.name.lstrip("xreg"))
    parts = [(number, item.value, item.mask)]
    if item.name.startswith("x"):
        low = 0xFFFFFFFF
        parts = [(2 * number, item.value >> 32, item.mask >> 32), (2 * number + 1, item.value & low, item.mask & low)]
    for register, value, mask in parts:
        if mask:
            field = Field(f"reg{register}", fields.REG0.oxm_class, register, 32, Style.HEXADECIMAL)
            yield _RANK["REGISTER"], register, _test(Match(field.name, value, mask, field))


def match_text(matches: Iterable[Match]) -> str:
    """Spell a match; the empty string matches everything."""
    tests = {item.name: item for item in matches if item.mask}
    word = _protocol(tests)
    spelled: list[tuple[int, int, str]] = [] if word is None else [(_RANK["PROTOCOL"], 0, word)]
    for name, item in tests.items():
        if item.field.oxm_class == fields.XREG4.oxm_class or name.startswith("reg"):
            spelled.extend(_registers(item))
        else:
            spelled.append((_RANK[_PORT_NAMES.get(name, name)], 0, _test(item)))
    return ",".join(text for *_, text in sorted(spelled))


def _subfield(target: Subfield) -> str:
    name = _SUBFIELD_NAMES.get(target.field.name, f"NXM_NX_{target.field.name.upper()}")
    if target.bits == target.field.bits:
        return f"{name}[]"
    if target.bits == 1:
        return f"{name}[{target.offset}]"
    return f"{name}[{target.offset}..{target.offset + target.bits - 1}]"


def _load(action: act.Load) -> str:
    return f"load:{_spell(Style.HEXADECIMAL, action.value)}->{_subfield(action.target)}"


def _set_field(action: act.SetField) -> str:
    field = action.field
    style = Style.DECIMAL if field.name == "vlan_vid" else field.style
    return f"set_field:{_spell(style, action.value)}->{_SET_FIELD_NAMES.get(field.name, field.name)}"


def _ct(action: act.Ct) -> str:
    parts = ["commit"] if action.commit else []
    if action.table is not None:
        parts.append(f"table={action.table}")
    parts.append(f"zone={_subfield(action.zone)}")
    if action.mark is not None:
        parts.append(f"exec({_load(action.mark)})")
    return f"ct({','.join(parts)})"


def _output(action: act.Output) -> str:
    return _PORTS.get(action.port) or f"output:{action.port}"


_ACTIONS: dict[type, Callable[[Any], str]] = {
    act.Output: _output,
    act.OutputTo: lambda action: f"output:{_subfield(action.source)}",
    act.OutputInPort: lambda _: "IN_PORT",
    act.ToController: lambda _: "CONTROLLER:65535",
    act.Resubmit: lambda action: f"resubmit(,{action.table})",
    act.Load: _load,
    act.Move: lambda action: f"move:{_subfield(action.source)}->{_subfield(action.target)}",
    act.SetField: _set_field,
    act.DecTtl: lambda _: "dec_ttl",
    act.PushVlan: lambda _: "push_vlan:0x8100",
    act.PopVlan: lambda _: "pop_vlan",
    act.Ct: _ct,
    act.CtClear: lambda _: "ct_clear",
}


def actions_text(actions: Iterable[act.Action]) -> str:
    """Spell an action list; an empty one is ``drop``."""
    return ",".join(_ACTIONS[type(action)](action) for action in actions) or "drop"


def flow_text(flow: Flow) -> str:
    """Spell ``flow`` as one line for ``ovs-ofctl add-flow``."""
    match = match_text(flow.matches)
    meter = f"meter:{flow.meter.id}," if flow.meter is not None else ""
    head = f"table={flow.table},priority={flow.priority},cookie={flow.cookie:#x}"
    return f"{head}{',' if match else ''}{match} actions={meter}{actions_text(flow.actions)}"
