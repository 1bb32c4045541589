"""Text in XML 1.0 documents."""

from __future__ import annotations

import re

PROLOG = '<?xml version="1.0" encoding="UTF-8"?>\n'
"""How every document begins."""
#: Characters that no XML 1.0 document may hold, not even as a reference.
_FORBIDDEN = "\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff"
_forbidden = re.compile(f"[{_FORBIDDEN}]")
_special = re.compile(f"[&<>\r{_FORBIDDEN}]")
_REFERENCES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}


def representable(text: str) -> bool:
    """Tell whether XML can carry ``text`` as it is."""
    return _forbidden.search(text) is None


def escape(text: str) -> str:
    """Return ``text`` as element content.

    A carriage return goes as a reference, since a parser would make a line feed of it; a character that XML cannot
    carry becomes U+FFFD.
    """
    return _special.sub(_replace, text)


def _replace(match: re.Match[str]) -> str:
    return _REFERENCES.get(match[0], "\ufffd")
