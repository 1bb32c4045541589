"""Mutants are what they say they are: the module with one change, and a trial notices it."""

import ast
import itertools
import time
from pathlib import Path

import pytest

from mutants.changes import mutants
from mutants.equivalent import REASONS, reason
from mutants.trial import start

SOURCE = '''
"""Words."""
@dataclass(frozen=True)
class Thing:
    """More words."""
    size: int = 3

def judge(first: int, last: int) -> bool:
    """Say."""
    if first <= last and not flag:
        log(first, last, loud=True)
    flows = [t.EGRESS_RULES, f.IPV4_SRC]
    return {1: flows, 2: first << 2}[1] is flows
'''


def test_each_kind_of_change_is_made_and_nothing_else():
    found = [(one.change, one.line) for one in mutants(Path("flowrules/thing.py"), SOURCE)]
    expected = {
        ("LtE -> Lt", 10),
        ("and <-> or", 10),
        ("operator dropped", 10),
        ("condition negated", 10),
        ("statement dropped", 11),
        ("first two arguments of log swapped", 11),
        ("without argument loud", 11),
        ("True -> False", 11),
        ("without t.EGRESS_RULES", 12),
        ("EGRESS_RULES -> INGRESS_RULES", 12),
        ("IPV4_SRC -> IPV4_DST", 12),
        ("without entry 1", 13),
        ("LShift -> RShift", 13),
        ("Is -> IsNot", 13),
        ("3 -> 4", 6),
    }
    assert expected <= set(found)
    assert not {line for _, line in found} & {2, 3, 5, 9}, "docstrings and decorators are left alone"


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[2].glob("flowrules/c*.py")), ids=lambda path: path.stem)
def test_every_mutant_is_another_module_that_can_be_read(path):
    text = path.read_text()
    original = ast.unparse(ast.parse(text))
    for one in itertools.islice(mutants(path, text), 0, None, 7):
        source = one.source(text)
        assert source != original, one
        compile(source, str(path), "exec")


def test_every_reason_is_needed():
    """A reason that no mutant has any more is to go."""
    folder = Path(__file__).parents[2] / "flowrules"
    every = [one for path in folder.glob("*.py") for one in mutants(path, path.read_text())]
    excused = [one for one in every if reason(one) is not None]
    for module, fragment, change in REASONS:
        mine = [one for one in excused if fragment in one.before and one.change.startswith(change)]
        assert [one for one in mine if module in ("", one.path.stem)], (module, fragment, change)
    assert len(excused) < len(every) / 100


@pytest.mark.parametrize(("change", "killed"), [("return first < last", True), ("return last >= first", False)])
def test_a_trial_tells_what_killed_the_mutant(tmp_path, change, killed):
    module, test, note = tmp_path / "judged_module.py", tmp_path / "test_judged_module.py", tmp_path / "note"
    module.write_text("raise AssertionError('the file itself must not be run')")
    test.write_text("from judged_module import judge\n\ndef test_equal_ends():\n    assert judge(80, 80)\n")
    source = f"def judge(first, last):\n    {change}\n"
    trial = start(
        "judged_module", module, source, [str(test), "--rootdir", str(tmp_path), "-c", "/dev/null"], note, 60.0
    )
    while (killer := trial.poll()) is None:
        time.sleep(0.02)
    assert ("test_equal_ends" in killer) is killed
    assert bool(killer) is killed


def test_a_trial_that_does_not_end_is_ended(tmp_path):
    test = tmp_path / "test_endless.py"
    test.write_text("def test_endless():\n    while True:\n        pass\n")
    arguments = [str(test), "--rootdir", str(tmp_path), "-c", "/dev/null"]
    trial = start("nothing", tmp_path / "nothing.py", None, arguments, tmp_path / "note", 2.0)
    while (killer := trial.poll()) is None:
        time.sleep(0.02)
    assert killer == "time ran out"
