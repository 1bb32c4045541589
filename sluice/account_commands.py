"""``sluice account`` and ``sluice quota``: who may use the cloud, and how much of it."""

from __future__ import annotations

import click

from econe_api.config import Config
from econe_api.opennebula import accounts as opennebula
from econe_api.opennebula.rpc import Client, OneError
from econe_api.opennebula.session import service_account
from econe_api.store import accounts, keys, quotas
from econe_api.store.errors import StoreError
from sluice.key_commands import echo_pair, key_options, show_pair
from sluice.screen import json_option, opened_store, show_json, show_table


@click.group()
def account() -> None:
    """Accounts: tenants of the cloud.

    An account is named by its id, 12 digits, or by its name.  It has keys (see 'sluice key --help'), quotas, and from
    the beginning a default VPC with a subnet per zone and a default security group.
    """


@account.command("create")
@click.argument("name")
@click.option("--account-id", metavar="ID", help="12 digits.  Default: random.")
@key_options
@json_option
@click.pass_obj
def create_account(
    config: Config, name: str, account_id: str | None, access_key: str | None, secret_key: str | None, as_json: bool
) -> None:
    """Make account NAME with its default network; print its key pair, which is shown this once.

    The key is the account's own: its role is admin.  Its output can be sourced by a shell:
    eval "$(sluice account create alice)".
    """
    with opened_store(config) as store:
        made = accounts.create_account(store, name, account_id, keys.chosen_key(access_key, secret_key))
    if as_json:
        show_pair({"account_id": made.account_id, "name": name}, made.access_key_id, made.secret)
        return
    click.echo(f"# account {made.account_id} ({name})")
    echo_pair(made.access_key_id, made.secret)


@account.command("import-opennebula")
@click.pass_obj
def import_opennebula(config: Config) -> None:
    """Make an account for every user of OpenNebula outside oneadmin; print the keys of new ones, this once.

    Done again it does what has changed since: accounts are renamed, disabled and enabled as their users are.
    """
    settings = config.opennebula
    sessions = service_account(settings.secret_file, settings.administrator)
    with opened_store(config) as store, Client(settings.endpoint, settings.timeout) as client:
        try:
            found = opennebula.follow(store, client, sessions)
        except OneError as error:
            raise StoreError(f"{error}; nothing more was changed, see [opennebula] in the configuration") from error
    for made in found.made:
        click.echo(f"# account {made.account_id} ({made.name})")
        echo_pair(made.access_key_id, made.secret)
    for text in found.changes:
        click.echo(f"# {text}")
    if not (found.made or found.changes):
        click.echo("# nothing has changed")


@account.command("list")
@json_option
@click.pass_obj
def list_accounts(config: Config, as_json: bool) -> None:
    """List accounts."""
    with opened_store(config) as store:
        found = accounts.list_accounts(store)
    if as_json:
        show_json(
            [
                {
                    "account_id": one.account_id,
                    "name": one.name,
                    "created": one.created.isoformat(),
                    "disabled": one.disabled,
                    "keys": len(one.keys),
                }
                for one in found
            ]
        )
        return
    rows = [
        (
            one.account_id,
            one.name,
            "disabled" if one.disabled else "active",
            f"{one.created:%Y-%m-%d %H:%M}",
            len(one.keys),
        )
        for one in found
    ]
    show_table(("Account", "Name", "State", "Created (UTC)", "Keys"), rows)


@account.command("disable")
@click.argument("account")
@click.pass_obj
def disable_account(config: Config, account: str) -> None:
    """Refuse every key of ACCOUNT (id or name) from the next call on.

    What it has stays as it is: instances run, addresses work, rules hold.
    """
    with opened_store(config) as store:
        accounts.disable_account(store, accounts.find_account(store, account).account_id)


@account.command("enable")
@click.argument("account")
@click.pass_obj
def enable_account(config: Config, account: str) -> None:
    """Take the keys of ACCOUNT (id or name) again, but those that are disabled themselves."""
    with opened_store(config) as store:
        accounts.enable_account(store, accounts.find_account(store, account).account_id)


