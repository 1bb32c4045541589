"""Elastic IPs from a virtual network of OpenNebula: nothing leaks, whatever fails; quotas are the user's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete

from econe_api.actions import ACTIONS
from econe_api.call import Call, Caller
from econe_api.errors import Ec2Error
from econe_api.opennebula.addresses import native
from econe_api.opennebula.reservations import Reservations
from econe_api.opennebula.rpc import Client
from econe_api.opennebula.session import service_account
from econe_api.store.opennebula_tables import opennebula_reservations
from topologies.oned.model import Network

_PARENT = 20


class Native:
    """AllocateAddress as the API's server would call it."""

    def __init__(self, cloud: Any) -> None:
        self.cloud = cloud
        self.parent = cloud.oned.networks[_PARENT] = Network(
            _PARENT, "elastic", cloud.oned.users[0], "02:00:cb:00:71:0a", 4, "203.0.113.10"
        )
        self.action = native(ACTIONS, cloud.config, cloud.store)["AllocateAddress"]

    def allocate(self, **params: Any) -> dict[str, Any]:
        account = self.cloud.account
        caller = Caller(account.account_id, account.access_key_id)
        call = self.action.prepared(Call(action="AllocateAddress", params=params, caller=caller, request_id="r"))
        with self.cloud.store.write(call) as txn:
            return self.action.handler(call, txn)

    @property
    def reserved(self) -> int:
        return len(self.parent.leases)

    def owners(self) -> list[str]:
        return [each.owner.name for each in self.cloud.oned.networks.values() if each.parent == _PARENT]


@pytest.fixture
def pool(make_cloud: Any) -> Native:
    return Native(make_cloud(address_network=_PARENT))


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_address_is_reserved_by_the_user_and_given_back(pool: Native) -> None:
    made = pool.allocate()
    assert (made["PublicIp"], pool.owners(), pool.reserved) == ("203.0.113.10", ["alice"], 1)
    assert pool.allocate(Address="203.0.113.12")["PublicIp"] == "203.0.113.12"
    pool.cloud.start()
    pool.cloud.call("ReleaseAddress", AllocationId=made["AllocationId"])
    _until(lambda: pool.reserved == 1)
    assert list(pool.parent.leases) == [2]


def test_a_reservation_that_a_vm_uses_keeps_nobody_waiting(pool: Native) -> None:
    """Somebody has put a NIC of a VM onto the reservation, so that oned does not delete it."""
    stuck, other = pool.allocate(), pool.allocate()
    network = min(number for number, each in pool.cloud.oned.networks.items() if each.parent == _PARENT)
    pool.cloud.oned.networks[network].leases[0] = 5
    pool.cloud.start()
    for made in (stuck, other):
        pool.cloud.call("ReleaseAddress", AllocationId=made["AllocationId"])
    _until(lambda: pool.reserved == 1)
    pool.cloud.running()
    pool.cloud.oned.networks[network].leases.clear()
    _until(lambda: pool.reserved == 0)


def test_the_users_quota_is_ec2s(pool: Native) -> None:
    pool.cloud.oned.user("alice").quotas[("LEASES", _PARENT)] = 1
    pool.allocate()
    with pytest.raises(Ec2Error) as caught:
        pool.allocate()
    assert (caught.value.code, caught.value.status) == ("AddressLimitExceeded", 400)
    assert pool.reserved == 1


def test_no_address_left(pool: Native) -> None:
    for _ in range(4):
        pool.allocate()
    with pytest.raises(Ec2Error) as caught:
        pool.allocate()
    assert (caught.value.code, caught.value.status) == ("InsufficientAddressCapacity", 500)
    with pytest.raises(Ec2Error) as caught:
        pool.allocate(Address="203.0.113.11")
    assert caught.value.code == "InsufficientAddressCapacity"


@pytest.mark.parametrize("trouble", ["down", "garbage"])
def test_an_oned_in_trouble_is_unavailable_with_a_status_that_is_no_success(pool: Native, trouble: str) -> None:
    pool.cloud.server.trouble = trouble
    with pytest.raises(Ec2Error) as caught:
        pool.allocate()
    assert (caught.value.code, caught.value.status) == ("Unavailable", 503)


@pytest.mark.parametrize(
    "params",
    [{"PublicIpv4Pool": "nosuch"}, {"Domain": "nonsense"}, {"NetworkBorderGroup": "elsewhere"}],
    ids=["pool", "domain", "group"],
)
def test_a_call_that_fails_after_the_reservation_leaks_nothing(pool: Native, params: dict[str, str]) -> None:
    """econe left a held lease behind every time."""
    with pytest.raises(Ec2Error):
        pool.allocate(**params)
    assert pool.reserved == 0


def test_an_address_that_no_pool_has_is_given_back(pool: Native) -> None:
    pool.parent.first = "203.0.113.200"
    with pytest.raises(Ec2Error, match="InsufficientAddressCapacity"):
        pool.allocate()
    assert pool.reserved == 0


def test_a_dry_run_reserves_nothing(pool: Native) -> None:
    pool.allocate(DryRun=True)
    assert pool.reserved == 0


def test_a_reservation_whose_transaction_was_never_committed_is_found(pool: Native) -> None:
    """The API is killed between oned's answer and the commit; somebody else's reservations stay."""
    pool.allocate()
    pool.allocate()
    stray = max(pool.cloud.oned.networks)
    own = pool.cloud.oned.reserve(pool.cloud.oned.user("bob"), _PARENT, 'SIZE="1"\nNAME="bobs"')
    with pool.cloud.store.engine.begin() as connection:
        connection.execute(delete(opennebula_reservations).filter_by(network=stray))
    settings, now = pool.cloud.config.opennebula, [0.0]
    sessions = service_account(settings.secret_file, settings.administrator)
    client = Client(settings.endpoint)
    found = Reservations(pool.cloud.store, client, sessions, _PARENT, 1.0, lambda: now[0])
    found.settle()
    assert stray in pool.cloud.oned.networks  # its transaction may be under way
    now[0] = 100.0
    found.settle()
    assert stray not in pool.cloud.oned.networks
    assert own in pool.cloud.oned.networks
    assert pool.reserved == 2


def test_without_a_network_the_actions_are_the_usual_ones(pool: Native) -> None:
    plain = replace(pool.cloud.config.opennebula, address_network=None)
    assert native(ACTIONS, replace(pool.cloud.config, opennebula=plain), pool.cloud.store) is ACTIONS
