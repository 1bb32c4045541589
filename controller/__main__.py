"""Starts the controller: ``python -m controller [ryu-manager's flags]``.

Ryu 4.34 is the last of its line.  On Python 3.11 its own ``ryu-manager`` cannot start, because ``ryu.app.wsgi`` imports
a name that Eventlet has since removed; :func:`ryu_manager`, which the installation puts in its place, gives it that
name and safer defaults, and runs it.
"""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

_OPENFLOW_PORT = 6653  # IANA's OpenFlow port


def main() -> int:
    """Run Sluice's application under Ryu; takes ryu-manager's flags and ``--sluice-config FILE``."""
    arguments = sys.argv[1:]
    return _run([*arguments, "controller.app"] if "controller.app" not in arguments else arguments)


def ryu_manager() -> int:
    """``ryu-manager``, able to start on this Python; runs the applications named on the command line."""
    return _run(sys.argv[1:])


def _run(arguments: Sequence[str]) -> int:
    manager = _prepare()
    from channel.frames import FrameError
    from controller.request_server import SocketTakenError
    from econe_api.config import ConfigError

    arguments = _take_config(arguments)
    try:
        _check_port(manager, arguments)
        manager.main(args=list(arguments), prog="ryu-manager")
    except (ConfigError, SocketTakenError, FrameError) as error:
        return _complain(str(error))
    except OSError as error:
        return _complain(
            f"{error.strerror or error} ({error.filename or 'a listening address'}): is another controller running?"
        )
    return 0


def _prepare() -> Any:
    """Import ryu.cmd.manager with what it misses, and set the defaults that Ryu should have had."""
    warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
    import eventlet.wsgi

    if not hasattr(eventlet.wsgi, "ALREADY_HANDLED"):
        eventlet.wsgi.ALREADY_HANDLED = object()
    from ryu.cmd import manager

    defaults = {
        "ofp_listen_host": "127.0.0.1",  # OpenFlow without TLS has no business on other addresses by default
        "ofp_tcp_listen_port": _OPENFLOW_PORT,
        "echo_request_interval": 5,
        "maximum_unreplied_echo_requests": 2,  # 0 would never notice a switch that is gone without a word
    }
    for name, value in defaults.items():
        manager.CONF.set_default(name, value)
    return manager


def _take_config(arguments: Sequence[str]) -> list[str]:
    """``--sluice-config FILE`` becomes the environment variable that every part of the control plane reads."""
    rest: list[str] = []
    pending = False
    for argument in arguments:
        if pending:
            os.environ["SLUICE_CONFIG"] = argument
            pending = False
        elif argument == "--sluice-config":
            pending = True
        elif argument.startswith("--sluice-config="):
            os.environ["SLUICE_CONFIG"] = argument.partition("=")[2]
        else:
            rest.append(argument)
    return rest


def _check_port(manager: Any, arguments: Sequence[str]) -> None:
    """Ryu listens in a green thread whose failure nobody would see; look before."""
    import socket

    conf = manager.CONF
    conf(args=list(arguments), prog="ryu-manager", project="ryu", default_config_files=[])
    host, port = conf.ofp_listen_host, conf.ofp_ssl_listen_port if conf.ctl_privkey else conf.ofp_tcp_listen_port
    conf.clear()
    probe = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
    except OSError as error:
        cause = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise OSError(error.errno, f"OpenFlow address {host}:{port} {cause}") from error
    finally:
        probe.close()


def _complain(line: str) -> int:
    sys.stderr.write(f"controller: {line}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
