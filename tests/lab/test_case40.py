"""Case 40: whatever the API is asked, in whatever order, the switches enforce what the store says.

Random histories of API calls, of the compute worker's doings and of agents' reports; after each one the flows are those
of a from-scratch compile of the store, and at checkpoints every verdict of real Open vSwitch is the oracle's.
"""

import os
import random
import shutil
import tempfile
import uuid
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from controller.bindings import Binding, HostPorts
from controller.desired import Desired
from controller.world import World
from econe_api.actions import ACTIONS
from econe_api.call import Call, Caller
from econe_api.compute import rows
from econe_api.config import parse
from econe_api.errors import Ec2Error
from econe_api.store.accounts import create_account
from econe_api.store.feed import Feed
from econe_api.store.pools import create_pool
from econe_api.store.records import InterfaceRecord
from econe_api.store.store import Store
from flowrules import tables
from flowrules.addresses import mac_to_int
from flowrules.text import flow_text
from topologies.dummy_switch import DummySwitch
from topologies.oracle import State, questions
from topologies.verdicts import BridgePorts, Tracer, Wiring, guests, mismatches

#: Histories per run, their length, and packets asked about at a checkpoint.
EXAMPLES = int(os.environ.get("SLUICE_CASE40_EXAMPLES", "25"))
STEPS = int(os.environ.get("SLUICE_CASE40_STEPS", "40"))
ASKED = int(os.environ.get("SLUICE_CASE40_ASKED", "120"))

HOSTS = ("hv1", "hv2")
UPLINK, FABRIC, FIRST = 1, 2, 10
#: Ports of a bridge; more than instances fit, since the port of one that has ended may outlive it.
PORTS = 12
ROUTER_MAC = "02:00:00:00:00:fe"
TENANTS = 2

picks = st.integers(0, 1 << 10)
ports = st.sampled_from([0, 1, 22, 79, 80, 81, 443, 1024, 65535])
spans = st.tuples(ports, ports).map(sorted)
services = (
    st.tuples(st.sampled_from(["tcp", "udp"]), spans).map(lambda pair: (pair[0], *pair[1]))
    | st.sampled_from([("icmp", -1, -1), ("icmp", 8, -1), ("icmp", 3, 4), ("47", None, None)])
    | st.just(("-1", None, None))
)
cidrs = st.sampled_from(
    ["0.0.0.0/0", "198.51.100.0/24", "198.51.100.7/32", "203.0.113.0/24", "203.0.113.10/32", "172.31.0.0/20"]
)


def make_store(folder):
    """A cloud of two hypervisors, one elastic IP for each instance and two tenants; gives their account ids."""
    hypervisors = [
        {"name": name, "zone": f"us-east-1{zone}", "vcpus": 5, "memory_mib": 16384}
        for name, zone in zip(HOSTS, "ab", strict=True)
    ]
    document = {"state": str(folder), "database": f"sqlite:///{folder / 'sluice.db'}", "hypervisor": hypervisors}
    store = Store.open(parse(document, "test", folder))
    create_pool(
        store,
        name="public",
        cidr="203.0.113.0/24",
        gateway="203.0.113.1",
        gateway_mac=ROUTER_MAC,
        first="203.0.113.10",
        last="203.0.113.17",
    )
    return store, [create_account(store, f"tenant {number}").account_id for number in range(TENANTS)]


def every_flow(world):
    """The flows of each host as if nothing had ever been known of it."""
    found = {}
    for host in HOSTS:
        desired = Desired(host)
        desired.update(world.index, set(world.keys(host)))
        assert not desired.problems
        found[host] = desired.flows
    return found


