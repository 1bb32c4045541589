"""Our controller's own parts on one switch, without store and agents: records in, acknowledged flows out.

``python -m benchmarks.own_side PORTS LOCAL ELASTIC`` listens on 127.0.0.1, port 6653, waits for the switch, and brings
it in line by what runs in the controller: Ryu's connection behind the guard, the session, the composer, its bridge,
the compiler.  Prints one line of JSON: the seconds from the first record to the acknowledgement of the last flow, where
they went, flow-mods, flows and resident memory.  Answers the switch until it is ended.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore", message="(?s).*Eventlet is deprecated")

import eventlet  # noqa: E402
import eventlet.wsgi  # noqa: E402

# Ryu's WSGI module, which its own imports pull in, wants a name that newer eventlets no longer have.
eventlet.wsgi.ALREADY_HANDLED = getattr(eventlet.wsgi, "ALREADY_HANDLED", object())

from ryu.base import app_manager  # noqa: E402
from ryu.controller import controller as ryu_controller  # noqa: E402
from ryu.controller import handler, ofp_handler  # noqa: E402
from ryu.ofproto import ofproto_protocol, ofproto_v1_3  # noqa: E402

from benchmarks import policy  # noqa: E402
from controller import wire  # noqa: E402
from controller.bridge import Bridge  # noqa: E402
from controller.collector import collect_rarely  # noqa: E402
from controller.composer import Composer  # noqa: E402
from controller.desired import Desired  # noqa: E402
from controller.openflow import OpenFlowSession  # noqa: E402
from controller.world import World  # noqa: E402

LISTEN = ("127.0.0.1", 6653)
_BOUND = 120.0
_REST = 2.5
"""Seconds until elastic IPs that have come have been announced: the memory is that of a controller at rest."""
_WATCHED: dict[str, tuple[type, str]] = {
    "records": (World, "apply"),
    "compile": (Desired, "prepare"),
    "take over": (Desired, "adopt"),
    "dump and compare": (Bridge, "_compare"),
    "meters": (OpenFlowSession, "set_meters"),
    "flush": (OpenFlowSession, "flush_zone"),
    "install": (OpenFlowSession, "apply"),
}


def main(arguments: list[str]) -> None:
    """Serve one switch."""
    wanted = policy.Policy(*(int(word) for word in arguments))
    spent = {name: _watch(*what) for name, what in _WATCHED.items()}
    listener = eventlet.listen(LISTEN)
    _prepare_ryu()
    records, said = policy.batch(wanted), policy.hosts(wanted)
    composer = Composer(expected=said)
    datapath = _accept(listener)
    before = resident()
    session = OpenFlowSession(datapath, timeout=_BOUND)
    start, busy = time.perf_counter(), time.process_time()
    composer.switch_connected(session.dpid, session)
    for host, ports in said.items():
        composer.take_snapshot(host, ports)
    composer.take_batch(records)
    _, lagging = composer.wait_installed(records.revision, _BOUND)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    if "here" in lagging:
        raise SystemExit(f"not installed within {_BOUND:g} s: {composer.bridges['here'].problem}")
    del records, said
    eventlet.sleep(_REST)
    gc.collect()
    status = composer.status()
    (host,) = [one for one in status["hosts"] if one["name"] == "here"]
    figures = {
        "seconds": seconds,
        "processor": round(busy, 4),
        "phases": {name: round(sum(times), 4) for name, times in spent.items()},
        "flows": host["flows"],
        "flow_mods": host["flow_mods"],
        "meter_mods": host["meter_mods"],
        "bundles": composer.bridges["here"].bundles,
        "compiled": status["counters"]["compiled"],
        "rss_before": before,
        "rss_after": resident(),
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()
    while True:
        eventlet.sleep(60)


def resident() -> int:
    """Resident memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def _prepare_ryu() -> None:
    """Ryu's handshake, loaded as ryu-manager does, and the guard."""
    ofproto_protocol.set_app_supported_versions([ofproto_v1_3.OFP_VERSION])
    app_manager.register_app(ofp_handler.OFPHandler())
    wire.install()
    collect_rarely()


def _accept(listener: Any) -> Any:
    """The connection of the first switch, past its handshake."""
    peer, address = listener.accept()
    datapath = ryu_controller.Datapath(peer, address)
    eventlet.spawn(_serve, datapath)
    with eventlet.Timeout(_BOUND):
        while datapath.state != handler.MAIN_DISPATCHER:
            eventlet.sleep(0.002)
    return datapath


def _serve(datapath: Any) -> None:
    with contextlib.closing(datapath):
        datapath.serve()
    sys.stderr.write("the connection to the switch was lost: the machine is too busy\n")
    os._exit(1)  # nothing can be measured any more; an exception would end this greenlet alone


def _watch(owner: type, name: str) -> list[float]:
    """Note how long each call of a method takes."""
    method: Callable[..., Any] = getattr(owner, name)
    times: list[float] = []

    def watched(*arguments: Any, **named: Any) -> Any:
        start = time.perf_counter()
        try:
            return method(*arguments, **named)
        finally:
            times.append(time.perf_counter() - start)

    setattr(owner, name, watched)
    return times


if __name__ == "__main__":
    main(sys.argv[1:])
