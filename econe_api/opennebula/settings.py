"""``[opennebula]`` of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from econe_api.config_table import Table

PLACEMENTS = ("sluice", "opennebula")
"""Who chooses the host of an instance."""
_MOST_ID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class OpenNebulaConfig:
    """How oned is reached, and what of it is used.

    ``secret_file`` holds ``user:secret`` of an account with the driver ``server_cipher``; ``administrator`` is the user
    that it sees everything as.  ``events`` is the address of oned's ZeroMQ publisher, "off" = do without; all is read
    anew every ``resync`` seconds, ``page`` VMs at a time.  ``timeout`` is in seconds, for each call.

    Instances are made from the template ``template``, or from the one that ``templates`` has for their image (None:
    no others), with their interfaces on the virtual network ``network``.  One that has not begun to run
    ``launch_timeout`` seconds after it was made is given up.  ``follow_users`` keeps
    an account for each user of oned's.  With ``address_network`` elastic IPs are reserved from that virtual
    network, by the user that allocates them.
    """

    endpoint: str = "http://127.0.0.1:2633/RPC2"
    secret_file: Path = Path("/etc/sluice/opennebula.auth")
    administrator: str = "oneadmin"
    timeout: float = 10.0
    resync: float = 10.0
    page: int = 200
    events: str = "off"
    network: int | None = None
    template: int | None = None
    templates: Mapping[str, int] = field(default_factory=dict)
    placement: str = "sluice"
    launch_timeout: float = 600.0
    follow_users: bool = False
    address_network: int | None = None


def read_opennebula(table: Table) -> OpenNebulaConfig:
    """Read ``[opennebula]``."""
    config = OpenNebulaConfig(
        endpoint=table.text("endpoint", "http://127.0.0.1:2633/RPC2"),
        secret_file=table.path("secret_file", Path("/etc/sluice/opennebula.auth")),
        administrator=table.text("administrator", "oneadmin", longest=128),
        timeout=table.seconds("timeout", 10.0),
        resync=table.seconds("resync", 10.0),
        page=table.integer("page", 200, least=1, most=10_000),
        events=table.text("events", "off"),
        network=_optional_id(table, "network"),
        template=_optional_id(table, "template"),
        templates=MappingProxyType(_templates(table)),
        placement=table.text("placement", PLACEMENTS[0]),
        launch_timeout=table.seconds("launch_timeout", 600.0),
        follow_users=table.boolean("follow_users", default=False),
        address_network=_optional_id(table, "address_network"),
    )
    if not config.endpoint.startswith(("http://", "https://")):
        raise table.error("endpoint", f"{config.endpoint!r} is no URL", "write one such as http://127.0.0.1:2633/RPC2")
    if config.placement not in PLACEMENTS:
        raise table.error("placement", f"{config.placement!r} places nothing", f"write one of {', '.join(PLACEMENTS)}")
    if config.events != "off" and not config.events.startswith(("tcp://", "ipc://")):
        raise table.error("events", f"{config.events!r} is no address", 'write "tcp://127.0.0.1:2101" or "off"')
    if config.timeout == 0:
        raise table.error("timeout", "0 leaves no time for an answer", "write 1 or more seconds")
    table.finish()
    return config


def _optional_id(table: Table, key: str) -> int | None:
    found = table.integer(key, -1, least=-1, most=_MOST_ID)
    return None if found < 0 else found


def _templates(table: Table) -> dict[str, int]:
    found = {}
    for image, number in table.texts("templates").items():
        if not (number.isascii() and number.isdigit()):
            raise table.error(f"templates.{image}", f"{number!r} is no template's id", 'write a number, such as "3"')
        found[image] = int(number)
    return found
