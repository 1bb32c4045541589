"""The small oned's XML-RPC over HTTP, and the ways in which it may misbehave."""

from __future__ import annotations

import base64
import hashlib
import http.server
import inspect
import threading
import time
import xmlrpc.client
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from xml.parsers.expat import ExpatError

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from topologies.oned.cloud import NO_EXISTS, Oned
from topologies.oned.model import RefusalError, User
from topologies.oned.templates import tag

_AUTHENTICATION = 0x0100
_GARBAGE = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


class Server:
    """Use it as a context manager.

    ``trouble``: "" none; "down": connections end without an answer; "slow": answers come too late; "garbage": what
    comes is none; "empty": pools are; "cut": pools have the first entry alone; "lost": there are no VMs, as if the
    database were another.  ``calls`` are the methods and callers so far, ``shapes`` the methods and
    the types of their parameters.
    """

    def __init__(self, oned: Oned, port: int = 0) -> None:
        self.oned = oned
        self.trouble = ""
        self.calls: list[tuple[str, str]] = []
        self.shapes: set[tuple[str, tuple[type, ...]]] = set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.trouble == "slow":
                    time.sleep(3)
                if outer.trouble == "down":
                    self.close_connection = True
                    return
                answer = _GARBAGE if outer.trouble == "garbage" else outer.answer(body)
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/RPC2"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.oned.close()

    def answer(self, body: bytes) -> bytes:
        """The reply to a call."""
        try:
            parameters, method = xmlrpc.client.loads(body)
        except (ExpatError, xmlrpc.client.Error):
            return xmlrpc.client.dumps(xmlrpc.client.Fault(-503, "Call is not valid XML")).encode()
        handler = _METHODS.get(str(method))
        if handler is None:
            return xmlrpc.client.dumps(xmlrpc.client.Fault(-506, f"Method '{method}' not defined")).encode()
        if not _fits(handler, parameters):
            return xmlrpc.client.dumps(xmlrpc.client.Fault(-501, "Not enough parameters")).encode()
        with self.oned.lock:
            try:
                caller = self._caller(str(parameters[0]))
                self.calls.append((str(method), caller.name))
                self.shapes.add((str(method), tuple(type(each) for each in parameters)))
                reply: list[Any] = [True, handler(self, caller, *parameters[1:]), 0]
            except RefusalError as error:
                reply = [False, f"[{method}] {error.text}", error.code, error.object_id, -1]
        return xmlrpc.client.dumps((reply,), methodresponse=True).encode()

    def _caller(self, session: str) -> User:
        name, _, rest = session.partition(":")
        user = self.oned.user(name)
        if user is not None and user.driver == "server_cipher":
            target, _, sealed = rest.partition(":")
            found = self.oned.user(target)
            if found is not None and found.enabled and _is_token(user, target, sealed):
                return found
        elif user is not None and user.enabled and user.password == rest:
            return user
        raise RefusalError(_AUTHENTICATION, "User couldn't be authenticated, aborting call.")

    def vms(self, caller: User, whose: int, start: int, end: int, state: int, *, full: bool) -> str:
        """A VM_POOL; newest first, as oned's default is."""
        found = [vm for vm in self.oned.vms.values() if whose != -3 or vm.owner is caller]
        if caller.group != 0:
            found = [vm for vm in found if vm.owner is caller]
        if state == -1:
            found = [vm for vm in found if vm.state != 6]
        elif state >= 0:
            found = [vm for vm in found if vm.state == state]
        found.sort(key=lambda vm: -vm.id)
        if end < -1:
            found = found[start : start - end]
        elif start >= 0:
            found = [vm for vm in found if vm.id >= start and (end == -1 or vm.id <= end)]
        if self.trouble in ("empty", "lost"):
            found = []
        elif self.trouble == "cut":
            found = found[:1]
        return f"<VM_POOL>{''.join(vm.xml(full=full) for vm in found)}</VM_POOL>"

    def vm(self, caller: User, number: int) -> str:
        """A VM document."""
        if self.trouble == "lost":
            raise RefusalError(NO_EXISTS, f"Error getting virtual machine [{number}].", number)
        return self.oned.vm(caller, number).xml()

    def user(self, caller: User, number: int) -> str:
        """A USER document."""
        found = caller if number == -1 else self.oned.users.get(number)
        if found is None:
            raise RefusalError(NO_EXISTS, f"Error getting user [{number}].", number)
        return found.xml()

    def users(self) -> str:
        """The USER_POOL, with the users' quotas in between."""
        quotas = "<QUOTAS><ID>{}</ID><VM_QUOTA></VM_QUOTA></QUOTAS>"
        members = "".join(each.xml() + quotas.format(each.id) for each in reversed(self.oned.users.values()))
        if self.trouble == "empty":
            members = ""
        return f"<USER_POOL>{members}<DEFAULT_USER_QUOTAS><VM_QUOTA></VM_QUOTA></DEFAULT_USER_QUOTAS></USER_POOL>"

    def hosts(self) -> str:
        """The HOST_POOL."""
        members = (f"<HOST>{tag('ID', number)}{tag('NAME', name)}</HOST>" for number, name in self.oned.hosts.items())
        return f"<HOST_POOL>{''.join(members)}</HOST_POOL>"

    def network(self, number: int) -> str:
        """A VNET document."""
        if number not in self.oned.networks:
            raise RefusalError(NO_EXISTS, f"Error getting virtual network [{number}].", number)
        return self.oned.networks[number].xml()

    def networks(self) -> str:
        """The VNET_POOL."""
        return f"<VNET_POOL>{''.join(each.xml() for each in self.oned.networks.values())}</VNET_POOL>"

    def template(self, number: int) -> str:
        """A VMTEMPLATE document."""
        if number not in self.oned.templates:
            raise RefusalError(NO_EXISTS, f"Error getting virtual machine template [{number}].", number)
        content = self.oned.templates[number].xml()
        return f"<VMTEMPLATE>{tag('ID', number)}<TEMPLATE>{content}</TEMPLATE></VMTEMPLATE>"


