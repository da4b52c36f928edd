"""KMS as an enclave sees it: HTTPS, signed requests, and the synthesized key policy enforced with its conditions.

moto ignores the recipient and would hand the plaintext out; so the calls of enclaves come here and go nowhere else.
Only GenerateDataKey and Decrypt with a Recipient are answered, never in plain.
"""

import hmac
import json
import logging
import re
import secrets
import ssl
import threading
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from asn1crypto import algos, cms, core
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
)
from cryptography.x509.oid import NameOID

from local.key_policy import PolicyError, permits
from local.paths import write_private
from runtime.wallet_enclave.attestation import Attestation, AttestationError, verified
from runtime.wallet_enclave.kms import DATA_KEY_BYTES, Credentials, signed_headers

logger = logging.getLogger(__name__)
BODY_BYTES_MAX: Final = 64 * 1024
_TIMEOUT_S: Final = 10.0
_NONCE_BYTES: Final = 12
_BLOCK_BYTES: Final = 16
_AUTHORIZATION: Final = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/[^,]+, SignedHeaders=[^,]+, Signature=\w+")
_CLOCK_SKEW_MAX: Final = timedelta(minutes=5)
_SERVER: Final = "kms-server.pem"
_RENEWED: Final = timedelta(days=60)
"""So long before its end a certificate is made anew."""
_ACTIONS: Final = ("Decrypt", "GenerateDataKey")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who an access key belongs to."""

    role_arn: str
    secret_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestedKey:
    """One wallet key: its policy as deployed, and its material."""

    arn: str
    policy: Mapping[str, Any]
    material: bytes


class Refusal(Exception):  # noqa: N818 - what AWS answers
    """An error as AWS spells it."""

    def __init__(self, code: str, message: str) -> None:
        """Give code and message."""
        super().__init__(message)
        self.code = code


class AttestedKms:
    """Decides on one request at a time. Pure but for chance; the clock enters as an argument."""

    def __init__(
        self, *, keys: list[AttestedKey], callers: Mapping[str, Caller], root: bytes, region: str, host: str
    ) -> None:
        """Know these keys, these access keys, and the root (DER) that documents must lead to."""
        self._keys = {key.arn: key for key in keys}
        self._callers = callers
        self._root = root
        self._region = region
        self._host = host

    def answer(self, headers: Mapping[str, str], body: bytes, now: datetime) -> dict[str, Any]:
        """Return the answer to one POST. Raises Refusal."""
        action = headers.get("x-amz-target", "").removeprefix("TrentService.")
        if action not in _ACTIONS:
            raise Refusal("UnsupportedOperationException", f"an enclave calls {' or '.join(_ACTIONS)}, not {action!r}")
        caller = self._caller(headers, action, body, now)
        try:
            request = json.loads(body)
            key = self._keys[request["KeyId"]]
            context = {str(name): str(value) for name, value in request.get("EncryptionContext", {}).items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Refusal("NotFoundException", "no such key, by its full ARN") from None
        attested = self._attested(request.get("Recipient"), now)
        self._authorize(key, f"kms:{action}", caller, attested, context)
        assert attested is not None
        if action == "GenerateDataKey":
            plain = secrets.token_bytes(DATA_KEY_BYTES)
            blob = _sealed(key, plain, context)
            extra = {"CiphertextBlob": b64encode(blob).decode()}
        else:
            plain, extra = _unsealed(key, b64decode(request.get("CiphertextBlob", "")), context), {}
        return {
            "KeyId": key.arn,
            "CiphertextForRecipient": b64encode(enveloped(plain, attested.public_key)).decode(),
            **extra,
        }

    def _caller(self, headers: Mapping[str, str], action: str, body: bytes, now: datetime) -> Caller:
        found = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
        caller = self._callers.get(found[1]) if found else None
        if found is None or caller is None:
            raise Refusal("UnrecognizedClientException", "the request is not signed by a known access key")
        try:
            at = datetime.strptime(headers.get("x-amz-date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            raise Refusal("IncompleteSignatureException", "x-amz-date is missing or wrong") from None
        token = headers.get("x-amz-security-token", "")
        credentials = Credentials(access_key=found[1], secret_key=caller.secret_key, token=token)
        wanted = signed_headers(credentials, self._region, self._host, action, body, at)["authorization"]
        if not hmac.compare_digest(wanted, headers["authorization"]) or abs(now - at) > _CLOCK_SKEW_MAX:
            raise Refusal("InvalidSignatureException", "the signature is wrong or too old")
        return caller

    def _attested(self, recipient: Any, now: datetime) -> Attestation | None:  # noqa: ANN401 - as it came
        if recipient is None:
            return None
        try:
            if recipient["KeyEncryptionAlgorithm"] != "RSAES_OAEP_SHA_256":
                raise Refusal("ValidationException", "KeyEncryptionAlgorithm must be RSAES_OAEP_SHA_256")
            return verified(b64decode(recipient["AttestationDocument"]), root=self._root, now=now)
        except (AttestationError, ValueError, TypeError, KeyError) as error:
            raise Refusal("ValidationException", f"the attestation document is not believed: {error}") from None

    def _authorize(
        self,
        key: AttestedKey,
        action: str,
        caller: Caller,
        attested: Attestation | None,
        encryption_context: Mapping[str, str],
    ) -> None:
        context = {f"kms:EncryptionContext:{name}": value for name, value in encryption_context.items()}
        context["kms:CallerAccount"] = key.arn.split(":")[4]
        if attested is not None:
            context |= {f"kms:RecipientAttestation:PCR{number}": value.hex() for number, value in attested.pcrs.items()}
            context["kms:RecipientAttestation:ImageSha384"] = attested.pcrs[0].hex()
        try:
            allowed = permits(key.policy, action, caller.role_arn, context)
        except PolicyError as error:
            raise Refusal("MalformedPolicyDocumentException", str(error)) from None
        if not allowed or attested is None:
            raise Refusal("AccessDeniedException", f"{caller.role_arn} may not {action} on {key.arn} as it is now")


def _bound(key: AttestedKey, context: Mapping[str, str]) -> bytes:
    return json.dumps([key.arn, sorted(context.items())]).encode()


def _sealed(key: AttestedKey, plain: bytes, context: Mapping[str, str]) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key.material).encrypt(nonce, plain, _bound(key, context))


def _unsealed(key: AttestedKey, blob: bytes, context: Mapping[str, str]) -> bytes:
    try:
        return AESGCM(key.material).decrypt(blob[:_NONCE_BYTES], blob[_NONCE_BYTES:], _bound(key, context))
    except (InvalidTag, ValueError):
        raise Refusal("InvalidCiphertextException", "not a ciphertext of this key and encryption context") from None


def enveloped(plain: bytes, public_key: bytes) -> bytes:
    """Return `plain` sealed to an RSA key as KMS does it: CMS EnvelopedData, OAEP with SHA-256, AES-256-CBC."""
    key = load_der_public_key(public_key)
    if not isinstance(key, rsa.RSAPublicKey):
        raise Refusal("ValidationException", "the document must carry an RSA public key")
    content_key, vector = secrets.token_bytes(32), secrets.token_bytes(_BLOCK_BYTES)
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(content_key), modes.CBC(vector)).encryptor()
    encrypted = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    recipient = cms.KeyTransRecipientInfo(
        {
            "version": "v2",
            "rid": cms.RecipientIdentifier("subject_key_identifier", core.OctetString(_identifier(public_key))),
            "key_encryption_algorithm": {
                "algorithm": "rsaes_oaep",
                "parameters": algos.RSAESOAEPParams(
                    {
                        "hash_algorithm": {"algorithm": "sha256"},
                        "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": "sha256"}},
                    }
                ),
            },
            "encrypted_key": key.encrypt(content_key, oaep),
        }
    )
    envelope = cms.EnvelopedData(
        {
            "version": "v2",
            "recipient_infos": [cms.RecipientInfo("ktri", recipient)],
            "encrypted_content_info": {
                "content_type": "data",
                "content_encryption_algorithm": {"algorithm": "aes256_cbc", "parameters": vector},
                "encrypted_content": encrypted,
            },
        }
    )
    sealed: bytes = cms.ContentInfo({"content_type": "enveloped_data", "content": envelope}).dump()
    return sealed


def _identifier(public_key: bytes) -> bytes:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(public_key)
    return digest.finalize()[:20]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _TIMEOUT_S
    server: "AttestedKmsServer"

    def do_POST(self) -> None:
        size = int(self.headers.get("content-length") or 0)
        if size > BODY_BYTES_MAX:
            self._send(413, {"__type": "RequestEntityTooLarge", "message": f"at most {BODY_BYTES_MAX} bytes"})
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            answer = self.server.kms.answer(headers, self.rfile.read(size), datetime.now(UTC))
        except Refusal as refusal:
            logger.warning("refused: %s: %s", refusal.code, refusal)
            self._send(400, {"__type": refusal.code, "message": str(refusal)})
        else:
            self._send(200, answer)

    def _send(self, status: int, answer: Mapping[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/x-amz-json-1.1")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Say nothing of each request: the decisions are logged."""


