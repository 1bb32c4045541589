"""oned's refusals as EC2's errors: pure.  The codes are ``ErrorCode`` of oned's Request.h, the words its own."""

from __future__ import annotations

import re
from dataclasses import dataclass

from econe_api.opennebula.rpc import Code, RefusedError

_QUOTA = re.compile(r"limit of (?P<limit>[0-9.]+) reached for (?P<what>[A-Z_]+) quota")
_QUOTAS = {
    "LEASES": "AddressLimitExceeded",
    "VMS": "InstanceLimitExceeded",
    "RUNNING_VMS": "InstanceLimitExceeded",
    "CPU": "VcpuLimitExceeded",
    "RUNNING_CPU": "VcpuLimitExceeded",
    "MEMORY": "InstanceLimitExceeded",
    "RUNNING_MEMORY": "InstanceLimitExceeded",
    "SYSTEM_DISK_SIZE": "VolumeLimitExceeded",
    "SIZE": "VolumeLimitExceeded",
}
_RESOURCE_LIMIT = "ResourceLimitExceeded"
_ABSENT = (
    ("virtual machine", "InvalidInstanceID.NotFound"),
    ("virtual network", "InvalidNetwork.NotFound"),
    ("template", "InvalidAMIID.NotFound"),
    ("image", "InvalidAMIID.NotFound"),
    ("security group", "InvalidGroup.NotFound"),
    ("user", "AuthFailure"),
)
_BY_CODE: dict[int, tuple[str, int]] = {
    Code.AUTHENTICATION: ("AuthFailure", 401),
    Code.AUTHORIZATION: ("UnauthorizedOperation", 403),
    Code.ACTION: ("IncorrectInstanceState", 400),
    Code.ALLOCATE: ("InsufficientInstanceCapacity", 500),
    Code.REPLICATION: ("Unavailable", 503),
}
_FULL_HOST = re.compile(r"not enough capacity|no capacity|cannot (be )?dispatch", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Ec2Refusal:
    """An error of EC2's: its code, its HTTP status, and oned's words."""

    code: str
    status: int
    text: str


def ec2_refusal(refusal: RefusedError) -> Ec2Refusal:
    """Return what EC2 would say: a client's mistake with HTTP 4xx, the cloud's own with 5xx, never 200."""
    code, status = _code(refusal.code, refusal.text)
    return Ec2Refusal(code, status, refusal.text)


def _code(code: int, text: str) -> tuple[str, int]:
    match code:
        case Code.AUTHORIZATION if found := _QUOTA.search(text):
            answer = _QUOTAS.get(found["what"], _RESOURCE_LIMIT), 400
        case Code.NO_EXISTS:
            answer = next((name for words, name in _ABSENT if words in text.lower()), "InvalidParameterValue"), 400
        case Code.ACTION if "Not enough free addresses" in text:
            answer = "InsufficientAddressCapacity", 500
        case Code.ACTION if _FULL_HOST.search(text):
            answer = "InsufficientInstanceCapacity", 500
        case Code.INTERNAL if "is already taken" in text:
            answer = "InvalidParameterValue.Duplicate", 400
        case _:
            answer = _BY_CODE.get(code, ("InternalError", 500))
    return answer


def state_reason(refusal: RefusedError) -> str:
    """Return the state reason's code of an instance that oned refuses: "Client." or "Server." and EC2's code."""
    meant = ec2_refusal(refusal)
    side = "Client" if meant.status < 500 else "Server"
    return f"{side}.{meant.code}"
