"""Reads what ``ofproto/trace`` (``ovs-vswitchd(8)``) says.  Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_STEP = re.compile(r"^\s*(?P<table>\d+)\. (?P<rest>.*)$")
_FLOW = re.compile(r"^(?:(?P<match>.*), )?priority (?P<priority>\d+)(?:, cookie (?P<cookie>0x[0-9a-f]+))?$")
_OUTPUT = re.compile(r"^(?:-> output port is |output:)(\d+)$")
_FLOWS = re.compile(r"^(?:Final flow|Flow): (.*)$", re.MULTILINE)
_TUNNEL = re.compile(r"^(?:set_field|load):(0x[0-9a-f]+|\d+)->(?:tun_id|NXM_NX_TUN_ID\[\])")
#: The port that stands for "back to where it came from".
IN_PORT = -1


@dataclass(frozen=True, slots=True)
class Step:
    """One table that the packet went through: the flow hit, or ``priority`` None when none did.

    ``actions`` are the lines up to the next step, so they may be those of the step that sent the packet there.
    """

    table: int
    match: str
    priority: int | None
    cookie: int
    actions: tuple[str, ...]

    @property
    def drops(self) -> bool:
        """Does the packet end here, so far as this step tells?"""
        return self.priority is None or self.actions == ("drop",)


@dataclass(frozen=True, slots=True)
class Reading:
    """A packet's way through one bridge: ``outputs`` are ofports (or :data:`IN_PORT`), ``final`` is the packet then."""

    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    final: str
    tunnel: int | None = None

    def field(self, name: str) -> str:
        """A field of the final packet, empty when it is not there."""
        found = re.search(rf"(?:^|,){name}=([^,]*)", self.final)
        return str(found[1]) if found else ""


def read_trace(text: str) -> Reading:
    """The answer to an ``ofproto/trace``.

    Where the switch sends tunnel packets itself it follows them through the bridge that they leave by as well; only the
    bridge that was asked about counts.
    """
    steps: list[Step] = []
    outputs: list[int] = []
    tunnel: int | None = None
    inside, asked = False, ""
    for line in text.splitlines():
        if line.startswith(("bridge(", "Final flow:", "Flow:", "====")):
            if line.startswith("bridge("):
                asked = asked or line
            inside = line == asked
            continue
        if not inside or not line.strip():
            continue
        step = _STEP.match(line)
        if step:
            steps.append(_step(int(step["table"]), step["rest"]))
            continue
        word = line.strip()
        if steps and not word.startswith("->"):
            last = steps[-1]
            steps[-1] = Step(last.table, last.match, last.priority, last.cookie, (*last.actions, word))
        output, tunnelled = _OUTPUT.match(word), _TUNNEL.match(word)
        if output:
            outputs.append(int(output[1]))
        elif word == "IN_PORT":
            outputs.append(IN_PORT)
        elif tunnelled:
            tunnel = int(tunnelled[1], 0)
    flows = [flow for flow in _FLOWS.findall(text) if flow != "unchanged"]
    return Reading(tuple(steps), tuple(outputs), flows[-1] if flows else "", tunnel)


def _step(table: int, rest: str) -> Step:
    flow = _FLOW.match(rest)
    if flow is None:
        return Step(table, "", None, 0, ())
    return Step(table, flow["match"] or "", int(flow["priority"]), int(flow["cookie"] or "0", 16), ())
