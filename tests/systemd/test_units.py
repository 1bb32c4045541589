"""The systemd units: understood by systemd, shut in as far as they can be, and put in place by the installer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from topologies.ovs import SWITCH_MEMORY

UNITS = Path(__file__).resolve().parents[2] / "contrib" / "systemd"
ALL = ["agent", "api", "compute", "controller"]
#: What systemd thinks of their exposure, 0 to 10 (systemd-analyze(1), "security"): it must not grow.
MOST_EXPOSED = {"agent": 5.0, "api": 1.5, "compute": 1.5, "controller": 1.5}


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The folder of the units, as the installer puts them in place for this Python."""
    prefix = Path(sys.prefix)
    for role in ("control", "agent"):
        subprocess.run(
            [UNITS / "install", role, str(prefix)], env={"DESTDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}, check=True
        )
    return tmp_path / "etc" / "systemd" / "system"


def test_every_unit_is_installed(installed: Path) -> None:
    units = sorted(installed.glob("*.service"))
    assert [one.name for one in units] == [f"sluice-{name}.service" for name in ALL]
    for unit in units:
        assert f"ExecStart={sys.prefix}/bin/" in unit.read_text()


def test_systemd_understands_them(installed: Path) -> None:
    files = [str(one) for one in installed.glob("*.service")]
    done = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "sluice-" in line]
    assert ours == []


def test_a_hosts_switch_is_started_with_the_environment_of_the_labs(installed: Path) -> None:
    lines = (installed / "ovs-vswitchd.service.d" / "sluice.conf").read_text().splitlines()
    section = lines.index("[Service]")
    assert lines[section + 1 :] == [f"Environment={name}={value}" for name, value in SWITCH_MEMORY.items()]


@pytest.mark.parametrize("name", ALL)
def test_they_are_not_more_exposed_than_said(name: str) -> None:
    file, threshold = UNITS / f"sluice-{name}.service", round(MOST_EXPOSED[name] * 10)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={threshold}", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-400:] + done.stderr


def test_the_installer_names_what_is_wrong(tmp_path: Path) -> None:
    for arguments in (["sideways"], ["agent", str(tmp_path)]):
        done = subprocess.run([UNITS / "install", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
