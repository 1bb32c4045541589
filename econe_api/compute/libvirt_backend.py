"""The libvirt backend: an instance is a virtual machine on one of several hypervisors, reached by connection URI.

A machine is a domain ``<prefix>-<instance id>`` whose files are in a storage pool of its hypervisor
(:mod:`econe_api.compute.libvirt_storage`) and whose taps are ports of the hypervisor's bridge.  The domain says whether
an instance is there: stopping takes it away and leaves the disk.  Nothing is kept here that they do not know.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import libvirt

from econe_api.compute import libvirt_domains as domains
from econe_api.compute import libvirt_xml
from econe_api.compute.backend import (
    BackendUnavailableError,
    Condition,
    Console,
    InterfaceSpec,
    LaunchFailedError,
    LaunchSpec,
    ObservedInstance,
)
from econe_api.compute.libvirt_host import LibvirtHost, Options, gist
from econe_api.compute.libvirt_storage import Pool
from econe_api.compute.libvirt_xml import Machine
from econe_api.config import Config, ConfigError, InstanceType
from econe_api.images import library
from econe_api.images.qcow2 import ImageError

_SILENT_SECONDS, _LIST_SECONDS, _CALL_SECONDS, _BOOT_SECONDS, _COPY_SECONDS = 1.0, 5.0, 20.0, 60.0, 3600.0
OFF_SECONDS = 10.0
"""How long a machine is off before it counts as shut down by itself.

