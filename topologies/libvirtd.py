"""A libvirtd of its own for a hypervisor of the lab: in its namespace, on its switch, with nothing of the machine's.

libvirt has its directories compiled in.  So each daemon gets directories of its own mounted there, in the mount
namespace that ``ip netns exec`` makes, and a host name of its own; only its sockets are elsewhere, where everybody
finds them.  Its ovs-vsctl finds the hypervisor's database by ``OVS_RUNDIR``.  Machines end with the lab's namespaces,
whatever becomes of the daemon.
"""

from __future__ import annotations

import re
import subprocess
import time
import uuid
from pathlib import Path

import libvirt

from topologies.errors import LabError
from topologies.lab import Lab

POOL = "sluice"
_PATIENCE = 20.0
_PLACES = {"run": "/run/libvirt", "lib": "/var/lib/libvirt", "etc": "/etc/libvirt", "cache": "/var/cache/libvirt"}
_DAEMON = """\
unix_sock_dir = "{folder}"
auth_unix_ro = "none"
auth_unix_rw = "none"
host_uuid = "{uuid}"
log_outputs = "2:file:{folder}/libvirtd.log"
"""
#: Everything runs as root in a namespace of the lab, so neither ownership nor cgroups nor profiles are libvirt's.
_QEMU = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
"""


libvirt.registerErrorHandler(lambda _context, _error: None, None)  # errors are raised; they need not be printed


class Libvirtd:
    """The daemon of hypervisor ``host`` of a lab; :meth:`start` returns when it answers and has its storage pool."""

    def __init__(self, lab: Lab, host: str) -> None:
        self.host = host
        self._lab = lab
        self.folder = lab.hypervisor(host).rundir / "vm"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Where it listens, as ``options.uri`` takes it."""
        return f"qemu+unix:///system?socket={self.folder}/libvirt-sock"

    @property
    def pool(self) -> Path:
        """The directory of its storage pool."""
        return self.folder / "pool"

    def options(self) -> dict[str, object]:
        """What the libvirt backend has to know about the hypervisor."""
        kind = "kvm" if kvm_works() else "qemu"
        fixed = {"type": kind, "offloads": "off", "shutdown_seconds": 5}
        return {"uri": self.uri, "pool": POOL, "prefix": self._lab.name, **fixed}

    def start(self) -> Libvirtd:
        """Start it; LabError when it does not come up.  A running one is fine."""
        if self._process is not None and self._process.poll() is None:
            return self
        for name in _PLACES:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.pool.mkdir(exist_ok=True)
        (self.folder / "etc" / "qemu.conf").write_text(_QEMU)
        identity = uuid.uuid5(uuid.NAMESPACE_OID, f"{self._lab.name}-{self.host}")
        (self.folder / "libvirtd.conf").write_text(_DAEMON.format(folder=self.folder, uuid=identity))
        mounts = " && ".join(f"mount --bind {self.folder / name} {place}" for name, place in _PLACES.items())
        for place in _PLACES.values():
            Path(place).mkdir(parents=True, exist_ok=True)
        daemon = f"exec libvirtd --config {self.folder}/libvirtd.conf --pid-file {self.folder}/libvirtd.pid"
        with (self.folder / "out.log").open("ab") as log:
            self._process = self._lab.popen(
                self.host,
                *("unshare", "--uts", "sh", "-c", f"hostname {self._lab.netns(self.host)} && {mounts} && {daemon}"),
                stdout=log,
                stderr=log,
                env=self._lab.hypervisor(self.host).environment,
            )
        self._await_pool()
        return self

    def kill(self, signal_number: int) -> None:
        """Send the daemon a signal; machines go on without it."""
        if self._process is not None:
            self._process.send_signal(signal_number)

    def stop(self) -> None:
        """End the daemon and wait for it; machines go on."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_PATIENCE)

    def _await_pool(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._make_pool()
            except libvirt.libvirtError as error:
                ended = self._process is not None and self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    raise LabError(f"libvirtd of {self.host} does not answer ({error}); see {self.folder}") from error
                time.sleep(0.05)
            else:
                return

    def _make_pool(self) -> None:
        connection = libvirt.open(self.uri)
        try:
            if POOL not in connection.listStoragePools():
                target = f"<target><path>{self.pool}</path></target>"
                connection.storagePoolCreateXML(f"<pool type='dir'><name>{POOL}</name>{target}</pool>", 0)
        finally:
            connection.close()


def kvm_works() -> bool:
    """Whether machines may use KVM here: where the CPU has no such extension, /dev/kvm takes them and then stands."""
    flags = re.compile(r"^flags\s*:.*\b(vmx|svm)\b", re.MULTILINE)
    return Path("/dev/kvm").exists() and flags.search(Path("/proc/cpuinfo").read_text()) is not None
