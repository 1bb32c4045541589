"""What a tour's steps work with: the client, the places to look from, and the record of what was called and seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from topologies.vantage import Conversation, Vantage

#: Seconds within which an observation has to become as expected.
BOUND = 5.0
_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Look:
    """Something to look at: ``see`` says what is to be seen now, which has to become ``expected`` within ``bound``."""

    what: str
    expected: str
    see: Callable[[], str]
    bound: float = BOUND


@dataclass(frozen=True, slots=True)
class Observation:
    """What came of a :class:`Look`, after ``seconds``."""

    what: str
    expected: str
    seen: str
    seconds: float

    @property
    def as_expected(self) -> bool:
        """Was it?"""
        return self.seen == self.expected


class UnknownNameError(Exception):
    """A step asks for what no step before it has made."""


class Names(dict[str, str]):
    """The tour's own names for EC2's ids and addresses."""

    def __missing__(self, name: str) -> str:
        """Say so when an earlier step did not come so far."""
        raise UnknownNameError(name)


class Inside(Protocol):
    """The inside of an instance: what can be asked from there."""

    def fetch(self, host: str, port: int = 80) -> str:
        """Ask a guest's web server: "ID saw ADDRESS", or "no answer"."""

    def echo(self, host: str, port: int) -> str:
        """Say one line to the echo server at ``host``; return "echo" or "no answer"."""


class TouredCloud(Protocol):
    """A running cloud, wherever it runs."""

    @property
    def outside(self) -> Vantage:
        """The outside host."""

    @property
    def hosts(self) -> list[str]:
        """The hypervisors' names."""

    def ec2(self) -> Any:
        """Return a boto3 client of its API."""

    def guest(self, instance: str) -> Inside:
        """Return the inside of an instance."""

    def host_of(self, interface: str) -> str | None:
        """Return the hypervisor whose switch has the port of a network interface."""


@dataclass(slots=True)
class Stage:
    """The cloud and what the steps so far have made; every look's bound is ``patience`` times as long."""

    cloud: TouredCloud
    check: Callable[[], None]
    ids: Names = field(default_factory=Names)
    calls: list[str] = field(default_factory=list)
    talk: Conversation | None = None
    patience: float = 1.0
    _ec2: Any = None

    def __post_init__(self) -> None:
        self._ec2 = self.cloud.ec2()

    def call(self, action: str, **parameters: Any) -> dict[str, Any]:
        """Make an API call with boto3 and note it as it would be written in Python."""
        written = ", ".join(f"{name}={value!r}" for name, value in parameters.items())
        self.calls.append(f"{action}({written})")
        return self.ask(action, **parameters)

    def ask(self, action: str, **parameters: Any) -> dict[str, Any]:
        """Make an API call that only looks, which is not worth a line in the record."""
        self.check()
        answer: dict[str, Any] = getattr(self._ec2, action)(**parameters)
        return answer

    def guest(self, name: str) -> Inside:
        """The inside of the instance that the tour calls ``name``."""
        return self.cloud.guest(self.ids[name])

    def observe(self, look: Look) -> Observation:
        """Look until it is as expected or the bound is over."""
        start = time.monotonic()
        while True:
            self.check()
            seen = look.see()
            passed = time.monotonic() - start
            if seen == look.expected or passed > look.bound * self.patience:
                return Observation(look.what, look.expected, seen, round(passed, 3))
            time.sleep(_PAUSE)
