"""The documents that the API answers with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from econe_api.protocol.write import has_output, has_return, output_writer
from econe_api.protocol.xml import PROLOG, escape

CONTENT_TYPE = "text/xml;charset=UTF-8"
#: Actions whose answer says ``return`` on the wire though the model does not have it: boto 2 looks for it.
_RETURN_BESIDE_OUTPUT = frozenset({"AssociateAddress", "CreateSecurityGroup"})


def success(action: str, version: str, request_id: str, output: Mapping[str, Any]) -> bytes:
    """Return the answer to ``action``; ``output`` has the shape that botocore's client returns.

    The namespace follows the ``version`` of the request, since old libraries look for their own.  Where EC2 answers
    ``<return>true</return>``, it is there without the handler's doing.
    """
    pieces = [
        f'{PROLOG}<{action}Response xmlns="http://ec2.amazonaws.com/doc/{version}/">',
        f"<requestId>{escape(request_id)}</requestId>",
    ]
    if not has_output(action) or action in _RETURN_BESIDE_OUTPUT:
        pieces.append("<return>true</return>")
    elif has_return(action):
        output = {"Return": True, **output}
    output_writer(action)(output, pieces)
    pieces.append(f"</{action}Response>")
    return "".join(pieces).encode("utf-8")


def failure(code: str, message: str, request_id: str) -> bytes:
    """Return the answer that is an error.  It has no namespace, and ``RequestID`` is spelt so here alone."""
    return (
        f"{PROLOG}<Response><Errors><Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
        f"</Errors><RequestID>{escape(request_id)}</RequestID></Response>"
    ).encode()
