"""What the processes of the small cloud are told: ``sluice.toml`` and the agents' arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from topologies import layout
from topologies.errors import LabError
from topologies.lab import Lab

OPENFLOW_PORT = 6653
AGENT_PORT = 6654
VCPUS = 16
MEMORY_MIB = 32768


@dataclass(frozen=True, slots=True)
class Settings:
    """What clouds differ in.

    ``vcpus`` and ``memory_mib`` are each hypervisor's room for instances, ``api_threads`` of each of ``api_workers``
    processes answer calls, with ``tls`` switches and agents need certificates, ``more`` is TOML that comes last.
    """

    revoked_connections: str = "cut"
    fabric: str = "vlan"
    backend: str = "namespace"
    tls: bool = False
    vcpus: int = VCPUS
    memory_mib: int = MEMORY_MIB
    api_threads: int = 16
    api_workers: int = 1
    more: str = ""


DEFAULTS = Settings()


def write(
    path: Path,
    port: int,
    controller: str,
    hypervisors: Mapping[str, Mapping[str, object]],
    settings: Settings = DEFAULTS,
) -> None:
    """Write the configuration of a cloud with its API at ``port`` of 127.0.0.1 and its controller at ``controller``.

    ``hypervisors`` are the compute backend's options by name.  Raises LabError when the directory cannot be written.
    """
    hosts = [_hypervisor(host, table, settings) for host, table in hypervisors.items()]
    text = "\n".join([_services(path.parent.absolute(), port, controller, settings), *hosts, settings.more])
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LabError(
            f"state directory {path.parent} is not writable ({error.strerror}): name another one with --state"
        ) from error


def options(lab: Lab) -> dict[str, dict[str, object]]:
    """Return what the namespace backend has to know about the hypervisors of ``lab``."""
    size: dict[str, object] = {"mtu": layout.TUNNEL_MTU} if lab.fabric == "vxlan" else {}
    return {
        host: {"netns": lab.netns(host), "ovsdb": switch.ovsdb, "prefix": lab.name, **size}
        for host, switch in lab.hypervisors.items()
    }


def agent_arguments(lab: Lab, host: str, certificate: Path | None = None) -> tuple[str, ...]:
    """Return what the agent of ``host`` is told; with the folder of its ``certificate`` it speaks TLS."""
    switch = lab.hypervisor(host)
    number = int(host.removeprefix("h"))
    return (
        *("--host", host),
        *("--ovsdb", switch.ovsdb),
        *("--controller", f"{'tcp' if certificate is None else 'ssl'}:{layout.CONTROLLER_IP}:{OPENFLOW_PORT}"),
        *(() if certificate is None else ("--tls", str(certificate))),
        *("--report", f"{layout.CONTROLLER_IP}:{AGENT_PORT}"),
        *("--uplink", layout.UPLINK),
        *_fabric(lab, host),
        *("--datapath-type", "netdev"),
        *("--dpid", f"{number:x}"),
        *("--driver-socket", str(driver_socket(lab, host))),
    )


def driver_socket(lab: Lab, host: str) -> Path:
    """Return where the agent of ``host`` listens to OpenNebula's network driver."""
    return lab.hypervisor(host).rundir / "vnm.sock"


def _fabric(lab: Lab, host: str) -> tuple[str, ...]:
    if lab.fabric != "vxlan":
        return ("--fabric", layout.FABRIC_PORT, "--fabric-mode", lab.fabric)
    return ("--fabric", layout.TUNNEL_PORT, "--fabric-mode", "vxlan", "--fabric-ip", layout.fabric_ip(host))


def _services(state: Path, port: int, controller: str, settings: Settings) -> str:
    return f"""\
# Written each time the cloud starts.
state = {_text(state)}
ipv6 = true
fabric = "{settings.fabric}"

[api]
bind = "127.0.0.1:{port}"
threads = {settings.api_threads}
workers = {settings.api_workers}

[controller]
agent_listen = "{controller}:{AGENT_PORT}"
revoked_connections = {_text(settings.revoked_connections)}
{"tls = true" if settings.tls else "allow_plaintext = true"}

[compute]
backend = {_text(settings.backend)}

[opennebula_driver]
account = "demo"
"""


def _hypervisor(host: str, table: Mapping[str, object], settings: Settings) -> str:
    table_text = ", ".join(f"{name} = {_text(value)}" for name, value in table.items())
    return f"""\
[[hypervisor]]
name = "{host}"
vcpus = {settings.vcpus}
memory_mib = {settings.memory_mib}
options = {{ {table_text} }}
"""


def _text(value: object) -> str:
    return json.dumps(str(value))  # a TOML basic string is written as JSON's are
