"""OpenNebula's network driver for Sluice: what runs on the hypervisor, as oneadmin.  Python 3.7 and nothing else.

It plugs taps into the bridge that Sluice's agent keeps, and asks that agent, on a unix socket, for everything else:
which interface a tap is, and whether its flows are on the switch.  Exit status 0 only when that is so.
"""

import base64
import configparser
import contextlib
import fcntl
import json
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

DRIVER = "sluice"
TAP = re.compile(r"one-\d{1,10}-\d{1,5}")
CHANGEABLE = {"MTU"}


class DriverError(Exception):
    """The action failed; the text is one line for the machine's owner."""


class Settings:
    """What ``sluice.conf`` beside this file says."""

    def __init__(self, path):
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(path)
        said = parser["sluice"] if parser.has_section("sluice") else {}
        self.socket = said.get("socket", "/run/sluice/driver.sock")
        self.vsctl = shlex.split(said.get("ovs_vsctl", "sudo -n ovs-vsctl"))
        self.timeout = float(said.get("timeout", "30"))
        self.spool = Path(said.get("spool", "~/.sluice-vnm")).expanduser()


class Spool:
    """What could not be forgotten because nobody answered: documents in files, until the controller is back."""

    def __init__(self, folder):
        self.folder = folder

    @contextlib.contextmanager
    def held(self):
        """Keep other calls of the driver from forgetting, or bringing back, a machine at the same time."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def keep(self, name, document):
        """Note that a machine, or one of its NICs, is still to be forgotten."""
        with self.held():
            fresh = self.folder / f".{name}"
            fresh.write_text(document)
            fresh.replace(self.folder / f"{name}.gone")

    def drop(self, machine, nics):
        """A machine is back, with these NICs: they are not to be forgotten any more."""
        for name in (machine, *(f"{machine}-{nic.number}" for nic in nics)):
            with contextlib.suppress(FileNotFoundError):
                (self.folder / f"{name}.gone").unlink()

    def empty(self, forget):
        """Hand every document to ``forget``; those that it returns from are done with."""
        for path in sorted(self.folder.glob("*.gone")):
            forget(path.read_text())
            path.unlink()


class Nic:
    """A NIC of ours that the action is about."""

    def __init__(self, machine, element):
        self.number = element.findtext("NIC_ID", "").strip()
        self.tap = element.findtext("TARGET", "").strip() or f"one-{machine}-{self.number}"
        self.bridge = element.findtext("BRIDGE", "").strip()
        self.network = element.findtext("NETWORK_ID", "").strip()
        self.mtu = element.findtext("MTU", "").strip()
        if not TAP.fullmatch(self.tap):
            raise DriverError(f"NIC {self.number} has the device {self.tap!r}, which is not OpenNebula's one-VM-NIC")


class Action:
    """One call of the driver: ``text`` is what came on standard input."""

    def __init__(self, settings, text):
        self.settings = settings
        self.spool = Spool(settings.spool)
        self.deadline = time.monotonic() + settings.timeout
        self.document = "".join(text.split())
        try:
            raw = base64.b64decode(self.document, validate=True)
            if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
                raise ValueError("it has a type definition")
            self.root = ElementTree.fromstring(raw)  # noqa: S314 - entities are refused above
        except (ValueError, ElementTree.ParseError) as error:
            raise DriverError(f"standard input is no VM document in base64: {error}") from None
        moving = [
            element
            for kind in ("NIC", "NIC_ALIAS", "PCI")
            for element in self.root.findall(f"TEMPLATE/{kind}")
            if element.findtext("ATTACH", "").strip().upper() == "YES"
        ]
        self.machine = self.root.findtext("ID", "").strip()
        self.parting = self.machine + "".join(f"-{one.findtext('NIC_ID', '').strip()}" for one in moving)
        mine = [nic for nic in self.root.findall("TEMPLATE/NIC") if nic.findtext("VN_MAD", "").strip() == DRIVER]
        # While one interface comes or goes, the others are none of this action's business.
        self.nics = [Nic(self.machine, nic) for nic in mine if not moving or nic in moving]

    def pre(self, _arguments):
        """See that the bridge is ours and that the machine's groups can be taken over; change nothing."""
        if not self.nics:
            return
        bridge = self.ask({"op": "about"})["bridge"]
        for nic in self.nics:
            if nic.bridge != bridge:
                raise DriverError(
                    f"virtual network {nic.network} is on bridge {nic.bridge or '(none)'}, Sluice keeps {bridge} here: "
                    f"set BRIDGE={bridge} of the network"
                )
        self.ask({"op": "check", "document": self.document})
        with self.spool.held():
            self.spool.empty(self.forget)

    def post(self, _arguments):
        """Plug the taps in, and wait until the switch filters them; on any failure they are unplugged."""
        if not self.nics:
            return
        try:
            with self.spool.held():
                self.spool.drop(self.machine, self.nics)
            taken = self.ask({"op": "take-over", "document": self.document})
            bridge = self.ask({"op": "about"})["bridge"]
            for port in taken["ports"]:
                self.plug(bridge, port)
            self.await_filtered(taken)
        except Exception:
            self.unplug()
            raise

    def clean(self, arguments):
        """Unplug the taps, and forget the machine unless it has only moved to another host."""
        self.unplug()
        hosts = [element.text for element in self.root.findall("HISTORY_RECORDS/HISTORY/HOSTNAME")]
        if not self.nics or (arguments and hosts and hosts[-1] != arguments[0]):
            return
        try:
            gone = self.forget(self.document)
        except DriverError as error:
            # Nothing reaches an unplugged tap, and a machine that has ended is not to be kept for this.
            self.spool.keep(self.parting, self.document)
            log(f"unplugged; will be forgotten with the next machine that starts here ({error})")
            return
        try:
            self.ask({"op": "filtered", "revision": gone["revision"], "interfaces": [], "timeout": self.left()})
        except DriverError as error:
            log(f"unplugged and forgotten, but its flows may still be there ({error})")

    def update_sg(self, _arguments):
        """Have the groups that the document has now enforced; on failure the former ones stay in force."""
        if self.nics:
            self.await_filtered(self.ask({"op": "take-over", "document": self.document}))

    def update_nic(self, arguments):
        """Take over a changed virtual network: of what a NIC has from it, the MTU alone is the driver's to change."""
        changed = {element.tag for update in self.root.findall("TEMPLATE/VNET_UPDATE") for element in update}
        strange = sorted(changed - CHANGEABLE)
        if strange:
            raise DriverError(
                f"{', '.join(strange)} of a network cannot be changed under Sluice; machines stay as they are"
            )
        for nic in self.nics:
            if "MTU" in changed and nic.network == arguments[1] and nic.mtu.isdigit():
                self.vsctl("set", "Interface", nic.tap, f"mtu_request={nic.mtu}")

    def forget(self, document):
        """Have the store forget what a document says has gone."""
        return self.ask({"op": "forget", "document": document})

    def plug(self, bridge, port):
        """Put a tap on the bridge under the name of its interface."""
        tap = port["tap"]
        ids = {"iface-id": port["interface"], "attached-mac": port["mac"], "vm-id": port["instance"]}
        words = [f'external_ids:{name}="{value}"' for name, value in ids.items()]
        self.vsctl("--may-exist", "add-port", bridge, tap, "--", "set", "Interface", tap, *words)
        number = self.vsctl("get", "Interface", tap, "ofport").strip()
        if not number.isdigit():
            raise DriverError(f"there is no device {tap} to plug into {bridge}")

    def unplug(self):
        """Take the taps off the bridge."""
        for nic in self.nics:
            self.vsctl("--if-exists", "del-port", nic.tap)

    def await_filtered(self, taken):
        """Wait until the switch has the flows of what has been taken over."""
        interfaces = [port["interface"] for port in taken["ports"]]
        question = {"op": "filtered", "revision": taken["revision"], "interfaces": interfaces}
        self.ask({**question, "timeout": self.left()})

    def left(self):
        """Seconds that are left; what is asked for ends a little before, so that its answer is heard."""
        return max(0.0, min(60.0, self.deadline - time.monotonic() - 0.5))

    def vsctl(self, *words):
        """Return what ovs-vsctl prints; DriverError when it fails."""
        command = [*self.settings.vsctl, f"--timeout={max(2, int(self.left()))}", *words]
        try:
            done = subprocess.run(command, capture_output=True, check=False)
        except OSError as error:
            raise DriverError(f"{command[0]} cannot be run: {error.strerror}") from None
        if done.returncode != 0:
            said = " ".join(done.stderr.decode(errors="replace").split())
            raise DriverError(f"ovs-vsctl {' '.join(words[:3])}: {said}")
        return done.stdout.decode()

    def ask(self, question):
        """Return the agent's answer; DriverError when there is none in time, and when it is a refusal."""
        answer = b""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
                agent.settimeout(max(0.5, self.deadline - time.monotonic()))
                agent.connect(self.settings.socket)
                agent.sendall(json.dumps(question).encode() + b"\n")
                while not answer.endswith(b"\n"):
                    agent.settimeout(max(0.1, self.deadline - time.monotonic()))
                    data = agent.recv(65536)
                    if not data:
                        break
                    answer += data
        except TimeoutError:
            raise DriverError(f"Sluice's agent gave no answer within {self.settings.timeout:g} s") from None
        except OSError as error:
            raise DriverError(
                f"Sluice's agent does not listen at {self.settings.socket} ({error.strerror}): start it with "
                "--driver-socket"
            ) from None
        try:
            said = json.loads(answer)
        except ValueError:
            raise DriverError("Sluice's agent ended in the middle of its answer") from None
        if said.get("ok") is not True:
            raise DriverError(str(said.get("error")))
        return said


def log(text):
    """Say something that OpenNebula writes into the machine's log."""
    sys.stderr.write(f"{DRIVER}: {text}\n")


def main(arguments):
    """Do one action; return the exit status."""
    settings = Settings(Path(__file__).with_name("sluice.conf"))
    try:
        action = Action(settings, sys.stdin.read())
        getattr(action, arguments[0])(arguments[1:])
    except (DriverError, OSError) as error:
        log(f"{arguments[0]}: {error}")
        # What stands between these lines becomes the machine's ERROR attribute.
        sys.stderr.write(f"ERROR MESSAGE --8<------\n{DRIVER}: {error}\nERROR MESSAGE ------>8--\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
