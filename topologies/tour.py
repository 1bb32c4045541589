"""The tour through the small cloud: what is called, and what has to be seen after it.

Steps are data; :func:`take` runs them in order, whatever each one sees, and gives a :class:`Report` per step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from topologies.control_plane import OUTSIDE
from topologies.layout import OUTSIDE_IP
from topologies.stage import Look, Observation, Stage, UnknownNameError
from topologies.vantage import SHUT

IMAGE = "ami-0123456789abcdef0"
TYPE = "t3.micro"
#: The file that the cloud of virtual machines has uploaded for the account.
UPLOAD = "guest.qcow2"
WEB_PORT = 80
ECHO_PORT = 9000
#: A connection whose echo has not come for so many seconds has stopped; its client talks every tenth of a second.
SILENCE = 1.0


@dataclass(frozen=True, slots=True)
class Step:
    """``act`` makes the calls and returns what to look at then; what it enters on the stack lasts until the end."""

    name: str
    act: Callable[[Stage, ExitStack], list[Look]]


@dataclass(frozen=True, slots=True)
class Report:
    """What a step called and saw, and how many seconds it took; ``error`` is the API's when a call failed."""

    name: str
    calls: tuple[str, ...]
    observations: tuple[Observation, ...]
    seconds: float
    error: str | None

    @property
    def as_expected(self) -> bool:
        """Did no call fail, and was everything seen that had to be?"""
        return self.error is None and all(observation.as_expected for observation in self.observations)

    def document(self) -> dict[str, Any]:
        """The report for JSON."""
        seen = [{**asdict(one), "as_expected": one.as_expected} for one in self.observations]
        return {**asdict(self), "observations": seen, "as_expected": self.as_expected}


def take(stage: Stage, begins: Callable[[str], None], steps: Sequence[Step] | None = None) -> Iterator[Report]:
    """Take the steps (:data:`STEPS` by default) one after the other; ``begins`` hears the name of each."""
    with ExitStack() as stack:
        for step in STEPS if steps is None else steps:
            begins(step.name)
            yield _take(step, stage, stack)


def _take(step: Step, stage: Stage, stack: ExitStack) -> Report:
    start = time.monotonic()
    already = len(stage.calls)
    observations: list[Observation] = []
    error = None
    try:
        for look in step.act(stage, stack):
            observations.append(stage.observe(look))
    except (ClientError, BotoCoreError) as failure:
        error = str(failure)
    except UnknownNameError as missing:
        error = f"there is no {missing}: an earlier step failed"
    passed = round(time.monotonic() - start, 3)
    return Report(step.name, tuple(stage.calls[already:]), tuple(observations), passed, error)


def _register(stage: Stage, _stack: ExitStack) -> list[Look]:
    made = stage.call("register_image", Name="busybox of the tour", ImageLocation=UPLOAD)
    stage.ids["image"] = image = made["ImageId"]

    def state() -> str:
        return str(stage.ask("describe_images", ImageIds=[image])["Images"][0]["State"])

    return [Look(f"state of {image}", "available", state)]


def _run(stage: Stage, _stack: ExitStack) -> list[Look]:
    for name in ("web", "backend"):
        group = stage.call("create_security_group", GroupName=name, Description=f"{name} of the tour")
        stage.ids[name] = group["GroupId"]
    for name, groups in (("a", ["web"]), ("b", ["web", "backend"])):
        made = stage.call(
            "run_instances",
            ImageId=stage.ids.get("image", IMAGE),
            InstanceType=TYPE,
            MinCount=1,
            MaxCount=1,
            SecurityGroupIds=[stage.ids[group] for group in groups],
        )
        stage.ids[name] = made["Instances"][0]["InstanceId"]
        stage.ids[f"private {name}"] = made["Instances"][0]["PrivateIpAddress"]
    return [
        Look("state of both instances", "running, running", lambda: _states(stage)),
        Look(
            "hypervisors whose switches have their ports",
            " and ".join(stage.cloud.hosts[:2]),
            lambda: " and ".join(sorted({_host(stage, "a"), _host(stage, "b")})),
        ),
    ]


