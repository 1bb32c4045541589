"""``sluice account``, ``sluice key`` and ``sluice quota``: who may use the cloud, and how much of it."""

from __future__ import annotations

import click

from econe_api.config import Config
from econe_api.store import accounts, quotas
from econe_api.store.errors import StoreError
from sluice.screen import json_option, opened_store, show_json, show_table


@click.group()
def account() -> None:
    """Accounts: tenants of the cloud."""


@account.command("create")
@click.argument("name")
@json_option
@click.pass_obj
def create_account(config: Config, name: str, as_json: bool) -> None:
    """Make account NAME with its default network; print its key pair, which is shown this once."""
    with opened_store(config) as store:
        made = accounts.create_account(store, name)
    if as_json:
        _show_pair({"account_id": made.account_id, "name": name}, made.access_key_id, made.secret)
        return
    click.echo(f"# account {made.account_id} ({name})")
    _echo_pair(made.access_key_id, made.secret)


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
                    "keys": len(one.keys),
                }
                for one in found
            ]
        )
        return
    rows = [(one.account_id, one.name, f"{one.created:%Y-%m-%d %H:%M}", len(one.keys)) for one in found]
    show_table(("Account", "Name", "Created (UTC)", "Keys"), rows)


@click.group()
def key() -> None:
    """Access keys: what an account signs its calls with."""


@key.command("create")
@click.argument("account")
@json_option
@click.pass_obj
def create_key(config: Config, account: str, as_json: bool) -> None:
    """Give ACCOUNT (id or name) one more key pair and print it, which happens this once."""
    with opened_store(config) as store:
        owner = accounts.find_account(store, account)
        made = accounts.create_key(store, owner.account_id)
    if as_json:
        _show_pair({"account_id": owner.account_id}, made.access_key_id, made.secret)
        return
    _echo_pair(made.access_key_id, made.secret)


@key.command("list")
@click.argument("account", required=False)
@json_option
@click.pass_obj
def list_keys(config: Config, account: str | None, as_json: bool) -> None:
    """List the keys of ACCOUNT (id or name), without it all; never their secrets."""
    with opened_store(config) as store:
        owners = accounts.list_accounts(store) if account is None else (accounts.find_account(store, account),)
    found = [one for owner in owners for one in owner.keys]
    if as_json:
        show_json(
            [
                {
                    "access_key_id": one.access_key_id,
                    "account_id": one.account_id,
                    "active": one.active,
                    "created": one.created.isoformat(),
                }
                for one in found
            ]
        )
        return
    rows = [
        (one.access_key_id, one.account_id, "active" if one.active else "disabled", f"{one.created:%Y-%m-%d %H:%M}")
        for one in found
    ]
    show_table(("Key", "Account", "State", "Created (UTC)"), rows)


@key.command("enable")
@click.argument("access_key_id")
@click.pass_obj
def enable_key(config: Config, access_key_id: str) -> None:
    """Let ACCESS_KEY_ID be used again."""
    with opened_store(config) as store:
        accounts.enable_key(store, access_key_id)


@key.command("disable")
@click.argument("access_key_id")
@click.pass_obj
def disable_key(config: Config, access_key_id: str) -> None:
    """Refuse ACCESS_KEY_ID from the next call on."""
    with opened_store(config) as store:
        accounts.disable_key(store, access_key_id)


@key.command("delete")
@click.argument("access_key_id")
@click.pass_obj
def delete_key(config: Config, access_key_id: str) -> None:
    """Forget ACCESS_KEY_ID for good."""
    with opened_store(config) as store:
        accounts.delete_key(store, access_key_id)


@click.group()
def quota() -> None:
    """Quotas: how much an account may have."""


@quota.command("list")
@click.argument("account")
@json_option
@click.pass_obj
def list_quotas(config: Config, account: str, as_json: bool) -> None:
    """List the quotas of ACCOUNT (id or name)."""
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
    if value != "default" and not (value.isascii() and value.isdigit()):
        raise StoreError(f"{value!r} is no quota; write a number or 'default'")
    with opened_store(config) as store:
        owner = accounts.find_account(store, account).account_id
        quotas.set_quota(store, owner, name, None if value == "default" else int(value))


def _show_pair(about: dict[str, str], access_key_id: str, secret: str) -> None:
    show_json({**about, "access_key_id": access_key_id, "secret_access_key": secret})


def _echo_pair(access_key_id: str, secret: str) -> None:
    click.echo(f"export AWS_ACCESS_KEY_ID={access_key_id}")
    click.echo(f"export AWS_SECRET_ACCESS_KEY={secret}")
