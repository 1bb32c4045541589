"""Refusals of a request that cannot be read, in the words of EC2.

Codes follow "Error codes for the Amazon EC2 API", common client errors.
"""

from __future__ import annotations

from econe_api.errors import Ec2Error

_ECHO = 200
"""At most so many characters of what the client sent come back in a message."""

#: What EC2 calls a list in its messages, where that is not how requests spell it.
_SETS = {"ResourceId": "resourceIdSet"}


def shorten(text: str) -> str:
    """Return ``text``, cut to a length fit for a message."""
    return text if len(text) <= _ECHO else text[:_ECHO] + "..."


def malformed(reason: str) -> Ec2Error:
    """Return the refusal of a query that breaks the protocol; ``reason`` is a sentence."""
    return Ec2Error("MalformedQueryString", reason)


def invalid_value(name: str, value: str, expectation: str) -> Ec2Error:
    """Return the refusal of parameter ``name``; ``expectation`` is a sentence such as "Expecting an integer."."""
    return Ec2Error(
        "InvalidParameterValue", f"Value ({shorten(value)}) for parameter {shorten(name)} is invalid. {expectation}"
    )


def unknown_parameter(name: str) -> Ec2Error:
    """Return the refusal of a parameter that the operation does not have."""
    return Ec2Error("UnknownParameter", f"The parameter {shorten(name)} is not recognized")


def missing_parameter(name: str) -> Ec2Error:
    """Return the refusal of a request that lacks parameter ``name``."""
    return Ec2Error("MissingParameter", f"The request must contain the parameter {_SETS.get(name, name)}")
