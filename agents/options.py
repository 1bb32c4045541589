"""The agent's command line, checked.  Pure but for the exit on a bad argument."""

from __future__ import annotations

import argparse
import ipaddress
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from agents.bridge import DesiredBridge
from agents.limits import DEFAULT
from telemetry.logs import FORMATS

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_INTERFACE = re.compile(r"[^\s/\x00-\x1f]{1,15}")
_DPID = re.compile(r"(0x)?[0-9A-Fa-f]{1,16}")
_DATAPATH_TYPES = ("system", "netdev")
_LONGEST_BASE = 14
_FABRIC_MODES = ("vlan", "vxlan", "flat")


@dataclass(frozen=True, slots=True)
class Options:
    """What the agent is told to do.

    ``report`` is the controller's address for agents, IP and TCP port; ``control`` is ovs-vswitchd's control socket, or
    the folder that holds it; ``conntrack_limit`` is how many connections one instance may have; ``metadata`` is the
    name of the metadata service's port but for its last digit, None = there shall be none; ``driver_socket`` is where
    OpenNebula's network driver asks, None = nowhere, and the members of ``driver_group`` may.  Prometheus is answered
    at ``metrics``, IP:PORT, None = nowhere; ``log_format`` is one of :data:`telemetry.logs.FORMATS`.  ``tls`` is the
    folder of the host's certificate, None = the controller is talked to in plain text.
    """

    host: str
    bridge: DesiredBridge
    ovsdb: str
    report: tuple[str, int]
    answer_timeout: float
    control: Path
    conntrack_limit: int
    metadata: str | None
    driver_socket: Path | None = None
    driver_group: str | None = None
    metrics: str | None = None
    log_format: str = "human"
    tls: Path | None = None


class _Parser(argparse.ArgumentParser):
    """Ends on a bad argument with one line and status 1."""

    def error(self, message: str) -> NoReturn:
        self.exit(1, f"{self.prog}: {message}; see {self.prog} --help\n")


def parse(arguments: Sequence[str]) -> Options:
    """Return the options; on a bad argument print one line to stderr and raise ``SystemExit(1)``."""
    parser = _parser()
    given = parser.parse_args(arguments)
    metadata = None if given.no_metadata else given.metadata_port or f"md-{given.bridge}"[:_LONGEST_BASE]
    names = [name for name in (given.bridge, given.uplink, given.fabric, metadata) if name is not None]
    if len(set(names)) != len(names):
        parser.error("--bridge, --uplink, --fabric and --metadata-port must be different names")
    if (given.fabric_mode == "vxlan") != (given.fabric_ip is not None):
        parser.error("--fabric-ip goes with --fabric-mode vxlan, and that mode needs it")
    if given.fabric_mode != "vlan" and given.fabric is None:
        parser.error(f"--fabric-mode {given.fabric_mode} needs the name of the port, --fabric")
    if (given.controller.partition(":")[0] == "ssl") != (given.tls is not None):
        parser.error("--controller ssl:IP:PORT goes with --tls DIR, the folder that 'sluice agent join' has filled")
    return Options(
        host=given.host,
        bridge=DesiredBridge(
            name=given.bridge,
            controller=given.controller,
            datapath_type=given.datapath_type,
            dpid=given.dpid,
            uplink=given.uplink,
            fabric=given.fabric,
            fabric_mode=given.fabric_mode,
            fabric_ip=given.fabric_ip,
        ),
        ovsdb=given.ovsdb,
        report=given.report,
        answer_timeout=given.answer_timeout,
        control=given.control or _control(given.ovsdb),
        conntrack_limit=given.conntrack_limit,
        metadata=metadata,
        driver_socket=given.driver_socket,
        driver_group=given.driver_group,
        metrics=given.metrics,
        log_format=given.log_format,
        tls=given.tls,
    )


