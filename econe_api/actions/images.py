"""DescribeImages and DescribeImageAttribute."""

from __future__ import annotations

from typing import Any

from econe_api.actions import image_rows, pagination, tag_rows
from econe_api.actions.filters import Field, Filters
from econe_api.actions.image_rows import ALIAS, ImageView
from econe_api.actions.instance_rows import HYPERVISOR, PLATFORM, ROOT_DEVICE, ROOT_DEVICE_TYPE, USAGE_OPERATION
from econe_api.actions.parameters import require
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.transaction import Transaction

KIND = "image"

_IMAGE_FIELDS: dict[str, Field[ImageView]] = {
    "architecture": Field(lambda _image: ("x86_64",)),
    "block-device-mapping.delete-on-termination": Field(lambda _image: ()),
    "block-device-mapping.device-name": Field(lambda _image: ()),
    "block-device-mapping.encrypted": Field(lambda _image: ()),
    "block-device-mapping.snapshot-id": Field(lambda _image: ()),
    "block-device-mapping.volume-size": Field(lambda _image: ()),
    "block-device-mapping.volume-type": Field(lambda _image: ()),
    "creation-date": Field(lambda image: (image.created,)),
    "description": Field(lambda image: (image.description,)),
    "ena-support": Field(lambda _image: ("false",)),
    "hypervisor": Field(lambda _image: (HYPERVISOR,)),
    "image-id": Field(lambda image: (image.id,)),
    "image-type": Field(lambda _image: ("machine",)),
    "is-public": Field(lambda image: (str(image.public).lower(),)),
    "name": Field(lambda image: (image.name,)),
    "owner-alias": Field(lambda image: (ALIAS,) if image.public else ()),
    "owner-id": Field(lambda image: (image.owner,)),
    "platform": Field(lambda _image: ()),
    "platform-details": Field(lambda _image: (PLATFORM,)),
    "product-code": Field(lambda _image: ()),
    "product-code.type": Field(lambda _image: ()),
    "kernel-id": Field(lambda _image: ()),
    "manifest-location": Field(lambda image: (image.location,)),
    "ramdisk-id": Field(lambda _image: ()),
    "root-device-name": Field(lambda _image: (ROOT_DEVICE,)),
    "root-device-type": Field(lambda _image: (ROOT_DEVICE_TYPE,)),
    "source-instance-id": Field(lambda _image: ()),
    "sriov-net-support": Field(lambda _image: ()),
    "state": Field(lambda image: (image.state,)),
    "state-reason-code": Field(lambda image: image.reason[:1] if image.reason else ()),
    "state-reason-message": Field(lambda image: image.reason[1:] if image.reason else ()),
    "usage-operation": Field(lambda _image: (USAGE_OPERATION,)),
    "virtualization-type": Field(lambda _image: ("hvm",)),
}


def describe_images(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the cloud's own images, which are everybody's to use, and those that the caller has registered."""
    params = call.params
    pagination.check(params, "ImageIds", (1, 1000))
    filters: Filters[ImageView] = Filters(params.get("Filters"), _IMAGE_FIELDS, tagged=True)
    known = image_rows.load(txn)
    wanted = list(dict.fromkeys(params.get("ImageIds") or ()))
    image_rows.refuse_absent([text for text in wanted if text not in known])
    tags = tag_rows.load(txn, KIND, list(known))
    owners, users = params.get("Owners") or (), params.get("ExecutableUsers") or ()
    found = [
        image
        for image in known.values()
        if (not wanted or image.id in wanted)
        and (not owners or _owners(image, txn.account).intersection(owners))
        and (not users or ("all" in users and image.public))
        and filters.matches(image, tags[image.id])
    ]
    shown, token = pagination.page(found, lambda image: (image.id,), params, call.action)
    return {"Images": [_image(image, tags[image.id]) for image in shown]} | ({"NextToken": token} if token else {})


def _owners(image: ImageView, account: str) -> set[str]:
    """What the owner of an image may be called."""
    return {image.owner} | ({ALIAS} if image.public else set()) | ({"self"} if image.owner == account else set())


def _image(image: ImageView, tags: tag_rows.Tags) -> dict[str, Any]:
    more: dict[str, Any] = {"ImageOwnerAlias": ALIAS} if image.public else {}
    if image.reason is not None:
        more["StateReason"] = {"Code": image.reason[0], "Message": image.reason[1]}
    return more | {
        "ImageId": image.id,
        "Name": image.name,
        "ImageLocation": image.location,
        "ImageType": "machine",
        "OwnerId": image.owner,
        "Public": image.public,
        "State": image.state,
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "RootDeviceName": ROOT_DEVICE,
        "RootDeviceType": ROOT_DEVICE_TYPE,
        "Hypervisor": HYPERVISOR,
        "CreationDate": image.created,
        "Description": image.description,
        "EnaSupport": False,
        "PlatformDetails": PLATFORM,
        "UsageOperation": USAGE_OPERATION,
        "BlockDeviceMappings": [],
        "ProductCodes": [],
        "Tags": tag_rows.shape(tags),
    }


#: Attributes of an image: the member of the answer and its value.
_ATTRIBUTES: dict[str, tuple[str, Any]] = {
    "blockDeviceMapping": ("BlockDeviceMappings", []),
    "bootMode": ("BootMode", {}),
    "deregistrationProtection": ("DeregistrationProtection", {}),
    "imdsSupport": ("ImdsSupport", {}),
    "kernel": ("KernelId", {}),
    "lastLaunchedTime": ("LastLaunchedTime", {}),
    "launchPermission": ("LaunchPermissions", [{"Group": "all"}]),
    "productCodes": ("ProductCodes", []),
    "ramdisk": ("RamdiskId", {}),
    "sriovNetSupport": ("SriovNetSupport", {}),
    "tpmSupport": ("TpmSupport", {}),
    "uefiData": ("UefiData", {}),
}


def describe_attribute(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show one attribute of an image; everybody may launch from the cloud's own."""
    require(call.params, "ImageId", "Attribute")
    image, attribute = call.params["ImageId"], call.params["Attribute"]
    known = image_rows.load(txn)
    if image not in known:
        image_rows.refuse_absent([image])
    if attribute == "description":
        return {"ImageId": image, "Description": {"Value": known[image].description}}
    if attribute == "launchPermission" and not known[image].public:
        return {"ImageId": image, "LaunchPermissions": []}
    if attribute not in _ATTRIBUTES:
        raise Ec2Error("InvalidParameterValue", f"Value ({attribute}) for parameter attribute is invalid.")
    member, value = _ATTRIBUTES[attribute]
    return {"ImageId": image, member: value}
