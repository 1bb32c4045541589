"""Storms of calls over HTTP on several API processes: what comes of them could have come of calls one after another."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import boto3
import pytest
from botocore.config import Config as ClientConfig
from botocore.exceptions import ClientError
from sqlalchemy import update

from econe_api.store import history
from econe_api.store.accounts import NewAccount
from econe_api.store.administration import administration
from econe_api.store.pools import Pool
from econe_api.store.quotas import ELASTIC_IPS, set_quota
from econe_api.store.schema import instances
from econe_api.store.store import Store

CLIENTS = 12


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Both databases: what keeps writers of several processes apart is theirs."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'state' / 'sluice.db'}"
        return
    cluster = request.getfixturevalue("postgres_cluster")
    name = cluster.create()
    try:
        yield cluster.url(name)
    finally:
        cluster.drop(name)


@pytest.fixture
def api_settings() -> str:
    """Three processes, and a hypervisor for instances."""
    host = '[[hypervisor]]\nname = "hv1"\nvcpus = 64\nmemory_mib = 65536\n'
    return f"workers = 3\nthreads = 4\nmetering_interval = 0\n{host}"


@pytest.fixture
def clients(api: Any, account: NewAccount) -> list[Any]:
    options = ClientConfig(retries={"total_max_attempts": 1}, proxies={}, read_timeout=60)
    session = boto3.Session(account.access_key_id, account.secret, region_name="us-east-1")
    return [session.client("ec2", endpoint_url=api.url, config=options) for _ in range(CLIENTS)]


def at_once(clients: list[Any], work: Callable[[Any, Random], Any]) -> list[Any]:
    """Let every client work, beginning together; returns what each brought home."""
    start = threading.Barrier(len(clients))

    def run(number: int) -> Any:
        start.wait(60)
        return work(clients[number], Random(number))

    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(run, range(len(clients))))


def code_of(call: Callable[..., Any], **params: Any) -> str | None:
    """The code of the error, None when the call went well."""
    try:
        call(**params)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return None


def test_the_last_address_has_one_winner(clients: list[Any], store: Store, account: NewAccount, pool: Pool) -> None:
    set_quota(store, account.account_id, ELASTIC_IPS, 100)
    for _ in range(pool.free - 1):
        clients[0].allocate_address()
    codes = at_once((clients * 5)[:50], lambda client, _: code_of(client.allocate_address))
    assert Counter(codes) == {None: 1, "InsufficientAddressCapacity": 49}
    assert len({address["PublicIp"] for address in clients[0].describe_addresses()["Addresses"]}) == pool.free


def test_a_quota_holds_in_a_storm(clients: list[Any], store: Store, account: NewAccount, pool: Pool) -> None:
    codes = at_once(clients, lambda client, _: code_of(client.allocate_address))
    assert Counter(codes) == {None: 5, "AddressLimitExceeded": CLIENTS - 5}


def test_rules_come_and_go_one_after_another(clients: list[Any]) -> None:
    group = clients[0].create_security_group(GroupName="storm", Description="storm")["GroupId"]

    def permission(port: int) -> list[dict[str, Any]]:
        return [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]

    def work(client: Any, random: Random) -> Counter[int]:
        gain: Counter[int] = Counter()
        for _ in range(12):
            port = random.randrange(1, 4)
            if random.random() < 0.5:
                code = code_of(client.authorize_security_group_ingress, GroupId=group, IpPermissions=permission(port))
                assert code in (None, "InvalidPermission.Duplicate")
                gain[port] += code is None
            else:
                answer = client.revoke_security_group_ingress(GroupId=group, IpPermissions=permission(port))
                gain[port] -= not answer.get("UnknownIpPermissions")
        return gain

    total: Counter[int] = Counter()
    for gain in at_once(clients, work):
        total.update(gain)
    shown = clients[0].describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    present = {rule["FromPort"] for rule in shown}
    assert total == {port: int(port in present) for port in total}, "each success changed what the next one found"


def test_an_address_is_always_somewhere_and_nowhere_twice(clients: list[Any], store: Store, pool: Pool) -> None:
    first = clients[0]
    image = first.describe_images()["Images"][0]["ImageId"]
    made = first.run_instances(ImageId=image, InstanceType="t2.nano", MinCount=4, MaxCount=4)["Instances"]
    with store.write(administration("Test")) as txn:  # no worker runs here
        txn.connection.execute(update(instances).values(state="running"))
    places = [instance["InstanceId"] for instance in made]
    held = [first.allocate_address() for _ in range(2)]

    def work(client: Any, random: Random) -> set[str]:
        given: set[str] = set()
        for _ in range(8):
            address = random.choice(held)
            if random.random() < 0.75:
                answer = client.associate_address(
                    AllocationId=address["AllocationId"], InstanceId=random.choice(places), AllowReassociation=True
                )
                given.add(answer["AssociationId"])
            else:
                code = code_of(client.disassociate_address, PublicIp=address["PublicIp"])
                assert code in (None, "InvalidParameterValue")
        return given

    given = set().union(*at_once(clients, work))
    shown = first.describe_addresses()["Addresses"]
    ends = [address for address in shown if "AssociationId" in address]
    assert {address["AssociationId"] for address in ends} <= given
    assert len({address["InstanceId"] for address in ends}) == len(ends)
    for address in shown:
        periods = history.who_had(store, address["PublicIp"])
        assert periods[-1].association == address.get("AssociationId")
        assert all(one.until == other.since for one, other in itertools.pairwise(periods))
