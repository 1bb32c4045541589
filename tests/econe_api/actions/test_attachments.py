"""Interfaces that are attached, detached, launched with, and left behind."""

from __future__ import annotations

from typing import Any

NO_INSTANCE = "i-0000000000000dead"


def _show(tenant: Any, interface: str) -> dict[str, Any]:
    found: dict[str, Any] = tenant("DescribeNetworkInterfaces", NetworkInterfaceIds=[interface])["NetworkInterfaces"][0]
    return found


def _links(tenant: Any, instance: str) -> list[dict[str, Any]]:
    found = tenant("DescribeInstances", InstanceIds=[instance])["Reservations"][0]["Instances"][0]
    links: list[dict[str, Any]] = found["NetworkInterfaces"]
    return links


def test_attached_and_detached(tenant: Any, touched: Any, plugged: Any, clock: Any, cloud: Any) -> None:
    instance = tenant.run(SubnetId=tenant.subnet().id)["InstanceId"]
    made = tenant.interface(SecondaryPrivateIpAddressCount=1)
    interface, secondary = made["NetworkInterfaceId"], made["PrivateIpAddresses"][1]["PrivateIpAddress"]
    address = tenant("AllocateAddress")
    tenant(
        "AssociateAddress",
        AllocationId=address["AllocationId"],
        NetworkInterfaceId=interface,
        PrivateIpAddress=secondary,
    )
    answer = tenant("AttachNetworkInterface", NetworkInterfaceId=interface, InstanceId=instance, DeviceIndex=1)
    assert answer == {"AttachmentId": answer["AttachmentId"], "NetworkCardIndex": 0}
    assert touched() == {("interface", interface)}
    shown = _show(tenant, interface)
    assert shown["Attachment"] == {
        "AttachmentId": answer["AttachmentId"],
        "InstanceId": instance,
        "InstanceOwnerId": tenant.account,
        "DeviceIndex": 1,
        "NetworkCardIndex": 0,
        "Status": "attaching",
        "AttachTime": clock.now,
        "DeleteOnTermination": False,
    }
    revision = cloud.revision()
    plugged()
    assert cloud.revision() == revision  # the data plane follows the port, not the worker's note
    first, second = _links(tenant, instance)
    assert (second["Status"], second["Attachment"]["Status"]) == ("in-use", "attached")
    association = second["PrivateIpAddresses"][1]["Association"]
    assert association == {"PublicIp": address["PublicIp"], "PublicDnsName": "", "IpOwnerId": tenant.account}
    assert "Association" not in second
    held = tenant("DescribeAddresses")["Addresses"][0]
    assert (held["InstanceId"], held["NetworkInterfaceId"], held["PrivateIpAddress"]) == (
        instance,
        interface,
        secondary,
    )
    assert held["NetworkInterfaceOwnerId"] == tenant.account
    tenant("DetachNetworkInterface", AttachmentId=answer["AttachmentId"], Force=True)
    assert touched() == {("interface", interface)}
    assert _show(tenant, interface)["Status"] == "detaching"
    plugged()
    shown = _show(tenant, interface)
    assert (shown["Status"], shown.get("Attachment")) == ("available", None)
    assert [link["NetworkInterfaceId"] for link in _links(tenant, instance)] == [first["NetworkInterfaceId"]]
    held = tenant("DescribeAddresses")["Addresses"][0]
    assert (held.get("InstanceId"), held["NetworkInterfaceId"]) == (None, interface)


def test_a_stopped_instance_needs_no_worker(tenant: Any, states: Any) -> None:
    instance = tenant.run(SubnetId=tenant.subnet().id)["InstanceId"]
    states("stopped", instance)
    interface = tenant.interface()["NetworkInterfaceId"]
    asked = {"NetworkInterfaceId": interface, "InstanceId": instance, "DeviceIndex": 1}
    attachment = tenant("AttachNetworkInterface", **asked)["AttachmentId"]
    assert _show(tenant, interface)["Attachment"]["Status"] == "attached"
    tenant("DetachNetworkInterface", AttachmentId=attachment)
    assert _show(tenant, interface)["Status"] == "available"


