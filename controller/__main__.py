"""Starts the controller: ``python -m controller [ryu-manager's flags]``.

Ryu 4.34 is the last of its line.  On Python 3.11 its own ``ryu-manager`` cannot start, because ``ryu.app.wsgi`` imports
a name that Eventlet has since removed; :func:`ryu_manager`, which the installation puts in its place, gives it that
name and safer defaults, and runs it.

SIGTERM and SIGINT end it in order, with status 0.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Any

APP = "controller.app"
#: File descriptors to ask for: every half-open connection that is put up with needs one, and the usual bound is 1,024.
_DESCRIPTORS = 65536
_OPENFLOW_PORT = 6653  # IANA's OpenFlow port
_CONFIG_FILES = ["/usr/local/etc/ryu/ryu.conf"]  # as ryu.cmd.manager has it


class _AskedToEnd(BaseException):
    """Goes through Ryu's main loop; no Exception, so that nobody on the way takes it for a fault."""


def main() -> int:
    """Run Sluice's application under Ryu; takes ryu-manager's flags and ``--sluice-config FILE``."""
    arguments = sys.argv[1:]
    return _run(arguments if APP in arguments else [*arguments, APP])


def ryu_manager() -> int:
    """``ryu-manager``, able to start on this Python; runs the applications named on the command line."""
    return _run(sys.argv[1:])


def _run(arguments: Sequence[str]) -> int:
    _ask_for_descriptors()
    manager = _prepare(arguments)
    from oslo_config import cfg
    from ryu.base.app_manager import AppManager

    from certificates.files import FilesError
    from controller.doors import DoorError
    from econe_api.config import ConfigError

    try:
        is_ours = _look_ahead(manager.CONF, arguments)
        _end_when_asked()
        manager.main(args=list(arguments), prog="ryu-manager")
    except _AskedToEnd:
        AppManager.get_instance().close()  # Ryu has done so, unless it was still about to start them
        return 0
    except (cfg.Error, ConfigError, DoorError, FilesError) as error:
        return _complain(" ".join(str(error).split()))
    # An application of Ryu's may come to its end; the controller does so only when it cannot listen, and Ryu logs why.
    return _complain("OpenFlow cannot be served; the cause is above") if is_ours else 0


def _ask_for_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _prepare(arguments: Sequence[str]) -> Any:
    """Import ryu.cmd.manager with what it misses, and set the defaults that Ryu should have had."""
    warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
    import eventlet

    # Before anything makes a lock: Ryu itself would do it later, and leave locks behind that are none of Eventlet's.
    eventlet.monkey_patch(thread="--enable-debugger" not in arguments)
    import eventlet.wsgi

    if not hasattr(eventlet.wsgi, "ALREADY_HANDLED"):
        eventlet.wsgi.ALREADY_HANDLED = object()
    from oslo_config import cfg
    from ryu.cmd import manager

    manager.CONF.register_cli_opt(cfg.StrOpt("sluice-config", help="Sluice's configuration (default: $SLUICE_CONFIG)"))
    defaults = {
        "ofp_listen_host": "127.0.0.1",  # OpenFlow without TLS has no business on other addresses by default
        "ofp_tcp_listen_port": _OPENFLOW_PORT,
        "echo_request_interval": 5,
        "maximum_unreplied_echo_requests": 2,  # 0 would never notice a switch that is gone without a word
    }
    for name, value in defaults.items():
        manager.CONF.set_default(name, value)
    return manager


def _look_ahead(conf: Any, arguments: Sequence[str]) -> bool:
    """See that what is to be opened can be; return whether Sluice's application is among those to run.

    Ryu listens in a green thread whose failure is a trace in the log and nothing else.
    """
    from controller import doors

    files = [name for name in _CONFIG_FILES if os.access(name, os.R_OK)]
    conf(args=list(arguments), prog="ryu-manager", project="ryu", default_config_files=files)
    if conf.sluice_config is not None:
        os.environ["SLUICE_CONFIG"] = conf.sluice_config  # what every part of the control plane reads
    is_ours = any(APP in names.split(",") for names in [*conf.app_lists, *conf.app])
    if is_ours:
        _look_at_ours(conf)
    port = conf.ofp_ssl_listen_port if conf.ctl_privkey and conf.ctl_cert else conf.ofp_tcp_listen_port
    doors.check_port(conf.ofp_listen_host, port, "OpenFlow address", "choose another with --ofp-tcp-listen-port")
    return is_ours


def _look_at_ours(conf: Any) -> None:
    from certificates.files import AuthorityFolder
    from controller import doors
    from econe_api.config import load

    config = load(None)
    doors.check(config)
    if conf.ctl_privkey or conf.ctl_cert or conf.ca_certs:
        raise doors.DoorError("--ctl-privkey, --ctl-cert and --ca-certs are not for Sluice: set controller.tls = true")
    doors.check_exposure(conf.ofp_listen_host, config)
    if config.controller.tls:
        AuthorityFolder(config.state).controller()
        if conf.ofp_ssl_listen_port is not None:
            conf.set_override("ofp_tcp_listen_port", conf.ofp_ssl_listen_port)


def _end_when_asked() -> None:
    """Have SIGTERM and SIGINT end the main greenlet.

    The handler itself may run in the middle of anything; it only makes a pipe readable, which a greenlet waits for.
    """
    import eventlet
    from eventlet import hubs

    main = eventlet.getcurrent()
    reading, writing = os.pipe()
    for end in (reading, writing):
        os.set_blocking(end, False)

    def wait() -> None:
        hubs.trampoline(reading, read=True)
        eventlet.kill(main, _AskedToEnd)

    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    eventlet.spawn(wait)


def _complain(line: str) -> int:
    sys.stderr.write(f"controller: {line}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
