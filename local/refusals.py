"""What moto would answer wrongly is refused, or corrected, before it is asked. A wrong answer is never passed on."""

import json
import uuid
from base64 import b64decode
from collections import OrderedDict
from hashlib import sha256
from typing import Any, Final, NamedTuple, Self

import msgspec
from moto.backends import get_backend

TOKENS_MAX: Final = 10_000
"""Idempotency tokens remembered; AWS remembers each for ten minutes."""
_KEY_ID_BYTES: Final = 36
_USES_OF_A_KEY: Final = frozenset(
    {
        "Decrypt",
        "DeriveSharedSecret",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyPair",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateMac",
        "ReEncrypt",
        "Sign",
        "Verify",
        "VerifyMac",
    }
)


class Answer(NamedTuple):
    """One HTTP answer."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the request took effect."""
        return self.status.startswith("2")

    @classmethod
    def error(cls, status: int, code: str, message: str) -> Self:
        """Return an error as the JSON protocols of AWS spell it."""
        body = msgspec.json.encode({"__type": code, "message": message})
        headers = [
            ("Content-Type", "application/x-amz-json-1.1"),
            ("x-amzn-errortype", code),
            ("x-amzn-RequestId", str(uuid.uuid4())),
        ]
        return cls(f"{status} {code}", headers, body)


class Refusals:
    """Looks at each request before moto does, and remembers the transactions that were made."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._transactions: OrderedDict[str, tuple[bytes, Answer]] = OrderedDict()

    def before(self, service: str, target: str, body: bytes, *, account: str, region: str) -> Answer | None:
        """Return the answer to give instead of moto's, or None when moto can be trusted."""
        action = target.rpartition(".")[2]
        if service == "kms" and action in _USES_OF_A_KEY:
            return _use_of_key(action, json.loads(body), account=account, region=region)
        if service == "dynamodb" and action == "TransactWriteItems":
            return self._repeated(json.loads(body).get("ClientRequestToken"), body)
        return None

    def after(self, service: str, target: str, body: bytes, answer: Answer) -> None:
        """Remember a transaction that succeeded: moto would apply it again under the same token."""
        if service == "dynamodb" and target.endswith(".TransactWriteItems") and answer.is_success:
            token = json.loads(body).get("ClientRequestToken")
            if token:
                self._transactions[token] = (sha256(body).digest(), answer)
                if len(self._transactions) > TOKENS_MAX:
                    self._transactions.popitem(last=False)

    def _repeated(self, token: str | None, body: bytes) -> Answer | None:
        if not token or token not in self._transactions:
            return None
        digest, answer = self._transactions[token]
        if digest != sha256(body).digest():
            return Answer.error(400, "IdempotentParameterMismatchException", "the token was used for other items")
        return answer


def _use_of_key(action: str, request: dict[str, Any], *, account: str, region: str) -> Answer | None:
    if "Recipient" in request:
        # moto ignores the attestation document and would hand out the plaintext.
        return Answer.error(400, "UnsupportedOperationException", "this KMS attests no enclave; use its simulator")
    if action in {"Sign", "Verify"} and request.get("MessageType") == "DIGEST":
        # moto hashes the digest again: the signature verifies nowhere else.
        return Answer.error(400, "UnsupportedOperationException", "this KMS signs with MessageType RAW only")
    key = named_key(request, account, region)
    if key is None or key.key_state == "Enabled":
        return None
    if key.key_state == "Disabled":
        return Answer.error(400, "DisabledException", f"{key.arn} is disabled.")
    return Answer.error(400, "KMSInvalidStateException", f"{key.arn} is {key.key_state}.")


def named_key(request: dict[str, Any], account: str, region: str) -> Any:  # noqa: ANN401 - moto's own key, or None
    """Return the key a request is about; None leaves the complaint about an unknown one to moto."""
    backend = get_backend("kms")[account][region]
    named = str(request.get("KeyId") or request.get("SourceKeyId") or "")
    if not named:  # a ciphertext of moto begins with the id of its key
        named = b64decode(request.get("CiphertextBlob", ""))[:_KEY_ID_BYTES].decode("ascii", "replace")
    key_id = backend.get_key_id_from_alias(_alias(named)) if "alias/" in named else named.rpartition("/")[2]
    return backend.keys.get(key_id or "")


def _alias(named: str) -> str:
    return named[named.index("alias/") :]
