"""What can go wrong with the store; every text is one line that names cause and mend."""

from __future__ import annotations


class StoreError(Exception):
    """The store refuses or cannot do what it was asked."""


class StoreUnavailableError(StoreError):
    """The database does not answer now: locked too long, full, read-only, down.  Try later."""
