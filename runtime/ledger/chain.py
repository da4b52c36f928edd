"""Postings as a chain of hashes, in segments that are written once: who changes one row afterwards is named. Pure.

A segment is a gzip of lines. The first is its header; each other is a JSON array of one posting and its hash, which is
the SHA-256 of the hash before it and the posting's own text. The first segment begins from GENESIS, every other from
the head of the one before.

Errors:
    ChainError           the archive does not prove what it holds; the message names the segment and the row
    └── LedgerChangedError   the archive is sound, and the ledger holds something else now
"""

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import zip_longest
from typing import Final

import msgspec
from msgspec import Struct

from runtime.ledger.projection import Posting

CHAIN_SCHEMA: Final = "bursa.postings.1"
GENESIS: Final = "0" * 64
SEGMENT_BYTES_MAX: Final = 256 * 1024 * 1024
"""Largest segment that is read, unpacked."""


class ChainError(ValueError):
    """The archive contradicts itself."""


class LedgerChangedError(ChainError):
    """The ledger is not what was exported from it."""


class Header(Struct, frozen=True):
    """First line of a segment: what it is, what it follows, and what it ends with."""

    schema: str
    group: str
    number: int
    """Counts segments from 1."""
    previous: str
    """Head of the segment before, or GENESIS."""
    head: str
    """Hash of the last row."""
    rows: int
    first_sequence: int
    last_sequence: int


class Segment(Struct, frozen=True):
    """A segment whose hashes have been computed again and agree."""

    header: Header
    postings: list[Posting]


def link(previous: str, posting: Posting) -> str:
    """Return the hash of `posting` after the row whose hash is `previous`."""
    return sha256(bytes.fromhex(previous) + msgspec.json.encode(tuple(posting))).hexdigest()


def seal(group: str, number: int, previous: str, postings: Sequence[Posting]) -> bytes:
    """Return the segment of `postings`, of which there is at least one; the same bytes for the same postings."""
    lines = []
    head = previous
    for posting in postings:
        head = link(head, posting)
        lines.append(msgspec.json.encode((*posting, head)))
    header = Header(
        CHAIN_SCHEMA, group, number, previous, head, len(postings), postings[0].sequence, postings[-1].sequence
    )
    return gzip.compress(b"\n".join((msgspec.json.encode(header), *lines, b"")), mtime=0)


def unseal(data: bytes, name: str) -> Segment:
    """Return what a segment holds. Raises ChainError, which names the first row that is not what was sealed."""
    first, *lines = _lines(data, name)
    try:
        header = msgspec.json.decode(first, type=Header)
    except msgspec.MsgspecError as error:
        raise ChainError(f"{name}: its first line is no header: {error}") from None
    if header.schema != CHAIN_SCHEMA:
        raise ChainError(f"{name}: schema must be {CHAIN_SCHEMA!r}, was {header.schema!r}")
    postings = []
    head = header.previous
    for at, line in enumerate(lines, start=1):
        try:
            *values, told = msgspec.json.decode(line, type=tuple[int, int, int, int, int, int, int, int, str])
        except msgspec.MsgspecError as error:
            raise ChainError(f"{name}: row {at} is no posting: {error}") from None
        posting = Posting(*values)
        head = link(head, posting)
        if head != told:
            raise ChainError(f"{name}: row {at} was altered: {_name(posting)} is not what was sealed")
        postings.append(posting)
    if (head, len(postings)) != (header.head, header.rows):
        raise ChainError(f"{name}: it ends after {len(postings)} rows with {head[:12]}, not as its header tells")
    return Segment(header, postings)


def follow(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Yield `segments` while each follows the one before it. Raises ChainError for a gap or a broken link."""
    number, head, sequence = 0, GENESIS, 0
    for segment in segments:
        header = segment.header
        if header.number != number + 1:
            raise ChainError(f"segment {number + 1} is missing: {header.number} follows {number}")
        if header.previous != head:
            raise ChainError(f"segment {header.number} does not follow segment {number}: another was sealed there")
        if header.first_sequence <= sequence:
            raise ChainError(f"segment {header.number} repeats sequence {header.first_sequence}")
        number, head, sequence = header.number, header.head, header.last_sequence
        yield segment


def compare(archived: Iterable[Posting], ledger: Iterable[Posting]) -> int:
    """Return how many postings both have. Raises LedgerChangedError, which names the first that differs."""
    count = 0
    for was, now in zip_longest(archived, ledger):
        if was == now:
            count += 1
        elif was is None or (now is not None and now[:3] < was[:3]):
            assert now is not None
            raise LedgerChangedError(f"the ledger has {_name(now)}, which was not there when it was exported: {now}")
        elif now is None or now[:3] > was[:3]:
            raise LedgerChangedError(f"the ledger has lost {_name(was)}, which was {was}")
        else:
            raise LedgerChangedError(f"the ledger has changed {_name(was)}: it was {was}, it is {now}")
    return count


def _lines(data: bytes, name: str) -> list[bytes]:
    unpacking = zlib.decompressobj(wbits=31)
    try:
        text = unpacking.decompress(data, SEGMENT_BYTES_MAX)
    except zlib.error as error:
        raise ChainError(f"{name}: cannot be unpacked: {error}") from None
    if not unpacking.eof:
        raise ChainError(f"{name}: it is cut off, or larger than {SEGMENT_BYTES_MAX} bytes")
    return text.splitlines() or [b""]


def _name(posting: Posting) -> str:
    return f"posting ({posting.sequence}, {posting.event}, {posting.line})"
