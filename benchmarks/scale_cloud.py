"""A big cloud's store, and which port is where: accounts with a VPC each, their instances, groups and addresses.

Everything goes through the API's own actions, in bulk and in this process; only that the instances have been started,
and where, is written into their rows afterwards, as the compute worker would.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import event, select, update

from benchmarks.scale_switch import BridgePlan, Plug
from econe_api.actions import ACTIONS
from econe_api.call import Call, Caller
from econe_api.config import Config, load
from econe_api.store import quotas
from econe_api.store.accounts import NewAccount, create_account
from econe_api.store.pools import create_pool
from econe_api.store.schema import instances, interfaces
from econe_api.store.store import Store
from topologies.control_plane import Keys, free_port

PER_HOST = 16
_TENANT = 120
"""Instances of a tenant: they fill a few hosts."""
_IMAGE = "ami-0123456789abcdef0"
_ENOUGH = 1_000_000
_MOST_RULES = 1_000  # of a group; as many as a quota may say
_BATCH = 1000
_PUBLIC = ("198.18.0.0/16", "198.18.0.1", "02:00:00:00:ff:01", "198.18.1.0", "198.18.63.255")


@dataclass(frozen=True, slots=True)
class Guest:
    """An instance and its one interface; ``host`` "" = it is stopped and plugged in nowhere."""

    instance: str
    interface: str
    mac: str
    host: str


@dataclass(frozen=True, slots=True)
class Tenant:
    """An account with its VPC's instances."""

    keys: Keys
    caller: Caller
    vpc: str
    guests: tuple[Guest, ...]


@dataclass(slots=True)
class Census:
    """What there is: ``everywhere`` has one instance on each host, in the group ``shared``, which is theirs alone."""

    hosts: tuple[str, ...]
    everywhere: Tenant
    shared: str
    tenants: list[Tenant] = field(default_factory=list)
    extra: list[Guest] = field(default_factory=list)
    """Instances beyond the 16 of a host that a benchmark has added."""

    @property
    def plans(self) -> list[BridgePlan]:
        """The bridges, with what is plugged in."""
        plugs: defaultdict[str, list[Plug]] = defaultdict(list)
        guests = [guest for tenant in (self.everywhere, *self.tenants) for guest in tenant.guests]
        for guest in [*guests, *self.extra]:
            plugs[guest.host].append(Plug(guest.interface, guest.mac, guest.instance))
        return [BridgePlan(host, number, tuple(plugs[host])) for number, host in enumerate(self.hosts, 1)]


def configure(folder: Path, hosts: int, threads: int) -> Config:
    """Write the configuration of a cloud with ``hosts`` hypervisors that have room for anything.

    ``threads`` answer calls.
    """
    lines = [
        f'state = "{folder / "state"}"',
        "acknowledge_timeout = 30",
        "[api]",
        f'bind = "127.0.0.1:{free_port(0)}"',
        f"threads = {threads}",
        "[controller]",
        f'agent_listen = "127.0.0.1:{free_port(0)}"',
        "audit_interval = 0",
    ]
    for number in range(1, hosts + 1):
        lines += ["[[hypervisor]]", f'name = "h{number:03}"', "vcpus = 1000000", "memory_mib = 1000000000"]
    file = folder / "sluice.toml"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load(file)


