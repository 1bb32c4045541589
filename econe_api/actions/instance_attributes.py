"""DescribeInstanceAttribute, ModifyInstanceAttribute and ResetInstanceAttribute: one attribute of one instance."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import delete, insert, update

from econe_api.actions import (
    group_lookup,
    instance_rows,
    interface_limits,
    launch,
    launch_options,
    launch_request,
    new_interfaces,
)
from econe_api.actions.instance_rows import ENDED, ROOT_DEVICE, InstanceView
from econe_api.actions.interface_rows import InterfaceView
from econe_api.actions.parameters import given, refuse_unsupported, require
from econe_api.call import Call, Params
from econe_api.errors import Ec2Error
from econe_api.store.records import Kind
from econe_api.store.schema import instances, interface_groups
from econe_api.store.transaction import Transaction

#: By EC2's name: the member of the answer, and its value.
_SHOWN: Mapping[str, tuple[str, Callable[[InstanceView], Any]]] = MappingProxyType(
    {
        "blockDeviceMapping": ("BlockDeviceMappings", lambda view: []),
        "disableApiStop": ("DisableApiStop", lambda view: {"Value": view.row.disable_api_stop}),
        "disableApiTermination": ("DisableApiTermination", lambda view: {"Value": view.row.disable_api_termination}),
        "ebsOptimized": ("EbsOptimized", lambda view: {"Value": False}),
        "enaSupport": ("EnaSupport", lambda view: {"Value": False}),
        "enclaveOptions": ("EnclaveOptions", lambda view: {"Enabled": False}),
        "groupSet": ("Groups", lambda view: instance_rows.groups_of(view.interfaces[:1])),
        "instanceInitiatedShutdownBehavior": (
            "InstanceInitiatedShutdownBehavior",
            lambda view: {"Value": view.row.shutdown_behavior},
        ),
        "instanceType": ("InstanceType", lambda view: {"Value": view.row.type}),
        "kernel": ("KernelId", lambda view: {}),
        "productCodes": ("ProductCodes", lambda view: []),
        "ramdisk": ("RamdiskId", lambda view: {}),
        "rootDeviceName": ("RootDeviceName", lambda view: {"Value": ROOT_DEVICE}),
        "sourceDestCheck": ("SourceDestCheck", lambda view: {"Value": True}),
        "sriovNetSupport": ("SriovNetSupport", lambda view: {}),
        "userData": ("UserData", lambda view: {"Value": view.row.user_data} if view.row.user_data else {}),
    }
)
_RESETTABLE = frozenset({"kernel", "ramdisk", "sourceDestCheck"})
_OF_INTERFACES = frozenset({"groupSet", "sourceDestCheck"})
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show one attribute."""
    require(call.params, "InstanceId", "Attribute")
    shown = _SHOWN.get(call.params["Attribute"])
    if shown is None:
        raise _unknown(call.params["Attribute"])
    view = instance_rows.named(txn, [call.params["InstanceId"]])[0]
    _refuse_several(view, call.params["Attribute"])
    return {"InstanceId": view.row.id, shown[0]: shown[1](view)}


def modify(call: Call, txn: Transaction) -> dict[str, Any]:
    """Change one attribute, given as a structure of its own or as Attribute and Value."""
    require(call.params, "InstanceId")
    params = _unfolded(call.params)
    names = [name for name in params if name not in ("InstanceId", "DryRun") and params[name] not in (None, [], {})]
    if not names:
        raise Ec2Error("InvalidParameterCombination", "No attributes specified.")
    if len(names) > 1:
        raise _several()
    (name,) = names
    if name not in _CHANGES:
        raise Ec2Error("UnsupportedOperation", f"The value of the parameter {name} is not supported by this cloud")
    view = instance_rows.named(txn, [params["InstanceId"]])[0]
    if view.row.state in ENDED:
        raise Ec2Error(
            "IncorrectInstanceState",
            f"The instance '{view.row.id}' is not in a state from which it can be modified ({view.row.state})",
        )
    _CHANGES[name](txn, view, params[name])
    return {}


