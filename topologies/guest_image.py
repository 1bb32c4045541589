"""A bootable image for the lab's virtual machines: Debian's cloud kernel, busybox and a few scripts on a small disk.

``scripts/setup test`` unpacks kernel and modules beside the virtual environment; :func:`build` puts an initial RAM disk
together, lays both on a FAT disk with SYSLINUX and gives it as qcow2.  It boots in a few seconds, also where the CPU is
emulated.  Needs mtools, syslinux, qemu-utils and busybox-static.
"""

from __future__ import annotations

import gzip
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from topologies.errors import LabError

KERNEL = Path(sys.prefix) / "share" / "sluice-guest"
"""Where ``scripts/setup`` leaves ``vmlinuz`` and the modules."""
BUSYBOX = Path("/bin/busybox")
_SCRIPTS = Path(__file__).with_name("guest")
#: In the order in which they are loaded; what a kernel has built in is not there.
_MODULES = (
    *("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci"),
    *("failover", "net_failover", "virtio_net", "virtio_blk", "virtio-rng"),
    *("cdrom", "isofs", "button", "evdev"),
)
_PLACES = {
    "init": "init",
    "fetch": "bin/fetch",
    "udhcpc": "etc/udhcpc",
    "index.cgi": "www/cgi-bin/index.cgi",
    "power": "etc/acpi/PWRF/00000080",
}
_DISK_MIB = 32
_SYSLINUX = """\
SERIAL 0 115200
DEFAULT guest
LABEL guest
  LINUX vmlinuz
  INITRD initrd
  APPEND console=ttyS0 quiet panic=1 random.trust_cpu=on net.ifnames=0 mitigations=off
"""


def build(image: Path, kernel: Path = KERNEL) -> Path:
    """Write the image to ``image`` and return it; LabError names what is missing."""
    if not (kernel / "vmlinuz").exists() or not BUSYBOX.exists():
        raise LabError("no kernel or busybox for virtual machines here: run scripts/setup libvirt")
    with tempfile.TemporaryDirectory(prefix="sluice-guest-") as scratch:
        disk, initrd, settings = (Path(scratch) / name for name in ("disk", "initrd", "syslinux.cfg"))
        initrd.write_bytes(gzip.compress(b"".join(_archive(kernel / "modules")), 6))
        settings.write_text(_SYSLINUX)
        with disk.open("wb") as file:
            file.truncate(_DISK_MIB << 20)
        _tool("mformat", "-i", str(disk), "-h", "64", "-s", "32", "-T", str(_DISK_MIB << 11), "-m", "0xf8", "::")
        _tool("mcopy", "-i", str(disk), str(kernel / "vmlinuz"), str(initrd), str(settings), "::")
        _tool("syslinux", "--install", str(disk))
        _tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(disk), str(image))
    return image


def _tool(*command: str) -> None:
    if shutil.which(command[0]) is None:
        raise LabError(f"{command[0]} is not installed: run scripts/setup libvirt")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {' '.join((done.stderr or done.stdout).split())}")


def _archive(modules: Path) -> Iterator[bytes]:
    """The initial RAM disk, a cpio archive in the kernel's "newc" format (Documentation/driver-api/early-userspace)."""
    for folder in ("bin", "dev", "etc", "etc/acpi", "etc/acpi/PWRF", "modules", "proc", "sys", "www", "www/cgi-bin"):
        yield _entry(folder, stat.S_IFDIR | 0o755)
    yield _entry("bin/busybox", stat.S_IFREG | 0o755, BUSYBOX.read_bytes())
    present = [name for name in _MODULES if (modules / f"{name}.ko").exists()]
    for name in present:
        yield _entry(f"modules/{name}.ko", stat.S_IFREG | 0o644, (modules / f"{name}.ko").read_bytes())
    yield _entry("modules/order", stat.S_IFREG | 0o644, "".join(f"{name}\n" for name in present).encode())
    for script, place in _PLACES.items():
        yield _entry(place, stat.S_IFREG | 0o755, (_SCRIPTS / script).read_bytes())
    # A static busybox has no name service modules to load.
    yield _entry("etc/nsswitch.conf", stat.S_IFREG | 0o644, b"hosts: files\npasswd: files\n")
    yield _entry("TRAILER!!!", 0)


def _entry(name: str, mode: int, data: bytes = b"") -> bytes:
    path = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + path) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
