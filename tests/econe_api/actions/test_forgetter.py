"""Instances that ended long ago go, with all that hangs on them; what living ones have, and the books, stay."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from econe_api.actions import instance_rows, launch
from econe_api.call import Call
from econe_api.compute import forgetter, rows
from econe_api.compute.forgetter import KEPT, Forgetter
from econe_api.store.errors import StoreUnavailableError
from econe_api.store.history_tables import address_history
from econe_api.store.metadata_tables import metadata_options
from econe_api.store.opennebula_tables import opennebula_vms
from econe_api.store.schema import audit, instances, interfaces, tags
from econe_api.store.store import Store

_BOOKS = ("audit", "address_history")
_TAGS = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "web"}]}]


def end(tenant: Any, *ids: str) -> None:
    """End instances (the compute worker's part is done here)."""
    tenant("TerminateInstances", InstanceIds=list(ids))
    with tenant.store.write(rows.worker_call()) as txn:
        for instance in ids:
            rows.set_terminated(txn, instance)


def count(store: Store, table: Any) -> int:
    with store.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def test_a_cloud_that_churns_is_as_small_as_before(tenant: Any, cloud: Store, clock: Any, dump: Any) -> None:
    living = tenant.run(TagSpecifications=_TAGS, MetadataOptions={"HttpTokens": "required"})["InstanceId"]
    before = dump()
    public = tenant("AllocateAddress", Domain="vpc")
    for number in range(3):
        asked = {"TagSpecifications": _TAGS, "MetadataOptions": {"HttpTokens": "required"}}
        instance = tenant.run(ClientToken=f"t{number}", **asked)["InstanceId"]
        tenant("AssociateAddress", AllocationId=public["AllocationId"], InstanceId=instance)
        end(tenant, instance)
    tenant("ReleaseAddress", AllocationId=public["AllocationId"])
    clock.advance(seconds=KEPT.total_seconds() - 1)
    assert Forgetter(cloud).turn() == 0
    clock.advance(seconds=1)
    written, periods = count(cloud, audit), count(cloud, address_history)
    assert Forgetter(cloud).turn() == 3
    after = dump()
    assert periods > 3
    assert (count(cloud, audit), count(cloud, address_history)) == (written + 1, periods)
    transient = {*_BOOKS, "changes", "counters", "client_tokens", "addresses"}
    assert {name for name in after if after[name] != before[name]} <= transient
    assert [row[0] for row in after["instances"]] == [living]
    assert count(cloud, tags) == count(cloud, metadata_options) == 1
    assert Forgetter(cloud).turn() == 0
    assert count(cloud, audit) == written + 1  # looking alone is not written down


def test_many_go_in_small_transactions(tenant: Any, cloud: Store, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetter, "BATCH", 2)
    ended = [item["InstanceId"] for item in tenant("RunInstances", **_asked(cloud, 5))["Instances"]]
    end(tenant, *ended)
    clock.advance(seconds=KEPT.total_seconds())
    written = count(cloud, audit)
    assert Forgetter(cloud).turn() == 5
    assert (count(cloud, instances), count(cloud, audit)) == (0, written + 3)


def test_what_something_holds_waits_and_keeps_no_other_waiting(tenant: Any, cloud: Store, clock: Any) -> None:
    plugged, bound, free = (item["InstanceId"] for item in tenant("RunInstances", **_asked(cloud, 3))["Instances"])
    end(tenant, plugged, bound, free)
    kept = tenant.interface()["NetworkInterfaceId"]
    with cloud.write(rows.worker_call()) as txn:
        txn.connection.execute(interfaces.update().where(interfaces.c.id == kept).values(instance=plugged))
        txn.connection.execute(insert(opennebula_vms).values(instance=bound, vm=1, born=1, started=True))
    clock.advance(seconds=KEPT.total_seconds())
    assert Forgetter(cloud).turn() == 1
    with cloud.engine.connect() as connection:
        assert set(connection.scalars(select(instances.c.id))) == {plugged, bound}


def test_a_stopped_instance_is_kept_for_ever(tenant: Any, cloud: Store, clock: Any, states: Any) -> None:
    instance = tenant.run()["InstanceId"]
    states("stopped", instance, stopped=clock.now)
    clock.advance(days=365)
    assert Forgetter(cloud).turn() == 0


def test_it_works_by_itself_and_a_store_that_is_away_does_not_end_it(
    tenant: Any, cloud: Store, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    end(tenant, tenant.run()["InstanceId"])
    clock.advance(seconds=KEPT.total_seconds())
    failed, real = threading.Event(), cloud.read

    def away(call: Call) -> Any:
        monkeypatch.setattr(cloud, "read", real)
        failed.set()
        raise StoreUnavailableError("away")

    monkeypatch.setattr(cloud, "read", away)
    working = Forgetter(cloud, interval=0.01)
    working.start()
    deadline = time.monotonic() + 30
    while count(cloud, instances) and time.monotonic() < deadline:
        time.sleep(0.01)
    working.stop()
    assert failed.is_set()
    assert count(cloud, instances) == 0


def test_nothing_is_forgotten_that_a_call_may_still_show() -> None:
    assert instance_rows._SHOWN_AFTER_END + launch._TOKEN_LIFE <= KEPT


def _asked(cloud: Store, number: int) -> dict[str, Any]:
    return {
        "ImageId": cloud.config.images[0].id,
        "InstanceType": "t2.nano",
        "MinCount": number,
        "MaxCount": number,
        "TagSpecifications": _TAGS,
    }
