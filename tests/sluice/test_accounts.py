"""What operators do with accounts and keys from the command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from econe_api.config import load
from econe_api.store.store import Store

Sluice = Callable[..., Any]


def test_ids_and_keys_of_ones_own(sluice: Sluice) -> None:
    chosen = ("--account-id", "000123456789", "--access-key", "mine", "--secret-key", "it's$ecret")
    out = sluice("account", "create", "tenant", *chosen).out
    assert out.startswith("# account 000123456789 (tenant)\nexport AWS_ACCESS_KEY_ID=mine\n")
    assert shlex.split(out, comments=True)[-1] == "AWS_SECRET_ACCESS_KEY=it's$ecret", "a shell can source it"
    again = sluice("account", "create", "other", *chosen)
    assert (again.status, again.err) == (
        1,
        "sluice: there is an account 000123456789 already; see 'sluice account list'\n",
    )
    made = sluice("key", "create", "tenant", "--access-key", "second", "--secret-key", "abcd", "--json").json
    assert (made["access_key_id"], made["secret_access_key"]) == ("second", "abcd")


def test_roles_and_users(sluice: Sluice) -> None:
    sluice("account", "create", "tenant")
    made = sluice("key", "create", "tenant", "--role", "read-only", "--user", "ann", "--json").json
    keys = {key["access_key_id"]: key for key in sluice("key", "list", "tenant", "--json").json}
    assert (keys[made["access_key_id"]]["role"], keys[made["access_key_id"]]["user"]) == ("read-only", "ann")
    assert re.search(r"active +read-only +ann ", sluice("key", "list").out)
    answer = sluice("key", "create", "tenant", "--user", "a b")
    assert (answer.status, "no user name" in answer.err) == (1, True)
    answer = sluice("key", "create", "tenant", "--role", "root")
    assert (answer.status, "'admin', 'user', 'read-only'" in answer.err) == (1, True)


def test_disabled_and_enabled(sluice: Sluice) -> None:
    sluice("account", "create", "tenant")
    assert sluice("account", "disable", "tenant").status == 0
    assert sluice("account", "list", "--json").json[0]["disabled"] is True
    assert re.search(r"tenant +disabled", sluice("account", "list").out)
    assert sluice("account", "enable", "tenant").status == 0
    assert re.search(r"tenant +active", sluice("account", "list").out)


def test_rotated(sluice: Sluice, config_file: Path) -> None:
    made = sluice("account", "create", "tenant", "--json").json
    new = sluice("account", "rotate-key", "tenant", "--json").json
    assert (new["account_id"], new["replaces"]) == (made["account_id"], made["access_key_id"])
    store = Store.open(load(config_file))
    assert store.credential(made["access_key_id"]) is None
    assert store.credential(new["access_key_id"]) is not None
    store.close()
    second = sluice("key", "create", "tenant", "--json").json["access_key_id"]
    answer = sluice("account", "rotate-key", "tenant")
    assert answer.status == 1
    assert "has 2 keys; name the one to replace" in answer.err
    assert sluice("account", "rotate-key", "tenant", second).out.startswith("export AWS_ACCESS_KEY_ID=AKIA")
    assert "no access key" in sluice("account", "rotate-key", "tenant", second).err


def test_quotas(sluice: Sluice) -> None:
    sluice("account", "create", "tenant")
    assert sluice("account", "quota", "tenant", "elastic-ips", "7").status == 0
    assert sluice("account", "quota", "tenant", "--json").json["elastic-ips"] == 7
    answer = sluice("account", "quota", "tenant", "elastic-ips")
    assert (answer.status, "of what value?" in answer.err) == (1, True)


def test_purged(sluice: Sluice) -> None:
    sluice("account", "create", "tenant")
    assert sluice("account", "purge", "tenant").out == ""
    assert sluice("account", "purge", "tenant", "--json").json == {}
    assert sluice("log", "show", "--json", "--last", "1").json[0]["action"] == "PurgeAccount"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("account create x --account-id 12", "write 12 digits"),
        ("account create x --access-key a", "no access key id"),
        ("account create x --secret-key a", "no secret key"),
        ("account disable nobody", "no account 'nobody'"),
        ("account purge nobody", "no account 'nobody'"),
        ("account rotate-key nobody", "no account 'nobody'"),
        ("log show --last 0", "'--last'"),
        ("log prune", "Missing option '--before'"),
    ],
)
def test_mistakes_are_one_line(sluice: Sluice, command: str, text: str) -> None:
    answer = sluice(*command.split(" "))
    assert (answer.status, answer.out) == (1, "")
    assert text in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("command", ["account", "key", "log", "account purge", "account create", "log verify"])
def test_help_teaches(sluice: Sluice, command: str) -> None:
    answer = sluice(*command.split(" "), "--help")
    assert answer.status == 0
    assert len(answer.out) > 300