def _parser() -> _Parser:
    prog = "python -m agents" if sys.argv[0].endswith("__main__.py") else None
    parser = _Parser(prog=prog, description="Prepares a bridge and reports its ports to the controller.")
    add = parser.add_argument
    add("--host", required=True, type=_host, help="name of this hypervisor")
    add("--bridge", default="br-int", type=_interface, help="bridge of the instances (default %(default)s)")
    add(
        "--ovsdb",
        default="unix:/var/run/openvswitch/db.sock",
        type=_ovsdb,
        metavar="REMOTE",
        help="local OVSDB, unix:PATH or tcp:127.0.0.1:PORT (default %(default)s)",
    )
    add("--controller", required=True, type=_target, metavar="TARGET", help="OpenFlow target, tcp:IP:PORT or ssl:...")
    add("--report", required=True, type=_address, metavar="IP:PORT", help="where the controller listens to agents")
    add(
        "--control",
        type=Path,
        metavar="PATH",
        help="control socket of ovs-vswitchd, or its folder (default: the folder of the OVSDB's socket)",
    )
    add("--uplink", type=_interface, metavar="IFACE", help="port to the public network")
    add("--fabric", type=_interface, metavar="IFACE", help="port to the other hypervisors; with vxlan the tunnel's")
    add(
        "--fabric-mode",
        choices=_FABRIC_MODES,
        default="vlan",
        help="how the fabric tells networks apart (default %(default)s); flat: by MAC addresses alone",
    )
    add("--fabric-ip", type=_ipv4, metavar="IP", help="with vxlan: the address of this host that the others send to")
    add("--datapath-type", choices=_DATAPATH_TYPES, help="netdev is the userspace datapath (default system)")
    add(
        "--conntrack-limit",
        type=_connections,
        default=DEFAULT,
        metavar="NUMBER",
        help="connections that one instance's port may have at a time (default %(default)s)",
    )
    add(
        "--metadata-port",
        type=_base,
        metavar="NAME",
        help="name of the metadata service's port, which the agent makes; a digit follows (default md-BRIDGE)",
    )
    add("--tls", type=Path, metavar="DIR", help="speak TLS, with the certificate that 'sluice agent join' put there")
    add("--no-metadata", action="store_true", help="no metadata service on this host")
    add("--driver-socket", type=Path, metavar="PATH", help="listen there to OpenNebula's network driver")
    add("--driver-group", metavar="GROUP", help="whose members may ask at --driver-socket besides root (oneadmin)")
    add("--dpid", type=_dpid, metavar="HEX", help="datapath id (default: Open vSwitch chooses)")
    add("--metrics", type=_endpoint, metavar="IP:PORT", help="answer Prometheus there (default: nowhere)")
    add("--log-format", choices=FORMATS, default="human", help="of log lines (default %(default)s)")
    add(
        "--answer-timeout",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="give a controller up that owes an answer for so long (default %(default)s)",
    )
    return parser


def _control(ovsdb: str) -> Path:
    kind, _, path = ovsdb.partition(":")
    return Path(path).parent if kind == "unix" else Path("/var/run/openvswitch")


def _host(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a host name (letters, digits, dots, dashes)")
    return text


def _interface(text: str) -> str:
    if not _INTERFACE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an interface name (1 to 15 characters, no space, no slash)")
    return text


def _base(text: str) -> str:
    if len(text) > _LONGEST_BASE:
        raise argparse.ArgumentTypeError(f"{text!r} has more than {_LONGEST_BASE} characters")
    return _interface(text)


def _ipv4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IPv4 address") from None


def _address(text: str) -> tuple[str, int]:
    """Parse ``IP:PORT``, an IPv6 address in brackets."""
    host, _, port = text.rpartition(":")
    try:
        if host.startswith("[") and host.endswith("]"):
            ip = str(ipaddress.IPv6Address(host[1:-1]))
        else:
            ip = str(ipaddress.IPv4Address(host))
        number = int(port) if port.isascii() and port.isdigit() else 0
    except ValueError:
        number = 0
    if not 0 < number < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not IP:PORT, such as 10.0.0.1:6654 or [fd00::1]:6654")
    return ip, number


def _endpoint(text: str) -> str:
    _address(text)
    return text


def _target(text: str) -> str:
    kind, _, rest = text.partition(":")
    if kind not in ("tcp", "ssl"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a target such as tcp:10.0.0.1:6653")
    _address(rest)
    return text


def _ovsdb(text: str) -> str:
    kind, _, rest = text.partition(":")
    if kind == "tcp":
        if not ipaddress.ip_address(_address(rest)[0]).is_loopback:
            raise argparse.ArgumentTypeError(f"{text!r} is not on this host; the agent runs beside its Open vSwitch")
    elif kind != "unix" or not rest:
        raise argparse.ArgumentTypeError(f"{text!r} is not unix:PATH or tcp:IP:PORT")
    elif len(rest.encode()) > 107:
        raise argparse.ArgumentTypeError("the path of the socket is over 107 bytes, which is more than Linux takes")
    return text


def _dpid(text: str) -> str:
    value = int(text, 16) if _DPID.fullmatch(text) else 0
    if not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not a datapath id (1 to 16 hexadecimal digits, not all zero)")
    return f"{value:016x}"


def _connections(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() else 0
    if not 0 < value < 1 << 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of connections (1 to 4294967295)")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds between 0.1 and 3600")
    return value
