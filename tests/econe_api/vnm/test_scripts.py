"""The driver's scripts where nobody answers them: they fail closed, and end what has to end all the same.

With an agent, a controller and a switch they are tested in ``tests/lab/test_opennebula_driver.py``.
"""

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "contrib" / "opennebula" / "sluice"


class Host:
    """A hypervisor on which ovs-vsctl writes down what it is asked and prints a port number."""

    def __init__(self, folder, encoded):
        self.remotes, self.spool = folder / "vnm", folder / "spool"
        self.socket, self.log = folder / "a.sock", folder / "log"
        self._encoded = encoded
        shutil.copytree(SCRIPTS, self.remotes)
        self.log.touch()
        command = folder / "vsctl"
        command.write_text(f'#!/bin/sh\nshift\necho "$@" >>{self.log}\necho 5\n')
        command.chmod(0o755)
        lines = [f"socket = {self.socket}", f"ovs_vsctl = {command}", "timeout = 1", f"spool = {self.spool}"]
        (self.remotes / "sluice.conf").write_text("\n".join(["[sluice]", *lines, ""]))

    def run(self, action, document, *arguments):
        command = [self.remotes / action, *arguments]
        text = self._encoded(document) if isinstance(document, bytes) else document
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)

    @property
    def asked(self):
        return self.log.read_text().splitlines()


@pytest.fixture
def host(tmp_path, encoded):
    return Host(tmp_path, encoded)


def test_without_an_agent_nothing_starts_and_what_was_plugged_in_is_unplugged(host, document, nic):
    done = host.run("pre", document(7, [nic()]))
    assert (done.returncode, "does not listen" in done.stderr) == (1, True)
    done = host.run("post", document(7, [nic()]), "one-7", "one-host")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-3:][0] == "ERROR MESSAGE --8<------"
    assert host.asked == ["--if-exists del-port one-7-0"]


def test_an_agent_that_says_nothing_is_given_up(host, document, nic):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(str(host.socket))
        silent.listen()
        done = host.run("post", document(7, [nic()]), "one-7", "one-host")
    assert (done.returncode, "no answer within 1 s" in done.stderr) == (1, True)
    assert host.asked == ["--if-exists del-port one-7-0"]


def test_what_ends_without_an_agent_is_forgotten_later(host, document, nic):
    done = host.run("clean", document(7, [nic()]), "one-host")
    assert (done.returncode, "will be forgotten" in done.stderr) == (0, True)
    assert [path.name for path in host.spool.glob("*.gone")] == ["7.gone"]
    done = host.run("clean", document(8, [nic(8), nic(8, 1, ATTACH="YES")]), "one-host")
    assert done.returncode == 0
    assert host.asked == ["--if-exists del-port one-7-0", "--if-exists del-port one-8-1"]
    # A machine that has come back is not to be forgotten, whatever becomes of its start; the other one still is.
    host.run("post", document(7, [nic()]), "one-7", "one-host")
    assert [path.name for path in host.spool.glob("*.gone")] == ["8-1.gone"]


def test_what_has_moved_is_only_unplugged(host, document, nic):
    done = host.run("clean", document(7, [nic()], hosts=["one-host", "another"]), "one-host")
    assert (done.returncode, done.stderr) == (0, "")
    assert not host.spool.exists()


def test_of_a_changed_network_only_the_mtu_is_taken(host, document, nic):
    mtu = document(7, [nic(MTU=1400)], others=[("VNET_UPDATE", {"MTU": 1500})])
    assert host.run("update_nic", mtu, "one-7", "3").returncode == 0
    assert host.run("update_nic", mtu, "one-7", "4").returncode == 0
    assert host.asked == ["set Interface one-7-0 mtu_request=1400"]
    speed = document(7, [nic()], others=[("VNET_UPDATE", {"INBOUND_AVG_BW": 100})])
    done = host.run("update_nic", speed, "one-7", "3")
    assert (done.returncode, "INBOUND_AVG_BW" in done.stderr) == (1, True)


@pytest.mark.parametrize("text", ["", "no base64!", "PFZNPg=="], ids=["nothing", "words", "half"])
def test_what_is_no_document_fails(host, text):
    done = host.run("post", text, "one-7", "one-host")
    assert (done.returncode, "no VM document" in done.stderr) == (1, True)


def test_the_network_is_always_made(host):
    assert host.run("vnet_create", "whatever").returncode == 0
    assert host.run("vnet_delete", "").returncode == 0
