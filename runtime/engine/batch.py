"""The unit that is made durable: a header that chains and fences, then bytes that this file does not look into.

Layout, big endian: magic, format, group, epoch, first sequence, time, count, body length, previous hash, CRC, body.
A reader accepts a batch only if its CRC holds, its previous hash is the hash of the batch before, its epoch is not
older and its first sequence is the next. A batch with count 0 is the marker with which a leader opens its epoch.

Formats: in 1 a marker has no body; since 2 its body says who opened the epoch (`Opened`). Both are read, 2 is written;
one log may hold both, as it does after an upgrade. A program that reads only 1 refuses a log that holds a 2.
"""

import struct
import zlib
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import msgspec

MAGIC: Final = b"BRSA"
FORMAT: Final = 2
"""What is written."""
FORMATS_READ: Final = frozenset({1, 2})
GROUP_BYTES: Final = 16
HASH_BYTES: Final = 16
BODY_BYTES_MAX: Final = 8 * 1024 * 1024
GENESIS: Final = bytes(HASH_BYTES)
"""The previous hash of the first batch."""
_HEADER: Final = struct.Struct(f">4sH{GROUP_BYTES}sQQQII{HASH_BYTES}s")
_CRC: Final = struct.Struct(">I")
HEADER_BYTES: Final = _HEADER.size + _CRC.size


class BatchError(ValueError):
    """Bytes that cannot stand where they stand; the message says why."""


class Opened(msgspec.Struct, frozen=True, array_like=True):
    """What the marker of an epoch tells of the process that opened it. New fields are added at the end."""

    member: str
    """Its name in the lease; a new one in each life of a process."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as read back. `hash` is what the next batch must name as its previous hash."""

    format: int
    group: str
    epoch: int
    first_sequence: int
    time_us: int
    count: int
    previous: bytes
    body: bytes
    hash: bytes

    @property
    def next_sequence(self) -> int:
        """The sequence that the next batch must start with."""
        return self.first_sequence + self.count


class Chain:
    """Where a log stands: what the next batch must continue."""

    def __init__(self, group: str) -> None:
        """Start before the first batch of `group` (1 to GROUP_BYTES ASCII characters)."""
        if not 1 <= len(group.encode()) <= GROUP_BYTES:
            raise BatchError(f"a group name has 1 to {GROUP_BYTES} bytes, was {group!r}")
        self.group = group
        self.epoch = 0
        self.next_sequence = 1
        self.hash = GENESIS

    def copy(self) -> "Chain":
        """Return a chain that stands where this one does."""
        other = Chain(self.group)
        other.set(self.epoch, self.next_sequence, self.hash)
        return other

    def set(self, epoch: int, next_sequence: int, previous: bytes) -> None:
        """Stand behind the batch whose hash is `previous`."""
        self.epoch = epoch
        self.next_sequence = next_sequence
        self.hash = previous

    def seal(self, time_us: int, count: int, body: bytes) -> bytes:
        """Return the bytes of the next batch and advance over it."""
        if len(body) > BODY_BYTES_MAX:
            raise BatchError(f"a batch holds at most {BODY_BYTES_MAX} bytes, was {len(body)}")
        header = _HEADER.pack(
            MAGIC,
            FORMAT,
            self.group.encode(),
            self.epoch,
            self.next_sequence,
            time_us,
            count,
            len(body),
            self.hash,
        )
        self.next_sequence += count
        self.hash = _digest(header, body)
        return _checked(header, body)

    def accept(self, batch: Batch) -> None:
        """Advance over a batch that was read. Raises BatchError for one that does not continue this chain."""
        if batch.group != self.group:
            raise BatchError(f"batch of group {batch.group!r} in the log of {self.group!r}")
        if batch.epoch < self.epoch:
            raise BatchError(f"batch of epoch {batch.epoch} after epoch {self.epoch}: its writer was fenced")
        if batch.first_sequence != self.next_sequence:
            raise BatchError(f"batch starts at sequence {batch.first_sequence}, expected {self.next_sequence}")
        if batch.previous != self.hash:
            raise BatchError(f"batch at sequence {batch.first_sequence} does not continue the one before it")
        self.epoch = batch.epoch
        self.next_sequence = batch.next_sequence
        self.hash = batch.hash


def pack_batch(batch: Batch) -> bytes:
    """Return the bytes of a batch that was read, as its leader sealed them."""
    header = _HEADER.pack(
        MAGIC,
        batch.format,
        batch.group.encode(),
        batch.epoch,
        batch.first_sequence,
        batch.time_us,
        batch.count,
        len(batch.body),
        batch.previous,
    )
    return _checked(header, batch.body)


def _checked(header: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(body, zlib.crc32(header))
    return b"".join((header, _CRC.pack(crc), body))


def _digest(header: bytes, body: bytes) -> bytes:
    """Hash of a batch; its header holds the hash before, which makes it a chain."""
    digest = blake2b(header, digest_size=HASH_BYTES)
    digest.update(body)
    return digest.digest()


def marker_of(batch: Batch) -> Opened | None:
    """Return what an epoch's marker tells; None for a batch of commands, or a marker of format 1."""
    if batch.count or not batch.body:
        return None
    return msgspec.msgpack.decode(batch.body, type=Opened)


def announced_bytes(data: bytes) -> int:
    """Return how long the batch at the beginning of `data` says that it is; 0 when no header of one stands there."""
    if len(data) < HEADER_BYTES or not data.startswith(MAGIC):
        return 0
    length = int(_HEADER.unpack_from(data)[7])
    return HEADER_BYTES + length if length <= BODY_BYTES_MAX else 0


def parse_batch(data: bytes, offset: int) -> tuple[Batch, int] | None:
    """Return the batch at `offset` and where it ends, or None when the bytes there are not a whole, intact batch.

    Raises BatchError for an intact batch of a format that this program does not read.
    """
    start = offset + HEADER_BYTES
    if start > len(data):
        return None
    header = bytes(data[offset : offset + _HEADER.size])
    if header[:4] != MAGIC:
        return None
    _, version, group, epoch, first_sequence, time_us, count, length, previous = _HEADER.unpack(header)
    end = start + length
    if length > BODY_BYTES_MAX or end > len(data):
        return None
    body = bytes(data[start:end])
    (crc,) = _CRC.unpack_from(data, offset + _HEADER.size)
    if zlib.crc32(body, zlib.crc32(header)) != crc:
        return None
    if version not in FORMATS_READ:
        known = " and ".join(str(each) for each in sorted(FORMATS_READ))
        raise BatchError(f"batch of format {version}, written by a newer program; this one reads {known}")
    name = group.rstrip(b"\0").decode()
    return Batch(version, name, epoch, first_sequence, time_us, count, previous, body, _digest(header, body)), end
