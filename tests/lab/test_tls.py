"""A cloud with mutual TLS between its machines: traffic flows, and whoever is not who he says is kept out."""

import contextlib
import ctypes
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from agents.joining import JoinError, greet, join
from agents.renewal import Renewal
from agents.report import Link
from agents.session import Backoff, Timing
from certificates import authority as ca
from certificates import contexts
from certificates.authority import CONTROLLER_NAME
from certificates.files import AuthorityFolder, HostFolder
from certificates.token import read
from channel.frames import FrameReader, pack
from econe_api.store import hosts
from econe_api.store.store import Store
from sluice.commands import cli
from topologies import layout
from topologies.cloud import Cloud, Plan
from topologies.cloud_file import AGENT_PORT, OPENFLOW_PORT

pytestmark = pytest.mark.lab

AGENTS, OPENFLOW = (layout.CONTROLLER_IP, AGENT_PORT), (layout.CONTROLLER_IP, OPENFLOW_PORT)
PATIENCE = 30
CONNECTED = ("get", "controller", "br-int", "is_connected")
_NETWORK = 0x40000000  # CLONE_NEWNET
_HELLO = bytes.fromhex("0400000800000001")


@pytest.fixture(scope="module")
def secure():
    state = Path(tempfile.mkdtemp(prefix="sluice-tls-"))
    try:
        with Cloud(Plan(f"tls{os.getpid()}", state, tls=True)) as running:
            yield running
    finally:
        shutil.rmtree(state)


