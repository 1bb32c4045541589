"""AssociateAddress and DisassociateAddress."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, bindparam, select, update

from econe_api.actions import address_rows, identifiers, networks
from econe_api.actions.parameters import exactly_one, ipv4
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.attachments import DETACHING
from econe_api.store.records import Kind
from econe_api.store.schema import addresses, instances, interfaces, secondary_addresses
from econe_api.store.transaction import Transaction

# Built once: to build a statement takes longer than to execute it.
_OF_INSTANCE = (
    select(instances.c.state, interfaces)
    .select_from(instances)
    .outerjoin(
        interfaces,
        (interfaces.c.instance == instances.c.id) & interfaces.c.attachment_state.is_distinct_from(DETACHING),
    )
    .where(instances.c.account == bindparam("account"), instances.c.id == bindparam("instance"))
)
_INTERFACE = select(interfaces).where(
    interfaces.c.account == bindparam("account"), interfaces.c.id == bindparam("interface")
)
_HELD = select(addresses).where(
    addresses.c.interface == bindparam("interface"), addresses.c.private_ip == bindparam("private_ip")
)
_PLACE = (
    update(addresses)
    .where(addresses.c.public_ip == bindparam("address"))
    .values(
        association=bindparam("its_association"),
        interface=bindparam("its_interface"),
        private_ip=bindparam("its_private_ip"),
    )
)


def associate(call: Call, txn: Transaction) -> dict[str, Any]:
    """Point an address at an instance or a network interface; again at the same one changes nothing.

    It moves from where it was, and what the target had is disassociated, unless AllowReassociation is false;
    ``api.allow_reassociation`` is what holds when a call does not say.
    """
    params = call.params
    exactly_one(params, ("AllocationId", "allocation id"), ("PublicIp", "public IP"))
    exactly_one(params, ("InstanceId", "instance ID"), ("NetworkInterfaceId", "network interface id"))
    if params.get("AllocationId"):
        address = address_rows.by_allocation(txn, params["AllocationId"])
    else:
        address = address_rows.by_public_ip(txn, params["PublicIp"])
    target = _of_instance(txn, params["InstanceId"]) if params.get("InstanceId") else _interface(txn, params)
    private_ip = _target_address(txn, params.get("PrivateIpAddress"), target)
    if (address.interface, address.private_ip) == (target.id, private_ip):
        return {"AssociationId": address.association}
    held = txn.connection.execute(_HELD, {"interface": target.id, "private_ip": private_ip}).first()
    moves = params.get("AllowReassociation")
    if not (txn.config.api.allow_reassociation if moves is None else moves):
        _refuse_moves(address, target.id, held)
    if held is not None:
        _end(txn, held.public_ip)
    association = txn.new_id("eipassoc")
    _place(txn, address.public_ip, association, target.id, private_ip)
    return {"AssociationId": association}


def _of_instance(txn: Transaction, instance: str) -> Row[Any]:
    """The only interface of a running instance."""
    identifiers.check("i", [instance])
    rows = list(txn.connection.execute(_OF_INSTANCE, {"account": txn.account, "instance": instance}))
    if not rows:
        raise Ec2Error("InvalidInstanceID.NotFound", f"The instance ID '{instance}' does not exist")
    if len(rows) > 1:
        raise Ec2Error(
            "InvalidInstanceID",
            f"There are multiple interfaces attached to instance '{instance}'. "
            "Please specify an interface ID for the operation instead.",
        )
    if rows[0].id is None or rows[0].state == "pending":
        raise Ec2Error(
            "InvalidInstanceID",
            f"The {rows[0].state} instance '{instance}' is not in a valid state for this operation.",
        )
    return rows[0]


def _interface(txn: Transaction, params: Any) -> Row[Any]:
    interface = params["NetworkInterfaceId"]
    identifiers.check("eni", [interface])
    row = txn.connection.execute(_INTERFACE, {"account": txn.account, "interface": interface}).first()
    if row is None:
        raise Ec2Error("InvalidNetworkInterfaceID.NotFound", f"The networkInterface ID '{interface}' does not exist")
    return row


def _target_address(txn: Transaction, asked: str | None, target: Row[Any]) -> str:
    """The private address of the interface that the elastic IP shall stand for: the one asked for, else the primary."""
    private_ip = ipv4(asked, "privateIpAddress") if asked else str(target.private_ip)
    if private_ip != target.private_ip:
        own = secondary_addresses.c.interface == target.id
        if not txn.connection.scalar(select(own).where(own, secondary_addresses.c.address == private_ip)):
            raise Ec2Error(
                "InvalidParameterValue",
                f"Invalid value '{private_ip}' for PrivateIpAddress. It is not an address of {target.id}",
            )
    if not networks.reaches_outside(txn, target.vpc):
        raise Ec2Error("Gateway.NotAttached", f"Network {target.vpc} is not attached to any internet gateway")
    return private_ip


def _refuse_moves(address: Row[Any], interface: str, held: Row[Any] | None) -> None:
    for resource, association in (
        (address.allocation, address.association),
        (interface, held.association if held is not None else None),
    ):
        if association is not None:
            raise Ec2Error(
                "Resource.AlreadyAssociated",
                f"resource {resource} is already associated with associate-id {association}",
            )


def disassociate(call: Call, txn: Transaction) -> dict[str, Any]:
    """End an association; the address stays allocated."""
    params = call.params
    exactly_one(params, ("AssociationId", "association id"), ("PublicIp", "public IP"))
    if params.get("AssociationId"):
        row = address_rows.by_association(txn, params["AssociationId"])
    else:
        row = address_rows.by_public_ip(txn, params["PublicIp"])
        if row.association is None:
            raise Ec2Error(
                "InvalidParameterValue",
                f"Invalid value '{row.public_ip}' for PublicIp. The address is not associated with anything",
            )
    _end(txn, row.public_ip)
    return {}


def _end(txn: Transaction, public_ip: str) -> None:
    _place(txn, public_ip, None, None, None)


def _place(
    txn: Transaction, public_ip: str, association: str | None, interface: str | None, private_ip: str | None
) -> None:
    place = {"its_association": association, "its_interface": interface, "its_private_ip": private_ip}
    txn.connection.execute(_PLACE, {"address": public_ip, **place})
    txn.touch(Kind.ADDRESS, public_ip)
