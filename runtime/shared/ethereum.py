"""Ethereum's own forms: Keccak-256, RLP and addresses. Pure."""

from typing import Final

_ROUNDS: Final = (
    0x0000000000000001, 0x0000000000008082, 0x800000000000808A, 0x8000000080008000, 0x000000000000808B,
    0x0000000080000001, 0x8000000080008081, 0x8000000000008009, 0x000000000000008A, 0x0000000000000088,
    0x0000000080008009, 0x000000008000000A, 0x000000008000808B, 0x800000000000008B, 0x8000000000008089,
    0x8000000000008003, 0x8000000000008002, 0x8000000000000080, 0x000000000000800A, 0x800000008000000A,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
)  # fmt: skip
_ROTATIONS: Final = (
    (0, 36, 3, 41, 18),
    (1, 44, 10, 45, 2),
    (62, 6, 43, 15, 61),
    (28, 55, 25, 21, 56),
    (27, 20, 39, 8, 14),
)
_RATE_BYTES: Final = 136
_MASK: Final = (1 << 64) - 1
ADDRESS_BYTES: Final = 20
_SHORT: Final = 55
"""Longest payload whose RLP length fits its first byte."""

Item = bytes | int | list["Item"] | tuple["Item", ...]


def keccak256(data: bytes) -> bytes:
    """Return the Keccak-256 of `data`: SHA-3 as it was before the standard changed its padding."""
    padded = bytearray(data)
    padded += b"\x01" + bytes(-(len(data) + 1) % _RATE_BYTES)
    padded[-1] |= 0x80
    lanes = [[0] * 5 for _ in range(5)]
    for start in range(0, len(padded), _RATE_BYTES):
        for number in range(_RATE_BYTES // 8):
            word = padded[start + 8 * number : start + 8 * number + 8]
            lanes[number % 5][number // 5] ^= int.from_bytes(word, "little")
        _permute(lanes)
    return b"".join(lanes[number % 5][number // 5].to_bytes(8, "little") for number in range(4))


def _rotated(lane: int, count: int) -> int:
    return (lane << count | lane >> (64 - count)) & _MASK


def _permute(lanes: list[list[int]]) -> None:
    for constant in _ROUNDS:
        parity = [row[0] ^ row[1] ^ row[2] ^ row[3] ^ row[4] for row in lanes]
        mixed = [parity[(x - 1) % 5] ^ _rotated(parity[(x + 1) % 5], 1) for x in range(5)]
        moved = [[0] * 5 for _ in range(5)]
        for x in range(5):
            for y in range(5):
                moved[y][(2 * x + 3 * y) % 5] = _rotated(lanes[x][y] ^ mixed[x], _ROTATIONS[x][y])
        for x in range(5):
            for y in range(5):
                lanes[x][y] = moved[x][y] ^ (~moved[(x + 1) % 5][y] & moved[(x + 2) % 5][y])
        lanes[0][0] ^= constant


def rlp(item: Item) -> bytes:
    """Return the recursive length prefix encoding of `item`. Raises ValueError for a negative integer."""
    if isinstance(item, list | tuple):
        return _prefixed(b"".join(rlp(part) for part in item), 0xC0)
    if isinstance(item, int):
        if item < 0:
            raise ValueError(f"RLP knows no negative integer, was {item}")
        item = item.to_bytes((item.bit_length() + 7) // 8, "big")
    if len(item) == 1 and item[0] < 0x80:  # noqa: PLR2004 - such a byte is its own encoding
        return item
    return _prefixed(item, 0x80)


def _prefixed(payload: bytes, base: int) -> bytes:
    if len(payload) <= _SHORT:
        return bytes([base + len(payload)]) + payload
    length = len(payload).to_bytes((len(payload).bit_length() + 7) // 8, "big")
    return bytes([base + _SHORT + len(length)]) + length + payload


def address_of(public_key: bytes) -> str:
    """Return the checksummed address of an uncompressed public key of 65 bytes."""
    return checksummed(keccak256(public_key[1:])[-ADDRESS_BYTES:])


def checksummed(address: bytes) -> str:
    """Return 20 bytes as text, whose capitals are its checksum (EIP-55)."""
    text = address.hex()
    digest = keccak256(text.encode()).hex()
    return "0x" + "".join(c.upper() if int(d, 16) >= 8 else c for c, d in zip(text, digest, strict=False))  # noqa: PLR2004


def address_bytes(text: str) -> bytes:
    """Return the 20 bytes of a checksummed address. Raises ValueError for any other text, all lower case included."""
    digits = text.removeprefix("0x")
    try:
        address = bytes.fromhex(digits)
    except ValueError:
        address = b""
    if len(digits) != 2 * ADDRESS_BYTES or len(address) != ADDRESS_BYTES or checksummed(address) != text:
        raise ValueError(
            f"an Ethereum address is 0x and 40 digits with the capitals of its checksum, was {text[:80]!r}"
        )
    return address
