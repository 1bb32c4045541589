"""Every action of the service model, with no parameters at all: an answer or a refusal, never a crash."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from econe_api.actions import ACTIONS
from econe_api.protocol.model import operations

PARTS = 8


@pytest.fixture
def asked(client_of: Any, pool: Any) -> Any:
    return client_of(ACTIONS)


@pytest.mark.parametrize("part", range(PARTS))
def test_every_action_of_the_model_has_an_answer(asked: Any, part: int) -> None:
    for name in sorted(operations())[part::PARTS]:
        answer = asked.call(name)
        root = ET.fromstring(answer.body)
        if name not in ACTIONS:
            assert (answer.status, answer.code) == (400, "UnsupportedOperation"), name
            assert name in answer.message
        elif answer.status == 200:
            assert root.tag.endswith(f"}}{name}Response")
            assert len(root) > 1, f"{name} answers nothing but its request id"
        else:
            assert 400 <= answer.status < 500, (name, answer.body)
            assert answer.code
            assert answer.message


@pytest.mark.parametrize(
    "name", ["Fly", "describeaddresses", "DescribeAddress", "GetCallerIdentities", "../x", "a" * 300]
)
def test_a_name_that_no_model_has(asked: Any, name: str) -> None:
    answer = asked.call(name)
    assert (answer.status, answer.code) == (400, "InvalidAction")
