"""The metadata options of instances as the API writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from econe_api.actions.parameters import given, refuse_unsupported
from econe_api.call import Params
from econe_api.config_sections import METADATA_TOKENS
from econe_api.errors import Ec2Error
from econe_api.store.metadata_tables import MetadataOptions, load_options, write_options
from econe_api.store.transaction import Transaction

_ENDPOINT = ("disabled", "enabled")
_LONGEST = 64
#: Parameters of the API that can be set here.
SUPPORTED = frozenset({"HttpTokens", "HttpEndpoint", "HttpPutResponseHopLimit"})
#: Those that can only be what they are anyway.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {"HttpProtocolIpv6": ("disabled",), "InstanceMetadataTags": ("disabled",)}


def read(params: Params) -> Mapping[str, Any]:
    """The fields of MetadataOptions that ``params`` set.

    Raises:
        Ec2Error: InvalidParameterValue, UnsupportedOperation.

    """
    refuse_unsupported(params, SUPPORTED, NEUTRAL)
    changes: dict[str, Any] = {}
    if given(params, "HttpTokens"):
        changes["tokens"] = _one_of(params["HttpTokens"], "httpTokens", METADATA_TOKENS)
    if given(params, "HttpEndpoint"):
        changes["endpoint"] = _one_of(params["HttpEndpoint"], "httpEndpoint", _ENDPOINT) == "enabled"
    if given(params, "HttpPutResponseHopLimit"):
        hops = changes["hop_limit"] = params["HttpPutResponseHopLimit"]
        if not 1 <= hops <= _LONGEST:
            raise Ec2Error(
                "InvalidParameterValue",
                f"Value ({hops}) for parameter httpPutResponseHopLimit is invalid. 1 to {_LONGEST} are valid",
            )
    return changes


def _one_of(text: str, parameter: str, valid: Sequence[str]) -> str:
    if text not in valid:
        raise Ec2Error(
            "InvalidParameterValue",
            f"Value ({text}) for parameter {parameter} is invalid. Valid values: {', '.join(valid)}",
        )
    return text


def change(txn: Transaction, instances: Sequence[str], changes: Mapping[str, Any]) -> None:
    """Let the changes hold for instances from now on."""
    if changes:
        present = load_options(txn.connection, txn.config, instances)
        write_options(txn.connection, {instance: replace(present[instance], **changes) for instance in instances})


def shape(options: MetadataOptions) -> dict[str, Any]:
    """InstanceMetadataOptionsResponse of options.  They are asked for at every request, so they hold at once."""
    return {
        "State": "applied",
        "HttpTokens": options.tokens,
        "HttpPutResponseHopLimit": options.hop_limit,
        "HttpEndpoint": _ENDPOINT[options.endpoint],
        "HttpProtocolIpv6": "disabled",
        "InstanceMetadataTags": "disabled",
    }
