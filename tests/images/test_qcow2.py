"""qcow2 files made by qemu-img are understood; spoilt ones and those that lead elsewhere are refused."""

from __future__ import annotations

import io
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from econe_api.images import qcow2
from econe_api.images.qcow2 import ImageError

Make = Callable[..., Path]
_SIZE = 8 << 20


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def image(name: str, *options: str) -> Path:
        path = tmp_path / name
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, str(_SIZE)], check=True)
        return path

    return image


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "raw").write_bytes(bytes(range(256)) * 4096)
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", folder / "raw", folder / "image"]
    subprocess.run(convert, check=True)
    return (folder / "image").read_bytes()


@pytest.mark.parametrize(
    "option",
    ["compat=1.1", "compat=0.10", "cluster_size=512", "cluster_size=2M", "preallocation=metadata"],
)
def test_what_qemu_makes_is_understood(make: Make, option: str) -> None:
    assert qcow2.look(make("image", "-o", option)).size == _SIZE


def test_an_image_that_leads_to_another_file_is_refused(make: Make) -> None:
    base = make("base")
    for path in (make("over", "-b", str(base), "-F", "qcow2"), make("data", "-o", f"data_file={base}.raw")):
        with pytest.raises(ImageError, match=r"backing file|another file"):
            qcow2.look(path)


@pytest.mark.parametrize("content", [b"", b"QFI\xfb", b"\x7fELF" + bytes(200), b"QFI\xfb" + bytes(200)])
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(ImageError):
        qcow2.read(io.BytesIO(content), len(content))


def test_a_file_marked_as_corrupt_is_refused(whole: bytes) -> None:
    with pytest.raises(ImageError, match="marked as corrupt"):
        qcow2.read(io.BytesIO(whole[:72] + struct.pack(">Q", 2) + whole[80:]), len(whole))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_file_that_is_cut_off_is_refused(whole: bytes, data: st.DataObject) -> None:
    """Anywhere before its last cluster; QEMU itself does not mind zeros at the end."""
    left = data.draw(st.integers(0, len(whole) - (1 << 16) * 2))
    cut = whole[:left]
    l1 = struct.unpack_from(">Q", whole, 40)[0]
    l2 = struct.unpack_from(">Q", whole, l1)[0] & 0x00FFFFFFFFFFFE00
    if left < l2 + (1 << 16):
        with pytest.raises(ImageError):
            qcow2.read(io.BytesIO(cut), left)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 111), st.integers(0, 255))
def test_whatever_a_header_says_is_an_image_or_an_image_error(whole: bytes, place: int, value: int) -> None:
    spoilt = whole[:place] + bytes([value]) + whole[place + 1 :]
    try:
        assert qcow2.read(io.BytesIO(spoilt), len(spoilt)).size > 0
    except ImageError as error:
        assert "\n" not in str(error)
