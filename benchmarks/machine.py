"""The machine in a few words: what a reader needs to place a figure, and nothing that names the machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path


def describe() -> dict[str, str]:
    """Cores, memory, versions and the day."""
    return {
        "cores": f"{os.cpu_count()} ({_processor()})",
        "memory": f"{_memory_gib():.0f} GiB",
        "kernel": ".".join(platform.release().split("-")[0].split(".")[:2]),
        "Open vSwitch": _version("ovs-vswitchd") + ", userspace datapath",
        "OVN": _version("ovn-controller"),
        "Python": platform.python_version(),
        "load at the end": f"{os.getloadavg()[0]:.1f} (the last minute; what exceeds the cores spoils figures)",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def load() -> float:
    """How many processes wanted to run in the last minute: much more than none spoils figures."""
    return round(os.getloadavg()[0], 2)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _version(program: str) -> str:
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        return "not installed"
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.split("\n")[0]
    return said.rsplit(" ", 1)[-1]
