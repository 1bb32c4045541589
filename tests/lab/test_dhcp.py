"""Real DHCP clients inside instances whose addresses have been taken away."""

import contextlib
import json
import signal
import subprocess
import time

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from topologies.frames import send

pytestmark = pytest.mark.lab

DEVICE = "eth0"
#: What both clients run when something has happened: do as they are told, then note it: what is noted is done.
NOTE = 'echo "$1 $ip $mask $router $mtu $hostname $domain $lease $serverid" >> {notes}'
APPLY = """\
case "$1" in
deconfig) ip address flush dev eth0; ip link set eth0 up ;;
bound | renew)
    ip link set eth0 mtu "$mtu"
    ip address replace "$ip/$mask" dev eth0
    ip route replace default via "$router" dev eth0 ;;
esac
"""
DHCLIENT = """\
#!/bin/sh
ip=$new_ip_address mask=$new_subnet_mask router=$new_routers mtu=$new_interface_mtu hostname=$new_host_name
domain=$new_domain_name lease=$new_dhcp_lease_time serverid=$new_dhcp_server_identifier
set -- "$(echo "$reason" | tr A-Z a-z)"
case "$1" in preinit) exit 0 ;; reboot) set -- bound ;; esac
"""
OLD_LEASE = """\
lease {{
  interface "eth0";
  fixed-address {address};
  option subnet-mask 255.255.240.0;
  option routers 172.31.0.1;
  option dhcp-lease-time 3600;
  option dhcp-server-identifier 172.31.0.1;
  renew 5 2035/01/05 00:00:00;
  rebind 5 2035/01/05 00:00:00;
  expire 5 2035/01/05 00:00:00;
}}
"""


