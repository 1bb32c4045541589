"""``sluice audit``: what is asked, what is shown, the exit status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Sluice = Callable[..., Any]
Controller = Callable[[dict[str, Any]], list[dict[str, Any]]]
INSTALLED = {"ok": True, "installed": True, "lagging": []}


def finding(number: int = 1, **change: Any) -> dict[str, Any]:
    return {
        "host": "hv1",
        "kind": "missing flow",
        "what": f"table 43 [bold] of group web (sg-1): number {number}",
        "cause": "somebody deleted it on the switch",
        "mend": "sluice audit --repair sends it again",
        "objects": ["sg-1"],
        **change,
    }


def reply(*findings: dict[str, Any], left: list[dict[str, Any]] | None = None, **change: Any) -> dict[str, Any]:
    return {
        "ok": True,
        "revision": 0,
        "seconds": 0.125,
        "hosts": [{"name": "hv1", "flows": 60}, {"name": "hv2", "flows": 40}],
        "findings": list(findings),
        "remaining": list(findings) if left is None else left,
        "count": len(findings),
        "repaired": left is not None,
        **change,
    }


def test_a_clean_cloud_is_status_0(sluice: Sluice, controller: Controller) -> None:
    hint, asked = controller(INSTALLED), controller(reply())
    answer = sluice("audit")
    assert (answer.status, answer.err) == (0, "")
    assert hint[0]["op"] == "installed"
    assert asked == [{"op": "audit", "host": None, "repair": False, "foreign": False}]
    assert answer.out == "looked at 2 hosts with 100 flows in 0.1 s, revision 0\nno difference\n"


def test_alike_differences_are_shown_together_with_cause_and_mend(sluice: Sluice, controller: Controller) -> None:
    other = finding(kind="two owners", what="both answer", cause="a ghost", mend="--foreign")
    controller(INSTALLED)
    controller(reply(*(finding(number) for number in range(7)), other))
    answer = sluice("audit", "--host", "hv1")
    assert answer.status == 2
    assert "hv1: 8" in answer.out
    assert "7 x missing flow" in answer.out
    assert "table 43 [bold] of group web (sg-1): number 4" in answer.out
    assert "number 5" not in answer.out
    assert "and 2 more (--json names all)" in answer.out
    assert answer.out.count("somebody deleted it on the switch") == 1
    assert "a ghost" in answer.out
    assert answer.out.endswith("8 differences\n")


def test_a_repair_says_what_is_left(sluice: Sluice, controller: Controller) -> None:
    foreign = finding(2, kind="foreign flow", what="a stranger")
    controller(INSTALLED)
    asked = controller(reply(finding(), foreign, left=[foreign]))
    answer = sluice("audit", "--repair", "--foreign")
    assert (asked[0]["repair"], asked[0]["foreign"]) == (True, True)
    assert answer.status == 2
    assert "number 1 - repaired" in answer.out
    assert "a stranger - still there" in answer.out
    assert answer.out.endswith("2 found, 1 left after the repair\n")
    controller(INSTALLED)
    controller(reply(finding(), left=[]))
    assert sluice("audit", "--repair").status == 0


def test_json_holds_everything(sluice: Sluice, controller: Controller) -> None:
    controller(INSTALLED)
    controller(reply(finding()))
    answer = sluice("audit", "--json")
    assert answer.status == 2
    assert answer.json["findings"] == [finding()]
    assert answer.json["store_revision"] == 0


def test_a_controller_behind_the_store_is_a_difference(sluice: Sluice, controller: Controller) -> None:
    sluice("account", "create", "tenant")
    controller(INSTALLED)
    controller(reply())
    answer = sluice("audit")
    assert answer.status == 2
    assert "the controller is behind the store, which is at revision 1\n" in answer.out


@pytest.mark.parametrize(
    ("broken", "text"),
    [({"ok": False, "error": "there is no host 'hv9'"}, "there is no host 'hv9'"), ({"ok": True}, "one version")],
)
def test_what_cannot_be_audited_is_one_line_and_status_1(
    sluice: Sluice, controller: Controller, broken: dict[str, Any], text: str
) -> None:
    controller(INSTALLED)
    controller(broken)
    answer = sluice("audit")
    assert (answer.status, answer.out) == (1, "")
    assert text in answer.err
    assert answer.err.count("\n") == 1


def test_foreign_flows_go_with_a_repair_only(sluice: Sluice) -> None:
    answer = sluice("audit", "--foreign")
    assert (answer.status, answer.out) == (1, "")
    assert "--foreign deletes flows, so it needs --repair" in answer.err
