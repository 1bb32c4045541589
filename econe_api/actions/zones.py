"""DescribeAvailabilityZones and DescribeRegions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from econe_api.actions.filters import Field, Filters
from econe_api.call import Call
from econe_api.config import Config
from econe_api.errors import Ec2Error
from econe_api.store.transaction import Transaction

_OPT_IN = "opt-in-not-required"
_SHORT = {
    "central": "c",
    "east": "e",
    "gov": "g",
    "north": "n",
    "northeast": "ne",
    "northwest": "nw",
    "south": "s",
    "southeast": "se",
    "southwest": "sw",
    "west": "w",
}


@dataclass(frozen=True, slots=True)
class _Zone:
    name: str
    id: str
    region: str


_ZONE_FIELDS: dict[str, Field[_Zone]] = {
    "group-long-name": Field(lambda zone: (zone.region,)),
    "group-name": Field(lambda zone: (zone.region,)),
    "message": Field(lambda _zone: ()),
    "opt-in-status": Field(lambda _zone: (_OPT_IN,)),
    "parent-zone-id": Field(lambda _zone: ()),
    "parent-zone-name": Field(lambda _zone: ()),
    "region-name": Field(lambda zone: (zone.region,)),
    "state": Field(lambda _zone: ("available",)),
    "zone-id": Field(lambda zone: (zone.id,)),
    "zone-name": Field(lambda zone: (zone.name,)),
    "zone-type": Field(lambda _zone: ("availability-zone",)),
}


def ids(config: Config) -> dict[str, str]:
    """The id of each zone, by its name, in order."""
    return {zone.name: zone.id for zone in _zones(config)}


def _zones(config: Config) -> list[_Zone]:
    stem = _stem(config.region)
    return [_Zone(name, f"{stem}-az{number}", config.region) for number, name in enumerate(config.zones, start=1)]


def _stem(region: str) -> str:
    """What zone ids begin with: EC2's short form of a region named as its own are (us-east-1: use1), else the name."""
    words = region.split("-")
    if len(words) < 3 or not words[-1].isdigit() or not all(word in _SHORT for word in words[1:-1]):
        return region
    return "".join([words[0], *(_SHORT[word] for word in words[1:-1]), words[-1]])


def describe_zones(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the availability zones: the zones of the hypervisors.  There are none that one has to opt in to."""
    params = call.params
    filters: Filters[_Zone] = Filters(params.get("Filters"), _ZONE_FIELDS)
    zones = _zones(txn.config)
    names, ids = list(params.get("ZoneNames") or ()), list(params.get("ZoneIds") or ())
    _refuse_unknown(names, {zone.name for zone in zones})
    _refuse_unknown(ids, {zone.id for zone in zones})
    found = [
        zone for zone in zones if (not (names or ids) or zone.name in names or zone.id in ids) and filters.matches(zone)
    ]
    return {"AvailabilityZones": [_zone(zone) for zone in found]}


def _refuse_unknown(asked: list[str], known: set[str]) -> None:
    for text in asked:
        if text not in known:
            raise Ec2Error("InvalidParameterValue", f"Invalid Availability Zone ({text})")


def _zone(zone: _Zone) -> dict[str, Any]:
    return {
        "ZoneName": zone.name,
        "ZoneId": zone.id,
        "RegionName": zone.region,
        "GroupName": zone.region,
        "GroupLongName": zone.region,
        "NetworkBorderGroup": zone.region,
        "ZoneType": "availability-zone",
        "State": "available",
        "OptInStatus": _OPT_IN,
        "Messages": [],
    }


def describe_regions(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the one region."""
    params = call.params
    region, endpoint = txn.config.region, txn.config.api.bind
    fields: dict[str, Field[str]] = {
        "endpoint": Field(lambda _region: (endpoint,)),
        "opt-in-status": Field(lambda _region: (_OPT_IN,)),
        "region-name": Field(lambda name: (name,)),
    }
    filters: Filters[str] = Filters(params.get("Filters"), fields)
    for name in params.get("RegionNames") or ():
        if name != region:
            raise Ec2Error("InvalidParameterValue", f"Invalid region: [{name}]")
    regions = [region] if filters.matches(region) else []
    return {"Regions": [{"RegionName": name, "Endpoint": endpoint, "OptInStatus": _OPT_IN} for name in regions]}
