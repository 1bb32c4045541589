"""Hostile requests: some against a real server, and the judge itself, which must be able to say no."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from fuzz import campaign
from fuzz.requests import hostile_request
from fuzz.values import Known
from fuzz.verdict import code_of, judge, learn

GOOD = b'<R:DescribeVpcsResponse xmlns:R="x"><requestId>1</requestId></R:DescribeVpcsResponse>'
REFUSED = (
    b"<Response><Errors><Error><Code>A.B</Code><Message>m</Message></Error></Errors><RequestID>1</RequestID></Response>"
)


def test_no_answer_to_a_hostile_request_is_wrong(tmp_path: Path) -> None:
    outcome = campaign.run(tmp_path, requests=1500, seed=7, progress=lambda _: None)
    assert outcome.wrong == []
    assert (outcome.requests, outcome.tracebacks, outcome.alive) == (1500, 0, True)
    assert outcome.codes["200"] > 50, "some must get through, or nothing has been tried"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, REFUSED),
        (503, b""),
        (200, b"<ok/>"),
        (200, b"no XML"),
        (400, GOOD),
        (400, REFUSED.replace(b"A.B", b"not a code")),
        (400, REFUSED.replace(b"A.B", b"InternalError")),
        (400, REFUSED.replace(b"<Message>m</Message>", b"")),
        (403, b"<html>"),
        (400, b"Traceback (most recent call last)"),
    ],
    ids=range(10),
)
def test_the_judge_sees_what_is_wrong(status: int, body: bytes) -> None:
    assert judge(status, body) is not None


def test_the_judge_lets_right_answers_pass() -> None:
    assert judge(200, GOOD) is None
    assert judge(400, REFUSED) is None
    assert judge(414, b"<html>URI Too Long</html>") is None
    assert (code_of(400, REFUSED), code_of(200, GOOD)) == ("A.B", "200")


@given(st.integers(0, 1 << 40))
def test_a_request_comes_from_its_seed_alone_and_can_be_sent(seed: int) -> None:
    known = Known()
    learn(known, b"<vpcId>vpc-0123456789abcdef0</vpcId>")
    credentials = Credentials("AKIATEST", "secret")
    one, same = (hostile_request(Random(seed), known, "127.0.0.1:1", credentials) for _ in range(2))
    unsigned = {"X-Amz-Date", "Authorization"}
    if "X-Amz-Signature" not in one.target:
        assert (one.method, one.target, one.body) == (same.method, same.target, same.body)
        assert [h for h in one.headers if h[0] not in unsigned] == [h for h in same.headers if h[0] not in unsigned]
    assert one.target.startswith("/")
    assert one.target.isascii()
