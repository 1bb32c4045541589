"""A hypervisor that libvirt manages: its options, and a connection whose calls are bounded in time.

Options of a ``[[hypervisor]]``: ``uri`` (libvirt's, such as ``qemu+ssh://root@rack1-a/system``), ``pool`` (a storage
pool of type "dir" for disks, seeds and consoles; "sluice"), ``bridge`` ("br-int"), ``prefix`` ("sluice": begins the
domains' names and tells this cloud's from others), ``type`` ("kvm", or "qemu" where the CPU is emulated), ``offloads``
("on"; "off" where the switch has a userspace datapath), ``mtu`` (what libvirt gives a tap by itself) and
``shutdown_seconds`` (how long a guest that is stopped has to shut down by itself, "30").
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import libvirt

from econe_api.compute.backend import BackendUnavailableError
from econe_api.compute.libvirt_xml import EMULATED, KVM
from econe_api.config import ConfigError, Hypervisor

_LOG = logging.getLogger(__name__)
_DEFAULTS = {
    "pool": "sluice",
    "bridge": "br-int",
    "prefix": "sluice",
    "type": KVM,
    "offloads": "on",
    "mtu": "",
    "shutdown_seconds": "30",
}
_CHOICES = {"type": (KVM, EMULATED), "offloads": ("on", "off")}
_NUMBERS = {"mtu": (576, 65535), "shutdown_seconds": (0, 600)}
#: Seconds for which a hypervisor that did not answer is not asked again.
_PAUSE = 3.0
#: Calls that a hypervisor has not answered yet, beyond which it is asked nothing more.
_MOST_OPEN = 16
#: A connection whose other end is silent is closed after so many probes, so many seconds apart.
_KEEPALIVE = (5, 3)
_RPC_DOMAINS = (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)
_LOST = (
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_INVALID_CONN,
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_AUTH_FAILED,
    libvirt.VIR_ERR_AUTH_CANCELLED,
    libvirt.VIR_ERR_AUTH_UNAVAILABLE,
    libvirt.VIR_ERR_OPERATION_TIMEOUT,
    libvirt.VIR_ERR_GNUTLS_ERROR,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Options:
    """A hypervisor's options, checked."""

    name: str
    uri: str
    pool: str
    bridge: str
    prefix: str
    kind: str
    offloads: bool
    mtu: int | None
    shutdown_seconds: int

    @classmethod
    def of(cls, hypervisor: Hypervisor) -> Options:
        """Read them; ConfigError names one that is missing, not known or out of range."""
        given = hypervisor.options
        where = f"hypervisor {hypervisor.name}: options"
        if not given.get("uri"):
            raise ConfigError(f'{where}.uri is missing; write libvirt\'s, such as "qemu+ssh://root@HOST/system"')
        unknown = given.keys() - _DEFAULTS.keys() - {"uri"}
        if unknown:
            raise ConfigError(f"{where}.{min(unknown)} is not known; known: {', '.join(sorted([*_DEFAULTS, 'uri']))}")
        values = {**_DEFAULTS, **given}
        for name, choices in _CHOICES.items():
            if values[name] not in choices:
                raise ConfigError(f"{where}.{name} {values[name]!r} is not known; write one of: {', '.join(choices)}")
        for name, (least, most) in _NUMBERS.items():
            text = values[name]
            right = text.isascii() and text.isdigit() and least <= int(text) <= most
            if not right and not (name == "mtu" and not text):
                raise ConfigError(f"{where}.{name} {text!r} is no such number; write {least} to {most}, in quotes")
        return cls(
            name=hypervisor.name,
            uri=values["uri"],
            pool=values["pool"],
            bridge=values["bridge"],
            prefix=values["prefix"],
            kind=values["type"],
            offloads=values["offloads"] == "on",
            mtu=int(values["mtu"]) if values["mtu"] else None,
            shutdown_seconds=int(values["shutdown_seconds"]),
        )


class SilentError(BackendUnavailableError):
    """A hypervisor has not answered in time."""


