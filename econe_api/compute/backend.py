"""What the worker asks of whatever runs instances; libvirt, OpenNebula and namespaces alike can give it.

Every method may be called again after a failure or a restart, so each says what shall be, not what to do: launching
what runs and terminating what is gone succeed and change nothing.  Methods are called from several threads at once,
though never two for the same instance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class InterfaceSpec:
    """One network interface: its id (``eni-...``), MAC, address with prefix length, and the subnet's gateway.

    ``secondary`` are further addresses with the same prefix length, ``ipv6`` its IPv6 addresses, with prefix length and
    gateway of their own.

    The hypervisor's port must carry ``id`` and ``mac`` as OVSDB ``external_ids`` ``iface-id`` and ``attached-mac``.
    """

    id: str
    mac: str
    address: str
    prefix_length: int
    gateway: str
    device_index: int
    ipv6: tuple[str, ...] = ()
    ipv6_prefix_length: int = 64
    ipv6_gateway: str = ""
    secondary: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """An instance as it shall run on hypervisor ``host``; ``interfaces`` are ordered by device index.

    ``image`` is an ``ami-`` id, ``instance_type`` a name such as "t2.micro", ``user_data`` what the client sent
    (base64), None without; ``public_key`` is the one line of ``authorized_keys`` that it asked for by name.
    ``account`` is the owner's id, ``account_name`` its name.
    """

    instance_id: str
    host: str
    image: str
    instance_type: str
    user_data: str | None
    interfaces: tuple[InterfaceSpec, ...]
    account: str = ""
    account_name: str = ""
    public_key: str | None = None


class Condition(StrEnum):
    """How a backend finds an instance."""

    RUNNING = "running"
    BROKEN = "broken"
    """Something of it is there, but it does not work: half made, or half gone."""
    STOPPED = "stopped"
    """It does not run, and can be started."""
    UNDER_WAY = "under way"
    """It is changing, or not known well enough: to be left alone for now."""
    ENDED = "ended"
    """It is gone for good, and the backend is certain of that."""


@dataclass(frozen=True, slots=True)
class ObservedInstance:
    """An instance that a backend knows, and the hypervisor it is on ("" when the backend cannot tell).

    ``leads``: others than Sluice start, stop and move the backend's instances too, and the rows follow that.
    ``by_guest``: it is STOPPED because it has shut itself down, which is for its row to follow too.
    """

    instance_id: str
    host: str
    state: Condition
    leads: bool = False
    by_guest: bool = False


@dataclass(frozen=True, slots=True)
class Console:
    """The last 64 KiB of an instance's console, and when it last said something (seconds since the epoch)."""

    output: bytes
    time: float


class BackendUnavailableError(Exception):
    """The backend or the hypervisor does not answer now; nothing is known about the outcome.  Ask again later."""


class BackendDownError(BackendUnavailableError):
    """The backend as a whole does not answer: calls that need it are refused until it does."""


class UnderWayError(BackendUnavailableError):
    """What was asked for has begun and goes on by itself; ask again to see what became of it.  Nothing is wrong."""


class LaunchFailedError(Exception):
    """The instance cannot run, and asking again will not help.  ``code`` is EC2's state reason code."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class ComputeBackend(Protocol):
    """Runs instances."""

    def launch(self, spec: LaunchSpec) -> None:
        """Make the instance run; returns when its ports are on the bridge.

        Raises :class:`LaunchFailedError`, after which nothing of it is left, or :class:`BackendUnavailableError`.
        """

    def stop(self, instance_id: str, host: str) -> None:
        """Make the instance not run and its ports be gone; what :meth:`launch` needs to start it again stays.

        Raises :class:`BackendUnavailableError` when some of it may still run.
        """

    def reboot(self, spec: LaunchSpec) -> None:
        """Start what runs in the instance anew; its ports stay where they are.  An instance that is gone is launched.

        Raises as :meth:`launch` does.
        """

    def terminate(self, instance_id: str, host: str) -> None:
        """Make the instance be gone, with its ports; raises :class:`BackendUnavailableError` when some may be left."""

    def console(self, instance_id: str) -> Console | None:
        """Return what the instance has said on its console since it last booted; None: nothing is known of it."""

    def attach(self, spec: LaunchSpec, interface: InterfaceSpec) -> None:
        """Plug one more of its interfaces into the running instance; returns when its port is on the bridge.

        Raises :class:`BackendUnavailableError`.
        """

    def detach(self, spec: LaunchSpec, interface: InterfaceSpec) -> None:
        """Make the interface be plugged in no more; raises :class:`BackendUnavailableError` when it may still be."""

    def list(self) -> Mapping[str, ObservedInstance]:
        """Return every instance of this cloud by id; raises :class:`BackendUnavailableError` rather than guess.

        Of several hypervisors some may be silent; their instances are then left out, as long as launching one of them
        fails with BackendUnavailableError until its hypervisor answers.
        """


@runtime_checkable
class Reporting(Protocol):
    """A backend that has something to say about its hypervisors besides what its methods raise."""

    def problems(self) -> Sequence[str]:
        """What keeps hypervisors from being asked now, one line each."""


@runtime_checkable
class Announcing(Protocol):
    """A backend that hears of changes by itself."""

    def announce(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called, from any thread, whenever :meth:`ComputeBackend.list` may answer anew."""
