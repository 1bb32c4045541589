"""States, errors, templates and documents as values: what must hold for all of them, and for each that was recorded."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from econe_api.opennebula import documents, errors, states, templates
from econe_api.opennebula.rpc import Code, NoAnswerError, RefusedError, parse_document
from econe_api.opennebula.states import Phase
from topologies.oned.templates import Template

_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")))
_NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True)


@pytest.mark.parametrize(
    ("state", "lcm", "phase"),
    [
        (0, 0, Phase.PENDING),
        (1, 0, Phase.PENDING),
        (2, 0, Phase.PENDING),
        (10, 0, Phase.PENDING),
        (3, 1, Phase.PENDING),
        (3, 2, Phase.PENDING),
        (3, 3, Phase.RUNNING),
        (3, 4, Phase.RUNNING),
        (3, 16, Phase.RUNNING),
        (3, 25, Phase.RUNNING),
        (3, 69, Phase.RUNNING),
        (3, 18, Phase.STOPPING),
        (3, 12, Phase.ENDING),
        (3, 36, Phase.FAILED),
        (4, 0, Phase.STOPPED),
        (5, 0, Phase.STOPPED),
        (8, 0, Phase.STOPPED),
        (9, 0, Phase.STOPPED),
        (3, 65, Phase.STOPPED),
        (6, 0, Phase.ENDED),
        (3, 72, None),
        (99, 3, None),
    ],
)
def test_phases(state: int, lcm: int, phase: Phase | None) -> None:
    assert states.phase(state, lcm) is phase


@given(st.integers(), st.integers())
def test_only_done_is_the_end(state: int, lcm: int) -> None:
    assert (states.phase(state, lcm) is Phase.ENDED) == (state == states.DONE)
    assert states.name(state, lcm)


@given(st.integers(0, 71))
def test_a_failure_is_never_taken_for_running(lcm: int) -> None:
    name = states.LCM_NAMES[lcm]
    assert name.endswith("FAILURE") <= (states.phase(3, lcm) in (Phase.FAILED, Phase.STOPPED))
    assert name.startswith("HOTPLUG") <= (states.phase(3, lcm) in (Phase.RUNNING, Phase.STOPPED))


@pytest.mark.parametrize(
    ("code", "text", "ec2", "status"),
    [
        (0x0100, "User couldn't be authenticated, aborting call.", "AuthFailure", 401),
        (0x0200, "User [3] : Not authorized to perform MANAGE NET [3].", "UnauthorizedOperation", 403),
        (0x0200, "user [3] limit of 2 reached for LEASES quota in NETWORK with ID: 3.", "AddressLimitExceeded", 400),
        (0x0200, "user [3] limit of 4 reached for VMS quota in VM.", "InstanceLimitExceeded", 400),
        (0x0200, "group [1] limit of 4.5 reached for CPU quota in VM.", "VcpuLimitExceeded", 400),
        (0x0200, "limit of 4 reached for NEWFANGLED quota in VM.", "ResourceLimitExceeded", 400),
        (0x0400, "Error getting virtual machine [9].", "InvalidInstanceID.NotFound", 400),
        (0x0400, "Error getting virtual network [9].", "InvalidNetwork.NotFound", 400),
        (0x0800, "This action is not available for state RUNNING", "IncorrectInstanceState", 400),
        (0x0800, "Not enough free addresses in address range 0, or ...", "InsufficientAddressCapacity", 500),
        (0x2000, "NAME is already taken by USER 3.", "InvalidParameterValue.Duplicate", 400),
        (0x2000, "Internal Error", "InternalError", 500),
        (0x4000, "whatever", "InsufficientInstanceCapacity", 500),
        (0x10000, "no leader", "Unavailable", 503),
        (0x77, "new", "InternalError", 500),
    ],
)
def test_refusals_are_ec2s(code: int, text: str, ec2: str, status: int) -> None:
    found = errors.ec2_refusal(RefusedError("one.x.y", code, text))
    assert (found.code, found.status, found.text) == (ec2, status, text)


@given(st.integers(), st.text())
def test_no_refusal_is_a_success(code: int, text: str) -> None:
    """econe answered errors with HTTP 200."""
    refusal = RefusedError("one.x.y", code, text)
    assert 400 <= errors.ec2_refusal(refusal).status <= 503
    assert re.fullmatch(r"(Client|Server)\.[A-Za-z.]+", errors.state_reason(refusal))


@given(st.dictionaries(_NAMES, st.one_of(_TEXT, st.dictionaries(_NAMES, _TEXT, min_size=1)), max_size=6))
def test_templates_are_read_back_as_they_were_meant(content: dict[str, Any]) -> None:
    """Whatever a value holds, it cannot become another attribute; what cannot be written is refused."""
    try:
        text = templates.template(content.items())
    except ValueError:
        flat = [v for each in content.values() for v in (each.values() if isinstance(each, dict) else [each])]
        assert any(value.endswith("\\") or "]]>" in value for value in flat)
        return
    assert dict(Template.parse(text).items) == content


@pytest.mark.parametrize(
    "value", ["a\x00b", "ends with \\", "a]]>b", "\r"], ids=["nul", "backslash", "cdata", "return"]
)
def test_values_that_cannot_be_written(value: str) -> None:
    with pytest.raises(ValueError, match="cannot have"):
        templates.quoted(value)


@pytest.mark.parametrize("name", ["", "a b", "NIC=[", "lower"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        templates.template([(name, "value")])


@pytest.mark.parametrize(
    "text",
    [
        "<VM></VM>",
        "<HOST><ID>1</ID></HOST>",
        "<VM><ID>x</ID><UID>1</UID><UNAME>a</UNAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE><STIME>1</STIME></VM>",
        "<VM><ID>1</ID><UID>1</UID><UNAME>a</UNAME><LCM_STATE>3</LCM_STATE><STIME>1</STIME></VM>",
    ],
    ids=["nothing", "another", "no number", "no state"],
)
def test_documents_that_lack_what_matters_are_no_answer(text: str) -> None:
    with pytest.raises(NoAnswerError):
        documents.vm(parse_document(text))


def test_a_pool_with_something_else_in_it_is_no_answer() -> None:
    with pytest.raises(NoAnswerError):
        documents.vms(parse_document("<VM_POOL><HOST/></VM_POOL>"))
    assert documents.vms(parse_document("<VM_POOL></VM_POOL>")) == []


def test_recorded_vms(recordings: Any) -> None:
    """The name of each exchange says the state that was waited for; oned shows some a moment after it has answered."""
    seen = 0
    for name in recordings.names():
        if found := re.search(r"vm_info_state_([A-Z_]+)_(\d+)_(\d+)", name):
            vm = documents.vm(parse_document(recordings.document(name)))
            assert (vm.state, vm.lcm_state) in ((int(found[2]), int(found[3])), (3, 3))
            assert vm.state_name in (*name.split("_"), "RUNNING") or vm.state_name in name
            assert vm.owner in ("alice", "bob")
            assert all(re.fullmatch(rf"one-{vm.id}-\d+", nic.target) for nic in vm.nics)
            assert all(re.fullmatch(r"02(:[0-9a-f]{2}){5}", nic.mac) for nic in vm.nics)
            seen += 1
    assert seen >= 12


def test_recorded_move(recordings: Any) -> None:
    """The last history record names the destination before the guest is there."""
    (event,) = [each for each in recordings.events() if b"<LCM_STATE>MIGRATE</LCM_STATE>" in each and b"<VM>" in each][
        :1
    ]
    found = parse_document(event.decode()).find("VM")
    assert found is not None
    moving = documents.vm(found)
    assert (moving.moves, moving.host, moving.phase) == (True, "hyp1", Phase.RUNNING)


def test_recorded_pools(recordings: Any) -> None:
    full = documents.vms(parse_document(recordings.document("138_vmpool_infoextended_all_not_done")))
    short = documents.vms(parse_document(recordings.document("137_vmpool_info_all_not_done")))
    assert [vm.id for vm in full] == [vm.id for vm in short] == [3, 2, 1, 0]
    assert all(nic.target for vm in full for nic in vm.nics)
    assert len(documents.vms(parse_document(recordings.document("141_vmpool_info_page_offset0_size2")))) == 2
    users = documents.users(parse_document(recordings.document("017_userpool_info_ok")))
    assert [(user.id, user.name, user.group, user.driver) for user in users] == [
        (4, "bob", 1, "core"),
        (3, "alice", 1, "core"),
        (2, "ec2admin", 0, "server_cipher"),
        (1, "serveradmin", 0, "server_cipher"),
        (0, "oneadmin", 0, "core"),
    ]
    assert documents.hosts(parse_document(recordings.document("034_hostpool_info_ok"))) == {"hyp0": 0, "hyp1": 1}
    network = documents.network(parse_document(recordings.document("052_vn_info_reservation_owned_by_user")))
    assert (network.parent, network.owner, network.ranges[0].first) == (3, "alice", "203.0.113.10")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("004_user_info_ERR_auth_bad_password", "AuthFailure"),
        ("016_user_info_ERR_authz_other_user", "UnauthorizedOperation"),
        ("054_vn_reserve_ERR_quota_exceeded", "AddressLimitExceeded"),
        ("055_vn_reserve_ERR_reserve_ip_in_use", "InsufficientAddressCapacity"),
        ("014_user_allocate_ERR_duplicate_name", "InvalidParameterValue.Duplicate"),
        ("114_vm_action_ERR_wrong_state", "IncorrectInstanceState"),
        ("129_template_instantiate_ERR_vm_quota_exceeded", "InstanceLimitExceeded"),
        ("132_vm_allocate_ERR_unknown_network", "InternalError"),
    ],
)
def test_recorded_refusals(recordings: Any, name: str, code: str) -> None:
    text = recordings.document(name)
    number = int(re.findall(rb"<i4>(-?\d+)</i4>", recordings.reply(name))[0])
    assert number in list(Code)
    assert errors.ec2_refusal(RefusedError("one", number, text)).code == code


def test_recorded_events(recordings: Any) -> None:
    """The names of states in the events are ours."""
    seen = set()
    for event in recordings.events():
        found = re.search(rb"<LCM_STATE>([A-Z_]+)</LCM_STATE>.*?<LCM_STATE>(\d+)</LCM_STATE>", event, re.DOTALL)
        if found and b"<HOOK_OBJECT>VM<" in event:
            assert states.LCM_NAMES[int(found[2])] == found[1].decode()
            seen.add(found[1])
    assert len(seen) > 15
