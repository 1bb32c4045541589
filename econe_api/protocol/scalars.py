"""Texts of single parameters as Python values, and back."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from econe_api.protocol.faults import invalid_value

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_integer = re.compile(r"[+-]?[0-9]{1,19}")
_RANGES = {"integer": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}

#: Reads a parameter: its full name (for messages) and its text.
ScalarReader = Callable[[str, str], Any]
#: Makes the text, not yet escaped, of a value in an answer; TypeError for a value of another type.
ScalarWriter = Callable[[Any], str]


def reader(shape: Any) -> ScalarReader:
    """Return what reads a parameter of a scalar ``shape`` (a ``botocore.model.Shape``)."""
    kind = shape.type_name
    if kind == "string":
        return _string_reader(shape.metadata.get("min"), shape.metadata.get("max"))
    if kind in _RANGES:
        least, most = _RANGES[kind]
        return _integer_reader(shape.metadata.get("min", least), shape.metadata.get("max", most))
    return _READERS[str(kind)]


def writer(shape: Any) -> ScalarWriter:
    """Return what writes a value of a scalar ``shape``."""
    return _WRITERS[str(shape.type_name)]


def _string_reader(least: int | None, most: int | None) -> ScalarReader:
    def read(name: str, text: str) -> str:
        if least is not None and len(text) < least:
            raise invalid_value(name, text, f"Expecting at least {least} characters.")
        if most is not None and len(text) > most:
            raise invalid_value(name, text, f"Expecting at most {most} characters.")
        return text

    return read


def _integer_reader(least: int, most: int) -> ScalarReader:
    def read(name: str, text: str) -> int:
        if not _integer.fullmatch(text):
            raise invalid_value(name, text, "Expecting an integer.")
        value = int(text)
        if value < least:
            raise invalid_value(name, text, f"Expecting a value greater than or equal to {least}.")
        if value > most:
            raise invalid_value(name, text, f"Expecting a value less than or equal to {most}.")
        return value

    return read


def _read_boolean(name: str, text: str) -> bool:
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise invalid_value(name, text, "Expecting true or false.")
    return value


def _read_float(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise invalid_value(name, text, "Expecting a number.")
    return value


def _read_timestamp(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise invalid_value(name, text, "Expecting a date such as 2012-10-16T20:00:13.000Z.") from error


def _read_blob(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_value(name, text, "Expecting base64.") from error


def _write_string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no string")
    return value


def _write_boolean(value: Any) -> str:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is no boolean")
    return "true" if value else "false"


def _write_integer(value: Any) -> str:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no integer")
    return str(int(value))


def _write_float(value: Any) -> str:
    return repr(float(value))


def _write_timestamp(value: Any) -> str:
    """Write as EC2 does, to the millisecond: ``2012-10-16T20:00:13.000Z``."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError(f"{value!r} is no datetime with a time zone")
    text = value.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def _write_blob(value: Any) -> str:
    return base64.b64encode(value).decode("ascii")


_READERS: dict[str, ScalarReader] = {
    "boolean": _read_boolean,
    "float": _read_float,
    "double": _read_float,
    "timestamp": _read_timestamp,
    "blob": _read_blob,
}
_WRITERS: dict[str, ScalarWriter] = {
    "string": _write_string,
    "boolean": _write_boolean,
    "integer": _write_integer,
    "long": _write_integer,
    "float": _write_float,
    "double": _write_float,
    "timestamp": _write_timestamp,
    "blob": _write_blob,
}
