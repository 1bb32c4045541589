"""Log lines for people, or one JSON object each for programs; both name the API request that they belong to.

The request is that of the thread (:func:`belongs_to`) or the one that a line names itself:
``log.info("...", extra=of(*ids))``.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

FORMATS = ("human", "json")
_request: ContextVar[str] = ContextVar("request", default="")
_FIELD, _MORE = "requests", "fields"


@contextmanager
def belongs_to(request: str) -> Iterator[None]:
    """Have all that this thread logs while the block lasts belong to ``request``."""
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)


def of(*requests: str, **fields: Any) -> dict[str, Any]:
    """Return the ``extra`` of a line that belongs to these requests; ``fields`` are members of its JSON object."""
    return {_FIELD: [each for each in requests if each], _MORE: fields}


def setup(form: str, service: str) -> None:
    """Log to standard error, everything from INFO up, as one of :data:`FORMATS`."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, force=True)
    dress(form, service)


def dress(form: str, service: str) -> None:
    """Have the handlers that somebody else has set up write lines of one of :data:`FORMATS`."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonLines(service) if form == "json" else Human())


class Human(logging.Formatter):
    """``time level logger: message [request ids]``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class's name
        """Return the line without a traceback."""
        text, ids = super().formatMessage(record), _requests(record)
        named = [each for each in ids if each not in text]
        return f"{text} [{' '.join(named)}]" if named else text


class JsonLines(logging.Formatter):
    """``{"time", "level", "service", "logger", "message"}`` and, where there are any, ``requests`` and more members."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if ids := _requests(record):
            line["requests"] = ids
        line |= getattr(record, _MORE, {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def _requests(record: logging.LogRecord) -> list[str]:
    named: list[str] = getattr(record, _FIELD, [])
    own = _request.get()
    return named if not own or own in named else [own, *named]
