"""AllocateAddress from a virtual network of OpenNebula: reserved by the user, under the user's own quota.

A reservation is a virtual network of one address, a child of the operator's.  It is made before the transaction that
allocates its address, and named so that one which no transaction has kept is found and given back
(:mod:`econe_api.opennebula.reservations`).
"""

from __future__ import annotations

import ipaddress
import logging
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import delete, insert, select

from econe_api.actions.parameters import ipv4
from econe_api.call import Action, Call
from econe_api.config import Config
from econe_api.errors import Ec2Error
from econe_api.opennebula import documents
from econe_api.opennebula.documents import Network
from econe_api.opennebula.errors import ec2_refusal
from econe_api.opennebula.reservations import PREFIX
from econe_api.opennebula.rpc import Client, OneError, RefusedError
from econe_api.opennebula.session import Sessions, service_account
from econe_api.opennebula.templates import template
from econe_api.store.administration import administration
from econe_api.store.opennebula_tables import opennebula_reservations
from econe_api.store.schema import accounts
from econe_api.store.store import Store
from econe_api.store.transaction import Transaction

_LOG = logging.getLogger(__name__)
_ALLOCATE = "AllocateAddress"


@dataclass(frozen=True, slots=True)
class _Reserved:
    """A reservation: the id of its network, and its address."""

    network: int
    address: str


def native(actions: Mapping[str, Action], config: Config, store: Store) -> Mapping[str, Action]:
    """Return ``actions`` with AllocateAddress reserving from ``opennebula.address_network``, if that is set.

    Raises ConfigError when the service account's secret cannot be read.
    """
    parent = config.opennebula.address_network
    if parent is None:
        return actions
    settings = config.opennebula
    sessions = service_account(settings.secret_file, settings.administrator)
    allocator = Allocator(actions[_ALLOCATE], store, Client(settings.endpoint, settings.timeout), sessions, parent)
    changed = replace(actions[_ALLOCATE], handler=allocator.allocate, prepare=allocator.prepare)
    return {**actions, _ALLOCATE: changed}


class Allocator:
    """Allocates addresses of the virtual network ``parent``; what a pool of ours does not have is given back."""

    def __init__(self, plain: Action, store: Store, client: Client, sessions: Sessions, parent: int) -> None:
        self._plain = plain
        self._store = store
        self._client = client
        self._sessions = sessions
        self._parent = parent

    def prepare(self, call: Call) -> _Reserved | None:
        """Reserve an address as the caller's user; raises Ec2Error.  A dry run reserves nothing."""
        if call.params.get("DryRun"):
            return None
        wanted = call.params.get("Address")
        address = ipv4(wanted, "address") if wanted else None
        try:
            return self._reserve(self._user(call.caller.account_id), address)
        except RefusedError as error:
            meant = ec2_refusal(error)
            raise Ec2Error(meant.code, _words(meant.code), meant.status) from error
        except OneError as error:
            _LOG.warning("no elastic IP could be reserved: %s", error)
            raise Ec2Error("Unavailable", "The service is unavailable. Please try again shortly.", 503) from error

    def allocate(self, call: Call, txn: Transaction) -> dict[str, Any]:
        """Allocate the address that was reserved; when that is refused, the reservation goes."""
        reserved = call.prepared
        if not isinstance(reserved, _Reserved):
            return self._plain.handler(call, txn)
        try:
            return self._keep(call, txn, reserved)
        except BaseException:
            with suppress(OneError):  # what is left of it is found later
                self._client.call(self._sessions.administrator(), "one.vn.delete", reserved.network)
            raise

    def _keep(self, call: Call, txn: Transaction, reserved: _Reserved) -> dict[str, Any]:
        try:
            made = self._plain.handler(replace(call, params={**call.params, "Address": reserved.address}), txn)
        except Ec2Error as error:
            if error.code != "InvalidAddress.NotFound" or call.params.get("Address"):
                raise
            _LOG.error("%s of virtual network %d is in no pool", reserved.address, self._parent)
            code = "InsufficientAddressCapacity"
            raise Ec2Error(code, _words(code), 500) from error
        execute = txn.connection.execute
        execute(delete(opennebula_reservations).filter_by(public_ip=reserved.address))
        kept = {"public_ip": reserved.address, "network": reserved.network, "allocation": made["AllocationId"]}
        execute(insert(opennebula_reservations).values(**kept))
        return made

    def _user(self, account: str) -> str:
        with self._store.read(administration("ListAccounts")) as txn:
            return str(txn.connection.scalar(select(accounts.c.name).filter_by(id=account)))

    def _reserve(self, user: str, address: str | None) -> _Reserved:
        asked = {"SIZE": "1", "NAME": f"{PREFIX}{secrets.token_hex(8)}"}
        if address is not None:
            asked |= {"AR_ID": str(self._range_of(address)), "IP": address}
        text = template(asked.items())
        made = self._client.number(self._sessions.user(user), "one.vn.reserve", self._parent, text)
        first = self._network(made).ranges[0].first
        return _Reserved(made, first)

    def _range_of(self, address: str) -> int:
        for each in self._network(self._parent).ranges:
            if each.first:
                offset = int(ipaddress.IPv4Address(address)) - int(ipaddress.IPv4Address(each.first))
                if 0 <= offset < each.size:
                    return each.id
        raise Ec2Error("InvalidAddress.NotFound", f"Address '{address}' not found.")

    def _network(self, number: int) -> Network:
        session = self._sessions.administrator()
        return documents.network(self._client.document(session, "one.vn.info", number, False))


def _words(code: str) -> str:
    return {
        "AddressLimitExceeded": "The maximum number of addresses has been reached.",
        "InsufficientAddressCapacity": "Not enough available addresses to satisfy your minimum request.",
    }.get(code, "You are not authorized to perform this operation.")
