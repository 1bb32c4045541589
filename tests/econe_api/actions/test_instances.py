"""Instances: shown, given other groups, ended."""

from __future__ import annotations

from typing import Any

NO_INSTANCE = "i-0000000000000dead"


def _ids(answer: dict[str, Any]) -> list[str]:
    return [item["InstanceId"] for entry in answer["Reservations"] for item in entry["Instances"]]


def test_filters(tenant: Any, states: Any) -> None:
    web, db = tenant.group("web"), tenant.group("db")
    tenant("CreateKeyPair", KeyName="k", KeyType="ed25519")
    one = tenant.run(SecurityGroupIds=[web], KeyName="k")
    two = tenant.run(SecurityGroupIds=[web, db], InstanceType="t2.micro", ClientToken="tok")
    three = tenant.run()
    address = tenant("AllocateAddress")
    association = tenant("AssociateAddress", InstanceId=two["InstanceId"], PublicIp=address["PublicIp"])
    tenant("TerminateInstances", InstanceIds=[three["InstanceId"]])
    reservations = {
        entry["Instances"][0]["InstanceId"]: entry["ReservationId"]
        for entry in tenant("DescribeInstances")["Reservations"]
    }
    interface = two["NetworkInterfaces"][0]
    everyone = [one, two, three]
    for name, values, expected in (
        ("architecture", ["x86_64"], everyone),
        ("availability-zone", [one["Placement"]["AvailabilityZone"]], None),
        ("client-token", ["tok"], [two]),
        ("dns-name", ["?*"], []),
        ("group-id", [db], [two]),
        ("group-name", ["web"], [one, two]),
        ("image-id", [one["ImageId"]], everyone),
        ("image-id", ["ami-00000000"], []),
        ("instance-id", [one["InstanceId"], NO_INSTANCE], [one]),
        ("instance-state-code", ["32"], [three]),
        ("instance-state-name", ["pending", "running"], [one, two]),
        ("instance-type", ["t2.micro"], [two]),
        ("instance-type", ["t2.*"], everyone),
        ("instance.group-id", [web], [one, two]),
        ("instance.group-name", ["d*"], [two]),
        ("ip-address", [address["PublicIp"]], [two]),
        ("key-name", ["k"], [one]),
        ("launch-index", ["0"], everyone),
        ("launch-time", ["2024-05-06T07:08:09.000Z"], everyone),
        ("hypervisor", ["xen"], everyone),
        ("iam-instance-profile.arn", ["*"], []),
        ("instance-lifecycle", ["spot"], []),
        ("monitoring-state", ["enabled"], []),
        ("platform-details", ["Linux/UNIX"], everyone),
        ("private-dns-name", [two["PrivateDnsName"]], None),
        ("root-device-name", ["/dev/xvda"], everyone),
        ("root-device-type", ["ebs"], everyone),
        ("state-reason-message", ["*User initiated shutdown"], [three]),
        ("owner-id", [tenant.account], everyone),
        ("private-ip-address", [two["PrivateIpAddress"]], None),
        ("reason", ["User initiated*"], [three]),
        ("reservation-id", [reservations[one["InstanceId"]]], [one]),
        ("source-dest-check", ["true"], everyone),
        ("state-reason-code", ["Client.UserInitiatedShutdown"], [three]),
        ("subnet-id", [two["SubnetId"]], None),
        ("vpc-id", [two["VpcId"]], [one, two]),
        ("network-interface.addresses.association.public-ip", [address["PublicIp"]], [two]),
        ("network-interface.addresses.primary", ["true"], [one, two]),
        ("network-interface.addresses.private-ip-address", [two["PrivateIpAddress"]], None),
        ("network-interface.association.allocation-id", [address["AllocationId"]], [two]),
        ("network-interface.association.association-id", [association["AssociationId"]], [two]),
        ("network-interface.association.public-ip", [address["PublicIp"]], [two]),
        ("network-interface.attachment.device-index", ["0"], [one, two]),
        ("network-interface.attachment.instance-id", [two["InstanceId"]], [two]),
        ("network-interface.availability-zone", ["us-east-1?"], [one, two]),
        ("network-interface.group-id", [db], [two]),
        ("network-interface.group-name", ["db"], [two]),
        ("network-interface.mac-address", [interface["MacAddress"]], [two]),
        ("network-interface.network-interface-id", [interface["NetworkInterfaceId"]], [two]),
        ("network-interface.owner-id", [tenant.account], [one, two]),
        ("network-interface.private-ip-address", [two["PrivateIpAddress"]], None),
        ("network-interface.source-dest-check", ["true"], [one, two]),
        ("network-interface.status", ["in-use"], [one, two]),
        ("network-interface.subnet-id", [two["SubnetId"]], None),
        ("network-interface.vpc-id", [two["VpcId"]], [one, two]),
        ("tag:Name", ["*"], []),
    ):
        found = _ids(tenant("DescribeInstances", Filters=[{"Name": name, "Values": values}]))
        if expected is None:  # depends on the zone chosen: the instance asked about must be there, the ended one not
            known = {item["InstanceId"] for item in everyone}
            assert set(found) <= known, name
            assert two["InstanceId"] in found or name == "availability-zone", name
        else:
            assert sorted(found) == sorted(item["InstanceId"] for item in expected), name


