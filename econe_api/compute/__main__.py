"""``python -m econe_api.compute``: start and stop instances."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from econe_api.compute.backend import ComputeBackend
from econe_api.compute.namespaces import NamespaceBackend
from econe_api.compute.server import ServerError
from econe_api.compute.service import work
from econe_api.config import Config, ConfigError, load
from econe_api.opennebula.backend import OpenNebulaBackend
from econe_api.store.errors import StoreError
from telemetry import logs


def _libvirt(config: Config) -> ComputeBackend:
    try:
        from econe_api.compute.libvirt_backend import LibvirtBackend  # Debian's binding, on control nodes that use it
    except ImportError as error:
        raise ConfigError(f"compute.backend 'libvirt': {error}; run scripts/setup libvirt") from error
    return LibvirtBackend.from_config(config)


BACKENDS: Mapping[str, Callable[[Config], ComputeBackend]] = {
    "libvirt": _libvirt,
    "namespace": NamespaceBackend.from_config,
    "opennebula": OpenNebulaBackend.from_config,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m econe_api.compute", description="Start and stop instances.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: $SLUICE_CONFIG)")
    options = parser.parse_args(arguments)
    try:
        config = load(options.config)
        logs.setup(config.log.format, "compute")
        work(config, _backend(config))
    except (ConfigError, StoreError, ServerError) as error:
        sys.stderr.write(f"compute: {error}\n")
        return 1
    return 0


def _backend(config: Config) -> ComputeBackend:
    name = config.compute.backend
    if name not in BACKENDS:
        raise ConfigError(f"compute.backend: there is no {name!r}; write one of: {', '.join(sorted(BACKENDS))}")
    return BACKENDS[name](config)


if __name__ == "__main__":
    sys.exit(main())
