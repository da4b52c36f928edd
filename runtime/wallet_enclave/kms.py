"""KMS as the enclave calls it: TLS that ends inside, an attestation document with each call, answers opened inside.

The parent only moves bytes. It could still forge what is sealed to our public key, so a data key from here is never
believed by itself: what it opens must pass an authenticated cipher, and the address it makes must be the manifest's.
"""

import hashlib
import hmac
import http.client
import json
import ssl
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from asn1crypto import cms
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from runtime.wallet_enclave.nsm import Nsm
from runtime.wallet_enclave.transport import connected

ANSWER_BYTES_MAX: Final = 64 * 1024
TIMEOUT_S: Final = 10.0
DATA_KEY_BYTES: Final = 32
_OK: Final = 200
_RSA_BITS: Final = 2048
_OAEP: Final = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)


class KmsError(Exception):
    """KMS refused, could not be reached, or its answer is not believed."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Credentials:
    """Of the parent's role. Never printed."""

    access_key: str
    secret_key: str
    token: str


class Kms:
    """The operations that attest: a new data key, and an old one."""

    def __init__(  # noqa: D107 - the fields say it
        self,
        *,
        nsm: Nsm,
        key_arn: str,
        region: str,
        host: str,
        forwarder: str,
        tls: ssl.SSLContext,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._nsm = nsm
        self._key_arn = key_arn
        self._region = region
        self._host = host
        self._forwarder = forwarder
        self._tls = tls
        self._clock = clock
        self._recipient = rsa.generate_private_key(public_exponent=65_537, key_size=_RSA_BITS)
        self.credentials: Credentials | None = None

    def generate_data_key(self, context: Mapping[str, str]) -> tuple[bytes, bytes]:
        """Return a new data key and its ciphertext. Raises KmsError."""
        answer = self._called("GenerateDataKey", {"EncryptionContext": dict(context), "KeySpec": "AES_256"})
        return self._opened(answer), b64decode(answer["CiphertextBlob"])

    def decrypt(self, ciphertext: bytes, context: Mapping[str, str]) -> bytes:
        """Return the data key that `ciphertext` is. Raises KmsError."""
        blob = b64encode(ciphertext).decode()
        return self._opened(self._called("Decrypt", {"EncryptionContext": dict(context), "CiphertextBlob": blob}))

    def _called(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        if self.credentials is None:
            raise KmsError("the parent has not given credentials yet")
        public = self._recipient.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        document = self._nsm.attest(public_key=public)
        request |= {
            "KeyId": self._key_arn,
            "Recipient": {
                "AttestationDocument": b64encode(document).decode(),
                "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
            },
        }
        body = json.dumps(request).encode()
        headers = signed_headers(self.credentials, self._region, self._host, action, body, self._clock())
        try:
            answer = self._posted(body, headers)
        except (OSError, http.client.HTTPException, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise KmsError(f"{action}: {type(error).__name__}: {error}") from error
        if answer.get("KeyId") != self._key_arn:
            raise KmsError(f"{action}: the answer is about another key")
        return answer

    def _posted(self, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        connection = http.client.HTTPSConnection(self._host, timeout=TIMEOUT_S)
        with connected(self._forwarder, TIMEOUT_S) as peer:
            connection.sock = self._tls.wrap_socket(peer, server_hostname=self._host)
            try:
                connection.request("POST", "/", body, dict(headers))
                response = connection.getresponse()
                data = response.read(ANSWER_BYTES_MAX + 1)
            finally:
                connection.close()
        if len(data) > ANSWER_BYTES_MAX:
            raise KmsError(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
        answer = json.loads(data)
        if not isinstance(answer, dict):
            raise KmsError("the answer is no JSON object")
        if response.status != _OK:
            raise KmsError(f"{answer.get('__type', response.status)}: {answer.get('message', '')}")
        return answer

    def _opened(self, answer: Mapping[str, Any]) -> bytes:
        try:
            key = opened(b64decode(answer["CiphertextForRecipient"]), self._recipient)
        except (ValueError, TypeError, KeyError) as error:
            raise KmsError(f"what KMS sealed to this enclave does not open: {error}") from None
        if len(key) != DATA_KEY_BYTES:
            raise KmsError(f"a data key has {DATA_KEY_BYTES} bytes, this one {len(key)}")
        return key


def opened(sealed: bytes, private_key: rsa.RSAPrivateKey) -> bytes:
    """Return what a CMS EnvelopedData holds: RSAES-OAEP with SHA-256 around AES-256-CBC. Raises ValueError."""
    content = cms.ContentInfo.load(sealed, strict=True)
    if content["content_type"].native != "enveloped_data":
        raise ValueError("not an EnvelopedData")
    envelope = content["content"]
    (recipient,) = envelope["recipient_infos"]
    key = private_key.decrypt(recipient.chosen["encrypted_key"].native, _OAEP)
    encrypted = envelope["encrypted_content_info"]
    algorithm = encrypted["content_encryption_algorithm"]
    if algorithm["algorithm"].native != "aes256_cbc":
        raise ValueError("not AES-256-CBC")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(algorithm["parameters"].native)).decryptor()
    padded = decryptor.update(encrypted["encrypted_content"].native) + decryptor.finalize()
    unpadder = PKCS7(128).unpadder()
    return unpadder.update(padded) + unpadder.finalize()


def signed_headers(
    credentials: Credentials, region: str, host: str, action: str, body: bytes, now: datetime
) -> dict[str, str]:
    """Return the headers of a request to KMS, signed as AWS asks (Signature Version 4)."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": host,
        "x-amz-date": stamp,
        "x-amz-target": f"TrentService.{action}",
    }
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        ["POST", "/", "", *(f"{name}:{headers[name]}" for name in sorted(headers)), "", names, _sha256(body)]
    )
    scope = f"{stamp[:8]}/{region}/kms/aws4_request"
    key = b"AWS4" + credentials.secret_key.encode()
    for part in (stamp[:8], region, "kms", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{_sha256(canonical.encode())}"
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return headers


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
