"""IMDSv1 and IMDSv2: who is answered what."""

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agents.metadata.answers import answer
from agents.metadata.http import Request
from agents.metadata.share import BURST, RATE, Shares
from agents.metadata.tokens import Tokens

TOKEN, LIFE = "x-aws-ec2-metadata-token", "x-aws-ec2-metadata-token-ttl-seconds"
ID = "/latest/meta-data/instance-id"
TOKENS = Tokens(b"k" * 32)


def _ask(facts: Any, method: str = "GET", path: str = ID, now: float = 100.0, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return answer(Request(method, path, named, keep=True), facts, TOKENS, now)


def _token(facts: Any, life: str = "60", **headers: str) -> Any:
    request = Request("PUT", "/latest/api/token", {LIFE: life, **headers}, keep=True)
    return answer(request, facts, TOKENS, 100.0)


def _with(facts: Any, token: str, now: float = 100.0) -> int:
    return int(answer(Request("GET", ID, {TOKEN: token}, keep=True), facts, TOKENS, now).status)


def test_without_a_token(facts: Any) -> None:
    assert (_ask(facts).status, _ask(facts).body) == (200, b"i-1")
    assert _ask(facts | {"tokens": "required"}).status == 401
    assert _ask(facts | {"tokens": "required"}, path="/nothing").status == 401
    assert _ask(facts, path="/nothing").status == 404
    assert _ask(facts | {"endpoint": False}).status == 403
    assert _token(facts | {"endpoint": False}).status == 403


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods(facts: Any, method: str) -> None:
    response = _ask(facts, method)
    assert (response.status, response.headers) == (405, (("Allow", "GET, HEAD, PUT"),))


def test_a_put_elsewhere_and_a_get_of_the_token(facts: Any) -> None:
    assert _ask(facts, "PUT").status == 405
    assert _ask(facts, path="/latest/api/token").status == 405


def test_a_token_lives_its_life_and_belongs_to_one_instance(facts: Any) -> None:
    made = _token(facts | {"hop_limit": 3})
    assert (made.status, made.hops) == (200, 3)
    assert dict(made.headers) == {"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": "60"}
    token = made.body.decode()
    assert _with(facts | {"tokens": "required"}, token, 159.9) == 200
    assert _with(facts, token, 160.0) == 401
    assert _with(facts | {"instance": "i-2"}, token) == 401
    assert not Tokens(b"other" * 7).good(token, "i-1", 100)


@pytest.mark.parametrize(("life", "status"), [("1", 200), ("21600", 200), ("0", 400), ("21601", 400), ("", 400)])
def test_the_life_of_a_token(facts: Any, life: str, status: int) -> None:
    assert _token(facts, life).status == status


@pytest.mark.parametrize("life", ["-1", "1.5", "1e3", "sixty", "٦٠", " 60", "9" * 40])
def test_a_life_that_is_no_number(facts: Any, life: str) -> None:
    assert _token(facts, life).status == 400


def test_a_proxy_gets_no_token(facts: Any) -> None:
    assert _token(facts, **{"x-forwarded-for": ""}).status == 403


@settings(max_examples=100)
@given(st.text(max_size=80) | st.binary(max_size=60).map(lambda raw: raw.hex()))
def test_no_text_but_ours_is_a_token(text: str) -> None:
    assert not TOKENS.good(text, "i-1", 0)


@settings(max_examples=100)
@given(st.integers(0, 51), st.characters(codec="ascii"))
@example(TOKENS.make("i-1", 60, 100).find("-"), "+")
@example(TOKENS.make("i-1", 60, 100).find("_"), "/")
def test_no_letter_of_a_token_can_be_another(place: int, letter: str) -> None:
    token = TOKENS.make("i-1", 60, 100)
    changed = token[:place] + letter + token[place + 1 :]
    assert TOKENS.good(changed, "i-1", 100) is (changed == token)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["GET", "PUT", "HEAD", "LINK"]),
    st.text(max_size=40).map(lambda text: f"/{text}") | st.sampled_from([ID, "/latest/api/token"]),
    st.dictionaries(st.sampled_from([TOKEN, LIFE, "x-forwarded-for"]), st.text(max_size=60)),
)
def test_whatever_is_asked_there_is_an_answer(facts: Any, method: str, path: str, headers: dict[str, str]) -> None:
    response = answer(Request(method, path, headers, keep=True), facts, TOKENS, 100.0)
    assert response.encode(keep=True).startswith(b"HTTP/1.1 ")


def test_user_data_is_not_taken_for_text(facts: Any) -> None:
    assert _ask(facts, path="/latest/user-data").kind == "application/octet-stream"
    assert _ask(facts).kind == "text/plain"


def test_shares() -> None:
    shares, greedy, modest = Shares(), (1, 2), (3, 4)
    assert sum(shares.spend(greedy, 0.0) for _ in range(1000)) == BURST
    assert shares.spend(modest, 0.0)
    assert sum(shares.spend(greedy, 1.0) for _ in range(1000)) == RATE
    shares.forget(1.0)
    assert not shares.spend(greedy, 1.0)
    shares.forget(100.0)
    assert shares.spend(greedy, 100.0)
