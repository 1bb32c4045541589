"""The XML-RPC client: what it sends, and what it makes of every kind of answer."""

from __future__ import annotations

import http.server
import socket
import time
import xmlrpc.client
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from econe_api.opennebula.rpc import Client, Code, FaultError, NoAnswerError, RefusedError, parse_document

_SESSION = "alice:not-to-be-shown"


def _reply(*members: Any) -> bytes:
    return xmlrpc.client.dumps((list(members),), methodresponse=True).encode()


def test_sends_the_session_first_and_returns_the_value(answering: Any) -> None:
    answering.answer = _reply(True, 7, 0)
    with Client(answering.url) as client:
        assert client.call(_SESSION, "one.vm.action", "resume", 3) == 7
    parameters, method = xmlrpc.client.loads(answering.bodies[0])
    assert (method, parameters) == ("one.vm.action", (_SESSION, "resume", 3))


def test_one_connection_serves_several_calls(answering: Any) -> None:
    answering.answer = _reply(True, 7, 0)
    with Client(answering.url) as client:
        for _ in range(5):
            client.call(_SESSION, "one.vm.action", "resume", 3)
    assert answering.connections == 1


def test_a_refusal_has_code_and_words(answering: Any) -> None:
    answering.answer = _reply(False, "[one.vm.info] Error getting virtual machine [9].", 0x400, 9, -1)
    with Client(answering.url) as client, pytest.raises(RefusedError) as caught:
        client.call(_SESSION, "one.vm.info", 9, False)
    assert (caught.value.code, caught.value.text) == (Code.NO_EXISTS, "Error getting virtual machine [9].")
    assert caught.value.object_id == 9


def test_a_fault_is_told_from_a_refusal(answering: Any) -> None:
    answering.answer = xmlrpc.client.dumps(xmlrpc.client.Fault(-506, "Method 'one.x' not defined")).encode()
    with Client(answering.url) as client, pytest.raises(FaultError, match=r"one\.x") as caught:
        client.call(_SESSION, "one.x")
    assert caught.value.code == -506


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"not xml at all",
        b"<methodResponse><params><param><value><array><data><value><boolean>1</boolean></value>",
        b"<html><body>It works!</body></html>",
        _reply(True),
        _reply(False, 3, "text"),
        xmlrpc.client.dumps(("text",), methodresponse=True).encode(),
        b'<!DOCTYPE a [<!ENTITY e "x">]>' + _reply(True, "", 0).partition(b"\n")[2],
        b"\xff\xfe\x00",
    ],
    ids=["nothing", "text", "cut", "html", "short", "misplaced", "no-array", "doctype", "bytes"],
)
def test_garbage_is_no_answer(answering: Any, answer: bytes) -> None:
    answering.answer = answer
    with Client(answering.url) as client, pytest.raises(NoAnswerError) as caught:
        client.call(_SESSION, "one.vm.info", 3, False)
    assert _SESSION not in str(caught.value)
    assert "\n" not in str(caught.value)


@given(answer=st.binary(max_size=200))
@settings(max_examples=100)
def test_a_document_type_is_refused_whatever_follows(answer: bytes) -> None:
    with pytest.raises(NoAnswerError):
        parse_document("<!DOCTYPE a>" + answer.decode("latin-1"))


def test_a_reply_that_is_too_long_is_refused(answering: Any) -> None:
    answering.answer = _reply(True, "x" * 5000, 0)
    with Client(answering.url, most_bytes=4000) as client, pytest.raises(NoAnswerError, match="more than 4000 bytes"):
        client.call(_SESSION, "one.vm.info", 3, False)


def test_a_slow_oned_is_given_up_after_the_timeout_for_the_whole_call(answering: Any) -> None:
    def trickle(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        try:
            for _ in range(200):
                handler.wfile.write(b" ")
                time.sleep(0.05)
        except OSError:
            return

    answering.answer = trickle
    with Client(answering.url, timeout=0.3) as client, pytest.raises(NoAnswerError, match="did not answer"):
        client.call(_SESSION, "one.vm.info", 3, False)


def test_no_one_there(answering: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = Client(f"http://127.0.0.1:{taken.getsockname()[1]}/RPC2")
        with pytest.raises(NoAnswerError, match="refused"):
            client.call(_SESSION, "one.vm.info", 3, False)


@pytest.mark.parametrize(("method", "times"), [("one.vm.info", 3), ("one.vm.action", 2)])
def test_a_connection_that_was_ended_meanwhile_costs_no_read_and_repeats_no_change(
    answering: Any, method: str, times: int
) -> None:
    answering.answer = _reply(True, 1, 0)
    with Client(answering.url) as client:
        client.call(_SESSION, method, 1)

        def hang_up_once(handler: http.server.BaseHTTPRequestHandler) -> None:
            answering.answer = _reply(True, 1, 0)
            handler.close_connection = True

        answering.answer = hang_up_once
        if method == "one.vm.info":
            assert client.call(_SESSION, method, 1) == 1
        else:
            with pytest.raises(NoAnswerError):
                client.call(_SESSION, method, 1)
    assert len(answering.bodies) == times


@pytest.mark.parametrize(
    "text", ["\x00", "a\x1bb", "\ud800", "\uffff"], ids=["nul", "escape", "surrogate", "noncharacter"]
)
def test_what_xml_cannot_carry_is_not_sent(answering: Any, text: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        Client(answering.url).call(_SESSION, "one.vm.update", 1, text, 1)
    assert not answering.bodies


@pytest.mark.parametrize("endpoint", ["127.0.0.1:2633", "ftp://h/RPC2", "http:///RPC2", "http://a:b@h/RPC2"])
def test_endpoints_that_are_none(endpoint: str) -> None:
    with pytest.raises(ValueError, match="no endpoint"):
        Client(endpoint)
