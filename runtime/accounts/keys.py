"""API keys: made here, stored so that only the gateways can verify with them.

An HMAC secret leaves this module twice: to its owner, and encrypted under a KMS key that is bound to the API key's
name, so that one row's secret can never be used for another. Of an asymmetric key only the public half is stored.
"""

import secrets
import string
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import boto3
from botocore.exceptions import ClientError
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

HMAC: Final = "HMAC"
ED25519: Final = "ED25519"
RSA: Final = "RSA"

KEY_LENGTH: Final = 64
"""Characters of an API key, and of an HMAC secret."""
WITHDRAW: Final = "WITHDRAW"
PERMISSIONS: Final = frozenset({"READ", "TRADE", WITHDRAW})
USUAL: Final = PERMISSIONS - {WITHDRAW}
"""What a key may do when nothing else is said."""
LABEL_LENGTH_MAX: Final = 64
RSA_BITS: Final = (2048, 4096)
"""Smallest and largest modulus."""
_ALPHABET: Final = string.ascii_letters + string.digits


class KeyRefusedError(ValueError):
    """The key cannot be taken; the message says what was wrong and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HmacKey:
    """A key whose secret both sides know. Show the secret to its owner once, and never again."""

    api_key: str
    secret_key: str = field(repr=False)
    kind: str = HMAC


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key whose private half only its owner has."""

    api_key: str
    kind: str
    public_key_pem: str


ApiKey = HmacKey | PublicKey


def new_hmac_key() -> HmacKey:
    """Return a new random key and its secret."""
    return HmacKey(api_key=_random_name(), secret_key=_random_name())


def new_ed25519_pair() -> tuple[str, str]:
    """Return a new private key and its public key, both PEM (PKCS#8 and SubjectPublicKeyInfo)."""
    private = Ed25519PrivateKey.generate()
    private_pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public_pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private_pem.decode(), public_pem.decode()


def new_public_key(public_key_pem: str) -> PublicKey:
    """Return an API key for the owner of `public_key_pem`. Raises KeyRefusedError for any but Ed25519 and RSA."""
    try:
        public = load_pem_public_key(public_key_pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise KeyRefusedError("a public key is given as PEM, -----BEGIN PUBLIC KEY----- to -----END-----") from None
    if isinstance(public, Ed25519PublicKey):
        kind = ED25519
    elif isinstance(public, RSAPublicKey):
        if not RSA_BITS[0] <= public.key_size <= RSA_BITS[1]:
            raise KeyRefusedError(f"an RSA key has {RSA_BITS[0]} to {RSA_BITS[1]} bits, was {public.key_size}")
        kind = RSA
    else:
        raise KeyRefusedError(f"a public key is Ed25519 or RSA, was {type(public).__name__}")
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return PublicKey(api_key=_random_name(), kind=kind, public_key_pem=pem)


def _random_name() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(KEY_LENGTH))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStore:
    """Where keys are kept: a DynamoDB table, and the KMS key that encrypts HMAC secrets."""

    table: str
    kms_key: str
    dynamodb: Any
    kms: Any

    @classmethod
    def connect(cls, table: str, kms_key: str) -> "KeyStore":
        """Return the store of this AWS account, region and endpoint."""
        return cls(table=table, kms_key=kms_key, dynamodb=boto3.client("dynamodb"), kms=boto3.client("kms"))


def store_api_key(
    store: KeyStore,
    key: ApiKey,
    *,
    account: int,
    tier: str,
    label: str,
    created_us: int,
    permissions: Collection[str] = USUAL,
    ip_list: Collection[str] = (),
) -> None:
    """Enable `key` for `account`, from anywhere if `ip_list` is empty.

    Raises KeyRefusedError for a wrong permission or label, or a key that is stored already.
    """
    if not permissions or not PERMISSIONS.issuperset(permissions):
        raise KeyRefusedError(f"permissions are some of {sorted(PERMISSIONS)}, were {sorted(permissions)}")
    if WITHDRAW in permissions and not ip_list:
        raise KeyRefusedError("a key with WITHDRAW needs a list of the addresses that it may be used from")
    if not 1 <= len(label) <= LABEL_LENGTH_MAX:
        raise KeyRefusedError(f"a label has 1 to {LABEL_LENGTH_MAX} characters, was {label[:80]!r}")
    item: dict[str, Mapping[str, Any]] = {
        "api_key": {"S": key.api_key},
        "account_id": {"N": str(account)},
        "kind": {"S": key.kind},
        "permissions": {"SS": sorted(permissions)},
        "tier": {"S": tier},
        "label": {"S": label},
        "created_us": {"N": str(created_us)},
        "enabled": {"BOOL": True},
    }
    if ip_list:
        item["ip_list"] = {"SS": sorted(ip_list)}
    if isinstance(key, HmacKey):
        item["secret"] = {"B": _encrypted(store, key)}
    else:
        item["public_key"] = {"S": key.public_key_pem}
    try:
        store.dynamodb.put_item(TableName=store.table, Item=item, ConditionExpression="attribute_not_exists(api_key)")
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        raise KeyRefusedError(f"API key {key.api_key[:8]}… is stored already") from None


def _encrypted(store: KeyStore, key: HmacKey) -> bytes:
    encrypted = store.kms.encrypt(
        KeyId=store.kms_key, Plaintext=key.secret_key.encode(), EncryptionContext={"api_key": key.api_key}
    )
    ciphertext: bytes = encrypted["CiphertextBlob"]
    return ciphertext
