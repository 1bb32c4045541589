"""Reads oned's documents: VMs, hosts, users, networks.  What is not as it should be is no answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from econe_api.opennebula import states
from econe_api.opennebula.rpc import NoAnswerError
from econe_api.opennebula.states import Phase

INSTANCE = "SLUICE_INSTANCE"
"""Attribute of a VM's user template that names the instance it is."""
INTERFACE = "SLUICE_INTERFACE"
"""Attribute of a NIC that names the network interface it is."""


@dataclass(frozen=True, slots=True)
class Nic:
    """A NIC: its number in the VM, its MAC, the interface that it is ("" = none of ours), and its tap's name.

    ``target`` is "" where the document leaves it out, as those of ``one.vmpool.info`` do.
    """

    nic_id: int
    mac: str
    interface: str
    target: str
    network: int
    address: str


@dataclass(frozen=True, slots=True)
class Vm:
    """A VM as oned describes it.

    ``born`` is when it was made, in seconds since the epoch: with its id it is told from every other oned's VMs.
    ``instance`` is the instance that it says it is; ``host`` the host of its last history record, "" before the first;
    ``moves``: it is on its way between hosts, and ``host`` the one that it goes to.
    """

    id: int
    owner_id: int
    owner: str
    name: str
    state: int
    lcm_state: int
    born: int
    instance: str
    host: str
    error: str
    nics: tuple[Nic, ...]

    @property
    def phase(self) -> Phase | None:
        """Where it is in its life; None: in a state that is not known."""
        return states.phase(self.state, self.lcm_state)

    @property
    def state_name(self) -> str:
        """What oned calls its state."""
        return states.name(self.state, self.lcm_state)

    @property
    def moves(self) -> bool:
        """Whether :attr:`host` may not be where it is."""
        return self.state == states.ACTIVE and self.lcm_state != states.LCM_RUNNING


@dataclass(frozen=True, slots=True)
class User:
    """A user of oned's."""

    id: int
    group: int
    name: str
    driver: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class AddressRange:
    """Addresses of a virtual network: ``size`` of them from ``first`` on ("" = MAC addresses only)."""

    id: int
    first: str
    size: int


@dataclass(frozen=True, slots=True)
class Network:
    """A virtual network; ``parent`` is the one that it was reserved from, None when it is none's."""

    id: int
    owner: str
    name: str
    parent: int | None
    ranges: tuple[AddressRange, ...]
    labels: dict[str, str]


def vm(element: Element) -> Vm:
    """Read a ``VM`` document; NoAnswerError when it is none."""
    _expect(element, "VM")
    own = element.find("USER_TEMPLATE")
    hosts = [_text(record, "HOSTNAME") for record in element.iterfind("HISTORY_RECORDS/HISTORY")]
    return Vm(
        id=_number(element, "ID"),
        owner_id=_number(element, "UID"),
        owner=_needed(element, "UNAME"),
        name=_text(element, "NAME"),
        state=_number(element, "STATE"),
        lcm_state=_number(element, "LCM_STATE"),
        born=_number(element, "STIME"),
        instance="" if own is None else _text(own, INSTANCE),
        host=hosts[-1] if hosts else "",
        error="" if own is None else " ".join((_text(own, "ERROR") or _text(own, "SCHED_MESSAGE")).split()),
        nics=tuple(_nic(nic) for nic in element.iterfind("TEMPLATE/NIC")),
    )


def _nic(element: Element) -> Nic:
    return Nic(
        nic_id=_number(element, "NIC_ID"),
        mac=_needed(element, "MAC").lower(),
        interface=_text(element, INTERFACE),
        target=_text(element, "TARGET"),
        network=int(_text(element, "NETWORK_ID") or -1),
        address=_text(element, "IP"),
    )


def vms(element: Element) -> list[Vm]:
    """Read a ``VM_POOL``."""
    return [vm(each) for each in _members(element, "VM_POOL", "VM")]


def hosts(element: Element) -> dict[str, int]:
    """Read a ``HOST_POOL``: the hosts' ids by their names."""
    return {_needed(each, "NAME"): _number(each, "ID") for each in _members(element, "HOST_POOL", "HOST")}


def user(element: Element) -> User:
    """Read a ``USER``."""
    _expect(element, "USER")
    return User(
        id=_number(element, "ID"),
        group=_number(element, "GID"),
        name=_needed(element, "NAME"),
        driver=_text(element, "AUTH_DRIVER"),
        enabled=_number(element, "ENABLED") == 1,
    )


def users(element: Element) -> list[User]:
    """Read a ``USER_POOL``, which has the users' quotas among the users."""
    return [user(each) for each in _members(element, "USER_POOL", "USER", {"QUOTAS", "DEFAULT_USER_QUOTAS"})]


def network(element: Element) -> Network:
    """Read a ``VNET``."""
    _expect(element, "VNET")
    parent = _text(element, "PARENT_NETWORK_ID")
    labels = {each.tag: each.text or "" for each in element.iterfind("TEMPLATE/*") if len(each) == 0}
    return Network(
        id=_number(element, "ID"),
        owner=_text(element, "UNAME"),
        name=_text(element, "NAME"),
        parent=int(parent) if parent else None,
        ranges=tuple(
            AddressRange(_number(each, "AR_ID"), _text(each, "IP"), _number(each, "SIZE"))
            for each in element.iterfind("AR_POOL/AR")
        ),
        labels=labels,
    )


def networks(element: Element) -> list[Network]:
    """Read a ``VNET_POOL``."""
    return [network(each) for each in _members(element, "VNET_POOL", "VNET")]


def _members(
    element: Element, pool: str, member: str, beside: frozenset[str] | set[str] = frozenset()
) -> Iterator[Element]:
    _expect(element, pool)
    for each in element:
        if each.tag not in beside:
            _expect(each, member)
            yield each


def _expect(element: Element, tag: str) -> None:
    if element.tag != tag:
        raise NoAnswerError(f"oned's document is a {element.tag}, where a {tag} belongs")


def _text(element: Element, tag: str) -> str:
    return element.findtext(tag) or ""


def _needed(element: Element, tag: str) -> str:
    text = _text(element, tag)
    if not text:
        raise NoAnswerError(f"oned's document of a {element.tag} has no {tag}")
    return text


def _number(element: Element, tag: str) -> int:
    text = _needed(element, tag)
    try:
        return int(text)
    except ValueError:
        raise NoAnswerError(f"oned's document of a {element.tag} has {tag} {text[:20]!r}, which is no number") from None
