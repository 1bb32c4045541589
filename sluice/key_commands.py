"""``sluice key``: what accounts sign their calls with."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any, TypeVar

import click

from econe_api.call import Role
from econe_api.config import Config
from econe_api.store import accounts, keys
from sluice.screen import json_option, opened_store, show_json, show_table

_Command = TypeVar("_Command", bound=Callable[..., Any])


def key_options(command: _Command) -> _Command:
    """Give the command ``--access-key`` and ``--secret-key``, for a key pair of the operator's choice."""
    command = click.option("--secret-key", metavar="SECRET", help="4 characters or more.  Default: random.")(command)
    return click.option("--access-key", metavar="KEY", help="Letters, digits, _ and -.  Default: random.")(command)


def show_pair(about: dict[str, str], access_key_id: str, secret: str) -> None:
    """Write a key pair as JSON."""
    show_json({**about, "access_key_id": access_key_id, "secret_access_key": secret})


def echo_pair(access_key_id: str, secret: str) -> None:
    """Write a key pair so that a shell can source it."""
    click.echo(f"export AWS_ACCESS_KEY_ID={access_key_id}")
    click.echo(f"export AWS_SECRET_ACCESS_KEY={shlex.quote(secret)}")


@click.group()
def key() -> None:
    """Access keys: what an account signs its calls with.

    A key has a role: admin (everything in its account, and seeing who else has keys), user (everything but that), or
    read-only (nothing that changes anything).  A key with a --user answers to that name in GetCallerIdentity.
    """


@key.command("create")
@click.argument("account")
@click.option(
    "--role",
    type=click.Choice([one.value for one in Role]),
    default=Role.ADMIN.value,
    show_default=True,
    help="What it may do.",
)
@click.option("--user", metavar="NAME", help="Whose key it is.  Default: the account's own.")
@key_options
@json_option
@click.pass_obj
def create_key(
    config: Config,
    account: str,
    role: str,
    user: str | None,
    access_key: str | None,
    secret_key: str | None,
    as_json: bool,
) -> None:
    """Give ACCOUNT (id or name) one more key pair and print it, which happens this once."""
    with opened_store(config) as store:
        owner = accounts.find_account(store, account)
        chosen = keys.chosen_key(access_key, secret_key)
        made = keys.create_key(store, owner.account_id, chosen, Role(role), user)
    if as_json:
        show_pair({"account_id": owner.account_id}, made.access_key_id, made.secret)
        return
    echo_pair(made.access_key_id, made.secret)


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
                    "role": one.role.value,
                    "user": one.user,
                    "created": one.created.isoformat(),
                }
                for one in found
            ]
        )
        return
    rows = [
        (
            one.access_key_id,
            one.account_id,
            "active" if one.active else "disabled",
            one.role.value,
            one.user or "-",
            f"{one.created:%Y-%m-%d %H:%M}",
        )
        for one in found
    ]
    show_table(("Key", "Account", "State", "Role", "User", "Created (UTC)"), rows)


@key.command("enable")
@click.argument("access_key_id")
@click.pass_obj
def enable_key(config: Config, access_key_id: str) -> None:
    """Let ACCESS_KEY_ID be used again."""
    with opened_store(config) as store:
        keys.enable_key(store, access_key_id)


@key.command("disable")
@click.argument("access_key_id")
@click.pass_obj
def disable_key(config: Config, access_key_id: str) -> None:
    """Refuse ACCESS_KEY_ID from the next call on."""
    with opened_store(config) as store:
        keys.disable_key(store, access_key_id)


@key.command("delete")
@click.argument("access_key_id")
@click.pass_obj
def delete_key(config: Config, access_key_id: str) -> None:
    """Forget ACCESS_KEY_ID for good."""
    with opened_store(config) as store:
        keys.delete_key(store, access_key_id)
