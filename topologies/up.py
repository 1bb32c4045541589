"""``scripts/up``: the small cloud, kept running in the foreground until Ctrl-C."""

from __future__ import annotations

import ipaddress
import sys
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from topologies import command, layout
from topologies.cloud import Cloud, Plan
from topologies.errors import LabError
from topologies.interrupts import Interrupted, Interrupts

PROG = "scripts/up"
API_PORT = 8773
#: A process that ends by itself is started again, but so many times in :data:`MINUTE` at most.
RESTARTS = 3
MINUTE = 60.0
_PAUSE = 0.2


def main() -> int:
    """Run the cloud until a signal ends it and return the exit status."""
    parser = command.Parser(prog=PROG, description="Run a small cloud on this machine until Ctrl-C.")
    add = parser.add_argument
    add("--hypervisors", type=int, default=2, metavar="N", help="how many (default %(default)s)")
    add("--api-port", type=_port, default=API_PORT, metavar="PORT", help="on 127.0.0.1, 0 = any (default %(default)s)")
    add("--state", type=Path, metavar="DIR", help="keep accounts, addresses, groups, instances and logs there")
    add("--name", default="sluice", help="begin the namespaces' names with it (default %(default)s)")
    add(
        "--public-range",
        type=_range,
        default=_range("198.51.100.64-198.51.100.127"),
        metavar="FIRST-LAST",
        help=f"elastic IPs to hand out, of {layout.PUBLIC_CIDR} (default 198.51.100.64-198.51.100.127)",
    )
    add("--fabric", choices=layout.FABRICS, default="vlan", help="what the fabric tells VPCs apart by (default vlan)")
    add("--tls", action="store_true", help="switches and agents talk to the controller by mutual TLS")
    options = parser.parse_args()
    return command.run(PROG, lambda interrupts: _up(options, interrupts))


def _up(options: Namespace, interrupts: Interrupts) -> int:
    with _state(options) as state:
        first, last = options.public_range
        size = (options.name, state, options.hypervisors, options.api_port)
        plan = Plan(*size, first, last, options.fabric, tls=options.tls)
        cloud = Cloud(plan, lambda text: _say(f"  {text}"), interrupts.check)
        _say("Building the cloud")
        try:
            cloud.start()
            command.forget_earlier(state)
            _introduce(cloud)
            _keep_running(cloud, interrupts)
        except Interrupted:
            _say("Taking the cloud down")
            raise
        finally:
            with interrupts.ignored():
                cloud.close()
    return 0


@contextmanager
def _state(options: Namespace) -> Iterator[Path]:
    if options.state is not None:
        yield options.state
        return
    with command.scratch_state(options.name) as state:
        yield state


def _introduce(cloud: Cloud) -> None:
    exports = " ".join(f"{name}={value}" for name, value in cloud.environment.items())
    tool = Path(sys.executable).parent
    _say(f"""
Ready.  In another terminal:

  export {exports}
  aws ec2 describe-addresses

  {tool / "sluice"} --config {cloud.config_file.absolute()} status
  ip netns exec {cloud.outside.namespace} bash     # a shell on the outside host, {layout.OUTSIDE_IP} (as root)

Images: {", ".join(image.id for image in cloud.config.images)}.  Logs: {cloud.plan.state.absolute()}/*.log
Ctrl-C ends it.
""")


def _keep_running(cloud: Cloud, interrupts: Interrupts) -> None:
    """Watch over the processes; returns by :class:`topologies.interrupts.Interrupted` alone."""
    ends: list[float] = []
    while True:
        interrupts.check()
        for name, daemon in cloud.daemons.items():
            if daemon.status is None:
                continue
            said = f"{name} ended with status {daemon.status}: {daemon.last_words()} (all of it: {daemon.recipe.log})"
            now = time.monotonic()
            ends = [*(end for end in ends if end > now - MINUTE), now]
            if len(ends) > RESTARTS:
                raise LabError(f"{said}; processes keep ending, giving up")
            _say(f"{said}; starting it again")
            cloud.restart(name)
        time.sleep(_PAUSE)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise ArgumentTypeError(f"{text!r} is no port: write a number from 0 to 65535")
    return int(text)


def _range(text: str) -> tuple[str, str]:
    first, separator, last = text.partition("-")
    try:
        ends = ipaddress.IPv4Address(first.strip()), ipaddress.IPv4Address(last.strip())
    except ValueError:
        separator = ""
    network = ipaddress.IPv4Network(layout.PUBLIC_CIDR)
    if not separator or not ends[0] <= ends[1] or not all(end in network for end in ends):
        raise ArgumentTypeError(f"{text!r} is no range of {network}: write it as 198.51.100.64-198.51.100.127")
    return str(ends[0]), str(ends[1])


if __name__ == "__main__":
    sys.exit(main())
