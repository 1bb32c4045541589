"""What the agent sees in the local OVSDB, as values.  Columns: ``ovs-vswitchd.conf.db(5)``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ControllerRow:
    """One OpenFlow controller of a bridge; times in milliseconds."""

    target: str
    inactivity_probe: int | None = None
    max_backoff: int | None = None


@dataclass(frozen=True, slots=True)
class InterfaceRow:
    """One interface on the bridge.

    ``ofport`` is None until ovs-vswitchd has looked at it and -1 when it cannot be opened (``error`` says why).
    ``iface_id`` and ``attached_mac`` are ``external_ids:iface-id`` and ``external_ids:attached-mac``; ``kind`` is
    ``type``.
    """

    name: str
    ofport: int | None = None
    link_state: str | None = None
    iface_id: str | None = None
    attached_mac: str | None = None
    error: str | None = None
    kind: str = ""
    options: frozenset[tuple[str, str]] = frozenset()
    ofport_request: int | None = None


@dataclass(frozen=True, slots=True)
class BridgeRow:
    """One bridge with all that hangs on it.

    ``datapath_id`` (16 hexadecimal digits) is None until ovs-vswitchd has set the bridge up.  ``ports`` are names; a
    port has an interface of its own name, except a bond, which has several of other names.
    """

    name: str
    fail_mode: str | None = None
    datapath_type: str = ""
    datapath_id: str | None = None
    protocols: frozenset[str] = frozenset()
    other_config: Mapping[str, str] = field(default_factory=dict)
    controllers: tuple[ControllerRow, ...] = ()
    ports: frozenset[str] = frozenset()
    interfaces: tuple[InterfaceRow, ...] = ()


@dataclass(frozen=True, slots=True)
class SslRow:
    """The files that Open vSwitch uses for every ``ssl:`` target (table ``SSL``), as paths."""

    private_key: str
    certificate: str
    ca_cert: str


@dataclass(frozen=True, slots=True)
class Database:
    """The part of an OVSDB that concerns one bridge.

    ``bridge`` is None when there is no bridge of that name.  ``elsewhere`` maps the names of other bridges' ports and
    interfaces to the bridge that holds them.
    """

    bridge: BridgeRow | None = None
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    ovs_version: str | None = None
    ssl: SslRow | None = None
