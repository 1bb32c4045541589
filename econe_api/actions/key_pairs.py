"""CreateKeyPair, ImportKeyPair, DeleteKeyPair and DescribeKeyPairs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, insert, select

from econe_api.actions import identifiers, key_material, tag_rows
from econe_api.actions.filters import Field, Filters
from econe_api.actions.key_material import KeyFormatError, KeyText
from econe_api.actions.parameters import given, refuse_unsupported, require
from econe_api.call import Call
from econe_api.errors import Ec2Error
from econe_api.store.key_tables import key_pairs
from econe_api.store.quotas import KEY_PAIRS
from econe_api.store.transaction import Transaction

_KIND = "key-pair"
_TYPES = ("rsa", "ed25519")
_LONGEST_NAME = 255
_FIELDS: dict[str, Field[Row[Any]]] = {
    "fingerprint": Field(lambda row: (row.fingerprint,), key_pairs.c.fingerprint),
    "key-name": Field(lambda row: (row.name,), key_pairs.c.name),
    "key-pair-id": Field(lambda row: (row.id,), key_pairs.c.id),
}


def generate(call: Call) -> tuple[KeyText, str]:
    """Make the keys of a new pair: its public half and its private one.

    Raises:
        Ec2Error: MissingParameter, InvalidParameterValue, UnsupportedOperation.

    """
    params = call.params
    refuse_unsupported(params, frozenset({"KeyName", "KeyType", "TagSpecifications"}), {"KeyFormat": ("pem",)})
    kind = params.get("KeyType") or "rsa"
    if kind not in _TYPES:
        raise Ec2Error("InvalidParameterValue", f"Value ({kind}) for parameter KeyType is invalid.")
    return key_material.create(kind, _name(call))


def create(call: Call, txn: Transaction) -> dict[str, Any]:
    """Make a key pair; the answer holds the private key, which is kept nowhere."""
    text, private_key = call.prepared
    return _insert(txn, _name(call), text, _new(txn, call)) | {"KeyMaterial": private_key}


def bring(call: Call, txn: Transaction) -> dict[str, Any]:
    """Record the public key of a pair that was made elsewhere."""
    require(call.params, "KeyName", "PublicKeyMaterial")
    tags = _new(txn, call)
    try:
        text = key_material.read(call.params["PublicKeyMaterial"], call.params["KeyName"])
    except KeyFormatError:
        raise Ec2Error("InvalidKey.Format", "Key is not in valid OpenSSH public key format") from None
    return _insert(txn, call.params["KeyName"], text, tags)


def _name(call: Call) -> str:
    """The name of a new pair, after a check."""
    require(call.params, "KeyName")
    name: str = call.params["KeyName"]
    if len(name) > _LONGEST_NAME or not name.isascii() or not name.isprintable() or name != name.strip():
        raise Ec2Error(
            "InvalidParameterValue",
            f"Value for parameter KeyName is invalid. Up to {_LONGEST_NAME} printable ASCII characters are valid, "
            "without spaces at either end.",
        )
    return name


def _new(txn: Transaction, call: Call) -> tag_rows.Tags:
    """Check that a new pair's name is free, and the quota; gives its tags."""
    name = _name(call)
    mine = key_pairs.c.account == txn.account
    if txn.connection.scalar(select(key_pairs.c.id).where(mine, key_pairs.c.name == name)) is not None:
        raise Ec2Error("InvalidKeyPair.Duplicate", f"The keypair '{name}' already exists.")
    if (txn.connection.scalar(select(func.count()).select_from(key_pairs).where(mine)) or 0) >= txn.quota(KEY_PAIRS):
        raise Ec2Error("KeyPairLimitExceeded", "The maximum number of key pairs has been reached.")
    return tag_rows.specified(call.params, _KIND).get(_KIND, {})


def _insert(txn: Transaction, name: str, text: KeyText, tags: tag_rows.Tags) -> dict[str, Any]:
    key = txn.new_id("key")
    txn.connection.execute(
        insert(key_pairs).values(
            id=key,
            account=txn.account,
            name=name,
            type=text.type,
            public_key=text.public_key,
            fingerprint=text.fingerprint,
            created=txn.now,
        )
    )
    tag_rows.write(txn, _KIND, [key], tags)
    made = {"KeyPairId": key, "KeyName": name, "KeyFingerprint": text.fingerprint}
    return made | ({"Tags": tag_rows.shape(tags)} if tags else {})


def remove(call: Call, txn: Transaction) -> dict[str, Any]:
    """Forget a key pair, by name or id; one that is not there is none to forget."""
    params = call.params
    clauses: list[ColumnElement[bool]] = [key_pairs.c.account == txn.account]
    if given(params, "KeyName"):
        clauses.append(key_pairs.c.name == params["KeyName"])
    if given(params, "KeyPairId"):
        clauses.append(key_pairs.c.id == identifiers.check("key", [params["KeyPairId"]])[0])
    if len(clauses) == 1:
        raise Ec2Error("MissingParameter", "The request must contain the parameter KeyName or KeyPairId")
    key = txn.connection.scalar(select(key_pairs.c.id).where(*clauses))
    if key is None:
        return {"Return": True}
    tag_rows.forget(txn, [key])
    txn.connection.execute(delete(key_pairs).where(key_pairs.c.id == key))
    return {"Return": True, "KeyPairId": key}


def describe(call: Call, txn: Transaction) -> dict[str, Any]:
    """Show the caller's key pairs: all, or those named by name or id, that pass the filters."""
    params = call.params
    filters: Filters[Row[Any]] = Filters(params.get("Filters"), _FIELDS, tagged=True)
    names = list(dict.fromkeys(params.get("KeyNames") or ()))
    ids = identifiers.check("key", params.get("KeyPairIds") or ())
    query = select(key_pairs).where(key_pairs.c.account == txn.account).order_by(key_pairs.c.name)
    if names or ids:
        query = query.where(key_pairs.c.name.in_(names) | key_pairs.c.id.in_(ids))
    else:
        query = query.where(*filters.clauses())
    rows = list(txn.connection.execute(query))
    _refuse_absent(names, {row.name for row in rows}, "key pair")
    _refuse_absent(ids, {row.id for row in rows}, "key pair ID")
    tags = tag_rows.load(txn, _KIND, [row.id for row in rows])
    with_key = bool(params.get("IncludePublicKey"))
    return {
        "KeyPairs": [
            _shape(row, tags[row.id]) | ({"PublicKey": row.public_key} if with_key else {})
            for row in rows
            if filters.matches(row, tags[row.id])
        ]
    }


def check(txn: Transaction, name: str) -> None:
    """Refuse the name of a key pair that the caller does not have.

    Raises:
        Ec2Error: InvalidKeyPair.NotFound.

    """
    query = select(key_pairs.c.name).where(key_pairs.c.account == txn.account, key_pairs.c.name == name)
    _refuse_absent([name], set(txn.connection.scalars(query)), "key pair")


def _refuse_absent(wanted: list[str], found: set[str], noun: str) -> None:
    for text in wanted:
        if text not in found:
            raise Ec2Error("InvalidKeyPair.NotFound", f"The {noun} '{text}' does not exist")


def _shape(row: Row[Any], tags: tag_rows.Tags) -> dict[str, Any]:
    return {
        "KeyPairId": row.id,
        "KeyName": row.name,
        "KeyType": row.type,
        "KeyFingerprint": row.fingerprint,
        "CreateTime": row.created,
        "Tags": tag_rows.shape(tags),
    }
