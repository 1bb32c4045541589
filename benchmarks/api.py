"""One boto3 script against two EC2 APIs: ours, durable and with signatures, and moto_server, in memory and without."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks import api_servers, api_statements
from benchmarks.result import NOTES, Result, json_option, report
from topologies.errors import LabError

_THREADS = 8
_ROUNDS = 10
_PEER = "moto_server (in memory, signatures not looked at)"


@click.command("api")
@click.option("--groups", default=1000, show_default=True, help="Security groups that there are.")
@click.option("--addresses", default=1000, show_default=True, help="Elastic IPs that there are.")
@click.option("--calls", default=200, show_default=True, help="Calls of each kind that are timed.")
@json_option
def command(groups: int, addresses: int, calls: int, file: Path | None) -> None:
    """One boto3 script against our API (durable, signatures checked) and moto_server (in memory, unchecked)."""
    if not (10 <= calls <= addresses <= 10_000 and 1 <= groups <= 10_000):
        raise click.UsageError("10 <= calls <= addresses <= 10000 and 1 <= groups <= 10000, please")
    figures = run(groups, addresses, calls, NOTES.print)
    table = Table(title="SQL statements of a call: constant in the number of rows")
    for title in ("", "5 rows", "300 rows"):
        table.add_column(title, justify="right" if title else "left")
    for action, counted in figures["statements"].items():
        table.add_row(action, str(counted["small"]), str(counted["large"]))
    Console().print(table)
    report(results(figures), file)


def results(figures: dict[str, Any]) -> list[Result]:
    """The rows of what :func:`run` found."""
    size = f"{figures['groups']} groups, {figures['addresses']} addresses"
    rows = [
        Result(
            f"api: {row['call']}",
            row["ours_ms"],
            row["moto_ms"],
            "ms",
            _PEER,
            "not slower",
            row["ours_ms"] <= row["moto_ms"],
            {"with the controller's acknowledgement, ms": row["acknowledged_ms"]},
            f"Median of boto3's whole call, {size}; every commit of ours is on disk, signatures are checked.",
        )
        for row in figures["rows"]
    ]
    rates = figures["allocations_per_second"]
    statements = {action: counted["large"] for action, counted in figures["statements"].items()}
    counters = {"with the controller's acknowledgement": rates["acknowledged"], "SQL statements": statements}
    row = "api: AllocateAddress, 8 clients"
    met = rates["ours"] >= rates["moto"]
    return [*rows, Result(row, rates["ours"], rates["moto"], "calls/s", _PEER, "not slower", met, counters)]


class Script:
    """What a client does, call by call; ``client`` is boto3's."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._addresses: list[dict[str, Any]] = []
        self._groups: list[str] = []
        self._subnet = client.describe_subnets()["Subnets"][0]["SubnetId"]
        self._interface = client.create_network_interface(SubnetId=self._subnet)["NetworkInterface"]
        self._rules = 0

    def allocate(self) -> None:
        """AllocateAddress."""
        self._addresses.append(self._client.allocate_address(Domain="vpc"))

    def associate(self) -> None:
        """AssociateAddress, each time another address."""
        self._rules += 1
        address = self._addresses[self._rules % len(self._addresses)]
        interface = self._interface["NetworkInterfaceId"]
        self._client.associate_address(
            AllocationId=address["AllocationId"], NetworkInterfaceId=interface, AllowReassociation=True
        )

    def create_group(self) -> None:
        """CreateSecurityGroup."""
        vpc = self._interface["VpcId"]
        made = self._client.create_security_group(GroupName=f"g{len(self._groups)}", Description="bench", VpcId=vpc)
        self._groups.append(made["GroupId"])

    def authorize(self) -> None:
        """AuthorizeSecurityGroupIngress, one more port of another group each time."""
        self._rules += 1
        group, port = self._groups[self._rules % len(self._groups)], 1 + self._rules % 60_000
        permission = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        self._client.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])

    def one_group(self) -> None:
        """DescribeSecurityGroups of one id."""
        (found,) = self._client.describe_security_groups(GroupIds=[self._groups[-1]])["SecurityGroups"]
        _see(found["GroupId"] == self._groups[-1])

    def all_groups(self) -> None:
        """DescribeSecurityGroups of all."""
        _see(len(self._client.describe_security_groups()["SecurityGroups"]) >= len(self._groups))

    def one_address(self) -> None:
        """DescribeAddresses of one."""
        wanted = self._addresses[-1]["AllocationId"]
        (found,) = self._client.describe_addresses(AllocationIds=[wanted])["Addresses"]
        _see(found["AllocationId"] == wanted)

    def all_addresses(self) -> None:
        """DescribeAddresses of all."""
        _see(len(self._client.describe_addresses()["Addresses"]) == len(self._addresses))

    def fill(self, groups: int, addresses: int) -> None:
        """Bring the cloud to its size."""
        while len(self._groups) < groups:
            self.create_group()
        while len(self._addresses) < addresses:
            self.allocate()