def test_refused_attachments(tenant: Any, stranger: Any, refused: Any, states: Any) -> None:
    subnet = tenant.subnet().id
    instance, pending = (tenant.run(SubnetId=subnet)["InstanceId"] for _ in range(2))
    ended, full = (tenant.run(SubnetId=subnet)["InstanceId"] for _ in range(2))
    states("pending", pending)
    tenant("TerminateInstances", InstanceIds=[ended])
    link = _links(tenant, instance)[0]
    free, taken = tenant.interface()["NetworkInterfaceId"], link["NetworkInterfaceId"]
    wide = tenant.interface(SecondaryPrivateIpAddressCount=2)["NetworkInterfaceId"]
    second = tenant.attach(tenant.interface()["NetworkInterfaceId"], full)
    far = tenant.interface(SubnetId=tenant.subnet("us-east-1b").id)["NetworkInterfaceId"]
    theirs = stranger.run()
    their_link = theirs["NetworkInterfaces"][0]
    attach, detach = "AttachNetworkInterface", "DetachNetworkInterface"
    good = {"NetworkInterfaceId": free, "InstanceId": instance, "DeviceIndex": 1}
    for code, action, params in (
        ("MissingParameter", attach, good | {"NetworkInterfaceId": None}),
        ("MissingParameter", attach, good | {"InstanceId": None}),
        ("MissingParameter", attach, good | {"DeviceIndex": None}),
        ("InvalidInstanceID.NotFound", attach, good | {"InstanceId": NO_INSTANCE}),
        ("InvalidInstanceID.NotFound", attach, good | {"InstanceId": theirs["InstanceId"]}),
        ("InvalidNetworkInterfaceID.NotFound", attach, good | {"NetworkInterfaceId": "eni-0000000000000dead"}),
        (
            "InvalidNetworkInterfaceID.NotFound",
            attach,
            good | {"NetworkInterfaceId": stranger.interface()["NetworkInterfaceId"]},
        ),
        ("InvalidNetworkInterface.InUse", attach, good | {"NetworkInterfaceId": taken}),
        ("IncorrectState", attach, good | {"InstanceId": pending}),
        ("IncorrectState", attach, good | {"InstanceId": ended}),
        ("InvalidParameterCombination", attach, good | {"NetworkInterfaceId": far}),
        ("InvalidParameterValue", attach, good | {"DeviceIndex": 0}),
        ("InvalidParameterValue", attach, good | {"DeviceIndex": -1}),
        ("InvalidParameterValue", attach, good | {"DeviceIndex": 32}),
        ("AttachmentLimitExceeded", attach, good | {"InstanceId": full, "DeviceIndex": 2}),
        ("PrivateIpAddressLimitExceeded", attach, good | {"NetworkInterfaceId": wide}),
        ("UnsupportedOperation", attach, good | {"NetworkCardIndex": 1}),
        ("MissingParameter", detach, {}),
        ("InvalidAttachmentID.NotFound", detach, {"AttachmentId": "eni-attach-0000000000000dead"}),
        ("InvalidAttachmentID.NotFound", detach, {"AttachmentId": their_link["Attachment"]["AttachmentId"]}),
        ("InvalidNetworkInterfaceAttachmentId.Malformed", detach, {"AttachmentId": "rubbish"}),
        ("OperationNotPermitted", detach, {"AttachmentId": link["Attachment"]["AttachmentId"]}),
    ):
        refused(tenant, code, action, **params)
    tenant("DetachNetworkInterface", AttachmentId=second)


def test_an_address_needs_to_know_which_interface(tenant: Any, refused: Any) -> None:
    instance = tenant.run()["InstanceId"]
    second, address = tenant.second_interface(instance), tenant("AllocateAddress")
    asked = {"AllocationId": address["AllocationId"]}
    refused(tenant, "InvalidInstanceID", "AssociateAddress", **asked, InstanceId=instance)
    refused(
        tenant,
        "InvalidParameterValue",
        "AssociateAddress",
        **asked,
        NetworkInterfaceId=second,
        PrivateIpAddress="172.31.9.9",
    )
    tenant("AssociateAddress", **asked, NetworkInterfaceId=second)
    attachment = _show(tenant, second)["Attachment"]["AttachmentId"]
    tenant("DetachNetworkInterface", AttachmentId=attachment)
    tenant("AssociateAddress", **asked, InstanceId=instance)  # it has one interface again
    assert _links(tenant, instance)[0]["Association"]["PublicIp"] == address["PublicIp"]


def test_each_private_address_holds_one_elastic_ip(tenant: Any) -> None:
    made = tenant.interface(SecondaryPrivateIpAddressCount=1)
    primary, secondary = (one["PrivateIpAddress"] for one in made["PrivateIpAddresses"])
    addresses = [tenant("AllocateAddress") for _ in range(3)]
    target = {"NetworkInterfaceId": made["NetworkInterfaceId"]}
    for address, private in zip(addresses, ({}, {"PrivateIpAddress": secondary}, target), strict=True):
        tenant("AssociateAddress", AllocationId=address["AllocationId"], **target | private)
    held = {one["PublicIp"]: one.get("PrivateIpAddress") for one in tenant("DescribeAddresses")["Addresses"]}
    first, second, third = (address["PublicIp"] for address in addresses)
    assert held == {first: None, second: secondary, third: primary}


def test_what_outlives_its_instance(tenant: Any, touched: Any, plugged: Any, states: Any) -> None:
    instance = tenant.run()["InstanceId"]
    first = _links(tenant, instance)[0]["NetworkInterfaceId"]
    second, address = tenant.second_interface(instance), tenant("AllocateAddress")
    tenant("AssociateAddress", AllocationId=address["AllocationId"], NetworkInterfaceId=second)
    tenant("TerminateInstances", InstanceIds=[instance])
    assert touched() == {("interface", first), ("interface", second)}
    assert _links(tenant, instance) == []
    assert _show(tenant, second)["Status"] == "detaching"
    plugged()
    assert _show(tenant, second)["Status"] == "available"
    assert tenant("DescribeAddresses")["Addresses"][0]["NetworkInterfaceId"] == second
    assert len(tenant("DescribeNetworkInterfaces")["NetworkInterfaces"]) == 1


