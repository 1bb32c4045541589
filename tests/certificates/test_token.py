"""Join tokens survive copying, or are refused: nothing in between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certificates.authority import CONTROLLER_NAME, HOST_NAME
from certificates.token import PREFIX, JoinToken, TokenError, digest, read, write

TOKENS = st.builds(
    JoinToken,
    st.from_regex(HOST_NAME, fullmatch=True).filter(lambda name: name != CONTROLLER_NAME),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=16, max_size=16),
)


@given(TOKENS, st.sampled_from(["", " ", "\n", "\t "]))
def test_what_is_written_is_read(token, space):
    word = write(token)
    assert word.isascii()
    assert not set(word) & set(" \n'\"$`\\")
    assert read(f"{space}{word}{space}") == token


@given(TOKENS, st.data())
def test_a_changed_word_is_refused(token, data):
    word = write(token)
    place = data.draw(st.integers(0, len(word) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda one: one != word[place] and not one.isspace()))
    with pytest.raises(TokenError):
        read(word[:place] + other + word[place + 1 :])


@given(TOKENS, st.data())
def test_a_part_of_a_word_is_refused(token, data):
    word = write(token)
    with pytest.raises(TokenError):
        read(word[: data.draw(st.integers(0, len(word) - 1))])


@given(st.text(max_size=200))
def test_nonsense_is_refused_in_one_line(text):
    for word in (text, PREFIX + text):
        with pytest.raises(TokenError) as caught:
            read(word)
        assert "\n" not in str(caught.value)


@given(TOKENS, TOKENS)
def test_the_digest_tells_tokens_apart(one, other):
    same = (one.secret, one.host) == (other.secret, other.host)
    assert (one.digest == other.digest) is same
    assert one.digest == digest(one.secret, one.host)
    assert one.secret.hex() not in one.digest