def test_describe_by_id(tenant: Any, stranger: Any, refused: Any) -> None:
    one, two = tenant.run()["InstanceId"], tenant.run()["InstanceId"]
    theirs = stranger.run()["InstanceId"]
    assert sorted(_ids(tenant("DescribeInstances", InstanceIds=[two, one, two]))) == sorted([one, two])
    assert _ids(tenant("DescribeInstances", Filters=[{"Name": "instance-id", "Values": [theirs]}])) == []
    messages = [
        refused(tenant, "InvalidInstanceID.NotFound", "DescribeInstances", InstanceIds=[one, other]).message
        for other in (theirs, NO_INSTANCE)
    ]
    assert messages == [f"The instance ID '{other}' does not exist" for other in (theirs, NO_INSTANCE)]
    error = refused(tenant, "InvalidInstanceID.NotFound", "DescribeInstances", InstanceIds=[theirs, NO_INSTANCE])
    assert error.message == f"The instance IDs '{theirs}, {NO_INSTANCE}' do not exist"
    for code, params in (
        ("InvalidInstanceID.Malformed", {"InstanceIds": ["rubbish"]}),
        ("InvalidParameterValue", {"Filters": [{"Name": "colour", "Values": ["red"]}]}),
        ("InvalidParameterValue", {"MaxResults": 1001}),
        ("InvalidParameterCombination", {"MaxResults": 5, "InstanceIds": [one]}),
        ("InvalidNextToken", {"NextToken": "x"}),
    ):
        refused(tenant, code, "DescribeInstances", **params)


def test_pages_count_instances(tenant: Any, clock: Any) -> None:
    image = tenant.store.config.images[0].id
    ids = []
    for count in (4, 4, 3):
        answer = tenant("RunInstances", ImageId=image, InstanceType="t2.nano", MinCount=count, MaxCount=count)
        ids += [item["InstanceId"] for item in answer["Instances"]]
        clock.advance(seconds=1)
    first = tenant("DescribeInstances", MaxResults=6)
    second = tenant("DescribeInstances", MaxResults=6, NextToken=first["NextToken"])
    assert [len(entry["Instances"]) for entry in first["Reservations"]] == [4, 2]
    assert [len(entry["Instances"]) for entry in second["Reservations"]] == [2, 3]
    assert "NextToken" not in second
    assert _ids(first) + _ids(second) == ids


