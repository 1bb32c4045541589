"""What is done with libvirt domains over one connection; whoever calls bounds the time that it takes."""

from __future__ import annotations

import re
import time
from typing import Any

import libvirt

from econe_api.compute import libvirt_xml, nocloud
from econe_api.compute.backend import BackendUnavailableError, Condition, LaunchFailedError, LaunchSpec
from econe_api.compute.libvirt_host import Options, gist
from econe_api.compute.libvirt_storage import Pool
from econe_api.compute.libvirt_xml import Machine
from econe_api.config import InstanceType

IMAGE_MISSING = "Client.InvalidSnapshot.NotFound"
IMAGE_CORRUPT = "Client.InternalError"
NO_ROOM = "Server.InsufficientInstanceCapacity"
FAILED = "Server.InternalError"
"""EC2's state reason codes ("Troubleshoot instance launch issues" in the user guide)."""

RUNS = frozenset(
    {
        libvirt.VIR_DOMAIN_RUNNING,
        libvirt.VIR_DOMAIN_BLOCKED,
        libvirt.VIR_DOMAIN_PAUSED,
        libvirt.VIR_DOMAIN_SHUTDOWN,
        libvirt.VIR_DOMAIN_PMSUSPENDED,
    }
)
_ROOM_WORDS = ("cannot allocate memory", "no space left on device", "cannot set up guest memory")
_IMAGE_WORDS = ("is not in qcow2 format", "image is corrupt", "could not open backing file", "could not read l1 table")


def name(options: Options, instance_id: str) -> str:
    """Return the name of an instance's domain."""
    return f"{options.prefix}-{instance_id}"


def find(connection: Any, options: Options, instance_id: str) -> Any:
    """Return the domain of an instance, None when there is none."""
    try:
        return connection.lookupByName(name(options, instance_id))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def existing(connection: Any, options: Options, instance_id: str) -> Any:
    """Return the domain of an instance; BackendUnavailableError when there is none."""
    domain = find(connection, options, instance_id)
    if domain is None:
        raise BackendUnavailableError(f"{instance_id} is not on hypervisor {options.name}")
    return domain


def runs(connection: Any, options: Options, instance_id: str) -> bool:
    """Whether an instance's domain runs."""
    domain = find(connection, options, instance_id)
    return domain is not None and domain.state()[0] in RUNS


def has_disk(connection: Any, options: Options, instance_id: str) -> bool:
    """Whether an instance has a disk already."""
    return Pool(connection, options.pool).has(f"{instance_id}.qcow2")


def condition(state: int, reason: int) -> Condition:
    """What libvirt's state of a domain, and its reason, say of an instance.

    STOPPED is one that has shut itself down.  One that was destroyed, has crashed, could not be started, or of which
    libvirt does not know why it is off - so it is after a restart of the host, for nothing of it is kept - is BROKEN.
    """
    if state in RUNS:
        return Condition.RUNNING
    by_itself = state == libvirt.VIR_DOMAIN_SHUTOFF and reason == libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN
    return Condition.STOPPED if by_itself else Condition.BROKEN


def all_of(connection: Any, options: Options) -> dict[str, Condition]:
    """Return the instances of this cloud on a hypervisor, all of them in one question."""
    pattern = re.compile(rf"{re.escape(options.prefix)}-(i-[0-9a-f]{{8,17}})")
    found = {}
    for domain, facts in connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0):
        match = pattern.fullmatch(domain.name())
        if match is not None:
            found[match[1]] = condition(facts["state.state"], facts["state.reason"])
    return found


def machine(options: Options, spec: LaunchSpec, size: InstanceType, folder: str) -> Machine:
    """Return an instance as a machine whose files are in ``folder``."""
    stem = f"{folder.rstrip('/')}/{spec.instance_id}"
    return Machine(
        name=name(options, spec.instance_id),
        instance_id=spec.instance_id,
        kind=options.kind,
        vcpus=size.vcpus,
        memory_mib=size.memory_mib,
        disk=f"{stem}.qcow2",
        seed=f"{stem}.iso",
        console=f"{stem}.log",
        bridge=options.bridge,
        mtu=options.mtu,
        offloads=options.offloads,
    )


def boot(connection: Any, options: Options, spec: LaunchSpec, size: InstanceType, disk: int) -> None:
    """Make files and domain and start it; when that fails, what this call has made goes again."""
    _take_away(connection, options, spec.instance_id)
    _check_memory(connection, size)
    pool = Pool(connection, options.pool)
    shape = machine(options, spec, size, pool.path)
    own_disk = f"{spec.instance_id}.qcow2"
    kept = pool.has(own_disk)
    try:
        pool.make_disk(own_disk, spec.image, disk)
        pool.put(f"{spec.instance_id}.iso", nocloud.image(nocloud.files(spec)))
        pool.touch(f"{spec.instance_id}.log")
        connection.defineXML(libvirt_xml.domain(shape, spec.interfaces)).create()
    except libvirt.libvirtError:
        _take_away(connection, options, spec.instance_id)
        if not kept:
            pool.delete_all(spec.instance_id)
        raise


def _check_memory(connection: Any, size: InstanceType) -> None:
    """QEMU takes memory as the guest uses it, and the kernel ends somebody when there is none; so look first."""
    facts = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS, 0)
    left = sum(int(facts.get(name, 0)) for name in ("free", "buffers", "cached")) // 1024
    if left < size.memory_mib:
        raise LaunchFailedError(NO_ROOM, f"{left} MiB of memory are left on the hypervisor")


def end(connection: Any, options: Options, instance_id: str) -> None:
    """Ask the guest to shut down, end the domain when it has not in time, and take it away; the files stay."""
    domain = find(connection, options, instance_id)
    if domain is None:
        return
    deadline = time.monotonic() + options.shutdown_seconds
    if options.shutdown_seconds and domain.isActive():
        domain.shutdown()
        while domain.isActive() and time.monotonic() < deadline:
            time.sleep(0.2)
    _take_away(connection, options, instance_id)


def destroy(connection: Any, options: Options, instance_id: str) -> None:
    """End the domain at once and delete the files."""
    _take_away(connection, options, instance_id)
    Pool(connection, options.pool).delete_all(instance_id)


def _take_away(connection: Any, options: Options, instance_id: str) -> None:
    """Make the domain neither run nor be defined."""
    domain = find(connection, options, instance_id)
    if domain is None:
        return
    if domain.isActive():
        try:
            domain.destroy()
        except libvirt.libvirtError:
            if domain.isActive():  # it has not ended by itself meanwhile
                raise
    flags = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    if domain.isPersistent():
        domain.undefineFlags(flags | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)


def failure(error: Any) -> LaunchFailedError:
    """Return what a refused launch means to the owner of the instance."""
    text = gist(error)
    low = text.lower()
    if any(words in low for words in _ROOM_WORDS):
        return LaunchFailedError(NO_ROOM, text)
    if any(words in low for words in _IMAGE_WORDS):
        return LaunchFailedError(IMAGE_CORRUPT, text)
    return LaunchFailedError(FAILED, text)
