"""What instances leave behind in the scale lab: as :mod:`benchmarks.residue`, for hundreds of bridges."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from benchmarks import residue
from benchmarks.residue import Found
from benchmarks.scale_lab import ScaleLab
from benchmarks.scale_switch import SwitchProcess, plugged
from econe_api.compute import netns

_VOLATILE = re.compile(r"duration=[0-9.]+s, |n_packets=\d+, |n_bytes=\d+, ")


def look(lab: ScaleLab) -> Found:
    """Return all that instances may leave behind, on every host; a flow is its match and its actions."""
    found: Found = residue.rows(lab.config)
    for kind in ("ports", "flows", "meters", "conntrack limits"):
        found[kind] = Counter()
    for process in lab.switches.processes:
        for host, ports in plugged(process.folder).items():
            found["ports"].update(f"{host} {name}" for name in ports)
        limits = process.control("dpctl/ct-get-limits", "dummy@ovs-dummy")
        found["conntrack limits"].update(f"{process.folder.name} {zone}" for zone in re.findall(r"zone=(\d+)", limits))
        for bridge in process.bridges:
            found["flows"].update(f"{bridge.name} {flow}" for flow in _flows(process, bridge.name))
            found["meters"].update(f"{bridge.name} {meter}" for meter in _meters(process, bridge.name))
    return found


def settle(lab: ScaleLab, before: Found, seconds: float = residue.PATIENCE) -> dict[str, list[str]]:
    """Return what is there that was not there ``before``, and the flows that are not there any more, by kind.

    Waits up to ``seconds`` for it to become as it was; the last kind is what ``sluice audit`` finds.
    """
    latest: Found = {}

    def find() -> Found:
        latest.update(look(lab))
        lost = before["flows"] - latest["flows"]
        return {**latest, "flows lost": lost}

    left = residue.until_gone(find, before, seconds)
    return {**left, "sluice audit": residue.audit(lab.config_file)}


def _flows(process: SwitchProcess, bridge: str) -> Iterator[str]:
    return (_VOLATILE.sub("", line) for line in process.control("bridge/dump-flows", bridge).splitlines())


def _meters(process: SwitchProcess, bridge: str) -> list[str]:
    place = f"unix:{process.folder / bridge}.mgmt"
    return re.findall(r"meter=(\d+)", netns.run(["ovs-ofctl", "--timeout=30", "-OOpenFlow13", "dump-meters", place]))