@contextlib.contextmanager
def inside(cloud, host):
    """Open sockets of this process in the namespace of a hypervisor."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{cloud.lab.netns(host)}", os.O_RDONLY)
    try:
        _enter(there)
        yield
    finally:
        _enter(own)
        os.close(own)
        os.close(there)


def _enter(namespace):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _NETWORK):
        raise OSError(ctypes.get_errno(), "setns")


def connect(cloud, where, context=None):
    """A connection from h1 to the controller, with TLS where there is a context."""
    with inside(cloud, "h1"):
        plain = socket.create_connection(where, PATIENCE)
    return plain if context is None else context.wrap_socket(plain, server_hostname=CONTROLLER_NAME)


def ended(connection):
    """Does the other side end the connection?  What it says before does not count."""
    try:
        while connection.recv(65536):
            pass
    except (ssl.SSLError, ConnectionError):
        pass
    finally:
        connection.close()
    return True


def files(cloud, name, tmp_path, authority=None, **issued):
    """Credentials of a host as nobody has noted them in the store."""
    authority = authority or AuthorityFolder(cloud.plan.state).authority()
    key = ca.new_key()
    certificate = ca.issue(authority, name, ca.request(key, name), issued.pop("now", datetime.now(UTC)), **issued)
    own = AuthorityFolder(cloud.plan.state).authority().certificate
    return HostFolder(tmp_path / f"made-{name}").take(certificate, key, own)


def refusals(cloud):
    return [problem for problem in cloud.status()["problems"] if problem.startswith("refused:")]


def said(cloud, wait_until, *words):
    """Does status say so, in one of its refusals?"""
    return wait_until(lambda: any(all(word in one for word in words) for one in refusals(cloud)), PATIENCE)


def sluice(cloud, *arguments):
    return CliRunner().invoke(cli, ["--config", str(cloud.config_file), *arguments])


@pytest.fixture
def own(secure):
    """The certificate of h1, which is in use."""
    return HostFolder(secure.certificate("h1")).current()


def test_traffic_flows_with_tls_everywhere(secure, wait_until):
    for host in secure.hosts:
        switch = secure.hypervisor(host)
        assert switch.vsctl("get-controller", "br-int").strip() == f"ssl:{layout.CONTROLLER_IP}:{OPENFLOW_PORT}"
        assert wait_until(lambda switch=switch: switch.vsctl(*CONNECTED).strip() == "true", PATIENCE)
    ec2 = secure.ec2()
    group = ec2.create_security_group(GroupName="tls", Description="tls")["GroupId"]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    launched = ec2.run_instances(
        ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1, SecurityGroupIds=[group]
    )
    instance = launched["Instances"][0]["InstanceId"]
    state = lambda: ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]["State"]["Name"]  # noqa: E731
    assert wait_until(lambda: state() == "running", PATIENCE)
    address = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(AllocationId=address["AllocationId"], InstanceId=instance)
    ec2.authorize_security_group_ingress(GroupId=group, IpProtocol="tcp", FromPort=80, ToPort=80, CidrIp="0.0.0.0/0")
    assert wait_until(lambda: secure.outside.fetch(address["PublicIp"]).startswith(instance), PATIENCE)
    ec2.terminate_instances(InstanceIds=[instance])
    assert wait_until(lambda: state() == "terminated", PATIENCE)
    ec2.release_address(AllocationId=address["AllocationId"])
    ec2.delete_security_group(GroupId=group)


@pytest.mark.parametrize("where", [OPENFLOW, AGENTS], ids=["openflow", "agents"])
def test_plain_text_is_refused(secure, wait_until, where):
    with connect(secure, where) as plain:
        plain.sendall(_HELLO + b"GET / HTTP/1.0\r\n\r\n")
        assert ended(plain)
    assert said(secure, wait_until, "OpenFlow" if where is OPENFLOW else "agent", "speaks no TLS")


@pytest.mark.parametrize("where", [OPENFLOW, AGENTS], ids=["openflow", "agents"])
def test_a_certificate_of_another_authority_is_refused(secure, wait_until, where, tmp_path):
    other = ca.new_authority(ca.new_key(), datetime.now(UTC))
    context = contexts.client(files(secure, "h1", tmp_path, other))
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        assert ended(connect(secure, where, context))
    assert said(secure, wait_until, "OpenFlow" if where is OPENFLOW else "agent", "certificate that is not good")


def test_no_certificate_is_good_for_joining_alone(secure, wait_until):
    authority = AuthorityFolder(secure.plan.state).authority().certificate
    with connect(secure, AGENTS, contexts.newcomer(authority)) as nobody:
        nobody.sendall(pack({"type": "hello", "version": 1, "host": "h1"}))
        assert ended(nobody)
    assert said(secure, wait_until, "an agent", "shows no certificate")
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        assert ended(connect(secure, OPENFLOW, contexts.newcomer(authority)))
    assert said(secure, wait_until, "OpenFlow", "shows no certificate")


def test_a_certificate_that_the_store_does_not_list_is_refused(secure, wait_until, tmp_path):
    context = contexts.client(files(secure, "h1", tmp_path))
    assert ended(connect(secure, AGENTS, context))
    assert said(secure, wait_until, "an agent", "of h1 that was revoked")


def test_a_certificate_that_has_ended_is_refused(secure, wait_until, tmp_path):
    past = datetime.now(UTC) - timedelta(days=2)
    context = contexts.client(files(secure, "h1", tmp_path, now=past, lifetime=timedelta(days=1)))
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        assert ended(connect(secure, AGENTS, context))
    assert said(secure, wait_until, "an agent", "certificate has expired")


def test_the_name_of_another_host_is_refused(secure, wait_until, own):
    with connect(secure, AGENTS, contexts.client(own)) as liar:
        liar.sendall(pack({"type": "hello", "version": 1, "host": "h2"}))
        assert ended(liar)
    assert said(secure, wait_until, "says it is host h2", "that of h1")
    assert all(host["agent"] for host in secure.status()["hosts"])


def test_the_datapath_of_another_host_is_refused(secure, wait_until, own):
    """A second bridge of h1's Open vSwitch, which has h1's certificate, takes the datapath id of h2."""
    switch = secure.hypervisor("h1")
    thief = ("datapath_type=netdev", "fail_mode=secure", "other-config:datapath-id=0000000000000002")
    target = f"ssl:{layout.CONTROLLER_IP}:{OPENFLOW_PORT}"
    switch.vsctl("add-br", "thief", "--", "set", "bridge", "thief", *thief, "--", "set-controller", "thief", target)
    try:
        assert said(secure, wait_until, "datapath 0000000000000002", "host h2's", "certificate of h1")
        assert "flags" not in switch.ofctl("dump-flows", "thief")
        assert all(host["connected"] for host in secure.status()["hosts"])
    finally:
        switch.vsctl("del-br", "thief")


def test_a_bad_record_after_the_handshake_ends_the_connection_and_nothing_else(secure, own):
    with inside(secure, "h1"):
        plain = socket.create_connection(OPENFLOW, PATIENCE)
    with plain, contexts.client(own).wrap_socket(plain.dup(), server_hostname=CONTROLLER_NAME) as peer:
        peer.sendall(_HELLO)
        assert peer.recv(8)
        plain.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        assert ended(peer)
    assert secure.status()["ok"]


def test_half_open_handshakes_keep_nobody_waiting(secure):
    with contextlib.ExitStack() as stack:
        for where in (OPENFLOW, AGENTS):
            for number in range(100):
                half = stack.enter_context(connect(secure, where))
                half.sendall(b"\x16\x03\x01\x02\x00\x01"[: number % 7])
        with inside(secure, "h1"):
            assert greet(AGENTS, PATIENCE).openflow_port == OPENFLOW_PORT
        assert secure.status()["ok"]


def test_a_token_is_good_once_and_for_its_time(secure, tmp_path):
    def token(*arguments):
        done = sluice(secure, "host", *arguments, "--json")
        assert done.exit_code == 0, done.output
        return read(json.loads(done.output)["token"])

    replaced, good = token("add", "spare"), token("token", "spare")
    with inside(secure, "h1"):
        with pytest.raises(JoinError, match="not known here"):
            join(replaced, AGENTS, HostFolder(tmp_path / "early"))
        assert join(good, AGENTS, HostFolder(tmp_path / "one")).credentials.holder().name == "spare"
        with pytest.raises(JoinError, match="was used"):
            join(good, AGENTS, HostFolder(tmp_path / "two"))
    assert sluice(secure, "host", "add", "spare").exit_code != 0, "it has joined already"
    late = token("token", "spare")
    store = Store.open(secure.config)
    try:
        hosts.invite(store, "spare", late.digest, timedelta(seconds=-1), again=True)
    finally:
        store.close()
    with inside(secure, "h1"), pytest.raises(JoinError, match="has expired"):
        join(late, AGENTS, HostFolder(tmp_path / "three"))


def test_a_token_of_another_cloud_is_told_to_nobody(secure, tmp_path):
    token = read(secure.invite("h1"))
    other = type(token)(token.host, bytes(32), token.secret)
    with inside(secure, "h1"), pytest.raises(JoinError, match="nothing was told"):
        join(other, AGENTS, HostFolder(tmp_path))


def test_an_agent_renews_its_certificate_with_the_one_before(secure, tmp_path):
    folder = HostFolder(tmp_path)
    word = json.loads(sluice(secure, "host", "add", "renewing", "--json").output)["token"]
    with inside(secure, "h1"):
        first = join(read(word), AGENTS, folder).credentials.holder()
    renewal = Renewal(folder, "renewing", lambda: datetime.now(UTC) + timedelta(days=80))
    assert renewal.problem is not None, "ten days are left"
    timing = Timing()
    link = Link("renewing", AGENTS, timing, Backoff(timing, lambda: 0.5), None, renewal.context)
    before, deadline = renewal.files, time.monotonic() + PATIENCE
    try:
        while renewal.files == before and time.monotonic() < deadline:
            with inside(secure, "h1"):
                link.run()
            if link.ask({"type": "ping"}):  # it is connected
                renewal.run(link, time.monotonic())
            time.sleep(0.02)
    finally:
        link.close()
    second = folder.current().holder()
    assert (second.name, second.serial != first.serial) == ("renewing", True)
    with connect(secure, AGENTS, contexts.client(folder.current())) as peer:
        peer.settimeout(PATIENCE)
        peer.sendall(pack({"type": "hello", "version": 1, "host": "renewing"}) + pack({"type": "ping"}))
        assert FrameReader().feed(peer.recv(65536))[0]["type"] == "pong"


def test_a_removed_host_is_cut_and_kept_out_until_it_joins_anew(secure, wait_until):
    assert sluice(secure, "host", "drain", "h2").exit_code == 0
    listed = sluice(secure, "host", "list")
    assert "draining" in listed.output
    assert wait_until(lambda: all(one["agent"] for one in secure.status()["hosts"]), PATIENCE)
    gone = sluice(secure, "host", "remove", "h2")
    assert gone.exit_code == 0, gone.output
    assert [one["name"] for one in secure.status()["hosts"]] == ["h1"]
    assert said(secure, wait_until, "OpenFlow", "of h2, which was removed")
    assert said(secure, wait_until, "an agent", "of h2, which was removed")
    switch = secure.hypervisor("h2")
    assert wait_until(lambda: switch.vsctl(*CONNECTED).strip() == "false", PATIENCE)
    secure.join("h2", secure.invite("h2"), secure.certificate("h2"))
    secure.restart("agent h2")
    secure.await_ready()


def test_the_check_says_what_a_host_lacks(secure):
    """As its operator would call it, with the file that joining has written."""
    file = secure.certificate("h1").with_suffix(".toml")
    switch = secure.hypervisor("h1")
    file.write_text(
        f'{file.read_text()}uplink = "{layout.UPLINK}"\novsdb = "{switch.ovsdb}"\ndatapath_type = "netdev"\n'
    )
    place = ("ip", "netns", "exec", secure.lab.netns("h1"))
    command = (*place, sys.executable, "-m", "sluice", "agent", "check", "--json", "--file", str(file))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found = {one["what"]: one for one in json.loads(done.stdout)}
    assert {
        found[what]["verdict"] for what in ("ovs version", "ovs-vswitchd", "bridge", "fail mode", "controller")
    } == {"ok"}, found
    assert found["meters"]["verdict"] == found["certificate"]["verdict"] == found["clock"]["verdict"] == "ok", found
    assert (found["fabric"]["verdict"], done.returncode) == ("warn", 2)
