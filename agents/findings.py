"""What a survey of a host means: each point with ok, warn or fail, and the command that mends it.  Pure.

Sources: ``ovs-vswitchd.conf.db(5)``, ``ovs-appctl(8)``, ``ethtool(8)``; RFC 7348, section 4.3 for the MTU.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

OLDEST = (2, 13)
"""Open vSwitch before this lacks what the pipeline needs: meters, limits of conntrack zones, ct_clear."""
TESTED = (3, 1)
"""What the tests run on."""
TUNNEL_BYTES = 50
"""VXLAN's share of a packet: outer Ethernet 14, IPv4 20, UDP 8, VXLAN 8."""
_MOST_SKEW = 60.0
_WORRY_SKEW = 5.0
_NEEDED = ("CT state", "CT zone", "CT mark", "CT state NAT", "Ct clear", "Recirc")


class Verdict(StrEnum):
    """How a point stands."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One point that was looked at; ``mend`` is a command or a step, "" when nothing is to be done."""

    what: str
    verdict: Verdict
    said: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """A network device: ``offloads`` are those of ``ethtool -k`` that are on."""

    name: str
    up: bool
    mtu: int
    offloads: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class BridgeSeen:
    """A bridge as the database shows it."""

    fail_mode: str = ""
    protocols: frozenset[str] = frozenset()
    targets: tuple[str, ...] = ()
    datapath_type: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the agent is configured to do, as far as it is looked at."""

    bridge: str = "br-int"
    controller: str = ""
    datapath_type: str | None = None
    uplink: str | None = None
    fabric: str | None = None
    fabric_mode: str = "vlan"
    fabric_ip: str | None = None
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """What was seen on a host.

    ``ovs_version`` None = its database does not answer; ``switch`` whether ovs-vswitchd does; ``features`` is None when
    there is no bridge to ask about; ``meters`` how many there may be; ``devices`` by name, ``underlay`` is the one with
    the tunnel's address.  ``certificate`` is its end or what is wrong with it, ``skew`` by how many seconds this clock
    is ahead of the controller's, None = not known.
    """

    ovs_version: str | None = None
    switch: bool = False
    bridge: BridgeSeen | None = None
    features: Mapping[str, str] | None = None
    meters: int | None = None
    devices: Mapping[str, Device] = field(default_factory=dict)
    underlay: Device | None = None
    unreachable: str | None = None
    skew: float | None = None
    certificate: datetime | str | None = None


def judge(wanted: Wanted, seen: Survey, now: datetime) -> list[Finding]:
    """Return every point that was looked at, in the order in which they are mended."""
    return [
        *_open_vswitch(seen),
        *_bridge(wanted, seen),
        *_features(seen),
        *_devices(wanted, seen),
        *_tunnels(wanted, seen),
        *_controller(seen),
        *_clock(seen),
        *_certificate(wanted, seen, now),
    ]


def _open_vswitch(seen: Survey) -> Iterator[Finding]:
    if seen.ovs_version is None:
        yield Finding("ovs", Verdict.FAIL, "ovsdb-server does not answer", "systemctl start openvswitch-switch")
        return
    version = _version(seen.ovs_version)
    newer = "install Open vSwitch 3.1 or newer"
    if version is None or version < OLDEST:
        yield Finding("ovs version", Verdict.FAIL, f"{seen.ovs_version} lacks what the flows need", newer)
    elif version < TESTED:
        yield Finding("ovs version", Verdict.WARN, f"{seen.ovs_version} is older than what is tested", newer)
    else:
        yield Finding("ovs version", Verdict.OK, seen.ovs_version)
    if seen.switch:
        yield Finding("ovs-vswitchd", Verdict.OK, "answers")
    else:
        yield Finding("ovs-vswitchd", Verdict.FAIL, "does not answer", "systemctl restart openvswitch-switch")


def _bridge(wanted: Wanted, seen: Survey) -> Iterator[Finding]:
    what, name, bridge = "bridge", wanted.bridge, seen.bridge
    if seen.ovs_version is None:
        return
    if bridge is None:
        yield Finding(what, Verdict.WARN, f"{name} is not there; the agent makes it", "systemctl start sluice-agent")
        return
    yield Finding(what, Verdict.OK, f"{name} is there")
    if bridge.fail_mode == "secure":
        yield Finding("fail mode", Verdict.OK, "secure")
    else:
        # Changing it empties the flow tables.
        mend = f"ovs-vsctl set-fail-mode {name} secure"
        yield Finding("fail mode", Verdict.FAIL, f"{bridge.fail_mode or 'unset'}: floods without a controller", mend)
    if bridge.protocols and "OpenFlow13" not in bridge.protocols:
        mend = f"ovs-vsctl set bridge {name} protocols=OpenFlow13"
        yield Finding("openflow", Verdict.FAIL, f"only {', '.join(sorted(bridge.protocols))}", mend)
    else:
        yield Finding("openflow", Verdict.OK, "1.3")
    if bridge.targets != (wanted.controller,):
        found = ", ".join(bridge.targets) or "none"
        said = f"{found}, not {wanted.controller}"
        yield Finding("controller target", Verdict.WARN, said, "systemctl restart sluice-agent")
    kind, is_now = wanted.datapath_type, bridge.datapath_type or "system"
    if kind is not None and kind != is_now:
        mend = f"ovs-vsctl set bridge {name} datapath_type={kind}"
        yield Finding("datapath type", Verdict.FAIL, f"{is_now}, not {kind}", mend)


def _features(seen: Survey) -> Iterator[Finding]:
    if seen.features is None:
        return
    known = {name.lower(): value for name, value in seen.features.items()}
    missing = [name for name in _NEEDED if known.get(name.lower(), "Yes") in ("No", "0")]
    if missing:
        mend = "modprobe openvswitch nf_conntrack, or a newer kernel"
        yield Finding("datapath", Verdict.FAIL, f"lacks {', '.join(missing)}", mend)
    else:
        yield Finding("datapath", Verdict.OK, "tracks connections")
    if seen.meters == 0:
        mend = "a kernel of 4.15 or newer, or the userspace datapath"
        yield Finding("meters", Verdict.FAIL, "the datapath has none", mend)
    elif seen.meters is not None:
        yield Finding("meters", Verdict.OK, f"{seen.meters} at most")


def _devices(wanted: Wanted, seen: Survey) -> Iterator[Finding]:
    userspace = (wanted.datapath_type or (seen.bridge.datapath_type if seen.bridge else "")) == "netdev"
    ports = [("uplink", wanted.uplink, "no elastic IPs on this host")]
    if wanted.fabric_mode != "vxlan":
        ports.append(("fabric", wanted.fabric, "no way to the other hosts"))
    for what, name, without in ports:
        if name is None:
            mend = f'{what} = "INTERFACE" in /etc/sluice/agent.toml'
            yield Finding(what, Verdict.WARN, f"none is named: {without}", mend)
            continue
        device = seen.devices.get(name)
        if device is None:
            yield Finding(what, Verdict.FAIL, f"there is no device {name}", f"ip link show; name another {what}")
            continue
        if device.up:
            yield Finding(what, Verdict.OK, f"{name} is up")
        else:
            yield Finding(what, Verdict.FAIL, f"{name} is down", f"ip link set {name} up")
        yield from _offloads(what, device, userspace=userspace)


def _offloads(what: str, device: Device, *, userspace: bool) -> Iterator[Finding]:
    hurting = {"large-receive-offload": ("lro", "glues packets together that are passed on")}
    if userspace:
        hurting["generic-receive-offload"] = ("gro", "makes packets that a userspace switch cannot send")
        hurting["tx-checksumming"] = ("tx", "leaves checksums out that a userspace switch does not fill in")
    found = [(short, why) for name, (short, why) in hurting.items() if name in device.offloads]
    for short, why in found:
        mend = f"ethtool -K {device.name} {short} off"
        yield Finding(f"{what} offloads", Verdict.WARN, f"{short} of {device.name} {why}", mend)
    if not found:
        yield Finding(f"{what} offloads", Verdict.OK, "none that hurts")


def _tunnels(wanted: Wanted, seen: Survey) -> Iterator[Finding]:
    if wanted.fabric_mode != "vxlan":
        return
    if seen.underlay is None:
        mend = f"ip address add {wanted.fabric_ip}/24 dev INTERFACE"
        yield Finding("tunnels", Verdict.FAIL, f"no device has the address {wanted.fabric_ip}", mend)
        return
    name, mtu = seen.underlay.name, seen.underlay.mtu
    if mtu < 1500 + TUNNEL_BYTES:
        mend = f"ip link set {name} mtu {1500 + TUNNEL_BYTES}, or options.mtu = {mtu - TUNNEL_BYTES} of the hypervisor"
        yield Finding("tunnels", Verdict.WARN, f"{name} has MTU {mtu}: instances have {mtu - TUNNEL_BYTES}", mend)
    else:
        yield Finding("tunnels", Verdict.OK, f"{name} has MTU {mtu}")


def _controller(seen: Survey) -> Iterator[Finding]:
    if seen.unreachable is None:
        yield Finding("controller", Verdict.OK, "answers")
    else:
        mend = "start it, open its ports for agents and OpenFlow, or mend controller and report in the file"
        yield Finding("controller", Verdict.FAIL, seen.unreachable, mend)


def _clock(seen: Survey) -> Iterator[Finding]:
    if seen.skew is None:
        return
    said = f"{abs(seen.skew):.0f} s {'ahead of' if seen.skew > 0 else 'behind'} the controller's"
    mend = "timedatectl set-ntp true"
    if abs(seen.skew) >= _MOST_SKEW:
        yield Finding("clock", Verdict.FAIL, f"{said}: certificates may not be good", mend)
    elif abs(seen.skew) >= _WORRY_SKEW:
        yield Finding("clock", Verdict.WARN, said, mend)
    else:
        yield Finding("clock", Verdict.OK, "right")


def _certificate(wanted: Wanted, seen: Survey, now: datetime) -> Iterator[Finding]:
    what, mend = "certificate", "sluice agent join TOKEN, with what 'sluice host token' prints"
    if not wanted.tls:
        mend = f"{mend}; then controller = ssl:... and tls in the file"
        yield Finding(what, Verdict.WARN, "the controller is talked to in plain text", mend)
    elif isinstance(seen.certificate, datetime):
        left = seen.certificate - now
        if left <= timedelta(0):
            yield Finding(what, Verdict.FAIL, f"ended at {seen.certificate:%Y-%m-%d %H:%M} UTC", mend)
        elif left < timedelta(days=14):
            said = f"ends in {left.days} days and was not renewed"
            yield Finding(what, Verdict.WARN, said, "systemctl restart sluice-agent; see its log")
        else:
            yield Finding(what, Verdict.OK, f"good until {seen.certificate:%Y-%m-%d}")
    else:
        yield Finding(what, Verdict.FAIL, seen.certificate or "there is none", mend)


def _version(text: str) -> tuple[int, int] | None:
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None
