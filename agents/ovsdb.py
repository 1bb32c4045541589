"""The local OVSDB through python-ovs; the only module that imports it.

Lives in the agent's one loop, which blocks here: python-ovs brings its own poller.  A lost database is reconnected to
by itself; until it is whole again :meth:`Ovsdb.observe` returns None, which means "not known", never "nothing there".
"""

from __future__ import annotations

import logging
import random
import select
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from agents.bridge import (
    PROTOCOL,
    TUNNEL,
    TUNNEL_OPTIONS,
    AddPort,
    CreateBridge,
    DesiredBridge,
    Operation,
    ReplacePort,
    SetController,
    SetSsl,
)
from agents.rows import BridgeRow, ControllerRow, Database, InterfaceRow, SslRow

with warnings.catch_warnings():
    # Its poller looks whether eventlet is there, which may complain of its own age on stderr.
    warnings.simplefilter("ignore")
    import ovs.db.idl
    import ovs.poller

_LOG = logging.getLogger(__name__)
_SHORTEST_WAIT_MS = 500
_LONGEST_WAIT_MS = 4000
_RETRY_S = 2.0
"""Pause after a failed transaction before the next one."""
_GRACE_S = 1.0
"""How long the database may be away before that is worth a line in the log."""

_STRING = {"key": "string", "min": 0, "max": 1}
_INTEGER = {"key": "integer", "min": 0, "max": 1}
_MAP = {"key": "string", "value": "string", "min": 0, "max": "unlimited"}


def _references(table: str) -> dict[str, object]:
    return {"key": {"type": "uuid", "refTable": table}, "min": 0, "max": "unlimited"}


def _table(**columns: object) -> dict[str, object]:
    return {"columns": {name: {"type": kind} for name, kind in columns.items()}}


_SCHEMA = {
    "name": "Open_vSwitch",
    "version": "8.0.0",
    "tables": {
        "Open_vSwitch": _table(
            bridges=_references("Bridge"),
            ovs_version=_STRING,
            ssl={"key": {"type": "uuid", "refTable": "SSL"}, "min": 0, "max": 1},
        ),
        "SSL": _table(private_key="string", certificate="string", ca_cert="string"),
        "Bridge": _table(
            name="string",
            ports=_references("Port"),
            controller=_references("Controller"),
            fail_mode=_STRING,
            datapath_type="string",
            datapath_id=_STRING,
            protocols={"key": "string", "min": 0, "max": "unlimited"},
            other_config=_MAP,
        ),
        "Port": _table(name="string", interfaces=_references("Interface")),
        "Interface": _table(
            name="string",
            type="string",
            options=_MAP,
            ofport=_INTEGER,
            ofport_request=_INTEGER,
            link_state=_STRING,
            error=_STRING,
            external_ids=_MAP,
        ),
        "Controller": _table(target="string", inactivity_probe=_INTEGER, max_backoff=_INTEGER),
    },
}
"""The columns used, as in ``vswitch.ovsschema``: the agent needs no schema file on the hypervisor."""


