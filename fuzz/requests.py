"""One hostile request from a source of randomness: parameters by the service model, then what malice makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import quote

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from econe_api.actions import ACTIONS
from econe_api.protocol.model import input_name, service
from fuzz.values import STRINGS, Known, scalar

Parameters = list[tuple[str, str]]
_FORM = "application/x-www-form-urlencoded; charset=utf-8"
_DEEPEST = 6
#: A query of more is answered by the server itself: its line is too long.
_LONGEST_QUERY = 6000


@dataclass(frozen=True, slots=True)
class HostileRequest:
    """What goes over the wire."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def __str__(self) -> str:
        head = "\n".join(f"{name}: {value}" for name, value in self.headers)
        return f"{self.method} {self.target[:2000]}\n{head}\n\n{self.body[:2000]!r}"


def hostile_request(random: Random, known: Known, host: str, credentials: Credentials) -> HostileRequest:
    """Make one; nearly all are signed rightly, so that they get as far as their malice lets them."""
    gentle = random.random() < 0.5
    parameters = _Maker(random, known, gentle).parameters()
    for _ in range(0 if gentle else random.choice((0, 0, 1, 2))):
        _spoil(random, parameters)
    encoded = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in parameters)
    path = random.choice(("/", "/", "/", "/services/Cloud/", "/services/compute", "/a//b/../c", "/%2e%2e/%00"))
    as_query = random.random() < 0.15 and len(encoded) < _LONGEST_QUERY
    request = AWSRequest(
        method="GET" if as_query else "POST",
        url=f"http://{host}{path}" + (f"?{encoded}" if as_query else ""),
        data=None if as_query else encoded.encode(),
        headers={"Host": host, "Content-Type": random.choice((_FORM, _FORM, _FORM.partition(";")[0]))},
    )
    presigned = as_query and random.random() < 0.3
    signer = botocore.auth.SigV4QueryAuth if presigned else botocore.auth.SigV4Auth
    if len(request.url) < _LONGEST_QUERY:
        signer(credentials, "ec2", "us-east-1").add_auth(request)
    target = request.url.removeprefix(f"http://{host}")
    headers = [(name, value) for name, value in request.headers.items()]
    body = b"" if as_query else encoded.encode()
    if random.random() < 0.1:
        return _tampered(random, request.method, target, headers, body)
    return HostileRequest(request.method, target, tuple(headers), body)


@dataclass(frozen=True, slots=True)
class _Maker:
    """Parameters of an action, by the model."""

    random: Random
    known: Known
    gentle: bool

    def parameters(self) -> Parameters:
        model = service()
        draw = self.random.random()
        action = self.random.choice(sorted(ACTIONS) if draw < 0.9 else model.operation_names)
        parameters = [("Action", action), ("Version", "2016-11-15")]
        if draw > 0.99:
            parameters[0] = ("Action", self.random.choice(STRINGS))
        if not self.gentle and self.random.random() < 0.1:
            parameters[1] = ("Version", self.random.choice(("2010-08-31", "1999-01-01", *STRINGS)))
        shape = model.operation_model(action).input_shape
        if shape is not None:
            parameters += self._members(shape, "", 0)
        return parameters

    def _members(self, shape: Any, prefix: str, depth: int) -> Iterator[tuple[str, str]]:
        required = set(shape.required_members)
        for member, inner in shape.members.items():
            wanted = 0.95 if member in required else 2.5 / (len(shape.members) + 1)
            if member == "DryRun":
                wanted = 0.02
            if self.random.random() < wanted:
                yield from self._value(inner, prefix + input_name(inner, member), member, depth + 1)

    def _value(self, shape: Any, name: str, member: str, depth: int) -> Iterator[tuple[str, str]]:
        if depth > _DEEPEST:
            return
        if shape.type_name == "structure":
            yield from self._members(shape, f"{name}.", depth)
        elif shape.type_name == "list":
            first = 1 if self.gentle else self.random.choice((1, 0, 7))
            for number in range(self.random.choice((1, 1, 2, 3))):
                yield from self._value(shape.member, f"{name}.{first + number}", member, depth + 1)
        else:
            yield name, scalar(self.random, self.known, shape, member, gentle=self.gentle)


def _spoil(random: Random, parameters: Parameters) -> None:
    at = random.randrange(len(parameters))
    name, value = parameters[at]
    match random.randrange(10):
        case 0:
            del parameters[at]
            parameters.append(("Action", "DescribeAddresses"))
        case 1:
            parameters.append((name, random.choice(STRINGS)))
        case 2:
            parameters[at] = (name.swapcase(), value)
        case 3:
            parameters.append((f"{name}.1", value))
        case 4:
            parameters[at] = (name.replace(".1", ".01"), value)
        case 5:
            index = random.choice(("99999999999", "-1", "1e3", "", "\u0663"))
            parameters[at] = (name.replace(".1", f".{index}"), value)
        case 6:
            parameters.append(("Filter.1" + ".Value.1" * random.choice((1, 9, 400)), value))
        case 7:
            parameters.append((random.choice(STRINGS), value))
        case 8:
            parameters += [(f"Filter.{n}.Value.{n}", "x") for n in range(random.choice((10, 300, 5000)))]
        case 9:
            parameters[at] = (name, random.choice(STRINGS))


def _tampered(
    random: Random, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes
) -> HostileRequest:
    """Break what the signature covers, or HTTP itself (in ways that leave the connection usable)."""
    kept = list(headers)
    match random.randrange(8):
        case 0:
            at = random.randrange(len(kept))
            kept[at] = (kept[at][0], kept[at][1][:-1] + random.choice("0aZ"))
        case 1:
            del kept[random.randrange(len(kept))]
        case 2:
            body += random.choice((b"&", b"&Action=x", b"\xff\xfe", b"%", b"%zz=1", b"=" * 100))
        case 3:
            method = random.choice(("PUT", "DELETE", "OPTIONS", "PATCH", "BREW"))
        case 4:
            kept.append(("Authorization", "AWS4-HMAC-SHA256 Credential=/,SignedHeaders=,Signature="))
        case 5:
            kept = [(name, value) for name, value in kept if name.lower() != "authorization"]
        case 6:
            kept.append(("X-Amz-Date", random.choice(("20200101T000000Z", "x", "99991231T235959Z"))))
        case 7:
            target += random.choice(("&", "?", "&X-Amz-Signature=0", "#", "?Action=DescribeVpcs&Version=2016-11-15"))
    return HostileRequest(method, target, tuple(kept), body)
