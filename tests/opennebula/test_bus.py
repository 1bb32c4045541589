"""The keys of oned's events, as bytes that anybody could have sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from econe_api.opennebula.bus import vm_of


@pytest.mark.parametrize(
    ("key", "vm"),
    [
        (b"EVENT STATE VM/ACTIVE/RUNNING/17 ", 17),
        (b"EVENT STATE VM/DONE/LCM_INIT/0", 0),
        (b"EVENT VM 0/DONE/LCM_INIT ", None),
        (b"EVENT STATE VM/DONE/LCM_INIT/99999999999 ", None),
        (b"EVENT STATE VM/DONE/LCM_INIT/-1 ", None),
        (b"EVENT STATE HOST/INIT//0 ", None),
        (b"EVENT API one.vm.action 1", None),
        (b"", None),
    ],
)
def test_keys(key: bytes, vm: int | None) -> None:
    assert vm_of(key) == vm


@given(st.binary())
def test_any_bytes_are_a_vm_or_nothing(key: bytes) -> None:
    assert vm_of(key) is None or key.startswith(b"EVENT STATE VM/")


def test_recorded_keys(recordings: Any) -> None:
    from_keys = [vm_of(key) for key in recordings.event_keys()]
    assert {0, 1, 2, 3, 4} <= set(from_keys)
    assert None in from_keys
