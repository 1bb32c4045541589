"""How many SQL statements each call takes, in a small cloud and in a large one: the same, or it does not scale."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import event

from benchmarks.api_servers import ACCOUNT, prepare
from econe_api.actions import ACTIONS
from econe_api.call import Call, Caller
from econe_api.store.accounts import find_account
from econe_api.store.store import Store

_SIZES = {"small": 5, "large": 300}


class _Counted:
    """Calls actions on a store, each in its transaction, and counts what reaches the database."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._caller = Caller(find_account(store, ACCOUNT).account_id, "AKIABENCH")
        self.statements = 0
        event.listen(store.engine, "before_cursor_execute", self._note)

    def __call__(self, action: str, **params: Any) -> Mapping[str, Any]:
        call = Call(action, params, self._caller, "bench")
        entry = ACTIONS[action]
        with (self._store.write if entry.mutates else self._store.read)(call) as txn:
            return entry.handler(call, txn)

    def cost(self, action: str, **params: Any) -> int:
        """The statements of one call."""
        before = self.statements
        self(action, **params)
        return self.statements - before

    def _note(self, *_: object) -> None:
        self.statements += 1


def count() -> dict[str, dict[str, int]]:
    """Return the statements of each call, by the size of the cloud."""
    found: dict[str, dict[str, int]] = {}
    for size, rows in _SIZES.items():
        with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
            store = Store.open(prepare(Path(folder)))
            try:
                for action, statements in _costs(_Counted(store), rows):
                    found.setdefault(action, {})[size] = statements
            finally:
                store.close()
    return found


def _costs(call: _Counted, rows: int) -> list[tuple[str, int]]:
    subnet = call("DescribeSubnets")["Subnets"][0]
    interface = call("CreateNetworkInterface", SubnetId=subnet["SubnetId"])["NetworkInterface"]["NetworkInterfaceId"]
    allocations = [call("AllocateAddress")["AllocationId"] for _ in range(rows)]
    groups = [
        call("CreateSecurityGroup", GroupName=f"g{n}", Description="bench", VpcId=subnet["VpcId"])["GroupId"]
        for n in range(rows)
    ]
    permission = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    for group in groups[1:]:
        call("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=[permission])
    return [
        ("AllocateAddress", call.cost("AllocateAddress")),
        ("AssociateAddress", call.cost("AssociateAddress", AllocationId=allocations[0], NetworkInterfaceId=interface)),
        (
            "AuthorizeSecurityGroupIngress",
            call.cost("AuthorizeSecurityGroupIngress", GroupId=groups[0], IpPermissions=[permission]),
        ),
        (
            "ModifyNetworkInterfaceAttribute",
            call.cost("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=interface, Groups=groups[:2]),
        ),
        (
            "CreateTags",
            call.cost("CreateTags", Resources=allocations[:1], Tags=[{"Key": "name", "Value": "bench"}]),
        ),
        ("DescribeSecurityGroups", call.cost("DescribeSecurityGroups")),
        ("DescribeAddresses", call.cost("DescribeAddresses")),
    ]
