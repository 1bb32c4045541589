"""What the processes of the small cloud are told: ``sluice.toml`` and the agents' arguments."""

from __future__ import annotations

import json
from pathlib import Path

from topologies import layout
from topologies.errors import LabError
from topologies.lab import Lab

OPENFLOW_PORT = 6653
AGENT_PORT = 6654
VCPUS = 16
MEMORY_MIB = 32768


def write(path: Path, lab: Lab, port: int) -> None:
    """Write the configuration of the cloud on ``lab`` with its API at ``port`` of 127.0.0.1.

    Raises LabError when the directory cannot be written.
    """
    hosts = [_hypervisor(lab, host) for host in lab.hypervisors]
    text = "\n".join([_services(path.parent.absolute(), port), *hosts])
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LabError(
            f"state directory {path.parent} is not writable ({error.strerror}): name another one with --state"
        ) from error


def agent_arguments(lab: Lab, host: str) -> tuple[str, ...]:
    """Return what the agent of ``host`` is told."""
    switch = lab.hypervisor(host)
    number = int(host.removeprefix("h"))
    return (
        *("--host", host),
        *("--ovsdb", switch.ovsdb),
        *("--controller", f"tcp:{layout.CONTROLLER_IP}:{OPENFLOW_PORT}"),
        *("--report", f"{layout.CONTROLLER_IP}:{AGENT_PORT}"),
        *("--uplink", layout.UPLINK),
        *("--fabric", layout.FABRIC_PORT),
        *("--datapath-type", "netdev"),
        *("--dpid", f"{number:x}"),
    )


def _services(state: Path, port: int) -> str:
    return f"""\
# Written by scripts/up and scripts/demo each time they start.
state = {_text(state)}

[api]
bind = "127.0.0.1:{port}"

[controller]
agent_listen = "{layout.CONTROLLER_IP}:{AGENT_PORT}"

[compute]
backend = "namespace"
"""


def _hypervisor(lab: Lab, host: str) -> str:
    options = {"netns": lab.netns(host), "ovsdb": lab.hypervisor(host).ovsdb, "prefix": lab.name}
    table = ", ".join(f"{name} = {_text(value)}" for name, value in options.items())
    return f"""\
[[hypervisor]]
name = "{host}"
vcpus = {VCPUS}
memory_mib = {MEMORY_MIB}
options = {{ {table} }}
"""


def _text(value: object) -> str:
    return json.dumps(str(value))  # a TOML basic string is written as JSON's are