def run(groups: int, addresses: int, calls: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """Measure; times are in milliseconds, medians over ``calls`` calls, the servers taking turns.

    Ours is there twice: by itself, as the peer is, and with the controller whose acknowledgement a call waits for.
    """
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-bench-"))) for _ in range(3)]
        clients = {
            "ours": api_servers.ours(folders[0], controller=False),
            "acknowledged": api_servers.ours(folders[1], controller=True),
            "moto": api_servers.moto(folders[2]),
        }
        scripts = {who: Script(stack.enter_context(client)) for who, client in clients.items()}
        progress(f"{groups} groups and {addresses} addresses, in each")
        for script in scripts.values():
            script.fill(groups, addresses - calls)
        rows = [
            {"call": title, **_compare(scripts, name, max(calls // 10, 3) if name.startswith("all") else calls)}
            for name, title in _progress(progress)
        ]
        progress(f"throughput of {_THREADS} clients at once")
        throughput = {who: _throughput(script, calls) for who, script in scripts.items()}
    progress("SQL statements of each call, in a small and a large cloud")
    return {
        "groups": groups,
        "addresses": addresses,
        "calls": calls,
        "rows": rows,
        "allocations_per_second": throughput,
        "statements": api_statements.count(),
    }


_STEPS = (
    ("allocate", "AllocateAddress"),
    ("associate", "AssociateAddress"),
    ("authorize", "AuthorizeSecurityGroupIngress"),
    ("one_group", "DescribeSecurityGroups, one id"),
    ("all_groups", "DescribeSecurityGroups, all"),
    ("one_address", "DescribeAddresses, one id"),
    ("all_addresses", "DescribeAddresses, all"),
)


def _progress(progress: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    for name, title in _STEPS:
        progress(title)
        yield name, title


def _compare(scripts: dict[str, Script], name: str, calls: int) -> dict[str, float]:
    """Take turns, a round each, so that what else the machine does falls on both alike."""
    times: dict[str, list[float]] = {who: [] for who in scripts}
    rounds = min(_ROUNDS, calls)
    for _ in range(rounds):
        for who, script in scripts.items():
            step = getattr(script, name)
            for _ in range(calls // rounds):
                begin = time.perf_counter()
                step()
                times[who].append((time.perf_counter() - begin) * 1000)
    medians = {f"{who}_ms": round(statistics.median(found), 2) for who, found in times.items()}
    return medians | {"ratio": round(statistics.median(times["ours"]) / statistics.median(times["moto"]), 2)}


def _throughput(script: Script, calls: int) -> float:
    begin = time.perf_counter()
    with ThreadPoolExecutor(_THREADS) as pool:
        for done in [pool.submit(script.allocate) for _ in range(calls)]:
            done.result()
    return round(calls / (time.perf_counter() - begin), 1)


def _see(right: bool) -> None:
    if not right:
        raise LabError("a server did not tell what it should: its figures would mean nothing")
