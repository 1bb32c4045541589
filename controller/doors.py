"""The addresses that the controller answers on: looked at before Ryu starts, so that a fault is one line and not a
trace, and opened so that no two controllers ever share one.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from pathlib import Path
from typing import Any

import eventlet

from econe_api.config import Config

_PROBE = 1.0
#: Connections that wait to be accepted; with few, a burst of strangers makes a switch wait to send its SYN again.
_BACKLOG = 4096


class DoorError(Exception):
    """An address cannot be had; the text is one line that names cause and mend."""


def check(config: Config) -> None:
    """See that the agents' port and the unix socket of ``config`` can be had; raises :class:`DoorError`."""
    host, _, port = config.controller.agent_listen.rpartition(":")
    check_port(host.strip("[]"), int(port), "agents' address", "set controller.agent_listen")
    if config.metrics.enabled:
        host, _, port = config.metrics.controller.rpartition(":")
        check_port(host.strip("[]"), int(port), "metrics address", "set metrics.controller")
    check_folder(config.controller.socket)
    check_socket(config.controller.socket)


def check_exposure(openflow: str, config: Config) -> None:
    """See that nothing that others can reach is without TLS, unless the configuration says so; raises
    :class:`DoorError`.  ``openflow`` is the host part of that listener's address.
    """
    if config.controller.tls or config.controller.allow_plaintext:
        return
    agents = config.controller.agent_listen.rpartition(":")[0].strip("[]")
    for what, host in (("OpenFlow", openflow), ("agents", agents)):
        if not _is_loopback(host):
            raise DoorError(
                f"the address for {what}, {host}, can be reached by others and has no TLS: set controller.tls = true, "
                "or controller.allow_plaintext = true on a network that is yours alone"
            )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_port(host: str, port: int, what: str, mend: str) -> None:
    """See that nobody listens on a TCP port yet; raises :class:`DoorError`."""
    with socket.socket(family(host), socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            cause = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror or error})"
            raise DoorError(f"{what} {host}:{port} {cause}: is another controller running? Else {mend}") from error


def listen(host: str, port: int) -> Any:
    """Return a green socket that listens; raises ``OSError``."""
    # Eventlet would let a second controller share the port, and half of the peers would go to each.
    return eventlet.listen((host, port), family=family(host), backlog=_BACKLOG, reuse_port=False)


def family(host: str) -> socket.AddressFamily:
    """Return the address family of ``host``."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def check_folder(path: Path) -> None:
    """Make the folder of the unix socket ``path``, and see that it can be written to; raises :class:`DoorError`."""
    probe = path.with_name(f".{path.name}.probe")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise DoorError(
            f"{path.parent} is not writable ({error.strerror}); run as a user who may write there, "
            "or set 'state' to another directory"
        ) from error


def check_socket(path: Path) -> None:
    """See that nobody answers on the unix socket ``path``; what a dead controller left there goes.

    Raises :class:`DoorError` when somebody does, or when something else has that name.
    """
    if not path.exists():
        return
    if not path.is_socket():
        raise DoorError(f"{path} is there and is no socket: move it, or set controller.socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:  # one that is too busy to answer lives, too
            reason = f"does not let us look ({error.strerror or error})"
        else:
            reason = "is another controller's"
    raise DoorError(f"{path} {reason}: stop that controller, or set controller.socket")
