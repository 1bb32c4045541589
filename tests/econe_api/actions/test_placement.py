"""Where instances go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from econe_api.actions.placement import Room, free_addresses, is_reserved, rooms, spread
from econe_api.config import Hypervisor, InstanceType

_SMALL = InstanceType("small", 1, 1000)


def _host(name: str, memory: int = 4000, vcpus: int = 8) -> Hypervisor:
    return Hypervisor(name, "a", vcpus, memory, {})


def test_room_left() -> None:
    hosts = [_host("h1"), _host("h2", 500)]
    running = [("h1", "small", 2), ("h2", "small", 1), ("gone", "small", 9), ("h1", "forgotten", 5)]
    assert rooms(hosts, {"small": _SMALL}, running) == {"h1": Room(2000, 6), "h2": Room(-500, 7)}


def test_spread_takes_the_emptiest_host() -> None:
    left = {"h1": Room(2000, 4), "h2": Room(3000, 4), "h3": Room(3000, 5)}
    assert spread(left, _SMALL, 4) == ["h3", "h2", "h1", "h3"]
    assert spread(left, _SMALL, 99) == ["h3", "h2", "h1", "h3", "h2", "h1", "h3", "h2"]
    assert spread({"h1": Room(9000, 1)}, _SMALL, 5) == ["h1"]
    assert spread({}, _SMALL, 1) == []


@given(
    st.dictionaries(st.sampled_from("abcd"), st.builds(Room, st.integers(-10, 50), st.integers(-2, 9))),
    st.integers(1, 20),
    st.integers(1, 3),
    st.integers(0, 40),
)
def test_nothing_is_promised_twice(left: dict[str, Room], memory: int, vcpus: int, count: int) -> None:
    chosen = spread(left, InstanceType("x", vcpus, memory), count)
    fit = {name: max(0, min(room.memory_mib // memory, room.vcpus // vcpus)) for name, room in left.items()}
    assert len(chosen) == min(count, sum(fit.values()))
    assert all(chosen.count(name) <= fit[name] for name in left)


def test_addresses_of_a_subnet() -> None:
    assert list(free_addresses("10.0.0.0/28", {"10.0.0.4", "10.0.0.6"})) == [
        f"10.0.0.{last}" for last in (5, 7, 8, 9, 10, 11, 12, 13, 14)
    ]
    reserved = [last for last in range(16) if is_reserved("10.0.0.0/28", f"10.0.0.{last}")]
    assert reserved == [0, 1, 2, 3, 15]
