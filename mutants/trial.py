"""One trial: a process of its own in which a module is another one, and the tests that have to notice."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

_KILLED, _SURVIVED, _BROKEN = 1, 0, 3
_EXAMPLES = 25  # of a property test; a mutant that lives through these is rare enough to look at


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds one module in the given source instead of in its file."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self._name = name
        self._path = path
        self._source = source

    def find_spec(self, fullname: str, _path: object = None, _target: object = None) -> Any:
        """The module, if it is the one."""
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def create_module(self, _spec: importlib.machinery.ModuleSpec) -> None:
        """As Python does."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed source."""
        exec(compile(self._source, str(self._path), "exec"), module.__dict__)  # noqa: S102 - that is what it is for


class _Plugin:
    """Few examples, no shrinking, the same ones each time; notes which test failed first."""

    def __init__(self, first: str) -> None:
        self.failed = ""
        self._first = first

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """The tests of the changed module first."""
        from hypothesis import Phase, settings

        items.sort(key=lambda item: self._first not in item.nodeid)
        for item in items:
            function: Any = getattr(item, "function", None)
            if getattr(function, "is_hypothesis_test", False):
                kept = function._hypothesis_internal_use_settings
                function._hypothesis_internal_use_settings = settings(
                    kept,
                    max_examples=min(kept.max_examples, _EXAMPLES),
                    derandomize=True,
                    database=None,
                    phases=[Phase.explicit, Phase.generate],
                )

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note the first failure."""
        if report.failed and not self.failed:
            self.failed = report.nodeid


@dataclass(slots=True)
class Trial:
    """A trial under way; ``note`` is the file in which it says which test failed."""

    pid: int
    note: Path
    deadline: float

    def poll(self) -> str | None:
        """What killed the mutant, "" = nothing did, None = still under way."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            if time.monotonic() < self.deadline:
                return None
            self.end()
            return "time ran out"
        self._sweep()
        code = os.waitstatus_to_exitcode(status)
        said = self.note.read_text() if self.note.exists() else ""
        self.note.unlink(missing_ok=True)
        return "" if code == _SURVIVED else said or "the tests could not even start"

    def end(self) -> None:
        """End it and whatever it has started."""
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self._sweep()

    def _sweep(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def start(name: str, path: Path, source: str | None, tests: Sequence[str], note: Path, seconds: float) -> Trial:
    """Run ``tests`` with module ``name`` made from ``source`` (None = as it is) until one fails."""
    pid = os.fork()
    if pid:
        return Trial(pid, note, time.monotonic() + seconds)
    code = _BROKEN
    try:
        os.setsid()
        code = _run(name, path, source, tests, note)
    finally:
        os._exit(code)


def _run(name: str, path: Path, source: str | None, tests: Sequence[str], note: Path) -> int:
    import pytest

    # What a trial leaves behind when it is ended goes with the folder of its note.
    os.environ["TMPDIR"], tempfile.tempdir = str(note.parent), None
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    if source is not None:
        sys.meta_path.insert(0, _Changed(name, path.absolute(), source))
    plugin = _Plugin(f"/test_{path.stem}.py")
    status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests], plugins=[plugin])
    note.write_text(plugin.failed or f"pytest ended with status {int(status)}")
    return _SURVIVED if status == pytest.ExitCode.OK else _KILLED
