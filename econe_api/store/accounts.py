"""Accounts, as the operator makes them, with the network that each begins with."""

from __future__ import annotations

import ipaddress
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from itertools import repeat

from sqlalchemy import exists, insert, select, update

from econe_api.call import Role
from econe_api.config import Config
from econe_api.store.administration import OPERATOR, administration
from econe_api.store.errors import StoreError
from econe_api.store.keys import AccessKey, NewKey, add_key, random_key
from econe_api.store.records import Kind
from econe_api.store.schema import access_keys, accounts, groups, rules, subnets, vpcs
from econe_api.store.store import Store
from econe_api.store.transaction import Transaction

DEFAULT_VPC = ipaddress.IPv4Network("172.31.0.0/16")
"""Every account's default VPC, as in EC2; tenants' addresses may be the same, they never meet."""
_SUBNET_PREFIX = 20
_FIRST_VLAN = 100
_LAST_VLAN = 4094
_LONGEST_NAME = 255
_account_id = re.compile(r"[0-9]{12}")


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account as it was made: the only time, with :class:`econe_api.store.keys.NewKey`, that a secret is shown."""

    account_id: str
    access_key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Account:
    """An account and its keys, oldest first; ``created`` is in UTC."""

    account_id: str
    name: str
    created: datetime
    disabled: bool
    keys: tuple[AccessKey, ...]


def create_account(store: Store, name: str, account_id: str | None = None, key: NewKey | None = None) -> NewAccount:
    """Make an account with a key pair, a default VPC with one subnet per zone, and its default security group.

    Id and key pair are random where they are None.  Raises :class:`StoreError` when the name, the id or the key is
    taken or none that there can be, and when there is no VLAN left for the VPC.
    """
    made = random_key() if key is None else key
    if account_id is not None and (not _account_id.fullmatch(account_id) or account_id == OPERATOR.account_id):
        raise StoreError(f"{account_id!r} is no account id; write 12 digits, not all of them 0")
    if not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise StoreError(f"{name!r} is no account name; write 1 to {_LONGEST_NAME} printable characters")
    with store.write(administration("CreateAccount")) as txn:
        if txn.connection.scalar(select(exists().where(accounts.c.name == name))):
            raise StoreError(f"there is an account named {name!r} already; see 'sluice account list'")
        account = _new_account_id(txn) if account_id is None else account_id
        if txn.connection.scalar(select(exists().where(accounts.c.id == account))):
            raise StoreError(f"there is an account {account} already; see 'sluice account list'")
        txn.connection.execute(insert(accounts).values(id=account, name=name, created=txn.now))
        vpc = _add_vpc(txn, store.config, account)
        txn.connection.execute(update(accounts).where(accounts.c.id == account).values(default_vpc=vpc))
        _add_subnets(txn, store.config, vpc)
        _add_default_group(txn, account, vpc)
        add_key(txn, account, made)
    return NewAccount(account_id=account, access_key_id=made.access_key_id, secret=made.secret)


def enable_account(store: Store, account_id: str) -> None:
    """Take the account's keys again; :class:`StoreError` when there is no such account."""
    _set_disabled(store, account_id, "EnableAccount", {"disabled": False})


def disable_account(store: Store, account_id: str) -> None:
    """Refuse all the account's keys from the next call on; what it has stays as it is."""
    _set_disabled(store, account_id, "DisableAccount", {"disabled": True})


def _set_disabled(store: Store, account_id: str, action: str, values: dict[str, bool]) -> None:
    with store.write(administration(action)) as txn:
        changed = txn.connection.execute(update(accounts).where(accounts.c.id == account_id).values(values))
        if changed.rowcount == 0:
            raise StoreError(f"there is no account {account_id!r}; see 'sluice account list'")


def list_accounts(store: Store) -> tuple[Account, ...]:
    """Return all accounts with their keys, by name."""
    with store.read(administration("ListAccounts")) as txn:
        keys: dict[str, list[AccessKey]] = {}
        order = (access_keys.c.created, access_keys.c.id)
        for row in txn.connection.execute(select(access_keys).order_by(*order)):
            key = AccessKey(row.id, row.account, row.active, row.created, Role(row.role), row.user)
            keys.setdefault(row.account, []).append(key)
        return tuple(
            Account(row.id, row.name, row.created, row.disabled, tuple(keys.get(row.id, ())))
            for row in txn.connection.execute(select(accounts).order_by(accounts.c.name))
        )


