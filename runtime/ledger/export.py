"""Carries the hash chain of postings on: from the ledger's database into a bucket that nobody can rewrite.

An export reads the last segment, seals what the ledger has added since, and writes the next number on condition that
it does not exist. So it can be repeated, cut off anywhere, or run twice at once, and the chain stays one chain.
"""

import logging
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final

import psycopg
from botocore.exceptions import ClientError

from runtime.ledger.chain import GENESIS, Header, Segment, seal, unseal
from runtime.ledger.projection import Posting

logger = logging.getLogger(__name__)

ROWS_PER_SEGMENT: Final = 100_000
"""A segment ends with the command that brings it past this."""
_COLUMNS: Final = "sequence, event, line, account, asset, amount, kind, time_us"
_NUMBER_DIGITS: Final = 8


class Archive:
    """The segments of one group in S3, `postings/<group>/<number>.jsonl.gz`."""

    def __init__(self, s3: Any, bucket: str, group: str) -> None:  # noqa: ANN401 - boto3's clients have no type
        """Read and write through the client `s3`."""
        self._s3 = s3
        self._bucket = bucket
        self.group = group

    def name(self, number: int) -> str:
        """Return the key of a segment."""
        return f"postings/{self.group}/{number:0{_NUMBER_DIGITS}d}.jsonl.gz"

    def numbers(self) -> Iterator[int]:
        """Yield the numbers of all segments, in order. One an hour makes nine pages of keys a year."""
        prefix = f"postings/{self.group}/"
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
            for entry in page.get("Contents", []):
                yield int(entry["Key"].removeprefix(prefix).partition(".")[0])

    def read(self, number: int) -> Segment:
        """Return a segment. Raises ChainError."""
        name = self.name(number)
        return unseal(self._s3.get_object(Bucket=self._bucket, Key=name)["Body"].read(), name)

    def segments(self) -> Iterator[Segment]:
        """Yield every segment, in order."""
        return map(self.read, self.numbers())

    def last(self) -> Header | None:
        """Return the header of the last segment, or None while there is none."""
        number = max(self.numbers(), default=0)
        return self.read(number).header if number else None

    def add(self, number: int, data: bytes) -> bool:
        """Write a segment; False when another export wrote that number first."""
        try:
            self._s3.put_object(
                Bucket=self._bucket,
                Key=self.name(number),
                Body=data,
                ContentType="application/gzip",
                ChecksumAlgorithm="SHA256",
                IfNoneMatch="*",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in {"PreconditionFailed", "ConditionalRequestConflict"}:
                return False
            raise
        return True


def export(connection: psycopg.Connection, archive: Archive, has_time: Callable[[], bool] = lambda: True) -> int:
    """Seal what the ledger has and the archive lacks; return how many postings. Stops early once `has_time` is False.

    Raises ChainError when the archive's end is not sound: then nothing is added to it.
    """
    last = archive.last()
    exported = 0
    while has_time():
        postings = _next_postings(connection, archive.group, last.last_sequence if last else 0)
        if not postings:
            break
        number, previous = (last.number + 1, last.head) if last else (1, GENESIS)
        data = seal(archive.group, number, previous, postings)
        if not archive.add(number, data):
            logger.warning("segment %d was written by another export", number)
            break
        last = unseal(data, archive.name(number)).header
        exported += len(postings)
        logger.info("segment %d: %d postings up to sequence %d", number, len(postings), last.last_sequence)
    return exported


def postings_through(connection: psycopg.Connection, sequence: int) -> Generator[Posting]:
    """Yield all postings up to `sequence`, in order, without holding them."""
    with connection.transaction(), connection.cursor("postings") as cursor:
        cursor.execute(
            f"SELECT {_COLUMNS} FROM postings WHERE sequence <= %s ORDER BY sequence, event, line".encode(),  # noqa: S608
            (sequence,),
        )
        yield from map(Posting._make, cursor)


def _next_postings(connection: psycopg.Connection, group: str, after: int) -> list[Posting]:
    """Return the postings after sequence `after`, of whole commands, and of committed ones only."""
    cursor = connection.execute(_NEXT, {"after": after, "group": group, "limit": ROWS_PER_SEGMENT})
    return [Posting._make(row) for row in cursor.fetchall()]


_NEXT: Final = f"""
SELECT {_COLUMNS} FROM postings
WHERE sequence > %(after)s AND sequence <= (
    SELECT max(sequence) FROM (
        SELECT sequence FROM postings
        WHERE sequence > %(after)s AND sequence <= (SELECT sequence FROM positions WHERE group_name = %(group)s)
        ORDER BY sequence, event, line LIMIT %(limit)s
    ) AS upcoming
)
ORDER BY sequence, event, line
""".encode()  # noqa: S608 - our own column names
