"""Actions of a flow as values.  Spelling and semantics: ``ovs-actions(7)``."""

from __future__ import annotations

from dataclasses import dataclass

from flowrules.fields import Field, Subfield


@dataclass(frozen=True, slots=True)
class Output:
    """Send the packet out of OpenFlow port ``port``."""

    port: int


@dataclass(frozen=True, slots=True)
class OutputTo:
    """Send the packet out of the port whose number ``source`` holds."""

    source: Subfield


@dataclass(frozen=True, slots=True)
class OutputInPort:
    """Send the packet back to where it came from (``IN_PORT``)."""


@dataclass(frozen=True, slots=True)
class ToController:
    """Show the whole packet, as it is now, to the controller; the flow needs a meter (:mod:`flowrules.meters`)."""


@dataclass(frozen=True, slots=True)
class Resubmit:
    """Look the packet up in ``table`` as well, with the original ingress port, then go on."""

    table: int


@dataclass(frozen=True, slots=True)
class Load:
    """Write ``value`` into ``target`` (``NXAST_REG_LOAD``)."""

    target: Subfield
    value: int


@dataclass(frozen=True, slots=True)
class Move:
    """Copy ``source`` to ``target``, both of one width (``NXAST_REG_MOVE``)."""

    source: Subfield
    target: Subfield


@dataclass(frozen=True, slots=True)
class SetField:
    """Set a whole header field (``OFPAT_SET_FIELD``)."""

    field: Field
    value: int


@dataclass(frozen=True, slots=True)
class DecTtl:
    """Decrement the TTL; a packet whose TTL runs out is not forwarded (``OFPAT_DEC_NW_TTL``)."""


@dataclass(frozen=True, slots=True)
class PushVlan:
    """Add an 802.1Q header; a ``SetField(VLAN_VID, 0x1000 | vid)`` follows."""


@dataclass(frozen=True, slots=True)
class PopVlan:
    """Remove the outer 802.1Q header."""


@dataclass(frozen=True, slots=True)
class Ct:
    """Send the packet through the connection tracker (``NXAST_CT``).

    ``zone`` is a register subfield of 16 bits.  With ``table`` the packet comes back there with ``ct_state`` set;
    without it, it goes on untouched.  ``mark`` (a subfield of ``ct_mark`` and its value) needs ``commit``.
    """

    zone: Subfield
    commit: bool = False
    table: int | None = None
    mark: Load | None = None


@dataclass(frozen=True, slots=True)
class CtClear:
    """Forget the connection state of an earlier :class:`Ct`."""


Action = (
    Output
    | OutputTo
    | OutputInPort
    | ToController
    | Resubmit
    | Load
    | Move
    | SetField
    | DecTtl
    | PushVlan
    | PopVlan
    | Ct
    | CtClear
)
