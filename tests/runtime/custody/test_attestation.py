"""Whom an attestation document is believed from, and that nothing else ever passes."""

import random
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from local.hypervisor import Authority, Hypervisor, pcr_of_role
from runtime.wallet_enclave.attestation import AttestationError, verified
from runtime.wallet_enclave.nsm import NsmError, decode_cbor
from tests.runtime.custody.vault import ROLE, pcrs
from tests.soak import seeds

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
WANTED = {"public_key": b"k" * 294, "user_data": b"u" * 32, "nonce": b"n" * 32}
AUTHORITY = Authority.create(NOW)
HYPERVISOR = Hypervisor(AUTHORITY, pcrs(), NOW)
DOCUMENT = HYPERVISOR.document(WANTED, NOW)


def refused(document: bytes, reason: str = "", *, root: bytes = AUTHORITY.der, now: datetime = NOW) -> None:
    with pytest.raises(AttestationError, match=reason or None):
        verified(document, root=root, now=now)


def rebuilt(hypervisor: Hypervisor = HYPERVISOR, protected: Any = None, **claims: Any) -> bytes:
    """Return a document with other claims, signed by the same leaf."""
    head, _, payload, _ = cbor2.loads(DOCUMENT)
    head = head if protected is None else cbor2.dumps(protected)
    payload = cbor2.dumps({**cbor2.loads(payload), **claims})
    signed = cbor2.dumps(["Signature1", head, b"", payload])
    r, s = decode_dss_signature(hypervisor._leaf_key.sign(signed, ec.ECDSA(hashes.SHA384())))
    return cbor2.dumps([head, {}, payload, r.to_bytes(48, "big") + s.to_bytes(48, "big")])


def test_a_document_of_the_root_says_what_it_measured() -> None:
    found = verified(DOCUMENT, root=AUTHORITY.der, now=NOW + timedelta(minutes=4))
    assert found.pcrs[0] == pcrs()[0]
    assert found.pcrs[3] == pcr_of_role(ROLE)
    assert found.pcrs[4] == bytes(48)
    assert (found.public_key, found.user_data, found.nonce) == tuple(WANTED.values())
    assert verified(rebuilt(), root=AUTHORITY.der, now=NOW) == verified(DOCUMENT, root=AUTHORITY.der, now=NOW)


def test_pcr3_is_what_the_documentation_of_aws_computes() -> None:
    """`hashlib.sha384(b"\\0" * 48 + arn)`, with its example role."""
    arn = "arn:aws:iam::123456789012:role/Webserver"
    wanted = "78fce75db17cd4e0a3fb8dad3ad128ca5e77edbb2b2c7f75329dccd99aa5f6ef4fc1f1a452e315b9e98f9e312e6921e6"
    assert pcr_of_role(arn).hex() == wanted


def test_another_root_and_another_time_are_refused() -> None:
    refused(DOCUMENT, "another root", root=Authority.create(NOW).der)
    refused(DOCUMENT, "more than", now=NOW + timedelta(minutes=6))
    refused(DOCUMENT, "more than", now=NOW - timedelta(minutes=6))
    late = NOW + timedelta(hours=4)
    refused(HYPERVISOR.document(WANTED, late), "not valid now", now=late)  # its leaf lives three hours


def test_headers_claims_and_chain_must_be_whole() -> None:
    refused(rebuilt(protected={1: -7}), "ES384")
    refused(rebuilt(protected={}), "ES384")
    refused(rebuilt(protected={1: -35, 4: b"kid"}), "ES384")
    refused(rebuilt(pcrs={}), "PCRs of 48 bytes")
    refused(rebuilt(pcrs={0: b"short"}), "PCRs of 48 bytes")
    refused(rebuilt(pcrs={number: bytes(48) for number in range(33)}), "PCRs of 48 bytes")
    refused(rebuilt(cabundle=[]), "1 to 8 certificates")
    bundle = cbor2.loads(cbor2.loads(DOCUMENT)[2])["cabundle"]
    refused(rebuilt(cabundle=bundle[:1]))
    refused(rebuilt(cabundle=bundle[::-1]), "another root")
    refused(rebuilt(cabundle=[*bundle, bundle[-1]]), "more below it")
    refused(rebuilt(certificate=bundle[2], cabundle=bundle[:2]), "must sign documents")
    refused(DOCUMENT + b"\0", "after the end")
    refused(cbor2.dumps(cbor2.CBORTag(18, cbor2.loads(DOCUMENT))), "untagged")
    refused(b"x" * 20_000, "at most 16384 bytes")


def test_a_leaf_does_not_become_an_authority() -> None:
    """Somebody who holds one leaf signs a leaf of their own below it."""
    bundle = [*HYPERVISOR._bundle, HYPERVISOR._leaf]
    forged = Hypervisor(AUTHORITY, {}, NOW)
    refused(rebuilt(forged, certificate=forged._leaf, cabundle=bundle))


def test_one_changed_byte_anywhere_is_refused() -> None:
    for position in range(len(DOCUMENT)):
        if DOCUMENT[position : position + 1] != b"\xa0":  # the empty unprotected header, which nothing reads
            changed = bytearray(DOCUMENT)
            changed[position] ^= 1
            refused(bytes(changed))


def mutated(random_: random.Random) -> bytes:
    data = bytearray(DOCUMENT)
    for _ in range(random_.randint(1, 4)):
        at = random_.randrange(len(data))
        match random_.randrange(4):
            case 0:
                data[at] = random_.randrange(256)
            case 1:
                del data[at : at + random_.randint(1, 200)]
            case 2:
                data[at:at] = random_.randbytes(random_.randint(1, 40))
            case _:
                other = random_.randrange(len(data))
                data[at : at + 16] = data[other : other + 16]
        if not data:
            return b""
    return bytes(data)


def fuzz(seed: int, count: int) -> None:
    random_ = random.Random(seed)
    for _ in range(count):
        document = mutated(random_)
        try:
            parts = cbor2.CBORDecoder(BytesIO(document)).decode()
            same = parts[0::2] == cbor2.loads(DOCUMENT)[0::2] and parts[3] == cbor2.loads(DOCUMENT)[3]
        except Exception:  # noqa: BLE001 - any bytes at all
            same = False
        try:
            verified(document, root=AUTHORITY.der, now=NOW)
        except AttestationError:
            continue
        assert same, f"seed {seed}: a changed document was believed"


def test_mutated_documents_are_never_believed_and_raise_nothing_else() -> None:
    fuzz(1, 300)


@pytest.mark.soak
def test_many_mutated_documents_are_never_believed() -> None:
    for seed in seeds(0.02):
        fuzz(seed, 1000)


def test_cbor_is_one_item_and_every_fault_is_ours() -> None:
    assert decode_cbor(cbor2.dumps({"a": 1})) == {"a": 1}
    for data in (b"", b"\xff", cbor2.dumps(1) + b"\0", b"\x9f" * 5000, b"\xd8\x1d\x00"):
        with pytest.raises(NsmError):
            decode_cbor(data)
