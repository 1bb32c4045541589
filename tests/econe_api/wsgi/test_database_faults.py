"""A database that is locked or full: changes are refused as Unavailable, reads answered; afterwards all works."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config as ClientConfig
from botocore.exceptions import ClientError

from econe_api.actions.catalogue import ACTIONS
from econe_api.store import engine


@pytest.fixture
def database_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database on a small file system of its own, and little patience with it."""
    state = tmp_path / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(state)], check=True)
    monkeypatch.setattr(engine, "PATIENCE", 0.2)
    try:
        yield f"sqlite:///{state / 'sluice.db'}"
    finally:
        subprocess.run(["umount", "--lazy", str(state)], check=True)


def names(client: Any) -> set[str]:
    return {group["GroupName"] for group in client.describe_security_groups()["SecurityGroups"]}


@pytest.mark.lab
def test_a_full_disk(api: Any, tmp_path: Path) -> None:
    client = boto3.client(
        "ec2",
        endpoint_url=api.url,
        region_name="us-east-1",
        aws_access_key_id=api.account.access_key_id,
        aws_secret_access_key=api.account.secret,
        config=ClientConfig(retries={"total_max_attempts": 1}),
    )
    client.create_security_group(GroupName="before", Description="before")
    filler = tmp_path / "state" / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    refused = []
    for number in range(300):  # the journal has some room of its own
        try:
            client.create_security_group(GroupName=f"meanwhile-{number}", Description="meanwhile")
        except ClientError as error:
            refused.append((error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]))
            if len(refused) > 2:
                break
    assert set(refused) == {("Unavailable", 503)}
    assert {"default", "before"} <= names(client), "who only reads is answered"
    filler.unlink()
    client.create_security_group(GroupName="after", Description="after")
    found = names(client)
    assert {"default", "before", "after"} <= found
    assert f"meanwhile-{number}" not in found, "what was refused has not happened"
    assert api.process.poll() is None
    assert "Traceback" not in api.log.read_text()


@pytest.mark.lab
def test_a_locked_database(client_of: Any, tmp_path: Path) -> None:
    client = client_of(ACTIONS)
    holder = sqlite3.connect(tmp_path / "state" / "sluice.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    refused = client.call("CreateSecurityGroup", GroupName="meanwhile", GroupDescription="meanwhile")
    assert (refused.status, refused.code) == (503, "Unavailable")
    assert client.call("DescribeSecurityGroups").status == 200
    holder.execute("ROLLBACK")
    holder.close()
    assert client.call("CreateSecurityGroup", GroupName="after", GroupDescription="after").status == 200
    assert b"meanwhile" not in client.call("DescribeSecurityGroups").body
