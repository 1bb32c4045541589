"""Network namespaces of this machine through iproute2: make, furnish, find who lives in them, end them.

Every failure is a :class:`CommandError` that names the command and what it said.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

from econe_api.compute import kernel

_PROC = "/proc"
_ROUNDS = 10  # processes that fork while they are being ended are found by the next round

#: Keeps the kernel from speaking on its own: no router solicitation, no multicast listener reports.
QUIET: Mapping[str, str] = {"net/ipv6/conf/all/disable_ipv6": "1"}


#: With IPv6, but still quiet: no router is asked or believed.
QUIET_WITH_IPV6: Mapping[str, str] = {
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/default/router_solicitations": "0",
}


class CommandError(Exception):
    """A command of the system failed; the text is one line: the command and its error."""

    def __init__(self, command: Sequence[str], reason: str) -> None:
        super().__init__(f"{' '.join(command)}: {' '.join(reason.split()) or 'failed without a word'}")


def run(command: Sequence[str], feed: str = "", timeout: float = 30.0, env: Mapping[str, str] | None = None) -> str:
    """Run ``command`` with ``feed`` on its standard input and return its standard output.

    ``env`` is added to this process's environment; ``timeout`` is in seconds.
    """
    environment = {**os.environ, **env} if env else None
    try:
        done = subprocess.run(
            command, input=feed, capture_output=True, text=True, timeout=timeout, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(command, f"not done within {timeout:g} s") from error
    except OSError as error:
        raise CommandError(command, str(error.strerror)) from error
    if done.returncode != 0:
        raise CommandError(command, done.stderr or done.stdout or f"exit status {done.returncode}")
    return done.stdout


def ip_batch(lines: Sequence[str], netns: str | None = None, version: int | None = None) -> None:
    """Run ``lines``, commands of ``ip``, in one process, inside ``netns`` or where this process is.

    ``version`` 4 or 6 is for commands whose words do not tell it.
    """
    family = [] if version is None else [f"-{version}"]
    where = ["ip", *family] if netns is None else ["ip", *family, "-n", netns]
    try:
        run([*where, "-batch", "-"], feed="".join(f"{line}\n" for line in lines))
    except CommandError as error:
        reason, separator, number = str(error).rpartition("Command failed -:")
        if not separator or not number.isdigit():
            raise
        cause = reason.partition("-batch -:")[2]
        raise CommandError([*where, lines[int(number) - 1]], cause) from error


def inside(netns: str, command: Sequence[str]) -> list[str]:
    """Return the command that runs ``command`` inside ``netns``, in the same process."""
    return ["ip", "netns", "exec", netns, *command]


@contextmanager
def there(netns: str) -> Iterator[None]:
    """Have the calling thread, and the processes that it starts, in ``netns`` while the block lasts."""
    try:
        with kernel.entered(netns):
            yield
    except OSError as error:
        raise CommandError(["in", "namespace", netns], str(error)) from error


_prepared = threading.Event()


def add(name: str) -> None:
    """Make a namespace.

    The first one is left to iproute2, which makes a shared mount of the directory of all their names; without that a
    name that is taken away would live on for processes that were started in other namespaces before.
    """
    if not _prepared.is_set():
        ip_batch([f"netns add {name}"])
        _prepared.set()
        return
    try:
        kernel.create(name)
    except OSError as error:
        raise CommandError(["ip", "netns", "add", name], str(error)) from error


def set_sysctls(netns: str, settings: Mapping[str, str]) -> None:
    """Write kernel ``settings`` (paths below /proc/sys) that belong to ``netns``."""
    with there(netns):
        kernel.write_settings(settings)


def checksum_in_software(netns: str, interface: str) -> None:
    """Have the kernel write checksums itself on ``interface``.

    A veth leaves them to hardware that is not there, and a userspace switch, unlike the kernel, would notice.
    """
    with there(netns):
        kernel.checksum_in_software(interface)


def delete_link(netns: str, interface: str) -> None:
    """Delete a network device; one that is not there is fine."""
    if run(["ip", "-n", netns, "-br", "link", "show", "type", "veth"]).find(f"{interface}@") >= 0:
        ip_batch([f"link delete {interface}"], netns)


def namespaces(prefix: str) -> list[str]:
    """Return the names of the namespaces that start with ``prefix``, in order."""
    try:
        return sorted(entry.name for entry in kernel.NAMED.iterdir() if entry.name.startswith(prefix))
    except FileNotFoundError:
        return []


def processes(names: Iterable[str]) -> dict[int, str]:
    """Return who lives in the namespaces ``names``: process id -> namespace."""
    inodes = _inodes(names)
    found = {}
    if inodes:
        for entry in os.listdir(_PROC):  # noqa: PTH208 - thousands of times a second: no objects for what is not ours
            if entry.isdigit() and (name := inodes.get(_namespace_of(entry), "")):
                found[int(entry)] = name
    return found


def _inodes(names: Iterable[str]) -> dict[int, str]:
    found = {}
    for name in names:
        try:
            found[(kernel.NAMED / name).stat().st_ino] = name
        except FileNotFoundError:
            continue
    return found


def _namespace_of(pid: str) -> int:
    """Return the inode of the namespace of ``pid``; 0 when the process has ended."""
    try:
        return os.stat(f"{_PROC}/{pid}/ns/net").st_ino  # noqa: PTH116 - as above
    except OSError:
        return 0


def end_processes(names: Collection[str], patience: float = 2.0) -> None:
    """End every process in the namespaces ``names``: ask, and after ``patience`` seconds insist."""
    inodes = _inodes(names)
    for _ in range(_ROUNDS):
        found = processes(names)
        if not found:
            return
        with hold(found) as held:
            still = [pid for pid in held if _namespace_of(str(pid)) in inodes]
            end_held({pid: held[pid] for pid in still}, patience)


@contextmanager
def hold(pids: Iterable[int]) -> Iterator[dict[int, int]]:
    """Give a descriptor for each process of ``pids`` that is there.

    A descriptor, unlike a number, cannot come to mean another process.
    """
    held = {}
    with ExitStack() as stack:
        for pid in pids:
            with suppress(ProcessLookupError):
                held[pid] = os.pidfd_open(pid)
                stack.callback(os.close, held[pid])
        yield held


def end_held(held: Mapping[int, int], patience: float) -> None:
    """End the processes that :func:`hold` gave: ask, and after ``patience`` seconds insist."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        for descriptor in held.values():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal_number)
        if _all_ended(set(held.values()), time.monotonic() + patience):
            return
    raise CommandError(["kill", "-9", *map(str, sorted(held))], f"still there after {patience:g} s")


def _all_ended(descriptors: set[int], deadline: float) -> bool:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    while descriptors:
        ended = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not ended:
            return False
        for descriptor, _ in ended:
            poll.unregister(descriptor)
            descriptors.discard(descriptor)
    return True


def delete(names: Iterable[str]) -> None:
    """Delete the namespaces ``names`` with all that is in them, after ending their processes; absent ones are fine."""
    present = [name for name in names if (kernel.NAMED / name).exists()]
    end_processes(present)
    for name in present:
        kernel.forget(name)
