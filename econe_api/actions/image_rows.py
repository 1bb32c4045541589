"""The images that an account may use: the configuration's, which are everybody's, and those that it has registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from econe_api.actions import identifiers
from econe_api.config import Image
from econe_api.errors import Ec2Error
from econe_api.store.administration import OPERATOR
from econe_api.store.image_tables import AVAILABLE, DEREGISTERED, PENDING, images
from econe_api.store.transaction import Transaction

ALIAS = "amazon"
"""What clients ask for when they mean the cloud's own images."""
_CREATED = "2012-10-16T00:00:00.000Z"  # clients sort by it; the configuration does not say when an image was made


@dataclass(frozen=True, slots=True)
class ImageView:
    """An image as it is shown; ``reason`` is (code, message) of a state that needs one."""

    id: str
    name: str
    description: str
    location: str
    owner: str
    public: bool
    state: str
    created: str
    reason: tuple[str, str] | None = None


def load(txn: Transaction) -> dict[str, ImageView]:
    """Return the images that the caller may see, by id: the configuration's first, its own in order of creation."""
    found = {image.id: _configured(image) for image in txn.config.images}
    query = select(images).where(images.c.account == txn.account, images.c.state != DEREGISTERED)
    for row in txn.connection.execute(query.order_by(images.c.created, images.c.id)):
        found.setdefault(row.id, _registered(row))
    return found


def check_launchable(txn: Transaction, image: str) -> None:
    """See that instances can be made from an image.

    Raises:
        Ec2Error: InvalidAMIID.Malformed, InvalidAMIID.NotFound, InvalidAMIID.Unavailable.

    """
    if any(image == known.id for known in txn.config.images):
        return
    view = load(txn).get(image)
    if view is None:
        refuse_absent([image])
    elif view.state != AVAILABLE:
        raise Ec2Error("InvalidAMIID.Unavailable", f"The image id '[{image}]' is {view.state} and cannot be launched")


def refuse_absent(absent: list[str]) -> None:
    """Refuse ids of images that are not there.

    Raises:
        Ec2Error: InvalidAMIID.Malformed, InvalidAMIID.NotFound.

    """
    identifiers.check("ami", absent)
    if absent:
        verb = "does" if len(absent) == 1 else "do"
        noun = "id" if len(absent) == 1 else "ids"
        raise Ec2Error("InvalidAMIID.NotFound", f"The image {noun} '[{', '.join(absent)}]' {verb} not exist")


def _configured(image: Image) -> ImageView:
    return ImageView(
        id=image.id,
        name=image.name,
        description=image.name,
        location=f"{ALIAS}/{image.name}",
        owner=OPERATOR.account_id,
        public=True,
        state=AVAILABLE,
        created=_CREATED,
    )


def _registered(row: Row[Any]) -> ImageView:
    reason = (row.reason_code, row.reason) if row.reason_code else None
    if row.state == PENDING:
        reason = (PENDING, f"{row.progress}% of {row.size} bytes copied")
    return ImageView(
        id=row.id,
        name=row.name,
        description=row.description or "",
        location=f"{row.account}/{row.location}",
        owner=row.account,
        public=False,
        state=row.state,
        created=f"{row.created:%Y-%m-%dT%H:%M:%S}.000Z",
        reason=reason,
    )
