"""The configuration of a cloud: one TOML file that every service of the control plane reads.

Without a file every value has a default, so that the services start on SQLite in ``/var/lib/sluice``.  A relative path
in the file counts from the file's folder.  What is wrong is a :class:`ConfigError`: one line with file, key and mend.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
    "MetadataConfig",
    "load",
    "parse",
]

FABRICS = ("vlan", "vxlan", "flat")
"""What a fabric may tell VPCs apart by."""
REVOKED_CONNECTIONS = ("cut", "keep")
"""What may become of established connections whose rule has gone."""
TLS = ("off", "self-signed")
"""What the API may do about encryption without a certificate of the operator's."""
METADATA_TOKENS = ("optional", "required")
"""Whether an instance needs a session token to ask for its metadata."""
ENVIRONMENT = "SLUICE_CONFIG"
"""Environment variable that names the file when no ``--config`` does."""
SYSTEM_FILE = Path("/etc/sluice/sluice.toml")
"""Read when it is there and nothing else is named."""


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """``[api]``: ``bind`` is HOST:PORT, ``threads`` of each of ``workers`` processes answer calls at once.

    ``body_limit`` is in bytes.  ``signature_v2`` takes signatures of version 2, ``strict_scope`` takes those of version
    4 only when they were made for this region and service.  ``tls`` is ``off`` or ``self-signed``, or ``certificate``
    where ``tls_certificate`` and ``tls_key`` name PEM files.

    ``allow_reassociation`` is what AssociateAddress takes AllowReassociation for when a call does not say;
    ``release_by_public_ip`` lets ReleaseAddress name an address by itself, as clients of EC2-Classic times do.
    What elastic IPs carry is read from the switches every ``metering_interval`` seconds, 0 = never.
    """

    bind: str
    threads: int
    body_limit: int
    allow_reassociation: bool = True
    release_by_public_ip: bool = True
    metering_interval: float = 60.0
    signature_v2: bool = True
    strict_scope: bool = False
    tls: str = "off"
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    workers: int = 1


@dataclass(frozen=True, slots=True)
class ControllerConfig:
    """``[controller]``: the unix ``socket`` it answers on and HOST:PORT where agents report.

    ``revoked_connections`` says what becomes of a connection whose rule has gone: ``cut`` or ``keep``;
    ``audit_interval`` seconds lie between two audits, 0 = none.
    """

    socket: Path
    agent_listen: str
    revoked_connections: str
    audit_interval: float = 60.0


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
class MetadataConfig:
    """``[metadata]``: what holds for instances whose launch does not say otherwise.

    ``tokens`` is "optional" or "required" (IMDSv2 alone), ``hop_limit`` how many hops a token may travel (1 to 64).
    """

    tokens: str = "optional"
    hop_limit: int = 1


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
    ``ipv6`` gives the networks of new accounts IPv6.  ``fabric`` is the fabric mode of the agents, one of
    :data:`FABRICS`: only with ``vlan`` does a VPC take one of the fabric's 3,994 tags.
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
    fabric: str = "vlan"
    metadata: MetadataConfig = MetadataConfig()

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


def find(path: Path | None) -> Path | None:
    """Return ``path``; when it is None ``$SLUICE_CONFIG``, else the system's file if there is one, else None."""
    if path is not None:
        return path
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(named)
    return SYSTEM_FILE if SYSTEM_FILE.exists() else None


def load(path: Path | None) -> Config:
    """Read the file that :func:`find` names; without one everything has its default."""
    path = find(path)
    if path is None:
        return parse({}, "defaults", Path.cwd())
    return parse(document_of(read(path), str(path)), str(path), path.absolute().parent)


def read(path: Path) -> str:
    """Return the text of a configuration file, or raise :class:`ConfigError`."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a readable file with --config") from error
    except ValueError as error:
        raise _not_toml(str(path), error) from error


def document_of(text: str, origin: str) -> dict[str, Any]:
    """Return what TOML ``text`` says, or raise :class:`ConfigError`; ``origin`` names it there."""
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise _not_toml(origin, error) from error


def _not_toml(origin: str, error: ValueError) -> ConfigError:
    return ConfigError(f"{origin}: is not TOML ({' '.join(str(error).split())}); mend the file there")


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
        fabric=_fabric(top),
        metadata=_metadata(top.table("metadata")),
    )
    top.finish()
    return config


def _fabric(top: Table) -> str:
    fabric = top.text("fabric", "vlan")
    if fabric not in FABRICS:
        raise top.error("fabric", f"{fabric!r} is no fabric mode", 'write "vlan", "vxlan" or "flat"')
    return fabric


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
        allow_reassociation=table.boolean("allow_reassociation", default=True),
        release_by_public_ip=table.boolean("release_by_public_ip", default=True),
        metering_interval=table.seconds("metering_interval", 60.0),
        signature_v2=table.boolean("signature_v2", default=True),
        strict_scope=table.boolean("strict_scope", default=False),
        tls=table.text("tls", "off"),
        tls_certificate=table.optional_path("tls_certificate"),
        tls_key=table.optional_path("tls_key"),
        workers=table.integer("workers", 1, least=1, most=64),
    )
    table.finish()
    return _with_certificate(table, api)


def _with_certificate(table: Table, api: ApiConfig) -> ApiConfig:
    if api.tls not in TLS:
        raise table.error("tls", f"{api.tls!r} is no way to encrypt", 'write "self-signed" or "off"')
    if api.tls_certificate is None and api.tls_key is None:
        return api
    if api.tls_certificate is None or api.tls_key is None:
        missing = "tls_certificate" if api.tls_certificate is None else "tls_key"
        raise table.error(missing, "is missing", "name the files of certificate and key, both")
    if api.tls != "off":
        raise table.error("tls", "stands beside tls_certificate", "leave out one of the two")
    return replace(api, tls="certificate")


def _controller(table: Table, state: Path) -> ControllerConfig:
    revoked = table.text("revoked_connections", "cut")
    if revoked not in REVOKED_CONNECTIONS:
        raise table.error("revoked_connections", f"{revoked!r} is no way to treat them", 'write "cut" or "keep"')
    controller = ControllerConfig(
        socket=table.path("socket", state / "controller.sock"),
        agent_listen=table.endpoint("agent_listen", "127.0.0.1:6654"),
        revoked_connections=revoked,
        audit_interval=table.seconds("audit_interval", 60.0),
    )
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


def _metadata(table: Table) -> MetadataConfig:
    metadata = MetadataConfig(
        tokens=table.text("tokens", "optional"), hop_limit=table.integer("hop_limit", 1, least=1, most=64)
    )
    if metadata.tokens not in METADATA_TOKENS:
        raise table.error("tokens", f"{metadata.tokens!r} is no way to treat them", 'write "optional" or "required"')
    table.finish()
    return metadata


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
