"""One request through the application: what is committed, what is told, what is answered."""

from __future__ import annotations

import io
import json
import logging
import time
import tracemalloc
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from econe_api.call import Action, Call
from econe_api.errors import Ec2Error
from econe_api.store.accounts import create_account
from econe_api.store.records import Kind
from econe_api.store.schema import access_keys, accounts, audit
from econe_api.store.store import Store
from econe_api.store.transaction import Transaction


def describe_regions(call: Call, txn: Transaction) -> dict[str, Any]:
    assert call.source_ip == "192.0.2.7"
    return {"Regions": [{"RegionName": txn.account, "Endpoint": name} for name in call.params.get("RegionNames", [])]}


def rename(call: Call, txn: Transaction) -> dict[str, Any]:
    """Change something that the data plane follows."""
    txn.connection.execute(update(accounts).values(name=call.params["Name"]))
    txn.touch(Kind.VPC, "vpc-1")
    return {"ImageId": "ami-1"}


def terminate(call: Call, txn: Transaction) -> dict[str, Any]:
    return {"TerminatingInstances": [{"InstanceId": name} for name in call.params["InstanceIds"]]}


def crash(call: Call, txn: Transaction) -> dict[str, Any]:
    txn.connection.execute(update(accounts).values(name="crashed"))
    raise RuntimeError("the secret of the house")


def refuse(call: Call, txn: Transaction) -> dict[str, Any]:
    txn.connection.execute(update(accounts).values(name="refused"))
    raise Ec2Error("InvalidGroup.NotFound", "The security group 'sg-1' does not exist")


def misanswer(call: Call, txn: Transaction) -> dict[str, Any]:
    txn.connection.execute(update(accounts).values(name="misanswered"))
    return {"Colour": "red"}


ACTIONS = {
    "DescribeRegions": Action(describe_regions, mutates=False),
    "CreateImage": Action(rename, mutates=True),
    "TerminateInstances": Action(
        terminate,
        mutates=True,
        settles=lambda output: [instance["InstanceId"] for instance in output["TerminatingInstances"]],
    ),
    "AllocateAddress": Action(crash, mutates=True),
    "DeleteSecurityGroup": Action(refuse, mutates=True),
    "ReleaseAddress": Action(misanswer, mutates=True),
}


@pytest.fixture
def client(client_of: Any) -> Any:
    return client_of(ACTIONS)


def account_name(store: Store) -> str:
    with store.engine.connect() as connection:
        return str(connection.scalar(select(accounts.c.name)))


def audited(store: Store) -> int:
    """Count the entries of calls that went well; refusals come by and by."""
    with store.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(audit).where(audit.c.code == "")) or 0


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/", "/services/Cloud/", "/services/compute", "/a b/é"])
def test_any_path_and_both_methods(client: Any, method: str, path: str) -> None:
    path = path.encode().decode("latin-1") if path.isascii() else "/a b/\xc3\xa9"
    fields = {"Action": "DescribeRegions", "RegionName.1": "né <&>", "Version": "2010-08-31"}
    quoted = path.replace(" ", "%20").replace("\xc3\xa9", "%C3%A9")
    environ = client.environ(fields, method, quoted)
    environ["PATH_INFO"] = path
    response = client.send(environ)
    assert response.status == 200, response.body
    assert response.headers["Content-Type"] == "text/xml;charset=UTF-8"
    text = response.body.decode()
    assert 'xmlns="http://ec2.amazonaws.com/doc/2010-08-31/"' in text
    assert f"<regionName>{client.account.account_id}</regionName><regionEndpoint>né &lt;&amp;&gt;<" in text
    assert response.headers["x-amzn-RequestId"] in text


def test_a_write_is_committed_and_told(client: Any, store: Store, config: Any, listen: Any) -> None:
    controller = listen(config.controller.socket, {"ok": True, "installed": True, "lagging": []})
    before = store.revision()
    assert client.call("CreateImage", InstanceId="i-1", Name="renamed").status == 200
    assert account_name(store) == "renamed"
    assert store.revision() == before + 1
    (heard,) = controller.heard
    request = heard.pop("request")
    assert heard == {"op": "installed", "revision": before + 1, "timeout": config.acknowledge_timeout}
    assert len(request) == 36


