"""Ports of a bridge through the hypervisor's Open vSwitch database, spoken to directly (RFC 7047).

A replica of the database, as python-ovs keeps one, or an ovs-vsctl process, which builds one each time, would cost more
than all the rest of a launch; a port needs three short transactions.  Each waits in the database, so that requests of
several threads become one reconfiguration of ovs-vswitchd.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

_SCHEME = "unix:"
_CHUNK = 64 * 1024
_GRACE_S = 1.0
_ROOT = "Open_vSwitch"

Operation = dict[str, Any]
Row = dict[str, Any]


class OvsdbError(Exception):
    """The database does not answer, or not as it should; the text is one line."""


class RefusedError(OvsdbError):
    """The database has refused a transaction."""


class Ovsdb:
    """The database at ``remote`` (``unix:PATH``), by as many connections as threads use it; ``patience`` in seconds."""

    def __init__(self, remote: str, patience: float) -> None:
        self._remote = remote
        self._patience = patience
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []

    def ports_of(self, instance: str) -> list[str]:
        """Return the names of an instance's ports."""
        owned = [["external_ids", "includes", ["map", [["vm-id", instance]]]]]
        (rows,) = self._transact({"op": "select", "table": "Interface", "where": owned, "columns": ["name"]})
        return sorted(row["name"] for row in rows["rows"])

    def add_ports(self, bridge: str, ports: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
        """Add ``ports``, names with their ``external_ids``; return the numbers that ovs-vswitchd gave those it took.

        All of them or none are in the database.  Raises :class:`RefusedError` when there is no such bridge or a port of
        such a name is there already.
        """
        there = {"table": "Bridge", "where": [["name", "==", bridge]], "columns": ["name"]}
        (found,) = self._transact({"op": "select", **there})
        if not found["rows"]:
            raise RefusedError(f"no bridge named {bridge}")
        operations: list[Operation] = []
        for number, (name, external_ids) in enumerate(ports.items()):
            row = {"name": name, "external_ids": ["map", [list(pair) for pair in external_ids.items()]]}
            operations += [
                {"op": "insert", "table": "Interface", "uuid-name": f"i{number}", "row": row},
                {
                    "op": "insert",
                    "table": "Port",
                    "uuid-name": f"p{number}",
                    "row": {"name": name, "interfaces": ["named-uuid", f"i{number}"]},
                },
            ]
        added = ["set", [["named-uuid", f"p{number}"] for number in range(len(ports))]]
        operations.append(
            {
                "op": "mutate",
                "table": "Bridge",
                "where": [["name", "==", bridge]],
                "mutations": [["ports", "insert", added]],
            }
        )
        self._apply(operations)
        looks = [
            {"op": "select", "table": "Interface", "where": [["name", "==", name]], "columns": ["name", "ofport"]}
            for name in ports
        ]
        rows = [row for result in self._transact(*looks) for row in result["rows"]]
        return {row["name"]: row["ofport"] for row in rows if isinstance(row["ofport"], int) and row["ofport"] > 0}

    def delete_ports(self, names: Iterable[str]) -> None:
        """Take ports off their bridges; absent ones are fine."""
        looks = [
            {"op": "select", "table": "Port", "where": [["name", "==", name]], "columns": ["_uuid"]} for name in names
        ]
        uuids = [row["_uuid"] for result in self._transact(*looks) for row in result["rows"]] if looks else []
        if uuids:
            self._apply(
                [
                    {
                        "op": "mutate",
                        "table": "Bridge",
                        "where": [["ports", "includes", uuid]],
                        "mutations": [["ports", "delete", uuid]],
                    }
                    for uuid in uuids
                ]
            )

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _apply(self, operations: Sequence[Operation]) -> None:
        """Change the database and wait until ovs-vswitchd has done that (``next_cfg`` in vswitchd.conf.db(5))."""
        *_, wanted = self._transact(
            *operations,
            {"op": "mutate", "table": _ROOT, "where": [], "mutations": [["next_cfg", "+=", 1]]},
            {"op": "select", "table": _ROOT, "where": [], "columns": ["next_cfg"]},
        )
        number = wanted["rows"][0]["next_cfg"]
        self._transact(
            {
                "op": "wait",
                "timeout": int(self._patience * 1000),
                "table": _ROOT,
                "where": [["cur_cfg", "<", number]],
                "columns": ["cur_cfg"],
                "until": "==",
                "rows": [],
            }
        )

    def _transact(self, *operations: Operation) -> list[Row]:
        try:
            connection = self._take()
            try:
                reply = connection.ask("transact", [_ROOT, *operations])
            except BaseException:
                connection.close()
                raise
            self._give_back(connection)
        except (OSError, ValueError) as error:
            cause = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise OvsdbError(f"OVSDB at {self._remote}: {cause}") from error
        for result in reply:
            if result is not None and "error" in result:
                said = " ".join(f"{result['error']}: {result.get('details') or ''}".split())
                if result["error"] == "timed out":
                    raise OvsdbError(f"ovs-vswitchd has not done it within {self._patience:g} s")
                raise RefusedError(f"OVSDB at {self._remote}: {said}")
        return reply

    def _take(self) -> _Connection:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return _Connection(self._remote, self._patience + _GRACE_S)
            if connection.silent:
                return connection
            connection.close()

    def _give_back(self, connection: _Connection) -> None:
        with self._lock:
            self._idle.append(connection)


class _Connection:
    """One request at a time."""

    def __init__(self, remote: str, patience: float) -> None:
        if not remote.startswith(_SCHEME):
            raise ValueError("write unix:PATH")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(patience)
        self._number = 0
        try:
            self._socket.connect(remote.removeprefix(_SCHEME))
        except BaseException:
            self._socket.close()
            raise

    @property
    def silent(self) -> bool:
        """Has the server said nothing since the last answer?  What it says unasked is that it has gone."""
        return not select.select([self._socket], [], [], 0)[0]

    def ask(self, method: str, parameters: Sequence[Any]) -> list[Any]:
        """Return the result; raises OSError or ValueError."""
        self._number += 1
        self._socket.sendall(json.dumps({"method": method, "params": parameters, "id": self._number}).encode())
        received = b""
        while chunk := self._socket.recv(_CHUNK):
            received += chunk
            if received.endswith(b"}"):
                with suppress(json.JSONDecodeError):  # an end in the middle of the answer
                    reply = json.loads(received)
                    if reply.get("id") != self._number or reply.get("error") is not None:
                        raise ValueError(str(reply.get("error") or "answers something else"))
                    return list(reply["result"])
        raise ConnectionError("it has closed the connection")

    def close(self) -> None:
        """Close it."""
        self._socket.close()
