"""Looks at a host with the tools that are there: ovs-vsctl, ovs-appctl, ovs-ofctl, ip, ethtool.  Changes nothing."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.findings import BridgeSeen, Device, Survey, Wanted
from agents.options import Options
from certificates import contexts
from certificates.authority import CONTROLLER_NAME
from certificates.files import Credentials, FilesError, HostFolder
from channel.frames import FrameError, FrameReader, pack

_TIMEOUT = 5.0
_FEATURE = re.compile(r"^(?P<name>[^:]+):\s+(?P<value>\S+)", re.MULTILINE)


def wanted(options: Options) -> Wanted:
    """Return what the agent's options ask of the host."""
    bridge = options.bridge
    return Wanted(
        bridge=bridge.name,
        controller=bridge.controller,
        datapath_type=bridge.datapath_type,
        uplink=bridge.uplink,
        fabric=bridge.fabric,
        fabric_mode=bridge.fabric_mode,
        fabric_ip=bridge.fabric_ip,
        tls=options.tls is not None,
    )


def look(options: Options) -> Survey:
    """Return what is there; what cannot be had is left out."""
    bridge = options.bridge
    database = ("ovs-vsctl", f"--db={options.ovsdb}", "--timeout=5", "--format=json")
    version = _rows(_run(*database, "--columns=ovs_version", "list", "Open_vSwitch"))
    seen = _bridge(database, bridge.name) if version else None
    control = _target(options.control)
    running = re.search(r"\d+\.\d+\S*", _run("ovs-appctl", *control, "version"))
    answers = running is not None
    features = _run("ovs-appctl", *control, "dpif/show-dp-features", bridge.name) if seen and answers else ""
    devices = _devices()
    own, certificate = _certificate(options)
    unreachable, skew = _controller(options, own)
    carrying = [name for name, device in devices.items() if bridge.fabric_ip in device[1]]
    return Survey(
        # What runs counts; the column says what was installed when it was last started by the system's script.
        ovs_version=(running[0] if running else str(version[0]["ovs_version"] or "unknown")) if version else None,
        switch=answers,
        bridge=seen,
        features={one["name"].strip(): one["value"] for one in _FEATURE.finditer(features)} if features else None,
        meters=_meters(options) if features else None,
        devices={name: device for name, (device, _) in devices.items()},
        underlay=devices[carrying[0]][0] if carrying else None,
        unreachable=unreachable,
        skew=skew,
        certificate=certificate,
    )


def _run(*command: str) -> str:
    """What a command says; "" when it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=2 * _TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _rows(text: str) -> list[dict[str, Any]]:
    """The rows that ovs-vsctl has written as JSON (``ovs-vsctl(8)``, "--format"), sets as lists."""
    if not text:
        return []
    table = json.loads(text)
    return [dict(zip(table["headings"], map(_value, row), strict=True)) for row in table["data"]]


def _value(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 2 and value[0] == "set":
        return value[1] or None
    return value


def _bridge(database: tuple[str, ...], name: str) -> BridgeSeen | None:
    columns = "--columns=fail_mode,protocols,datapath_type,controller"
    found = _rows(_run(*database, columns, "find", "Bridge", f"name={name}"))
    if not found:
        return None
    row = found[0]
    target = _run(*database[:3], "get-controller", name).split()
    protocols = row["protocols"] or []
    return BridgeSeen(
        fail_mode=row["fail_mode"] or "",
        protocols=frozenset([protocols] if isinstance(protocols, str) else protocols),
        targets=tuple(target),
        datapath_type=row["datapath_type"],
    )


def _target(control: Path) -> tuple[str, ...]:
    """How ovs-appctl is told whom to ask: the folder's daemon by its pidfile, or the socket itself."""
    if not control.is_dir():
        return ("--target", str(control))
    pidfile = control / "ovs-vswitchd.pid"
    if (control / "ovs-vswitchd.ctl").exists():
        return ("--target", str(control / "ovs-vswitchd.ctl"))
    pid = pidfile.read_text().strip() if pidfile.exists() else "none"
    return ("--target", str(control / f"ovs-vswitchd.{pid}.ctl"))


def _meters(options: Options) -> int | None:
    management = options.control / f"{options.bridge.name}.mgmt"
    said = _run("ovs-ofctl", "--timeout=5", "-O", "OpenFlow13", "meter-features", f"unix:{management}")
    found = re.search(r"max_meter:(\d+)", said)
    return int(found[1]) if found else None


def _devices() -> Mapping[str, tuple[Device, frozenset[str]]]:
    """Each device with its addresses."""
    said = _run("ip", "-json", "address", "show")
    found = {}
    for one in json.loads(said) if said else []:
        name = one["ifname"]
        addresses = frozenset(address["local"] for address in one.get("addr_info", ()) if "local" in address)
        found[name] = Device(name, "UP" in one["flags"], one["mtu"], _offloads(name)), addresses
    return found


def _offloads(name: str) -> frozenset[str]:
    lines = [line.split(":") for line in _run("ethtool", "-k", name).splitlines() if ":" in line]
    return frozenset(words[0].strip() for words in lines if words[1].split()[:1] == ["on"])


def _certificate(options: Options) -> tuple[Credentials | None, Any]:
    """The files, and the certificate's end or what is wrong with it."""
    if options.tls is None:
        return None, None
    try:
        own = HostFolder(options.tls).current()
        if own is None:
            return None, f"{options.tls} holds none"
        holder = own.holder()
        contexts.client(own)
    except FilesError as error:
        return None, str(error)
    if holder.name != options.host:
        return own, f"it is host {holder.name}'s, not {options.host}'s"
    return own, holder.until


def _controller(options: Options, own: Credentials | None) -> tuple[str | None, float | None]:
    """Why the controller cannot be reached, and how far its clock is behind."""
    host, _, port = options.bridge.controller.partition(":")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT).close()
    except OSError as error:
        return f"OpenFlow at {host}:{port}: {error.strerror or error}", None
    try:
        with socket.create_connection(options.report, _TIMEOUT) as plain:
            if options.tls is None:
                return None, None
            if own is None:
                return None, _clock(plain, contexts.stranger())
            with contexts.client(own).wrap_socket(plain, server_hostname=CONTROLLER_NAME) as peer:
                # With TLS 1.3 a server refuses after the client has finished, so what it thinks shows on reading.
                peer.settimeout(0.3)
                try:
                    if not peer.recv(1):
                        return "it does not accept the certificate; 'sluice status' there says why", None
                except TimeoutError:
                    pass
        with socket.create_connection(options.report, _TIMEOUT) as plain:
            return None, _clock(plain, contexts.stranger())
    except (OSError, FilesError) as error:
        return f"agents' port at {options.report[0]}:{options.report[1]}: {error}", None


def _clock(plain: socket.socket, context: ssl.SSLContext) -> float | None:
    """By how many seconds the clock here is ahead of the controller's."""
    reader = FrameReader()
    try:
        with context.wrap_socket(plain, server_hostname=CONTROLLER_NAME) as peer:
            peer.sendall(pack({"type": "authority"}))
            while data := peer.recv(65536):
                for answer in reader.feed(data):
                    told = answer.get("time")
                    return time.time() - told if isinstance(told, float) else None
    except (OSError, FrameError):
        return None
    return None