class Client:
    """A DHCP client in an instance and what it has been told."""

    def __init__(self, guest, folder):
        self.guest, self.folder = guest, folder
        self.notes, self.script = folder / "notes", folder / "script"
        self.process = None

    def bare(self):
        """Take away what the instance was given without DHCP."""
        self.guest.inside.run("ip", "address", "flush", "dev", DEVICE)
        self.guest.inside.run("ip", "link", "set", DEVICE, "mtu", "1280")
        assert self.address() == (None, 1280)
        self.notes.write_text("")

    def udhcpc(self, *more):
        self._script("#!/bin/sh\n")
        self._start("udhcpc", "-f", "-i", DEVICE, "-s", str(self.script), "-t", "10", "-T", "1", *more)

    def dhclient(self, remembered):
        """The other client, which begins with an address that it had."""
        self._script(DHCLIENT)
        leases = self.folder / "leases"
        leases.write_text(OLD_LEASE.format(address=remembered))
        files = ("-lf", str(leases), "-pf", str(self.folder / "pid"), "-cf", "/dev/null", "-sf", str(self.script))
        self._start("dhclient", "-d", "-4", *files, DEVICE)

    def renew(self):
        self.process.send_signal(signal.SIGUSR1)

    def heard(self, kind):
        """Every word of that kind: address, prefix length, router, MTU, host name, domain, lease, server."""
        lines = [line.split() for line in self.notes.read_text().splitlines()]
        return [words[1:] for words in lines if words[0] == kind]

    def address(self):
        """The instance's address and MTU."""
        shown = json.loads(self.guest.inside.run("ip", "-json", "-4", "address", "show", "dev", DEVICE).stdout or "[]")
        link = json.loads(self.guest.inside.run("ip", "-json", "link", "show", "dev", DEVICE).stdout)[0]
        addresses = [f"{info['local']}/{info['prefixlen']}" for one in shown for info in one.get("addr_info", ())]
        return (addresses[0] if addresses else None), link["mtu"]

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _script(self, head):
        self.script.write_text(f"{head}{APPLY}{NOTE.format(notes=self.notes)}\n")
        self.script.chmod(0o755)

    def _start(self, *command):
        inside = ("ip", "netns", "exec", self.guest.inside.namespace, *command)
        log = (self.folder / "log").open("w")
        with log:
            self.process = subprocess.Popen(inside, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def said(self):
        """The client's own log."""
        return (self.folder / "log").read_text()


@pytest.fixture
def client(tmp_path):
    """Makes clients and ends them."""
    with contextlib.ExitStack() as stack:

        def make(guest):
            folder = tmp_path / guest.id
            folder.mkdir()
            made = Client(guest, folder)
            stack.callback(made.stop)
            return made

        yield make


@pytest.fixture
def shut_group(world):
    """A group that lets nothing out, and one port in: DHCP needs no rule."""
    group = world.group("dhcp", shut=True)
    world.allow(group, "tcp", 80)
    return group


def expected(guest, mask="20"):
    name = f"ip-{guest.private_ip.replace('.', '-')}"
    return [guest.private_ip, mask, "172.31.0.1", "1500", name, "ec2.internal", "3600", "172.31.0.1"]


def count(world, what):
    """Packets of h1 before the controller: how many came, or were refused."""
    return next(one for one in world.cloud.status()["hosts"] if one["name"] == "h1")[what]


def test_an_unmodified_image_gets_its_address_and_renews_it(world, shut_group, client, wait_until, outside_ip):
    guest = world.launch([shut_group], host="h1")
    public, _ = world.address(guest)
    one = client(guest)
    one.bare()
    one.udhcpc()
    assert wait_until(lambda: one.heard("bound"), 30), one.said()
    assert one.heard("bound") == [expected(guest)]
    assert one.address() == (f"{guest.private_ip}/20", 1500)
    assert "default via 172.31.0.1" in guest.inside.run("ip", "route").stdout
    assert world.cloud.outside.fetch(public) == f"{guest.id} saw {outside_ip}"

    one.renew()
    assert wait_until(lambda: one.heard("renew"), 30), one.said()
    assert one.heard("renew") == [expected(guest)]


def test_a_lease_outlives_the_controller_and_is_renewed_by_its_successor(
    world, shut_group, client, wait_until, outside_ip
):
    guest = world.launch([shut_group], host="h1")
    public, _ = world.address(guest)
    one = client(guest)
    one.bare()
    one.udhcpc()
    assert wait_until(lambda: one.heard("bound"), 30), one.said()
    cloud = world.cloud
    cloud.kill("controller")
    one.renew()
    assert cloud.outside.fetch(public) == f"{guest.id} saw {outside_ip}"
    assert not one.heard("renew")
    assert one.address() == (f"{guest.private_ip}/20", 1500)
    cloud.restart("controller")
    cloud.await_ready()
    one.renew()
    assert wait_until(lambda: one.heard("renew"), 30), one.said()
    assert one.heard("renew")[0] == expected(guest)
    assert not one.heard("nak")


def test_who_asks_for_anothers_address_is_refused_and_gets_its_own(world, shut_group, client, wait_until):
    guest, other = world.launch([shut_group], host="h1"), world.launch([shut_group], host="h1")
    one = client(guest)
    one.bare()
    one.dhclient(remembered=other.private_ip)
    assert wait_until(lambda: one.heard("bound"), 30), one.said()
    assert f"DHCPREQUEST for {other.private_ip}" in one.said()
    assert "DHCPNAK from 172.31.0.1" in one.said()
    assert one.heard("bound") == [expected(guest, mask="255.255.240.0")]
    assert one.address() == (f"{guest.private_ip}/20", 1500)


def test_a_flood_costs_its_sender_alone(world, shut_group, client, wait_until):
    flooder, neighbour = world.launch([shut_group], host="h1"), world.launch([shut_group], host="h1")
    one = client(neighbour)
    one.bare()
    mac = bytes.fromhex(flooder.mac.replace(":", ""))
    flood = [
        bytes(
            Ether(src=flooder.mac, dst="ff:ff:ff:ff:ff:ff")
            / IP(src="0.0.0.0", dst="255.255.255.255")
            / UDP(sport=68, dport=67)
            / BOOTP(xid=number, chaddr=mac)
            / DHCP(options=[("message-type", "discover"), "end"])
        )
        for number in range(4000)
    ]
    before, start = count(world, "packet_ins"), time.monotonic()
    send(flooder.inside, DEVICE, flood[:2000])
    one.udhcpc()
    send(flooder.inside, DEVICE, flood[2000:])
    assert wait_until(lambda: one.heard("bound"), 30), one.said()
    assert one.heard("bound") == [expected(neighbour)]
    seconds = time.monotonic() - start
    # The flooder's burst and its 100 a second, and the few packets of the neighbour.
    assert 100 <= count(world, "packet_ins") - before <= 100 + 100 * seconds + 20


def test_who_pretends_to_be_another_gets_nothing(world, shut_group, wait_until):
    guest, victim = world.launch([shut_group], host="h1"), world.launch([shut_group], host="h1")
    before = count(world, "packet_ins"), count(world, "refused")
    client_mac = bytes.fromhex(victim.mac.replace(":", ""))

    def discover(mac, source):
        head = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / IP(src=source, dst="255.255.255.255")
        body = BOOTP(xid=9, chaddr=client_mac) / DHCP(options=[("message-type", "discover"), "end"])
        return bytes(head / UDP(sport=68, dport=67) / body)

    # A foreign MAC or address gets no further than SPOOF; only the last one comes before the controller, in vain.
    frames = [discover(victim.mac, "0.0.0.0"), discover(guest.mac, victim.private_ip), discover(guest.mac, "0.0.0.0")]
    send(guest.inside, DEVICE, frames)
    assert wait_until(lambda: count(world, "refused") > before[1])
    assert (count(world, "packet_ins"), count(world, "refused")) == (before[0] + 1, before[1] + 1)
