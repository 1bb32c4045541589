"""RegisterImage and DeregisterImage: images that accounts make of files that they have uploaded.

``ImageLocation`` names a qcow2 file in the account's folder of ``images.uploads``.  The compute worker copies it
(:mod:`econe_api.images.copier`); until then the image is ``pending``.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import insert, select, update

from econe_api.actions import image_rows, tag_rows
from econe_api.actions.parameters import refuse_unsupported, require
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.images import library, qcow2
from econe_api.store.image_tables import DEREGISTERED, PENDING, images
from econe_api.store.transaction import Transaction

KIND = "image"
#: "RegisterImage" in the EC2 API reference.
_NAME = re.compile(r"[A-Za-z0-9()\[\] ./\-'@_]{3,128}")
_LONGEST_DESCRIPTION = 255
_SUPPORTED = frozenset({"Name", "Description", "ImageLocation", "TagSpecifications"})
_NEUTRAL = {
    "Architecture": ("x86_64",),
    "VirtualizationType": ("hvm",),
    "RootDeviceName": ("/dev/xvda", "/dev/sda1", "/dev/vda"),
    "BootMode": ("legacy-bios",),
    "EnaSupport": (False, True),
    "SriovNetSupport": ("simple",),
    "ImdsSupport": (),
}


def register(call: Call, txn: Transaction) -> dict[str, Any]:
    """Note a new image, to be copied; refuse a file that is no image at once."""
    params = call.params
    require(params, "Name", "ImageLocation")
    refuse_unsupported(params, _SUPPORTED, _NEUTRAL)
    name, description = params["Name"], params.get("Description") or None
    if not _NAME.fullmatch(name):
        raise Ec2Error(
            "InvalidAMIName.Malformed",
            "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', '.', "
            "'-', '/', '_', '[', ']', '@', ''' and spaces",
        )
    if description is not None and len(description) > _LONGEST_DESCRIPTION:
        raise Ec2Error("InvalidParameterValue", f"Descriptions have up to {_LONGEST_DESCRIPTION} characters")
    wanted = tag_rows.specified(params, KIND, "snapshot")
    mine = (images.c.account == txn.account) & (images.c.state != DEREGISTERED)
    double = txn.connection.scalar(select(images.c.id).where(mine, images.c.name == name).limit(1))
    if double is not None:
        raise Ec2Error("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {double}")
    location, size = _look(txn, params["ImageLocation"])
    image = txn.new_id("ami")
    txn.connection.execute(
        insert(images).values(
            id=image,
            account=txn.account,
            name=name,
            description=description,
            location=location,
            state=PENDING,
            size=size,
            progress=0,
            created=txn.now,
        )
    )
    tag_rows.write(txn, KIND, [image], wanted.get(KIND, {}))
    return {"ImageId": image}


def deregister(call: Call, txn: Transaction) -> dict[str, Any]:
    """Take an image away; instances that were made from it live on."""
    require(call.params, "ImageId")
    refuse_unsupported(call.params, frozenset({"ImageId"}), {"DeleteAssociatedSnapshots": (False, True)})
    image = call.params["ImageId"]
    view = image_rows.load(txn).get(image)
    if view is None:
        image_rows.refuse_absent([image])
        return {}
    if view.owner != txn.account:
        raise Ec2Error("AuthFailure", f"Not authorized for image:{image}")
    txn.connection.execute(update(images).where(images.c.id == image).values(state=DEREGISTERED))
    tag_rows.forget(txn, [image])
    return {"Return": True}


def _look(txn: Transaction, location: str) -> tuple[str, int]:
    """The name of the file and its size in bytes, when it is a whole image of the caller's."""
    name = location.removeprefix(f"{txn.account}/")
    try:
        with library.Library.of(txn.config).upload(txn.account, name) as (file, size):
            qcow2.read(file, size)
    except FileNotFoundError:
        raise Ec2Error(
            "InvalidManifest", f"HTTP 404 (Not Found) response for {location}: there is no such file of yours"
        ) from None
    except qcow2.ImageError as error:
        raise Ec2Error("InvalidManifest", f"The file {location} cannot be used: {error}") from None
    except OSError as error:
        raise Ec2Error("InvalidManifest", f"The file {location} cannot be read: {error.strerror}") from None
    return name, size