@account.command("rotate-key")
@click.argument("account")
@click.argument("access_key_id", required=False)
@json_option
@click.pass_obj
def rotate_key(config: Config, account: str, access_key_id: str | None, as_json: bool) -> None:
    """Put a new key pair in the place of ACCESS_KEY_ID of ACCOUNT (id or name) and print it, which happens this once.

    The old one is refused from the next call on, and so are temporary keys that were made with it.  ACCESS_KEY_ID may
    be left out where the account has one key.  To have both for a while: sluice key create, later sluice key delete.
    """
    with opened_store(config) as store:
        owner = accounts.find_account(store, account)
        known = [one.access_key_id for one in owner.keys]
        if access_key_id is None and len(known) != 1:
            raise StoreError(f"account {account!r} has {len(known)} keys; name the one to replace: {', '.join(known)}")
        old = known[0] if access_key_id is None else access_key_id
        if old not in known:
            raise keys.no_key(old)
        made = keys.rotate_key(store, old)
    if as_json:
        show_pair({"account_id": owner.account_id, "replaces": old}, made.access_key_id, made.secret)
        return
    echo_pair(made.access_key_id, made.secret)


@account.command("purge")
@click.argument("account")
@json_option
@click.pass_obj
def purge_account(config: Config, account: str, as_json: bool) -> None:
    """Take away all that ACCOUNT (id or name) has, at once and for good.

    Instances, addresses, interfaces, security groups, prefix lists, key pairs, networks and tags go, as if their owner
    had deleted them one by one; the default security group is as new.  The account stays, with its keys, quotas and
    default VPC.  Meant for cleaning up, for example between two tests.
    """
    from econe_api.actions import ACTIONS  # 0.3 s that no other command has to wait for
    from econe_api.notify import Notifier
    from econe_api.purge import purge

    with opened_store(config) as store:
        owner = accounts.find_account(store, account).account_id
        gone = purge(store, ACTIONS, Notifier(config), owner)
    if as_json:
        show_json(dict(sorted(gone.items())))
        return
    for action, count in sorted(gone.items()):
        click.echo(f"{action}: {count}")


@account.command("quota")
@click.argument("account")
@click.argument("name", required=False)
@click.argument("value", required=False)
@json_option
@click.pass_obj
def account_quota(config: Config, account: str, name: str | None, value: str | None, as_json: bool) -> None:
    """Show the quotas of ACCOUNT (id or name), or set quota NAME to VALUE, a number or "default"."""
    if (name is None) != (value is None):
        raise StoreError(f"quota {name!r} of what value? Write a number or 'default' behind it")
    if name is None or value is None:
        _list_quotas(config, account, as_json)
    else:
        _set_quota(config, account, name, value)


@click.group()
def quota() -> None:
    """Quotas: how much an account may have."""


@quota.command("list")
@click.argument("account")
@json_option
@click.pass_obj
def list_quotas(config: Config, account: str, as_json: bool) -> None:
    """List the quotas of ACCOUNT (id or name)."""
    _list_quotas(config, account, as_json)


def _list_quotas(config: Config, account: str, as_json: bool) -> None:
    with opened_store(config) as store:
        found = quotas.list_quotas(store, accounts.find_account(store, account).account_id)
    if as_json:
        show_json(found)
        return
    rows = [(name, value, quotas.DEFAULTS[name]) for name, value in sorted(found.items())]
    show_table(("Quota", "Value", "Default"), rows)


@quota.command("set")
@click.argument("account")
@click.argument("name")
@click.argument("value")
@click.pass_obj
def set_quota(config: Config, account: str, name: str, value: str) -> None:
    """Set quota NAME of ACCOUNT (id or name) to VALUE, a number or "default"."""
    _set_quota(config, account, name, value)


def _set_quota(config: Config, account: str, name: str, value: str) -> None:
    if value != "default" and not (value.isascii() and value.isdigit()):
        raise StoreError(f"{value!r} is no quota; write a number or 'default'")
    with opened_store(config) as store:
        owner = accounts.find_account(store, account).account_id
        quotas.set_quota(store, owner, name, None if value == "default" else int(value))
