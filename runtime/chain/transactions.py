"""Signed transfers of Ethereum, read back from their bytes: what goes to whom, under which number. Pure.

Only what our signer makes is read: type 2 (EIP-1559), without an access list. It is decoded by other code than the
signer's, so that a mistake of one is seen by the other. Whose signature it is, nodes check: functions have no library
that could work it out.
"""

from dataclasses import dataclass
from typing import Final

from runtime.shared.ethereum import ADDRESS_BYTES, checksummed, keccak256, rlp

BYTES_MAX: Final = 128 * 1024
DEPTH_MAX: Final = 3
_TYPE_2: Final = 2
_FIELDS: Final = 12
_STRING, _LIST = 0x80, 0xC0
_SHORT: Final = 55
ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of secp256k1."""

Part = bytes | list["Part"]


class TransactionError(ValueError):
    """The bytes are no signed transfer. The message says what is wrong with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTransfer:
    """A signed transaction. Amounts in wei."""

    hash: str
    chain_id: int
    nonce: int
    priority_fee_per_gas_max: int
    fee_per_gas_max: int
    gas: int
    to: str
    value: int
    data: bytes
    digest: bytes
    """What is signed."""
    signature: bytes
    """65 bytes: r, s, and the parity by which the key can be recovered."""

    @property
    def cost_max(self) -> int:
        """What the sender must have, in wei."""
        return self.value + self.gas * self.fee_per_gas_max


def transaction_id(raw: bytes) -> str:
    """Return the id of a signed transaction: it is of its bytes, so another content has another id."""
    return "0x" + keccak256(raw).hex()


def read_transfer(raw: bytes) -> SignedTransfer:
    """Return the transaction that these bytes are. Raises TransactionError."""
    if not raw or len(raw) > BYTES_MAX or raw[0] != _TYPE_2:
        raise TransactionError(
            f"a transaction of type 2 with at most {BYTES_MAX} bytes is expected, was {raw[:8].hex()}"
        )
    fields = _decoded(raw[1:])
    if not isinstance(fields, list) or len(fields) != _FIELDS:
        raise TransactionError(f"a transaction has {_FIELDS} fields")
    chain_id, nonce, priority, most, gas, to, value, data, access, parity, r, s = fields
    if access != [] or not isinstance(to, bytes) or not isinstance(data, bytes):
        raise TransactionError("a receiver, data and no access list are expected")
    if len(to) != ADDRESS_BYTES:
        raise TransactionError(f"a receiver of {ADDRESS_BYTES} bytes is expected, has {len(to)}")
    numbers = [_number(each) for each in (chain_id, nonce, priority, most, gas)]
    unsigned = bytes([_TYPE_2]) + rlp((*numbers, to, _number(value), data, ()))
    return SignedTransfer(
        hash=transaction_id(raw),
        chain_id=_number(chain_id),
        nonce=_number(nonce),
        priority_fee_per_gas_max=_number(priority),
        fee_per_gas_max=_number(most),
        gas=_number(gas),
        to=checksummed(to),
        value=_number(value),
        data=data,
        digest=keccak256(unsigned),
        signature=_signature(_number(parity), _number(r), _number(s)),
    )


def _signature(parity: int, r: int, s: int) -> bytes:
    if parity not in (0, 1) or not 0 < r < ORDER or not 0 < s <= ORDER // 2:
        raise TransactionError("the signature is out of bounds (EIP-2)")
    return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([parity])


def _number(part: Part) -> int:
    if not isinstance(part, bytes) or part[:1] == b"\x00":
        raise TransactionError("a number without leading zeros is expected")
    return int.from_bytes(part, "big")


def _decoded(data: bytes) -> Part:
    """Return the one item that RLP bytes are. Raises TransactionError, also for bytes after it."""
    item, end = _item(data, 0, len(data), DEPTH_MAX)
    if end != len(data):
        raise TransactionError(f"{len(data) - end} bytes too many")
    return item


def _item(data: bytes, at: int, end: int, depth: int) -> tuple[Part, int]:
    if at >= end:
        raise TransactionError("the bytes end too early")
    if not depth:
        raise TransactionError(f"lists are at most {DEPTH_MAX - 1} deep")
    first = data[at]
    if first < _STRING:
        return data[at : at + 1], at + 1
    base = _LIST if first >= _LIST else _STRING
    start, length = at + 1, first - base
    if length > _SHORT:
        size = length - _SHORT
        start, length = at + 1 + size, int.from_bytes(data[at + 1 : at + 1 + size], "big")
        if length <= _SHORT or data[at + 1] == 0:
            raise TransactionError("a length is not in its shortest form")
    stop = start + length
    if stop > end:
        raise TransactionError("the bytes end too early")
    if base == _STRING:
        if length == 1 and data[start] < _STRING:
            raise TransactionError("a byte is not in its shortest form")
        return data[start:stop], stop
    parts: list[Part] = []
    while start < stop:
        part, start = _item(data, start, stop, depth - 1)
        parts.append(part)
    return parts, stop
