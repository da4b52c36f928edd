"""Deposit addresses: one for each account and chain, derived from an extended public key that can sign nothing. Pure.

The account's number is the index of its key (BIP 32, not hardened), so the same account has the same address for
ever, whoever derives it, and whoever holds the extended private key can spend from each. That one is only in the
enclave.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from coincurve import PublicKey

from runtime.shared.ethereum import address_of

HARDENED: Final = 1 << 31
"""Indexes from here on need the private key; an account's number stays below."""
_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PUBLIC_VERSIONS: Final = {bytes.fromhex("0488b21e"): "main", bytes.fromhex("043587cf"): "test"}
_XPUB_BYTES: Final = 78
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


@dataclass(frozen=True, slots=True)
class ExtendedPublicKey:
    """A public key and the chain code that its children follow from."""

    key: bytes
    """33 bytes, compressed."""
    chain_code: bytes

    @classmethod
    def parse(cls, text: str) -> "ExtendedPublicKey":
        """Read an `xpub…` or `tpub…`. Raises ValueError for anything else, an extended private key above all."""
        raw = _base58check(text)
        if len(raw) != _XPUB_BYTES or raw[:4] not in _PUBLIC_VERSIONS:
            raise ValueError("an extended public key begins with xpub or tpub and has 111 characters")
        PublicKey(raw[45:])  # raises ValueError for what is no point of the curve
        return cls(raw[45:], raw[13:45])

    def child(self, index: int) -> "ExtendedPublicKey":
        """Return the child at `index`, 0 to HARDENED - 1. Raises ValueError outside of that."""
        if not 0 <= index < HARDENED:
            raise ValueError(f"index must be 0 to {HARDENED - 1}, was {index}")
        digest = hmac.digest(self.chain_code, self.key + index.to_bytes(4, "big"), "sha512")
        return ExtendedPublicKey(PublicKey(self.key).add(digest[:32]).format(), digest[32:])


def deposit_address(chain: str, extended_public_key: str, account: int) -> str:
    """Return the account's address on `chain`. Raises ValueError for a wrong key, chain or account."""
    parent = ExtendedPublicKey.parse(extended_public_key)
    if chain == "ethereum":
        return ethereum_address(parent, account)
    if chain == "bitcoin":
        return bitcoin_address(parent, account, prefix="bc" if extended_public_key.startswith("xpub") else "tb")
    raise ValueError(f"chain must be ethereum or bitcoin, was {chain!r}")


def ethereum_address(parent: ExtendedPublicKey, account: int) -> str:
    """Return the account's checksummed address."""
    return address_of(PublicKey(parent.child(account).key).format(compressed=False))


def bitcoin_address(parent: ExtendedPublicKey, account: int, *, prefix: str) -> str:
    """Return the account's pay-to-witness-public-key-hash address (BIP 84, BIP 173); `prefix` is bc, tb or bcrt."""
    digest = hashlib.new("ripemd160", hashlib.sha256(parent.child(account).key).digest()).digest()
    data = [0, *_regrouped(digest)]
    check = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + data + [0] * 6
    remainder = _polymod(check) ^ 1
    data += [remainder >> 5 * (5 - at) & 31 for at in range(6)]
    return f"{prefix}1" + "".join(_BECH32[value] for value in data)


def _regrouped(data: bytes) -> list[int]:
    """Return the bits of 20 bytes in groups of five, which comes out even."""
    number = int.from_bytes(data, "big")
    groups = len(data) * 8 // 5
    return [number >> 5 * (groups - 1 - at) & 31 for at in range(groups)]


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for at, generator in enumerate(_GENERATORS):
            check ^= generator if top >> at & 1 else 0
    return check


def _base58check(text: str) -> bytes:
    number = 0
    for character in text:
        value = _ALPHABET.find(character)
        if value < 0:
            raise ValueError(f"{character!r} is not a character of base 58")
        number = number * 58 + value
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(raw) < 4 or hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4] != raw[-4:]:  # noqa: PLR2004
        raise ValueError("the checksum of the extended public key is wrong")
    return raw[:-4]
