"""From the bytes of a query string or a form to names and values.

Linear in the size of the input, whatever it holds; the number of parameters is bounded before any is taken apart.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from econe_api.protocol.faults import invalid_value, malformed, shorten
from econe_api.protocol.xml import representable

MAX_PARAMETERS = 10_000
MAX_NAME = 1024
"""Bytes of a parameter's name; more than the longest of the model with all its dots."""


def decode(*sources: bytes) -> dict[str, str]:
    """Return the parameters of all ``sources`` (query string, form body) by name, in order.

    Raises :class:`Ec2Error` for a name that comes twice, for bytes that are not UTF-8, for characters that no answer
    could carry, and for more than ``MAX_PARAMETERS``.
    """
    if sum(source.count(b"&") + 1 for source in sources if source) > MAX_PARAMETERS:
        raise malformed(f"The request has more than {MAX_PARAMETERS} parameters.")
    parameters: dict[str, str] = {}
    for source in sources:
        for field in source.split(b"&"):
            if not field:
                continue
            name, value = _decode_field(field)
            if name in parameters:
                raise malformed(f"The parameter {shorten(name)} is there more than once.")
            parameters[name] = value
    return parameters


def _decode_field(field: bytes) -> tuple[str, str]:
    raw_name, _, raw_value = field.partition(b"=")
    if len(raw_name) > MAX_NAME:
        raise malformed(f"The name of a parameter has more than {MAX_NAME} bytes.")
    try:
        name, value = _unquote(raw_name), _unquote(raw_value)
    except UnicodeDecodeError as error:
        raise malformed("The request is not UTF-8.") from error
    if not (representable(name) and representable(value)):
        raise invalid_value(name, value, "It contains characters that are not allowed.")
    return name, value


def _unquote(text: bytes) -> str:
    return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8")
