"""The tables of the configuration: what each may say, and how it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from econe_api.config_table import Table
from telemetry.logs import FORMATS

REVOKED_CONNECTIONS = ("cut", "keep")
"""What may become of established connections whose rule has gone."""
TLS = ("off", "self-signed")
"""What the API may do about encryption without a certificate of the operator's."""
LOCAL = "namespace"
"""The compute backend that is no service of its own, and so is there whenever its worker is."""
METADATA_TOKENS = ("optional", "required")
"""Whether an instance needs a session token to ask for its metadata."""
_DOMAIN = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")


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
    ``audit_interval`` seconds lie between two audits, 0 = none.  ``allowed_destinations`` and ``denied_destinations``
    are IPv4 networks that instances may reach by their elastic IPs, or may not, besides what is so by default.
    With ``tls`` switches and agents must show a certificate of this cloud; ``allow_plaintext`` lets both listeners go
    without it on addresses that others can reach.
    """

    socket: Path
    agent_listen: str
    revoked_connections: str
    audit_interval: float = 60.0
    allowed_destinations: tuple[str, ...] = ()
    denied_destinations: tuple[str, ...] = ()
    tls: bool = False
    allow_plaintext: bool = False


@dataclass(frozen=True, slots=True)
class ComputeConfig:
    """``[compute]``: what runs instances, and the unix socket of the worker that does.

    With ``host_pinning`` a launch may name its hypervisor, as ``Placement.HostId``.
    """

    backend: str
    socket: Path
    host_pinning: bool = False


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
class MetricsConfig:
    """``[metrics]``: where API and controller tell Prometheus about themselves, HOST:PORT, when ``enabled``."""

    enabled: bool = False
    api: str = "127.0.0.1:9273"
    controller: str = "127.0.0.1:9274"


@dataclass(frozen=True, slots=True)
class LogConfig:
    """``[log]``: ``format`` of log lines, "human" or "json"."""

    format: str = "human"


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
    """``[[image]]``: what instances can be made from; ``id`` starts with ``ami-``, ``file`` is its qcow2 file."""

    id: str
    name: str
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class ImagesConfig:
    """``[images]``: ``directory`` keeps the images that accounts register, copied from files in ``uploads``."""

    directory: Path
    uploads: Path


@dataclass(frozen=True, slots=True)
class InstanceType:
    """``[[instance_type]]``: a size of instance."""

    name: str
    vcpus: int
    memory_mib: int


def read_api(table: Table) -> ApiConfig:
    """Read ``[api]``."""
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


def read_controller(table: Table, state: Path) -> ControllerConfig:
    """Read ``[controller]``; its socket is in ``state`` unless it says otherwise."""
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
        tls=table.boolean("tls", default=False),
        allow_plaintext=table.boolean("allow_plaintext", default=False),
    )
    for network in controller.allowed_destinations:
        if network in controller.denied_destinations:
            raise table.error("allowed_destinations", f"{network!r} is denied as well", "leave it out of one of them")
    table.finish()
    return controller


def read_compute(table: Table, state: Path) -> ComputeConfig:
    """Read ``[compute]``; its socket is in ``state`` unless it says otherwise."""
    compute = ComputeConfig(
        backend=table.text("backend", LOCAL),
        socket=table.path("socket", state / "compute.sock"),
        host_pinning=table.boolean("host_pinning", default=False),
    )
    table.finish()
    return compute


def read_dhcp(table: Table, region: str) -> DhcpConfig:
    """Read ``[dhcp]``; the usual domain is EC2's for ``region``."""
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


def read_metadata(table: Table) -> MetadataConfig:
    """Read ``[metadata]``."""
    metadata = MetadataConfig(
        tokens=table.text("tokens", "optional"), hop_limit=table.integer("hop_limit", 1, least=1, most=64)
    )
    if metadata.tokens not in METADATA_TOKENS:
        raise table.error("tokens", f"{metadata.tokens!r} is no way to treat them", 'write "optional" or "required"')
    table.finish()
    return metadata


def read_metrics(table: Table) -> MetricsConfig:
    """Read ``[metrics]``."""
    usual = MetricsConfig()
    metrics = MetricsConfig(
        enabled=table.boolean("enabled", default=usual.enabled),
        api=table.endpoint("api", usual.api),
        controller=table.endpoint("controller", usual.controller),
    )
    table.finish()
    return metrics


def read_log(table: Table) -> LogConfig:
    """Read ``[log]``."""
    log = LogConfig(format=table.text("format", LogConfig().format))
    if log.format not in FORMATS:
        raise table.error("format", f"{log.format!r} is no format of log lines", 'write "human" or "json"')
    table.finish()
    return log


def read_hypervisor(table: Table, region: str) -> Hypervisor:
    """Read a ``[[hypervisor]]``."""
    hypervisor = Hypervisor(
        name=table.text("name", longest=64),
        zone=table.text("zone", f"{region}a", longest=64),
        vcpus=table.integer("vcpus", least=1, most=1 << 20),
        memory_mib=table.integer("memory_mib", least=1, most=1 << 30),
        options=MappingProxyType(table.texts("options")),
    )
    table.finish()
    return hypervisor


def read_image(table: Table) -> Image:
    """Read an ``[[image]]``."""
    image = Image(
        id=table.text("id", longest=32),
        name=table.text("name", longest=128),
        file=table.optional_path("file"),
    )
    if not image.id.startswith("ami-"):
        raise table.error("id", f"{image.id!r} is no image id", "start it with ami-")
    table.finish()
    return image


def read_images(table: Table, state: Path) -> ImagesConfig:
    """Read ``[images]``; its directories are in ``state`` unless it says otherwise."""
    images = ImagesConfig(
        directory=table.path("directory", state / "images"), uploads=table.path("uploads", state / "uploads")
    )
    table.finish()
    return images


def read_instance_type(table: Table) -> InstanceType:
    """Read an ``[[instance_type]]``."""
    instance_type = InstanceType(
        name=table.text("name", longest=64),
        vcpus=table.integer("vcpus", least=1, most=1 << 20),
        memory_mib=table.integer("memory_mib", least=1, most=1 << 30),
    )
    table.finish()
    return instance_type
