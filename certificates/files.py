"""Keys and certificates on disk: files that their owner alone reads, and that appear whole or not at all."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from certificates.authority import (
    CertificateError,
    Holder,
    Pair,
    fits,
    holder,
    new_authority,
    new_controller,
    new_key,
)

_SPARE = timedelta(days=30)
_CURRENT = "current"


class FilesError(Exception):
    """A file cannot be had; the text is one line with cause and mend."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM files: one's own certificate and key, and the authority that the other side's must come from."""

    certificate: Path
    key: Path
    authority: Path

    def holder(self) -> Holder:
        """Return whose certificate it is; raises :class:`FilesError`."""
        try:
            return holder(_read(self.certificate))
        except CertificateError as error:
            raise FilesError(f"{self.certificate}: {error}") from error


class AuthorityFolder:
    """The authority on the control node: ``authority`` in the state directory, made when it is first wanted."""

    def __init__(self, state: Path) -> None:
        self._folder = state / "authority"

    @property
    def credentials(self) -> Credentials:
        """The controller's files."""
        both = self._folder / "controller.pem"  # so that no moment has the new one of one and the old one of the other
        return Credentials(both, both, self._folder / "ca.crt")

    def authority(self) -> Pair:
        """Return the authority, made when there is none.  Raises :class:`FilesError`."""
        with self._alone():
            return self._authority()

    def controller(self, now: datetime | None = None) -> Credentials:
        """Return the controller's files, with a certificate that is good for a month at least.

        Raises :class:`FilesError`.
        """
        now, files = now or datetime.now(UTC), self.credentials
        with self._alone():
            authority = self._authority()
            if not _good(files, now):
                key = new_key()
                pair = new_controller(authority, key, now)
                _write(files.certificate, pair.key + pair.certificate)
        return files

    def _authority(self) -> Pair:
        certificate, key = self._folder / "ca.crt", self._folder / "ca.key"
        if not certificate.exists():
            if key.exists():
                raise FilesError(f"{certificate} is missing beside its key; put it back from a copy")
            made = new_authority(new_key(), datetime.now(UTC))
            _write(key, made.key)
            _write(certificate, made.certificate)
        found = Pair(_read(certificate), _read(key))
        if not fits(found.certificate, found.key):
            raise FilesError(f"{key} is not the key of {certificate}; put both back from one copy")
        return found

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes out meanwhile."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise FilesError(f"{self._folder} cannot be used ({error.strerror}); mend it or set 'state'") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


class HostFolder:
    """A host's own files: each certificate in a folder of its own with its key, ``current`` pointing to the latest.

    Open vSwitch takes a new certificate only when the names of both files change.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def current(self) -> Credentials | None:
        """Return the files in use, None when the host has not joined yet."""
        link = self.folder / _CURRENT
        if not link.is_symlink():
            return None
        place = self.folder / link.readlink()
        return Credentials(place / "host.crt", place / "host.key", self.folder / "ca.crt")

    def take(self, certificate: bytes, key: bytes, authority: bytes) -> Credentials:
        """Make a certificate the current one; all but it and the one before go.  Raises :class:`FilesError`."""
        try:
            owner = holder(certificate)
        except CertificateError as error:
            raise FilesError(str(error)) from error
        if not fits(certificate, key):
            raise FilesError("the certificate is for another key")
        before = self.current()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            place = self.folder / owner.serial
            place.mkdir(mode=0o700, exist_ok=True)
            _write(place / "host.key", key)
            _write(place / "host.crt", certificate)
            _write(self.folder / "ca.crt", authority)
            draft = self.folder / f".{_CURRENT}.{secrets.token_hex(4)}"
            draft.symlink_to(owner.serial)
            draft.replace(self.folder / _CURRENT)
        except OSError as error:
            raise FilesError(f"{self.folder} cannot be written ({error.strerror}); mend its rights") from error
        kept = {owner.serial, *([before.certificate.parent.name] if before else [])}
        for old in [one for one in self.folder.iterdir() if one.is_dir() and not one.is_symlink()]:
            if old.name not in kept and (old / "host.key").exists():
                shutil.rmtree(old, ignore_errors=True)
        return Credentials(place / "host.crt", place / "host.key", self.folder / "ca.crt")


def _good(files: Credentials, now: datetime) -> bool:
    try:
        certificate = files.certificate.read_bytes()
        return fits(certificate, files.key.read_bytes()) and holder(certificate).until > now + _SPARE
    except (OSError, CertificateError):
        return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FilesError(f"{path} cannot be read ({error.strerror}); mend the file or its rights") from error


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise FilesError(f"{path} cannot be written ({error.strerror}); mend its folder or its rights") from error