def _boot(stage: Stage, _stack: ExitStack) -> list[Look]:
    def last_line(name: str) -> str:
        said = stage.ask("get_console_output", InstanceId=stage.ids[name]).get("Output", "").split("\n")
        return next((line.strip() for line in reversed(said) if line.strip()), "nothing")

    def console(name: str) -> Look:
        ready = f"guest: {stage.ids[name]} is ready"
        return Look(f"last line on the console of {stage.ids[name]}", ready, lambda: last_line(name))

    return [console("a"), console("b")]


def _associate(stage: Stage, _stack: ExitStack) -> list[Look]:
    address = stage.call("allocate_address", Domain="vpc")
    stage.ids["allocation"], stage.ids["public"] = address["AllocationId"], address["PublicIp"]
    stage.call("associate_address", AllocationId=stage.ids["allocation"], InstanceId=stage.ids["a"])
    return [
        Look("instance that the address belongs to", stage.ids["a"], lambda: _holder(stage)),
        _web_from_outside(stage, SHUT),
    ]


def _open(stage: Stage, _stack: ExitStack) -> list[Look]:
    stage.call("authorize_security_group_ingress", GroupId=stage.ids["web"], IpPermissions=[_from_anyone(WEB_PORT)])
    return [_web_from_outside(stage, f"{stage.ids['a']} saw {OUTSIDE_IP}"), _echo_from_outside(stage, SHUT)]


def _look_out(stage: Stage, _stack: ExitStack) -> list[Look]:
    return [
        Look(
            f"GET http://{OUTSIDE_IP}/ from inside {stage.ids['a']}: the outside host's page",
            f"{OUTSIDE} saw {stage.ids['public']}",
            lambda: stage.guest("a").fetch(OUTSIDE_IP),
        )
    ]


def _refer(stage: Stage, _stack: ExitStack) -> list[Look]:
    private = stage.ids["private b"]
    before = stage.guest("a").echo(private, ECHO_PORT)
    members = {"UserIdGroupPairs": [{"GroupId": stage.ids["web"]}]}
    stage.call(
        "authorize_security_group_ingress", GroupId=stage.ids["backend"], IpPermissions=[_tcp(ECHO_PORT, members)]
    )
    echo = f"echo at {private}:{ECHO_PORT} from inside {stage.ids['a']}"
    return [
        Look(f"{echo}, before the call", SHUT, lambda: before),
        Look(echo, "echo", lambda: stage.guest("a").echo(private, ECHO_PORT)),
        Look(
            f"GET http://{private}/ from inside {stage.ids['a']}",
            f"{stage.ids['b']} saw {stage.ids['private a']}",
            lambda: stage.guest("a").fetch(private),
        ),
    ]


def _move(stage: Stage, _stack: ExitStack) -> list[Look]:
    before = _host(stage, "a")
    (after, *_) = [*(host for host in stage.cloud.hosts[:2] if host != before), before]
    stage.call(
        "associate_address",
        AllocationId=stage.ids["allocation"],
        InstanceId=stage.ids["b"],
        AllowReassociation=True,
    )
    return [
        Look("instance that the address belongs to", stage.ids["b"], lambda: _holder(stage)),
        Look(f"its hypervisor, after {before}", after, lambda: _host(stage, "b")),
        _web_from_outside(stage, f"{stage.ids['b']} saw {OUTSIDE_IP}"),
    ]


def _connect(stage: Stage, stack: ExitStack) -> list[Look]:
    stage.call("authorize_security_group_ingress", GroupId=stage.ids["web"], IpPermissions=[_from_anyone(ECHO_PORT)])
    opened = _echo_from_outside(stage, "echo")
    stage.talk = stack.enter_context(stage.cloud.outside.converse(stage.ids["public"], ECHO_PORT))
    return [opened, Look("a connection kept open and talking", "talks", lambda: _liveliness(stage))]


