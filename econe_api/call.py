"""One API call between the protocol layer and the actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from econe_api.store.transaction import Transaction

#: Input and output of an action, in the shape that botocore's client takes and returns (``GroupId``,
#: ``IpPermissions``...); datetimes are aware datetime objects, booleans bool, integers int.
Params = Mapping[str, Any]


class Role(StrEnum):
    """What a key may do in its own account: look, use everything, or besides see who else has keys."""

    ADMIN = "admin"
    USER = "user"
    READ_ONLY = "read-only"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: a 12-digit account id and the access key that signed.

    ``user`` is the user of the account that has the key, None when the key is the account's own; ``temporary`` tells
    keys that expire.
    """

    account_id: str
    access_key_id: str
    role: Role = Role.ADMIN
    user: str | None = None
    temporary: bool = False

    @property
    def arn(self) -> str:
        """The caller's Amazon resource name, as IAM writes it."""
        return f"arn:aws:iam::{self.account_id}:{f'user/{self.user}' if self.user else 'root'}"


@dataclass(frozen=True, slots=True)
class Call:
    """A call that has been authenticated and parsed.

    ``signature`` names what it was signed with, ``invocation`` is the name that the SDK gave it; both are digests, for
    the audit log and for telling replays.  ``prepared`` is what :attr:`Action.prepare` made for it.
    """

    action: str
    params: Params
    caller: Caller
    request_id: str
    source_ip: str = ""
    signature: str | None = None
    invocation: str | None = None
    prepared: Any = field(default=None, repr=False, kw_only=True)


Handler = Callable[[Call, "Transaction"], dict[str, Any]]


class Answer(StrEnum):
    """What can be expected of an action: it works, it has nothing to show, or it refuses after its checks."""

    WORKS = "works"
    EMPTY = "empty"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Action:
    """What the API does for one action name.

    ``mutates`` chooses a write transaction (serialised, audited, gets a revision when something changed).
    ``settles`` names the instances in the answer whose state the API waits for, bounded, before it answers.
    ``starts``: it has instances started, and is refused while what runs them does not answer.
    ``answer`` is for the documentation.
    ``prepare`` does what takes long and needs no store, before the transaction, which keeps all other writers waiting.
    """

    handler: Handler
    mutates: bool
    settles: Callable[[Mapping[str, Any]], list[str]] | None = field(default=None)
    answer: Answer = Answer.WORKS
    prepare: Callable[[Call], Any] | None = None
    starts: bool = False

    def prepared(self, call: Call) -> Call:
        """Return the call as the handler takes it.  Raises what ``prepare`` raises: Ec2Error."""
        return call if self.prepare is None else replace(call, prepared=self.prepare(call))
