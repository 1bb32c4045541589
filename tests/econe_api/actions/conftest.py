"""A tenant of a small cloud who calls actions, and the eyes to see that an error changed nothing."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config as ClientConfig
from sqlalchemy import event, insert, select, update

from econe_api.actions import ACTIONS
from econe_api.call import Call, Caller
from econe_api.compute import rows
from econe_api.config import Config
from econe_api.errors import Ec2Error
from econe_api.store.accounts import NewAccount, create_account
from econe_api.store.pools import Pool, create_pool
from econe_api.store.schema import changes, instances, metadata, subnets, vpcs
from econe_api.store.store import Store

Dump = dict[str, list[tuple[Any, ...]]]


@dataclass
class Clock:
    """A clock that stands still until it is told to go on."""

    now: datetime = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **amount: float) -> None:
        self.now += timedelta(**amount)


@dataclass
class Tenant:
    """Calls actions as one account, each in its transaction, as the API does."""

    store: Store
    account: str
    settled: bool = True

    def __call__(self, action: str, **params: Any) -> dict[str, Any]:
        call = Call(action, params, Caller(self.account, "AKIATEST"), str(uuid.uuid4()))
        entry = ACTIONS[action]
        call = entry.prepared(call)
        with (self.store.write if entry.mutates else self.store.read)(call) as txn:
            return entry.handler(call, txn)

    def run(self, **params: Any) -> dict[str, Any]:
        """One running instance (the compute worker's part is done here)."""
        asked = {"ImageId": self.store.config.images[0].id, "InstanceType": "t2.nano", "MinCount": 1, "MaxCount": 1}
        answer = self("RunInstances", **asked | params)
        if self.settled:
            set_state(self.store, "running", *(item["InstanceId"] for item in answer["Instances"]))
        return answer["Instances"][0]

    def group(self, name: str = "web", **params: Any) -> str:
        return self("CreateSecurityGroup", GroupName=name, Description="a group", **params)["GroupId"]

    def default_group(self) -> str:
        return self("DescribeSecurityGroups", GroupNames=["default"])["SecurityGroups"][0]["GroupId"]

    def subnet(self, zone: str = "us-east-1a", vpc: str | None = None) -> Any:
        """A subnet's row."""
        mine = select(subnets).join(vpcs, vpcs.c.id == subnets.c.vpc).where(vpcs.c.account == self.account)
        mine = mine.where(subnets.c.zone == zone, vpcs.c.id == vpc if vpc else vpcs.c.is_default)
        with self.store.engine.connect() as connection:
            return connection.execute(mine).one()

    def second_vpc(self, cidr: str = "10.1.0.0/16") -> str:
        """A VPC that is not the default one, with a subnet in us-east-1a and a default group; gives its id."""
        call = Call("CreateVpc", {}, Caller(self.account, "AKIATEST"), "test")
        with self.store.write(call) as txn:
            number = txn.next_number("vpc")
            vpc, subnet = txn.new_id("vpc"), txn.new_id("subnet")
            txn.connection.execute(
                insert(vpcs).values(
                    id=vpc, number=number, account=self.account, cidr=cidr, vlan=100 + number, is_default=False
                )
            )
            small = cidr.replace("/16", "/28")
            txn.connection.execute(
                insert(subnets).values(id=subnet, vpc=vpc, cidr=small, zone="us-east-1a", is_default=False)
            )
        return vpc

    def interface(self, **params: Any) -> dict[str, Any]:
        """An interface that is attached to nothing, in the default subnet of us-east-1a if nothing else is asked."""
        return self("CreateNetworkInterface", **({"SubnetId": self.subnet().id} | params))["NetworkInterface"]

    def attach(self, interface: str, instance: str, index: int = 1) -> str:
        """Attach an interface (the compute worker's part is done here); gives the attachment's id."""
        asked = {"NetworkInterfaceId": interface, "InstanceId": instance, "DeviceIndex": index}
        attachment: str = self("AttachNetworkInterface", **asked)["AttachmentId"]
        plug(self.store)
        return attachment

    def second_interface(self, instance: str) -> str:
        """Give an instance one more interface; gives its id."""
        shown = self("DescribeInstances", InstanceIds=[instance])["Reservations"][0]["Instances"][0]
        made: str = self.interface(SubnetId=shown["SubnetId"])["NetworkInterfaceId"]
        self.attach(made, instance)
        return made


def plug(store: Store) -> None:
    """What the compute worker does: plug interfaces in and out as they are asked to be."""
    call = Call("compute", {}, Caller("000000000000", "compute"), "test")
    with store.write(call) as txn:
        for row in rows.load(txn.connection):
            rows.set_plugged(txn, row)


def set_state(store: Store, state: str, *ids: str, **more: Any) -> None:
    with store.engine.begin() as connection:
        connection.execute(update(instances).where(instances.c.id.in_(ids)).values(state=state, **more))


def _dump(store: Store) -> Dump:
    with store.engine.connect() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cloud(config: Config, clock: Clock) -> Iterator[Store]:
    """A store with eight elastic IPs, 203.0.113.10 to .17, whose clock the test moves."""
    store = Store.open(config, clock)
    create_pool(
        store,
        name="public",
        cidr="203.0.113.0/24",
        gateway="203.0.113.1",
        gateway_mac="02:00:00:00:00:fe",
        first="203.0.113.10",
        last="203.0.113.17",
    )
    try:
        yield store
    finally:
        store.close()


@pytest.fixture
def tenant(cloud: Store) -> Tenant:
    return Tenant(cloud, create_account(cloud, "tenant").account_id)


@pytest.fixture
def stranger(cloud: Store) -> Tenant:
    """Another account of the same cloud."""
    return Tenant(cloud, create_account(cloud, "stranger").account_id)


@pytest.fixture
def states(cloud: Store) -> Callable[..., None]:
    """What the compute worker does: put instances into a state."""
    return lambda state, *ids, **more: set_state(cloud, state, *ids, **more)


@pytest.fixture
def plugged(cloud: Store) -> Callable[[], None]:
    """What the compute worker does: plug interfaces in and out as they are asked to be."""
    return lambda: plug(cloud)


@pytest.fixture
def dump(cloud: Store) -> Callable[[], Dump]:
    """Every row of every table."""
    return lambda: _dump(cloud)


@pytest.fixture
def touched(cloud: Store) -> Callable[[], set[tuple[str, str]]]:
    """What the last revision told the followers, as (kind, key)."""

    def last() -> set[tuple[str, str]]:
        with cloud.engine.connect() as connection:
            query = select(changes.c.kind, changes.c.object).where(changes.c.revision == cloud.revision())
            return {(row.kind, row.object) for row in connection.execute(query)}

    return last


@pytest.fixture
def refused(cloud: Store) -> Callable[..., Ec2Error]:
    """Call an action that must fail with the code given, changing nothing; gives the error."""

    def check(who: Tenant, code: str, action: str, /, *, status: int = 400, **params: Any) -> Ec2Error:
        before = _dump(cloud)
        with pytest.raises(Ec2Error) as caught:
            who(action, **params)
        assert (caught.value.code, caught.value.status) == (code, status), caught.value.message
        assert _dump(cloud) == before
        return caught.value

    return check


@pytest.fixture
def statements(cloud: Store) -> Callable[[Callable[[], object]], int]:
    """How many statements a call sends."""

    def count(run: Callable[[], object]) -> int:
        sent: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
            sent.append(statement)

        event.listen(cloud.engine, "before_cursor_execute", note)
        try:
            run()
        finally:
            event.remove(cloud.engine, "before_cursor_execute", note)
        return len(sent)

    return count


@pytest.fixture
def reconfigure(cloud: Store) -> Callable[..., None]:
    """Change the configuration of the cloud."""

    def change(**values: Any) -> None:
        cloud.config = replace(cloud.config, **values)

    return change


@pytest.fixture
def permission() -> Callable[..., Mapping[str, Any]]:
    """One IpPermission: protocol, ports, one source."""

    def make(
        protocol: str = "tcp",
        first: int | None = 80,
        last: int | None = 80,
        cidr: str | None = "0.0.0.0/0",
        **more: Any,
    ) -> Mapping[str, Any]:
        ports = {"FromPort": first, "ToPort": last} if first is not None else {}
        ranges = {"IpRanges": [{"CidrIp": cidr}]} if cidr else {}
        return {"IpProtocol": protocol, **ports, **ranges, **more}

    return make


@pytest.fixture
def client_for(port: int) -> Callable[[NewAccount], Any]:
    """A boto3 client of an account."""

    def make(account: NewAccount) -> Any:
        return boto3.client(
            "ec2",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id=account.access_key_id,
            aws_secret_access_key=account.secret,
            config=ClientConfig(retries={"total_max_attempts": 1}),
        )

    return make


@pytest.fixture
def ec2(client_for: Callable[[NewAccount], Any], account: NewAccount, pool: Pool) -> Any:
    """A boto3 client of the first account, in a cloud with elastic IPs."""
    return client_for(account)