def test_a_launch_with_several_interfaces(tenant: Any, refused: Any) -> None:
    subnet, web, db = tenant.subnet(), tenant.group("web"), tenant.group("db")
    kept = tenant.interface(PrivateIpAddress="172.31.0.77", Groups=[db])["NetworkInterfaceId"]
    launched = tenant.run(
        InstanceType="t2.medium",
        NetworkInterfaces=[
            {"DeviceIndex": 2, "NetworkInterfaceId": kept},
            {"DeviceIndex": 0, "SubnetId": subnet.id, "Groups": [web], "PrivateIpAddress": "172.31.0.9"},
            {
                "DeviceIndex": 1,
                "Description": "second",
                "DeleteOnTermination": False,
                "PrivateIpAddresses": [{"PrivateIpAddress": "172.31.0.30"}, {"PrivateIpAddress": "172.31.0.31"}],
            },
        ],
    )
    assert launched["PrivateIpAddress"] == "172.31.0.9"
    assert [group["GroupId"] for group in launched["SecurityGroups"]] == [web]
    shown = [
        (
            link["Attachment"]["DeviceIndex"],
            link["Attachment"]["DeleteOnTermination"],
            link["Description"],
            len(link["PrivateIpAddresses"]),
            [group["GroupName"] for group in link["Groups"]],
        )
        for link in launched["NetworkInterfaces"]
    ]
    assert shown == [(0, True, "", 1, ["web"]), (1, False, "second", 3, ["default"]), (2, False, "", 1, ["db"])]
    assert launched["NetworkInterfaces"][2]["NetworkInterfaceId"] == kept
    # Two instances of one launch have interfaces of their own.
    both = {"DeviceIndex": 0}, {"DeviceIndex": 1, "SecondaryPrivateIpAddressCount": 1}
    image = tenant.store.config.images[0].id
    answer = tenant(
        "RunInstances",
        ImageId=image,
        InstanceType="t2.micro",
        MinCount=2,
        MaxCount=2,
        NetworkInterfaces=list(both),
    )
    taken = [
        address["PrivateIpAddress"]
        for instance in answer["Instances"]
        for link in instance["NetworkInterfaces"]
        for address in link["PrivateIpAddresses"]
    ]
    assert len(set(taken)) == 6


def test_refused_launches(tenant: Any, stranger: Any, refused: Any) -> None:
    image, subnet = tenant.store.config.images[0].id, tenant.subnet().id
    elsewhere = tenant.subnet("us-east-1b").id
    taken = tenant.run()["NetworkInterfaces"][0]["NetworkInterfaceId"]
    free, theirs = tenant.interface()["NetworkInterfaceId"], stranger.interface()["NetworkInterfaceId"]
    first = {"DeviceIndex": 0, "SubnetId": subnet}
    second = {"DeviceIndex": 1, "SubnetId": subnet}
    existing = {"DeviceIndex": 1, "NetworkInterfaceId": free}
    for code, links, more in (
        ("InvalidParameterValue", [first, first], {}),
        ("InvalidParameterValue", [second], {}),
        ("InvalidParameterValue", [first, second | {"DeviceIndex": 1 << 40}], {}),
        ("InvalidParameterValue", [first, {"SubnetId": subnet}], {}),
        ("AttachmentLimitExceeded", [first, second, second | {"DeviceIndex": 2}], {}),
        ("PrivateIpAddressLimitExceeded", [first | {"SecondaryPrivateIpAddressCount": 2}], {}),
        ("InvalidParameterCombination", [first, second | {"SubnetId": elsewhere}], {}),
        ("InvalidNetworkInterface.InUse", [first, existing | {"NetworkInterfaceId": taken}], {}),
        ("InvalidNetworkInterfaceID.NotFound", [first, existing | {"NetworkInterfaceId": theirs}], {}),
        ("InvalidParameterCombination", [first, existing | {"Groups": [tenant.default_group()]}], {}),
        ("InvalidParameterCombination", [first, existing | {"SubnetId": subnet}], {}),
        ("InvalidParameterCombination", [first, existing | {"DeleteOnTermination": True}], {}),
        ("InvalidParameterCombination", [first, existing], {"MaxCount": 2}),
        ("InvalidParameterValue", [existing | {"DeviceIndex": 0}, existing], {}),
        (
            "InvalidParameterValue",
            [first | {"PrivateIpAddress": "172.31.0.40"}, second | {"PrivateIpAddress": "172.31.0.40"}],
            {},
        ),
    ):
        asked = {"ImageId": image, "InstanceType": "t2.nano", "MinCount": 1, "MaxCount": 1} | more
        refused(tenant, code, "RunInstances", **asked, NetworkInterfaces=links)