class AttestedKmsServer(ThreadingHTTPServer):
    """Serves `kms` over TLS on a loopback port, under a certificate for its host that is kept in a folder."""

    daemon_threads = True

    def __init__(self, kms: AttestedKms, *, host: str, folder: Path, port: int = 0) -> None:
        """Listen; the certificate to trust is then in `folder`/kms-root.pem."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.kms = kms
        self.roots = kept_certificate(folder, host)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(folder / _SERVER)

    def get_request(self) -> tuple[Any, Any]:
        """Return the next connection; its handshake is made in its own thread."""
        connection, address = super().get_request()
        connection.settimeout(_TIMEOUT_S)
        return self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def start(self) -> threading.Thread:
        """Serve in a thread of its own."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        return thread


def kept_certificate(folder: Path, host: str) -> Path:
    """Return the file of the certificate to trust; it and the server's are made anew when they are missing or old."""
    roots, server = folder / "kms-root.pem", folder / _SERVER
    now = datetime.now(UTC)
    if not roots.exists() or x509.load_pem_x509_certificate(roots.read_bytes()).not_valid_after_utc < now + _RENEWED:
        pem, root = _server_certificate(host, now)
        write_private(server, pem)
        write_private(roots, root)
    return roots


def _server_certificate(host: str, now: datetime) -> tuple[bytes, bytes]:
    """Return key and certificate of the server, and the certificate to trust (its own), all PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(Encoding.PEM)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + public, public
