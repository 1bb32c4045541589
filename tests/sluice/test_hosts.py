"""``sluice host``, and ``sluice agent`` where nothing runs."""

import json
import os
import socket
import subprocess
import sys

from certificates.authority import fingerprint
from certificates.files import AuthorityFolder
from certificates.token import read


def _status(**host):
    known = {"name": "hv1", "dpid": "0000000000000001", "connected": True, "agent": True, "in_sync": True, "ports": 2}
    known |= {"desired": 7, "installed": 7, "seen": 1.2, "ovs_version": "3.1.0", "agent_version": "0.1.0"}
    return {"ok": True, "hosts": [{**known, **host}]}


def test_a_token_is_for_the_host_and_the_authority(sluice, tmp_path):
    done = sluice("host", "add", "hv1", "--json")
    assert done.status == 0, done.err
    token = read(done.json["token"])
    authority = AuthorityFolder(tmp_path / "state").authority()
    assert (token.host, token.fingerprint) == ("hv1", fingerprint(authority.certificate))
    assert done.json["fingerprint"] == token.fingerprint.hex()
    shown = sluice("host", "token", "hv1", "--valid", "5")
    assert "sluice agent join sluice-join-" in shown.out
    assert "controller.tls is not set" in shown.out
    assert token.secret.hex() not in shown.out


def test_names_that_no_host_may_have(sluice):
    for name in ("-x", "a b", "x" * 65, ""):
        done = sluice("host", "add", "--", name)
        assert done.status == 1
        assert len(done.err.splitlines()) == 1
    assert "there is no host" in sluice("host", "token", "stranger").err


def test_hosts_are_listed_with_what_the_controller_knows(sluice, controller):
    controller(_status(installed=5, in_sync=False))
    (one,) = sluice("host", "list", "--json").json
    assert (one["state"], one["lagging"], one["ovs_version"], one["seen"]) == ("known", 2, "3.1.0", "1 s ago")
    done = sluice("host", "list")
    assert (done.status, "hv1" in done.out, "does not answer" in done.err) == (0, True, True)


def test_drain_and_remove(sluice):
    assert "no new instances; 0 are there" in sluice("host", "drain", "hv1").out
    assert sluice("host", "list", "--json").json[0]["state"] == "draining"
    assert "may come" in sluice("host", "drain", "hv1", "--end").out
    done = sluice("host", "remove", "hv1")
    assert "is removed" in done.out
    assert "[[hypervisor]] hv1" in done.out
    assert sluice("host", "list", "--json").json[0]["state"] == "removed"
    assert sluice("host", "remove", "nobody").status == 1


def test_a_bad_join_is_one_line(sluice, tmp_path):
    word = sluice("host", "add", "hv1", "--json").json["token"]
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    for token, where in (
        (word, f"tls://127.0.0.1:{port}"),
        (word[:-5], "127.0.0.1"),
        (word, "http://x"),
        (word, "[::"),
    ):
        done = sluice("agent", "join", token, "--controller", where, "--folder", str(tmp_path / "tls"))
        assert (done.status, len(done.err.splitlines())) == (1, 1), done.err
    assert not (tmp_path / "tls").exists()


def test_the_agent_needs_its_file_and_its_certificate(sluice, tmp_path):
    file = tmp_path / "agent.toml"
    for command in ("run", "check"):
        assert "sluice agent join" in sluice("agent", command, "--file", str(file)).err
    file.write_text(f'host = "h1"\ncontroller = "ssl:127.0.0.1:1"\nreport = "127.0.0.1:2"\ntls = "{tmp_path}"\n')
    done = sluice("agent", "run", "--file", str(file))
    assert (done.status, "holds no certificate yet" in done.err) == (1, True)


def test_the_check_of_a_bare_machine_fails_and_says_how_to_mend_it(tmp_path):
    """As a host without the control plane's configuration would run it."""
    file = tmp_path / "agent.toml"
    file.write_text(
        f'host = "h1"\ncontroller = "ssl:127.0.0.1:1"\nreport = "127.0.0.1:2"\ntls = "{tmp_path}"\nuplink = "nope0"\n'
        f'ovsdb = "unix:{tmp_path}/db.sock"\n'
    )
    command = (sys.executable, "-m", "sluice", "agent", "check", "--json", "--file", str(file))
    environment = {**os.environ, "SLUICE_CONFIG": str(tmp_path / "absent.toml")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    found = {one["what"]: one for one in json.loads(done.stdout)}
    assert done.returncode == 1, done.stderr
    assert {what for what, one in found.items() if one["verdict"] == "fail"} == {
        "ovs",
        "uplink",
        "controller",
        "certificate",
    }
    assert all(one["mend"] for one in found.values() if one["verdict"] != "ok")
