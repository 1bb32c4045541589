"""The configuration file: defaults, places, and mistakes named in one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from econe_api import config as config_module
from econe_api.config import ApiConfig, Config, ConfigError, Hypervisor, Image, InstanceType, load, parse

WHOLE = """
state = "state"
database = "postgresql://sluice@db.example/sluice"
key_file = "/etc/sluice/key"
region = "north-1"
acknowledge_timeout = 3
settle_timeout = 0.5
ipv6 = true

[api]
bind = "[::1]:80"
threads = 4
body_limit = 2048
allow_reassociation = false
release_by_public_ip = false
metering_interval = 30
workers = 3

[controller]
socket = "/run/sluice/controller.sock"
agent_listen = "0.0.0.0:6654"
revoked_connections = "keep"
audit_interval = 5.5
allowed_destinations = ["10.20.0.0/16", "10.0.0.53"]
denied_destinations = ["192.0.2.0/24"]
tls = true
allow_plaintext = true

[compute]
host_pinning = true
backend = "namespace"
socket = "compute.sock"

[dhcp]
dns = ["192.0.2.1", "192.0.2.2"]
domain = "cloud.example"
mtu = 1450
lease = 600

[metrics]
enabled = true
api = "[::1]:9000"

[log]
format = "json"

[[hypervisor]]
name = "hv2"
zone = "north-1b"
vcpus = 4
memory_mib = 2048
options = { ovsdb = "unix:/run/hv2/db.sock" }

[[hypervisor]]
name = "hv1"
vcpus = 1
memory_mib = 1

[images]
directory = "/srv/images"
uploads = "uploads"

[[image]]
id = "ami-1"
name = "web"
file = "web.qcow2"

[[instance_type]]
name = "c1.tiny"
vcpus = 1
memory_mib = 64
"""


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No configuration anywhere; return where the system's would be."""
    monkeypatch.delenv("SLUICE_CONFIG", raising=False)
    monkeypatch.setattr(config_module, "SYSTEM_FILE", tmp_path / "system.toml")
    return tmp_path / "system.toml"


def test_defaults_are_a_whole_cloud_without_hosts(nowhere: Path) -> None:
    config = load(None)
    assert config.state == Path("/var/lib/sluice")
    assert config.database == "sqlite:////var/lib/sluice/sluice.db"
    assert config.key_file == Path("/var/lib/sluice/secrets.key")
    assert (config.api.bind, config.controller.agent_listen) == ("127.0.0.1:8773", "127.0.0.1:6654")
    assert (config.hypervisors, config.zones) == ((), ("us-east-1a",))
    assert (config.metrics.enabled, config.log.format) == (False, "human")
    assert [image.id[:4] for image in config.images] == ["ami-"]
    assert {"m1.small", "t2.micro", "t3.micro", "t3.small"} <= {entry.name for entry in config.instance_types}


def test_every_value_can_be_set(tmp_path: Path) -> None:
    file = tmp_path / "sluice.toml"
    file.write_text(WHOLE)
    config = load(file)
    assert config.state == tmp_path / "state"
    assert config.database == "postgresql://sluice@db.example/sluice"
    assert config.key_file == Path("/etc/sluice/key")
    assert (config.region, config.acknowledge_timeout, config.settle_timeout) == ("north-1", 3.0, 0.5)
    assert dataclasses.astuple(config.api) == (
        "[::1]:80",
        4,
        2048,
        False,
        False,
        30.0,
        True,
        False,
        "off",
        None,
        None,
        3,
    )
    assert dataclasses.astuple(config.controller) == (
        Path("/run/sluice/controller.sock"),
        "0.0.0.0:6654",
        "keep",
        5.5,
        ("10.20.0.0/16", "10.0.0.53/32"),
        ("192.0.2.0/24",),
        True,
        True,
    )
    assert dataclasses.astuple(config.compute) == ("namespace", tmp_path / "compute.sock", True)
    assert dataclasses.astuple(config.library) == (Path("/srv/images"), tmp_path / "uploads")
    assert dataclasses.astuple(config.dhcp) == (("192.0.2.1", "192.0.2.2"), "cloud.example", 1450, 600)
    assert dataclasses.astuple(config.metrics) == (True, "[::1]:9000", "127.0.0.1:9274")
    assert config.log.format == "json"
    assert config.hypervisors == (
        Hypervisor("hv2", "north-1b", 4, 2048, {"ovsdb": "unix:/run/hv2/db.sock"}),
        Hypervisor("hv1", "north-1a", 1, 1, {}),
    )
    assert config.zones == ("north-1a", "north-1b")
    assert config.images == (Image("ami-1", "web", tmp_path / "web.qcow2"),)
    assert config.instance_types == (InstanceType("c1.tiny", 1, 64),)


