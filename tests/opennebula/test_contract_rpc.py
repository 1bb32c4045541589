"""The client and the sessions against recorded exchanges with a real oned 6.10."""

from __future__ import annotations

import base64
import re
import xmlrpc.client
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from econe_api.opennebula.rpc import Client, FaultError, RefusedError, parse_document
from econe_api.opennebula.session import ServerCipher, digest, token


def test_every_recorded_reply_is_understood(recordings: Any, answering: Any) -> None:
    client = Client(answering.url)
    values = refusals = faults = 0
    for name in recordings.names():
        method, parameters = recordings.request(name)
        answering.answer = recordings.reply(name)
        arguments = [each for each in parameters[1:] if isinstance(each, str | int)]
        try:
            value = client.call(str(parameters[0] if parameters else ""), method, *arguments)
        except FaultError as fault:
            faults += 1
            assert str(fault.code).encode() in recordings.reply(name)
            continue
        except RefusedError as refusal:
            refusals += 1
            assert f"<i4>{refusal.code}</i4>".encode() in recordings.reply(name)
            assert xmlrpc.client.escape(f"[{method}] {refusal.text}") in recordings.reply(name).decode()
            continue
        values += 1
        if isinstance(value, str) and value.startswith("<"):
            assert parse_document(value).tag == re.match(r"<(\w+)", recordings.document(name))[1]  # type: ignore[index]
    assert values > 100
    assert refusals > 25
    assert faults >= 3


def test_requests_are_sent_as_recorded(recordings: Any, answering: Any) -> None:
    """Same method, same parameters, same types."""
    answering.answer = xmlrpc.client.dumps(([True, 0, 0],), methodresponse=True).encode()
    client = Client(answering.url)
    sent = 0
    for name in recordings.names():
        method, parameters = recordings.request(name)
        if not parameters or not all(isinstance(each, str | int) for each in parameters):
            continue
        client.call(parameters[0], method, *parameters[1:])
        again, name_again = xmlrpc.client.loads(answering.bodies[-1])
        assert (name_again, [(type(each), each) for each in again]) == (
            method,
            [(type(each), each) for each in parameters],
        )
        sent += 1
    assert sent > 150


def test_the_token_of_a_service_account_is_the_recorded_one(recordings: Any) -> None:
    """oned keeps the digest of the secret as the account's password; it opens the recorded token, and makes it."""
    session = recordings.request("023_user_info_impersonated_alice")[1][0]
    service, user, recorded = session.split(":")
    digits = recordings.request("011_user_allocate_service_admin_server_cipher")[1][2]
    decryptor = Cipher(algorithms.AES(digits[:32].encode()), modes.CBC(digits[:16].encode())).decryptor()
    plain = decryptor.update(base64.b64decode(recorded)) + decryptor.finalize()
    expiry = int(plain[: -plain[-1]].decode().rpartition(":")[2])
    assert token(service, digits, user, expiry) == recorded


def test_sessions_name_service_and_user_and_expire() -> None:
    sessions = ServerCipher("srv", "secret", clock=lambda: 1000.0)
    service, user, made = sessions.user("alice").split(":")
    assert (service, user, made) == ("srv", "alice", token("srv", digest("secret"), "alice", 2800))
    assert sessions.administrator().startswith("srv:oneadmin:")
    assert "secret" not in repr(sessions)