def reset(call: Call, txn: Transaction) -> dict[str, Any]:
    """Give an attribute its first value back; sourceDestCheck never has another."""
    require(call.params, "InstanceId", "Attribute")
    attribute = call.params["Attribute"]
    if attribute not in _SHOWN:
        raise _unknown(attribute)
    if attribute not in _RESETTABLE:
        raise Ec2Error("InvalidParameterValue", f"The attribute '{attribute}' cannot be reset.")
    view = instance_rows.named(txn, [call.params["InstanceId"]])[0]
    if attribute != "sourceDestCheck":
        raise Ec2Error("UnsupportedOperation", "Instances have no kernel or ramdisk of their own in this cloud")
    _refuse_several(view, attribute)
    return {}


def _several() -> Ec2Error:
    return Ec2Error("InvalidParameterCombination", "Fields for multiple attribute types specified")


def _unknown(attribute: str) -> Ec2Error:
    return Ec2Error(
        "InvalidParameterValue", f"Value ({attribute}) for parameter attribute is invalid. Unknown attribute."
    )


def _unfolded(params: Params) -> dict[str, Any]:
    """The request with Attribute and Value, the style of 2010, as the structure that came later."""
    found = {name: value for name, value in params.items() if name not in ("Attribute", "Value")}
    attribute, value = params.get("Attribute"), params.get("Value")
    if not attribute:
        if value:
            raise Ec2Error("MissingParameter", "The request must contain the parameter Attribute")
        return found
    member = _MEMBERS.get(attribute)
    if member is None:
        raise _unknown(attribute)
    if attribute == "groupSet":
        return found if value is None else found | {"Groups": [*found.get("Groups", ()), value]}
    if value is None:
        raise Ec2Error("MissingParameter", "The request must contain the parameter Value")
    if given(params, member):
        raise _several()
    if attribute in _OF_BOOLEANS:
        if value.lower() not in _BOOLEANS:
            raise Ec2Error("InvalidParameterValue", f"Value ({value}) for parameter value is invalid.")
        return found | {member: {"Value": _BOOLEANS[value.lower()]}}
    return found | {member: {"Value": value}}


def _value(structure: Mapping[str, Any], name: str) -> Any:
    if structure.get("Value") is None:
        raise Ec2Error("MissingParameter", f"The request must contain the parameter {name}.Value")
    return structure["Value"]


def _set(txn: Transaction, view: InstanceView, **values: Any) -> None:
    txn.connection.execute(update(instances).where(instances.c.id == view.row.id).values(**values))


def _refuse_unless_stopped(view: InstanceView) -> None:
    if view.row.state != "stopped":
        raise Ec2Error("IncorrectInstanceState", f"The instance '{view.row.id}' is not in the 'stopped' state.")


def _termination(txn: Transaction, view: InstanceView, asked: Mapping[str, Any]) -> None:
    _set(txn, view, disable_api_termination=_value(asked, "DisableApiTermination"))


def _stopping(txn: Transaction, view: InstanceView, asked: Mapping[str, Any]) -> None:
    _set(txn, view, disable_api_stop=_value(asked, "DisableApiStop"))


def _shutdown(txn: Transaction, view: InstanceView, asked: Mapping[str, Any]) -> None:
    text = _value(asked, "InstanceInitiatedShutdownBehavior")
    _set(txn, view, shutdown_behavior=launch_options.shutdown_behavior(text))


