"""The installer on a front end made of two folders."""

import os
import subprocess
from pathlib import Path

import pytest

INSTALL = Path(__file__).parents[3] / "contrib" / "opennebula" / "install"
ONED = """\
PORT = 2633
VN_MAD_CONF = [
    NAME = "ovswitch",
    BRIDGE_TYPE = "openvswitch"
]
# NAME = "sluice" in a comment is none
"""
SCRIPTS = {"pre", "post", "clean", "update_nic", "update_sg", "vnet_create", "vnet_delete"}


@pytest.fixture
def front_end(tmp_path):
    (tmp_path / "remotes" / "vnm").mkdir(parents=True)
    (tmp_path / "oned.conf").write_text(ONED)

    def run(*arguments, status=0):
        places = ["--remotes", tmp_path / "remotes", "--conf", tmp_path / "oned.conf"]
        done = subprocess.run([INSTALL, *places, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    return tmp_path, run


def test_it_installs_once_however_often_it_is_run(front_end):
    folder, run = front_end
    said = run()
    assert "onehost sync --force" in said
    target = folder / "remotes" / "vnm" / "sluice"
    executable = {path.name for path in target.iterdir() if os.access(path, os.X_OK)}
    assert executable == SCRIPTS
    conf = (folder / "oned.conf").read_text()
    assert conf.startswith(ONED)
    assert conf.count('NAME = "sluice",') == 1
    (kept,) = folder.glob("oned.conf.*.bak")
    assert kept.read_text() == ONED
    (target / "sluice.conf").write_text("[sluice]\ntimeout = 5\n")
    assert "nothing to change" in run()
    assert (folder / "oned.conf").read_text() == conf
    assert (target / "sluice.conf").read_text() == "[sluice]\ntimeout = 5\n"
    assert len(list(folder.glob("oned.conf.*.bak"))) == 1


def test_it_takes_away_what_it_brought_and_nothing_else(front_end):
    folder, run = front_end
    run()
    run("--uninstall")
    assert (folder / "oned.conf").read_text() == ONED
    assert list((folder / "remotes" / "vnm").iterdir()) == []
    assert "nothing to change" in run("--uninstall")


def test_what_somebody_declared_by_hand_stays(front_end):
    folder, run = front_end
    own = ONED + 'VN_MAD_CONF = [\n    NAME = "sluice",\n    BRIDGE_TYPE = "openvswitch"\n]\n'
    (folder / "oned.conf").write_text(own)
    run()
    assert (folder / "oned.conf").read_text() == own


def test_without_a_front_end_it_says_so(front_end):
    folder, run = front_end
    (folder / "oned.conf").unlink()
    assert "--conf" in run(status=1)
    assert "--remotes" in run("--remotes", str(folder / "nowhere"), status=1)
