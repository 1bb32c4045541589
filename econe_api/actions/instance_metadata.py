"""ModifyInstanceMetadataOptions."""

from __future__ import annotations

from typing import Any

from econe_api.actions import instance_rows, metadata_options
from econe_api.actions.instance_rows import ENDED
from econe_api.actions.parameters import require
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.metadata_tables import load_options
from econe_api.store.transaction import Transaction


def modify(call: Call, txn: Transaction) -> dict[str, Any]:
    """Change how an instance may use the metadata service; in force with its next request."""
    require(call.params, "InstanceId")
    view = instance_rows.named(txn, [call.params["InstanceId"]])[0]
    instance = view.row.id
    changes = metadata_options.read({name: value for name, value in call.params.items() if name != "InstanceId"})
    if not changes:
        raise Ec2Error("MissingParameter", "Must specify at least one metadata option to modify")
    if view.row.state in ENDED:
        raise Ec2Error(
            "IncorrectInstanceState",
            f"The instance '{instance}' is not in a state from which it can be modified ({view.row.state})",
        )
    metadata_options.change(txn, [instance], changes)
    options = load_options(txn.connection, txn.config, [instance])[instance]
    return {"InstanceId": instance, "InstanceMetadataOptions": metadata_options.shape(options)}
