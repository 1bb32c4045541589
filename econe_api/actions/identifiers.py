"""The form of ids in requests: a prefix and hexadecimal digits, 8 or 17 in ids that EC2 gives."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from econe_api.errors import Ec2Error

_DIGITS_NOW = 17
# An id with fewer digits is one that cannot be there (``...NotFound``), not a malformed one.
_DIGITS = re.compile(r"[0-9a-f]{1,17}")

#: The error code of a badly formed id, by prefix.  EC2 spells these codes as it pleases.
_MALFORMED = {
    "ami": "InvalidAMIID.Malformed",
    "dopt": "InvalidDhcpOptionsId.Malformed",
    "eni": "InvalidNetworkInterfaceId.Malformed",
    "eni-attach": "InvalidNetworkInterfaceAttachmentId.Malformed",
    "i": "InvalidInstanceID.Malformed",
    "pl": "InvalidPrefixListId.Malformed",
    "igw": "InvalidInternetGatewayId.Malformed",
    "rtb": "InvalidRouteTableId.Malformed",
    "key": "InvalidKeyPair.Malformed",
    "sg": "InvalidGroupId.Malformed",
    "sgr": "InvalidSecurityGroupRuleId.Malformed",
    "subnet": "InvalidSubnetID.Malformed",
    "vpc": "InvalidVpcID.Malformed",
}


def following(prefix: str, resource: str) -> str:
    """The id, always the same, of what a resource has exactly one of.

    What follows a slash in ``prefix`` tells two things of one prefix apart ("vpc-cidr-assoc/6").
    """
    digits = hashlib.sha256(f"{prefix} {resource}".encode()).hexdigest()[:_DIGITS_NOW]
    return f"{prefix.partition('/')[0]}-{digits}"


def well_formed(prefix: str, text: str) -> bool:
    """Tell whether ``text`` has the form of an id with this prefix."""
    return text.startswith(f"{prefix}-") and _DIGITS.fullmatch(text, len(prefix) + 1) is not None


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