def _type(txn: Transaction, view: InstanceView, asked: Mapping[str, Any]) -> None:
    size = launch_request.instance_type(_value(asked, "InstanceType"), txn.config)
    _refuse_unless_stopped(view)
    interface_limits.refuse_interfaces(txn, size.name, len(view.interfaces))
    interface_limits.refuse_addresses(txn, size.name, max(len(link.addresses) for link in view.interfaces))
    old = {size.name: size for size in txn.config.instance_types}.get(view.row.type)
    room = launch.rooms(txn).get(view.row.host)
    if room is not None and old is not None:  # what it has now is its own to use again
        more = (size.vcpus - old.vcpus, size.memory_mib - old.memory_mib)
        if more[0] > max(0, room.vcpus) or more[1] > max(0, room.memory_mib):
            raise Ec2Error(
                "InsufficientInstanceCapacity",
                f"We currently do not have sufficient {size.name} capacity where the instance is.",
                500,
            )
    _set(txn, view, type=size.name)


def _user_data(txn: Transaction, view: InstanceView, asked: Mapping[str, Any]) -> None:
    data = asked.get("Value") or b""
    text = data if isinstance(data, str) else base64.b64encode(data).decode("ascii")
    checked = launch_request.user_data(text)
    _refuse_unless_stopped(view)
    _set(txn, view, user_data=checked)


def _check_source(_txn: Transaction, view: InstanceView, asked: Mapping[str, Any]) -> None:
    """Let the check be on, which it always is."""
    _only(view)
    refuse_unsupported({"SourceDestCheck": _value(asked, "SourceDestCheck")}, frozenset(), {"SourceDestCheck": (True,)})


def _optimized(_txn: Transaction, _view: InstanceView, asked: Mapping[str, Any]) -> None:
    refuse_unsupported({"EbsOptimized": _value(asked, "EbsOptimized")}, frozenset(), {"EbsOptimized": (False,)})


def _refuse_several(view: InstanceView, attribute: str) -> None:
    """Refuse an attribute that each interface has of its own where there are several."""
    if attribute in _OF_INTERFACES and len(view.interfaces) > 1:
        _only(view)


def _only(view: InstanceView) -> InterfaceView:
    """The only interface of an instance."""
    if len(view.interfaces) != 1:
        raise Ec2Error(
            "InvalidInstanceID",
            f"There are multiple interfaces attached to instance '{view.row.id}'. "
            "Please specify an interface ID for the operation instead.",
        )
    return view.interfaces[0]


def _groups(txn: Transaction, view: InstanceView, asked: list[str]) -> None:
    """Give an instance's interface other security groups."""
    link = _only(view)
    rows = group_lookup.resolve(txn, asked, [])
    if any(row.vpc != link.row.vpc for row in rows):
        raise Ec2Error("InvalidGroup.NotFound", "You have specified two resources that belong to different networks.")
    new_interfaces.refuse_many_groups(txn, len(rows))
    wanted = [row.id for row in rows]
    if sorted(wanted) != [group for group, _ in link.groups]:
        txn.connection.execute(delete(interface_groups).where(interface_groups.c.interface == link.row.id))
        txn.connection.execute(
            insert(interface_groups), [{"interface": link.row.id, "group": group} for group in wanted]
        )
        txn.touch(Kind.INTERFACE, link.row.id)


_CHANGES: Mapping[str, Callable[[Transaction, InstanceView, Any], None]] = MappingProxyType(
    {
        "DisableApiStop": _stopping,
        "DisableApiTermination": _termination,
        "EbsOptimized": _optimized,
        "Groups": _groups,
        "InstanceInitiatedShutdownBehavior": _shutdown,
        "InstanceType": _type,
        "SourceDestCheck": _check_source,
        "UserData": _user_data,
    }
)
#: By EC2's name of an attribute: the member of the request that changes it.
_MEMBERS: Mapping[str, str] = MappingProxyType(
    {name: {"kernel": "Kernel", "ramdisk": "Ramdisk"}.get(name, shown[0]) for name, shown in _SHOWN.items()}
)
_OF_BOOLEANS = frozenset({"disableApiStop", "disableApiTermination", "ebsOptimized", "enaSupport", "sourceDestCheck"})
