"""What the driver's questions make of the store, and what is left when a machine has gone."""

import pytest
from sqlalchemy import insert, select, update

from econe_api.actions import ACTIONS
from econe_api.call import Call, Caller
from econe_api.compute import rows
from econe_api.errors import Ec2Error
from econe_api.store.accounts import create_account
from econe_api.store.feed import Feed
from econe_api.store.schema import groups, instances, interfaces, subnets, tags
from econe_api.store.vnm_tables import opennebula_groups, opennebula_nics
from econe_api.vnm.desk import answer


class Cloud:
    """A store whose account has one subnet that stands for OpenNebula's network 3."""

    def __init__(self, store):
        self.store = store
        self.account = create_account(store, "opennebula").account_id
        with store.write(Call("test", {}, Caller(self.account, "k"), request_id="r")) as txn:
            self.subnet = txn.connection.scalar(select(subnets.c.id).where(subnets.c.cidr == "172.31.0.0/20"))
            tag = {"key": "opennebula:network", "value": "3", "kind": "subnet", "account": self.account}
            txn.connection.execute(insert(tags).values(resource=self.subnet, **tag))

    def ask(self, op, document, encoded, host="hv1"):
        return answer(self.store, host, {"op": op, "document": encoded(document)})

    def call(self, action, **params):
        call = Call(action, params, Caller(self.account, "k"), request_id="r")
        with self.store.write(call) as txn:
            return ACTIONS[action].handler(call, txn)

    def all(self, table):
        with self.store.engine.connect() as connection:
            return connection.execute(select(table)).all()

    def feed(self):
        return {change.key: change.record for change in Feed(self.store.engine).snapshot().changes}


SQLITE_ONLY = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def cloud(store):
    return Cloud(store)


@pytest.fixture
def take(cloud, encoded):
    """Takes a document over and returns its ports."""

    def do(document, host="hv1"):
        said = cloud.ask("take-over", document, encoded, host)
        assert said["ok"], said
        return said["ports"]

    return do


@SQLITE_ONLY
def test_a_machine_becomes_an_instance_that_the_pipeline_enforces(cloud, take, document, nic, rule):
    (port,) = take(document(7, [nic()], [rule(PROTOCOL="TCP", RANGE="22")]))
    assert (port["tap"], port["mac"]) == ("one-7-0", "02:00:0a:09:00:11")
    feed = cloud.feed()
    record = feed[port["interface"]]
    assert (record.instance, record.addresses, record.host) == (port["instance"], ("172.31.0.17",), "hv1")
    (group,) = record.groups
    assert [(one.protocol, one.from_port, one.cidr) for one in feed[group].rules if one.cidr == "0.0.0.0/0"] == [
        (6, 22, "0.0.0.0/0")
    ]
    with cloud.store.read(rows.worker_call()) as txn:
        assert rows.load(txn.connection) == []


@SQLITE_ONLY
def test_the_same_again_changes_nothing(cloud, take, encoded, document, nic, rule):
    text = document(7, [nic()], [rule(PROTOCOL="ALL")])
    first = take(text)
    revision = cloud.store.revision()
    assert take(text) == first
    assert cloud.ask("check", text, encoded)["ok"]
    assert cloud.store.revision() == revision


@SQLITE_ONLY
def test_machines_with_equal_copies_of_a_group_share_it_and_an_update_moves_one(cloud, take, document, nic, rule):
    old, new = [rule(PROTOCOL="TCP", RANGE="22")], [rule(PROTOCOL="TCP", RANGE="443")]
    one = take(document(7, [nic()], old))[0]["interface"]
    two = take(document(8, [nic(8)], old))[0]["interface"]
    assert cloud.feed()[one].groups == cloud.feed()[two].groups
    take(document(7, [nic()], new))
    assert cloud.feed()[one].groups != cloud.feed()[two].groups
    before = cloud.feed()[two].groups
    take(document(8, [nic(8)], new))
    assert cloud.feed()[one].groups == cloud.feed()[two].groups
    assert before[0] not in cloud.feed()
    assert len(cloud.all(opennebula_groups)) == 1


def test_what_goes_leaves_nothing(cloud, take, encoded, document, nic, rule):
    known = {row.id for row in cloud.all(groups)}
    both = document(7, [nic(), nic(number=1, MAC="02:00:0a:09:01:00", IP="172.31.0.200")], [rule(PROTOCOL="ALL")])
    take(both)
    one = document(7, [nic(), nic(number=1, ATTACH="YES")])
    assert cloud.ask("forget", one, encoded)["gone"] == 1
    assert [row.state for row in cloud.all(instances)] == ["running"]
    assert cloud.ask("forget", document(7, [nic()]), encoded, "hv2")["gone"] == 0
    assert cloud.ask("forget", document(7, [nic()]), encoded)["gone"] == 1
    assert cloud.ask("forget", document(7, [nic()]), encoded)["gone"] == 0
    assert [row.state for row in cloud.all(instances)] == ["terminated"]
    assert cloud.all(interfaces) == cloud.all(opennebula_nics) == cloud.all(opennebula_groups) == []
    assert {row.id for row in cloud.all(groups)} == known


