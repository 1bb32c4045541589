"""Meters: how many packets a second a flow lets through, on the wire and by purpose.

A switch drops what exceeds a meter before it costs the controller anything, so every flow that sends packets to the
controller has one (OpenFlow 1.3 sections 5.7 and 7.3.4.4; bundles cannot carry them).  A meter is installed before
the first flow that names it and removed after the last: deleting a meter deletes its flows.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from flowrules.decode import DecodeError

VERSION = 0x04
METER_MOD = 29
MULTIPART_METER_CONFIG = 10

_ADD, _MODIFY, _DELETE = 0, 1, 2
_PACKETS_AND_BURST = 0x0002 | 0x0004
_DROP = 1
_ALL_METERS = 0xFFFFFFFF
_MULTIPART_REQUEST = 18
_MAX_PORT = 0xFFFF
_SENT_BY = 0x10000
_SENT_TO = 0x20000
_OURS = range(1, _SENT_TO + _MAX_PORT + 1)

_MOD = Struct("!BBHIHHI")
_BAND = Struct("!HHII4x")
_CONFIG = Struct("!HHI")
_REQUEST = Struct("!BBHIHH4xI4x")


@dataclass(frozen=True, slots=True)
class Meter:
    """Drops what exceeds ``packets_per_second`` after the first ``burst`` packets; ``id`` is 1 to 0xffff0000."""

    id: int
    packets_per_second: int
    burst: int


#: What all elastic IPs of a host together may bring before the controller.
UPLINK_METER = Meter(1, 400, 400)


def sent_by(ofport: int) -> Meter:
    """What the instance behind ``ofport`` may bring before the controller, so that its neighbours have their share."""
    return Meter(_SENT_BY + ofport, 100, 100)


def sent_to(ofport: int) -> Meter:
    """What strangers may bring before the controller by what they send to the instance behind ``ofport``."""
    return Meter(_SENT_TO + ofport, 100, 100)


def ours(meter_id: int) -> bool:
    """Could this module have numbered a meter so?"""
    return meter_id in _OURS


def _mod(command: int, meter: Meter, xid: int) -> bytes:
    band = b"" if command == _DELETE else _BAND.pack(_DROP, _BAND.size, meter.packets_per_second, meter.burst)
    flags = 0 if command == _DELETE else _PACKETS_AND_BURST
    return _MOD.pack(VERSION, METER_MOD, _MOD.size + len(band), xid, command, flags, meter.id) + band


def meter_add(meter: Meter, xid: int = 0) -> bytes:
    """Add ``meter``; the switch refuses when its number is taken."""
    return _mod(_ADD, meter, xid)


def meter_modify(meter: Meter, xid: int = 0) -> bytes:
    """Give the meter of this number new figures; its flows stay."""
    return _mod(_MODIFY, meter, xid)


def meter_delete(meter: Meter, xid: int = 0) -> bytes:
    """Delete the meter of this number and every flow that names it."""
    return _mod(_DELETE, meter, xid)


def meter_config_request(xid: int = 0) -> bytes:
    """Ask for all meters."""
    return _REQUEST.pack(VERSION, _MULTIPART_REQUEST, _REQUEST.size, xid, MULTIPART_METER_CONFIG, 0, _ALL_METERS)


def decode_meter_config(body: bytes) -> list[Meter]:
    """Read the body of one ``OFPMP_METER_CONFIG`` reply (what follows the 16 bytes of multipart header).

    A meter of another make than ours (no drop band of packets) is reported with the rate -1, which equals no wish.
    Raises :class:`DecodeError` when lengths do not add up.
    """
    meters: list[Meter] = []
    offset = 0
    while offset < len(body):
        if len(body) - offset < _CONFIG.size:
            raise DecodeError(f"meter at byte {offset} is cut short")
        length, flags, number = _CONFIG.unpack_from(body, offset)
        if length < _CONFIG.size or length > len(body) - offset:
            raise DecodeError(f"meter at byte {offset}: length {length}")
        rate, burst = -1, 0
        if flags & ~0x0008 == _PACKETS_AND_BURST and length == _CONFIG.size + _BAND.size:
            kind, size, told_rate, told_burst = _BAND.unpack_from(body, offset + _CONFIG.size)
            if (kind, size) == (_DROP, _BAND.size):
                rate, burst = told_rate, told_burst
        meters.append(Meter(number, rate, burst))
        offset += length
    return meters
