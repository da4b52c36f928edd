"""Reads an attestation document and believes it only if its whole chain leads to the given root. Pure.

Format: a COSE_Sign1 array [protected, unprotected, payload, signature], ES384; the payload names the certificate that
signed it and the bundle up to the root. Any fault at all is one AttestationError.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from runtime.wallet_enclave.nsm import NsmError, decode_cbor

DOCUMENT_BYTES_MAX: Final = 16 * 1024
AGE_MAX: Final = timedelta(minutes=5)
"""As old as KMS accepts a document."""
PCR_BYTES: Final = 48
_ES384: Final = -35
_PROTECTED: Final = {1: _ES384}
_POINT_BYTES: Final = 48
_SIGN1_PARTS: Final = 4
_BUNDLE_MAX: Final = 8
_PCRS_MAX: Final = 32


class AttestationError(ValueError):
    """The document is not believed; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """What a believed document says."""

    pcrs: Mapping[int, bytes]
    public_key: bytes
    user_data: bytes
    nonce: bytes
    made_at: datetime


def verified(document: bytes, *, root: bytes, now: datetime) -> Attestation:
    """Return what `document` says if it leads to the certificate `root` (DER). Raises AttestationError."""
    try:
        return _verified(document, root, now)
    except AttestationError:
        raise
    except (NsmError, ValueError, TypeError, KeyError, IndexError, OverflowError, InvalidSignature) as error:
        raise AttestationError(f"not an attestation document: {error}") from None
    except Exception as error:  # noqa: BLE001 - the libraries below have more kinds of errors than they name
        raise AttestationError(f"not an attestation document: {type(error).__name__}") from None


def _verified(document: bytes, root: bytes, now: datetime) -> Attestation:
    if len(document) > DOCUMENT_BYTES_MAX:
        raise AttestationError(f"a document has at most {DOCUMENT_BYTES_MAX} bytes, this one {len(document)}")
    parts = decode_cbor(document)
    if not isinstance(parts, list) or len(parts) != _SIGN1_PARTS:
        raise AttestationError("not an untagged COSE_Sign1 array")
    protected, _unprotected, payload, signature = parts
    if decode_cbor(protected) != _PROTECTED:
        raise AttestationError("the protected header must say ES384 and nothing else")
    claims = decode_cbor(payload)
    made_at = datetime.fromtimestamp(claims["timestamp"] / 1000, UTC)
    if not -AGE_MAX <= now - made_at <= AGE_MAX:
        raise AttestationError(f"made at {made_at:%H:%M:%S}, which is more than {AGE_MAX} from now")
    leaf = _leaf(claims["certificate"], claims["cabundle"], root, now)
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    _check_signature(leaf, signature, signed)
    return Attestation(
        pcrs=_pcrs(claims),
        public_key=bytes(claims.get("public_key") or b""),
        user_data=bytes(claims.get("user_data") or b""),
        nonce=bytes(claims.get("nonce") or b""),
        made_at=made_at,
    )


def _pcrs(claims: dict[str, Any]) -> dict[int, bytes]:
    pcrs = {int(number): bytes(value) for number, value in claims["pcrs"].items()}
    if not 1 <= len(pcrs) <= _PCRS_MAX or any(len(value) != PCR_BYTES for value in pcrs.values()):
        raise AttestationError(f"a document has 1 to {_PCRS_MAX} PCRs of {PCR_BYTES} bytes")
    return pcrs


def _leaf(certificate: bytes, bundle: list[bytes], root: bytes, now: datetime) -> x509.Certificate:
    if not 1 <= len(bundle) <= _BUNDLE_MAX:
        raise AttestationError(f"the bundle has 1 to {_BUNDLE_MAX} certificates, this one {len(bundle)}")
    chain = [x509.load_der_x509_certificate(each) for each in (*bundle, certificate)]
    if chain[0].public_bytes(Encoding.DER) != root:
        raise AttestationError("the bundle starts at another root")
    for depth, each in enumerate(chain):
        if not each.not_valid_before_utc <= now <= each.not_valid_after_utc:
            raise AttestationError("a certificate is not valid now")
        constraints = each.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = each.extensions.get_extension_for_class(x509.KeyUsage).value
        below = len(chain) - depth - 2
        if depth == len(chain) - 1:
            if constraints.ca or not usage.digital_signature:
                raise AttestationError("the last certificate must sign documents, and nothing else")
        elif not constraints.ca or not usage.key_cert_sign:
            raise AttestationError("a certificate in the bundle is no authority")
        elif constraints.path_length is not None and constraints.path_length < below:
            raise AttestationError("a certificate in the bundle has more below it than it may")
    for issuer, subject in pairwise(chain):
        subject.verify_directly_issued_by(issuer)
    return chain[-1]


def _check_signature(leaf: x509.Certificate, signature: bytes, signed: bytes) -> None:
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise AttestationError("the document must be signed with a key on P-384")
    if len(signature) != 2 * _POINT_BYTES:
        raise AttestationError("the signature has the wrong length")
    r, s = (int.from_bytes(part, "big") for part in (signature[:_POINT_BYTES], signature[_POINT_BYTES:]))
    try:
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        raise AttestationError("the signature is wrong") from None
