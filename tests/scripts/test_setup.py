"""The scripts around the programs: what they refuse, and what the pinned requirements hold."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def test_setup_refuses_what_it_does_not_know() -> None:
    done = subprocess.run([ROOT / "scripts" / "setup", "tset"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "sluice: scripts/setup takes nothing, 'test', 'libvirt' or 'bench', not 'tset'\n"


def test_without_root_and_sudo_there_is_one_line() -> None:
    script = (ROOT / "scripts" / "as-root").read_text()  # read here: the other user need not get at the checkout
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "id").symlink_to("/usr/bin/id")  # and no sudo on the PATH
        command = ["setpriv", "--reuid=65534", "--clear-groups", "env", f"PATH={folder}", "/bin/sh", "-s", "true"]
        done = subprocess.run(command, input=script, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 1
    assert done.stderr == "sluice: network namespaces need root and there is no sudo: run this as root\n"


@pytest.mark.parametrize("lock", LOCKS, ids=[lock.name for lock in LOCKS])
def test_every_pinned_package_has_hashes_and_no_machine_is_named(lock: Path) -> None:
    text = lock.read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"(?m)^\s*#.*\n", "", text))
    assert entries
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==[^\s]+ \\\n", entry), entry[:80]
        assert "--hash=sha256:" in entry
    for foreign in ("://", "--index-url", "--extra-index-url", "--find-links", "--trusted-host"):
        assert foreign not in text


def test_tests_and_runtime_pin_the_same() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"(?m)^\S+==\S+", (ROOT / "requirements" / name).read_text()))

    assert pins("lock.txt") <= pins("dev.txt")


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").iterdir()), ids=lambda path: path.name)
def test_scripts_say_what_they_are_for(script: Path) -> None:
    shebang, purpose, *_ = script.read_text().splitlines()
    assert shebang in ("#!/bin/sh", "#!/bin/bash")
    assert purpose.startswith("# ")
    assert script.stat().st_mode & 0o111
    subprocess.run([shebang.removeprefix("#!"), "-n", script], check=True)
