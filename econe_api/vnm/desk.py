"""Answers what OpenNebula's driver asks of the store, by way of agent and controller (docs/opennebula-driver.md)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from econe_api.store.errors import StoreError
from econe_api.store.store import Store
from econe_api.vnm import machines
from econe_api.vnm.document import decode, read_departure, read_machine
from econe_api.vnm.native import RefusedError

_LOG = logging.getLogger(__name__)


def answer(store: Store, host: str, question: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reply to a driver on ``host``.

    ``{"op": "check" | "take-over" | "forget", "document": base64 text}`` ->
    ``{"ok": True, "revision": int, "ports": [{"tap", "interface", "instance", "mac"}], "gone": int}``, or
    ``{"ok": False, "error": one line}``, after which nothing has changed.
    """
    op, text = question.get("op"), question.get("document")
    if op not in _DO or not isinstance(text, str):
        return _refusal("not a question that OpenNebula's driver asks")
    try:
        return _DO[op](store, host, decode(text))
    except RefusedError as error:
        _LOG.warning("OpenNebula on %s: %s", host, error)
        return _refusal(str(error))
    except StoreError as error:
        return _refusal(f"the store cannot be written: {error}")


def _check(store: Store, _host: str, document: bytes) -> dict[str, Any]:
    machine = read_machine(document)
    with store.read(machines.call("check")) as txn:
        machines.check(txn, machine)
        return _reply(machines.revision(txn))


def _take_over(store: Store, host: str, document: bytes) -> dict[str, Any]:
    machine = read_machine(document)
    with store.write(machines.call("take-over")) as txn:
        before = machines.revision(txn)
        ports = machines.take_over(txn, machine, host)
    return _reply(before if txn.revision is None else txn.revision) | {"ports": [asdict(port) for port in ports]}


def _forget(store: Store, host: str, document: bytes) -> dict[str, Any]:
    going = read_departure(document)
    with store.write(machines.call("forget")) as txn:
        before = machines.revision(txn)
        gone = machines.forget(txn, going.number, host, going.nics)
    return _reply(before if txn.revision is None else txn.revision) | {"gone": gone}


def _reply(revision: int) -> dict[str, Any]:
    return {"ok": True, "revision": revision, "ports": [], "gone": 0}


def _refusal(text: str) -> dict[str, Any]:
    return {"ok": False, "error": text}


_DO = {"check": _check, "take-over": _take_over, "forget": _forget}
