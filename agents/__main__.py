"""Entry point: ``python -m agents --host NAME --controller TARGET --report IP:PORT ...``; see ``sluice agent run``."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys

from agents import metrics
from agents.agent import Agent
from agents.driver import DoorError, DriverDoor
from agents.limits import Limits
from agents.options import Options, parse
from agents.ovsdb import Ovsdb
from agents.questions import Questions
from agents.renewal import Renewal
from agents.report import Link
from agents.service import MetadataService
from agents.session import Backoff, Timing
from certificates.files import FilesError, HostFolder
from telemetry import exposition, logs


def main() -> int:
    """Run with the options of the command line."""
    return run(parse(sys.argv[1:]))


def run(options: Options) -> int:
    """Run until SIGTERM or SIGINT; the bridge and its flows are left as they are."""
    logs.setup(options.log_format, "agent")
    try:
        renewal = Renewal(HostFolder(options.tls), options.host) if options.tls is not None else None
    except FilesError as error:
        sys.stderr.write(f"agent: {error}\n")
        return 1
    wakeup = _wake_on_signals()
    timing = Timing(answer=options.answer_timeout)
    ovsdb = Ovsdb(options.ovsdb, options.bridge.name)
    backoff, questions = Backoff(timing, random.random), Questions(options.control)
    context = renewal.context if renewal is not None else None
    link = Link(options.host, options.report, timing, backoff, questions, context)
    service = MetadataService(options.metadata, link) if options.metadata is not None else None
    door = None
    try:
        if options.driver_socket is not None:
            door = DriverDoor(options.driver_socket, options.driver_group, options.bridge.name, link)
        limits = Limits(Questions(options.control), options.conntrack_limit)
        agent = Agent(options.bridge, ovsdb, link, limits, service, door, renewal)
        if options.metrics is not None:
            exposition.serve(metrics.registry(agent, ovsdb, link), exposition.listen(options.metrics))
        agent.run(wakeup)
    except (DoorError, exposition.EndpointError) as error:
        sys.stderr.write(f"agent: {error}\n")
        return 1
    finally:
        if door is not None:
            door.close()
        if service is not None:
            service.close()
        link.close()
        ovsdb.close()
    logging.info("ended")
    return 0


def _wake_on_signals() -> int:
    """Return a descriptor that becomes readable when the process is asked to end."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    return reading


if __name__ == "__main__":
    sys.exit(main())
