"""Hypervisors: who may join, whose certificates hold, where nothing new is placed, and who is no more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from econe_api.store.administration import administration
from econe_api.store.errors import StoreError
from econe_api.store.host_tables import host_certificates, hosts, join_tokens
from econe_api.store.records import REMOVED, Kind
from econe_api.store.schema import instances
from econe_api.store.store import Store
from econe_api.store.transaction import Transaction

KNOWN, INVITED, JOINED = "known", "invited", "joined"
_KEPT = timedelta(days=7)
"""How long used and expired tokens stay, so that a second use is told from a word that never was one."""


@dataclass(frozen=True, slots=True)
class Host:
    """A hypervisor: ``state`` is one of known, invited, joined, removed; ``expires`` is its last certificate's end."""

    name: str
    state: str
    draining: bool
    instances: int
    expires: datetime | None


def invite(store: Store, name: str, digest: str, lifetime: timedelta, *, again: bool = False) -> int:
    """Let a host join once, within ``lifetime``, with the secret of ``digest``; returns the store's revision.

    Earlier tokens of the host that were not used are void.  One that has joined is asked for ``again``, and keeps its
    certificates until the token is used.  Raises :class:`StoreError`.
    """
    with store.write(administration("InviteHost")) as txn:
        row = _row(txn.connection, name)
        if row is not None and row.state == JOINED and not again:
            raise StoreError(f"host {name} has joined; 'sluice host token {name}' lets it join anew")
        if row is None and again:
            _check(store, name, known=False)
        state = JOINED if row is not None and row.state == JOINED else INVITED
        _keep(txn, name, state, row is not None and row.draining and row.state != REMOVED)
        token = join_tokens.c
        txn.connection.execute(delete(join_tokens).where(token.host == name, token.used.is_(None)))
        txn.connection.execute(delete(join_tokens).where(token.expires < txn.now - _KEPT))
        expires = txn.now + lifetime
        txn.connection.execute(insert(join_tokens).values(digest=digest, host=name, expires=expires))
    return store.revision()


def redeem(store: Store, name: str, digest: str, serial: str, expires: datetime) -> int:
    """Take a token for the certificate ``serial``; returns the store's revision.

    Raises :class:`StoreError` when the token is unknown, used or expired; nothing is changed then.
    """
    with store.write(administration("JoinHost")) as txn:
        query = select(join_tokens).where(join_tokens.c.digest == digest, join_tokens.c.host == name)
        token = txn.connection.execute(query).first()
        if token is None:
            raise StoreError("the join token is not known here; make a new one with 'sluice host token'")
        if token.used is not None:
            raise StoreError("the join token has been used; make a new one with 'sluice host token'")
        if token.expires <= txn.now:
            raise StoreError("the join token has expired; make a new one with 'sluice host token'")
        used = update(join_tokens).where(join_tokens.c.digest == digest).values(used=txn.now)
        txn.connection.execute(used)
        row = _row(txn.connection, name)
        # Who joins anew has a new key: whoever has the old ones shall not be able to use them.
        _revoke(txn, name)
        _certify(txn, name, serial, expires)
        _keep(txn, name, JOINED, row is not None and row.draining)
    return store.revision()


def renew(store: Store, name: str, present: str, serial: str, expires: datetime) -> int:
    """Note a further certificate of a host that has shown ``present``; returns the store's revision.

    The present one holds until its end, so that nothing breaks when the new one gets lost on its way.
    Raises :class:`StoreError` when the present one does not hold.
    """
    with store.write(administration("RenewHost")) as txn:
        held = host_certificates.c
        query = select(held.serial).where(held.serial == present, held.host == name, held.revoked.is_(None))
        if txn.connection.scalar(query) is None:
            raise StoreError(f"the certificate of host {name} does not hold; make a token with 'sluice host token'")
        txn.connection.execute(delete(host_certificates).where(held.host == name, held.expires < txn.now))
        _certify(txn, name, serial, expires)
        txn.touch(Kind.HOST, name)
    return store.revision()


def drain(store: Store, name: str, *, draining: bool) -> int:
    """Place no new instances on a host, or again; returns how many are there.  Raises :class:`StoreError`."""
    with store.write(administration("DrainHost")) as txn:
        row = _row(txn.connection, name)
        _check(store, name, known=row is not None and row.state != REMOVED)
        _keep(txn, name, KNOWN if row is None else row.state, draining)
        return _instances(txn.connection, name)


def remove(store: Store, name: str, *, force: bool) -> int:
    """Take a host out: its certificates are revoked, its tokens void; returns the store's revision.

    Raises :class:`StoreError` when there is no such host, or instances are on it and not ``force``.
    """
    with store.write(administration("RemoveHost")) as txn:
        row = _row(txn.connection, name)
        _check(store, name, known=row is not None)
        count = _instances(txn.connection, name)
        if count and not force:
            raise StoreError(
                f"{count} instances are on host {name}; drain it and terminate or move them first, or say --force"
            )
        _revoke(txn, name)
        txn.connection.execute(delete(join_tokens).where(join_tokens.c.host == name, join_tokens.c.used.is_(None)))
        _keep(txn, name, REMOVED, draining=False)
    return store.revision()


def list_hosts(store: Store) -> tuple[Host, ...]:
    """Return all hosts of the configuration and of the store, by name."""
    with store.read(administration("ListHosts")) as txn:
        connection = txn.connection
        held = host_certificates.c
        query = select(held.host, func.max(held.expires)).where(held.revoked.is_(None)).group_by(held.host)
        expires: dict[str, datetime] = {row[0]: row[1] for row in connection.execute(query)}
        rows = {row.name: row for row in connection.execute(select(hosts))}
        names = sorted({one.name for one in store.config.hypervisors} | rows.keys())
        return tuple(
            Host(
                name,
                rows[name].state if name in rows else KNOWN,
                name in rows and rows[name].draining,
                _instances(connection, name),
                expires.get(name),
            )
            for name in names
        )


def closed_to_new(connection: Connection) -> frozenset[str]:
    """Hosts on which no new instance is placed, within a transaction."""
    query = select(hosts.c.name).where(hosts.c.draining | (hosts.c.state == REMOVED))
    return frozenset(connection.scalars(query))


def _row(connection: Connection, name: str) -> Row[Any] | None:
    return connection.execute(select(hosts).where(hosts.c.name == name)).first()


def _check(store: Store, name: str, *, known: bool) -> None:
    if not known and name not in {one.name for one in store.config.hypervisors}:
        raise StoreError(f"there is no host {name!r}; see 'sluice host list'")


def _keep(txn: Transaction, name: str, state: str, draining: bool) -> None:
    """Write the row of a host, which the controllers hear of."""
    values = {"state": state, "draining": draining, "changed": txn.now}
    if txn.connection.execute(update(hosts).where(hosts.c.name == name).values(**values)).rowcount == 0:
        txn.connection.execute(insert(hosts).values(name=name, **values))
    txn.touch(Kind.HOST, name)


def _certify(txn: Transaction, name: str, serial: str, expires: datetime) -> None:
    row = {"serial": serial, "host": name, "issued": txn.now, "expires": expires}
    txn.connection.execute(insert(host_certificates).values(**row))


def _revoke(txn: Transaction, name: str) -> None:
    held = host_certificates.c
    wanted = update(host_certificates).where(held.host == name, held.revoked.is_(None))
    txn.connection.execute(wanted.values(revoked=txn.now))


def _instances(connection: Connection, name: str) -> int:
    query = select(func.count()).select_from(instances)
    return connection.scalar(query.where(instances.c.host == name, instances.c.state != "terminated")) or 0
