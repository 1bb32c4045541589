"""Checks that many actions share: what must be there, what excludes what, what this cloud does not do."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from econe_api.call import Params
from econe_api.errors import Ec2Error


def given(params: Params, name: str) -> bool:
    """Does the request hold a value?  An empty text, list, structure or blob counts as none."""
    return params.get(name) not in (None, "", b"", [], {})


def require(params: Params, *names: str) -> None:
    """Refuse a request that lacks a parameter.

    Raises:
        Ec2Error: MissingParameter.

    """
    for name in names:
        if not given(params, name):
            raise Ec2Error("MissingParameter", f"The request must contain the parameter {name}")


def exactly_one(params: Params, first: tuple[str, str], second: tuple[str, str]) -> None:
    """Refuse a request with none or both of two parameters, each as (name, EC2's words for it).

    Raises:
        Ec2Error: MissingParameter, InvalidParameterCombination.

    """
    have = [given(params, name) for name, _ in (first, second)]
    if all(have):
        raise Ec2Error(
            "InvalidParameterCombination", f"You may specify {first[1]} or {second[1]}, but not both in the same call"
        )
    if not any(have):
        raise Ec2Error("MissingParameter", f"Either {first[1]} or {second[1]} must be specified")


def refuse_unsupported(
    params: Params, supported: frozenset[str], neutral: Mapping[str, tuple[Any, ...]] | None = None
) -> None:
    """Refuse what the action would otherwise pass over in silence.

    ``neutral`` holds parameters that are accepted with the values named only: those that ask for what is anyway so.

    Raises:
        Ec2Error: UnsupportedOperation.

    """
    for name in sorted(params):
        if name == "DryRun" or name in supported or not given(params, name):
            continue
        if params[name] not in (neutral or {}).get(name, ()):
            raise Ec2Error("UnsupportedOperation", f"The value of the parameter {name} is not supported by this cloud")


def ipv4(text: str, parameter: str) -> str:
    """An IPv4 address in canonical text.

    Raises:
        Ec2Error: InvalidParameterValue.

    """
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise Ec2Error(
            "InvalidParameterValue", f"Value ({text}) for parameter {parameter} is invalid. Invalid IPv4 address"
        ) from None