def _revoke(stage: Stage, _stack: ExitStack) -> list[Look]:
    before = _liveliness(stage)
    stage.call("revoke_security_group_ingress", GroupId=stage.ids["web"], IpPermissions=[_from_anyone(ECHO_PORT)])
    return [
        Look("the connection, before the call", "talks", lambda: before),
        Look("the same connection", "silent", lambda: _liveliness(stage)),
        _echo_from_outside(stage, SHUT),
        _web_from_outside(stage, f"{stage.ids['b']} saw {OUTSIDE_IP}"),
    ]


def _terminate(stage: Stage, _stack: ExitStack) -> list[Look]:
    stage.call("terminate_instances", InstanceIds=[stage.ids["a"], stage.ids["b"]])
    return [
        Look("state of both instances", "terminated, terminated", lambda: _states(stage)),
        Look("instance that the address belongs to", "none", lambda: _holder(stage)),
        _web_from_outside(stage, SHUT),
    ]


def _deregister(stage: Stage, _stack: ExitStack) -> list[Look]:
    stage.call("deregister_image", ImageId=stage.ids["image"])
    return [
        Look("images of the account", "0", lambda: str(len(stage.ask("describe_images", Owners=["self"])["Images"])))
    ]


def _release(stage: Stage, _stack: ExitStack) -> list[Look]:
    stage.call("release_address", AllocationId=stage.ids["allocation"])
    for name in ("backend", "web"):
        stage.call("delete_security_group", GroupId=stage.ids[name])
    return [Look("addresses of the account", "0", lambda: str(len(stage.ask("describe_addresses")["Addresses"])))]


STEPS = (
    Step("Run two instances", _run),
    Step("Associate an elastic IP: everything is still shut", _associate),
    Step("Open port 80 to anyone", _open),
    Step("Instance to outside: its elastic IP is the source", _look_out),
    Step("Instance to instance, by group reference", _refer),
    Step("Move the address to the other instance", _move),
    Step("Open port 9000 and keep a connection talking", _connect),
    Step("Revoke port 9000: the live connection stops", _revoke),
    Step("Terminate: the address is free again", _terminate),
    Step("Release the address, delete the groups", _release),
)
#: The tour of virtual machines, which have to boot before they answer.
MACHINE_STEPS = (
    Step("Register an image from an uploaded file", _register),
    STEPS[0],
    Step("Both virtual machines boot", _boot),
    *STEPS[1:],
    Step("Deregister the image", _deregister),
)


def _tcp(port: int, source: dict[str, Any]) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **source}


def _from_anyone(port: int) -> dict[str, Any]:
    return _tcp(port, {"IpRanges": [{"CidrIp": "0.0.0.0/0"}]})


def _web_from_outside(stage: Stage, expected: str) -> Look:
    public = stage.ids["public"]
    return Look(f"GET http://{public}/ from the outside host", expected, lambda: stage.cloud.outside.fetch(public))


def _echo_from_outside(stage: Stage, expected: str) -> Look:
    public = stage.ids["public"]
    return Look(
        f"echo at {public}:{ECHO_PORT} from the outside host",
        expected,
        lambda: stage.cloud.outside.echo(public, ECHO_PORT),
    )


def _states(stage: Stage) -> str:
    return ", ".join(one["State"]["Name"] for one in _instances(stage))


def _instances(stage: Stage) -> list[dict[str, Any]]:
    answer = stage.ask("describe_instances", InstanceIds=[stage.ids["a"], stage.ids["b"]])
    return [one for reservation in answer["Reservations"] for one in reservation["Instances"]]


def _host(stage: Stage, name: str) -> str:
    """The hypervisor of the instance that the tour calls ``name``."""
    answer = stage.ask("describe_instances", InstanceIds=[stage.ids[name]])
    (interface,) = answer["Reservations"][0]["Instances"][0]["NetworkInterfaces"]
    return stage.cloud.host_of(interface["NetworkInterfaceId"]) or "none"


def _holder(stage: Stage) -> str:
    answer = stage.ask("describe_addresses", AllocationIds=[stage.ids["allocation"]])
    return str(answer["Addresses"][0].get("InstanceId", "none"))


def _liveliness(stage: Stage) -> str:
    if stage.talk is None or not stage.talk.echoes:
        return "not connected"
    return "silent" if stage.talk.silence > SILENCE else "talks"
