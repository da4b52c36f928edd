"""Ethereum transactions as this wallet makes them: plain transfers of type 2 (EIP-1559), nothing else."""

import hmac
from typing import Final

from coincurve import PrivateKey

from runtime.shared.ethereum import address_bytes, address_of, keccak256, rlp
from runtime.wallet_enclave.messages import AssetRule, Withdrawal
from runtime.wallet_enclave.policy import TRANSFER_GAS

_HARDENED: Final = 1 << 31
PATH: Final = (44 + _HARDENED, 60 + _HARDENED, _HARDENED, 0, 0)
"""m/44'/60'/0'/0/0: where every Ethereum wallet keeps its first address (BIP-44)."""
_TYPE_2: Final = b"\x02"


def derived(seed: bytes, path: tuple[int, ...] = PATH) -> PrivateKey:
    """Return the private key at `path` below `seed` (BIP-32)."""
    whole = hmac.digest(b"Bitcoin seed", seed, "sha512")
    key, chain = PrivateKey(whole[:32]), whole[32:]
    for number in path:
        parent = b"\x00" + key.secret if number >= _HARDENED else key.public_key.format(compressed=True)
        whole = hmac.digest(chain, parent + number.to_bytes(4, "big"), "sha512")
        key, chain = key.add(whole[:32]), whole[32:]
    return key


def address(key: PrivateKey) -> str:
    """Return the address of `key`."""
    return address_of(key.public_key.format(compressed=False))


def signed_transfer(key: PrivateKey, withdrawal: Withdrawal, rule: AssetRule) -> tuple[bytes, str]:
    """Return the signed transaction and its id. The same withdrawal always gives the same bytes (RFC 6979)."""
    fields = (
        rule.chain_id,
        withdrawal.nonce,
        withdrawal.priority_fee_per_gas_max,
        withdrawal.fee_per_gas_max,
        TRANSFER_GAS,
        address_bytes(withdrawal.destination),
        withdrawal.amount * rule.chain_units,
        b"",  # no data: a transfer calls nothing
        (),
    )
    signature = key.sign_recoverable(keccak256(_TYPE_2 + rlp(fields)), hasher=None)
    r, s, parity = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64]
    raw = _TYPE_2 + rlp((*fields, parity, r, s))
    return raw, "0x" + keccak256(raw).hex()
