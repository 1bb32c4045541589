"""The service model of EC2 (API version 2016-11-15), as botocore ships it.

Source: ``botocore/data/ec2/2016-11-15/service-2.json``; the meaning of its traits (``locationName``, ``queryName``) is
in the "ec2Query" protocol of the Smithy documentation.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel

API_VERSION = "2016-11-15"


@cache
def service() -> Any:
    """Return the service model (a ``botocore.model.ServiceModel``), read once per process (0.2 s).

    Models that a user has put under ``~/.aws`` are left out: the API must not depend on who starts it.
    """
    return _load("ec2", API_VERSION)


#: The services beside EC2 that its clients ask at the same address, by the version of their API.
BESIDE = {"2011-06-15": "sts", "2010-05-08": "iam"}


@cache
def service_beside(name: str) -> Any:
    """Return the model of ``sts`` or ``iam``, read once per process (10 ms)."""
    return _load(name, next(version for version, known in BESIDE.items() if known == name))


def _load(name: str, version: str) -> Any:
    loader = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
    return ServiceModel(loader.load_service_model(name, "service-2", version), name)


@cache
def operations() -> frozenset[str]:
    """Return the names of all operations in the model."""
    return frozenset(service().operation_names)


def input_name(shape: Any, member: str) -> str:
    """Return the name of a structure's ``member`` in a request: EC2 begins every name with a capital."""
    if "queryName" in shape.serialization:
        return str(shape.serialization["queryName"])
    name = str(shape.serialization.get("name", member))
    return name[:1].upper() + name[1:]


def input_name_in_query(shape: Any, member: str) -> str:
    """Return the name of a structure's ``member`` in a request to STS or IAM: as it is."""
    return str(shape.serialization.get("name", member))


def output_name(shape: Any, member: str) -> str:
    """Return the element name of a structure's ``member`` in an answer."""
    return str(shape.serialization.get("name", member))
