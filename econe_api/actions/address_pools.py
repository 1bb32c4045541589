"""DescribePublicIpv4Pools: the pools that elastic IPs come from."""

from __future__ import annotations

from typing import Any

from econe_api.actions import pagination
from econe_api.actions.filters import Filters
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.pools import Pool, read_pools
from econe_api.store.transaction import Transaction

#: How EC2 calls its own pool: any pool of this cloud.
ANY = "amazon"


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the cloud's pools by name, with how many addresses are free; all accounts see and use all of them."""
    params = call.params
    pagination.check(params, bounds=(1, 10))
    filters: Filters[Pool] = Filters(params.get("Filters"), {}, tagged=True)
    pools = {pool.name: pool for pool in read_pools(txn.connection)}
    wanted = list(dict.fromkeys(params.get("PoolIds") or ()))
    for name in wanted:
        if name not in pools:
            raise not_found(name)
    found = [pool for pool in pools.values() if (not wanted or pool.name in wanted) and filters.matches(pool)]
    shown, token = pagination.page(found, lambda pool: (pool.name,), params, call.action)
    answer = [_shape(pool, txn.config.region) for pool in shown]
    return {"PublicIpv4Pools": answer} | ({"NextToken": token} if token else {})


def not_found(name: str) -> Ec2Error:
    """The error for a pool that is not there."""
    return Ec2Error("InvalidPublicIpv4PoolID.NotFound", f"The pool ID '{name}' does not exist")


def _shape(pool: Pool, region: str) -> dict[str, Any]:
    total = pool.free + pool.used
    return {
        "PoolId": pool.name,
        "Description": f"{pool.cidr} by {pool.gateway}",
        "PoolAddressRanges": [
            {
                "FirstAddress": pool.first,
                "LastAddress": pool.last,
                "AddressCount": total,
                "AvailableAddressCount": pool.free,
            }
        ],
        "TotalAddressCount": total,
        "TotalAvailableAddressCount": pool.free,
        "NetworkBorderGroup": region,
        "Tags": [],
    }
