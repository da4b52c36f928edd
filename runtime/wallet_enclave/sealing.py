"""Seals a wallet's seed under a data key of KMS, bound to its wallet, so that no other blob can take its place."""

from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from runtime.wallet_enclave.kms import Kms
from runtime.wallet_enclave.messages import Hex, Message, MessageError, Name, decode, encode
from runtime.wallet_enclave.nsm import Nsm

SEED_BYTES: Final = 64
_NONCE_BYTES: Final = 12
_VERSION: Final = 1


class SealedSeed(Message, tag="sealed_seed"):
    """What is stored outside: useless without KMS, and KMS gives its key to an accepted enclave only."""

    version: int
    wallet: Name
    data_key: Hex
    """Ciphertext of KMS."""
    nonce: Hex
    seed: Hex
    """AES-256-GCM; wallet, purpose and version are authenticated with it."""


class SealError(ValueError):
    """The blob is not this wallet's seed."""


def _context(wallet: str) -> dict[str, str]:
    return {"purpose": "wallet-seed", "wallet": wallet}


def _bound(wallet: str) -> bytes:
    return f"{wallet}|wallet-seed|{_VERSION}".encode()


def new_seed(wallet: str, kms: Kms, nsm: Nsm) -> tuple[bytes, bytes]:
    """Return a new seed and its blob. Its entropy comes from the module and from KMS: one of them suffices."""
    data_key, ciphertext = kms.generate_data_key(_context(wallet))
    other, _ = kms.generate_data_key(_context(wallet))
    mixed = HKDF(hashes.SHA512(), SEED_BYTES, salt=other, info=_bound(wallet))
    seed = mixed.derive(nsm.random(SEED_BYTES))
    nonce = nsm.random(_NONCE_BYTES)
    sealed = AESGCM(data_key).encrypt(nonce, seed, _bound(wallet))
    return seed, encode(SealedSeed(_VERSION, wallet, ciphertext.hex(), nonce.hex(), sealed.hex()))


def opened_seed(wallet: str, blob: bytes, kms: Kms) -> bytes:
    """Return the seed in `blob`. Raises SealError for another wallet's or a changed blob, KmsError if KMS refuses."""
    try:
        sealed = decode(blob, SealedSeed)
    except (MessageError, msgspec.MsgspecError) as error:
        raise SealError(f"not a sealed seed: {error}") from None
    if sealed.wallet != wallet or sealed.version != _VERSION:
        raise SealError(f"the blob is of wallet {sealed.wallet}, version {sealed.version}")
    data_key = kms.decrypt(bytes.fromhex(sealed.data_key), _context(wallet))
    try:
        return AESGCM(data_key).decrypt(bytes.fromhex(sealed.nonce), bytes.fromhex(sealed.seed), _bound(wallet))
    except (InvalidTag, ValueError):
        raise SealError("the blob was changed, or its data key is not the one that sealed it") from None
