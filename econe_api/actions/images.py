"""DescribeImages and DescribeImageAttribute: the images that the configuration offers."""

from __future__ import annotations

from typing import Any

from econe_api.actions import identifiers, pagination, tag_rows
from econe_api.actions.filters import Field, Filters
from econe_api.actions.instance_rows import HYPERVISOR, PLATFORM, ROOT_DEVICE, ROOT_DEVICE_TYPE, USAGE_OPERATION
from econe_api.actions.parameters import require
from econe_api.call import Call
from econe_api.config import Image
from econe_api.errors import Ec2Error
from econe_api.store.administration import OPERATOR
from econe_api.store.transaction import Transaction

KIND = "image"
_ALIAS = "amazon"  # what clients ask for when they mean the cloud's own images
_CREATED = "2012-10-16T00:00:00.000Z"  # clients sort by it; the configuration does not say when an image was made

_IMAGE_FIELDS: dict[str, Field[Image]] = {
    "architecture": Field(lambda _image: ("x86_64",)),
    "block-device-mapping.delete-on-termination": Field(lambda _image: ()),
    "block-device-mapping.device-name": Field(lambda _image: ()),
    "block-device-mapping.encrypted": Field(lambda _image: ()),
    "block-device-mapping.snapshot-id": Field(lambda _image: ()),
    "block-device-mapping.volume-size": Field(lambda _image: ()),
    "block-device-mapping.volume-type": Field(lambda _image: ()),
    "creation-date": Field(lambda _image: (_CREATED,)),
    "description": Field(lambda image: (image.name,)),
    "ena-support": Field(lambda _image: ("false",)),
    "hypervisor": Field(lambda _image: (HYPERVISOR,)),
    "image-id": Field(lambda image: (image.id,)),
    "image-type": Field(lambda _image: ("machine",)),
    "is-public": Field(lambda _image: ("true",)),
    "name": Field(lambda image: (image.name,)),
    "owner-alias": Field(lambda _image: (_ALIAS,)),
    "owner-id": Field(lambda _image: (OPERATOR.account_id,)),
    "platform": Field(lambda _image: ()),
    "platform-details": Field(lambda _image: (PLATFORM,)),
    "product-code": Field(lambda _image: ()),
    "product-code.type": Field(lambda _image: ()),
    "kernel-id": Field(lambda _image: ()),
    "manifest-location": Field(lambda image: (f"{_ALIAS}/{image.name}",)),
    "ramdisk-id": Field(lambda _image: ()),
    "root-device-name": Field(lambda _image: (ROOT_DEVICE,)),
    "root-device-type": Field(lambda _image: (ROOT_DEVICE_TYPE,)),
    "source-instance-id": Field(lambda _image: ()),
    "sriov-net-support": Field(lambda _image: ()),
    "state": Field(lambda _image: ("available",)),
    "state-reason-code": Field(lambda _image: ()),
    "state-reason-message": Field(lambda _image: ()),
    "usage-operation": Field(lambda _image: (USAGE_OPERATION,)),
    "virtualization-type": Field(lambda _image: ("hvm",)),
}


def describe_images(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the images; all are the cloud's own and everybody's to use."""
    params = call.params
    pagination.check(params, "ImageIds", (1, 1000))
    filters: Filters[Image] = Filters(params.get("Filters"), _IMAGE_FIELDS, tagged=True)
    known = {image.id: image for image in txn.config.images}
    wanted = list(dict.fromkeys(params.get("ImageIds") or ()))
    _refuse_absent([text for text in wanted if text not in known])
    tags = tag_rows.load(txn, KIND, list(known))
    owners, users = params.get("Owners") or (), params.get("ExecutableUsers") or ()
    found = [
        image
        for image in known.values()
        if (not wanted or image.id in wanted)
        and (not owners or {_ALIAS, OPERATOR.account_id}.intersection(owners))
        and (not users or "all" in users)
        and filters.matches(image, tags[image.id])
    ]
    shown, token = pagination.page(found, lambda image: (image.id,), params, call.action)
    return {"Images": [_image(image, tags[image.id]) for image in shown]} | ({"NextToken": token} if token else {})


def _refuse_absent(absent: list[str]) -> None:
    identifiers.check("ami", absent)
    if absent:
        verb = "does" if len(absent) == 1 else "do"
        noun = "id" if len(absent) == 1 else "ids"
        raise Ec2Error("InvalidAMIID.NotFound", f"The image {noun} '[{', '.join(absent)}]' {verb} not exist")


def _image(image: Image, tags: tag_rows.Tags) -> dict[str, Any]:
    return {
        "ImageId": image.id,
        "Name": image.name,
        "ImageLocation": f"{_ALIAS}/{image.name}",
        "ImageType": "machine",
        "ImageOwnerAlias": _ALIAS,
        "OwnerId": OPERATOR.account_id,
        "Public": True,
        "State": "available",
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "RootDeviceName": ROOT_DEVICE,
        "RootDeviceType": ROOT_DEVICE_TYPE,
        "Hypervisor": HYPERVISOR,
        "CreationDate": _CREATED,
        "Description": image.name,
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
    """Show one attribute of an image; everybody may launch from it."""
    require(call.params, "ImageId", "Attribute")
    image, attribute = call.params["ImageId"], call.params["Attribute"]
    known = {image.id: image for image in txn.config.images}
    if image not in known:
        _refuse_absent([image])
    if attribute == "description":
        return {"ImageId": image, "Description": {"Value": known[image].name}}
    if attribute not in _ATTRIBUTES:
        raise Ec2Error("InvalidParameterValue", f"Value ({attribute}) for parameter attribute is invalid.")
    member, value = _ATTRIBUTES[attribute]
    return {"ImageId": image, member: value}