@SQLITE_ONLY
def test_a_machine_that_moved_is_the_same_one_elsewhere(cloud, take, document, nic):
    (port,) = take(document(7, [nic()]))
    assert take(document(7, [nic()]), "hv2") == [port]
    assert cloud.feed()[port["interface"]].host == "hv2"


def test_a_lease_that_another_machine_has_now_takes_the_old_ones_place(cloud, take, encoded, document, nic):
    (old,) = take(document(7, [nic()]))
    (new,) = take(document(8, [nic(8, MAC="02:00:0a:09:00:11", IP="172.31.0.17")]))
    assert old["interface"] not in cloud.feed()
    assert new["interface"] in cloud.feed()
    # On another network the same MAC is somebody else's.
    clash = document(9, [nic(9, MAC="02:00:0a:09:00:11", NETWORK_ID=4)])
    assert "0 subnets stand for" in cloud.ask("take-over", clash, encoded)["error"]


@SQLITE_ONLY
def test_an_interface_of_the_api_is_known_by_its_mac_and_keeps_its_groups(cloud, encoded, document, nic, rule):
    launched = cloud.call(
        "RunInstances", ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1, SubnetId=cloud.subnet
    )["Instances"][0]
    made = launched["NetworkInterfaces"][0]
    own = nic(MAC=made["MacAddress"], IP=launched["PrivateIpAddress"])
    said = cloud.ask("take-over", document(7, [own], [rule(PROTOCOL="ALL")]), encoded)
    assert said["ports"][0]["interface"] == made["NetworkInterfaceId"]
    assert cloud.all(opennebula_nics) == cloud.all(opennebula_groups) == []
    other = document(7, [own | {"IP": "172.31.0.77"}])
    assert "lease of its own" in cloud.ask("take-over", other, encoded)["error"]


@SQLITE_ONLY
def test_ipv6_addresses_inside_the_subnet_come_along(cloud, take, encoded, document, nic):
    with cloud.store.write(Call("test", {}, Caller(cloud.account, "k"), request_id="r")) as txn:
        txn.connection.execute(update(subnets).values(ipv6_cidr="2001:db8:1::/64"))
    (port,) = take(document(7, [nic(IP6_GLOBAL="2001:db8:1:0:0:0aff:fe02:000a", IP6_LINK="fe80::a")]))
    assert cloud.feed()[port["interface"]].addresses == ("172.31.0.17", "2001:db8:1::aff:fe02:a")
    said = cloud.ask("check", document(8, [nic(8, IP6_GLOBAL="2001:db8:2::a")]), encoded)
    assert "2001:db8:2::a of virtual network 3 is not in" in said["error"]


@SQLITE_ONLY
def test_refusals_change_nothing(cloud, encoded, document, nic, rule):
    before = cloud.store.revision()
    for text, word in [
        (document(7, [nic(IP="10.9.0.1")]), "is not in subnet-"),
        (document(7, [nic(IP6_ULA="fd00::1")]), "fd00::1"),
        (document(7, [nic(IP="172.31.0.3")]), "keeps for itself"),
        (document(7, [nic(IP="172.31.15.255")]), "keeps for itself"),
        (document(7, [nic(NETWORK_ID=4)]), "create-tags"),
        (document(7, [nic()], [rule(PROTOCOL="TCP", RANGE="9:1")]), "9:1"),
    ]:
        for op in ("check", "take-over"):
            said = cloud.ask(op, text, encoded)
            assert (said["ok"], word in said["error"]) == (False, True), said
    assert not answer(cloud.store, "hv1", {"op": "drop", "document": ""})["ok"]
    assert cloud.store.revision() == before


@SQLITE_ONLY
def test_the_api_shows_the_machine_and_leaves_its_life_to_opennebula(cloud, take, document, nic):
    (port,) = take(document(7, [nic()]))
    for action in ("StopInstances", "StartInstances", "RebootInstances", "TerminateInstances"):
        with pytest.raises(Ec2Error) as caught:
            cloud.call(action, InstanceIds=[port["instance"]])
        assert caught.value.code == "UnsupportedOperation"
    shown = cloud.call("DescribeInstances", InstanceIds=[port["instance"]])["Reservations"][0]["Instances"][0]
    assert shown["PrivateIpAddress"] == "172.31.0.17"
    assert {"Key": "opennebula:vm", "Value": "7"} in shown["Tags"]
