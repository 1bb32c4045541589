"""The configuration of a cloud: one TOML file that every service of the control plane reads.

Without a file every value has a default, so that the services start on SQLite in ``/var/lib/sluice``.  A relative path
in the file counts from the file's folder.  What is wrong is a :class:`ConfigError`: one line with file, key and mend.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from econe_api.config_opennebula import DriverConfig, read_driver
from econe_api.config_sections import (
    ApiConfig,
    ComputeConfig,
    ControllerConfig,
    DhcpConfig,
    Hypervisor,
    Image,
    ImagesConfig,
    InstanceType,
    LogConfig,
    MetadataConfig,
    MetricsConfig,
    read_api,
    read_compute,
    read_controller,
    read_dhcp,
    read_hypervisor,
    read_image,
    read_images,
    read_instance_type,
    read_log,
    read_metadata,
    read_metrics,
)
from econe_api.config_table import ConfigError, Table
from econe_api.opennebula.settings import OpenNebulaConfig, read_opennebula

__all__ = [
    "ApiConfig",
    "ComputeConfig",
    "Config",
    "ConfigError",
    "ControllerConfig",
    "DhcpConfig",
    "Hypervisor",
    "Image",
    "ImagesConfig",
    "InstanceType",
    "MetadataConfig",
    "load",
    "parse",
]

FABRICS = ("vlan", "vxlan", "flat")
"""What a fabric may tell VPCs apart by."""
ENVIRONMENT = "SLUICE_CONFIG"
"""Environment variable that names the file when no ``--config`` does."""
SYSTEM_FILE = Path("/etc/sluice/sluice.toml")
"""Read when it is there and nothing else is named."""


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
    metadata: MetadataConfig = field(default_factory=MetadataConfig)
    opennebula_driver: DriverConfig = field(default_factory=DriverConfig)
    opennebula: OpenNebulaConfig = field(default_factory=OpenNebulaConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    log: LogConfig = field(default_factory=LogConfig)
    library: ImagesConfig = field(default_factory=lambda: ImagesConfig(Path("images"), Path("uploads")))

    @property
    def zones(self) -> tuple[str, ...]:
        """Availability zones in order; a cloud without hypervisors has one, so that networks can be laid out."""
        return tuple(sorted({host.zone for host in self.hypervisors})) or (f"{self.region}a",)


_IMAGES = (Image("ami-0123456789abcdef0", "sluice-default"),)
_TYPES = (
    InstanceType("t1.micro", 1, 627),
    InstanceType("t2.nano", 1, 512),
    InstanceType("t2.micro", 1, 1024),
    InstanceType("t2.small", 1, 2048),
    InstanceType("t2.medium", 2, 4096),
    InstanceType("t2.large", 2, 8192),
    InstanceType("t3.nano", 2, 512),
    InstanceType("t3.micro", 2, 1024),
    InstanceType("t3.small", 2, 2048),
    InstanceType("t3.medium", 2, 4096),
    InstanceType("t3.large", 2, 8192),
    InstanceType("m1.small", 1, 1740),
    InstanceType("m1.medium", 1, 3840),
    InstanceType("m1.large", 2, 7680),
    InstanceType("m1.xlarge", 4, 15360),
    InstanceType("m3.medium", 1, 3840),
    InstanceType("m4.large", 2, 8192),
    InstanceType("m5.large", 2, 8192),
    InstanceType("m5.xlarge", 4, 16384),
    InstanceType("c3.large", 2, 3840),
    InstanceType("c4.large", 2, 3840),
    InstanceType("c5.large", 2, 4096),
    InstanceType("r5.large", 2, 16384),
)


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
        api=read_api(top.table("api")),
        controller=read_controller(top.table("controller"), state),
        compute=read_compute(top.table("compute"), state),
        dhcp=read_dhcp(top.table("dhcp"), region),
        hypervisors=tuple(read_hypervisor(entry, region) for entry in top.entries("hypervisor", "name")),
        images=tuple(read_image(entry) for entry in top.entries("image", "id")) or _IMAGES,
        instance_types=tuple(read_instance_type(entry) for entry in top.entries("instance_type", "name")) or _TYPES,
        ipv6=top.boolean("ipv6", default=False),
        fabric=_fabric(top),
        metadata=read_metadata(top.table("metadata")),
        opennebula_driver=read_driver(top.table("opennebula_driver")),
        opennebula=read_opennebula(top.table("opennebula")),
        metrics=read_metrics(top.table("metrics")),
        log=read_log(top.table("log")),
        library=read_images(top.table("images"), state),
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