class Answer(Generic[T]):
    """What a call gives when it is done; whoever waits for it may give up."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._done = threading.Event()
        self._value: T | None = None
        self._error: Exception | None = None

    def run(self, work: Callable[[], T]) -> None:
        """Do the work and keep what came of it."""
        try:
            self._value = work()
        except Exception as error:
            self._error = error
        finally:
            self._done.set()

    def wait(self, seconds: float) -> T:
        """Return the value or raise the error; :class:`SilentError` when there is none in time."""
        if not self._done.wait(seconds):
            raise SilentError(f"hypervisor {self._host} did not answer within {seconds:g} s")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


class LibvirtHost:
    """Asks one hypervisor.  Each call has a thread of its own, because libvirt's cannot be given up."""

    def __init__(self, options: Options) -> None:
        """Nothing is opened yet."""
        _run_event_loop()
        self.options = options
        self._lock = threading.Lock()  # guards all below
        self._connecting = threading.Lock()
        self._connection: Any = None
        self._open = 0
        self._fault = ""
        self._asked_again = 0.0

    @property
    def name(self) -> str:
        """The hypervisor's name."""
        return self.options.name

    @property
    def fault(self) -> str:
        """Why the hypervisor could not be asked when that was last tried; "": it could."""
        with self._lock:
            return self._fault

    def call(self, work: Callable[[Any], T], seconds: float) -> T:
        """Return what ``work`` makes of the connection (``libvirt.virConnect``), within ``seconds``.

        Raises BackendUnavailableError when the hypervisor does not answer in time or the connection is lost, and
        ``libvirt.libvirtError`` for what it answers.  Work that is given up may still be done later.
        """
        return self.wait(self.begin(work), seconds)

    def begin(self, work: Callable[[Any], T]) -> Answer[T]:
        """Begin a call; :meth:`wait` ends it.  Raises BackendUnavailableError without asking a host that is silent."""
        with self._lock:
            if time.monotonic() < self._asked_again:
                raise BackendUnavailableError(self._fault)
            if self._open >= _MOST_OPEN:
                raise BackendUnavailableError(f"hypervisor {self.name} leaves {self._open} calls without an answer")
            self._open += 1
        answer: Answer[T] = Answer(self.name)
        threading.Thread(target=self._run, args=(answer, work), name=f"libvirt-{self.name}", daemon=True).start()
        return answer

    def wait(self, answer: Answer[T], seconds: float) -> T:
        """End a call that was begun; see :meth:`call`."""
        try:
            value = answer.wait(seconds)
        except SilentError as error:
            self._give_up(str(error))
            raise
        except libvirt.libvirtError as error:
            if not is_lost(error):
                self._note("")
                raise
            fault = f"hypervisor {self.name}: {gist(error)}"
            self._give_up(fault)
            raise BackendUnavailableError(fault) from error
        self._note("")
        return value

    def _note(self, fault: str) -> None:
        with self._lock:
            self._fault = fault

    def _run(self, answer: Answer[T], work: Callable[[Any], T]) -> None:
        try:
            answer.run(lambda: work(self._connect()))
        finally:
            with self._lock:
                self._open -= 1

    def _connect(self) -> Any:
        with self._connecting:
            with self._lock:
                known = self._connection
            if known is not None and known.isAlive():
                return known
            made = libvirt.open(self.options.uri)
            _probe(made)
            with self._lock:
                self._connection = made
            return made

    def _give_up(self, fault: str) -> None:
        """Take another connection next time; this one is left to those that still wait for it."""
        with self._lock:
            if self._fault != fault:
                _LOG.warning("%s", fault)
            self._fault, self._asked_again = fault, time.monotonic() + _PAUSE
            self._connection, self._connecting = None, threading.Lock()


def _probe(connection: Any) -> None:
    try:
        connection.setKeepAlive(*_KEEPALIVE)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:  # there is nobody at the other end to be probed
            raise


def is_lost(error: Any) -> bool:
    """Whether a libvirtError says that the daemon could not be asked, rather than what it answered."""
    code = error.get_error_code()
    if code in _LOST:
        return True
    return code in (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_INTERNAL_ERROR) and (
        error.get_error_domain() in _RPC_DOMAINS
    )


def gist(error: Exception) -> str:
    """The text of an error, in one line."""
    return " ".join(str(error).split())


_loop_lock = threading.Lock()
_loop_runs = False


def _run_event_loop() -> None:
    """Let libvirt's own event loop run, once per process: without it there are no keepalive probes."""
    global _loop_runs  # noqa: PLW0603 - libvirt's event loop is the process's
    with _loop_lock:
        if _loop_runs:
            return
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_turn, name="libvirt-events", daemon=True).start()
        _loop_runs = True


def _turn() -> None:
    # A timer that never ends keeps the loop from waiting for ever on a connection that is not there yet.
    libvirt.virEventAddTimeout(1000, lambda _timer, _opaque: None, None)
    while True:
        libvirt.virEventRunDefaultImpl()
