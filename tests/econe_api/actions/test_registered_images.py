"""Images that accounts register: what may be one, who sees it, and how it comes and goes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from econe_api.config import Image, ImagesConfig
from econe_api.images.copier import Copier
from econe_api.images.library import Library
from econe_api.store.image_tables import images

_FILE = "web.qcow2"


@pytest.fixture
def files(tenant: Any, reconfigure: Any, tmp_path: Path) -> ImagesConfig:
    """The directories of images; the tenant has uploaded a small one."""
    made = ImagesConfig(tmp_path / "images", tmp_path / "uploads")
    mine = made.uploads / tenant.account
    mine.mkdir(parents=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", mine / _FILE, "1M"], check=True)
    reconfigure(library=made)
    return made


def copier(tenant: Any) -> Copier:
    return Copier(tenant.store, Library.of(tenant.store.config), interval=0.0)


def shown(tenant: Any, image: str) -> dict[str, Any]:
    (found,) = tenant("DescribeImages", ImageIds=[image])["Images"]
    return found


def test_an_image_is_pending_until_it_is_copied(tenant: Any, refused: Any, files: ImagesConfig) -> None:
    tags = [{"ResourceType": "image", "Tags": [{"Key": "k", "Value": "v"}]}]
    asked = {"Name": "web", "Description": "a web server", "ImageLocation": _FILE, "TagSpecifications": tags}
    image = tenant("RegisterImage", **asked)["ImageId"]
    seen = shown(tenant, image)
    assert (seen["State"], seen["StateReason"]["Code"]) == ("pending", "pending")
    assert seen["StateReason"]["Message"].startswith("0% of ")
    refused(tenant, "InvalidAMIID.Unavailable", "RunInstances", ImageId=image, MinCount=1, MaxCount=1)
    copier(tenant).turn()
    seen = shown(tenant, image)
    assert (seen["State"], seen.get("StateReason")) == ("available", None)
    assert (seen["Name"], seen["Description"], seen["OwnerId"]) == ("web", "a web server", tenant.account)
    assert (seen["Public"], seen["ImageLocation"]) == (False, f"{tenant.account}/{_FILE}")
    assert seen["Tags"] == [{"Key": "k", "Value": "v"}]
    assert (files.directory / f"{image}.qcow2").read_bytes() == (files.uploads / tenant.account / _FILE).read_bytes()
    assert tenant.run(ImageId=image)["ImageId"] == image


def test_progress_is_noted_while_it_is_copied(tenant: Any, files: ImagesConfig, monkeypatch: Any) -> None:
    big = files.uploads / tenant.account / "big.qcow2"
    options = ("-f", "qcow2", "-o", "preallocation=full")
    subprocess.run(["qemu-img", "create", "-q", *options, big, "8M"], check=True)
    image = tenant("RegisterImage", Name="big", ImageLocation="big.qcow2")["ImageId"]
    monkeypatch.setattr("econe_api.images.copier._CHUNK", 1 << 20)
    seen = []
    working = copier(tenant)
    noting = working._noting

    def watched(name: str) -> Any:
        note = noting(name)

        def noted(progress: int) -> None:
            note(progress)
            seen.append(shown(tenant, image)["StateReason"]["Message"])

        return noted

    monkeypatch.setattr(working, "_noting", watched)
    working.turn()
    percents = [int(text.partition("%")[0]) for text in seen]
    assert len(percents) >= 8
    assert percents == sorted(set(percents))
    assert shown(tenant, image)["State"] == "available"


def test_a_deregistered_image_is_gone_and_so_is_its_file(tenant: Any, refused: Any, files: ImagesConfig) -> None:
    image = tenant("RegisterImage", Name="web", ImageLocation=_FILE)["ImageId"]
    copier(tenant).turn()
    tenant("DeregisterImage", ImageId=image)
    refused(tenant, "InvalidAMIID.NotFound", "DescribeImages", ImageIds=[image])
    refused(tenant, "InvalidAMIID.NotFound", "RunInstances", ImageId=image, MinCount=1, MaxCount=1)
    refused(tenant, "InvalidAMIID.NotFound", "DeregisterImage", ImageId=image)
    again = tenant("RegisterImage", Name="web", ImageLocation=_FILE)["ImageId"]
    copier(tenant).turn()
    assert [path.name for path in files.directory.iterdir()] == [f"{again}.qcow2"]
    with tenant.store.engine.connect() as connection:
        assert connection.execute(images.select()).one().id == again


def test_an_image_is_its_accounts_own(tenant: Any, stranger: Any, refused: Any, files: ImagesConfig) -> None:
    image = tenant("RegisterImage", Name="web", ImageLocation=_FILE)["ImageId"]
    copier(tenant).turn()
    refused(stranger, "InvalidAMIID.NotFound", "DescribeImages", ImageIds=[image])
    refused(stranger, "InvalidAMIID.NotFound", "DeregisterImage", ImageId=image)
    refused(stranger, "InvalidAMIID.NotFound", "RunInstances", ImageId=image, MinCount=1, MaxCount=1)
    refused(stranger, "InvalidAMIID.NotFound", "DescribeImageAttribute", ImageId=image, Attribute="description")
    refused(stranger, "InvalidManifest", "RegisterImage", Name="web", ImageLocation=f"{tenant.account}/{_FILE}")
    for owners, names in (["self"], ["web"]), ([tenant.account], ["web"]), (["amazon"], ["sluice-default"]):
        assert [one["Name"] for one in tenant("DescribeImages", Owners=owners)["Images"]] == names
    assert tenant("DescribeImages", ExecutableUsers=["all"])["Images"][0]["Public"] is True
    assert stranger("DescribeImages", Owners=["self"])["Images"] == []
    of_state = [{"Name": "state", "Values": ["available"]}, {"Name": "is-public", "Values": ["false"]}]
    assert [one["ImageId"] for one in tenant("DescribeImages", Filters=of_state)["Images"]] == [image]


def test_the_clouds_own_images_cannot_be_deregistered(tenant: Any, refused: Any, reconfigure: Any) -> None:
    reconfigure(images=(Image("ami-00000001", "debian"),))
    refused(tenant, "AuthFailure", "DeregisterImage", ImageId="ami-00000001")


@pytest.mark.parametrize(
    ("code", "params"),
    [
        ("MissingParameter", {"Name": None}),
        ("MissingParameter", {"ImageLocation": None}),
        ("InvalidAMIName.Malformed", {"Name": "ab"}),
        ("InvalidAMIName.Malformed", {"Name": "web&"}),
        ("InvalidAMIName.Malformed", {"Name": "w" * 129}),
        ("InvalidParameterValue", {"Description": "d" * 256}),
        ("UnsupportedOperation", {"Architecture": "arm64"}),
        ("UnsupportedOperation", {"KernelId": "aki-1"}),
        ("InvalidManifest", {"ImageLocation": "absent.qcow2"}),
        ("InvalidManifest", {"ImageLocation": "../uploads/web.qcow2"}),
        ("InvalidManifest", {"ImageLocation": ".."}),
        ("InvalidManifest", {"ImageLocation": "link.qcow2"}),
        ("InvalidManifest", {"ImageLocation": "folder"}),
        ("InvalidManifest", {"ImageLocation": "text"}),
        ("InvalidManifest", {"ImageLocation": "over.qcow2"}),
    ],
    ids=str,
)
def test_what_is_no_image_is_refused(
    tenant: Any, refused: Any, files: ImagesConfig, code: str, params: dict[str, Any]
) -> None:
    mine = files.uploads / tenant.account
    (mine / "link.qcow2").symlink_to(mine / _FILE)
    (mine / "folder").mkdir()
    (mine / "text").write_text("hello")
    base = ("-b", _FILE, "-F", "qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *base, mine / "over.qcow2"], check=True)
    asked = {"Name": "web", "ImageLocation": _FILE} | params
    refused(tenant, code, "RegisterImage", **{name: value for name, value in asked.items() if value is not None})


def test_two_images_have_two_names(tenant: Any, refused: Any, files: ImagesConfig) -> None:
    tenant("RegisterImage", Name="web", ImageLocation=_FILE)
    refused(tenant, "InvalidAMIName.Duplicate", "RegisterImage", Name="web", ImageLocation=_FILE)


def test_a_file_that_is_spoilt_before_it_is_copied_makes_no_image(tenant: Any, files: ImagesConfig) -> None:
    image = tenant("RegisterImage", Name="web", ImageLocation=_FILE)["ImageId"]
    os.truncate(files.uploads / tenant.account / _FILE, 1000)
    copier(tenant).turn()
    seen = shown(tenant, image)
    assert (seen["State"], seen["StateReason"]["Code"]) == ("failed", "Client.InternalError")
    assert seen["StateReason"]["Message"] == "it is cut off"
    assert list(files.directory.iterdir()) == []


def test_a_copy_that_a_restart_cut_off_is_begun_anew(tenant: Any, files: ImagesConfig) -> None:
    image = tenant("RegisterImage", Name="web", ImageLocation=_FILE)["ImageId"]
    files.directory.mkdir()
    (files.directory / f"{image}.part").write_bytes(b"half")
    (files.directory / "of-the-operator").write_bytes(b"kept")
    copier(tenant).turn()
    assert sorted(path.name for path in files.directory.iterdir()) == sorted([f"{image}.qcow2", "of-the-operator"])
