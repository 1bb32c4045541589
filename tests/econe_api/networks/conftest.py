"""Two accounts' boto3 clients on the real application, and what its followers are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.config import Config as ClientConfig
from botocore.exceptions import ClientError
from sqlalchemy import select, update

from econe_api.store.accounts import NewAccount, create_account
from econe_api.store.feed import Feed
from econe_api.store.pools import Pool
from econe_api.store.records import Record
from econe_api.store.schema import audit, instances, metadata
from econe_api.store.store import Store


def _client(port: int, account: NewAccount) -> Any:
    return boto3.client(
        "ec2",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id=account.access_key_id,
        aws_secret_access_key=account.secret,
        # What is wrong shall reach the server.
        config=ClientConfig(retries={"total_max_attempts": 1}, parameter_validation=False),
    )


@pytest.fixture
def ec2(port: int, account: NewAccount, pool: Pool) -> Any:
    """The tenant's client."""
    return _client(port, account)


@pytest.fixture
def their_ec2(port: int, store: Store) -> Any:
    """Another account's client."""
    return _client(port, create_account(store, "stranger"))


@pytest.fixture
def refused(store: Store) -> Callable[..., str]:
    """A call that must fail with the code given and change nothing; gives the message."""

    def dump() -> dict[str, Any]:
        with store.engine.connect() as connection:
            return {
                table.name: sorted(map(repr, connection.execute(select(table))))
                for table in metadata.sorted_tables
                if table is not audit
            }

    def check(call: Callable[..., Any], code: str, /, **params: Any) -> str:
        before = dump()
        with pytest.raises(ClientError) as caught:
            call(**params)
        error = caught.value.response["Error"]
        assert error["Code"] == code, (params, error)
        assert dump() == before
        return str(error["Message"])

    return check


@pytest.fixture
def records(store: Store) -> Callable[..., list[Record]]:
    """What a follower that begins now is told: everything, or one kind, by id."""

    def read(kind: str | None = None) -> list[Any]:
        return [
            change.record
            for change in Feed(store.engine).snapshot().changes
            if kind == change.kind or (kind is None and change.kind != "pool")
        ]

    return read


@pytest.fixture
def told(store: Store) -> Callable[[], set[tuple[str, str]]]:
    """What changed since it was asked last, as (kind, key)."""
    seen = [store.revision()]

    def since() -> set[tuple[str, str]]:
        batch = Feed(store.engine).since(seen[0])
        seen[0] = batch.revision
        return {(change.kind.value, change.key) for change in batch.changes}

    return since


@pytest.fixture
def reconfigure(store: Store) -> Callable[..., None]:
    """Change the configuration of the cloud."""

    def change(**values: Any) -> None:
        store.config = replace(store.config, **values)

    return change


@pytest.fixture
def clean_up(ec2: Any) -> Callable[[str], None]:
    """What tools that tidy accounts do with a VPC: everything in it, then it."""

    def delete(vpc: str) -> None:
        here = [{"Name": "vpc-id", "Values": [vpc]}]
        for subnet in ec2.describe_subnets(Filters=here)["Subnets"]:
            ec2.delete_subnet(SubnetId=subnet["SubnetId"])
        attached = [{"Name": "attachment.vpc-id", "Values": [vpc]}]
        for gateway in ec2.describe_internet_gateways(Filters=attached)["InternetGateways"]:
            ec2.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=vpc)
            ec2.delete_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"])
        for table in ec2.describe_route_tables(Filters=here)["RouteTables"]:
            if not any(association["Main"] for association in table["Associations"]):
                ec2.delete_route_table(RouteTableId=table["RouteTableId"])
        for group in ec2.describe_security_groups(Filters=here)["SecurityGroups"]:
            if group["GroupName"] != "default":
                ec2.delete_security_group(GroupId=group["GroupId"])
        ec2.delete_vpc(VpcId=vpc)

    return delete


@pytest.fixture
def settle(store: Store) -> Callable[..., None]:
    """What the compute worker does: the instances run."""

    def run(*ids: str) -> None:
        with store.engine.begin() as connection:
            connection.execute(update(instances).where(instances.c.id.in_(ids)).values(state="running"))

    return run


@pytest.fixture
def vpc(ec2: Any) -> str:
    return str(ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"])


@pytest.fixture
def subnet(ec2: Any, vpc: str) -> str:
    return str(ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"])


@pytest.fixture
def public(records: Any, subnet: str) -> Any:
    """Has the subnet a way to the outside, as the followers are told?"""
    return lambda: next(record.public for record in records("subnet") if record.id == subnet)
