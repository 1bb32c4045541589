"""The configuration of a cloud: one TOML file that every service of the control plane reads.

Without a file every value has a default, so that the services start on SQLite in ``/var/lib/sluice``.  A relative path
in the file counts from the file's folder.  What is wrong is a :class:`ConfigError`: one line with file, key and mend.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from econe_api.config_table import ConfigError, Table

__all__ = [
    "ApiConfig",
    "ComputeConfig",
    "Config",
    "ConfigError",
    "ControllerConfig",
    "DhcpConfig",
    "Hypervisor",
    "Image",
    "InstanceType",
    "load",
    "parse",
]

REVOKED_CONNECTIONS = ("cut", "keep")
"""What may become of established connections whose rule has gone."""
ENVIRONMENT = "SLUICE_CONFIG"
"""Environment variable that names the file when no ``--config`` does."""
SYSTEM_FILE = Path("/etc/sluice/sluice.toml")
"""Read when it is there and nothing else is named."""


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """``[api]``: ``bind`` is HOST:PORT, ``threads`` answer calls at once, ``body_limit`` is in bytes."""

    bind: str
    threads: int
    body_limit: int


@dataclass(frozen=True, slots=True)
class ControllerConfig:
    """``[controller]``: the unix ``socket`` it answers on and HOST:PORT where agents report.

    ``revoked_connections`` says what becomes of a connection whose rule has gone: ``cut`` or ``keep``;
    ``audit_interval`` seconds lie between two audits, 0 = none.  ``allowed_destinations`` and ``denied_destinations``
    are IPv4 networks that instances may reach by their elastic IPs, or may not, besides what is so by default.
    """

    socket: Path
    agent_listen: str
    revoked_connections: str
    audit_interval: float = 60.0
    allowed_destinations: tuple[str, ...] = ()
    denied_destinations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComputeConfig:
    """``[compute]``: what runs instances, and the unix socket of the worker that does."""

    backend: str
    socket: Path


@dataclass(frozen=True, slots=True)
class DhcpConfig:
    """``[dhcp]``: what instances are told: ``dns`` servers, ``domain``, ``mtu`` in bytes, ``lease`` in seconds."""

    dns: tuple[str, ...]
    domain: str
    mtu: int
    lease: int


@dataclass(frozen=True, slots=True)
class Hypervisor:
    """``[[hypervisor]]``: a host for instances; ``options`` are the compute backend's own."""

    name: str
    zone: str
    vcpus: int
    memory_mib: int
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Image:
    """``[[image]]``: what instances can be made from; ``id`` starts with ``ami-``."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class InstanceType:
    """``[[instance_type]]``: a size of instance."""

    name: str
    vcpus: int
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file.  Timeouts are in seconds: how long a call waits for switches and for instances.

    ``database`` is an SQLAlchemy URL; ``key_file`` holds the key that access-key secrets are encrypted with.
    ``ipv6`` gives the networks of new accounts IPv6.
    """

    state: Path
    database: str
    key_file: Path
    region: str
    acknowledge_timeout: float
    settle_timeout: float
    api: ApiConfig
    controller: ControllerConfig
    compute: ComputeConfig
    dhcp: DhcpConfig
    hypervisors: tuple[Hypervisor, ...]
    images: tuple[Image, ...]
    instance_types: tuple[InstanceType, ...]
    ipv6: bool = False

    @property
    def zones(self) -> tuple[str, ...]:
        """Availability zones in order; a cloud without hypervisors has one, so that networks can be laid out."""
        return tuple(sorted({host.zone for host in self.hypervisors})) or (f"{self.region}a",)


_IMAGES = (Image("ami-0123456789abcdef0", "sluice-default"),)
_TYPES = (
    InstanceType("t2.nano", 1, 512),
    InstanceType("t2.micro", 1, 1024),
    InstanceType("t2.small", 1, 2048),
    InstanceType("t2.medium", 2, 4096),
    InstanceType("t3.nano", 2, 512),
    InstanceType("t3.micro", 2, 1024),
    InstanceType("t3.small", 2, 2048),
    InstanceType("t3.medium", 2, 4096),
    InstanceType("t3.large", 2, 8192),
    InstanceType("m1.small", 1, 1740),
    InstanceType("m1.medium", 1, 3840),
    InstanceType("m1.large", 2, 7680),
    InstanceType("m5.large", 2, 8192),
    InstanceType("m5.xlarge", 4, 16384),
)


_DOMAIN = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")


def load(path: Path | None) -> Config:
    """Read the file at ``path``; None = ``$SLUICE_CONFIG``, else the system's file if there is one, else defaults."""
    if path is None:
        named = os.environ.get(ENVIRONMENT)
        if named:
            path = Path(named)
        elif SYSTEM_FILE.exists():
            path = SYSTEM_FILE
        else:
            return parse({}, "defaults", Path.cwd())
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a readable file with --config") from error
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: is not TOML ({reason}); mend the file there") from error
    return parse(document, str(path), path.absolute().parent)


