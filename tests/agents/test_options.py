"""The command line."""

from __future__ import annotations

import pytest

from agents.options import parse

NEEDED = ["--host", "h1", "--controller", "tcp:10.0.0.1:6653", "--report", "10.0.0.1:6654"]


def test_defaults() -> None:
    options = parse(NEEDED)
    assert (options.host, options.report, options.answer_timeout) == ("h1", ("10.0.0.1", 6654), 10)
    assert options.ovsdb == "unix:/var/run/openvswitch/db.sock"
    bridge = options.bridge
    assert (bridge.name, bridge.controller, bridge.ports) == ("br-int", "tcp:10.0.0.1:6653", ())
    assert (bridge.datapath_type, bridge.dpid) == (None, None)


def test_everything_given() -> None:
    options = parse(
        [
            *("--host", "rack-1.h2", "--bridge", "br0", "--ovsdb", "tcp:127.0.0.1:6640"),
            *("--controller", "ssl:[fd00::1]:6653", "--report", "[fd00::1]:6654"),
            *("--uplink", "eth1", "--fabric", "eth2", "--datapath-type", "netdev", "--dpid", "0xA1"),
            *("--answer-timeout", "2.5", "--tls", "/var/lib/sluice-agent"),
        ]
    )
    assert (options.host, options.report, options.answer_timeout) == ("rack-1.h2", ("fd00::1", 6654), 2.5)
    assert options.bridge.ports == ("eth1", "eth2")
    assert options.bridge.dpid == "00000000000000a1"
    assert str(options.tls) == "/var/lib/sluice-agent"


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        ([], "--host"),
        ([*NEEDED, "--host", "no good"], "host name"),
        ([*NEEDED, "--host", ""], "host name"),
        ([*NEEDED, "--bridge", "a-very-long-bridge-name"], "interface name"),
        ([*NEEDED, "--bridge", "a/b"], "interface name"),
        ([*NEEDED, "--uplink", "eth1", "--fabric", "eth1"], "different names"),
        ([*NEEDED, "--uplink", "br-int"], "different names"),
        ([*NEEDED, "--metadata-port", "fifteen-letters"], "more than 14 characters"),
        ([*NEEDED, "--fabric", "vxlan0", "--fabric-mode", "vxlan"], "--fabric-ip"),
        ([*NEEDED, "--fabric", "eth2", "--fabric-ip", "10.0.0.1"], "--fabric-mode vxlan"),
        ([*NEEDED, "--fabric-mode", "vxlan", "--fabric-ip", "10.0.0.1"], "--fabric"),
        ([*NEEDED, "--fabric", "vxlan0", "--fabric-mode", "vxlan", "--fabric-ip", "fd00::1"], "IPv4"),
        ([*NEEDED, "--ovsdb", "/var/run/db.sock"], "unix:PATH"),
        ([*NEEDED, "--ovsdb", "unix:"], "unix:PATH"),
        ([*NEEDED, "--ovsdb", "unix:/" + "x" * 107], "107 bytes"),
        ([*NEEDED, "--ovsdb", "tcp:here:1"], "IP:PORT"),
        ([*NEEDED, "--ovsdb", "tcp:10.0.0.9:6640"], "this host"),
        ([*NEEDED, "--tls", "/x"], "--controller ssl:"),
        ([*NEEDED, "--controller", "ssl:10.0.0.1:6653"], "--tls"),
        ([*NEEDED, "--controller", "10.0.0.1:6653"], "tcp:10.0.0.1:6653"),
        ([*NEEDED, "--controller", "tcp:10.0.0.1"], "IP:PORT"),
        ([*NEEDED, "--controller", "tcp:controller:6653"], "IP:PORT"),
        ([*NEEDED, "--report", "10.0.0.1:0"], "IP:PORT"),
        ([*NEEDED, "--report", "10.0.0.1:65536"], "IP:PORT"),
        ([*NEEDED, "--report", "10.0.0.1:\u0663"], "IP:PORT"),
        ([*NEEDED, "--report", "fd00::1:6654"], "IP:PORT"),
        ([*NEEDED, "--report", "[10.0.0.1]:6654"], "IP:PORT"),
        ([*NEEDED, "--dpid", "0"], "datapath id"),
        ([*NEEDED, "--dpid", "1" * 17], "datapath id"),
        ([*NEEDED, "--datapath-type", "dummy"], "choose from"),
        ([*NEEDED, "--answer-timeout", "soon"], "seconds"),
        ([*NEEDED, "--answer-timeout", "nan"], "seconds"),
        ([*NEEDED, "--frobnicate"], "unrecognized"),
    ],
)
def test_a_bad_argument_is_one_line_and_status_1(
    arguments: list[str], cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    output = capsys.readouterr()
    assert ended.value.code == 1
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert cause in output.err


def test_the_port_of_the_metadata_service() -> None:
    assert parse(NEEDED).metadata == "md-br-int"
    assert parse([*NEEDED, "--bridge", "br-of-15-letter"]).metadata == "md-br-of-15-le"
    assert parse([*NEEDED, "--metadata-port", "imds"]).metadata == "imds"
    assert parse([*NEEDED, "--no-metadata"]).metadata is None
