"""What OpenNebula's driver asks by way of an agent, of a running controller that has no compute worker beside it."""

import pytest

DPID = 0x5D41


@pytest.fixture
def agent(running):
    with running.agent() as one:
        one.hello("driver-host")
        one.snapshot(DPID)
        assert one.receive() == {"type": "ack", "seq": 1}
        yield one


def ask(agent, question):
    agent.send({"type": "driver", "id": 3, "question": question})
    reply = agent.receive()
    assert (reply["type"], reply["id"]) == ("driver_reply", 3)
    return reply["answer"]


@pytest.mark.parametrize("op", ["check", "take-over", "forget"])
def test_without_a_compute_worker_nothing_is_taken_over(agent, op):
    said = ask(agent, {"op": op, "document": ""})
    assert said["ok"] is False
    assert "compute worker gives no answer" in said["error"]


def test_what_is_not_there_is_not_filtered(agent):
    question = {"op": "filtered", "revision": 0, "interfaces": ["eni-nobody"], "timeout": 0.2}
    said = ask(agent, question)
    assert said["ok"] is False
    assert said["error"].startswith("not filtered within 0.2 s: ")
    assert "revision 999999" in ask(agent, question | {"revision": 999999})["error"]


@pytest.mark.parametrize(
    "question",
    [None, "check", {}, {"op": "drop"}, {"op": "check"}, {"op": "filtered", "revision": "1"}]
    + [{"op": "filtered", "revision": 1, "interfaces": [], "timeout": bound} for bound in (-1, 61, float("nan"))],
    ids=["nothing", "text", "empty", "unknown", "no-document", "half", "below", "above", "nan"],
)
def test_what_is_no_question_is_refused(agent, question):
    assert ask(agent, question) == {"ok": False, "error": "not a question that the controller knows"}
