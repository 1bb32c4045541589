"""Prefix lists in rules, with packets: what an entry that comes or goes does, and what it costs."""

from ipaddress import ip_network

import pytest

from channel.client import request

pytestmark = pytest.mark.lab

PORT = 9000
BOUND = 2.0


@pytest.fixture
def listed(world):
    """Make a prefix list without entries; it goes with the rules that name it."""
    made = []

    def make(name):
        answer = world.ec2.create_managed_prefix_list(PrefixListName=name, MaxEntries=5, AddressFamily="IPv4")
        made.append(answer["PrefixList"]["PrefixListId"])
        return made[-1]

    yield make
    permission = {"IpProtocol": "tcp", "FromPort": PORT, "ToPort": PORT}
    for key in made:
        for found in world.ec2.get_managed_prefix_list_associations(PrefixListId=key)["PrefixListAssociations"]:
            asked = [permission | {"PrefixListIds": [{"PrefixListId": key}]}]
            world.ec2.revoke_security_group_ingress(GroupId=found["ResourceId"], IpPermissions=asked)
            world.ec2.revoke_security_group_egress(GroupId=found["ResourceId"], IpPermissions=asked)
        world.ec2.delete_managed_prefix_list(PrefixListId=key)


def permission(key):
    ports = {"IpProtocol": "tcp", "FromPort": PORT, "ToPort": PORT}
    return [ports | {"PrefixListIds": [{"PrefixListId": key}]}]


def change(world, key, **entries):
    """Add or remove (by keyword) one CIDR; returns flow-mods by host."""
    version = world.ec2.describe_managed_prefix_lists(PrefixListIds=[key])["PrefixLists"][0]["Version"]
    asked = {f"{what}Entries": [{"Cidr": cidr}] for what, cidr in entries.items()}
    before = spent(world)
    world.ec2.modify_managed_prefix_list(PrefixListId=key, CurrentVersion=version, **asked)
    return {host: count - before[host] for host, count in spent(world).items()}


def spent(world):
    return {host["name"]: host["flow_mods"] for host in world.cloud.status()["hosts"]}


def audited(world):
    """What differs between the store and the switches."""
    asked = {"op": "audit", "host": None, "repair": False, "foreign": False}
    return request(world.cloud.config.controller.socket, asked, 30.0)["findings"]


def test_entries_open_and_cut(world, listed, wait_until, shut, outside_ip):
    key, group = listed("visitors"), world.group("listed")
    guest = world.launch([group], host="h1")
    public, _ = world.address(guest)
    world.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=permission(key))
    outside = world.cloud.outside
    assert outside.echo(public, PORT) == shut
    assert change(world, key, Add="192.0.2.0/24") == {"h1": 1, "h2": 0}
    assert outside.echo(public, PORT) == shut
    assert change(world, key, Add=f"{outside_ip}/32") == {"h1": 1, "h2": 0}
    with outside.converse(public, PORT) as talk:
        assert wait_until(lambda: talk.echoes > 10)
        wider = str(ip_network(f"{outside_ip}/24", strict=False))
        assert change(world, key, Add=wider) == {"h1": 1, "h2": 0}
        assert change(world, key, Remove=f"{outside_ip}/32") == {"h1": 1, "h2": 0}
        heard = talk.echoes
        assert wait_until(lambda: talk.echoes > heard + 10)  # the wider entry still admits it
        assert audited(world) == []
        assert change(world, key, Remove=wider) == {"h1": 1, "h2": 0}
        assert wait_until(lambda: talk.silence > 0.5, BOUND + 0.5)
        heard = talk.echoes
        assert not wait_until(lambda: talk.echoes > heard, 1.5)
        assert outside.echo(public, PORT) == shut
        world.ec2.restore_managed_prefix_list_version(PrefixListId=key, PreviousVersion=3, CurrentVersion=6)
        assert wait_until(lambda: talk.echoes > heard + 10, 15.0)
    assert outside.echo(public, PORT) == "echo"


def test_a_list_as_destination_and_a_rule_that_changes(world, listed, shut):
    key, group, server = listed("servers"), world.group("callers", shut=True), world.group("called")
    caller, called = world.launch([group], host="h1"), world.launch([server], host="h2")
    world.allow(server, "tcp", PORT)
    made = world.ec2.authorize_security_group_egress(GroupId=group, IpPermissions=permission(key))
    rule = made["SecurityGroupRules"][0]["SecurityGroupRuleId"]
    assert caller.inside.echo(called.private_ip, PORT) == shut
    assert change(world, key, Add=f"{called.private_ip}/32") == {"h1": 1, "h2": 0}
    assert caller.inside.echo(called.private_ip, PORT) == "echo"

    def modify(**source):
        said = {"IpProtocol": "tcp", "FromPort": PORT, "ToPort": PORT, **source}
        changes = [{"SecurityGroupRuleId": rule, "SecurityGroupRule": said}]
        world.ec2.modify_security_group_rules(GroupId=group, SecurityGroupRules=changes)

    modify(CidrIpv4="192.0.2.0/24")
    assert caller.inside.echo(called.private_ip, PORT) == shut
    modify(PrefixListId=key)
    assert caller.inside.echo(called.private_ip, PORT) == "echo"
