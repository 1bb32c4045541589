"""Which service a request is for: EC2, or one of those that EC2's clients ask at the same address (STS, IAM).

They tell by the version of the API that they speak; where they name none, by the action, as no two of these services
have one of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from econe_api.errors import Ec2Error
from econe_api.protocol import answer, query, request
from econe_api.protocol.model import BESIDE, operations, service_beside


class Service(Protocol):
    """How a service reads its requests and writes its answers."""

    name: str
    scopes: frozenset[str]

    def parse_action(self, parameters: Mapping[str, str]) -> str:
        """Return the name of the action, or raise :class:`Ec2Error`."""

    def parse(self, parameters: Mapping[str, str]) -> request.ApiRequest:
        """Return the request by the service's model, or raise :class:`Ec2Error`."""

    def success(self, parsed: request.ApiRequest, request_id: str, output: Mapping[str, Any]) -> bytes:
        """Return the answer."""

    def translated(self, error: Ec2Error) -> Ec2Error:
        """Return ``error`` with the code and the status that this service gives it."""

    def failure(self, error: Ec2Error, request_id: str) -> bytes:
        """Return the answer that is ``error``."""


class _Ec2:
    name = "ec2"
    scopes = frozenset({"ec2"})
    parse_action = staticmethod(request.parse_action)
    parse = staticmethod(request.parse)

    def success(self, parsed: request.ApiRequest, request_id: str, output: Mapping[str, Any]) -> bytes:
        return answer.success(parsed.action, parsed.version, request_id, output)

    def translated(self, error: Ec2Error) -> Ec2Error:
        return error

    def failure(self, error: Ec2Error, request_id: str) -> bytes:
        return answer.failure(error.code, error.message, request_id)


class _Beside:
    def __init__(self, name: str, version: str) -> None:
        self.name = name
        self.scopes = frozenset({name})
        self._version = version

    def parse_action(self, parameters: Mapping[str, str]) -> str:
        return query.parse_action(self.name, parameters)

    def parse(self, parameters: Mapping[str, str]) -> request.ApiRequest:
        action = self.parse_action(parameters)
        return request.ApiRequest(action, self._version, query.parse(self.name, action, parameters))

    def success(self, parsed: request.ApiRequest, request_id: str, output: Mapping[str, Any]) -> bytes:
        return query.success(self.name, parsed.action, request_id, output)

    def translated(self, error: Ec2Error) -> Ec2Error:
        return query.translated(error)

    def failure(self, error: Ec2Error, request_id: str) -> bytes:
        return query.failure(self.name, error, request_id)


EC2: Service = _Ec2()
_BESIDE: Mapping[str, Service] = {version: _Beside(name, version) for version, name in BESIDE.items()}


def service_of(parameters: Mapping[str, str]) -> Service:
    """Return the service that a request with these ``parameters`` is for."""
    version, action = parameters.get("Version"), parameters.get("Action", "")
    if action in operations():
        return EC2
    if version is not None:
        return _BESIDE.get(version, EC2)
    for service in _BESIDE.values():
        if action in service_beside(service.name).operation_names:
            return service
    return EC2
