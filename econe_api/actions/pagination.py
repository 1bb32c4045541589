"""Pages of the Describe actions: MaxResults and an opaque NextToken.

The token names the last item shown, not a position, so items that come and go between two pages neither repeat nor
hide others.  It holds nothing secret and gives access to nothing: the account's own items are what is paged.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from econe_api.call import Params
from econe_api.errors import Ec2Error

T = TypeVar("T")
Key = tuple[str | int, ...]
#: What EC2 calls lists of ids in its messages, where that is known.
_SETS = {"InstanceIds": "instancesSet"}


def check(params: Params, ids: str | None = None, bounds: tuple[int, int] = (5, 1000)) -> None:
    """Check MaxResults against its bounds, and that no ``ids`` (a parameter's name) come with it.

    Raises:
        Ec2Error: InvalidParameterValue, InvalidParameterCombination.

    """
    limit = params.get("MaxResults")
    if limit is None:
        return
    low, high = bounds
    if limit < low:
        raise Ec2Error(
            "InvalidParameterValue",
            f"Value ( {limit} ) for parameter maxResults is invalid. Expecting a value greater than {low}.",
        )
    if limit > high:
        raise Ec2Error(
            "InvalidParameterValue",
            f"Value ( {limit} ) for parameter maxResults is invalid. Expecting a value less than {high}.",
        )
    if ids is not None and params.get(ids):
        name = _SETS.get(ids, ids)
        raise Ec2Error(
            "InvalidParameterCombination", f"The parameter {name} cannot be used with the parameter maxResults"
        )


def page(items: Sequence[T], key: Callable[[T], Key], params: Params, scope: str) -> tuple[list[T], str | None]:
    """The page of ``items`` that ``params`` ask for, and the token of the next (None: there is none).

    ``key`` orders the items and names each uniquely; ``scope`` is the action: its tokens serve no other.

    Raises:
        Ec2Error: InvalidNextToken.

    """
    ordered = sorted(items, key=key)
    token = params.get("NextToken")
    if token:
        last = _decode(token, scope)
        try:
            ordered = [item for item in ordered if key(item) > last]
        except TypeError:
            raise _invalid(token) from None
    limit = params.get("MaxResults")
    if limit is None or len(ordered) <= limit:
        return ordered, None
    shown = ordered[:limit]
    return shown, _encode(key(shown[-1]), scope)


def _encode(key: Key, scope: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([scope, *key]).encode()).decode()


def _decode(token: str, scope: str) -> Key:
    try:
        found, *key = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError):
        raise _invalid(token) from None
    if found != scope or not key or not all(isinstance(part, str | int) for part in key):
        raise _invalid(token)
    return tuple(key)


def _invalid(token: str) -> Ec2Error:
    return Ec2Error("InvalidNextToken", f"The specified NextToken '{token[:64]}' is not valid")
