"""``sluice whohad`` and ``sluice usage``: who had an elastic IP, and what it was used for."""

from __future__ import annotations

import csv
import dataclasses
import ipaddress
import re
import sys
from datetime import UTC, datetime

import click

from econe_api.config import Config
from econe_api.store import accounts, history
from econe_api.store import usage as meters
from econe_api.store.errors import StoreError
from econe_api.store.store import wall_clock
from sluice.screen import json_option, opened_store, show_json, show_table

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


@click.command()
@click.argument("address", metavar="IP")
@click.option("--at", "when", help="Only at this moment, e.g. 2026-03-29T14:05 (UTC unless it says otherwise).")
@json_option
@click.pass_obj
def whohad(config: Config, address: str, when: str | None, as_json: bool) -> None:
    """Tell which account, instance, interface and host had the elastic IP, and when.

    Kept from the first allocation on, also after accounts and instances have gone.
    """
    try:
        public_ip = str(ipaddress.IPv4Address(address))
    except ValueError:
        raise StoreError(f"{address!r} is no IPv4 address; write one such as 203.0.113.10") from None
    moment = None if when is None else _moment(when)
    with opened_store(config) as store:
        found = history.who_had(store, public_ip, moment)
    if as_json:
        show_json([_spelled(period) for period in found])
        return
    if not found:
        click.echo(f"nobody had {public_ip}{'' if moment is None else f' at {moment:%Y-%m-%d %H:%M:%S} UTC'}")
        return
    rows = [
        (
            f"{period.since:%Y-%m-%d %H:%M:%S}",
            f"{period.until:%Y-%m-%d %H:%M:%S}" if period.until else "now",
            period.account,
            period.instance or "-",
            period.interface or "-",
            period.private_ip or "-",
            period.host or "-",
        )
        for period in found
    ]
    show_table(("Since (UTC)", "Until (UTC)", "Account", "Instance", "Interface", "Private address", "Host"), rows)


@click.command()
@click.option("--month", "text", help="Year and month, e.g. 2026-03 (UTC; default: the present one, up to now).")
@click.option("--account", "name", help="Only this account (id or name).")
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV with a header line.")
@json_option
@click.pass_obj
def usage(config: Config, text: str | None, name: str | None, as_csv: bool, as_json: bool) -> None:
    """Tell how long each elastic IP was allocated and associated in a month, and what it carried.

    Hours come from the history of addresses; packets and bytes (whole Ethernet frames) from flow counters, which are
    read every api.metering_interval seconds.
    """
    now = wall_clock()
    month = _MONTH.fullmatch(text or f"{now:%Y-%m}")
    if month is None or month[1] == "0000":
        raise StoreError(f"{text!r} is no month; write year and month, e.g. 2026-03")
    with opened_store(config) as store:
        account = None if name is None else accounts.find_account(store, name).account_id
        lines = meters.month(store, int(month[1]), int(month[2]), now, account)
    if as_json:
        show_json([dataclasses.asdict(line) for line in lines])
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(field.name for field in dataclasses.fields(meters.Line))
        writer.writerows(dataclasses.astuple(line) for line in lines)
    else:
        rows = [
            (
                line.account,
                line.public_ip,
                line.allocation,
                f"{line.hours:.2f}",
                f"{line.associated_hours:.2f}",
                line.bytes_in,
                line.bytes_out,
            )
            for line in lines
        ]
        show_table(("Account", "Address", "Allocation", "Hours", "Associated", "Bytes in", "Bytes out"), rows)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise StoreError(f"{text!r} is no time; write it as 2026-03-29T14:05 or 2026-03-29T14:05:00+02:00") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _spelled(period: history.Period) -> dict[str, object]:
    return {
        **dataclasses.asdict(period),
        "since": period.since.isoformat(),
        "until": period.until.isoformat() if period.until else None,
    }
