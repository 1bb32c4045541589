"""``sluice log``: shown, verified, pruned."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

Sluice = Callable[..., Any]


@pytest.fixture
def database(sluice: Sluice, config_file: Path) -> Path:
    for name in ("one", "two"):
        assert sluice("account", "create", name).status == 0
    return config_file.parent / "state" / "sluice.db"


def tamper(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement)


def test_shown_and_whole(sluice: Sluice, database: Path) -> None:
    shown = sluice("log", "show", "--json").json
    assert [(one["id"], one["action"], one["code"]) for one in shown] == [
        (1, "CreateAccount", ""),
        (2, "CreateAccount", ""),
    ]
    assert "CreateAccount  ok" in " ".join(sluice("log", "show", "--last", "1").out.split("  ")).replace(" ok", "  ok")
    account = sluice("account", "list", "--json").json[0]["account_id"]
    assert sluice("log", "show", "--account", account, "--json").json == []
    answer = sluice("log", "verify")
    assert (answer.status, answer.out) == (0, "2 entries, nothing altered\n")
    assert sluice("log", "verify", "--json").json == {"entries": 2, "problems": []}


def test_tampering_shows(sluice: Sluice, database: Path) -> None:
    tamper(database, "UPDATE audit SET account = '999999999999' WHERE id = 1")
    answer = sluice("log", "verify")
    assert answer.status == 1
    assert answer.out.startswith("entry 1 is not as it was written")
    assert answer.out.endswith("2 entries, 1 problems\n")


def test_a_cut_end_shows_until_the_operator_vouches_for_it(sluice: Sluice, database: Path) -> None:
    tamper(database, "DELETE FROM audit WHERE id = 2")
    assert "entry 2 is missing" in sluice("log", "verify").out
    (database.parent / "audit.anchor").write_text("{}")
    assert "damaged" in sluice("log", "verify").out
    (database.parent / "audit.anchor").unlink()
    answer = sluice("log", "verify")
    assert (answer.status, "no anchor file" in answer.out) == (1, True)
    assert sluice("log", "anchor").status == 0
    assert sluice("log", "verify").status == 0
    assert sluice("log", "show", "--json").json[-1]["action"] == "AnchorLog"


def test_pruned(sluice: Sluice, database: Path) -> None:
    assert sluice("log", "prune", "--before", "2100-01-01").out == "0 entries pruned\n", "the last hour stays"
    tamper(database, "UPDATE audit SET time = '2020-01-01 00:00:00.000000' WHERE id = 1")
    answer = sluice("log", "prune", "--before", "2021-01-01")
    assert (answer.status, "nothing is pruned" in answer.err) == (1, True)
    answer = sluice("log", "prune", "--before", "soon")
    assert (answer.status, answer.err) == (
        1,
        "sluice: 'soon' is no time; write one such as 2026-01-31 or 2026-01-31T12:00\n",
    )
