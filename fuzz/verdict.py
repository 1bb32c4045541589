"""What an answer must be, whatever the request was."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from fuzz.values import PREFIXES, Known

_ID = re.compile(rf">((?:{'|'.join(sorted(PREFIXES, key=len, reverse=True))})-[0-9a-f]{{8,17}})<")
_CODE = re.compile(r"[A-Z][A-Za-z0-9]*(\.[A-Z][A-Za-z0-9]*)*")
#: Answered by the HTTP server itself, before there is a request that could be answered in XML.
_HTTP_ALONE = frozenset({400, 408, 413, 414, 431, 501, 505})


def judge(status: int, body: bytes) -> str | None:
    """Return what is wrong with an answer, None when nothing is."""
    if status >= 500 or b"Traceback" in body:
        return f"status {status}, of a fault of ours"
    if status in _HTTP_ALONE and body.startswith(b"<html>"):
        return None
    try:
        root = ET.fromstring(body)  # noqa: S314 - of our own server
    except ET.ParseError as fault:
        return f"an answer that is no XML: {fault}"
    if status == 200:
        return None if root.tag.endswith("Response") and len(root) else "a 200 that says nothing"
    return _judge_refusal(root)


def _judge_refusal(root: ET.Element) -> str | None:
    error = root.find(".//{*}Error")
    names = set() if error is None else {child.tag.rpartition("}")[2] for child in error} - {"Type"}
    code = None if error is None else error.findtext("{*}Code")
    if code is None or names != {"Code", "Message"}:
        return "a refusal without code and message"
    return None if _CODE.fullmatch(code) and code != "InternalError" else f"error code {code!r}"


def code_of(status: int, body: bytes) -> str:
    """The error's code; the status when there is none."""
    found = re.search(rb"<Code>([^<]{1,80})</Code>", body)
    return found[1].decode() if found else str(status)


def learn(known: Known, body: bytes) -> None:
    """Remember the ids in an answer."""
    for found in _ID.finditer(body[:200_000].decode(errors="replace")):
        known.add(found[1])
