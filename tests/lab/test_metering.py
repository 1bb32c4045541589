"""What elastic IPs carry is read from the flows and comes out in `sluice usage`, next to who had them."""

import json

import pytest
from click.testing import CliRunner

from econe_api import metering
from econe_api.store.store import Store, wall_clock
from sluice.commands import cli

pytestmark = pytest.mark.lab


@pytest.fixture
def store(cloud):
    opened = Store.open(cloud.config)
    yield opened
    opened.close()


def sluice(cloud, *arguments):
    done = CliRunner().invoke(cli, ["--config", str(cloud.config_file), *arguments, "--json"], catch_exceptions=False)
    return json.loads(done.output)


def test_bytes_of_an_elastic_ip(world, store, wait_until):
    group = world.group("metered")
    world.allow(group, "icmp", -1)
    guest = world.launch([group])
    ip, allocation = world.address(guest)

    def carried():
        metering.collect(store, world.cloud.config, wall_clock())
        lines = [line for line in sluice(world.cloud, "usage") if line["allocation"] == allocation]
        return (lines[0]["packets_in"], lines[0]["packets_out"], lines[0]["bytes_in"]) if lines else (0, 0, 0)

    world.cloud.outside.run("ping", "-c", "20", "-i", "0.02", "-s", "56", ip)
    size = 14 + 20 + 8 + 56  # Ethernet, IPv4, ICMP, ping's own
    assert wait_until(lambda: carried() == (20, 20, 20 * size), 30), carried()

    (period,) = [period for period in sluice(world.cloud, "whohad", ip) if period["allocation"] == allocation][-1:]
    assert (period["instance"], period["interface"], period["host"], period["until"]) == (
        guest.id,
        guest.interface,
        guest.host,
        None,
    )
