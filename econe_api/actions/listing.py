"""What the Describe calls of networks have in common: ids, filters and pages over an account's objects of one kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from econe_api.actions import pagination
from econe_api.actions.filters import Field, Filters
from econe_api.actions.tag_rows import Tags
from econe_api.call import Call
from econe_api.errors import Ec2Error


class View(Protocol):
    """An object as it is shown."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def tags(self) -> Tags:
        """Its tags."""


V = TypeVar("V", bound=View)


def choose(
    call: Call,
    views: Sequence[V],
    ids: str,
    fields: Mapping[str, Field[V]],
    absent: Callable[[str], Ec2Error],
    *,
    most: int = 1000,
) -> tuple[list[V], dict[str, str]]:
    """The page that a request asks for, of all the caller's objects, by id; and the NextToken, if there is one.

    ``ids`` is the parameter that names objects, ``absent`` the error for one that is not there.

    Raises:
        Ec2Error: ``absent``'s; as :class:`Filters`, :func:`pagination.check` and :func:`pagination.page`.

    """
    params = call.params
    pagination.check(params, ids, (5, most))
    filters: Filters[V] = Filters(params.get("Filters"), fields, tagged=True)
    named = list(params.get(ids) or ())
    known = {view.id for view in views}
    for name in named:
        if name not in known:
            raise absent(name)
    found = [view for view in views if (not named or view.id in named) and filters.matches(view, view.tags)]
    shown, token = pagination.page(found, lambda view: (view.id,), params, call.action)
    return shown, ({"NextToken": token} if token else {})
