"""A launch that names its hypervisor, where the operator lets it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from econe_api.store.schema import instances


@pytest.fixture
def pinning(tenant: Any, reconfigure: Any) -> None:
    reconfigure(compute=replace(tenant.store.config.compute, host_pinning=True))


def _asked(tenant: Any, **placement: str) -> dict[str, Any]:
    image = tenant.store.config.images[0].id
    return {"ImageId": image, "InstanceType": "t2.nano", "MinCount": 1, "MaxCount": 1, "Placement": placement}


def test_it_goes_where_it_is_told_or_nowhere(tenant: Any, refused: Any, pinning: None) -> None:
    for host in tenant.store.config.hypervisors:
        made = tenant("RunInstances", **_asked(tenant, HostId=host.name))["Instances"][0]
        with tenant.store.engine.connect() as connection:
            query = select(instances.c.host).where(instances.c.id == made["InstanceId"])
            assert connection.scalar(query) == host.name
        assert made["Placement"]["AvailabilityZone"] == host.zone
    first, second = tenant.store.config.hypervisors[:2]
    elsewhere = _asked(tenant, HostId=first.name, AvailabilityZone=second.zone)
    refused(tenant, "InsufficientInstanceCapacity", "RunInstances", status=500, **elsewhere)
    many = _asked(tenant, HostId=first.name) | {"InstanceType": "m5.large", "MinCount": 15, "MaxCount": 15}
    refused(tenant, "InsufficientInstanceCapacity", "RunInstances", status=500, **many)
    refused(tenant, "InvalidHostID.NotFound", "RunInstances", **_asked(tenant, HostId="h-0"))


def test_names_of_hypervisors_are_no_business_of_accounts_otherwise(tenant: Any, refused: Any) -> None:
    name = tenant.store.config.hypervisors[0].name
    refused(tenant, "UnsupportedOperation", "RunInstances", **_asked(tenant, HostId=name))
