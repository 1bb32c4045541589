"""``sluice log``: who has called what, and whether somebody has been at the record of it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import click

from econe_api.config import Config
from econe_api.store import accounts, audit_log
from econe_api.store.administration import administration
from econe_api.store.errors import StoreError
from sluice.screen import json_option, opened_store, show_json, show_table


@click.group()
def log() -> None:
    """Audit log: every call of the API and every command that changed something.

    Entries are sealed one to the next with a key that is not in the database, so that a change behind Sluice's back
    shows: an entry altered, taken away, put in, moved, or cut off at the end.
    """


@log.command("show")
@click.option("--last", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="So many entries.")
@click.option("--account", metavar="ACCOUNT", help="Those of one account (id or name).")
@json_option
@click.pass_obj
def show_log(config: Config, last: int, account: str | None, as_json: bool) -> None:
    """Show the newest entries, oldest first.  Reads and refusals come into the log within a second.

    A call that went well has the result "ok", any other the error code that its caller got.
    """
    with opened_store(config) as store:
        owner = None if account is None else accounts.find_account(store, account).account_id
        with store.read(administration("ShowLog")) as txn:
            found = audit_log.entries(txn.connection, owner, last)
    if as_json:
        show_json([{"id": number, **asdict(entry), "time": entry.time.isoformat()} for number, entry in found])
        return
    rows = [
        (
            number,
            f"{entry.time:%Y-%m-%d %H:%M:%S}",
            entry.account or "-",
            entry.access_key or "-",
            entry.source_ip or "-",
            entry.action or "-",
            entry.code or "ok",
            entry.request_id,
        )
        for number, entry in found
    ]
    show_table(("Entry", "Time (UTC)", "Account", "Key", "From", "Action", "Result", "Request"), rows)


@log.command("verify")
@json_option
@click.pass_obj
def verify_log(config: Config, as_json: bool) -> int:
    """Check every entry and every seal; exit status 1 when somebody has been at the log.

    Needs the key file and, to find that the end was cut off, the file audit.anchor of the state directory.
    """
    with opened_store(config) as store:
        trouble: list[str] = []
        anchor = None
        try:
            anchor = store.anchor.read()  # before the log, which may be written meanwhile
        except StoreError as error:
            trouble.append(str(error))
        with store.read(administration("VerifyLog")) as txn:
            count, problems = audit_log.verify(txn.connection, store.sealer, anchor)
    if anchor is None and count and not trouble:
        trouble.append("there is no anchor file in the state directory, so a log that was cut off would not show")
    problems = trouble + problems
    if as_json:
        show_json({"entries": count, "problems": problems})
    else:
        for problem in problems:
            click.echo(problem)
        click.echo(f"{count} entries, {f'{len(problems)} problems' if problems else 'nothing altered'}")
    return 1 if problems else 0


@log.command("prune")
@click.option("--before", required=True, metavar="TIME", help="UTC, e.g. 2026-01-31 or 2026-01-31T12:00.")
@click.pass_obj
def prune_log(config: Config, before: str) -> None:
    """Forget the entries before TIME.  The rest stays verifiable, and the pruning is an entry itself.

    The last hour always stays: replays of calls are recognised by it.
    """
    try:
        moment = datetime.fromisoformat(before)
    except ValueError as error:
        raise StoreError(f"{before!r} is no time; write one such as 2026-01-31 or 2026-01-31T12:00") from error
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    with opened_store(config) as store, store.write(administration("PruneLog")) as txn:
        gone = audit_log.prune(txn.connection, store.sealer, min(moment, txn.now - audit_log.KEPT))
    click.echo(f"{gone} entries pruned")


@log.command("anchor")
@click.pass_obj
def anchor_log(config: Config) -> None:
    """Vouch for the log as it is now, e.g. after an older backup of the database was restored on purpose.

    From then on 'sluice log verify' no longer says that its end is missing.  The command is an entry of the log.
    """
    with opened_store(config) as store:
        with store.write(administration("AnchorLog")):
            pass
        with store.read(administration("AnchorLog")) as txn:
            store.anchor.reset(audit_log.head(txn.connection))
