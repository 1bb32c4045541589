"""Purging an account: nothing of it is left, in no table; what it began with is there again."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import func, select, update

from econe_api.actions import ACTIONS
from econe_api.call import Call, Caller
from econe_api.errors import Ec2Error
from econe_api.purge import purge
from econe_api.store.accounts import NewAccount, create_account
from econe_api.store.errors import StoreError
from econe_api.store.pools import Pool
from econe_api.store.schema import instances, metadata
from econe_api.store.store import Store

#: What has happened stays on record, and so does what has been used.
KEPT = {"audit", "address_history", "usage"}


class Worker:
    """Stands for controller and compute worker: what ends has ended when it is asked, unless it hangs."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.revisions: list[int] = []
        self.hangs = False

    def installed(self, revision: int) -> bool:
        self.revisions.append(revision)
        return True

    def settle(self, ids: Any) -> bool:
        if not self.hangs:
            with self.store.engine.begin() as connection:
                ended = update(instances).where(instances.c.id.in_(ids))
                connection.execute(ended.values(state="terminated", terminated=self.store._clock()))
        return not self.hangs


class Tenant:
    """An account that calls handlers."""

    def __init__(self, store: Store, account: NewAccount) -> None:
        self.store = store
        self.id = account.account_id
        self.key = account.access_key_id

    def __call__(self, action: str, **params: Any) -> dict[str, Any]:
        call = Call(action, params, Caller(self.id, self.key), str(uuid.uuid4()))
        begin = self.store.write if ACTIONS[action].mutates else self.store.read
        with begin(call) as txn:
            return ACTIONS[action].handler(ACTIONS[action].prepared(call), txn)

    def story(self) -> None:
        """Use a little of everything that there is."""
        group = self("CreateSecurityGroup", GroupName="web", Description="d")["GroupId"]
        other = self("CreateSecurityGroup", GroupName="db", Description="d")["GroupId"]
        [default] = self("DescribeSecurityGroups", GroupNames=["default"])["SecurityGroups"]
        for one, peer in ((group, other), (other, group), (default["GroupId"], group)):
            permission = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 9, "UserIdGroupPairs": [{"GroupId": peer}]}
            self("AuthorizeSecurityGroupIngress", GroupId=one, IpPermissions=[permission])
        run = {"ImageId": "ami-0123456789abcdef0", "InstanceType": "t2.nano", "MinCount": 2, "MaxCount": 2}
        made = self("RunInstances", **run, SecurityGroupIds=[group], ClientToken="token")["Instances"]
        addresses = [self("AllocateAddress")["AllocationId"] for _ in range(2)]
        link = made[0]["NetworkInterfaces"][0]["NetworkInterfaceId"]
        self("AssociateAddress", AllocationId=addresses[0], NetworkInterfaceId=link)
        tagged = [made[0]["InstanceId"], addresses[1], group, default["GroupId"]]
        if "CreateSubnet" in ACTIONS:
            tagged += [made[0]["SubnetId"], made[0]["VpcId"]]
        self("CreateTags", Resources=tagged, Tags=[{"Key": "k", "Value": "v"}])
        for action, params in MORE.items():
            if action in ACTIONS:
                self(action, **params)
        self.in_own_vpc()

    def in_own_vpc(self) -> None:
        """A network of its own, as far as the API makes one."""
        if not {"CreateVpc", "CreateSubnet"} <= ACTIONS.keys():
            return
        vpc = self("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = self("CreateSubnet", VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
        self("CreateSecurityGroup", GroupName="inner", Description="d", VpcId=vpc)
        if "CreateInternetGateway" in ACTIONS:
            gateway = self("CreateInternetGateway")["InternetGateway"]["InternetGatewayId"]
            self("AttachInternetGateway", InternetGatewayId=gateway, VpcId=vpc)
        if "CreateRouteTable" in ACTIONS:
            table = self("CreateRouteTable", VpcId=vpc)["RouteTable"]["RouteTableId"]
            if "AssociateRouteTable" in ACTIONS:
                self("AssociateRouteTable", RouteTableId=table, SubnetId=subnet)
        if "CreateNetworkAcl" in ACTIONS:
            self("CreateNetworkAcl", VpcId=vpc)
        if "CreateNetworkInterface" in ACTIONS:
            self("CreateNetworkInterface", SubnetId=subnet)


#: Calls that stand for themselves.
MORE: Mapping[str, Mapping[str, Any]] = {
    "CreateKeyPair": {"KeyName": "mine"},
    "CreateManagedPrefixList": {
        "PrefixListName": "offices",
        "MaxEntries": 3,
        "AddressFamily": "IPv4",
        "Entries": [{"Cidr": "198.51.100.0/24"}],
    },
}


@pytest.fixture
def tenant(store: Store, account: NewAccount, pool: Pool) -> Iterator[Tenant]:
    yield Tenant(store, account)


@pytest.fixture
def worker(store: Store) -> Worker:
    return Worker(store)


def rows(store: Store, account: str) -> dict[str, int]:
    """Count an account's rows, by table; and those of whatever hangs on nobody's account."""
    counts = {}
    with store.engine.connect() as connection:
        for table in metadata.tables.values():
            query = select(func.count()).select_from(table)
            if "account" in table.c and table.name not in KEPT:
                counts[table.name] = connection.scalar(query.where(table.c.account == account)) or 0
            elif table.name in ("rules", "interface_groups", "ipv6_addresses", "subnets"):
                counts[table.name] = connection.scalar(query) or 0
    return counts


def test_nothing_is_left_in_any_table(store: Store, tenant: Tenant, worker: Worker) -> None:
    before = rows(store, tenant.id)
    first_rules = tenant("DescribeSecurityGroups")["SecurityGroups"][0]
    for _ in range(2):
        tenant.story()
        used = rows(store, tenant.id)
        assert used["instances"] == used["addresses"] == 2
        started = time.perf_counter()
        gone = purge(store, ACTIONS, worker, tenant.id)
        assert time.perf_counter() - started < 5, "a second on an idle machine"
        assert gone["TerminateInstances"] == gone["ReleaseAddress"] == 2
        assert rows(store, tenant.id) == before
        [default] = tenant("DescribeSecurityGroups")["SecurityGroups"]
        assert default == first_rules
    assert worker.revisions
    assert worker.revisions[-1] == store.revision()
    assert purge(store, ACTIONS, worker, tenant.id) == {}


def test_others_keep_what_they_have(store: Store, tenant: Tenant, worker: Worker) -> None:
    other = Tenant(store, create_account(store, "other"))
    other("AllocateAddress")
    before = rows(store, other.id)
    tenant.story()
    purge(store, ACTIONS, worker, tenant.id)
    after = rows(store, other.id)
    assert {name: count for name, count in after.items() if count != before[name]} == {}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_instances_that_do_not_end_are_named(store: Store, tenant: Tenant, worker: Worker) -> None:
    tenant.story()
    worker.hangs = True
    with pytest.raises(StoreError, match=r"2 instances have not ended yet \(i-.*compute worker runs"):
        purge(store, ACTIONS, worker, tenant.id)
    worker.hangs = False
    purge(store, ACTIONS, worker, tenant.id)
    assert rows(store, tenant.id)["instances"] == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_refuses_is_named_and_the_sweep_taken_back(store: Store, tenant: Tenant, worker: Worker) -> None:
    def refuse(_call: Call, _txn: Any) -> dict[str, Any]:
        raise Ec2Error("DependencyViolation", "resource sg-1 has a dependent object")

    tenant.story()
    stuck = {**ACTIONS, "DeleteSecurityGroup": type(ACTIONS["DeleteSecurityGroup"])(refuse, mutates=True)}
    with pytest.raises(StoreError, match=r"groups refuse to go .DependencyViolation: resource sg-1"):
        purge(store, stuck, worker, tenant.id)
    assert rows(store, tenant.id)["addresses"] == 2
    assert len(tenant("DescribeSecurityGroups")["SecurityGroups"]) >= 3


def network(tenant: Tenant) -> tuple[Any, ...]:
    """The default network without its ids."""
    (vpc,) = tenant("DescribeVpcs")["Vpcs"]
    subnets = tenant("DescribeSubnets")["Subnets"]
    (table,) = tenant("DescribeRouteTables")["RouteTables"]
    (gateway,) = tenant("DescribeInternetGateways")["InternetGateways"]
    assert {subnet["VpcId"] for subnet in subnets} == {vpc["VpcId"], table["VpcId"], gateway["Attachments"][0]["VpcId"]}
    support = tenant("DescribeVpcAttribute", VpcId=vpc["VpcId"], Attribute="enableDnsSupport")["EnableDnsSupport"]
    return (
        vpc["IsDefault"],
        sorted((subnet["AvailabilityZone"], subnet["CidrBlock"], subnet["DefaultForAz"]) for subnet in subnets),
        sorted(route["DestinationCidrBlock"] for route in table["Routes"]),
        support,
    )


def _detach(tenant: Tenant) -> None:
    gateway = tenant("DescribeInternetGateways")["InternetGateways"][0]
    named = {"InternetGatewayId": gateway["InternetGatewayId"]}
    tenant("DetachInternetGateway", **named, VpcId=gateway["Attachments"][0]["VpcId"])


def _delete_subnet(tenant: Tenant) -> None:
    tenant("DeleteSubnet", SubnetId=tenant("DescribeSubnets")["Subnets"][0]["SubnetId"])


def _delete_all(tenant: Tenant) -> None:
    for subnet in tenant("DescribeSubnets")["Subnets"]:
        tenant("DeleteSubnet", SubnetId=subnet["SubnetId"])
    _detach(tenant)
    tenant("DeleteVpc", VpcId=tenant("DescribeVpcs")["Vpcs"][0]["VpcId"])


def _delete_route(tenant: Tenant) -> None:
    table = tenant("DescribeRouteTables")["RouteTables"][0]["RouteTableId"]
    tenant("DeleteRoute", RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")


def _change_attribute(tenant: Tenant) -> None:
    vpc = tenant("DescribeVpcs")["Vpcs"][0]["VpcId"]
    tenant("ModifyVpcAttribute", VpcId=vpc, EnableDnsSupport={"Value": False})


@pytest.mark.parametrize("spoil", [_detach, _delete_subnet, _delete_all, _delete_route, _change_attribute])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_spoiled_default_network_is_laid_out_anew(store: Store, tenant: Tenant, worker: Worker, spoil: Any) -> None:
    before, counts = network(tenant), rows(store, tenant.id)
    spoil(tenant)
    purge(store, ACTIONS, worker, tenant.id)
    assert (network(tenant), rows(store, tenant.id)) == (before, counts)
    assert purge(store, ACTIONS, worker, tenant.id) == {}
