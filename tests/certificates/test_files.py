"""Keys on disk: whole, for their owner alone, and never two that do not belong together."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from certificates import authority as ca
from certificates import contexts
from certificates.files import AuthorityFolder, FilesError, HostFolder


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_authority_is_made_once_whoever_asks(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: AuthorityFolder(tmp_path).authority().certificate, range(16)))
    assert len(made) == 1
    assert _mode(tmp_path / "authority") == 0o700
    assert {_mode(file) for file in (tmp_path / "authority").iterdir()} == {0o600}


def test_the_controller_s_certificate_is_renewed_a_month_before_its_end(tmp_path):
    folder = AuthorityFolder(tmp_path)
    start = datetime.now(UTC)
    first = folder.controller(start).holder()
    assert folder.controller(start + timedelta(days=360)).holder() == first
    later = folder.controller(start + timedelta(days=370)).holder()
    assert later.serial != first.serial
    contexts.server(folder.credentials)


def test_a_lost_certificate_of_the_authority_is_not_replaced(tmp_path):
    folder = AuthorityFolder(tmp_path)
    folder.authority()
    (tmp_path / "authority" / "ca.crt").unlink()
    with pytest.raises(FilesError, match="put it back"):
        folder.authority()


def test_a_key_of_another_authority_is_said(tmp_path):
    one, other = AuthorityFolder(tmp_path / "one"), AuthorityFolder(tmp_path / "other")
    one.authority()
    (tmp_path / "one" / "authority" / "ca.key").write_bytes(other.authority().key)
    with pytest.raises(FilesError, match="not the key"):
        one.controller()


def test_a_host_keeps_its_certificate_and_the_one_before(tmp_path):
    authority = AuthorityFolder(tmp_path).authority()
    folder = HostFolder(tmp_path / "host")
    assert folder.current() is None
    taken = []
    for _ in range(4):
        key = ca.new_key()
        certificate = ca.issue(authority, "h1", ca.request(key, "h1"), datetime.now(UTC))
        files = folder.take(certificate, key, authority.certificate)
        assert folder.current() == files
        assert files.certificate.read_bytes() == certificate
        assert _mode(files.key) == 0o600
        contexts.client(files)
        taken.append(ca.holder(certificate).serial)
    assert {one.name for one in folder.folder.iterdir() if not one.is_symlink() and one.is_dir()} == set(taken[-2:])


def test_a_certificate_for_another_key_is_not_taken(tmp_path):
    authority = AuthorityFolder(tmp_path).authority()
    folder = HostFolder(tmp_path / "host")
    certificate = ca.issue(authority, "h1", ca.request(ca.new_key(), "h1"), datetime.now(UTC))
    with pytest.raises(FilesError, match="another key"):
        folder.take(certificate, ca.new_key(), authority.certificate)
    assert folder.current() is None