class Filler:
    """Calls actions on a store, each in its transaction, and counts what reaches the database."""

    def __init__(self, config: Config, progress: Callable[[str], None]) -> None:
        self.store = Store.open(config)
        self.statements = 0
        self._config = config
        self._progress = progress
        event.listen(self.store.engine, "before_cursor_execute", self._note)

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def call(self, caller: Caller, action: str, **params: Any) -> Mapping[str, Any]:
        """Call an action as ``caller``."""
        call = Call(action, params, caller, f"bench-{time.monotonic_ns()}")
        entry = ACTIONS[action]
        with (self.store.write if entry.mutates else self.store.read)(call) as txn:
            return entry.handler(call, txn)

    def cost(self, caller: Caller, action: str, **params: Any) -> int:
        """The SQL statements of one call's transaction."""
        before = self.statements
        self.call(caller, action, **params)
        return self.statements - before

    def fill(self, vms: int) -> Census:
        """Make ``vms`` instances, 16 a host: one of each host belongs to a VPC that is on all hosts."""
        create_pool(self.store, "public", *_PUBLIC)
        names = tuple(one.name for one in self._config.hypervisors)
        room = dict.fromkeys(names, PER_HOST)
        everywhere = self._tenant("everywhere", list(names), room)
        shared = self.group(everywhere, "shared")
        for guest in everywhere.guests:
            self.call(
                everywhere.caller,
                "ModifyNetworkInterfaceAttribute",
                NetworkInterfaceId=guest.interface,
                Groups=[shared],
            )
        census = Census(names, everywhere, shared)
        places = [name for name in names for _ in range(room[name])]
        left = vms - len(names)
        while left > 0:
            size = min(_TENANT, left)
            mine, places = places[:size], places[size:]
            census.tenants.append(self._tenant(f"tenant{len(census.tenants)}", mine, room))
            left -= size
            if len(census.tenants) % 10 == 0:
                self._progress(f"{vms - left} of {vms} instances in the store")
        return census

    def group(self, tenant: Tenant, name: str) -> str:
        """Make a group in the tenant's VPC; return its id."""
        made = self.call(
            tenant.caller, "CreateSecurityGroup", GroupName=name, Description="benchmark", VpcId=tenant.vpc
        )
        return str(made["GroupId"])

    def crowd(self, vpc: str, subnet: str, caller: Caller, group: str, count: int) -> None:
        """Make ``count`` stopped instances in the group: members that are plugged in nowhere."""
        for start in range(0, count, _BATCH):
            size = min(_BATCH, count - start)
            self._launch(caller, [""] * size, SubnetId=subnet, SecurityGroupIds=[group])
            self._progress(f"{start + size} of {count} members in {vpc}")

    def account(self, name: str) -> tuple[NewAccount, Caller]:
        """Make an account with room for everything."""
        made = create_account(self.store, name)
        for quota in (quotas.INSTANCES, quotas.ELASTIC_IPS, quotas.NETWORK_INTERFACES):
            quotas.set_quota(self.store, made.account_id, quota, _ENOUGH)
        quotas.set_quota(self.store, made.account_id, quotas.INBOUND_RULES, _MOST_RULES)
        return made, Caller(made.account_id, made.access_key_id)

    def _tenant(self, name: str, hosts: list[str], room: dict[str, int]) -> Tenant:
        made, caller = self.account(name)
        for host in hosts:
            room[host] -= 1
        subnet = self.call(caller, "DescribeSubnets")["Subnets"][0]
        guests = self._launch(caller, hosts, SubnetId=subnet["SubnetId"])
        return Tenant(Keys(made.access_key_id, made.secret), caller, str(subnet["VpcId"]), tuple(guests))

    def launch(self, tenant: Tenant, host: str, group: str, subnet: str) -> Guest:
        """One more instance on ``host``; for before the switches are made."""
        return self._launch(tenant.caller, [host], SubnetId=subnet, SecurityGroupIds=[group])[0]

    def _launch(self, caller: Caller, hosts: list[str], **params: Any) -> list[Guest]:
        """Run instances and note them as started on ``hosts``, as stopped where that is ""."""
        count = len(hosts)
        params = {"ImageId": _IMAGE, "InstanceType": "m1.small", "MinCount": count, "MaxCount": count, **params}
        made = self.call(caller, "RunInstances", **params)["Instances"]
        guests = []
        with self.store.write(Call("Started", {}, caller, f"bench-{time.monotonic_ns()}")) as txn:
            for host, one in zip(hosts, made, strict=True):
                link = one["NetworkInterfaces"][0]
                guests.append(Guest(one["InstanceId"], link["NetworkInterfaceId"], link["MacAddress"], host))
            ids = [guest.instance for guest in guests]
            state = "running" if hosts[0] else "stopped"
            txn.connection.execute(update(instances).where(instances.c.id.in_(ids)).values(state=state))
            linked = update(interfaces).where(interfaces.c.instance.in_(ids))
            txn.connection.execute(linked.values(attachment_state="attached"))
            for host in {guest.host for guest in guests} - {""}:
                mine = [guest.instance for guest in guests if guest.host == host]
                txn.connection.execute(update(instances).where(instances.c.id.in_(mine)).values(host=host))
        return guests

    def count_instances(self) -> int:
        """How many instances run."""
        with self.store.engine.connect() as connection:
            return len(connection.execute(select(instances.c.id).where(instances.c.state == "running")).all())

    def _note(self, *_: object) -> None:
        self.statements += 1
