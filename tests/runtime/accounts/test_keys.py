"""Keys as the gateways will find them: secrets encrypted and bound to their key, never shown twice."""

import base64
import logging
import re
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from runtime.accounts.keys import (
    ApiKey,
    KeyRefusedError,
    KeyStore,
    new_ed25519_pair,
    new_hmac_key,
    new_public_key,
    store_api_key,
)
from tests.runtime.accounts.conftest import TABLE


@pytest.fixture(scope="module")
def store(cloud: None) -> KeyStore:
    del cloud
    return KeyStore.connect(TABLE, boto3.client("kms").create_key()["KeyMetadata"]["KeyId"])


def _store(store: KeyStore, key: ApiKey, **other: Any) -> None:
    store_api_key(store, key, **({"account": 1000, "tier": "standard", "label": "mine", "created_us": 5} | other))


def _item(store: KeyStore, key: ApiKey) -> dict[str, Any]:
    item: dict[str, Any] = store.dynamodb.get_item(TableName=TABLE, Key={"api_key": {"S": key.api_key}})["Item"]
    return item


def test_an_hmac_secret_is_stored_encrypted_for_its_key_only(store: KeyStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    key = new_hmac_key()
    assert re.fullmatch(r"[A-Za-z0-9]{64}", key.api_key)
    assert re.fullmatch(r"[A-Za-z0-9]{64}", key.secret_key)
    assert key.secret_key not in repr(key)
    _store(store, key, ip_list=["10.0.0.0/8", "192.0.2.1"])
    item = _item(store, key)
    secret = item.pop("secret")["B"]
    assert item == {
        "api_key": {"S": key.api_key},
        "account_id": {"N": "1000"},
        "kind": {"S": "HMAC"},
        "permissions": {"SS": ["READ", "TRADE"]},
        "ip_list": {"SS": ["10.0.0.0/8", "192.0.2.1"]},
        "tier": {"S": "standard"},
        "label": {"S": "mine"},
        "created_us": {"N": "5"},
        "enabled": {"BOOL": True},
    }
    assert key.secret_key.encode() not in secret
    assert base64.b64encode(key.secret_key.encode()) not in secret
    opened = store.kms.decrypt(CiphertextBlob=secret, EncryptionContext={"api_key": key.api_key})
    assert opened["Plaintext"] == key.secret_key.encode()
    with pytest.raises(ClientError, match="InvalidCiphertext"):
        store.kms.decrypt(CiphertextBlob=secret, EncryptionContext={"api_key": "another"})
    assert key.secret_key not in caplog.text


def test_of_an_ed25519_pair_only_the_public_half_is_stored(store: KeyStore) -> None:
    private_pem, public_pem = new_ed25519_pair()
    key = new_public_key(public_pem)
    _store(store, key, permissions=["READ"])
    item = _item(store, key)
    assert "secret" not in item
    assert item["kind"] == {"S": "ED25519"}
    assert item["permissions"] == {"SS": ["READ"]}
    private: Any = load_pem_private_key(private_pem.encode(), None)
    public: Any = load_pem_public_key(item["public_key"]["S"].encode())
    public.verify(private.sign(b"payload"), b"payload")


def _pem(public: Any) -> str:
    pem: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def test_an_rsa_key_is_taken_a_short_one_another_kind_or_nonsense_is_not() -> None:
    assert new_public_key(_pem(rsa.generate_private_key(65_537, 2048).public_key())).kind == "RSA"
    with pytest.raises(KeyRefusedError, match="2048 to 4096 bits, was 1024"):
        new_public_key(_pem(rsa.generate_private_key(65_537, 1024).public_key()))
    with pytest.raises(KeyRefusedError, match="Ed25519 or RSA, was"):
        new_public_key(_pem(ec.generate_private_key(ec.SECP256R1()).public_key()))
    for text in ("", "nonsense", new_ed25519_pair()[0]):
        with pytest.raises(KeyRefusedError, match="given as PEM"):
            new_public_key(text)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"permissions": []}, "permissions are some of"),
        ({"permissions": ["WITHDRAW"]}, "a key with WITHDRAW needs a list of the addresses"),
        ({"permissions": ["STEAL"], "ip_list": ["10.0.0.1"]}, "STEAL"),
        ({"label": ""}, "1 to 64 characters"),
        ({"label": "x" * 65}, "1 to 64 characters"),
    ],
)
def test_what_cannot_be_stored_is_named(store: KeyStore, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(KeyRefusedError, match=message):
        _store(store, new_hmac_key(), **wrong)


def test_a_key_is_never_overwritten(store: KeyStore) -> None:
    key = new_hmac_key()
    _store(store, key)
    with pytest.raises(KeyRefusedError, match="stored already"):
        _store(store, key, account=1001)
    assert _item(store, key)["account_id"] == {"N": "1000"}
