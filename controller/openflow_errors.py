"""Refusals of a switch, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from struct import unpack_from

from ryu.ofproto import ofproto_v1_3

from controller.guard import Frame
from flowrules.encode import ONF_EXPERIMENTER

_EXPERIMENTER = 0xFFFF
#: EXT-230, by number from 2300 on.
_BUNDLE_ERRORS = (
    "UNKNOWN",
    "EPERM",
    "BAD_ID",
    "BUNDLE_EXIST",
    "BUNDLE_CLOSED",
    "OUT_OF_BUNDLES",
    "BAD_TYPE",
    "BAD_FLAGS",
    "MSG_BAD_LEN",
    "MSG_BAD_XID",
    "MSG_UNSUP",
    "MSG_CONFLICT",
    "MSG_TOO_MANY",
    "MSG_FAILED",
    "TIMEOUT",
    "BUNDLE_IN_PROGRESS",
)
_FIRST_BUNDLE_ERROR = 2300


@dataclass(frozen=True, slots=True)
class Refusal:
    """One ``OFPT_ERROR``.

    ``type`` and ``code`` are OpenFlow's numbers (``code`` is the experimenter's own when ``experimenter`` is not 0).
    ``xid`` is that of the message refused.  ``position`` says which of the flow-mods given to ``apply`` that is and
    ``message`` is that flow-mod; None and empty when it was another message.
    """

    type: int
    code: int
    experimenter: int
    xid: int
    position: int | None = None
    message: bytes = b""

    @property
    def name(self) -> str:
        """OpenFlow's name of the error, or its numbers."""
        if self.experimenter == ONF_EXPERIMENTER:
            number = self.code - _FIRST_BUNDLE_ERROR
            if 0 <= number < len(_BUNDLE_ERRORS):
                return f"OFPBFC_{_BUNDLE_ERRORS[number]}"
        if self.experimenter:
            return f"experimenter {self.experimenter:#x} error {self.code}"
        return str(ofproto_v1_3.ofp_error_code_to_str(self.type, self.code))

    def of_message(self, position: int, message: bytes) -> Refusal:
        """The same refusal, with what was refused."""
        return replace(self, position=position, message=message)


class ApplyError(Exception):
    """The switch refused; ``refusals`` say what and why, those of single messages first."""

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        self.refusals = tuple(sorted(refusals, key=lambda refusal: refusal.position is None))
        first = self.refusals[0]
        where = "the request" if first.position is None else f"flow-mod {first.position}"
        super().__init__(f"{where} was refused: {first.name} ({len(self.refusals)} refusals)")


def read_refusal(frame: Frame) -> Refusal:
    """Read the body of an ``OFPT_ERROR`` (at least 4 bytes, as the guard has checked)."""
    kind, code = unpack_from("!HH", frame.body)
    experimenter = unpack_from("!I", frame.body, 4)[0] if kind == _EXPERIMENTER and len(frame.body) >= 8 else 0
    return Refusal(kind, code, experimenter, frame.xid)
