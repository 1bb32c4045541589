"""``[opennebula_driver]``: machines that OpenNebula runs by itself."""

from __future__ import annotations

from dataclasses import dataclass

from econe_api.config_table import Table


@dataclass(frozen=True, slots=True)
class DriverConfig:
    """``account`` is the name of the account that takes over what OpenNebula runs."""

    account: str = "opennebula"


def read_driver(table: Table) -> DriverConfig:
    """Read ``[opennebula_driver]``."""
    driver = DriverConfig(account=table.text("account", "opennebula", longest=255))
    table.finish()
    return driver