def _id(number: int, _nothing: None) -> int:
    return number


_METHODS: dict[str, Callable[..., Any]] = {
    "one.system.version": lambda s, c: "6.10.5",
    "one.user.info": lambda s, c, number=-1, decrypt=False: s.user(c, number),
    "one.userpool.info": lambda s, c: s.users(),
    "one.hostpool.info": lambda s, c: s.hosts(),
    "one.vn.info": lambda s, c, number, decrypt=False: s.network(number),
    "one.vn.reserve": lambda s, c, number, text: s.oned.reserve(c, number, text),
    "one.vn.delete": lambda s, c, number: _id(number, s.oned.delete_network(c, number)),
    "one.vnpool.info": lambda s, c, whose, start, end: s.networks(),
    "one.template.info": lambda s, c, number, extended=False, decrypt=False: s.template(number),
    "one.template.instantiate": lambda s, c, number, name, hold, text, persistent=False: s.oned.instantiate(
        c, number, name, hold, text
    ),
    "one.vm.info": lambda s, c, number, decrypt=False: s.vm(c, number),
    "one.vm.action": lambda s, c, action, number: _id(number, s.oned.act(c, action, number)),
    "one.vm.deploy": lambda s, c, number, host, enforce, store, extra="": _id(number, s.oned.deploy(c, number, host)),
    "one.vm.recover": lambda s, c, number, how: _id(number, s.oned.recover(c, number, how)),
    "one.vm.attachnic": lambda s, c, number, text: _id(number, s.oned.attach_nic(c, number, text)),
    "one.vm.detachnic": lambda s, c, number, nic: _id(number, s.oned.detach_nic(c, number, nic)),
    "one.vmpool.info": lambda s, c, whose, start, end, state, keys="": s.vms(c, whose, start, end, state, full=False),
    "one.vmpool.infoextended": lambda s, c, whose, start, end, state, keys="": s.vms(
        c, whose, start, end, state, full=True
    ),
}


def _fits(handler: Callable[..., Any], parameters: tuple[Any, ...]) -> bool:
    try:
        inspect.signature(handler).bind(None, *parameters)
    except TypeError:
        return False
    return True


def _is_token(service: User, target: str, sealed: str) -> bool:
    digits = hashlib.sha256(service.password.encode()).hexdigest()
    try:
        decryptor = Cipher(algorithms.AES(digits[:32].encode()), modes.CBC(digits[:16].encode())).decryptor()
        plain = decryptor.update(base64.b64decode(sealed)) + decryptor.finalize()
        name, user, expiry = plain[: -plain[-1]].decode().split(":")
        return (name, user) == (service.name, target) and int(expiry) > time.time()
    except (ValueError, IndexError):
        return False
