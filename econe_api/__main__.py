"""``python -m econe_api``: serve the EC2 API."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from econe_api.config import Config, ConfigError, load
from econe_api.server import ServerError, serve
from econe_api.store.errors import StoreError
from econe_api.tls import TlsError
from telemetry import logs
from telemetry.exposition import EndpointError


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m econe_api", description="Serve the EC2 API.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: $SLUICE_CONFIG)")
    parser.add_argument("--bind", metavar="HOST:PORT", help="where to listen, instead of api.bind; port 0 = any free")
    options = parser.parse_args(arguments)
    try:
        config = _bound(load(options.config), options.bind)
        logs.setup(config.log.format, "api")
        serve(config)
    except (ConfigError, StoreError, ServerError, TlsError, EndpointError) as error:
        sys.stderr.write(f"econe_api: {error}\n")
        return 1
    except KeyboardInterrupt:  # before the server was ready; later it ends by itself, with status 0
        return 130
    return 0


def _bound(config: Config, address: str | None) -> Config:
    return config if address is None else replace(config, api=replace(config.api, bind=address))


if __name__ == "__main__":
    sys.exit(main())
