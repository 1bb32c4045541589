"""docs/cases.md names a test for every case, and every test that it names is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CASES = range(1, 47)
PAGE = (ROOT / "docs" / "cases.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in PAGE.splitlines() if line.startswith("| ")]


def named(text):
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)


def defined(path):
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_case_is_there_once_with_a_test():
    numbers = [int(row[0]) for row in ROWS if row[0].isdigit()]
    assert numbers == [*CASES]
    assert [row for row in ROWS if row[0] not in ("case", "attack", "fault", "what comes") and not named(row[-1])] == []


def test_every_test_that_is_named_is_there():
    gone = [
        f"{path}::{name}"
        for path, name in named(PAGE)
        if not (ROOT / path).exists() or name not in defined(ROOT / path)
    ]
    assert gone == []
    assert len(named(PAGE)) > 60
