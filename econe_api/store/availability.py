"""Tells a database that does not answer from a bug."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, InterfaceError, NotSupportedError, ProgrammingError

from econe_api.store.errors import StoreUnavailableError

_BUGS = (DataError, IntegrityError, NotSupportedError, ProgrammingError)


@contextmanager
def unavailable(engine: Engine) -> Iterator[None]:
    """Turn the driver's errors about the database's health into :class:`StoreUnavailableError`, one line of text."""
    try:
        yield
    except _BUGS:
        raise
    except (DatabaseError, InterfaceError) as error:
        cause = " ".join(str(error.orig).split())
        raise StoreUnavailableError(
            f"{engine.dialect.name} database does not answer ({cause}); try again, or see to the database"
        ) from error
