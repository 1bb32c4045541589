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


@dataclass(frozen=True, slots=True)
class _Zone:
    name: str
    id: str
    region: str


_ZONE_FIELDS: dict[str, Field[_Zone]] = {
    "group-name": Field(lambda zone: (zone.region,)),
    "opt-in-status": Field(lambda _zone: (_OPT_IN,)),
    "region-name": Field(lambda zone: (zone.region,)),
    "state": Field(lambda _zone: ("available",)),
    "zone-id": Field(lambda zone: (zone.id,)),
    "zone-name": Field(lambda zone: (zone.name,)),
    "zone-type": Field(lambda _zone: ("availability-zone",)),
}


def _zones(config: Config) -> list[_Zone]:
    return [
        _Zone(name, f"{config.region}-az{number}", config.region) for number, name in enumerate(config.zones, start=1)
    ]


def ids(config: Config) -> dict[str, str]:
    """The ids of the zones, by name."""
    return {zone.name: zone.id for zone in _zones(config)}


def describe_zones(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the availability zones: the zones of the hypervisors."""
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
