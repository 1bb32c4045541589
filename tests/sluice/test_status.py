"""``sluice status``: the controller's answer, the store's revision, the exit status."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

Sluice = Callable[..., Any]
Controller = Callable[[dict[str, Any]], list[dict[str, Any]]]


def host(**change: Any) -> dict[str, Any]:
    base = {
        "name": "hv1",
        "dpid": "00000000000000a1",
        "connected": True,
        "agent": True,
        "desired": 3,
        "installed": 3,
        "ports": 4,
        "flows": 123,
        "problems": [],
    }
    return {**base, **change}


def reply(*hosts: dict[str, Any], **change: Any) -> dict[str, Any]:
    return {"ok": True, "revision": 3, "hosts": list(hosts), "problems": [], "counters": {"bundles": 7}, **change}


def test_in_sync_is_status_0(sluice: Sluice, controller: Controller) -> None:
    asked = controller(reply(host(), host(name="hv2", dpid="00000000000000b2")))
    answer = sluice("status")
    assert asked == [{"op": "status"}]
    assert (answer.status, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == "store at revision 0, controller at 3"
    assert re.fullmatch(r"hv1 +00000000000000a1 +connected +connected +3 +3 +4 +123 +in sync *", lines[2])
    assert lines[3].startswith("hv2")
    assert lines[-1] == "all in sync"


def test_json_holds_everything(sluice: Sluice, controller: Controller) -> None:
    controller(reply(host(installed=None, dpid=None)))
    answer = sluice("status", "--json")
    assert answer.status == 2
    found = answer.json
    (absent,) = found.pop("compute")
    assert absent.startswith("the compute worker does not answer: nobody listens at ")
    assert found == {
        "store_revision": 0,
        "controller_revision": 3,
        "hosts": [host(installed=None, dpid=None)],
        "problems": [],
        "counters": {"bundles": 7},
        "in_sync": False,
    }


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"installed": 2}, "lags"),
        ({"installed": None}, "lags"),
        ({"connected": False}, "lags"),
        ({"agent": False}, "lags"),
        ({"problems": ["its [bold] switch is away"]}, "problem"),
    ],
)
def test_a_host_that_is_behind_is_status_2(sluice: Sluice, controller: Controller, change: Any, state: str) -> None:
    controller(reply(host(**change)))
    answer = sluice("status")
    assert (answer.status, answer.err) == (2, "")
    assert re.search(rf"^hv1 .* {state} *$", answer.out, re.MULTILINE)
    assert answer.out.endswith("not in sync\n")
    for problem in change.get("problems", ()):
        assert f"problem: hv1: {problem}\n" in answer.out


def test_a_configured_host_that_never_came_is_named(sluice: Sluice, controller: Controller) -> None:
    controller(reply())
    answer = sluice("status")
    assert answer.status == 2
    assert "problem: hv1: its agent has not connected since the controller started\n" in answer.out


def test_a_problem_of_the_controller_is_status_2(sluice: Sluice, controller: Controller) -> None:
    controller(reply(host(), problems=["the store has not been read yet"]))
    answer = sluice("status")
    assert answer.status == 2
    assert "problem: the store has not been read yet\n" in answer.out


def test_a_controller_behind_the_store_is_status_2(sluice: Sluice, controller: Controller) -> None:
    sluice("account", "create", "tenant")
    controller(reply(host(desired=0, installed=0), revision=0))
    answer = sluice("status")
    assert answer.status == 2
    assert "store at revision 1, controller at 0\n" in answer.out


def test_no_controller_is_one_line_and_status_1(sluice: Sluice) -> None:
    answer = sluice("status")
    assert (answer.status, answer.out) == (1, "")
    assert re.fullmatch(
        r"sluice: the controller does not answer: nobody listens at \S+; start it with 'python -m controller'\n",
        answer.err,
    )


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        ({"ok": False, "error": "no such op"}, "no such op"),
        ({"ok": True}, "same version"),
        (reply({"name": "hv1"}), "same version"),
        (reply(host(flows="many")), "same version"),
    ],
)
def test_an_answer_that_is_none_is_one_line_and_status_1(
    sluice: Sluice, controller: Controller, broken: dict[str, Any], text: str
) -> None:
    controller(broken)
    answer = sluice("status")
    assert (answer.status, answer.out) == (1, "")
    assert text in answer.err
    assert answer.err.count("\n") == 1
