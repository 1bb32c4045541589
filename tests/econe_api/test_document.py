"""docs/api.md says what the catalogue says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from econe_api.actions import ACTIONS
from econe_api.document import document
from econe_api.protocol.model import operations

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == document() + "\n", "run scripts/docs"


def test_every_action_of_the_model_is_on_the_page_once() -> None:
    table, _, rest = document().partition("## What is not supported")
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ") and "---" not in line]
    works = [name for name in rows if name != "action"]
    unsupported = rest.replace(".", "").replace(",", " ").split()
    assert sorted([*works, *unsupported]) == sorted(operations())
    assert set(works) == ACTIONS.keys()


def test_every_handler_says_what_it_does() -> None:
    silent = [name for name, action in ACTIONS.items() if not (action.handler.__doc__ or "").strip()]
    assert silent == []


def test_the_command_prints_the_page() -> None:
    done = subprocess.run([sys.executable, "-m", "econe_api.document"], capture_output=True, text=True, check=True)
    assert done.stdout == document() + "\n"
