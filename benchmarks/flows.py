"""How many flows a host needs for one policy: ours and OVN's, counted in two switches side by side."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from benchmarks.ovn import Ovn, network
from benchmarks.policy import Policy, our_flows
from benchmarks.result import NOTES, Result, json_option, report
from econe_api.compute import netns
from flowrules.text import flow_text
from topologies.errors import LabError

_NBCTL_BATCH = 400
_SETTLE = 120.0
_LOOKS = 5
"""Looks, a second apart, that must find the same number."""


@click.command("flows")
@click.option("--ports", default=200, show_default=True, help="Ports of the network.")
@click.option("--local", default=100, show_default=True, help="How many of them are on this host.")
@click.option("--elastic", default=100, show_default=True, help="How many local ports have an elastic IP.")
@json_option
def command(ports: int, local: int, elastic: int, file: Path | None) -> None:
    """Flows on one host for one policy: a shared group of five rules, elastic IPs; ours and OVN's."""
    if not 0 <= elastic <= local <= ports <= 10_000:
        raise click.UsageError("elastic <= local <= ports <= 10000, please")
    figures = run(Policy(ports, local, elastic), f"bench{os.getpid()}", NOTES.print)
    ours, theirs = figures["ours"], figures["ovn"]
    method = f"{local} local ports of {ports}, {elastic} elastic IPs, one group of 5 rules; counted in the switches."
    report([Result("flows", ours, theirs, "flows", "OVN", "<= 1/4 of OVN's", 4 * ours <= theirs, method=method)], file)


def run(policy: Policy, namespace: str, progress: Callable[[str], None]) -> dict[str, Any]:
    """Count; returns the figures of both."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder, Ovn(namespace, Path(folder)) as ovn:
        progress(f"our flows for {policy.ports} ports, {policy.local} of them here")
        ours = _ours(policy, ovn)
        progress("the same policy in OVN")
        theirs = install(policy, ovn)
    return {"ports": policy.ports, "local": policy.local, "elastic": policy.elastic, "ours": ours, "ovn": theirs}


def _ours(policy: Policy, ovn: Ovn) -> int:
    ovn.switch.vsctl("add-br", "ours", "--", "set", "Bridge", "ours", "datapath_type=netdev", "fail_mode=secure")
    flows = our_flows(policy)
    for meter in {flow.meter for flow in flows if flow.meter}:
        band = f"band=type=drop,rate={meter.packets_per_second},burst_size={meter.burst}"
        words = ["add-meter", "ours", f"meter={meter.id},pktps,burst,{band}"]
        netns.run(["ovs-ofctl", "-OOpenFlow14", *words], env=ovn.switch.environment)
    lines = "\n".join(flow_text(flow) for flow in flows)
    netns.run(
        ["ovs-ofctl", "-OOpenFlow14", "--bundle", "add-flows", "ours", "-"], feed=lines, env=ovn.switch.environment
    )
    return _count(ovn, "ours")


def install(policy: Policy, ovn: Ovn, *, internal: bool = True) -> int:
    """Give OVN the policy; returns the number of flows that it comes to.

    Local ports are made as internal ones, unless the caller has made them (``internal`` False).
    """
    ovn.sbctl("chassis-add", "there", "geneve", "127.0.0.2")
    _in_batches(ovn, _network(policy))
    for start in range(0, policy.local if internal else 0, 50):
        words: list[str] = []
        for number in range(start, min(start + 50, policy.local)):
            words += ["--", "add-port", "br-int", f"p{number}"]
            words += ["--", "set", "Interface", f"p{number}", "type=internal", f"external_ids:iface-id=p{number}"]
        ovn.switch.vsctl(*words[1:])
    ovn.nbctl("--wait=sb", "sync")
    for start in range(policy.local, policy.ports, 50):
        words = []
        for number in range(start, min(start + 50, policy.ports)):
            words += ["--", "lsp-bind", f"p{number}", "there"]
        ovn.sbctl(*words[1:])
    ovn.nbctl("--wait=hv", "sync")
    return _settled(ovn, "br-int")


def _network(policy: Policy) -> Iterable[list[str]]:
    """The commands of ovn-nbctl: a switch, a router with a gateway port, a public switch, a port group with ACLs."""
    yield from network()
    yield ["lrp-set-gateway-chassis", "to-public", "here"]
    for number in range(policy.ports):
        yield ["lsp-add", "net", f"p{number}"]
        yield ["lsp-set-addresses", f"p{number}", f"{policy.mac(number)} {policy.address(number)}"]
        yield ["lsp-set-port-security", f"p{number}", f"{policy.mac(number)} {policy.address(number)}"]
    yield ["pg-add", "shared", *(f"p{number}" for number in range(policy.ports))]
    allowed = (
        "tcp.dst == 22",
        "tcp.dst == 80",
        "tcp.dst >= 8000 && tcp.dst <= 8099",
        "ip4.src == 10.0.0.0/8 && udp.dst == 53",
        "ip4.src == $shared_ip4",
    )
    for what in allowed:
        yield ["acl-add", "shared", "to-lport", "1002", f"outport == @shared && ip4 && {what}", "allow-related"]
    yield ["acl-add", "shared", "to-lport", "1001", "outport == @shared && ip", "drop"]
    yield ["acl-add", "shared", "from-lport", "1002", "inport == @shared && ip4", "allow-related"]
    for number in range(policy.elastic):
        mac = f"02:e1:00:00:{number >> 8:02x}:{number & 255:02x}"
        nat = ["dnat_and_snat", policy.public(number), policy.address(number), f"p{number}", mac]
        yield ["lr-nat-add", "router", *nat]


def _in_batches(ovn: Ovn, commands: Iterable[list[str]]) -> None:
    words: list[str] = []
    for command in commands:
        words += ["--", *command]
        if len(words) > _NBCTL_BATCH:
            ovn.nbctl(*words)
            words = []
    if words:
        ovn.nbctl(*words)


def _settled(ovn: Ovn, bridge: str) -> int:
    """The count once it stands still: ovn-controller says that it is done while flows of new bindings still come."""
    deadline = time.monotonic() + _SETTLE
    counts = [_count(ovn, bridge)]
    while len(counts) < _LOOKS or len(set(counts[-_LOOKS:])) > 1:
        if time.monotonic() > deadline:
            raise LabError(f"the flows of OVN have not come to rest within {_SETTLE:g} s")
        time.sleep(1.0)
        counts.append(_count(ovn, bridge))
    return counts[-1]


def _count(ovn: Ovn, bridge: str) -> int:
    return dump(ovn, bridge).count("actions=")


def dump(ovn: Ovn, bridge: str) -> str:
    """All flows of a bridge, a line each."""
    command = ["ovs-ofctl", "-OOpenFlow13", "dump-flows", bridge]
    return netns.run(command, timeout=60, env=ovn.switch.environment)
