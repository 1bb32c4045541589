"""The form of ids in requests: a prefix and 8 or 17 hexadecimal digits."""

from __future__ import annotations

import re
from collections.abc import Iterable

from econe_api.errors import Ec2Error

_DIGITS = re.compile(r"[0-9a-f]{8}|[0-9a-f]{17}")

#: The error code of a badly formed id, by prefix.  EC2 spells these codes as it pleases.
_MALFORMED = {
    "ami": "InvalidAMIID.Malformed",
    "eni": "InvalidNetworkInterfaceId.Malformed",
    "eni-attach": "InvalidAttachmentID.Malformed",
    "i": "InvalidInstanceID.Malformed",
    "sg": "InvalidGroupId.Malformed",
    "sgr": "InvalidSecurityGroupRuleId.Malformed",
    "vpc": "InvalidVpcId.Malformed",
}


def check(prefix: str, ids: Iterable[str]) -> list[str]:
    """The ids, each once, in the order given.

    Raises:
        Ec2Error: the resource's ``...Malformed``.

    """
    found = list(dict.fromkeys(ids))
    for text in found:
        if not text.startswith(f"{prefix}-"):
            raise Ec2Error(_MALFORMED[prefix], f'Invalid id: "{text}" (expecting "{prefix}-...")')
        if not _DIGITS.fullmatch(text, len(prefix) + 1):
            raise Ec2Error(_MALFORMED[prefix], f'Invalid id: "{text}"')
    return found
