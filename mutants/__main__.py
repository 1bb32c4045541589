"""``scripts/test mutants``: what share of changes to the flow compiler is found, and what by the truth table alone."""

from __future__ import annotations

import importlib
import os
import random
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mutants.changes import Mutant, mutants
from mutants.equivalent import reason
from mutants.trial import Trial, start

#: Verdicts of the compiled flows on Open vSwitch against the oracle: nothing else is asked.
TRUTH = (
    "tests/oracle/test_verdicts.py::test_small_cloud_exhaustively",
    "tests/oracle/test_verdicts.py::test_forged_frames_go_nowhere",
    "tests/oracle/test_verdicts.py::test_neighbours_of_the_uplink_reach_nothing_directly",
    *(f"tests/oracle/test_ipv6.py::test_random_rules[{seed}]" for seed in range(3)),
)
TESTS = ("tests/flowrules", *(f"tests/controller/test_{name}.py" for name in ("fabric", "findings", "projection")))
#: What the table can judge: all else encodes flows for the wire, reads them back or answers packets.
COMPILER = frozenset(
    {"cells", "compile_group", "compile_host", "compile_ipv6", "compile_port", "compiler", "flow", "intent"}
)
#: The page that these write is held against docs/pipeline.md byte for byte by scripts/docs --check.
LEFT_OUT = frozenset({"__init__", "__main__", "document"})
GOAL = 90.0
SAMPLE = 150
MINUTES = 9.0
_FOLDER = Path("flowrules")
_PAUSE = 0.02


@dataclass(slots=True)
class Fate:
    """What became of a mutant: what killed it, by the truth table (None = not asked) and by all tests."""

    mutant: Mutant
    by_truth: str | None = None
    killer: str = ""


def main() -> int:
    """Make mutants, try them, print and return the exit status: 0 = the goal is met."""
    parser = ArgumentParser(prog="scripts/test mutants", description="Break the flow compiler; count what is found.")
    add = parser.add_argument
    add("--sample", type=int, default=SAMPLE, metavar="N", help="how many, 0 = all (default %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="which ones (default %(default)s)")
    add("--minutes", type=float, default=MINUTES, metavar="N", help="begin no more after that (default %(default)s)")
    add("--module", action="append", metavar="NAME", help="only of flowrules/NAME.py; may be repeated")
    add("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="at a time (default %(default)s)")
    options = parser.parse_args()
    every = [one for one in _all(options) if reason(one) is None]
    rng = random.Random(options.seed)  # noqa: S311 - a run must be repeatable
    chosen = rng.sample(every, min(options.sample or len(every), len(every)))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # trials under way are ended on the way out
    _preload()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sluice-mutants-") as folder:
        bound = _baseline(Path(folder))
        _say(f"{len(chosen)} of {len(every)} mutants, seed {options.seed}; the tests alone take {bound / 4:.0f} s")
        until = begun + 60 * options.minutes
        fates = list(_try_all(chosen, Path(folder), options.jobs, bound, until))
    if len(fates) < len(chosen):
        _say(f"the time was over after {len(fates)} of them")
    return _report(fates, time.monotonic() - begun)


def _all(options: Namespace) -> Iterator[Mutant]:
    for path in sorted(_FOLDER.glob("*.py")):
        if path.stem in (options.module or {path.stem} - LEFT_OUT):
            yield from mutants(path, path.read_text(encoding="utf-8"))


def _preload() -> None:
    """Import what every trial needs, but nothing that a mutant could be in."""
    for name in ("hypothesis", "pytest", "scapy.all", "sqlalchemy"):
        importlib.import_module(name)
    if "flowrules" in sys.modules:
        raise RuntimeError("a trial must import the flow compiler itself")


def _baseline(folder: Path) -> float:
    """Run everything unchanged: it must pass.  Returns a generous bound for one trial, in seconds."""
    begun = time.monotonic()
    for tests in (TRUTH, TESTS):
        trial = start("", _FOLDER, None, tests, folder / "baseline", 600.0)
        while (killer := trial.poll()) is None:
            time.sleep(_PAUSE)
        if killer:
            raise SystemExit(f"scripts/test mutants: the tests fail without any change: {killer}")
    return 4 * (time.monotonic() - begun)


def _try_all(chosen: list[Mutant], folder: Path, jobs: int, bound: float, until: float) -> Iterator[Fate]:
    waiting = [Fate(mutant) for mutant in reversed(chosen)]
    running: dict[int, tuple[Fate, Trial]] = {}
    numbers = iter(range(1 << 30))
    try:
        while waiting or running:
            if time.monotonic() > until:
                # What the table has let through has not met the other tests yet, so it is neither.
                waiting.clear()
            while waiting and len(running) < jobs:
                fate, number = waiting.pop(), next(numbers)
                running[number] = fate, _next_trial(fate, folder / str(number), bound)
            time.sleep(_PAUSE)
            for number, (fate, trial) in list(running.items()):
                killer = trial.poll()
                if killer is None:
                    continue
                del running[number]
                table = fate.mutant.path.stem in COMPILER and fate.by_truth is None
                if table:
                    fate.by_truth = killer
                fate.killer = killer
                if table and not killer:
                    waiting.append(fate)
                    continue
                if not killer:
                    _say(f"SURVIVED {_words(fate.mutant)}")
                yield fate
    finally:
        for _, trial in running.values():
            trial.end()


def _next_trial(fate: Fate, note: Path, bound: float) -> Trial:
    mutant = fate.mutant
    table = mutant.path.stem in COMPILER and fate.by_truth is None
    source = mutant.source(mutant.path.read_text(encoding="utf-8"))
    return start(mutant.module, mutant.path, source, TRUTH if table else TESTS, note, bound)


def _words(mutant: Mutant) -> str:
    return f"{mutant.path}:{mutant.line}: {mutant.change}   in   {mutant.before}"


def _report(fates: list[Fate], seconds: float) -> int:
    every, killed = Counter[str](), Counter[str]()
    asked, found = Counter[str](), Counter[str]()
    for fate in fates:
        name = fate.mutant.path.stem
        every[name] += 1
        killed[name] += bool(fate.killer)
        asked[name] += fate.by_truth is not None
        found[name] += bool(fate.by_truth)
    _say(f"\n{'module':<18}{'mutants':>9}{'killed':>9}{'share':>8}{'by the truth table alone':>27}")
    for name in sorted(every):
        table = f"{found[name]} of {asked[name]}" if asked[name] else ""
        _say(f"{name:<18}{every[name]:>9}{killed[name]:>9}{_share(killed[name], every[name]):>7.0f}%{table:>27}")
    share = _share(killed.total(), every.total())
    _say(
        f"\n{killed.total()} of {every.total()} killed ({share:.1f} %, goal {GOAL:.0f} %); of {asked.total()} in the "
        f"compiler {found.total()} by the truth table alone ({_share(found.total(), asked.total()):.1f} %); "
        f"{seconds:.0f} s"
    )
    return 0 if share >= GOAL else 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _share(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 100.0


if __name__ == "__main__":
    sys.exit(main())
