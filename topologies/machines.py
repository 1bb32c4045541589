"""Real virtual machines for a lab: a libvirtd per hypervisor, an image to boot, and a way to ask from inside one."""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import libvirt

from econe_api.compute.libvirt_storage import Pool
from econe_api.images import qcow2
from topologies import guest_image, layout
from topologies.errors import LabError
from topologies.lab import Lab
from topologies.libvirtd import POOL, Libvirtd
from topologies.tour import UPLOAD
from topologies.vantage import SHUT

IMAGE = "ami-0123456789abcdef0"
"""The image that every cloud offers without being told of others."""
_SECONDS = 15.0
_DISKS_PORT = 49300
#: While it runs; it is defined there and nowhere else afterwards; only what its own disk holds is copied.
_MIGRATION = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    | libvirt.VIR_MIGRATE_NON_SHARED_INC
)
_CHUNK = 4096


class Machines:
    """The libvirt side of a lab; everything ends with it."""

    def __init__(self, lab: Lab) -> None:
        self.daemons = {host: Libvirtd(lab, host) for host in lab.hypervisors}
        self._name = lab.name
        self._folder = lab.state

    @property
    def image(self) -> Path:
        """The guest image; there after :meth:`start`."""
        return self._folder / "images" / f"{IMAGE}.qcow2"

    def options(self) -> dict[str, dict[str, object]]:
        """What the libvirt backend has to know about the hypervisors."""
        return {host: daemon.options() for host, daemon in self.daemons.items()}

    def start(self, progress: Callable[[str], None] = lambda _: None) -> None:
        """Start the daemons and build the image; LabError."""
        progress("libvirtd of every hypervisor")
        for daemon in self.daemons.values():
            daemon.start()
        progress("an image of kernel and busybox")
        self.image.parent.mkdir(parents=True, exist_ok=True)
        guest_image.build(self.image)

    def upload(self, account: str) -> None:
        """Give an account the image as a file that it can register, under the name of the tour's."""
        folder = self._folder / "uploads" / account
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.image, folder / UPLOAD)

    def inside(self, instance: str) -> MachineInside:
        """Return the inside of an instance's machine."""
        return MachineInside(self, instance)

    def migrate(self, instance: str, source: str, target: str) -> None:
        """Move a running machine from one hypervisor to another, with its disk, as an operator would; libvirtError.

        The target has the machine's image already.
        """
        here, there = self.daemons[source], self.daemons[target]
        address = layout.management_ip(target)
        connection = libvirt.open(there.uri)
        try:
            pool = Pool(connection, POOL)
            pool.put(f"{instance}.iso", (here.pool / f"{instance}.iso").read_bytes())
            pool.make_disk(f"{instance}.qcow2", IMAGE, qcow2.look(self.image).size)
            domain = self.domain(instance)
            moved = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE).replace(str(here.pool), str(there.pool))
            asked = {
                "migrate_uri": f"tcp://{address}",
                "listen_address": address,
                "disks_uri": f"tcp://{address}:{_DISKS_PORT}",
                "destination_xml": moved,
                "persistent_xml": moved,
            }
            domain.migrate3(connection, asked, _MIGRATION)
            Pool(domain.connect(), POOL).delete_all(instance)
        finally:
            connection.close()

    def domain(self, instance: str) -> libvirt.virDomain:
        """Return an instance's domain, on whichever hypervisor runs it; LabError when none does."""
        for daemon in self.daemons.values():
            connection = libvirt.open(daemon.uri)
            try:
                domain = connection.lookupByName(f"{self._name}-{instance}")
            except libvirt.libvirtError:
                connection.close()
                continue
            if domain.isActive():
                return domain
        raise LabError(f"no hypervisor runs {instance}")


class MachineInside:
    """Asks from inside a machine, by commands on its serial console (``topologies/guest/init`` does them)."""

    def __init__(self, machines: Machines, instance: str) -> None:
        self._machines = machines
        self._instance = instance

    def run(self, command: str) -> str:
        """Do a shell command; return what it prints.  LabError when it is not done in time."""
        mark = secrets.token_hex(8)
        # The mark is put together in the machine, so that an echo of the command is not taken for its end.
        line = f"{command}; echo {mark[:8]}'{mark[8:]}'\n"
        domain = self._machines.domain(self._instance)
        stream = domain.connect().newStream(0)
        domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
        try:
            return _converse(stream, line.encode(), mark.encode())
        except TimeoutError as error:
            raise LabError(f"{self._instance} did not do this within {_SECONDS:g} s: {command}") from error
        finally:
            stream.abort()

    def fetch(self, host: str, port: int = 80) -> str:
        """Ask a guest's web server: "ID saw ADDRESS", or "no answer"."""
        return " saw ".join(self.run(f"fetch {host} {port}").split()) or SHUT

    def echo(self, host: str, port: int) -> str:
        """Say one line to the echo server at ``host``; return "echo" or "no answer"."""
        said = self.run(f"echo echo | timeout 3 nc -w 1 {host} {port} 2>/dev/null")
        return "echo" if said.startswith("echo") else SHUT


def _converse(stream: libvirt.virStream, line: bytes, mark: bytes) -> str:
    """Say a line and listen until the mark comes.  The thread that listens ends with the stream."""
    heard = bytearray()
    done = threading.Event()

    def listen() -> None:
        try:
            while mark not in heard and (chunk := stream.recv(_CHUNK)):
                heard.extend(chunk)
        except libvirt.libvirtError:
            return
        finally:
            done.set()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    stream.send(line)
    done.wait(_SECONDS)
    if mark not in heard:
        raise TimeoutError
    return bytes(heard).partition(mark)[0].decode(errors="replace").replace("\r", "")