A host that goes down ends its machines in the same way, and then its libvirtd; that one's machines are to be started
again when it is back.
"""
_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG


class LibvirtBackend:
    """Implements :class:`econe_api.compute.backend.ComputeBackend`."""

    def __init__(self, hosts: Iterable[Options], sizes: Iterable[InstanceType], images: library.Library) -> None:
        """``images`` is where the images' files are on this machine; nothing is connected yet."""
        self._hosts = {options.name: LibvirtHost(options) for options in hosts}
        self._sizes = {size.name: size for size in sizes}
        self._images = images
        self._copying: dict[tuple[str, str], threading.Lock] = {}
        self._copying_lock = threading.Lock()
        self._seen_on: dict[str, str] = {}
        self._off_since: dict[tuple[str, str], float] = {}  # (host, instance) -> when it was first seen so, monotonic

    @classmethod
    def from_config(cls, config: Config) -> LibvirtBackend:
        """Return the backend of a configuration; ConfigError when it cannot work with it."""
        hosts = [Options.of(hypervisor) for hypervisor in config.hypervisors]
        if not hosts:
            raise ConfigError("compute.backend 'libvirt' needs a [[hypervisor]] with options.uri")
        return cls(hosts, config.instance_types, library.Library.of(config))

    def launch(self, spec: LaunchSpec) -> None:
        """Define the domain and start it; what is left of an earlier try goes, but for the disk."""
        host = self._host(spec.host)
        size = self._sizes.get(spec.instance_type)
        if size is None:
            raise LaunchFailedError(domains.FAILED, f"there is no instance type {spec.instance_type} any more")
        if self._ask(host, partial(domains.runs, options=host.options, instance_id=spec.instance_id)):
            return
        # A machine that has run before has a disk of its own, whatever has become of its image.
        kept = self._ask(host, partial(domains.has_disk, options=host.options, instance_id=spec.instance_id))
        disk = 0 if kept else self._provide_image(host, spec.image)
        boot = partial(domains.boot, options=host.options, spec=spec, size=size, disk=disk)
        try:
            host.call(boot, _BOOT_SECONDS)
        except libvirt.libvirtError as error:
            raise domains.failure(error) from error

    def stop(self, instance_id: str, host: str) -> None:
        """Ask the guest to shut down, end the domain when it has not done so in time, and take it away."""
        for each in self._candidates(host, instance_id):
            seconds = each.options.shutdown_seconds
            self._ask(each, partial(domains.end, options=each.options, instance_id=instance_id), seconds)

    def reboot(self, spec: LaunchSpec) -> None:
        """Press the machine's reset button; its taps stay."""
        host = self._host(spec.host)

        def reset(connection: Any) -> bool:
            domain = domains.find(connection, host.options, spec.instance_id)
            if domain is None or domain.state()[0] not in domains.RUNS:
                return False
            domain.reset(0)
            return True

        if not self._ask(host, reset):
            self.launch(spec)

    def terminate(self, instance_id: str, host: str) -> None:
        """End the domain at once and delete its files; with a ``host`` that is not known, on all hosts."""
        for each in self._candidates(host, instance_id):
            self._ask(each, partial(domains.destroy, options=each.options, instance_id=instance_id))

    def console(self, instance_id: str) -> Console | None:
        """Read the end of the file that the hypervisor writes of the serial port."""
        first = self._seen_on.get(instance_id, "")
        for host in sorted(self._hosts.values(), key=lambda host: (host.name != first, host.name)):
            try:
                tail = partial(_tail, pool=host.options.pool, instance_id=instance_id)
                found = host.call(tail, _LIST_SECONDS)
            except (libvirt.libvirtError, BackendUnavailableError, ValueError):
                continue
            if found is not None:
                return found
        return None

    def attach(self, spec: LaunchSpec, interface: InterfaceSpec) -> None:
        """Plug a network card into the machine that runs."""
        host = self._host(spec.host)

        def plug(connection: Any) -> None:
            domain = domains.existing(connection, host.options, spec.instance_id)
            if interface.mac.lower() not in libvirt_xml.macs(domain.XMLDesc(0)):
                machine = self._machine(host.options, spec, "/")
                domain.attachDeviceFlags(libvirt_xml.interface(machine, interface), _LIVE)

        self._ask(host, plug)

    def detach(self, spec: LaunchSpec, interface: InterfaceSpec) -> None:
        """Take a network card out; the guest has to let go of it."""
        host = self._host(spec.host)

        def unplug(connection: Any) -> None:
            domain = domains.find(connection, host.options, spec.instance_id)
            if domain is None or interface.mac.lower() not in libvirt_xml.macs(domain.XMLDesc(0)):
                return
            machine = self._machine(host.options, spec, "/")
            domain.detachDeviceFlags(libvirt_xml.interface(machine, interface), _LIVE)
            deadline = time.monotonic() + _CALL_SECONDS / 2
            while interface.mac.lower() in libvirt_xml.macs(domain.XMLDesc(0)):
                if time.monotonic() > deadline:
                    raise BackendUnavailableError(f"{spec.instance_id} does not let go of {interface.id}")
                time.sleep(0.1)

        self._ask(host, unplug)

    def list(self) -> Mapping[str, ObservedInstance]:
        """Ask all hosts at once; instances of those that do not answer are not in it, and cannot be acted upon.

        Raises BackendUnavailableError when none answers.
        """
        begun, faults = [], []
        for host in self._hosts.values():
            try:
                begun.append((host, host.begin(partial(domains.all_of, options=host.options))))
            except BackendUnavailableError as error:
                faults.append(str(error))
        observed: dict[str, ObservedInstance] = {}
        off_since: dict[tuple[str, str], float] = {}
        start = time.monotonic()
        for host, answer in begun:
            # One that was silent the last time is not waited for as long: everybody else waits with us.
            seconds = _SILENT_SECONDS if host.fault else _LIST_SECONDS
            try:
                found = host.wait(answer, max(0.1, start + seconds - time.monotonic()))
            except (BackendUnavailableError, libvirt.libvirtError) as error:
                faults.append(gist(error))
                continue
            except Exception as error:
                faults.append(f"hypervisor {host.name} does not answer sensibly: {gist(error)}")
                continue
            for instance_id, state in found.items():
                seen = ObservedInstance(instance_id, host.name, state)
                if state is Condition.STOPPED:
                    known = (host.name, instance_id)
                    off_since[known] = self._off_since.get(known, start)
                    seen = _off(seen, start - off_since[known])
                if instance_id not in observed or state is Condition.RUNNING:
                    observed[instance_id] = seen
        if faults and len(faults) == len(self._hosts):
            raise BackendUnavailableError("; ".join(faults))
        self._off_since = off_since
        self._seen_on = {name: seen.host for name, seen in observed.items()}
        return observed

    def problems(self) -> Sequence[str]:
        """What keeps hypervisors from being asked, one line each."""
        return [fault for host in self._hosts.values() if (fault := host.fault)]

    def _host(self, name: str) -> LibvirtHost:
        host = self._hosts.get(name)
        if host is None:
            raise BackendUnavailableError(f"hypervisor {name} is not in the configuration")
        return host

    def _candidates(self, name: str, instance_id: str) -> Sequence[LibvirtHost]:
        """The host ``name``, and the one where the instance was seen last if somebody has moved it; else all."""
        if name not in self._hosts:
            return list(self._hosts.values())
        return [self._hosts[each] for each in dict.fromkeys([name, self._seen_on.get(instance_id, name)])]

    def _ask(self, host: LibvirtHost, work: Any, seconds: float = 0.0) -> Any:
        """Do work whose failure is no verdict on the instance."""
        try:
            return host.call(work, _CALL_SECONDS + seconds)
        except (libvirt.libvirtError, ValueError) as error:
            text = f"hypervisor {host.name}: {gist(error)}"
            if isinstance(error, libvirt.libvirtError) and error.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_POOL:
                pool = host.options.pool
                text += (
                    f"; make it there: virsh pool-define-as {pool} dir --target DIRECTORY; virsh pool-autostart {pool}"
                )
            raise BackendUnavailableError(text) from error

    def _machine(self, options: Options, spec: LaunchSpec, folder: str) -> Machine:
        return domains.machine(options, spec, self._sizes.get(spec.instance_type) or InstanceType("", 1, 1), folder)

    def _provide_image(self, host: LibvirtHost, image: str) -> int:
        """See that the host has the image, and return the size of its disk in bytes."""
        try:
            file, disk = self._images.find(image)
        except FileNotFoundError as error:
            raise LaunchFailedError(domains.IMAGE_MISSING, f"the image {image} is not there") from error
        except (ImageError, OSError) as error:
            raise LaunchFailedError(
                domains.IMAGE_CORRUPT, f"the image {image} cannot be used: {gist(error)}"
            ) from error
        with self._copying_lock:
            lock = self._copying.setdefault((host.name, image), threading.Lock())
        with lock:
            self._copy_image(host, image, file)
        return disk.size

    def _copy_image(self, host: LibvirtHost, image: str, file: Path) -> None:
        options = host.options
        try:
            if not host.call(lambda connection: Pool(connection, options.pool).has_image(image), _CALL_SECONDS):
                host.call(lambda connection: Pool(connection, options.pool).put_image(image, file), _COPY_SECONDS)
        except libvirt.libvirtError as error:
            raise domains.failure(error) from error
        except OSError as error:
            raise LaunchFailedError(domains.IMAGE_CORRUPT, f"the image {image} cannot be read: {error}") from error


def _off(seen: ObservedInstance, seconds: float) -> ObservedInstance:
    """One that is off by itself, for ``seconds``."""
    if seconds < OFF_SECONDS:
        return replace(seen, state=Condition.UNDER_WAY)
    return replace(seen, by_guest=True)


def _tail(connection: Any, pool: str, instance_id: str) -> Console | None:
    return Pool(connection, pool).tail(f"{instance_id}.log")
