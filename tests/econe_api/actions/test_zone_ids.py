"""Ids of availability zones."""

from __future__ import annotations

from pathlib import Path

import pytest

from econe_api.actions import zones
from econe_api.config import parse


@pytest.mark.parametrize(
    ("region", "stem"),
    [
        ("us-east-1", "use1"),
        ("ap-southeast-2", "apse2"),
        ("eu-central-1", "euc1"),
        ("us-gov-west-1", "usgw1"),
        ("basement", "basement"),
        ("my-rack-7", "my-rack-7"),
        ("us-east-one", "us-east-one"),
    ],
)
def test_zone_ids(region: str, stem: str) -> None:
    names = [f"{region}b", f"{region}a"]
    hypervisors = [{"name": f"h{zone[-1]}", "zone": zone, "vcpus": 1, "memory_mib": 512} for zone in names]
    config = parse({"region": region, "hypervisor": hypervisors}, "test", Path("/"))
    assert zones.ids(config) == {f"{region}a": f"{stem}-az1", f"{region}b": f"{stem}-az2"}