class Histories(RuleBasedStateMachine):
    """Tenants call, the worker works, agents report, the controller follows."""

    def __init__(self, switch):
        super().__init__()
        self.switch = switch
        self.folder = Path(tempfile.mkdtemp(prefix="sluice-case40-"))
        self.store, self.accounts = make_store(self.folder)
        self.feed = Feed(self.store.engine)
        self.world = World()
        self.desired = {host: Desired(host) for host in HOSTS}
        self.plugged = {host: {} for host in HOSTS}
        self.hasty = True  # does the controller follow every single revision?

    def teardown(self):
        try:
            self.checkpoint(seed=len(self.world.index.interfaces))
        finally:
            self.store.close()
            shutil.rmtree(self.folder)

    # The API.

    def call(self, who, action, **params):
        """One call; a refusal is an answer like any other and changes nothing."""
        call = Call(action, params, Caller(self.accounts[who % TENANTS], "AKIATEST"), str(uuid.uuid4()))
        entry = ACTIONS[action]
        try:
            with (self.store.write if entry.mutates else self.store.read)(call) as txn:
                return entry.handler(call, txn)
        except Ec2Error as error:
            event(f"{action}: {error.code}")
            return None

    def groups(self, who):
        found = self.call(who, "DescribeSecurityGroups")["SecurityGroups"]
        return sorted(group["GroupId"] for group in found)

    def instances(self, who, *states):
        found = self.call(who, "DescribeInstances")["Reservations"]
        every = [instance for reservation in found for instance in reservation["Instances"]]
        return sorted(item["InstanceId"] for item in every if not states or item["State"]["Name"] in states)

    def addresses(self, who):
        return sorted(self.call(who, "DescribeAddresses")["Addresses"], key=lambda address: address["PublicIp"])

    @rule(
        who=picks, groups=st.lists(picks, min_size=1, max_size=3), zone=st.sampled_from("ab"), count=st.integers(1, 2)
    )
    def run(self, who, groups, zone, count):
        known = self.groups(who)
        self.call(
            who,
            "RunInstances",
            ImageId=self.store.config.images[0].id,
            InstanceType="t2.nano",
            MinCount=1,
            MaxCount=count,
            SecurityGroupIds=sorted({known[pick % len(known)] for pick in groups}),
            Placement={"AvailabilityZone": f"us-east-1{zone}"},
        )

    @rule(who=picks, pick=picks)
    def terminate(self, who, pick):
        if living := self.instances(who, "pending", "running"):
            self.call(who, "TerminateInstances", InstanceIds=[living[pick % len(living)]])

    @rule(who=picks, pick=picks, groups=st.lists(picks, min_size=1, max_size=3))
    def other_groups(self, who, pick, groups):
        known = self.groups(who)
        if living := self.instances(who):
            wanted = sorted({known[pick % len(known)] for pick in groups})
            self.call(who, "ModifyInstanceAttribute", InstanceId=living[pick % len(living)], Groups=wanted)

    @rule(who=picks, name=st.sampled_from(["web", "database", "client"]))
    def create_group(self, who, name):
        self.call(who, "CreateSecurityGroup", GroupName=name, Description="a group")

    @rule(who=picks, pick=picks)
    def delete_group(self, who, pick):
        known = self.groups(who)
        self.call(who, "DeleteSecurityGroup", GroupId=known[pick % len(known)])

    @rule(
        who=picks,
        pick=picks,
        direction=st.sampled_from(["Ingress", "Ingress", "Egress"]),
        service=services,
        remote=cidrs | picks,
        revoked=st.sampled_from([False, False, False, True]),
    )
    def permit(self, who, pick, direction, service, remote, revoked):
        known = self.groups(who)
        protocol, first, last = service
        permission = {"IpProtocol": protocol}
        if first is not None:
            permission |= {"FromPort": first, "ToPort": last}
        if isinstance(remote, str):
            permission["IpRanges"] = [{"CidrIp": remote}]
        else:
            permission["UserIdGroupPairs"] = [{"GroupId": known[remote % len(known)]}]
        action = f"{'Revoke' if revoked else 'Authorize'}SecurityGroup{direction}"
        self.call(who, action, GroupId=known[pick % len(known)], IpPermissions=[permission])

    @rule(who=picks, pick=picks)
    def revoke(self, who, pick):
        """One of the rules that are there."""
        if known := self.call(who, "DescribeSecurityGroupRules")["SecurityGroupRules"]:
            gone = sorted(known, key=lambda item: item["SecurityGroupRuleId"])[pick % len(known)]
            action = f"RevokeSecurityGroup{'Egress' if gone['IsEgress'] else 'Ingress'}"
            self.call(who, action, GroupId=gone["GroupId"], SecurityGroupRuleIds=[gone["SecurityGroupRuleId"]])

    @rule(who=picks)
    def allocate(self, who):
        self.call(who, "AllocateAddress", Domain="vpc")

    @rule(who=picks, pick=picks, instance=picks, moves=st.booleans())
    def associate(self, who, pick, instance, moves):
        mine, living = self.addresses(who), self.instances(who, "running")
        if mine and living:
            allocation = mine[pick % len(mine)]["AllocationId"]
            target = living[instance % len(living)]
            self.call(who, "AssociateAddress", AllocationId=allocation, InstanceId=target, AllowReassociation=moves)

    @rule(who=picks, pick=picks, released=st.booleans())
    def let_go(self, who, pick, released):
        if mine := self.addresses(who):
            address = mine[pick % len(mine)]
            self.call(who, "DisassociateAddress", PublicIp=address["PublicIp"])
            if released:
                self.call(who, "ReleaseAddress", AllocationId=address["AllocationId"])

    # The compute worker and the agents.

    def write(self, change, instance):
        with self.store.write(rows.worker_call()) as txn:
            change(txn, instance)

    def rows(self):
        with self.store.read(rows.worker_call()) as txn:
            return rows.load(txn.connection)

    def report(self, host):
        """The agent's snapshot as things are plugged now."""
        known = HostPorts(HOSTS.index(host) + 1, "br-int", UPLINK, FABRIC, dict(self.plugged[host]))
        self.take(self.world.bind(host, known))

    @rule(pick=picks, fails=st.sampled_from([False] * 5 + [True]), report_first=st.booleans())
    def launch(self, pick, fails, report_first):
        """A pending instance comes up, or cannot; its port is seen before or after its row says so."""
        waiting = [row for row in self.rows() if row.state == rows.PENDING]
        if not waiting:
            return
        row = waiting[pick % len(waiting)]
        if fails:
            self.write(partial(rows.set_failed, code="Server.InternalError", reason="no luck"), row.id)
            return
        ends = [partial(self.write, rows.set_running, row.id), partial(self.plug, row.spec)]
        for end in reversed(ends) if report_first else ends:
            end()

    def plug(self, spec):
        mine = self.plugged[spec.host]
        for link in spec.interfaces:
            # The lowest free number, so that numbers come again.
            taken = {binding.ofport for binding in mine.values()}
            ofport = next(number for number in range(FIRST, FIRST + PORTS) if number not in taken)
            mine[link.id] = Binding(ofport, mac_to_int(link.mac))
        self.report(spec.host)

    @rule(pick=picks, report_first=st.booleans())
    def end(self, pick, report_first):
        """An instance that shall end does; its port goes before or after its row says so."""
        ending = [row for row in self.rows() if row.state == rows.SHUTTING_DOWN]
        if ending:
            row = ending[pick % len(ending)]
            ends = [partial(self.write, rows.set_terminated, row.id), partial(self.unplug, row.spec.host)]
            for end in reversed(ends) if report_first else ends:
                end()

    def unplug(self, host):
        """Ports without an interface in the store go."""
        known = {link.id for row in self.rows() for link in row.spec.interfaces}
        for key in self.plugged[host].keys() - known:
            del self.plugged[host][key]
        self.report(host)

    @rule(host=st.sampled_from(HOSTS))
    def repeat_a_report(self, host):
        self.report(host)

    # The controller.

    def take(self, dirty):
        for host, keys in dirty.items():
            self.desired[host].update(self.world.index, keys)

    def follow(self):
        self.take(self.world.apply(self.feed.since(self.world.revision)))

    @rule(hasty=st.booleans())
    def change_pace(self, hasty):
        self.hasty = hasty

    @rule()
    def old_changes_are_trimmed(self):
        """A follower that is behind gets everything anew."""
        self.feed.trim(keep=0)

    @rule()
    def controller_restarts(self):
        self.world = World()
        self.desired = {host: Desired(host) for host in HOSTS}
        self.take(self.world.apply(self.feed.snapshot()))
        for host in HOSTS:
            self.report(host)

    @initialize(rng=st.randoms(use_true_random=True))
    def a_busy_cloud(self, rng):
        """Begin where things can go wrong: both tenants have running instances with groups and addresses."""
        for host in HOSTS:
            self.report(host)
        for who in range(TENANTS):
            self.create_group(who, "web")
            for host in "ab":
                self.run(who, [rng.randrange(4)], host, 1)
        for _ in range(2 * TENANTS):
            self.launch(0, fails=False, report_first=rng.random() < 0.5)
        for who in range(TENANTS):
            self.allocate(who)
            self.associate(who, 0, rng.randrange(4), moves=True)
            for number, service in enumerate([("tcp", 80, 81), ("icmp", -1, -1), ("udp", 53, 53), ("-1", None, None)]):
                # Each of the two groups admits members of one of them, and somebody by address.
                self.permit(who, number, "Ingress", service, rng.choice([0, 1]), revoked=False)
                self.permit(who, number, "Ingress", service, rng.choice(["0.0.0.0/0", "172.31.0.0/20"]), revoked=False)

    # What must hold.

    @invariant()
    def flows_equal_a_from_scratch_compile(self):
        if not self.hasty:
            return
        self.follow()
        self.compare()

    def compare(self):
        fresh = World()
        fresh.apply(self.feed.snapshot())
        for host, known in self.world.index.hosts.items():
            fresh.bind(host, known)
        for host, flows in every_flow(fresh).items():
            assert self.desired[host].flows == flows, host
            assert self.desired[host].problems == {}
            for flow in flows.values():
                tables.check(flow)

    @rule(seed=picks)
    def checkpoint(self, seed):
        """The controller catches up; real switches are told its flows and asked about packets."""
        self.follow()
        self.compare()
        state, ofports = self.state()
        for host in HOSTS:
            self.switch.replace_flows(host, map(flow_text, self.desired[host].flows.values()))
        bridges = {host: BridgePorts(host, UPLINK, FABRIC) for host in HOSTS}
        tracer = Tracer(self.switch, Wiring(bridges, guests(state, ofports), ROUTER_MAC))
        found = list(mismatches(tracer, state, questions(state, random.Random(seed), ASKED)))
        assert found == []

    def state(self):
        """What the oracle is told: the store's records, and where the guests are by the guests' own word."""
        records = tuple(change.record for change in self.feed.snapshot().changes)
        living = {record.id for record in records if isinstance(record, InterfaceRecord)}
        places = {
            key: (host, binding.ofport)
            for host, bindings in self.plugged.items()
            for key, binding in bindings.items()
            if key in living
        }
        hosts = {key: host for key, (host, _) in places.items()}
        return State(records, hosts, frozenset(HOSTS), frozenset(HOSTS)), {
            key: port for key, (_, port) in places.items()
        }


@pytest.fixture(scope="module")
def switch():
    folder = Path(tempfile.mkdtemp(prefix="sluice-case40-"))
    try:
        with DummySwitch(folder) as running:
            for host in HOSTS:
                running.add_bridge(host, [UPLINK, FABRIC, *range(FIRST, FIRST + PORTS)])
            yield running
    finally:
        shutil.rmtree(folder)


def histories(switch, **more):
    kept = {"stateful_step_count": STEPS, "deadline": None, "suppress_health_check": list(HealthCheck)}
    run_state_machine_as_test(partial(Histories, switch), settings=settings(**kept | more, report_multiple_bugs=False))


@pytest.mark.timeout(900)  # a failure takes its time to become small
def test_case40(switch):
    histories(switch, max_examples=EXAMPLES, print_blob=True)


def test_case40_can_fail(switch, monkeypatch):
    """A controller that does not tell hosts of new members of a group is found out."""
    monkeypatch.setattr(World, "_mark_memberships", lambda *_: None)
    with pytest.raises(AssertionError):
        histories(switch, max_examples=200, phases=[Phase.generate], derandomize=True, database=None)
