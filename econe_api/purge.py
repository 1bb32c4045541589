"""Takes away all that an account has, through the very handlers of the API, so that the data plane follows.

Two transactions: the first ends the instances, the second, when they have ended, sweeps the rest in the order in which
one thing depends on another.  What stays is the account as it was made: its keys, its quotas, its default VPC with
subnets, gateway and route, and its default security group with the rules that it began with; a default VPC that was
changed or deleted is laid out anew.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import delete, select

from econe_api.call import Action, Call, Caller
from econe_api.errors import Ec2Error
from econe_api.store.errors import StoreError
from econe_api.store.schema import instances, metadata, subnets, vpcs
from econe_api.store.store import Store
from econe_api.store.transaction import Transaction
from econe_api.store.vpc_rows import add_default_vpc

_GONE = ("shutting-down", "terminated")
_ANYWHERE = "0.0.0.0/0"
_ANYWHERE_V6 = "::/0"


class NotifierLike(Protocol):
    """What the purge needs of :class:`econe_api.notify.Notifier`."""

    def installed(self, revision: int) -> bool:
        """Wait, bounded, until ``revision`` is enforced."""

    def settle(self, instances: Sequence[str]) -> bool:
        """Wait, bounded, until ``instances`` have settled."""


class Sweep:
    """Calls actions for an account inside one transaction; counts what went, by the action that took it."""

    def __init__(self, txn: Transaction, actions: Mapping[str, Action]) -> None:
        self.txn = txn
        self.gone: Counter[str] = Counter()
        self._actions = actions

    def items(self, action: str, member: str, **params: Any) -> list[dict[str, Any]]:
        """Return what a describe action shows."""
        found: list[dict[str, Any]] = self._call(action, params)[member]
        return found

    def take(self, action: str, **params: Any) -> None:
        """Call an action that takes something away; :class:`Ec2Error` when it refuses."""
        self._call(action, params)
        self.gone[action] += 1

    def change(self, action: str, **params: Any) -> None:
        """Call an action that changes something."""
        self._call(action, params)

    def _call(self, action: str, params: Mapping[str, Any]) -> dict[str, Any]:
        call = self.txn.call
        return self._actions[action].handler(Call(action, params, call.caller, call.request_id), self.txn)


def purge(store: Store, actions: Mapping[str, Action], notifier: NotifierLike, account: str) -> Counter[str]:
    """Take away all that ``account`` has; return how often which action took something.

    Raises :class:`StoreError` when something refuses to go, naming it: what the same transaction had taken away is
    there again then, and when instances have not ended in time: the rest of what does not need them is gone then.
    """
    ended = _transact(store, actions, notifier, account, (_instances,))
    ids = _ending(store, account)
    if ids and not notifier.settle(ids):
        left = _ending(store, account)
        if left:
            raise StoreError(
                f"{len(left)} instances have not ended yet ({left[0]}...); "
                "see that the compute worker runs, and purge again"
            )
    return ended + _transact(store, actions, notifier, account, _STEPS)


def _transact(
    store: Store,
    actions: Mapping[str, Action],
    notifier: NotifierLike,
    account: str,
    steps: Iterable[Callable[[Sweep], None]],
) -> Counter[str]:
    call = Call("PurgeAccount", {}, Caller(account, "operator"), str(uuid.uuid4()))
    with store.write(call) as txn:
        sweep = Sweep(txn, actions)
        for step in steps:
            try:
                step(sweep)
            except Ec2Error as error:
                raise StoreError(
                    f"{step.__name__.strip('_')} refuse to go ({error}); mend that and purge again"
                ) from error
    if txn.revision is not None:
        notifier.installed(txn.revision)
    return sweep.gone


def _ending(store: Store, account: str) -> list[str]:
    with store.read(Call("PurgeAccount", {}, Caller(account, "operator"), str(uuid.uuid4()))) as txn:
        query = select(instances.c.id).where(instances.c.account == account, instances.c.state != "terminated")
        return list(txn.connection.scalars(query.order_by(instances.c.id)))


def _instances(sweep: Sweep) -> None:
    found = [one for held in sweep.items("DescribeInstances", "Reservations") for one in held["Instances"]]
    for instance in found:
        if instance["State"]["Name"] in _GONE:
            continue
        ids = [instance["InstanceId"]]
        try:
            sweep.take("TerminateInstances", InstanceIds=ids)
        except Ec2Error as error:
            if error.code != "OperationNotPermitted":
                raise
            unprotected = {"InstanceId": ids[0], "DisableApiTermination": {"Value": False}}
            sweep.change("ModifyInstanceAttribute", **unprotected)
            sweep.take("TerminateInstances", InstanceIds=ids)


def _addresses(sweep: Sweep) -> None:
    for address in sweep.items("DescribeAddresses", "Addresses"):
        if "AssociationId" in address:
            sweep.change("DisassociateAddress", AssociationId=address["AssociationId"])
        sweep.take("ReleaseAddress", AllocationId=address["AllocationId"])


def _interfaces(sweep: Sweep) -> None:
    for interface in sweep.items("DescribeNetworkInterfaces", "NetworkInterfaces"):
        attachment = interface.get("Attachment", {})
        if attachment.get("AttachmentId"):
            sweep.change("DetachNetworkInterface", AttachmentId=attachment["AttachmentId"], Force=True)
        sweep.take("DeleteNetworkInterface", NetworkInterfaceId=interface["NetworkInterfaceId"])


def _groups(sweep: Sweep) -> None:
    groups = sweep.items("DescribeSecurityGroups", "SecurityGroups")
    rules: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for rule in sweep.items("DescribeSecurityGroupRules", "SecurityGroupRules"):
        rules[rule["GroupId"]].append(rule)
    query = select(vpcs.c.id).where(vpcs.c.account == sweep.txn.account, vpcs.c.ipv6_cidr.is_not(None))
    with_ipv6 = set(sweep.txn.connection.scalars(query))
    for group in groups:
        wanted = _first_rules(group, group["VpcId"] in with_ipv6)
        if group["GroupName"] == "default" and sorted(map(_rule, rules[group["GroupId"]])) == sorted(wanted):
            continue
        for egress, action in ((False, "RevokeSecurityGroupIngress"), (True, "RevokeSecurityGroupEgress")):
            ids = [rule["SecurityGroupRuleId"] for rule in rules[group["GroupId"]] if rule["IsEgress"] is egress]
            if ids:
                sweep.change(action, GroupId=group["GroupId"], SecurityGroupRuleIds=ids)
        if group["GroupName"] == "default":
            _renew(sweep, group["GroupId"], group["VpcId"] in with_ipv6)
    for group in groups:
        if group["GroupName"] != "default":
            sweep.take("DeleteSecurityGroup", GroupId=group["GroupId"])


def _first_rules(group: Mapping[str, Any], ipv6: bool) -> list[tuple[str, ...]]:
    any_traffic = ("-1", "-1", "-1")
    itself = ("in", *any_traffic, group["GroupId"], "")
    out = [("out", *any_traffic, source, "") for source in ((_ANYWHERE, _ANYWHERE_V6) if ipv6 else (_ANYWHERE,))]
    return [itself, *out]


def _rule(rule: Mapping[str, Any]) -> tuple[str, ...]:
    group = rule.get("ReferencedGroupInfo", {}).get("GroupId")
    source = rule.get("CidrIpv4") or rule.get("CidrIpv6") or group or rule.get("PrefixListId")
    ports = (rule["IpProtocol"], str(rule.get("FromPort", -1)), str(rule.get("ToPort", -1)))
    return ("out" if rule["IsEgress"] else "in", *ports, str(source), rule.get("Description", ""))


def _renew(sweep: Sweep, group: str, ipv6: bool) -> None:
    itself = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
    sweep.change("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=[itself])
    anywhere: dict[str, Any] = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": _ANYWHERE}]}
    if ipv6:
        anywhere["Ipv6Ranges"] = [{"CidrIpv6": _ANYWHERE_V6}]
    sweep.change("AuthorizeSecurityGroupEgress", GroupId=group, IpPermissions=[anywhere])


def _prefix_lists(sweep: Sweep) -> None:
    for one in sweep.items("DescribeManagedPrefixLists", "PrefixLists"):
        if one["OwnerId"] == sweep.txn.account:
            sweep.take("DeleteManagedPrefixList", PrefixListId=one["PrefixListId"])


def _key_pairs(sweep: Sweep) -> None:
    for one in sweep.items("DescribeKeyPairs", "KeyPairs"):
        sweep.take("DeleteKeyPair", KeyPairId=one["KeyPairId"])


def _images(sweep: Sweep) -> None:
    for one in sweep.items("DescribeImages", "Images", Owners=["self"]):
        sweep.take("DeregisterImage", ImageId=one["ImageId"])


def _subnets(sweep: Sweep) -> None:
    for subnet in sweep.items("DescribeSubnets", "Subnets"):
        if not subnet["DefaultForAz"]:
            sweep.take("DeleteSubnet", SubnetId=subnet["SubnetId"])


def _route_tables(sweep: Sweep) -> None:
    for table in sweep.items("DescribeRouteTables", "RouteTables"):
        links = table["Associations"]
        if any(link["Main"] for link in links):
            continue
        for link in links:
            sweep.change("DisassociateRouteTable", AssociationId=link["RouteTableAssociationId"])
        sweep.take("DeleteRouteTable", RouteTableId=table["RouteTableId"])


def _internet_gateways(sweep: Sweep) -> None:
    query = select(vpcs.c.id).where(vpcs.c.account == sweep.txn.account, vpcs.c.is_default)
    kept = set(sweep.txn.connection.scalars(query))
    for gateway in sweep.items("DescribeInternetGateways", "InternetGateways"):
        attached = [link["VpcId"] for link in gateway["Attachments"]]
        if kept.isdisjoint(attached):
            for vpc in attached:
                sweep.change("DetachInternetGateway", InternetGatewayId=gateway["InternetGatewayId"], VpcId=vpc)
            sweep.take("DeleteInternetGateway", InternetGatewayId=gateway["InternetGatewayId"])


def _vpcs(sweep: Sweep) -> None:
    for vpc in sweep.items("DescribeVpcs", "Vpcs"):
        if not vpc["IsDefault"]:
            sweep.take("DeleteVpc", VpcId=vpc["VpcId"])


def _default_network(sweep: Sweep) -> None:
    """Lay the default VPC out anew unless it is as an account begins with it."""
    vpcs_left = [vpc["VpcId"] for vpc in sweep.items("DescribeVpcs", "Vpcs")]
    if vpcs_left and _as_made(sweep, vpcs_left[0]):
        return
    for subnet in sweep.items("DescribeSubnets", "Subnets"):
        sweep.take("DeleteSubnet", SubnetId=subnet["SubnetId"])
    for gateway in sweep.items("DescribeInternetGateways", "InternetGateways"):
        named = {"InternetGatewayId": gateway["InternetGatewayId"]}
        for link in gateway["Attachments"]:
            sweep.change("DetachInternetGateway", **named, VpcId=link["VpcId"])
        sweep.take("DeleteInternetGateway", **named)
    for vpc in vpcs_left:
        sweep.take("DeleteVpc", VpcId=vpc)
    add_default_vpc(sweep.txn, sweep.txn.account)


def _as_made(sweep: Sweep, vpc: str) -> bool:
    zones = [subnet["AvailabilityZone"] for subnet in sweep.items("DescribeSubnets", "Subnets")]
    tables = sweep.items("DescribeRouteTables", "RouteTables")
    ways = [route.get("GatewayId", "") for table in tables for route in table["Routes"] if route["State"] == "active"]
    query = select(vpcs.c.dns_support, vpcs.c.dns_hostnames).where(vpcs.c.id == vpc)
    changed = select(subnets.c.id).where(subnets.c.vpc == vpc, subnets.c.assign_ipv6)
    execute = sweep.txn.connection.execute
    return (
        sorted(zones) == sorted(sweep.txn.config.zones)
        and len(tables) == 1
        and any(way.startswith("igw-") for way in ways)
        and tuple(execute(query).one()) == (True, True)
        and execute(changed).first() is None
    )


def _tags(sweep: Sweep) -> None:
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    for tag in sweep.items("DescribeTags", "Tags"):
        found[tag["ResourceId"]].append({"Key": tag["Key"]})
    for resource, keys in found.items():
        sweep.change("DeleteTags", Resources=[resource], Tags=keys)


def _memories(sweep: Sweep) -> None:
    """Forget what no action takes away: instances that have ended, and the tokens of calls that made something."""
    execute, account = sweep.txn.connection.execute, sweep.txn.account
    for table in metadata.tables.values():
        if table.name.endswith("_tokens") and "account" in table.c:
            execute(delete(table).where(table.c.account == account))
    execute(delete(instances).where(instances.c.account == account, instances.c.state == "terminated"))


#: In order: what comes later may be needed by what comes before.
_STEPS: Sequence[Callable[[Sweep], None]] = (
    _addresses,
    _interfaces,
    _groups,
    _prefix_lists,
    _key_pairs,
    _images,
    _subnets,
    _route_tables,
    _internet_gateways,
    _vpcs,
    _default_network,
    _tags,
    _memories,
)
