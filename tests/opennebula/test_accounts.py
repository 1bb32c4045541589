"""Accounts that follow OpenNebula's users."""

from __future__ import annotations

from typing import Any

import pytest

from econe_api.opennebula.accounts import account_id, follow
from econe_api.opennebula.rpc import Client, NoAnswerError
from econe_api.opennebula.session import service_account
from econe_api.store.accounts import disable_account, list_accounts


@pytest.fixture
def followed(make_cloud: Any) -> Any:
    """A cloud with an account that was made by hand, and what follows the users."""
    cloud = make_cloud()
    settings = cloud.config.opennebula

    def once() -> Any:
        sessions = service_account(settings.secret_file, settings.administrator)
        return follow(cloud.store, Client(settings.endpoint), sessions)

    cloud.follow = once
    return cloud


def _accounts(cloud: Any) -> dict[str, tuple[str, bool]]:
    return {one.name: (one.account_id, one.disabled) for one in list_accounts(cloud.store)}


def test_users_have_accounts_with_ids_that_stay(followed: Any) -> None:
    bob = followed.oned.user("bob")
    first = followed.follow()
    assert [(made.name, made.account_id) for made in first.made] == [("bob", account_id(bob.id))]
    assert _accounts(followed) == {
        "alice": (followed.account.account_id, False),  # was there, and is the user's now
        "bob": (f"7{bob.id:011d}", False),
    }
    again = followed.follow()
    assert (again.made, again.changes) == ((), ())
    bob.name = "robert"
    followed.follow()
    assert _accounts(followed)["robert"] == (account_id(bob.id), False)
    assert "serveradmin" not in _accounts(followed)
    assert "oneadmin" not in _accounts(followed)


def test_disabled_and_deleted_users_are_disabled_accounts(followed: Any) -> None:
    bob, alice = followed.oned.user("bob"), followed.oned.user("alice")
    followed.follow()
    bob.enabled = False
    followed.follow()
    assert _accounts(followed)["bob"][1]
    bob.enabled = True
    followed.follow()
    assert not _accounts(followed)["bob"][1]
    del followed.oned.users[bob.id]
    followed.follow()
    assert _accounts(followed)["bob"][1]
    # What the operator has disabled stays so, whatever the user is.
    disable_account(followed.store, followed.account.account_id)
    assert alice.enabled
    followed.follow()
    assert _accounts(followed)["alice"][1]


def test_an_empty_list_disables_nobody(followed: Any) -> None:
    followed.follow()
    followed.server.trouble = "empty"
    with pytest.raises(NoAnswerError, match="not whole"):
        followed.follow()
    assert not any(disabled for _, disabled in _accounts(followed).values())


def test_an_account_whose_user_is_somebody_else_now_launches_nothing(followed: Any) -> None:
    """The name has passed to another user, and the account has not been renamed yet."""
    followed.follow()
    alice, bob = followed.oned.user("alice"), followed.oned.user("bob")
    alice.name, bob.name = "former", "alice"
    followed.start()
    (instance,) = followed.run()
    followed.await_state("terminated", instance)
    assert followed.describe(instance)["StateReason"]["Code"] == "Client.UnauthorizedOperation"
    assert not followed.oned.vms


def test_the_worker_follows_by_itself(make_cloud: Any) -> None:
    cloud = make_cloud(follow_users=True)
    cloud.start()
    cloud.running()
    assert "bob" in _accounts(cloud)
