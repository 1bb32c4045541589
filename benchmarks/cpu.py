"""Who has used the processor: the processes of a cloud, each with what it has started."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_OWN = "this benchmark"


class CpuMeter:
    """Seconds of processor time (user and system) since it was made."""

    def __init__(self, roots: Mapping[int, str]) -> None:
        """``roots`` are the names of the cloud's processes, by process id."""
        self._roots = {**roots, os.getpid(): _OWN}
        self._before, self._began, self._ticks = self._look(), time.monotonic(), _ticks()

    def read(self) -> dict[str, float]:
        """Return the seconds by process, the busiest first; processes of one name together."""
        spent = {name: round(now - self._before.get(name, 0.0), 1) for name, now in self._look().items()}
        return dict(sorted(spent.items(), key=lambda entry: -entry[1]))

    def machine(self) -> dict[str, float]:
        """Return how many cores these processes, all others and nobody had, on average since it was made."""
        seconds = time.monotonic() - self._began
        busy, idle = (now - before for now, before in zip(_ticks(), self._ticks, strict=True))
        ours = sum(self.read().values()) / seconds
        others = max(0.0, busy / _TICK / seconds - ours)
        return {"ours": round(ours, 2), "others": round(others, 2), "idle": round(idle / _TICK / seconds, 2)}

    def _look(self) -> dict[str, float]:
        parents: dict[int, int] = {}
        used: dict[int, float] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            pid = int(entry.name)
            parents[pid] = int(words[1])
            # utime, stime, and those of children that have ended and been waited for
            used[pid] = sum(map(int, words[11:15])) / _TICK
        found: defaultdict[str, float] = defaultdict(float)
        for pid, seconds in used.items():
            if (name := self._root(pid, parents)) is not None:
                found[name] += seconds
        return found

    def _root(self, pid: int, parents: dict[int, int]) -> str | None:
        while pid:
            if pid in self._roots:
                return self._roots[pid]
            pid = parents.get(pid, 0)
        return None


def _ticks() -> tuple[int, int]:
    """Ticks in which the machine's cores worked and did not (proc_stat(5))."""
    user, nice, system, idle, waiting, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return user + nice + system + irq + softirq + steal, idle + waiting