class _Replica(ovs.db.idl.Idl):  # type: ignore[misc]  # python-ovs has no types
    """Keeps the interfaces as values: a change is to one, and reading all of them anew costs more with each port."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._interfaces: dict[Any, InterfaceRow] = {}
        super().__init__(*arguments, **options)

    def notify(self, event: str, row: Any, updates: Any = None) -> None:
        """Forget what has changed (called for each row that has, after it has)."""
        self._interfaces.pop(row.uuid, None)

    def interface(self, row: Any) -> InterfaceRow:
        """A row of the table Interface as a value."""
        found = self._interfaces.get(row.uuid)
        if found is None:
            found = self._interfaces[row.uuid] = _interface_row(row)
        return found


class Ovsdb:
    """A replica of the rows around one bridge, and transactions on them.

    A lock in the database, named after the bridge, makes sure that one agent at a time cares for it.
    """

    def __init__(self, remote: str, bridge: str) -> None:
        """``remote`` is ``unix:PATH`` or ``tcp:IP:PORT``."""
        self._remote = remote
        self._bridge = bridge
        helper = ovs.db.idl.SchemaHelper(schema_json=_SCHEMA)
        helper.register_all()
        self._idl: Any = _Replica(remote, helper, leader_only=False)
        self._observed: tuple[int, Database] | None = None  # and the number of the change that it is after
        # The name of a lock must be an identifier (RFC 7047, 4.1.8), which the name of a bridge need not be.
        self._idl.set_lock(f"sluice_agent_{bridge.encode().hex()}")
        # python-ovs gives no other way to the waits of its reconnection.
        self._idl._session.reconnect.set_backoff(
            random.randint(_SHORTEST_WAIT_MS // 2, _SHORTEST_WAIT_MS),  # noqa: S311 - jitter
            random.randint(_LONGEST_WAIT_MS // 2, _LONGEST_WAIT_MS),  # noqa: S311 - jitter
        )
        self._poller = ovs.poller.Poller()
        self._transaction: Any = None
        self._made: Any = None  # the root row that the transaction under way has inserted
        self._not_before = 0.0
        self._failures = 0
        self._whole_at = time.monotonic()
        self._state = ""

    @property
    def changes(self) -> int:
        """A number that is another one whenever the rows may have changed or a transaction failed."""
        return int(self._idl.change_seqno) + self._failures

    def run(self) -> None:
        """Take in what the database sent and see to the transaction under way; does not block."""
        self._idl.run()
        if self._transaction is not None:
            self._conclude()
        self._note_state()

    @property
    def ours(self) -> bool:
        """Is the database known, and is this the agent that cares for the bridge?"""
        return self._whole() and bool(self._idl.has_lock)

    def observe(self) -> Database | None:
        """Return what is in the database now; None while that is not known or another agent cares for the bridge."""
        if not self.ours:
            return None
        if self._transaction is not None:  # rows show what it is about to write, which may not come true
            return self._read(_interface_row)
        number = int(self._idl.change_seqno)
        if self._observed is None or self._observed[0] != number:
            self._observed = number, self._read(self._idl.interface)
        return self._observed[1]

    def _read(self, interface: Callable[[Any], InterfaceRow]) -> Database:
        tables = self._idl.tables
        bridge = None
        elsewhere = {}
        for row in tables["Bridge"].rows.values():
            if row.name == self._bridge:
                bridge = bridge_row(row, interface)
            else:
                for port in row.ports:
                    elsewhere.update({one.name: row.name for one in (port, *port.interfaces)})
        version = next((_first(row.ovs_version) for row in tables["Open_vSwitch"].rows.values()), None)
        ssl = next((_first(row.ssl) for row in tables["Open_vSwitch"].rows.values()), None)
        files = None if ssl is None else SslRow(ssl.private_key, ssl.certificate, ssl.ca_cert)
        return Database(bridge, elsewhere, version, files)

    def apply(self, operations: Iterable[Operation]) -> bool:
        """Start one transaction that carries ``operations`` out; its outcome shows in the rows.

        False if nothing was started: another one is under way, or one failed a moment ago.
        """
        if self._transaction is not None or time.monotonic() < self._not_before:
            return False
        self._transaction, self._made = ovs.db.idl.Transaction(self._idl), None
        for operation in operations:
            _LOG.info("changing the bridge: %s", operation)
            self._add(operation)
        self._conclude()
        return True

    def wait(self, descriptors: Iterable[tuple[int, bool]], until: float) -> None:
        """Block until there is something for :meth:`run`, or on a descriptor, or the monotonic clock is at ``until``.

        ``descriptors`` are waited on for reading, and for writing as well where the flag says so.
        """
        self._idl.wait(self._poller)
        for descriptor, writing in descriptors:
            self._poller.fd_wait(descriptor, select.POLLIN | (select.POLLOUT if writing else 0))
        if self._transaction is not None:
            self._transaction.wait(self._poller)
        self._poller.timer_wait(max(0, int((until - time.monotonic()) * 1000) + 1))
        self._poller.block()

    def close(self) -> None:
        """Close the connection."""
        self._idl.close()

    def _whole(self) -> bool:
        return bool(self._idl.state == ovs.db.idl.Idl.IDL_S_MONITORING and self._idl._session.is_connected())

    def _note_state(self) -> None:
        if self._whole():
            self._whole_at = time.monotonic()
        if not self._whole():
            if time.monotonic() - self._whole_at < _GRACE_S:
                return
            state = f"waiting for OVSDB at {self._remote}; is ovsdb-server running?"
        elif self._idl.is_lock_contended:
            state = f"another agent cares for bridge {self._bridge}; waiting for it to end"
        elif not self._idl.has_lock:
            return
        else:
            state = f"connected to OVSDB at {self._remote}"
        if state != self._state:
            self._state = state
            _LOG.info("%s", state)

    def _conclude(self) -> None:
        status = self._transaction.commit()
        if status == ovs.db.idl.Transaction.INCOMPLETE:
            return
        good = (ovs.db.idl.Transaction.SUCCESS, ovs.db.idl.Transaction.UNCHANGED)
        if status not in good:
            cause = self._transaction.get_error() or ovs.db.idl.Transaction.status_to_string(status)
            _LOG.warning("OVSDB refused the change: %s; trying again", cause)
            self._not_before = time.monotonic() + _RETRY_S
            self._failures += 1
        self._transaction = None

    def _add(self, operation: Operation) -> None:
        match operation:
            case CreateBridge(bridge, ports):
                self._create(bridge, ports)
            case SetController(wanted):
                bridge_row = self._bridge_in_database()
                bridge_row.verify("controller")
                _write_controller(bridge_row.controller[0], wanted)
            case SetSsl(files):
                self._set_ssl(files)
            case AddPort(name, kind):
                self._bridge_in_database().addvalue("ports", self._insert_port(name, kind).uuid)
            case ReplacePort(old, name, ofport):
                bridge_row = self._bridge_in_database()
                bridge_row.verify("ports")
                kept = [port for port in bridge_row.ports if port.name != old]
                added = self._insert_port(name, "")
                added.interfaces[0].ofport_request = [] if ofport is None else [ofport]
                bridge_row.ports = [*kept, added]

    def _create(self, bridge: DesiredBridge, ports: tuple[str, ...]) -> None:
        row = self._transaction.insert(self._idl.tables["Bridge"])
        row.name = bridge.name
        row.fail_mode = ["secure"]
        row.datapath_type = bridge.datapath_type or ""
        row.protocols = [PROTOCOL]
        row.other_config = bridge.other_config
        controller = self._transaction.insert(self._idl.tables["Controller"])
        _write_controller(controller, bridge.controller_row)
        row.controller = [controller]
        needed = [self._insert_port(port, bridge.kind(port)) for port in ports]
        row.ports = [self._insert_port(bridge.name, "internal"), *needed]
        root = self._root()
        if root is self._made:
            root.bridges = [row]
        else:
            root.addvalue("bridges", row.uuid)

    def _set_ssl(self, files: SslRow) -> None:
        root = self._root()
        present = [] if root is self._made else root.ssl
        row = present[0] if present else self._transaction.insert(self._idl.tables["SSL"])
        row.private_key, row.certificate, row.ca_cert = files.private_key, files.certificate, files.ca_cert
        if not present:
            root.ssl = [row]

    def _root(self) -> Any:
        """The one row of the table that all others hang on, made in an empty database."""
        table = self._idl.tables["Open_vSwitch"]
        present = next(iter(table.rows.values()), None)
        if self._made is None and present is None:
            self._made = self._transaction.insert(table)
        return self._made if self._made is not None else present

    def _insert_port(self, name: str, kind: str) -> Any:
        interface = self._transaction.insert(self._idl.tables["Interface"])
        interface.name = name
        interface.type = kind
        if kind == TUNNEL:
            interface.options = TUNNEL_OPTIONS
        port = self._transaction.insert(self._idl.tables["Port"])
        port.name = name
        port.interfaces = [interface]
        return port

    def _bridge_in_database(self) -> Any:
        return next(row for row in self._idl.tables["Bridge"].rows.values() if row.name == self._bridge)


def _write_controller(row: Any, wanted: ControllerRow) -> None:
    row.target = wanted.target
    row.inactivity_probe = [] if wanted.inactivity_probe is None else [wanted.inactivity_probe]
    row.max_backoff = [] if wanted.max_backoff is None else [wanted.max_backoff]


def bridge_row(row: Any, interface: Callable[[Any], InterfaceRow]) -> BridgeRow:
    """A row of the table Bridge, with all that hangs on it, as a value; ``interface`` makes those of interfaces."""
    return BridgeRow(
        name=row.name,
        fail_mode=_first(row.fail_mode),
        datapath_type=row.datapath_type,
        datapath_id=_first(row.datapath_id),
        protocols=frozenset(row.protocols),
        other_config=dict(row.other_config),
        controllers=tuple(
            ControllerRow(one.target, _first(one.inactivity_probe), _first(one.max_backoff)) for one in row.controller
        ),
        ports=frozenset(port.name for port in row.ports),
        interfaces=tuple(interface(one) for port in row.ports for one in port.interfaces),
    )


def _interface_row(row: Any) -> InterfaceRow:
    return InterfaceRow(
        name=row.name,
        ofport=_first(row.ofport),
        link_state=_first(row.link_state),
        iface_id=row.external_ids.get("iface-id"),
        attached_mac=row.external_ids.get("attached-mac"),
        error=_first(row.error),
        kind=row.type,
        options=frozenset(row.options.items()),
        ofport_request=_first(row.ofport_request),
    )


def _first(values: list[Any]) -> Any:
    """Return the value of an optional column."""
    return values[0] if values else None
