"""Accounts, keys, quotas and pools from the command line."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from econe_api.actions import ACTIONS
from econe_api.call import Call, Caller
from econe_api.config import load
from econe_api.store.store import Store

Sluice = Callable[..., Any]
POOL = [
    "pool",
    "create",
    "public",
    "--cidr",
    "203.0.113.0/24",
    "--gateway",
    "203.0.113.1",
    "--gateway-mac",
    "02:00:00:00:00:fe",
    "--first",
    "203.0.113.10",
    "--last",
    "203.0.113.17",
]


def test_a_created_account_signs_with_what_is_printed(sluice: Sluice, config_file: Path) -> None:
    answer = sluice("account", "create", "tenant")
    assert (answer.status, answer.err) == (0, "")
    found = re.fullmatch(
        r"# account (\d{12}) \(tenant\)\nexport AWS_ACCESS_KEY_ID=(\S+)\nexport AWS_SECRET_ACCESS_KEY=(\S{40})\n",
        answer.out,
    )
    assert found
    store = Store.open(load(config_file))
    credential = store.credential(found[2])
    store.close()
    assert credential is not None
    assert (credential.account_id, credential.secret) == (found[1], found[3])


def test_accounts_and_keys_in_json(sluice: Sluice) -> None:
    made = sluice("account", "create", "tenant", "--json").json
    assert set(made) == {"account_id", "name", "access_key_id", "secret_access_key"}
    second = sluice("key", "create", "tenant", "--json").json
    assert set(second) == {"account_id", "access_key_id", "secret_access_key"}
    assert sluice("key", "disable", second["access_key_id"]).status == 0
    listed = sluice("key", "list", made["account_id"], "--json").json
    assert {key["access_key_id"]: key["active"] for key in listed} == {
        made["access_key_id"]: True,
        second["access_key_id"]: False,
    }
    assert sluice("key", "enable", second["access_key_id"]).status == 0
    assert all(key["active"] for key in sluice("key", "list", "--json").json)
    assert sluice("key", "delete", second["access_key_id"]).status == 0
    (account,) = sluice("account", "list", "--json").json
    assert (account["name"], account["keys"]) == ("tenant", 1)


def test_tables_show_all_but_secrets(sluice: Sluice) -> None:
    made = sluice("account", "create", "[red]tenant[/red] & sons", "--json").json
    assert re.search(
        rf"{made['account_id']} +\[red\]tenant\[/red\] & sons +active +\S+ \S+ +1", sluice("account", "list").out
    )
    keys = sluice("key", "list").out
    assert re.search(rf"{made['access_key_id']} +{made['account_id']} +active", keys)
    assert made["secret_access_key"] not in keys
    pair = sluice("key", "create", made["account_id"]).out
    assert re.fullmatch(r"export AWS_ACCESS_KEY_ID=\S+\nexport AWS_SECRET_ACCESS_KEY=\S{40}\n", pair)


def test_pools(sluice: Sluice) -> None:
    for _ in range(2):
        assert sluice(*POOL).out == "pool public: 203.0.113.10 to 203.0.113.17, 8 free, 0 used\n"
    (pool,) = sluice("pool", "list", "--json").json
    assert sluice(*POOL, "--json").json == pool
    assert (pool["name"], pool["gateway"], pool["free"]) == ("public", "203.0.113.1", 8)
    assert re.search(r"public +203\.0\.113\.0/24 +.*203\.0\.113\.17 +8 +0", sluice("pool", "list").out)


def test_a_pool_of_a_whole_network_comes_and_goes(sluice: Sluice, config_file: Path) -> None:
    for _ in range(2):
        answer = sluice("pool", "add", "203.0.113.0/29")
        assert answer.out == "pool 203.0.113.0-29: 203.0.113.2 to 203.0.113.6, 5 free, 0 used\n"
    made = sluice("pool", "add", "198.51.100.0/30", "--name", "small", "--gateway", "198.51.100.2", "--json").json
    assert (made["gateway"], made["first"], made["last"]) == ("198.51.100.2", "198.51.100.1", "198.51.100.1")
    assert sluice("pool", "remove", "small").status == 0
    assert [pool["name"] for pool in sluice("pool", "list", "--json").json] == ["203.0.113.0-29"]

    account = sluice("account", "create", "tenant", "--json").json["account_id"]
    store = Store.open(load(config_file))
    for action, given in (("AllocateAddress", {}), ("ReleaseAddress", {"PublicIp": "203.0.113.2"})):
        refused = sluice("pool", "remove", "203.0.113.0-29") if action == "ReleaseAddress" else None
        with store.write(Call(action, given, Caller(account, "AKIATEST"), "test")) as txn:
            ACTIONS[action].handler(txn.call, txn)
    store.close()
    assert refused is not None
    assert (refused.status, refused.err) == (
        1,
        "sluice: accounts have 1 addresses of pool '203.0.113.0-29'; they must release them first\n",
    )
    assert sluice("pool", "remove", "203.0.113.0-29").status == 0
    assert sluice("pool", "list", "--json").json == []


def test_quotas(sluice: Sluice) -> None:
    sluice("account", "create", "tenant")
    assert sluice("quota", "set", "tenant", "elastic-ips", "9").status == 0
    assert sluice("quota", "list", "tenant", "--json").json["elastic-ips"] == 9
    assert re.search(r"elastic-ips +9 +5", sluice("quota", "list", "tenant").out)
    assert sluice("quota", "set", "tenant", "elastic-ips", "default").status == 0
    assert sluice("quota", "list", "tenant", "--json").json["elastic-ips"] == 5


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("account create ", "no account name"),
        ("account create", "Missing argument 'NAME'; see 'sluice account create --help'"),
        ("key create nobody", "no account 'nobody'"),
        ("key list nobody", "no account 'nobody'"),
        ("key disable AKIANONE", "no access key 'AKIANONE'; see 'sluice key list'"),
        ("quota set nobody elastic-ips 3", "no account 'nobody'"),
        ("quota set nobody elastic-ips -3", "see 'sluice quota set --help'"),
        ("quota set nobody elastic-ips many", "write a number or 'default'"),
        ("pool create public --cidr 10.0.0.0/8", "Missing option '--gateway'"),
        ("pool add 203.0.113.0/31", "203.0.113.0/31 is too small"),
        ("pool add 203.0.113", "is no IPv4 network"),
        ("pool add 203.0.113.0/24 --gateway 203.0.113.9", "name a range with 'sluice pool create'"),
        ("pool remove nowhere", "there is no pool 'nowhere'; see 'sluice pool list'"),
        ("whohad 203.0.113", "'203.0.113' is no IPv4 address; write one such as 203.0.113.10"),
        ("whohad 203.0.113.10 --at noon", "'noon' is no time; write it as 2026-03-29T14:05"),
        ("usage --month 2026-13", "'2026-13' is no month; write year and month, e.g. 2026-03"),
        ("usage --account nobody", "no account 'nobody'"),
        ("frob", "No such command 'frob'; see 'sluice --help'"),
        ("account list --jason", "No such option"),
    ],
)
def test_mistakes_are_one_line_and_status_1(sluice: Sluice, command: str, text: str) -> None:
    answer = sluice(*command.split(" "))
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.startswith("sluice: ")
    assert text in answer.err
    assert answer.err.count("\n") == 1


def test_a_taken_name_is_one_line(sluice: Sluice) -> None:
    sluice("account", "create", "tenant")
    answer = sluice("account", "create", "tenant")
    assert (answer.status, answer.err) == (
        1,
        "sluice: there is an account named 'tenant' already; see 'sluice account list'\n",
    )


def test_a_bad_configuration_or_state_is_one_line(sluice: Sluice, config_file: Path) -> None:
    (config_file.parent / "state").write_text("in the way")
    answer = sluice("account", "list")
    assert answer.status == 1
    assert re.fullmatch(r"sluice: state directory \S+ is not writable \(File exists\); .*\n", answer.err)
    config_file.write_text("aip = 3\n")
    answer = sluice("account", "list")
    assert (answer.status, answer.err) == (1, f"sluice: {config_file}: aip: is not a known key; did you mean api?\n")
    config_file.unlink()
    answer = sluice("account", "list")
    assert (
        answer.err
        == f"sluice: {config_file}: cannot be read (No such file or directory); name a readable file with --config\n"
    )


def test_who_had_an_address_and_what_it_was_used_for(sluice: Sluice, config_file: Path) -> None:
    sluice(*POOL)
    account = sluice("account", "create", "tenant", "--json").json["account_id"]
    assert sluice("whohad", "203.0.113.10").out == "nobody had 203.0.113.10\n"
    store = Store.open(load(config_file), clock=lambda: datetime(2024, 5, 6, 12, tzinfo=UTC))
    with store.write(Call("AllocateAddress", {}, Caller(account, "AKIATEST"), "test")) as txn:
        allocation = ACTIONS["AllocateAddress"].handler(txn.call, txn)["AllocationId"]
    store.close()

    assert re.search(rf"2024-05-06 12:00:00 +now +{account} +- +- +- +-", sluice("whohad", "203.0.113.10").out)
    (period,) = sluice("whohad", "203.0.113.10", "--at", "2024-05-06T14:00+02:00", "--json").json
    assert (period["account"], period["allocation"], period["until"]) == (account, allocation, None)
    answer = sluice("whohad", "203.0.113.10", "--at", "2024-05-06T11:59:59")
    assert answer.out == "nobody had 203.0.113.10 at 2024-05-06 11:59:59 UTC\n"

    assert sluice("usage", "--month", "2024-05", "--csv").out.splitlines() == [
        "account,public_ip,allocation,hours,associated_hours,packets_in,packets_out,bytes_in,bytes_out",
        f"{account},203.0.113.10,{allocation},612.0,0.0,0,0,0,0",
    ]
    (line,) = sluice("usage", "--month", "2024-06", "--account", "tenant", "--json").json
    assert line["hours"] == 720
    assert re.search(
        rf"{account} +203.0.113.10 +{allocation} +720.00 +0.00 +0 +0", sluice("usage", "--month", "2024-06").out
    )
    assert sluice("usage", "--month", "2024-04", "--json").json == []


def test_every_mistake_in_the_configuration_is_named(sluice: Sluice, config_file: Path) -> None:
    answer = sluice("config", "check")
    assert (answer.status, answer.out, answer.err) == (0, f"{config_file}: in order\n", "")
    config_file.write_text('aip = 3\n[api]\nbind = "x"\n')
    answer = sluice("config", "check")
    assert answer.status == 1
    assert answer.out.splitlines() == [
        f"{config_file}:1: aip: is not a known key; did you mean api?",
        f"{config_file}:3: api.bind: 'x' is no address to listen on; write HOST:PORT, e.g. 127.0.0.1:8773",
    ]
    assert answer.err == f"sluice: {config_file}: 2 mistakes; mend them and check again\n"
    other = config_file.with_name("other.toml")
    answer = sluice("config", "check", str(other))
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.startswith(f"sluice: {other}: cannot be read")
    other.write_text("")
    assert sluice("config", "check", str(other)).out == f"{other}: in order\n"


def test_help_and_version_need_no_configuration(sluice: Sluice, config_file: Path) -> None:
    config_file.unlink()
    for arguments in (("--help",), ("--version",)):
        answer = sluice(*arguments)
        assert (answer.status, answer.err) == (0, "")
    assert sluice("--version").out == "sluice 0.1.0\n"


def test_a_group_alone_shows_its_commands(sluice: Sluice) -> None:
    answer = sluice("pool")
    assert answer.status == 1
    assert "create" in answer.err


def test_an_interrupted_command_says_nothing_more(sluice: Sluice, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_store: Store) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("econe_api.store.accounts.list_accounts", interrupt)
    answer = sluice("account", "list")
    assert (answer.status, answer.out, answer.err.strip()) == (130, "", "")


def test_the_module_is_the_command(config_file: Path) -> None:
    command = [sys.executable, "-m", "sluice", "--config", str(config_file)]
    done = subprocess.run([*command, "account", "list"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["Account", "Name", "State", "Created", "(UTC)", "Keys"]
    done = subprocess.run(
        [*command, "key", "create", "nobody"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")


def test_a_reader_that_goes_away_is_no_crash(config_file: Path) -> None:
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reader.wait(timeout=60)
    command = [sys.executable, "-m", "sluice", "--config", str(config_file), "account", "list"]
    done = subprocess.run(command, stdout=reader.stdin, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert reader.stdin is not None
    reader.stdin.close()


def test_a_move_of_an_host_that_is_not_there_is_one_line(sluice: Sluice) -> None:
    answer = sluice("instance", "moved", "i-9", "hv9")
    assert (answer.status, answer.out) == (1, "")
    assert "no hypervisor 'hv9'" in answer.err
    assert answer.err.count("\n") == 1
