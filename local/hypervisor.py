"""The Nitro hypervisor's stand-in: measures one enclave and signs what it is, under a root of its own.

It speaks the module's CBOR on a unix socket. Real KMS refuses its documents, since another root signed them.
"""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from runtime.shared.frames import frame, read_frame
from runtime.wallet_enclave.transport import listening

PCR_BYTES: Final = 48
_REQUEST_BYTES_MAX: Final = 16 * 1024
_LEAF_LIFE: Final = timedelta(hours=3)
_LEAF_RENEWED: Final = timedelta(minutes=30)
_ROOT_LIFE: Final = timedelta(days=3650)
_POINT_BYTES: Final = 48
_RANDOM_BYTES: Final = 256


def pcr_of_role(role_arn: str) -> bytes:
    """Return PCR3 of an enclave whose parent has this role: a register of zeros, extended by the ARN."""
    return hashlib.sha384(bytes(PCR_BYTES) + role_arn.encode()).digest()


@dataclass(frozen=True, slots=True)
class Authority:
    """The root that signs for every enclave of this machine."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, now: datetime) -> Self:
        """Return a new root."""
        key = ec.generate_private_key(ec.SECP384R1())
        return cls(_certificate("local.nitro-enclaves", key, None, now, life=_ROOT_LIFE, path_length=2), key)

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Return a root that was kept."""
        key = load_pem_private_key(pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(x509.load_pem_x509_certificate(pem), key)

    def to_pem(self) -> bytes:
        """Return key and certificate, to be kept where only this user reads."""
        private = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return private + self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        """The certificate that documents must lead to."""
        return self.certificate.public_bytes(Encoding.DER)


class Hypervisor:
    """Measured one enclave at its start; signs documents and gives entropy until the enclave ends."""

    def __init__(self, authority: Authority, pcrs: Mapping[int, bytes], now: datetime) -> None:
        """Take the measurements. A debug enclave is one whose registers are zero."""
        self._pcrs = dict(pcrs)
        keys = [ec.generate_private_key(ec.SECP384R1()) for _ in range(3)]
        zone = _certificate("zonal.local", keys[0], authority, now, life=_ROOT_LIFE, path_length=1)
        host = _certificate("host.local", keys[1], Authority(zone, keys[0]), now, life=_ROOT_LIFE, path_length=0)
        self._bundle = [each.public_bytes(Encoding.DER) for each in (authority.certificate, zone, host)]
        self._host = Authority(host, keys[1])
        self._leaf_key = keys[2]
        self._renew(now)

    def _renew(self, now: datetime) -> None:
        leaf = _certificate("enclave.local", self._leaf_key, self._host, now, life=_LEAF_LIFE, path_length=None)
        self._leaf, self._leaf_until = leaf.public_bytes(Encoding.DER), now + _LEAF_LIFE

    def answer(self, data: bytes, now: datetime) -> bytes:
        """Return the module's answer to one CBOR request; its certificate is renewed before it ends."""
        if now > self._leaf_until - _LEAF_RENEWED:
            self._renew(now)
        try:
            request = cbor2.loads(data)
        except (cbor2.CBORDecodeError, ValueError):
            return cbor2.dumps({"Error": "InvalidOperation"})
        match request:
            case {"Attestation": dict(wanted)}:
                return cbor2.dumps({"Attestation": {"document": self.document(wanted, now)}})
            case "GetRandom":
                return cbor2.dumps({"GetRandom": {"random": secrets.token_bytes(_RANDOM_BYTES)}})
        return cbor2.dumps({"Error": "InvalidOperation"})

    def document(self, wanted: Mapping[str, Any], now: datetime) -> bytes:
        """Return a signed attestation document over `wanted`."""
        payload = cbor2.dumps(
            {
                "module_id": "i-local-enc0",
                "digest": "SHA384",
                "timestamp": int(now.timestamp() * 1000),
                "pcrs": {number: self._pcrs.get(number, bytes(PCR_BYTES)) for number in range(16)},
                "certificate": self._leaf,
                "cabundle": self._bundle,
                "public_key": wanted.get("public_key"),
                "user_data": wanted.get("user_data"),
                "nonce": wanted.get("nonce"),
            }
        )
        protected = cbor2.dumps({1: -35})
        signed = cbor2.dumps(["Signature1", protected, b"", payload])
        r, s = decode_dss_signature(self._leaf_key.sign(signed, ec.ECDSA(hashes.SHA384())))
        signature = r.to_bytes(_POINT_BYTES, "big") + s.to_bytes(_POINT_BYTES, "big")
        return cbor2.dumps([protected, {}, payload, signature])

    async def serve(self, address: str) -> asyncio.Server:
        """Listen at `address`, such as unix:/path."""

        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    request = await read_frame(reader, _REQUEST_BYTES_MAX)
                    writer.write(frame(self.answer(request, datetime.now(UTC))))
                    await writer.drain()

        return await asyncio.start_server(connection, sock=listening(address))


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: Authority | None,
    now: datetime,
    *,
    life: timedelta,
    path_length: int | None,
) -> x509.Certificate:
    """Return a certificate; `path_length` None makes a leaf."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    is_authority = path_length is not None
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + life)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=path_length), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_authority,
                content_commitment=not is_authority,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=is_authority,
                crl_sign=is_authority,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(issuer.key if issuer else key, hashes.SHA384())
    )
