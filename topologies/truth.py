"""``scripts/test truth``: the truth table of a lab cloud, by traced and by real packets, against the oracle."""

from __future__ import annotations

import os
import sys
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from random import Random

from topologies import command
from topologies.interrupts import Interrupts
from topologies.truth_lab import Tally, TruthLab
from topologies.truth_questions import PATHS

PROG = "scripts/test truth"
FABRICS = ("vlan", "vxlan")
ROUNDS = 2  # the policy is changed a little between them
VERDICTS = 10_000
PROBES = 500
_SHOWN = 10  # mismatches, each with its trace


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, print and return the exit status: 0 = no mismatch, 1 = a mismatch, or no cloud to ask."""
    parser = command.Parser(prog=PROG, description="Hold what a lab cloud's switches do against the oracle.")
    add = parser.add_argument
    add("--verdicts", type=_count, default=VERDICTS, metavar="N", help="by ofproto/trace (default %(default)s)")
    add("--probes", type=_count, default=PROBES, metavar="N", help="by real packets (default %(default)s)")
    add("--seed", type=int, default=None, metavar="N", help="of policies and questions (default: a new one, printed)")
    add("--name", default=f"truth{os.getpid()}", help="begin the namespaces' names with it")
    options = parser.parse_args(arguments)
    return command.run(PROG, lambda interrupts: _truth(options, interrupts))


def _truth(options: Namespace, interrupts: Interrupts) -> int:
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(3), "big")
    start, parts = time.monotonic(), len(FABRICS) * ROUNDS
    traced, probed = Tally(), Tally()
    _say(f"seed {seed}")
    for position, fabric in enumerate(FABRICS):
        rng = Random(f"{seed} {fabric}")  # noqa: S311 - a run must be repeatable
        with (
            command.scratch_state(options.name) as state,
            TruthLab(options.name, state, fabric, rng, interrupts.check) as lab,
        ):
            for number in range(ROUNDS):
                interrupts.check()
                if number:
                    lab.disturb()
                part, begun = position * ROUNDS + number, time.monotonic()
                by_packets = lab.probe(_share(options.probes, part, parts))
                by_trace = lab.trace(_share(options.verdicts, part, parts))
                probed.add(by_packets)
                traced.add(by_trace)
                _say(
                    f"{fabric}, policy {number + 1}: {by_trace.asked.total()} verdicts, {by_packets.asked.total()} "
                    f"probes, {len(by_trace.wrong) + len(by_packets.wrong)} mismatches, "
                    f"{time.monotonic() - begun:.1f} s"
                )
    return _report(traced, probed, time.monotonic() - start)


def _report(traced: Tally, probed: Tally, seconds: float) -> int:
    wrong = [*traced.wrong, *probed.wrong]
    for text in wrong[:_SHOWN]:
        _say(f"\nMISMATCH {text}")
    _say(f"\n{'path':<34}{'verdicts':>9}{'allowed':>9}{'probes':>9}{'allowed':>9}")
    for path in (*PATHS, None):
        each = [
            tally.total() if path is None else tally[path]
            for tally in (traced.asked, traced.allowed, probed.asked, probed.allowed)
        ]
        _say(f"{path or 'all':<34}" + "".join(f"{number:>9}" for number in each))
    asked, allowed = traced.asked.total(), traced.allowed.total()
    share = 100 * allowed / asked if asked else 0.0
    _say(
        f"\n{asked} verdicts ({share:.0f} % allowed, {100 - share:.0f} % denied), {probed.asked.total()} real probes "
        f"({probed.allowed.total()} allowed), {len(wrong)} mismatches, {seconds:.0f} s"
    )
    return 1 if wrong else 0


def _share(total: int, part: int, parts: int) -> int:
    """What falls to part ``part`` when ``total`` is divided among ``parts``."""
    return total * (part + 1) // parts - total * part // parts


def _count(text: str) -> int:
    if not text.isdigit():
        raise ArgumentTypeError(f"{text!r} is no number: write one from 0 on")
    return int(text)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