def test_termination(tenant: Any, touched: Any, states: Any, clock: Any, refused: Any) -> None:
    group = tenant.group()
    one, two = tenant.run(SecurityGroupIds=[group]), tenant.run(SecurityGroupIds=[group])
    address = tenant("AllocateAddress")
    tenant("AssociateAddress", InstanceId=one["InstanceId"], PublicIp=address["PublicIp"])
    running, ending = {"Code": 16, "Name": "running"}, {"Code": 32, "Name": "shutting-down"}
    answer = tenant("TerminateInstances", InstanceIds=[two["InstanceId"], one["InstanceId"]])
    assert answer["TerminatingInstances"] == [
        {"InstanceId": item["InstanceId"], "PreviousState": running, "CurrentState": ending} for item in (two, one)
    ]
    links = {item["NetworkInterfaces"][0]["NetworkInterfaceId"] for item in (one, two)}
    assert touched() == {("address", address["PublicIp"]), *(("interface", link) for link in links)}
    # The address stays the account's, free; the group can be deleted; the private address can be given again.
    (shown,) = tenant("DescribeAddresses")["Addresses"]
    assert shown["PublicIp"] == address["PublicIp"]
    assert "AssociationId" not in shown
    assert "InstanceId" not in shown
    tenant("DeleteSecurityGroup", GroupId=group)
    assert tenant.run(SubnetId=one["SubnetId"])["PrivateIpAddress"] == one["PrivateIpAddress"]

    (ended,) = tenant("DescribeInstances", InstanceIds=[one["InstanceId"]])["Reservations"][0]["Instances"]
    assert ended["State"] == ending
    assert ended["NetworkInterfaces"] == ended["SecurityGroups"] == []
    assert "PrivateIpAddress" not in ended
    assert ended["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    states("terminated", one["InstanceId"], terminated=clock.now)
    again = tenant("TerminateInstances", InstanceIds=[one["InstanceId"], two["InstanceId"]])["TerminatingInstances"]
    assert [(item["PreviousState"]["Name"], item["CurrentState"]["Name"]) for item in again] == [
        ("terminated", "terminated"),
        ("shutting-down", "shutting-down"),
    ]
    (ended,) = tenant("DescribeInstances", InstanceIds=[one["InstanceId"]])["Reservations"][0]["Instances"]
    assert ended["StateTransitionReason"] == "User initiated (2024-05-06 07:08:09 GMT)"
    clock.advance(minutes=59)
    assert one["InstanceId"] in _ids(tenant("DescribeInstances"))
    clock.advance(minutes=1)
    assert one["InstanceId"] not in _ids(tenant("DescribeInstances"))
    for action in ("DescribeInstances", "TerminateInstances"):
        refused(tenant, "InvalidInstanceID.NotFound", action, InstanceIds=[one["InstanceId"]])


def test_refused_terminations(tenant: Any, stranger: Any, refused: Any) -> None:
    mine, theirs = tenant.run()["InstanceId"], stranger.run()["InstanceId"]
    for code, params in (
        ("InvalidParameterCombination", {}),
        ("InvalidParameterCombination", {"InstanceIds": []}),
        ("InvalidInstanceID.NotFound", {"InstanceIds": [mine, NO_INSTANCE]}),
        ("InvalidInstanceID.NotFound", {"InstanceIds": [mine, theirs]}),
        ("InvalidInstanceID.Malformed", {"InstanceIds": [mine, "rubbish"]}),
    ):
        refused(tenant, code, "TerminateInstances", **params)


def test_other_groups(tenant: Any, touched: Any, cloud: Any) -> None:
    web, db = tenant.group("web"), tenant.group("db")
    instance = tenant.run()
    link = instance["NetworkInterfaces"][0]["NetworkInterfaceId"]
    assert tenant("ModifyInstanceAttribute", InstanceId=instance["InstanceId"], Groups=[web, db]) == {}
    assert touched() == {("interface", link)}
    (shown,) = tenant("DescribeInstances")["Reservations"][0]["Instances"]
    assert {group["GroupName"] for group in shown["SecurityGroups"]} == {"web", "db"}
    before = cloud.revision()
    tenant("ModifyInstanceAttribute", InstanceId=instance["InstanceId"], Groups=[db, web, db])
    assert cloud.revision() == before
    tenant("ModifyInstanceAttribute", InstanceId=instance["InstanceId"], Groups=[db])
    tenant("DeleteSecurityGroup", GroupId=web)


def test_refused_modifications(tenant: Any, stranger: Any, refused: Any) -> None:
    mine, ended, theirs = tenant.run()["InstanceId"], tenant.run()["InstanceId"], stranger.run()["InstanceId"]
    web, far = tenant.group("web"), tenant.group("far", VpcId=tenant.second_vpc())
    six = [tenant.group(f"g{number}") for number in range(6)]
    tenant("TerminateInstances", InstanceIds=[ended])
    double = tenant.run()["InstanceId"]
    tenant.second_interface(double)
    for code, params in (
        ("MissingParameter", {"Groups": [web]}),
        ("InvalidParameterCombination", {"InstanceId": mine}),
        ("InvalidParameterCombination", {"InstanceId": mine, "Groups": []}),
        ("InvalidInstanceID.NotFound", {"InstanceId": NO_INSTANCE, "Groups": [web]}),
        ("InvalidInstanceID.NotFound", {"InstanceId": theirs, "Groups": [web]}),
        ("InvalidInstanceID.Malformed", {"InstanceId": "rubbish", "Groups": [web]}),
        ("IncorrectInstanceState", {"InstanceId": ended, "Groups": [web]}),
        ("InvalidInstanceID", {"InstanceId": double, "Groups": [web]}),
        ("InvalidGroup.NotFound", {"InstanceId": mine, "Groups": [web, "sg-0000000000000dead"]}),
        ("InvalidGroup.NotFound", {"InstanceId": mine, "Groups": [stranger.group("theirs")]}),
        ("InvalidGroup.NotFound", {"InstanceId": mine, "Groups": [far]}),
        ("InvalidGroupId.Malformed", {"InstanceId": mine, "Groups": ["web"]}),
        ("SecurityGroupsPerInterfaceLimitExceeded", {"InstanceId": mine, "Groups": six}),
        ("IncorrectInstanceState", {"InstanceId": mine, "InstanceType": {"Value": "t2.micro"}}),
        ("InvalidParameterCombination", {"InstanceId": mine, "Groups": [web], "SourceDestCheck": {"Value": True}}),
        ("UnsupportedOperation", {"InstanceId": mine, "SourceDestCheck": {"Value": False}}),
    ):
        refused(tenant, code, "ModifyInstanceAttribute", **params)


def test_statements_do_not_grow_with_instances(tenant: Any, statements: Any) -> None:
    tenant.run()
    describe = statements(lambda: tenant("DescribeInstances"))
    ids = []
    for _ in range(4):
        ids.append(tenant.run()["InstanceId"])
        tenant("AssociateAddress", InstanceId=ids[-1], PublicIp=tenant("AllocateAddress")["PublicIp"])
    assert statements(lambda: tenant("DescribeInstances")) == describe
    one = statements(lambda: tenant("TerminateInstances", InstanceIds=ids[:1]))
    assert statements(lambda: tenant("TerminateInstances", InstanceIds=ids[1:])) == one