def find_account(store: Store, account: str) -> Account:
    """Return the account with that id or, failing that, that name; :class:`StoreError` when there is none."""
    known = list_accounts(store)
    for candidate in (*(a for a in known if a.account_id == account), *(a for a in known if a.name == account)):
        return candidate
    raise StoreError(f"there is no account {account!r}; see 'sluice account list'")


def _new_account_id(txn: Transaction) -> str:
    while True:
        candidate = f"{secrets.randbelow(10**12):012}"
        taken = txn.connection.scalar(select(exists().where(accounts.c.id == candidate)))
        if candidate != OPERATOR.account_id and not taken:
            return candidate


def _unique_local_block() -> ipaddress.IPv6Network:
    """A /56 for a VPC, of a random unique local prefix (RFC 4193), so that no two VPCs are alike."""
    return ipaddress.IPv6Network(((0xFD << 40 | secrets.randbits(40)) << 80, 56))


def _add_vpc(txn: Transaction, config: Config, account: str) -> str:
    number = txn.next_number("vpc")
    ipv6 = str(_unique_local_block()) if config.ipv6 else None
    vlan = _FIRST_VLAN + number
    if vlan > _LAST_VLAN:
        raise StoreError(
            f"all {_LAST_VLAN - _FIRST_VLAN} VLANs of the fabric are taken; start another cloud for more accounts"
        )
    vpc = txn.new_id("vpc")
    txn.connection.execute(
        insert(vpcs).values(
            id=vpc,
            number=number,
            account=account,
            cidr=str(DEFAULT_VPC),
            vlan=vlan,
            is_default=True,
            ipv6_cidr=ipv6,
        )
    )
    txn.touch(Kind.VPC, vpc)
    return vpc


def _add_subnets(txn: Transaction, config: Config, vpc: str) -> None:
    blocks = DEFAULT_VPC.subnets(new_prefix=_SUBNET_PREFIX)
    most = 1 << (_SUBNET_PREFIX - DEFAULT_VPC.prefixlen)
    if len(config.zones) > most:
        raise StoreError(
            f"{len(config.zones)} zones do not fit a default VPC; give the hypervisors at most {most} zones"
        )
    network = txn.connection.scalar(select(vpcs.c.ipv6_cidr).where(vpcs.c.id == vpc))
    ipv6 = repeat(None) if network is None else map(str, ipaddress.IPv6Network(network).subnets(new_prefix=64))
    for zone, block, ipv6_cidr in zip(config.zones, blocks, ipv6, strict=False):
        subnet = txn.new_id("subnet")
        txn.connection.execute(
            insert(subnets).values(id=subnet, vpc=vpc, cidr=str(block), zone=zone, is_default=True, ipv6_cidr=ipv6_cidr)
        )
        txn.touch(Kind.SUBNET, subnet)


def _add_default_group(txn: Transaction, account: str, vpc: str) -> None:
    group = txn.new_id("sg")
    txn.connection.execute(
        insert(groups).values(
            id=group,
            number=txn.next_number("group"),
            account=account,
            vpc=vpc,
            name="default",
            description="default VPC security group",
        )
    )
    any_traffic = {"group": group, "protocol": -1}
    network = txn.connection.scalar(select(vpcs.c.ipv6_cidr).where(vpcs.c.id == vpc))
    anywhere = ("0.0.0.0/0",) if network is None else ("0.0.0.0/0", "::/0")
    txn.connection.execute(
        insert(rules),
        [
            {**any_traffic, "id": txn.new_id("sgr"), "egress": False, "cidr": None, "referenced_group": group},
            *(
                {**any_traffic, "id": txn.new_id("sgr"), "egress": True, "cidr": cidr, "referenced_group": None}
                for cidr in anywhere
            ),
        ],
    )
    txn.touch(Kind.GROUP, group)
