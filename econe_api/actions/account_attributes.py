"""DescribeAccountAttributes: what an account may have."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.quotas import ELASTIC_IPS, GROUPS_PER_INTERFACE, INSTANCES
from econe_api.store.schema import vpcs
from econe_api.store.transaction import Transaction

#: Attributes that are quotas.  EC2-Classic is no more: its limit on addresses is that of VPCs.
_QUOTAS = {
    "vpc-max-security-groups-per-interface": GROUPS_PER_INTERFACE,
    "max-instances": INSTANCES,
    "max-elastic-ips": ELASTIC_IPS,
    "vpc-max-elastic-ips": ELASTIC_IPS,
}
_NAMES = ("supported-platforms", "default-vpc", *_QUOTAS)


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the attributes named, all when none is."""
    named = list(dict.fromkeys(call.params.get("AttributeNames") or _NAMES))
    for name in named:
        if name not in _NAMES:
            raise Ec2Error("InvalidParameterValue", f"Value ({name}) for parameter attributeName is invalid.")
    return {
        "AccountAttributes": [
            {"AttributeName": name, "AttributeValues": [{"AttributeValue": _value(name, txn)}]} for name in named
        ]
    }


def _value(name: str, txn: Transaction) -> str:
    if name in _QUOTAS:
        return str(txn.quota(_QUOTAS[name]))
    if name == "default-vpc":
        default = select(vpcs.c.id).where(vpcs.c.account == txn.account, vpcs.c.is_default)
        return txn.connection.scalar(default) or "none"
    return "VPC"