def parse(document: Mapping[str, Any], origin: str, base: Path) -> Config:
    """Build the configuration from a TOML ``document``.

    ``origin`` names the document in errors, relative paths count from ``base``.  Raises :class:`ConfigError`.
    """
    top = Table(document, origin, "", base)
    state = top.path("state", Path("/var/lib/sluice"))
    region = top.text("region", "us-east-1")
    config = Config(
        state=state,
        database=_database(top, state),
        key_file=top.path("key_file", state / "secrets.key"),
        region=region,
        acknowledge_timeout=top.seconds("acknowledge_timeout", 2.0),
        settle_timeout=top.seconds("settle_timeout", 5.0),
        api=_api(top.table("api")),
        controller=_controller(top.table("controller"), state),
        compute=_compute(top.table("compute"), state),
        dhcp=_dhcp(top.table("dhcp"), region),
        hypervisors=tuple(_hypervisor(entry, region) for entry in top.entries("hypervisor", "name")),
        images=tuple(_image(entry) for entry in top.entries("image", "id")) or _IMAGES,
        instance_types=tuple(_instance_type(entry) for entry in top.entries("instance_type", "name")) or _TYPES,
        ipv6=top.boolean("ipv6", default=False),
    )
    top.finish()
    return config


def _database(top: Table, state: Path) -> str:
    url = top.text("database", f"sqlite:///{state / 'sluice.db'}")
    file = url.removeprefix("sqlite:///")
    if file != url and file not in ("", ":memory:"):
        return f"sqlite:///{top.base / file}"
    if not url.startswith(("postgresql://", "postgresql+psycopg://")):
        raise top.error(
            "database", f"{url.split('@')[-1]!r} is no database for Sluice", "write sqlite:///FILE or postgresql://..."
        )
    return url


def _api(table: Table) -> ApiConfig:
    api = ApiConfig(
        bind=table.endpoint("bind", "127.0.0.1:8773"),
        threads=table.integer("threads", 16, least=1, most=1024),
        body_limit=table.integer("body_limit", 1024 * 1024, least=1024, most=1 << 30),
    )
    table.finish()
    return api


def _controller(table: Table, state: Path) -> ControllerConfig:
    revoked = table.text("revoked_connections", "cut")
    if revoked not in REVOKED_CONNECTIONS:
        raise table.error("revoked_connections", f"{revoked!r} is no way to treat them", 'write "cut" or "keep"')
    controller = ControllerConfig(
        socket=table.path("socket", state / "controller.sock"),
        agent_listen=table.endpoint("agent_listen", "127.0.0.1:6654"),
        revoked_connections=revoked,
        audit_interval=table.seconds("audit_interval", 60.0),
        allowed_destinations=table.networks("allowed_destinations"),
        denied_destinations=table.networks("denied_destinations"),
    )
    for network in controller.allowed_destinations:
        if network in controller.denied_destinations:
            raise table.error("allowed_destinations", f"{network!r} is denied as well", "leave it out of one of them")
    table.finish()
    return controller


def _compute(table: Table, state: Path) -> ComputeConfig:
    compute = ComputeConfig(
        backend=table.text("backend", "namespace"), socket=table.path("socket", state / "compute.sock")
    )
    table.finish()
    return compute


def _dhcp(table: Table, region: str) -> DhcpConfig:
    # EC2's own names.
    usual = "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"
    dhcp = DhcpConfig(
        dns=table.addresses("dns", most=8),
        domain=table.text("domain", usual if _DOMAIN.fullmatch(usual) else "compute.internal", longest=253),
        mtu=table.integer("mtu", 1500, least=576, most=65535),
        lease=table.integer("lease", 3600, least=60, most=0xFFFFFFFF),
    )
    if not _DOMAIN.fullmatch(dhcp.domain):
        raise table.error("domain", f"{dhcp.domain!r} is no domain name", 'write one such as "cloud.example"')
    table.finish()
    return dhcp


def _hypervisor(table: Table, region: str) -> Hypervisor:
    hypervisor = Hypervisor(
        name=table.text("name", longest=64),
        zone=table.text("zone", f"{region}a", longest=64),
        vcpus=table.integer("vcpus", least=1, most=1 << 20),
        memory_mib=table.integer("memory_mib", least=1, most=1 << 30),
        options=MappingProxyType(table.texts("options")),
    )
    table.finish()
    return hypervisor


def _image(table: Table) -> Image:
    image = Image(id=table.text("id", longest=32), name=table.text("name", longest=128))
    if not image.id.startswith("ami-"):
        raise table.error("id", f"{image.id!r} is no image id", "start it with ami-")
    table.finish()
    return image


def _instance_type(table: Table) -> InstanceType:
    instance_type = InstanceType(
        name=table.text("name", longest=64),
        vcpus=table.integer("vcpus", least=1, most=1 << 20),
        memory_mib=table.integer("memory_mib", least=1, most=1 << 30),
    )
    table.finish()
    return instance_type