def test_a_call_that_changes_nothing_tells_nobody_but_settles(
    client: Any, store: Store, config: Any, listen: Any
) -> None:
    controller = listen(config.controller.socket, {"ok": True, "installed": True})
    compute = listen(config.compute.socket, {"ok": True, "settled": True})
    assert client.call("TerminateInstances", **{"InstanceId.1": "i-1", "InstanceId.2": "i-2"}).status == 200
    assert controller.heard == []
    woken, waited = compute.heard  # to begin at once, and to tell when it has ended
    request = woken.pop("request")
    assert woken == {"op": "settle", "instances": ["i-1", "i-2"], "timeout": 0}
    assert waited == {"op": "settle", "instances": ["i-1", "i-2"], "timeout": config.settle_timeout}
    assert len(request) == 36


def test_nobody_listens_and_the_call_stands(client: Any, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    assert client.call("CreateImage", InstanceId="i-1", Name="alone").status == 200
    assert account_name(store) == "alone"
    assert "no answer from the controller" in caplog.text


@pytest.mark.parametrize(
    ("action", "fields", "status", "code"),
    [
        ("AllocateAddress", {}, 500, "InternalError"),
        ("DeleteSecurityGroup", {"GroupId": "sg-1"}, 400, "InvalidGroup.NotFound"),
        ("ReleaseAddress", {}, 500, "InternalError"),
        ("CreateImage", {"InstanceId": "i-1", "Name": "dry-run", "DryRun": "true"}, 412, "DryRunOperation"),
        ("DescribeRegions", {"DryRun": "true"}, 412, "DryRunOperation"),
        ("DescribeRegions", {"Colour": "red"}, 400, "UnknownParameter"),
        ("DescribeVolumes", {}, 400, "UnsupportedOperation"),
        ("Fly", {}, 400, "InvalidAction"),
        ("TerminateInstances", {}, 400, "InvalidParameterCombination"),
    ],
)
def test_an_error_changes_nothing(
    client: Any, store: Store, action: str, fields: dict[str, str], status: int, code: str
) -> None:
    name, revision, rows = account_name(store), store.revision(), audited(store)
    response = client.call(action, **fields)
    assert (response.status, response.code) == (status, code)
    assert (account_name(store), store.revision(), audited(store)) == (name, revision, rows)
    assert f"<RequestID>{response.headers['x-amzn-RequestId']}</RequestID>" in response.body.decode()


def test_a_crash_goes_to_the_log_alone(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    response = client.call("AllocateAddress")
    assert b"secret of the house" not in response.body
    assert response.headers["x-amzn-RequestId"] in (response.message or "")
    assert "the secret of the house" in caplog.text
    assert response.headers["x-amzn-RequestId"] in caplog.text


def test_words_for_what_we_do_not_do(client: Any) -> None:
    assert client.call("Fly").message == "The action Fly is not valid for this web service."
    assert "DescribeVolumes" in client.call("DescribeVolumes").message


def test_no_or_wrong_signature(client: Any, store: Store) -> None:
    fields = {"Action": "CreateImage", "InstanceId": "i-1", "Name": "forged"}
    environ = client.environ(fields)
    del environ["HTTP_AUTHORIZATION"], environ["HTTP_X_AMZ_DATE"]
    unsigned = client.send(environ)
    assert (unsigned.status, unsigned.code) == (400, "MissingParameter")
    environ = client.environ(fields)
    environ["HTTP_AUTHORIZATION"] = environ["HTTP_AUTHORIZATION"][:-1] + "!"
    forged = client.send(environ)
    assert (forged.status, forged.code) == (401, "AuthFailure")
    assert account_name(store) == "tenant"


def test_a_disabled_key_is_refused_at_once(client: Any, store: Store) -> None:
    assert client.call("DescribeRegions").status == 200
    with store.engine.begin() as connection:
        connection.execute(update(access_keys).values(active=False))
    assert client.call("DescribeRegions").code == "AuthFailure"


def test_the_clock_is_the_servers(client_of: Any) -> None:
    assert client_of(ACTIONS, skew=timedelta(minutes=16)).call("DescribeRegions").code == "RequestExpired"


def test_accounts_do_not_mix(client: Any, store: Store) -> None:
    other = create_account(store, "other")
    client.account = other
    assert other.account_id in client.call("DescribeRegions", **{"RegionName.1": "x"}).body.decode()


class TestHttp:
    """What comes before any signature is looked at."""

    def test_methods(self, client: Any) -> None:
        for method in ("PUT", "DELETE", "HEAD", "OPTIONS"):
            environ = client.environ({"Action": "DescribeRegions"})
            environ["REQUEST_METHOD"] = method
            response = client.send(environ)
            assert (response.status, response.headers["Allow"]) == (405, "GET, POST")

    def test_a_body_over_the_limit(self, client: Any, config: Any) -> None:
        environ = client.environ({"Action": "DescribeRegions", "RegionName.1": "x" * config.api.body_limit})
        response = client.send(environ)
        assert (response.status, response.code) == (413, "RequestEntityTooLarge")

    def test_chunked_bodies(self, client: Any, config: Any) -> None:
        environ = client.environ({"Action": "DescribeRegions"}) | {"wsgi.input_terminated": True}
        del environ["CONTENT_LENGTH"]
        assert client.send(environ).status == 200
        environ["wsgi.input"] = io.BytesIO(b"x" * (config.api.body_limit + 1))
        assert client.send(environ).status == 413

    def test_a_body_that_ends_early(self, client: Any) -> None:
        environ = client.environ({"Action": "DescribeRegions"})
        environ["CONTENT_LENGTH"] = str(int(environ["CONTENT_LENGTH"]) + 1)
        assert client.send(environ).code == "IncompleteBody"

    def test_no_length_is_no_body(self, client: Any) -> None:
        environ = client.environ({"Action": "DescribeRegions"})
        environ["CONTENT_LENGTH"] = ""
        assert client.send(environ).code == "AuthFailure"

    def test_a_million_parameters(self, client: Any) -> None:
        environ = client.environ({})
        body = b"&".join(b"a%d" % index for index in range(150_000))[: 1 << 20]
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        started = time.process_time()
        assert client.send(environ).code == "MalformedQueryString"
        assert time.process_time() - started < 0.5


def test_the_database_does_not_answer(client: Any, store: Store) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE access_keys")
    response = client.call("CreateImage", InstanceId="i-1", Name="lost")
    assert (response.status, response.code) == (503, "Unavailable")
    assert b"access_keys" not in response.body


def test_access_log(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "econe_api.access")
    client.call("DescribeRegions")
    client.call("Fly\n{}")
    lines = [json.loads(record.message) for record in caplog.records if record.name == "econe_api.access"]
    assert [(line["action"], line["status"], line["code"]) for line in lines] == [
        ("DescribeRegions", 200, ""),
        ("", 400, "InvalidAction"),
    ]
    assert lines[0]["account"] == client.account.account_id
    assert lines[0]["source"] == "192.0.2.7"
    assert lines[0]["ms"] > 0
    assert client.account.secret not in caplog.text


def test_unknown_actions_leave_nothing_behind(client: Any) -> None:
    def calls(count: int) -> None:
        for index in range(count):
            assert client.call(f"Unknown{index}").code == "InvalidAction"

    logging.disable(logging.CRITICAL)  # pytest keeps every record
    try:
        calls(50)
        tracemalloc.start()
        client.flush()
        before = tracemalloc.get_traced_memory()[0]
        calls(500)
        client.flush()
        assert tracemalloc.get_traced_memory()[0] - before < 256 * 1024
    finally:
        tracemalloc.stop()
        logging.disable(logging.NOTSET)
