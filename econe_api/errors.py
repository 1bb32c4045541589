"""EC2 API errors as exceptions.

Codes, messages and HTTP statuses follow "Error codes for the Amazon EC2 API" in the EC2 API reference.
"""

from __future__ import annotations


class Ec2Error(Exception):
    """An answer of the API that is an error: EC2's ``code``, a ``message`` in EC2's words, the HTTP ``status``."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"
