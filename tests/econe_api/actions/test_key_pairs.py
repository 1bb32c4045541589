"""Key pairs: made, imported, shown, forgotten.  The fingerprints are held against ssh-keygen and openssl."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from econe_api.actions import key_material
from econe_api.store.quotas import set_quota

NO_KEY = "key-0000000000000dead"


def _ran(*command: str | Path, feed: bytes = b"") -> bytes:
    return subprocess.run([str(word) for word in command], input=feed, capture_output=True, check=True).stdout


def _public(tmp_path: Path, kind: str, bits: int = 2048) -> Path:
    file = tmp_path / f"{kind}{bits}"
    _ran("ssh-keygen", "-q", "-t", kind, "-b", str(bits), "-N", "", "-C", "me@home", "-f", file)
    return file.with_suffix(".pub")


def _hashed(digest: str, data: bytes) -> str:
    return _ran("openssl", "dgst", f"-{digest}", "-c", feed=data).decode().split("= ")[1].strip()


def _sha256(public: Path) -> str:
    words = _ran("ssh-keygen", "-l", "-E", "sha256", "-f", public).decode().split()
    return words[1].removeprefix("SHA256:") + "="


def test_created_rsa_key(tenant: Any, tmp_path: Path) -> None:
    made = tenant("CreateKeyPair", KeyName="mine")
    assert made["KeyMaterial"].startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    pkcs8 = ("openssl", "pkcs8", "-topk8", "-nocrypt", "-outform", "DER")
    assert made["KeyFingerprint"] == _hashed("sha1", _ran(*pkcs8, feed=made["KeyMaterial"].encode()))
    file = tmp_path / "mine"
    file.touch(mode=0o600)
    file.write_text(made["KeyMaterial"])
    (shown,) = tenant("DescribeKeyPairs", IncludePublicKey=True)["KeyPairs"]
    assert shown["PublicKey"].split()[:2] == _ran("ssh-keygen", "-y", "-f", file).decode().split()[:2]
    assert shown["PublicKey"].split()[2] == "mine"
    assert (shown["KeyType"], shown["KeyFingerprint"]) == ("rsa", made["KeyFingerprint"])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_key_in_the_making_keeps_no_writer_waiting(
    ec2: Any, client_for: Any, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, meanwhile = key_material.create, []

    def slowly(kind: str, comment: str) -> Any:
        made = client_for(account).create_security_group(GroupName="meanwhile", Description="by another writer")
        meanwhile.append(made["GroupId"])
        return make(kind, comment)

    monkeypatch.setattr(key_material, "create", slowly)
    made = ec2.create_key_pair(KeyName="mine")
    assert [pair["KeyFingerprint"] for pair in ec2.describe_key_pairs()["KeyPairs"]] == [made["KeyFingerprint"]]
    assert [
        group["GroupId"] for group in ec2.describe_security_groups(GroupIds=meanwhile)["SecurityGroups"]
    ] == meanwhile
    assert len(meanwhile) == 1


def test_created_ed25519_key(tenant: Any, tmp_path: Path) -> None:
    made = tenant("CreateKeyPair", KeyName="mine", KeyType="ed25519", KeyFormat="pem")
    load_ssh_private_key(made["KeyMaterial"].encode(), None)
    (shown,) = tenant("DescribeKeyPairs", KeyNames=["mine"], IncludePublicKey=True)["KeyPairs"]
    public = tmp_path / "mine.pub"
    public.write_text(shown["PublicKey"])
    assert made["KeyFingerprint"] == shown["KeyFingerprint"] == _sha256(public)


def test_private_key_is_kept_nowhere(tenant: Any, dump: Any) -> None:
    material = tenant("CreateKeyPair", KeyName="mine")["KeyMaterial"]
    middle = material.splitlines()[5]
    assert middle not in repr(dump())


@pytest.mark.parametrize("form", ["openssh", "rfc4716", "pem", "der"])
def test_imported_rsa_key(tenant: Any, tmp_path: Path, form: str) -> None:
    public = _public(tmp_path, "rsa")
    pem = _ran("ssh-keygen", "-e", "-m", "PKCS8", "-f", public)
    der = _ran("openssl", "pkey", "-pubin", "-outform", "DER", feed=pem)
    material = {
        "openssh": public.read_bytes(),
        "rfc4716": _ran("ssh-keygen", "-e", "-m", "RFC4716", "-f", public),
        "pem": pem,
        "der": base64.b64encode(der),
    }[form]
    made = tenant("ImportKeyPair", KeyName="mine", PublicKeyMaterial=material)
    assert made["KeyFingerprint"] == _hashed("md5", der)
    (shown,) = tenant("DescribeKeyPairs", KeyPairIds=[made["KeyPairId"]], IncludePublicKey=True)["KeyPairs"]
    assert shown["PublicKey"].split()[1] == public.read_text().split()[1]
    assert shown["KeyType"] == "rsa"


def test_imported_ed25519_key(tenant: Any, tmp_path: Path) -> None:
    public = _public(tmp_path, "ed25519")
    made = tenant("ImportKeyPair", KeyName="mine", PublicKeyMaterial=public.read_bytes())
    assert made["KeyFingerprint"] == _sha256(public)
    assert "KeyMaterial" not in made


def test_refused_imports(tenant: Any, refused: Any, tmp_path: Path) -> None:
    good = _public(tmp_path, "ed25519").read_bytes()
    for material in (
        b"rubbish",
        b"ssh-rsa AAAA",
        b"ssh-rsa " + good.split()[1],
        b"\xff\xfe",
        b"---- BEGIN SSH2 PUBLIC KEY ----\n!!\n---- END SSH2 PUBLIC KEY ----",
        b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----",
        _public(tmp_path, "ecdsa", 256).read_bytes(),
        _public(tmp_path, "rsa", 3072).read_bytes(),
    ):
        refused(tenant, "InvalidKey.Format", "ImportKeyPair", KeyName="mine", PublicKeyMaterial=material)
    refused(tenant, "MissingParameter", "ImportKeyPair", KeyName="mine")
    refused(tenant, "MissingParameter", "ImportKeyPair", KeyName="mine", PublicKeyMaterial=b"")
    refused(tenant, "MissingParameter", "ImportKeyPair", PublicKeyMaterial=good)
    tenant("ImportKeyPair", KeyName="mine", PublicKeyMaterial=good)
    refused(tenant, "InvalidKeyPair.Duplicate", "ImportKeyPair", KeyName="mine", PublicKeyMaterial=good)


def test_refused_creations(tenant: Any, refused: Any, cloud: Any) -> None:
    tenant("CreateKeyPair", KeyName="mine", KeyType="ed25519")
    for code, params in (
        ("InvalidKeyPair.Duplicate", {"KeyName": "mine"}),
        ("MissingParameter", {}),
        ("InvalidParameterValue", {"KeyName": "k" * 256}),
        ("InvalidParameterValue", {"KeyName": "schlüssel"}),
        ("InvalidParameterValue", {"KeyName": " k"}),
        ("InvalidParameterValue", {"KeyName": "k", "KeyType": "dsa"}),
        ("UnsupportedOperation", {"KeyName": "k", "KeyFormat": "ppk"}),
        ("InvalidParameterValue", {"KeyName": "k", "TagSpecifications": [{"ResourceType": "instance", "Tags": []}]}),
    ):
        refused(tenant, code, "CreateKeyPair", **params)
    set_quota(cloud, tenant.account, "key-pairs", 1)
    refused(tenant, "KeyPairLimitExceeded", "CreateKeyPair", KeyName="two")


def test_described_by_name_id_filter_and_tag(tenant: Any, stranger: Any, refused: Any) -> None:
    tags = [{"ResourceType": "key-pair", "Tags": [{"Key": "team", "Value": "red"}]}]
    one = tenant("CreateKeyPair", KeyName="one", KeyType="ed25519", TagSpecifications=tags)
    two = tenant("CreateKeyPair", KeyName="two", KeyType="ed25519")
    theirs = stranger("CreateKeyPair", KeyName="theirs", KeyType="ed25519")
    assert one["Tags"] == [{"Key": "team", "Value": "red"}]

    def names(**params: Any) -> list[str]:
        return [key["KeyName"] for key in tenant("DescribeKeyPairs", **params)["KeyPairs"]]

    assert names() == ["one", "two"]
    assert names(KeyNames=["two"]) == names(KeyPairIds=[two["KeyPairId"]]) == ["two"]
    for name, value, expected in (
        ("key-name", "o*", ["one"]),
        ("key-pair-id", two["KeyPairId"], ["two"]),
        ("fingerprint", one["KeyFingerprint"], ["one"]),
        ("tag:team", "red", ["one"]),
        ("tag-key", "team", ["one"]),
        ("key-name", "theirs", []),
    ):
        assert names(Filters=[{"Name": name, "Values": [value]}]) == expected, name
    assert "PublicKey" not in tenant("DescribeKeyPairs")["KeyPairs"][0]
    tenant("CreateTags", Resources=[two["KeyPairId"]], Tags=[{"Key": "team", "Value": "blue"}])
    assert names(Filters=[{"Name": "tag:team", "Values": ["blue"]}]) == ["two"]
    for code, params in (
        ("InvalidKeyPair.NotFound", {"KeyNames": ["theirs"]}),
        ("InvalidKeyPair.NotFound", {"KeyNames": ["one", "absent"]}),
        ("InvalidKeyPair.NotFound", {"KeyPairIds": [theirs["KeyPairId"]]}),
        ("InvalidKeyPair.NotFound", {"KeyPairIds": [NO_KEY]}),
        ("InvalidKeyPair.Malformed", {"KeyPairIds": ["mine"]}),
        ("InvalidParameterValue", {"Filters": [{"Name": "colour", "Values": ["red"]}]}),
    ):
        refused(tenant, code, "DescribeKeyPairs", **params)


def test_deleted_by_name_and_id_again_and_again(tenant: Any, stranger: Any, refused: Any, dump: Any) -> None:
    tags = [{"ResourceType": "key-pair", "Tags": [{"Key": "team", "Value": "red"}]}]
    one = tenant("CreateKeyPair", KeyName="one", KeyType="ed25519", TagSpecifications=tags)["KeyPairId"]
    two = tenant("CreateKeyPair", KeyName="two", KeyType="ed25519")["KeyPairId"]
    assert stranger("DeleteKeyPair", KeyName="one") == {"Return": True}
    assert stranger("DeleteKeyPair", KeyPairId=one) == {"Return": True}
    assert tenant("DeleteKeyPair", KeyName="one") == {"Return": True, "KeyPairId": one}
    assert tenant("DeleteKeyPair", KeyName="one") == {"Return": True}
    assert tenant("DeleteKeyPair", KeyPairId=two) == {"Return": True, "KeyPairId": two}
    assert tenant("DeleteKeyPair", KeyPairId=NO_KEY) == {"Return": True}
    assert (dump()["key_pairs"], dump()["tags"]) == ([], [])
    refused(tenant, "MissingParameter", "DeleteKeyPair")
    refused(tenant, "InvalidKeyPair.Malformed", "DeleteKeyPair", KeyPairId="one")
