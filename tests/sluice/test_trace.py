"""``sluice trace``: what is asked, what is shown, the exit status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Sluice = Callable[..., Any]
Controller = Callable[[dict[str, Any]], list[dict[str, Any]]]


def step(table: int, name: str, words: str, *, drops: bool = False) -> dict[str, Any]:
    return {"table": table, "name": name, "words": words, "match": "", "priority": 1, "cookie": "0x1", "drops": drops}


def reply(*, allowed: bool) -> dict[str, Any]:
    steps = [step(0, "CLASSIFY", "the port of eni-1"), step(45, "INGRESS_ACT", "the pipeline itself", drops=True)]
    rule = {
        "host": "hv1",
        "direction": "ingress",
        "group": "sg-1",
        "group_words": "group web (sg-1)",
        "rule": "sgr-1",
        "words": "tcp 80 from 0.0.0.0/0",
    }
    return {
        "ok": True,
        "allowed": allowed,
        "reason": "eni-1 gets it" if allowed else "no ingress rule of group web (sg-1) allows tcp 22",
        "source": "192.0.2.1 outside",
        "destination": "eni-1 (i-1, 10.0.1.10)",
        "service": "tcp 80",
        "rules": [rule] if allowed else [],
        "dropped": None if allowed else {"host": "hv1", "table": 45, "name": "INGRESS_ACT"},
        "hops": [
            {
                "host": "hv1",
                "bridge": "br-int",
                "entered": "uplink",
                "steps": steps,
                "left": "eni-1" if allowed else None,
            }
        ],
        "notes": ["run sluice audit"] if not allowed else [],
    }


def test_allowed_is_status_0_and_names_the_rule(sluice: Sluice, controller: Controller) -> None:
    asked = controller(reply(allowed=True))
    answer = sluice("trace", "192.0.2.1", "10.0.1.10", "TCP", "80")
    ends = {"source": {"address": "192.0.2.1"}, "destination": {"address": "10.0.1.10"}}
    assert asked == [{"op": "trace", "protocol": 6, "port": 80, "code": None, **ends}]
    assert (answer.status, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == "ALLOWED  tcp 80  192.0.2.1 outside -> eni-1 (i-1, 10.0.1.10)"
    assert lines[1] == "eni-1 gets it"
    assert lines[2] == "ingress by sgr-1 of group web (sg-1): tcp 80 from 0.0.0.0/0 (on hv1)"
    assert "hv1: uplink -> eni-1" in answer.out


def test_denied_is_status_2_and_names_the_place(sluice: Sluice, controller: Controller) -> None:
    controller(reply(allowed=False))
    answer = sluice("trace", "192.0.2.1", "10.0.1.10", "6", "22")
    assert answer.status == 2
    assert answer.out.startswith("DENIED")
    assert "dropped on hv1 in table 45 INGRESS_ACT\n" in answer.out
    assert "the pipeline itself - dropped" in answer.out
    assert "note: run sluice audit\n" in answer.out
    assert "hv1: uplink -> nowhere" in answer.out


def test_json_holds_everything(sluice: Sluice, controller: Controller) -> None:
    controller(reply(allowed=False))
    answer = sluice("trace", "192.0.2.1", "10.0.1.10", "udp", "53", "--json")
    assert answer.status == 2
    assert answer.json == {key: value for key, value in reply(allowed=False).items() if key != "ok"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("icmp",), (1, None, None)),
        (("icmp", "3/4"), (1, 3, 4)),
        (("icmp", "0"), (1, 0, None)),
        (("gre",), (47, None, None)),
        (("132", "9"), (132, 9, None)),
    ],
)
def test_services(sluice: Sluice, controller: Controller, words: Any, expected: Any) -> None:
    asked = controller(reply(allowed=True))
    assert sluice("trace", "192.0.2.1", "10.0.1.10", *words).status == 0
    assert (asked[0]["protocol"], asked[0]["port"], asked[0]["code"]) == expected


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("192.0.2.1", "web", "tcp", "80"), "there is no instance or interface 'web'"),
        (("192.0.2.1", "10.0.1.10", "tpc", "80"), "'tpc' is no protocol"),
        (("192.0.2.1", "10.0.1.10", "256", "80"), "'256' is no protocol"),
        (("192.0.2.1", "10.0.1.10", "tcp", "65536"), "'65536' is no port"),
        (("192.0.2.1", "10.0.1.10", "tcp", "http"), "'http' is no port"),
        (("192.0.2.1", "10.0.1.10", "icmp", "3/x"), "'x' is no ICMP code"),
        (("192.0.2.1", "10.0.1.10", "tcp", "80"), "nobody listens"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_status_1(sluice: Sluice, words: Any, text: str) -> None:
    answer = sluice("trace", *words)
    assert (answer.status, answer.out) == (1, "")
    assert text in answer.err
    assert answer.err.count("\n") == 1
