"""``python -m econe_api`` on a real port, with the clients that people use."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import boto.ec2.connection
import boto.regioninfo
import boto3
import pytest
from botocore.config import Config as ClientConfig
from botocore.exceptions import ClientError

from econe_api.__main__ import main
from econe_api.server import ServerError, listen, url


def client_of(api: Any, **options: Any) -> Any:
    return boto3.client(
        "ec2",
        endpoint_url=api.url,
        region_name="us-east-1",
        aws_access_key_id=api.account.access_key_id,
        aws_secret_access_key=options.get("secret", api.account.secret),
        config=ClientConfig(retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def client(api: Any) -> Iterator[Any]:
    made = client_of(api)
    yield made
    made.close()


class BotoV2(boto.ec2.connection.EC2Connection):
    """boto 2 as releases before 2.35 signed."""

    def _required_auth_capability(self) -> list[str]:
        return ["ec2"]


def boto_of(api: Any, kind: type[Any]) -> Any:
    return kind(
        aws_access_key_id=api.account.access_key_id,
        aws_secret_access_key=api.account.secret,
        is_secure=False,
        port=api.port,
        path="/services/Cloud/",
        region=boto.regioninfo.RegionInfo(name="sluice", endpoint="127.0.0.1"),
    )


def test_boto3(api: Any, client: Any) -> None:
    created = client.create_security_group(GroupName="web & &lt;", Description="for the web")
    assert re.fullmatch(r"sg-[0-9a-f]{17}", created["GroupId"])
    permission = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    opened = client.authorize_security_group_ingress(GroupId=created["GroupId"], IpPermissions=[permission])
    assert opened["Return"] is True
    [group] = client.describe_security_groups(GroupIds=[created["GroupId"]])["SecurityGroups"]
    assert group["IpPermissions"][0]["IpRanges"] == [{"CidrIp": "0.0.0.0/0"}]
    assert group["IpPermissions"][0]["UserIdGroupPairs"] == []
    with pytest.raises(ClientError) as caught:
        client.authorize_security_group_ingress(GroupId=created["GroupId"], IpPermissions=[permission])
    assert caught.value.response["Error"]["Code"] == "InvalidPermission.Duplicate"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_boto3_with_a_wrong_secret(api: Any) -> None:
    with closing(client_of(api, secret="wrong")) as forger, pytest.raises(ClientError) as caught:
        forger.describe_regions()
    assert caught.value.response["Error"]["Code"] == "AuthFailure"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 401


@pytest.mark.parametrize("kind", [boto.ec2.connection.EC2Connection, BotoV2])
def test_boto_2(api: Any, kind: type[Any]) -> None:
    connection = boto_of(api, kind)
    group = connection.create_security_group("apache", "Our Apache Group")
    assert group.id.startswith("sg-")
    assert group.authorize("tcp", 80, 80, "0.0.0.0/0") is True
    [read] = connection.get_all_security_groups(filters={"group-name": "apache"})
    assert [(rule.ip_protocol, rule.from_port, rule.to_port) for rule in read.rules] == [("tcp", "80", "80")]
    assert [region.name for region in connection.get_all_regions()] == ["us-east-1"]
    assert connection.delete_security_group(group_id=group.id) is True
    with pytest.raises(boto.exception.EC2ResponseError) as caught:
        connection.get_all_security_groups(group_ids=[group.id])
    assert caught.value.status == 400
    assert caught.value.error_code == "InvalidGroup.NotFound"


@pytest.mark.parametrize("verb", ["GET", "POST"])
@pytest.mark.parametrize("digest", ["HmacSHA1", "HmacSHA256"])
def test_signature_version_2(api: Any, verb: str, digest: str) -> None:
    connection = boto_of(api, BotoV2)
    if digest == "HmacSHA1":
        connection._auth_handler._hmac_256 = None
    response = connection.make_request("DescribeRegions", {}, "/", verb)
    assert response.status == 200, response.read()
    assert b"regionInfo" in response.read()


def test_connections_stay_open_also_after_errors(api: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=10)
    with closing(connection):
        connection.connect()
        port = connection.sock.getsockname()[1]
        for _ in range(3):
            connection.request("POST", "/", "Action=DescribeRegions", {"Content-Type": "text/plain"})
            response = connection.getresponse()
            assert response.status == 400
            assert b"MissingParameter" in response.read()
            assert connection.sock.getsockname()[1] == port


def test_silent_clients_hold_no_thread(api: Any, client: Any) -> None:
    idle = [socket.create_connection(("127.0.0.1", api.port)) for _ in range(100)]
    try:
        started = time.monotonic()
        client.describe_regions()
        assert time.monotonic() - started < 3
    finally:
        for peer in idle:
            peer.close()


@pytest.mark.parametrize("request_deadline", [1.0])
def test_slow_clients_are_shown_the_door(api: Any, client: Any) -> None:
    """More of them than there are threads: each trickles, none is waited for longer than the deadline."""
    starts = [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nA", b"POST / HTTP/1.1\r\nHo"]
    slow = [socket.create_connection(("127.0.0.1", api.port), timeout=10) for _ in range(20)]
    try:
        for index, peer in enumerate(slow):
            peer.sendall(starts[index % 2])
        assert client.describe_regions()["Regions"]
        for peer in slow:
            assert peer.recv(65536)[:12] in (b"", b"HTTP/1.1 400")
    finally:
        for peer in slow:
            peer.close()
    assert "Traceback" not in api.log.read_text()


def test_hostile_bytes(api: Any, client: Any) -> None:
    texts = [
        b"\x00\x01\x02\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\nA=1",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n\r\n",
        b"GET /?" + b"a&" * 3000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /?%00=%ff HTTP/1.1\r\nHost: x\r\nX-Amz-Date: \xff\xfe\r\nAuthorization: AWS4-HMAC-SHA256 x\r\n\r\n",
    ]
    for data in texts:
        with closing(socket.create_connection(("127.0.0.1", api.port), timeout=10)) as peer:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            answer = peer.recv(65536)
            assert re.match(rb"HTTP/1.1 4\d\d ", answer), (data[:80], answer)
    assert client.describe_regions()["Regions"]
    assert "Traceback" not in api.log.read_text()


@pytest.mark.parametrize("api_settings", ["", "workers = 3"])
def test_many_at_once(api: Any) -> None:
    def create(index: int) -> str:
        with closing(client_of(api)) as client:
            return str(client.create_security_group(GroupName=f"g{index}", Description="d")["GroupId"])

    with ThreadPoolExecutor(12) as pool:
        assert len(set(pool.map(create, range(24)))) == 24


def test_it_ends_with_the_signal_and_status_0(api: Any) -> None:
    api.process.send_signal(signal.SIGINT)
    assert api.process.wait(15) == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", api.port))


class TestStart:
    """What keeps the server from starting: one line, exit status 1."""

    @pytest.fixture
    def run(self, config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
        def start(*arguments: str, document: str = f'state = "{config.state}"') -> str:
            file = tmp_path / "sluice.toml"
            file.write_text(document)
            assert main(["--config", str(file), *arguments]) == 1
            streams = capsys.readouterr()
            assert streams.out == ""
            assert streams.err.count("\n") == 1
            return streams.err

        return start

    def test_port_taken(self, run: Any) -> None:
        with closing(listen("127.0.0.1:0")) as taken:
            address = url(taken).removeprefix("http://")
            line = run("--bind", address)
        assert line.startswith(f"econe_api: cannot listen at {address}: Address already in use")

    @pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:http", "127.0.0.1:70000", "192.0.2.1:1", "x.invalid:1"])
    def test_no_address(self, run: Any, address: str) -> None:
        assert f"cannot listen at {address}: " in run("--bind", address)

    def test_wrong_configuration(self, run: Any) -> None:
        assert "colour" in run(document='colour = "red"')

    def test_state_not_writable(self, run: Any) -> None:
        assert "/proc/sluice" in run(document='state = "/proc/sluice"')

    def test_ipv6(self) -> None:
        with closing(listen("[::1]:0")) as listener:
            assert re.fullmatch(r"http://\[::1\]:\d+", url(listener))
            with pytest.raises(ServerError):
                listen(url(listener).removeprefix("http://"))

    def test_a_configuration_of_the_environment(self, tmp_path: Path) -> None:
        file = tmp_path / "wrong.toml"
        file.write_text("colour = 1")
        environment = {**os.environ, "SLUICE_CONFIG": str(file)}
        command = [sys.executable, "-m", "econe_api"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("econe_api: ")
        assert done.stderr.count("\n") == 1