def test_the_domain_of_instances_is_ec2s_own() -> None:
    for region, domain in (
        ("us-east-1", "ec2.internal"),
        ("north-1", "north-1.compute.internal"),
        ("my cloud", "compute.internal"),
    ):
        assert parse({"region": region}, "test", Path("/base")).dhcp.domain == domain


def test_the_api_encrypts_with_the_certificate_that_it_is_given(tmp_path: Path) -> None:
    api = parse({"api": {"tls_certificate": "c.pem", "tls_key": "/k.pem"}}, "test", tmp_path).api
    assert (api.tls, api.tls_certificate, api.tls_key) == ("certificate", tmp_path / "c.pem", Path("/k.pem"))
    assert parse({}, "test", tmp_path).api.tls == "off"


def test_the_file_is_found(nowhere: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nowhere.write_text('region = "system"')
    assert load(None).region == "system"
    named, given_file = tmp_path / "named.toml", tmp_path / "given.toml"
    named.write_text('region = "named"')
    given_file.write_text('region = "given"')
    monkeypatch.setenv("SLUICE_CONFIG", str(named))
    assert load(None).region == "named"
    assert load(given_file).region == "given"


def test_a_database_file_counts_from_the_configuration(tmp_path: Path) -> None:
    assert parse({"database": "sqlite:///db/x.db"}, "test", tmp_path).database == f"sqlite:///{tmp_path}/db/x.db"
    assert parse({"database": "sqlite:////srv/x.db"}, "test", tmp_path).database == "sqlite:////srv/x.db"


HOST = 'name = "hv1"\nvcpus = 1\nmemory_mib = 1\n'


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("aip = 1", "aip: is not a known key; did you mean api?"),
        (
            "[api]\nxyz = 1",
            "api.xyz: is not a known key; known here: "
            + ", ".join(sorted(field.name for field in dataclasses.fields(ApiConfig))),
        ),
        ('[api]\ntls = "on"', 'api.tls: \'on\' is no way to encrypt; write "self-signed" or "off"'),
        ('[api]\ntls_key = "k"', "api.tls_certificate: is missing; name the files of certificate and key, both"),
        (
            '[api]\ntls = "self-signed"\ntls_certificate = "c"\ntls_key = "k"',
            "api.tls: stands beside tls_certificate; leave out one of the two",
        ),
        ("state = 2024-01-01", "state: is a date or time, not a string; write a string"),
        ("state = 3", "state: is an integer, not a string; write a string"),
        ("state = ''", "state: is not usable text; write 1 to 4096 printable characters"),
        ('region = "a\\nb"', "region: is not usable text; write 1 to 1024 printable characters"),
        ("api = 3", "api: is an integer, not a table, [api]; write a table, [api]"),
        ('fabric = "gre"', 'fabric: \'gre\' is no fabric mode; write "vlan", "vxlan" or "flat"'),
        ("ipv6 = 1", "ipv6: is an integer, not true or false; write true or false"),
        ("[api]\nthreads = true", "api.threads: is a boolean, not an integer; write an integer"),
        ("[api]\nthreads = 0", "api.threads: 0 is out of range; write a number from 1 to 1024"),
        ('[api]\nbind = "8773"', "api.bind: '8773' is no address to listen on; write HOST:PORT, e.g. 127.0.0.1:8773"),
        (
            '[api]\nbind = "::1:80"',
            "api.bind: '::1:80' is no address to listen on; write HOST:PORT, e.g. 127.0.0.1:8773",
        ),
        ('[api]\nbind = "x:99999"', "api.bind: there is no port 99999; write a port from 0 to 65535"),
        (
            '[controller]\nrevoked_connections = "drop"',
            'controller.revoked_connections: \'drop\' is no way to treat them; write "cut" or "keep"',
        ),
        (
            '[controller]\nallowed_destinations = "10.0.0.0/8"',
            'controller.allowed_destinations: is a string, not an array such as ["10.20.0.0/16"]; '
            'write an array such as ["10.20.0.0/16"]',
        ),
        (
            '[controller]\nallowed_destinations = ["fd00::/8"]',
            "controller.allowed_destinations: 'fd00::/8' is no IPv4 network; write networks such as \"10.20.0.0/16\"",
        ),
        (
            '[controller]\ndenied_destinations = ["10.0.0.1/8"]',
            "controller.denied_destinations: '10.0.0.1/8' is within a network, not one; write \"10.0.0.0/8\"",
        ),
        (
            '[controller]\nallowed_destinations = ["192.0.2.1"]\ndenied_destinations = ["192.0.2.1/32"]',
            "controller.allowed_destinations: '192.0.2.1/32' is denied as well; leave it out of one of them",
        ),
        ('[log]\nformat = "xml"', 'log.format: \'xml\' is no format of log lines; write "human" or "json"'),
        ("[metrics]\nenabled = 1", "metrics.enabled: is an integer, not true or false; write true or false"),
        ("[dhcp]\nlease = 1", "dhcp.lease: 1 is out of range; write a number from 60 to 4294967295"),
        (
            '[dhcp]\ndomain = "-x.example"',
            "dhcp.domain: '-x.example' is no domain name; write one such as \"cloud.example\"",
        ),
        ('[dhcp]\ndns = ["::1"]', "dhcp.dns: '::1' is no IPv4 address; write addresses such as \"192.0.2.1\""),
        (f"[dhcp]\ndns = {['192.0.2.1'] * 9}", "dhcp.dns: has 9 addresses; write at most 8"),
        (
            '[dhcp]\ndns = "192.0.2.1"',
            'dhcp.dns: is a string, not an array such as ["192.0.2.1"]; write an array such as ["192.0.2.1"]',
        ),
        ("acknowledge_timeout = -1", "acknowledge_timeout: -1 is out of range; write 0 to 86400 seconds"),
        ("acknowledge_timeout = nan", "acknowledge_timeout: nan is out of range; write 0 to 86400 seconds"),
        ("settle_timeout = 'x'", "settle_timeout: is a string, not a number of seconds; write a number of seconds"),
        (
            "database = 'mysql://root:secret@db/x'",
            "database: 'db/x' is no database for Sluice; write sqlite:///FILE or postgresql://...",
        ),
        (
            "database = 'sqlite:///:memory:'",
            "database: 'sqlite:///:memory:' is no database for Sluice; write sqlite:///FILE or postgresql://...",
        ),
        (
            "[hypervisor]",
            "hypervisor: is a table, not an array of tables, [[hypervisor]]; write an array of tables, [[hypervisor]]",
        ),
        ("[[hypervisor]]\nvcpus = 1", "hypervisor[1].name: is missing; add name with a string"),
        (f"[[hypervisor]]\n{HOST}[[hypervisor]]\n{HOST}", "hypervisor[2].name: 'hv1' is there twice; rename one"),
        (
            f"[[hypervisor]]\n{HOST}options = 3",
            "hypervisor[1].options: is an integer, not a table of strings; write a table of strings",
        ),
        (
            f"[[hypervisor]]\n{HOST}options = {{a = 1}}",
            "hypervisor[1].options.a: is an integer, not a string; write a string",
        ),
        (f"[[hypervisor]]\n{HOST}cpus = 3", "hypervisor[1].cpus: is not a known key; did you mean vcpus?"),
        ('[[image]]\nid = "x"\nname = "y"', "image[1].id: 'x' is no image id; start it with ami-"),
        (
            '[[instance_type]]\nname = "x"\nvcpus = 1',
            "instance_type[1].memory_mib: is missing; add memory_mib with an integer",
        ),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, error: str) -> None:
    file = tmp_path / "sluice.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value) == f"{file}: {error}"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read \(No such file or directory\); name a readable"):
        load(tmp_path / "none.toml")
    file = tmp_path / "sluice.toml"
    for content in (b"state = ", b"\xff\xfe"):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=r"sluice\.toml: is not TOML \(.*\); mend the file there") as caught:
            load(file)
        assert "\n" not in str(caught.value)


KEYS = [field.name for field in dataclasses.fields(Config)] + ["hypervisor", "image", "instance_type", "bind", "name"]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(KEYS), values, max_size=5))
def test_whatever_the_document_it_is_a_config_or_one_line(document: dict[str, object]) -> None:
    try:
        config = parse(document, "test", Path("/base"))
    except ConfigError as error:
        assert "\n" not in str(error)
        assert str(error).startswith("test: ")
    else:
        assert config.state.is_absolute()
