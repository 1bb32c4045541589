"""OVN with thousands of ports on one switch, seen from one chassis, and what a change costs there until it is in force.

16 ports are here, all others are bound to chassis that are only names.  That is less than the same change costs on
hundreds of real chassis: what is timed is ovn-northd and one ovn-controller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.ovn import Ovn, network
from benchmarks.policy import Policy
from benchmarks.scale_lab import timed
from benchmarks.scale_switch import transact

LOCAL = 16
GROUP = "shared"
CROWD = "crowd"
_WORDS = 6000
"""Words of one command: each run of ovn-nbctl reads the whole database first."""
_PATIENCE = 600
Step = Callable[[int], None]


def policy_of(vms: int) -> Policy:
    """The ports of ``vms`` instances, 16 of them here."""
    return Policy(vms, min(LOCAL, vms), 0)


class OvnCloud:
    """The ports, the router and a port group that all ports are in."""

    def __init__(self, ovn: Ovn, policy: Policy) -> None:
        self._ovn = ovn
        self._policy = policy

    def build(self) -> None:
        """Make all of it; returns when the flows are in force."""
        self._ovn.sbctl("chassis-add", "there", "geneve", "127.0.0.2")
        self._nbctl(network())
        self._add_ports()
        self._nbctl(_rules())
        self._ovn.nbctl("--wait=sb", "sync", timeout=_PATIENCE)
        self._bind(range(self._policy.local, self._policy.ports))
        # Only now does any of it concern this chassis: bindings that come one by one cost it minutes.
        plugs = []
        for number in range(self._policy.local):
            plugs += ["--", "add-port", "br-int", f"p{number}", "--", "set", "Interface", f"p{number}"]
            plugs += ["type=internal", f"external_ids:iface-id=p{number}"]
        self._ovn.switch.vsctl(*plugs[1:])
        self._ovn.nbctl("lrp-set-gateway-chassis", "to-public", "here")
        self._ovn.nbctl("--wait=hv", "sync", timeout=_PATIENCE)

    def _add_ports(self) -> None:
        """The ports, and the group that all of them are in, at once: each run of ovn-nbctl reads all first."""
        operations: list[dict[str, Any]] = []
        for number in range(self._policy.ports):
            where = f"{self._policy.mac(number)} {self._policy.address(number)}"
            row = {"name": f"p{number}", "addresses": where, "port_security": where}
            operations.append({"op": "insert", "table": "Logical_Switch_Port", "row": row, "uuid-name": f"p{number}"})
        ports = ["set", [["named-uuid", f"p{number}"] for number in range(self._policy.ports)]]
        switch = {"op": "mutate", "table": "Logical_Switch", "where": [["name", "==", "net"]]}
        operations.append({**switch, "mutations": [["ports", "insert", ports]]})
        operations.append({"op": "insert", "table": "Port_Group", "row": {"name": GROUP, "ports": ports}})
        transact(Path(self._ovn.database("nb").removeprefix("unix:")), "OVN_Northbound", operations)

    def _bind(self, numbers: Iterable[int]) -> None:
        """Bind ports to the other chassis, in one transaction: lsp-bind of ovn-sbctl searches all ports for each."""
        southbound = Path(self._ovn.database("sb").removeprefix("unix:"))
        look = {"op": "select", "table": "Chassis", "where": [["name", "==", "there"]], "columns": ["_uuid"]}
        every = {"op": "select", "table": "Port_Binding", "where": [], "columns": ["_uuid", "logical_port"]}
        chassis, bindings = transact(southbound, "OVN_Southbound", [look, every])
        wanted = {f"p{number}" for number in numbers}
        # By their uuids, the only thing that ovsdb-server finds without a search.
        change = {"op": "update", "table": "Port_Binding", "row": {"chassis": chassis["rows"][0]["_uuid"]}}
        found = [row["_uuid"] for row in bindings["rows"] if row["logical_port"] in wanted]
        transact(southbound, "OVN_Southbound", [{**change, "where": [["_uuid", "==", one]]} for one in found])

    def associate(self, calls: int) -> list[float]:
        """Milliseconds of ``lr-nat-add`` for a port of this host until its flows are in force."""

        def step(number: int) -> None:
            port = number % self._policy.local
            mac = f"02:e1:00:00:00:{port:02x}"
            words = ["dnat_and_snat", self._policy.public(port), self._policy.address(port), f"p{port}", mac]
            self._ovn.nbctl("--wait=hv", "lr-nat-add", "router", *words)

        def undo(number: int) -> None:
            public = self._policy.public(number % self._policy.local)
            self._ovn.nbctl("--wait=hv", "lr-nat-del", "router", "dnat_and_snat", public)

        return _warm(calls, step, undo)

    def authorize(self, calls: int) -> list[float]:
        """Milliseconds of ``acl-add`` with one more port on the port group of all ports, until it is in force."""

        def step(number: int) -> None:
            what = f"outport == @{GROUP} && ip4 && tcp.dst == {20_000 + 2 * number}"
            self._ovn.nbctl("--wait=hv", "acl-add", GROUP, "to-lport", "1002", what, "allow-related")

        return _warm(calls, step)

    def crowd(self, members: int) -> None:
        """An address set of ``members``, and an ACL of the port group that admits them."""
        addresses = [f"10.100.{number >> 8}.{number & 255}" for number in range(members)]
        self._ovn.nbctl("create", "Address_Set", f"name={CROWD}", *(f'addresses="{one}"' for one in addresses[:1]))
        for start in range(1, members, _WORDS):
            values = ",".join(f'"{one}"' for one in addresses[start : start + _WORDS])
            self._ovn.nbctl("add", "Address_Set", CROWD, "addresses", values)
        for direction, side, field in (("to-lport", "outport", "src"), ("from-lport", "inport", "dst")):
            what = f"{side} == @{GROUP} && ip4.{field} == ${CROWD} && tcp.dst == 9999"
            self._ovn.nbctl("acl-add", GROUP, direction, "1002", what, "allow-related")
        self._ovn.nbctl("--wait=hv", "sync", timeout=_PATIENCE)

    def join(self, calls: int) -> list[float]:
        """Milliseconds until one more member of the set is admitted."""

        def change(verb: str, number: int) -> None:
            self._ovn.nbctl("--wait=hv", verb, "Address_Set", CROWD, "addresses", f'"10.200.0.{number % 250}"')

        return _warm(calls, lambda number: change("add", number), lambda number: change("remove", number))

    def _nbctl(self, commands: Iterable[Sequence[str]]) -> None:
        for words in _batches(commands):
            self._ovn.nbctl(*words, timeout=_PATIENCE)


def _warm(calls: int, step: Step, undo: Step | None = None) -> list[float]:
    """As :func:`benchmarks.scale_lab.timed`, without the first two: they are not what a change costs later on."""
    return timed(calls + 2, step, undo)[2:]


def _batches(commands: Iterable[Sequence[str]]) -> Iterator[list[str]]:
    """Many commands as the arguments of few processes."""
    words: list[str] = []
    for command in commands:
        words += ["--", *command] if words else command
        if len(words) > _WORDS:
            yield words
            words = []
    if words:
        yield words


def _rules() -> Iterator[list[str]]:
    """What the port group of all ports allows."""
    yield ["acl-add", GROUP, "to-lport", "1002", f"outport == @{GROUP} && ip4 && tcp.dst == 22", "allow-related"]
    yield ["acl-add", GROUP, "to-lport", "1001", f"outport == @{GROUP} && ip", "drop"]
    yield ["acl-add", GROUP, "from-lport", "1002", f"inport == @{GROUP} && ip4", "allow-related"]
