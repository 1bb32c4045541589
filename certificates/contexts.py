"""What TLS must demand: version 1.2 at least, and a certificate of our authority on the other side."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from certificates.files import Credentials, FilesError


def server(
    own: Credentials, make: Callable[[int], ssl.SSLContext] = ssl.SSLContext, *, demand: bool = True
) -> ssl.SSLContext:
    """Return the controller's context.

    Without ``demand`` a client may come without a certificate, never with a bad one.

    ``make`` makes the context, where Eventlet has one of its own.  Raises :class:`FilesError`.
    """
    context = make(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED if demand else ssl.CERT_OPTIONAL
    return _filled(context, own)


def client(own: Credentials) -> ssl.SSLContext:
    """Return a host's context, to be used with the controller's name.  Raises :class:`FilesError`."""
    return _filled(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), own)


def newcomer(authority: bytes) -> ssl.SSLContext:
    """Return the context of a host that knows the authority (PEM) and has no certificate yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=authority.decode("ascii"))
    return context


def stranger() -> ssl.SSLContext:
    """Return the context of a host that knows nobody: good for asking who the authority is, never for a secret."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def load(context: ssl.SSLContext, own: Credentials) -> None:
    """Make a certificate the one that ``context`` shows from now on; raises :class:`FilesError`."""
    try:
        context.load_cert_chain(own.certificate, own.key)
    except OSError as error:  # ssl.SSLError is one
        reason = getattr(error, "reason", None) or error.strerror
        raise FilesError(f"{own.certificate} and {own.key} are no certificate and its key ({reason})") from error


def _filled(context: ssl.SSLContext, own: Credentials) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load(context, own)
    try:
        context.load_verify_locations(own.authority)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror
        raise FilesError(f"{own.authority} is no authority's certificate ({reason}); join anew") from error
    return context
