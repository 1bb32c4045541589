"""What clients and operators see while oned does not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from channel.client import request
from econe_api.actions import ACTIONS
from econe_api.compute.server import Server
from econe_api.notify import Notifier
from sluice import status_command


@pytest.fixture
def served(make_cloud: Any) -> Iterator[Any]:
    """A cloud whose worker answers on its socket."""
    cloud = make_cloud()
    worker = cloud.start()
    server = Server(cloud.config.compute.socket, worker)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    cloud.config = replace(cloud.config, compute=replace(cloud.config.compute, backend="opennebula"))
    yield cloud
    server.shutdown()
    thread.join()
    server.server_close()


def _until_down(cloud: Any) -> None:
    deadline = time.monotonic() + 30
    while request(cloud.config.compute.socket, {"op": "status"}, 5.0).get("down") is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_starts_instances_is_refused_while_oned_is_down(served: Any) -> None:
    notifier = Notifier(served.config)
    assert notifier.can_start()
    served.server.trouble = "down"
    _until_down(served)
    assert not notifier.can_start()
    assert [name for name, action in ACTIONS.items() if action.starts] == [
        "RebootInstances",
        "RunInstances",
        "StartInstances",
    ]
    served.server.trouble = ""
    deadline = time.monotonic() + 30
    while not notifier.can_start():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_status_says_so(served: Any) -> None:
    served.server.trouble = "garbage"
    _until_down(served)
    (problem,) = status_command._compute(served.config)
    assert problem.startswith("one.")
    assert "no reply of oned's" in problem


def test_an_instance_is_ended_once_oned_is_back(served: Any) -> None:
    """Ending is never refused: the association goes at once, the VM when oned can be asked."""
    (instance,) = served.running()
    _, association = served.associated(instance)
    served.server.trouble = "down"
    _until_down(served)
    served.call("TerminateInstances", InstanceIds=[instance])
    assert association() is None
    assert served.state(instance) == "shutting-down"
    served.server.trouble = ""
    served.await_state("terminated", instance)
    assert [vm.state for vm in served.oned.vms.values()] == [6]
