"""What the small oned knows: users, hosts, networks, templates, VMs; and their documents."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from topologies.oned.templates import Members, Template, tag

STATES = {
    **{0: "INIT", 1: "PENDING", 2: "HOLD", 3: "ACTIVE", 4: "STOPPED", 5: "SUSPENDED", 6: "DONE"},
    **{8: "POWEROFF", 9: "UNDEPLOYED"},
}
LCM = {
    **{0: "LCM_INIT", 1: "PROLOG", 2: "BOOT", 3: "RUNNING", 4: "MIGRATE", 12: "SHUTDOWN", 16: "UNKNOWN"},
    **{18: "SHUTDOWN_POWEROFF", 20: "BOOT_POWEROFF", 23: "CLEANUP_DELETE", 25: "HOTPLUG_NIC", 36: "BOOT_FAILURE"},
}


class RefusalError(Exception):
    """What oned answers ``[false, text, code, id, -1]`` for."""

    def __init__(self, code: int, text: str, object_id: int = -1) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.object_id = object_id


@dataclass
class User:
    """A user; ``password`` is the secret itself, ``quotas`` are limits by (kind, network id or -1)."""

    id: int
    name: str
    password: str
    group: int = 1
    driver: str = "core"
    enabled: bool = True
    quotas: dict[tuple[str, int], int] = field(default_factory=dict)
    template: Template = field(default_factory=Template)

    def xml(self) -> str:
        """The USER document."""
        name = tag("GNAME", "oneadmin" if self.group == 0 else "users")
        groups = f"{tag('GID', self.group)}<GROUPS>{tag('ID', self.group)}</GROUPS>{name}"
        about = f"{tag('NAME', self.name)}<PASSWORD><![CDATA[0]]></PASSWORD><AUTH_DRIVER><![CDATA[{self.driver}]]>"
        rest = f"</AUTH_DRIVER>{tag('ENABLED', int(self.enabled))}<TEMPLATE>{self.template.xml()}</TEMPLATE>"
        return f"<USER>{tag('ID', self.id)}{groups}{about}{rest}</USER>"


@dataclass
class Network:
    """A virtual network: one range of ``size`` from ``first`` (None: MAC addresses only) and ``mac`` on."""

    id: int
    name: str
    owner: User
    mac: str
    size: int
    first: str | None = None
    parent: int | None = None
    leases: dict[int, int] = field(default_factory=dict)  # offset -> VM; of a reservation: minus one, minus its network

    def xml(self) -> str:
        """The VNET document."""
        kind = "ETHER" if self.first is None else "IP4"
        start = "" if self.first is None else f"<IP><![CDATA[{self.first}]]></IP>"
        size = f"<SIZE><![CDATA[{self.size}]]></SIZE><TYPE><![CDATA[{kind}]]></TYPE>"
        pool = f"<AR><AR_ID><![CDATA[0]]></AR_ID>{start}<MAC><![CDATA[{self.mac}]]></MAC>{size}</AR>"
        owner = f"{tag('UID', self.owner.id)}{tag('GID', self.owner.group)}{tag('UNAME', self.owner.name)}"
        head = f"{tag('ID', self.id)}{owner}{tag('NAME', self.name)}"
        head += "<PARENT_NETWORK_ID/>" if self.parent is None else tag("PARENT_NETWORK_ID", self.parent)
        return f"<VNET>{head}<TEMPLATE></TEMPLATE><AR_POOL>{pool}</AR_POOL></VNET>"


@dataclass
class Vm:
    """A VM; ``then`` are the states that it comes to by itself, one after the other, the first of them at ``at``."""

    id: int
    owner: User
    name: str
    template: Template
    own: Template
    born: int = field(default_factory=lambda: int(time.time()))
    state: int = 2
    lcm: int = 0
    hosts: list[str] = field(default_factory=list)
    then: list[tuple[int, int]] = field(default_factory=list)
    at: float = 0.0

    @property
    def nics(self) -> list[Members]:
        """Its NICs."""
        return self.template.vectors("NIC")

    def xml(self, *, full: bool = True) -> str:
        """The VM document; not ``full``: as in ``one.vmpool.info``."""
        owner = f"{tag('UID', self.owner.id)}{tag('GID', self.owner.group)}{tag('UNAME', self.owner.name)}"
        head = f"{tag('ID', self.id)}{owner}{tag('GNAME', 'users')}{tag('NAME', self.name)}{tag('LAST_POLL', 0)}"
        state = f"{tag('STATE', self.state)}{tag('LCM_STATE', self.lcm)}{tag('STIME', self.born)}{tag('ETIME', 0)}"
        records = "".join(
            f"<HISTORY>{tag('OID', self.id)}{tag('SEQ', number)}{tag('HOSTNAME', host)}</HISTORY>"
            for number, host in enumerate(self.hosts)
        )
        own = self.own.xml() if full else ""
        body = f"<TEMPLATE>{self.template.xml()}</TEMPLATE><USER_TEMPLATE>{own}</USER_TEMPLATE>"
        return f"<VM>{head}{state}{body}<HISTORY_RECORDS>{records}</HISTORY_RECORDS></VM>"
