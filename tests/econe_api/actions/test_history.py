"""Who had an address, and what it was used for: through the actions, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from econe_api.store import history, usage
from econe_api.store.moves import move_instance
from econe_api.store.usage import Reading

START = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


def reading(ip, direction, age, packets, size):
    return Reading(ip, direction, age, packets, size)


def test_every_holder_of_an_address_is_known_for_every_moment(tenant, stranger, cloud, clock):
    address = tenant("AllocateAddress")
    ip, allocation = address["PublicIp"], address["AllocationId"]
    clock.advance(hours=1)
    instance = tenant.run()
    tenant("AssociateAddress", AllocationId=allocation, InstanceId=instance["InstanceId"])
    clock.advance(hours=1)
    host = history.who_had(cloud, ip)[-1].host
    elsewhere = "hv2" if host == "hv1" else "hv1"
    move_instance(cloud, instance["InstanceId"], elsewhere)
    clock.advance(hours=1)
    tenant("DisassociateAddress", PublicIp=ip)
    clock.advance(hours=1)
    tenant("ReleaseAddress", AllocationId=allocation)
    clock.advance(hours=1)
    assert stranger("AllocateAddress", Address=ip)["PublicIp"] == ip

    found = history.who_had(cloud, ip)
    hours = [START + timedelta(hours=n) for n in range(6)]
    assert [(period.since, period.until) for period in found] == [
        (hours[0], hours[1]),
        (hours[1], hours[2]),
        (hours[2], hours[3]),
        (hours[3], hours[4]),
        (hours[5], None),
    ]
    assert [period.account for period in found] == [tenant.account] * 4 + [stranger.account]
    assert [period.host for period in found] == [None, host, elsewhere, None, None]
    assert [period.instance for period in found] == [None, *[instance["InstanceId"]] * 2, None, None]
    assert [period.private_ip for period in found] == [None, *[instance["PrivateIpAddress"]] * 2, None, None]
    for period, moment in zip(found, [*hours[:4], hours[5]], strict=True):
        assert history.who_had(cloud, ip, moment) == [period]
    assert history.who_had(cloud, ip, hours[4]) == []
    assert history.who_had(cloud, ip, START - timedelta(seconds=1)) == []


def test_an_address_that_changes_hands_has_both_owners(tenant, stranger, cloud, clock):
    address = tenant("AllocateAddress")
    tenant("EnableAddressTransfer", AllocationId=address["AllocationId"], TransferAccountId=stranger.account)
    clock.advance(hours=1)
    stranger("AcceptAddressTransfer", Address=address["PublicIp"])
    found = history.who_had(cloud, address["PublicIp"])
    assert [period.account for period in found] == [tenant.account, stranger.account]
    assert found[0].until == found[1].since == clock.now


def test_what_changes_nothing_writes_nothing(tenant, cloud, clock):
    address = tenant("AllocateAddress")
    instance = tenant.run()
    tenant("AssociateAddress", AllocationId=address["AllocationId"], InstanceId=instance["InstanceId"])
    before = history.who_had(cloud, address["PublicIp"])
    clock.advance(hours=1)
    tenant("AssociateAddress", AllocationId=address["AllocationId"], InstanceId=instance["InstanceId"])
    tenant("ModifyInstanceAttribute", InstanceId=instance["InstanceId"], Groups=[tenant.group()])
    assert history.who_had(cloud, address["PublicIp"]) == before


def test_the_end_of_an_instance_ends_its_period(tenant, cloud, clock):
    address = tenant("AllocateAddress")
    instance = tenant.run()
    tenant("AssociateAddress", AllocationId=address["AllocationId"], InstanceId=instance["InstanceId"])
    clock.advance(hours=2)
    tenant("TerminateInstances", InstanceIds=[instance["InstanceId"]])
    last = history.who_had(cloud, address["PublicIp"])[-1]
    assert (last.since, last.instance, last.account) == (START + timedelta(hours=2), None, tenant.account)


def test_hours_of_a_month(tenant, cloud, clock):
    clock.now = datetime(2024, 4, 30, 12, tzinfo=UTC)
    allocation = tenant("AllocateAddress")["AllocationId"]
    instance = tenant.run()
    clock.now = datetime(2024, 5, 31, 0, tzinfo=UTC)
    tenant("AssociateAddress", AllocationId=allocation, InstanceId=instance["InstanceId"])
    clock.now = datetime(2024, 6, 1, 6, tzinfo=UTC)
    (april,), (may,), (june,) = (usage.month(cloud, 2024, number, clock.now) for number in (4, 5, 6))
    assert (april.hours, april.associated_hours) == (12, 0)
    assert (may.hours, may.associated_hours) == (31 * 24, 24)
    assert (june.hours, june.associated_hours) == (6, 6)
    assert usage.month(cloud, 2024, 3, clock.now) == []
    assert usage.month(cloud, 2024, 7, clock.now) == []
    assert usage.month(cloud, 2024, 5, clock.now, account="000000000000") == []


def used(cloud, clock):
    lines = usage.month(cloud, clock.now.year, clock.now.month, clock.now)
    return {line.public_ip: (line.packets_in, line.bytes_in, line.packets_out, line.bytes_out) for line in lines}


def test_a_flow_is_counted_once_however_often_it_is_read(tenant, cloud, clock):
    ip = tenant("AllocateAddress")["PublicIp"]
    usage.take(cloud, {"hv1": [reading(ip, "in", 10, 5, 500), reading(ip, "out", 10, 2, 200)]}, clock.now)
    assert used(cloud, clock) == {ip: (5, 500, 2, 200)}
    clock.advance(seconds=60)
    again = {"hv1": [reading(ip, "in", 71, 5, 500), reading(ip, "out", 69, 3, 260)]}  # whole seconds, a slow answer
    for _ in range(2):
        usage.take(cloud, again, clock.now)
        assert used(cloud, clock) == {ip: (5, 500, 3, 260)}


def test_a_host_that_does_not_answer_is_caught_up_with(tenant, cloud, clock):
    ip = tenant("AllocateAddress")["PublicIp"]
    usage.take(cloud, {"hv1": [reading(ip, "in", 10, 5, 500)]}, clock.now)
    clock.advance(seconds=60)
    usage.take(cloud, {"hv2": []}, clock.now)
    clock.advance(seconds=60)
    usage.take(cloud, {"hv1": [reading(ip, "in", 130, 9, 900)]}, clock.now)
    assert used(cloud, clock) == {ip: (9, 900, 0, 0)}


@pytest.mark.parametrize("size", [80, 5000], ids=["fewer", "more"])
def test_a_flow_that_was_made_anew_begins_at_zero(tenant, cloud, clock, size):
    ip = tenant("AllocateAddress")["PublicIp"]
    usage.take(cloud, {"hv1": [reading(ip, "in", 10, 5, 500)]}, clock.now)
    clock.advance(seconds=60)
    usage.take(cloud, {"hv1": [reading(ip, "in", 20, 1, size)]}, clock.now)
    assert used(cloud, clock) == {ip: (6, 500 + size, 0, 0)}


def test_what_comes_after_a_release_goes_to_who_had_it(tenant, stranger, cloud, clock):
    address = tenant("AllocateAddress")
    ip = address["PublicIp"]
    clock.advance(seconds=60)
    tenant("ReleaseAddress", AllocationId=address["AllocationId"])
    usage.take(cloud, {"hv1": [reading(ip, "out", 10, 5, 500)]}, clock.now)
    clock.advance(seconds=60)
    stranger("AllocateAddress", Address=ip)
    usage.take(cloud, {"hv2": [reading(ip, "out", 10, 1, 100)]}, clock.now)
    lines = usage.month(cloud, 2024, 5, clock.now)
    assert {line.account: line.bytes_out for line in lines} == {tenant.account: 500, stranger.account: 100}


def test_one_reading_in_an_interval_is_enough_for_all(cloud, clock):
    assert usage.is_due(cloud, clock.now, 60)
    usage.take(cloud, {}, clock.now)
    assert not usage.is_due(cloud, clock.now, 60)
    assert not usage.is_due(cloud, clock.now + timedelta(seconds=50), 60)
    assert usage.is_due(cloud, clock.now + timedelta(seconds=60), 60)
