"""``python -m econe_api.compute``: start and stop instances."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from econe_api.compute.backend import ComputeBackend
from econe_api.compute.forgetter import Forgetter
from econe_api.compute.namespaces import NamespaceBackend
from econe_api.compute.server import Server, ServerError
from econe_api.compute.worker import Worker
from econe_api.config import Config, ConfigError, load
from econe_api.images.copier import Copier
from econe_api.images.library import Library
from econe_api.opennebula.backend import OpenNebulaBackend
from econe_api.store.errors import StoreError
from econe_api.store.store import Store
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
        _work(config)
    except (ConfigError, StoreError, ServerError) as error:
        sys.stderr.write(f"compute: {error}\n")
        return 1
    return 0


def _work(config: Config) -> None:
    backend = _backend(config)
    store = Store.open(config)
    worker = Worker(store, backend)
    copier = Copier(store, Library.of(config))
    forgetter = Forgetter(store)
    server = Server(config.compute.socket, worker)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    listener = threading.Thread(target=server.serve_forever, name="compute-socket")
    listener.start()
    copier.start()
    forgetter.start()
    try:
        worker.run()
    finally:
        server.shutdown()
        listener.join()
        copier.stop()
        forgetter.stop()
        server.server_close()
        store.close()


def _backend(config: Config) -> ComputeBackend:
    name = config.compute.backend
    if name not in BACKENDS:
        raise ConfigError(f"compute.backend: there is no {name!r}; write one of: {', '.join(sorted(BACKENDS))}")
    return BACKENDS[name](config)


if __name__ == "__main__":
    sys.exit(main())
