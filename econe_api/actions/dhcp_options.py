"""DHCP options: what ``[dhcp]`` of the configuration says, as the one set that every VPC of an account uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from econe_api.actions import identifiers, listing, tag_rows
from econe_api.actions.filters import Field
from econe_api.actions.tag_rows import Tags
from econe_api.actions.vpc_shapes import dhcp_options_id
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.transaction import Transaction

KIND = "dhcp-options"


@dataclass(frozen=True, slots=True)
class _Options:
    """A set: id, owner, values by name, tags."""

    id: str
    owner: str
    values: dict[str, tuple[str, ...]]
    tags: Tags


_FIELDS: dict[str, Field[_Options]] = {
    "dhcp-options-id": Field(lambda options: (options.id,)),
    "key": Field(lambda options: options.values),
    "owner-id": Field(lambda options: (options.owner,)),
    "value": Field(lambda options: (value for values in options.values.values() for value in values)),
}


def _absent(options: str) -> Ec2Error:
    return Ec2Error("InvalidDhcpOptionsID.NotFound", f"The dhcpOptions ID '{options}' does not exist")


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the set."""
    identifiers.check("dopt", call.params.get("DhcpOptionsIds") or ())
    own, told = dhcp_options_id(txn.account), txn.config.dhcp
    values = {"domain-name": (told.domain,), "domain-name-servers": told.dns}
    known = {name: texts for name, texts in values.items() if texts}
    options = _Options(own, txn.account, known, tag_rows.load(txn, KIND, [own])[own])
    shown, more = listing.choose(call, [options], "DhcpOptionsIds", _FIELDS, _absent)
    answer = [
        {
            "DhcpOptionsId": item.id,
            "OwnerId": item.owner,
            "DhcpConfigurations": [
                {"Key": name, "Values": [{"Value": text} for text in texts]} for name, texts in item.values.items()
            ],
            "Tags": tag_rows.shape(item.tags),
        }
        for item in shown
    ]
    return {"DhcpOptions": answer} | more
