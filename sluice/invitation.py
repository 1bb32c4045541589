"""Makes join tokens: the authority's fingerprint and a new secret, of which the store keeps a digest."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta

from certificates import token as tokens
from certificates.authority import CertificateError, checked_name, fingerprint
from certificates.files import AuthorityFolder, FilesError
from channel.client import ChannelError, request
from econe_api.config import Config
from econe_api.store import hosts
from econe_api.store.errors import StoreError
from econe_api.store.store import Store

_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Invitation:
    """A join token, as the word to be copied, and the authority's fingerprint in hexadecimal."""

    token: str
    fingerprint: str


def invite(config: Config, store: Store, name: str, lifetime: timedelta, *, again: bool) -> Invitation:
    """Let host ``name`` join once; ``again`` also when it has joined.  Raises :class:`StoreError`."""
    try:
        checked_name(name)
        mark = fingerprint(AuthorityFolder(config.state).authority().certificate)
    except (CertificateError, FilesError) as error:
        raise StoreError(str(error)) from error
    made = tokens.JoinToken(name, mark, secrets.token_bytes(tokens.SECRET_BYTES))
    tell(config, hosts.invite(store, name, made.digest, lifetime, again=again))
    return Invitation(tokens.write(made), mark.hex())


def tell(config: Config, revision: int) -> bool:
    """Have the controller look at the store now; whether it did."""
    try:
        request(config.controller.socket, {"op": "installed", "revision": revision, "timeout": 2.0}, _TIMEOUT)
    except ChannelError:
        return False
    return True
