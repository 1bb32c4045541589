"""Case 40 with network interfaces that come, go and move, and with several addresses each."""

import importlib.util
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from controller.bindings import Binding
from econe_api.compute import rows
from flowrules.addresses import mac_to_int
from topologies.dummy_switch import DummySwitch

# Tests are no package, so the machine that this one adds to is loaded by its path.
_SPEC = importlib.util.spec_from_file_location("case40", Path(__file__).with_name("test_case40.py"))
case40 = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(case40)

EXAMPLES = max(1, case40.EXAMPLES // 3)
picks = case40.picks


class Histories(case40.Histories):
    """Tenants make interfaces, plug them in and out, and give addresses to them."""

    def interfaces(self, who, *states):
        found = self.call(who, "DescribeNetworkInterfaces")["NetworkInterfaces"]
        return sorted(
            (shown for shown in found if not states or shown["Status"] in states),
            key=lambda shown: shown["NetworkInterfaceId"],
        )

    @rule(who=picks, groups=st.lists(picks, min_size=1, max_size=2), zone=picks, further=st.integers(0, 1))
    def create_interface(self, who, groups, zone, further):
        known = self.groups(who)
        subnets = sorted({shown["SubnetId"] for shown in self.interfaces(who)})
        if subnets and len(self.interfaces(who, "available")) < 3:
            self.call(
                who,
                "CreateNetworkInterface",
                SubnetId=subnets[zone % len(subnets)],
                Groups=sorted({known[pick % len(known)] for pick in groups}),
                SecondaryPrivateIpAddressCount=further,
            )

    @rule(who=picks, pick=picks)
    def delete_interface(self, who, pick):
        if mine := self.interfaces(who):
            self.call(who, "DeleteNetworkInterface", NetworkInterfaceId=mine[pick % len(mine)]["NetworkInterfaceId"])

    @rule(who=picks, pick=picks, instance=picks)
    def attach(self, who, pick, instance):
        free, living = self.interfaces(who, "available"), self.instances(who, "running")
        if free and living:
            asked = {"InstanceId": living[instance % len(living)], "DeviceIndex": 1}
            interface = free[pick % len(free)]["NetworkInterfaceId"]
            self.call(who, "AttachNetworkInterface", NetworkInterfaceId=interface, **asked)

    @rule(who=picks, pick=picks)
    def detach(self, who, pick):
        if mine := self.interfaces(who, "in-use"):
            attachment = mine[pick % len(mine)]["Attachment"]["AttachmentId"]
            self.call(who, "DetachNetworkInterface", AttachmentId=attachment)

    @rule(who=picks, pick=picks, groups=st.lists(picks, min_size=1, max_size=2))
    def other_groups_of_an_interface(self, who, pick, groups):
        known = self.groups(who)
        if mine := self.interfaces(who):
            interface = mine[pick % len(mine)]["NetworkInterfaceId"]
            wanted = sorted({known[number % len(known)] for number in groups})
            self.call(who, "ModifyNetworkInterfaceAttribute", NetworkInterfaceId=interface, Groups=wanted)

    @rule(who=picks, pick=picks, address=picks)
    def assign(self, who, pick, address):
        """One of a few addresses, from whoever has it."""
        if mine := self.interfaces(who):
            shown = mine[pick % len(mine)]
            network = shown["PrivateIpAddress"].rsplit(".", 1)[0]
            wanted = [f"{network}.{100 + address % 3}"]
            asked = {"PrivateIpAddresses": wanted, "AllowReassignment": True}
            self.call(who, "AssignPrivateIpAddresses", NetworkInterfaceId=shown["NetworkInterfaceId"], **asked)

    @rule(who=picks, pick=picks)
    def unassign(self, who, pick):
        mine = [shown for shown in self.interfaces(who) if len(shown["PrivateIpAddresses"]) > 1]
        if mine:
            shown = mine[pick % len(mine)]
            going = [shown["PrivateIpAddresses"][-1]["PrivateIpAddress"]]
            asked = {"NetworkInterfaceId": shown["NetworkInterfaceId"], "PrivateIpAddresses": going}
            self.call(who, "UnassignPrivateIpAddresses", **asked)

    @rule(who=picks, pick=picks, interface=picks, which=st.integers(0, 1))
    def associate_with_an_address(self, who, pick, interface, which):
        addresses, mine = self.addresses(who), self.interfaces(who)
        if addresses and mine:
            shown = mine[interface % len(mine)]
            own = [address["PrivateIpAddress"] for address in shown["PrivateIpAddresses"]]
            asked = {"NetworkInterfaceId": shown["NetworkInterfaceId"], "PrivateIpAddress": own[which % len(own)]}
            allocation = addresses[pick % len(addresses)]["AllocationId"]
            self.call(who, "AssociateAddress", AllocationId=allocation, **asked)

    @rule(pick=picks, report_first=st.booleans())
    def move(self, pick, report_first):
        """The worker plugs in and out what an instance's row asks for, and notes it before or after it is seen."""
        moving = [row for row in self.rows() if row.state == rows.RUNNING and (row.attaching or row.detaching)]
        if moving:
            row = moving[pick % len(moving)]
            event(f"{len(row.attaching)} plugged in, {len(row.detaching)} out")
            ends = [partial(self.write, rows.set_plugged, row), partial(self.replug, row)]
            for end in reversed(ends) if report_first else ends:
                end()

    def replug(self, row):
        mine = self.plugged[row.spec.host]
        for link in row.detaching:
            mine.pop(link.id, None)
        for link in row.attaching:
            taken = {binding.ofport for binding in mine.values()}
            ofport = next(number for number in range(case40.FIRST, case40.FIRST + case40.PORTS) if number not in taken)
            mine[link.id] = Binding(ofport, mac_to_int(link.mac))
        self.report(row.spec.host)


@pytest.fixture(scope="module")
def switch(tmp_path_factory):
    with DummySwitch(tmp_path_factory.mktemp("c40i", numbered=True)) as running:
        for host in case40.HOSTS:
            ports = range(case40.FIRST, case40.FIRST + case40.PORTS)
            running.add_bridge(host, [case40.UPLINK, case40.FABRIC, *ports])
        yield running


pytestmark = pytest.mark.lab


@pytest.mark.timeout(900)  # a failure takes its time to become small
def test_case40_with_interfaces(switch):
    run_state_machine_as_test(
        partial(Histories, switch),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=case40.STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            print_blob=True,
        ),
    )
