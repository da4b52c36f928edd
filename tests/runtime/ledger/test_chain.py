"""The chain of postings: one altered row anywhere is named, in the archive as in the ledger."""

import asyncio
import gzip
from collections.abc import Iterator
from typing import Any

import boto3
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from runtime.ledger import export as exporting
from runtime.ledger.chain import GENESIS, ChainError, LedgerChangedError, compare, follow, seal, unseal
from runtime.ledger.export import Archive, export
from runtime.ledger.projection import Posting
from runtime.ledger.verify import verify
from tests.runtime.ledger.feeds import ANA, BUDI, Database, funded_feed, order

amounts = st.integers(-(2**62), 2**62).filter(bool)
rows = st.lists(st.builds(Posting, *[st.integers(0, 2**40)] * 5, amounts, st.integers(1, 3), st.integers(0, 2**50)))


@given(rows.filter(bool))
def test_what_was_sealed_is_what_comes_out_and_always_the_same_bytes(postings: list[Posting]) -> None:
    data = seal("main", 1, GENESIS, postings)
    assert unseal(data, "x").postings == postings
    assert seal("main", 1, GENESIS, postings) == data


@given(rows.filter(bool), st.data())
def test_one_altered_value_is_named(postings: list[Posting], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(postings) - 1))
    column = data.draw(st.integers(0, 7))
    lines = gzip.decompress(seal("main", 1, GENESIS, postings)).splitlines()
    values = lines[at + 1][1:].split(b",")
    values[column] = str(int(values[column]) + 1).encode()
    lines[at + 1] = b"[" + b",".join(values)
    with pytest.raises(ChainError, match=rf"x: row {at + 1} was altered: posting \("):
        unseal(gzip.compress(b"\n".join(lines)), "x")


def test_a_row_removed_added_or_swapped_breaks_the_chain() -> None:
    postings = [Posting(n, 0, 0, 1000, 1, 5, 3, n) for n in range(1, 6)]
    header, *lines = gzip.decompress(seal("main", 1, GENESIS, postings)).splitlines()
    for wrong in (lines[:2] + lines[3:], [*lines, lines[-1]], [lines[1], lines[0], *lines[2:]], lines[:-1]):
        with pytest.raises(ChainError, match=r"was altered|it ends after 4 rows"):
            unseal(gzip.compress(b"\n".join([header, *wrong])), "x")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no gzip", "cannot be unpacked"),
        (gzip.compress(b"{}", mtime=0), "no header"),
        (gzip.compress(b"", mtime=0), "no header"),
        (seal("main", 1, GENESIS, [Posting(1, 0, 0, 1, 1, 1, 3, 1)])[:-9], "cut off"),
    ],
)
def test_what_is_no_segment_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ChainError, match=message):
        unseal(data, "x")


def test_segments_follow_each_other_or_are_refused() -> None:
    def segment(number: int, previous: str, sequence: int) -> Any:
        return unseal(seal("main", number, previous, [Posting(sequence, 0, 0, 1, 1, 1, 3, 1)]), "x")

    one = segment(1, GENESIS, 1)
    two = segment(2, one.header.head, 2)
    assert list(follow([one, two])) == [one, two]
    for wrong, message in (
        ([two], "segment 1 is missing"),
        ([one, segment(2, GENESIS, 2)], "does not follow segment 1"),
        ([one, segment(2, one.header.head, 1)], "repeats sequence 1"),
    ):
        with pytest.raises(ChainError, match=message):
            list(follow(wrong))


def test_the_ledger_is_compared_row_by_row() -> None:
    ours = [Posting(n, 0, 0, 1000, 1, 5, 3, n) for n in range(1, 5)]
    assert compare(ours, ours) == 4
    for ledger, message in (
        (ours[:1] + ours[2:], r"has lost posting \(2, 0, 0\)"),
        (ours[:-1], r"has lost posting \(4, 0, 0\)"),
        ([*ours, ours[0]._replace(sequence=9)], r"has posting \(9, 0, 0\), which was not there"),
        ([ours[0], ours[0]._replace(line=1), *ours[1:]], r"has posting \(1, 0, 1\), which was not there"),
        ([*ours[:3], ours[3]._replace(amount=6)], r"has changed posting \(4, 0, 0\): .*amount=5.* it is .*amount=6"),
    ):
        with pytest.raises(LedgerChangedError, match=message):
            compare(ours, ledger)


@pytest.fixture
def archive() -> Iterator[Archive]:
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="ledger")
        yield Archive(s3, "ledger", "main")


@pytest.fixture
def ledger(conninfo: str) -> Iterator[psycopg.Connection]:
    async def fill() -> None:
        database = await Database.open(conninfo)
        async with database.connection:
            feed = funded_feed()
            for number in range(30):
                feed.do(order((ANA, BUDI)[number % 2], number % 2, 6_000_000, 100 + number, f"c{number}"))
            await database.take(feed.happened)

    asyncio.run(fill())
    with psycopg.connect(conninfo, autocommit=True) as connection:
        yield connection


def test_an_export_goes_on_where_the_last_one_stopped(
    monkeypatch: pytest.MonkeyPatch, ledger: psycopg.Connection, archive: Archive
) -> None:
    (total,) = ledger.execute("SELECT count(*) FROM postings").fetchone() or (0,)
    assert verify(ledger, archive) == "the archive is empty"
    monkeypatch.setattr(exporting, "ROWS_PER_SEGMENT", 20)
    times = iter((True, True, False))
    first = export(ledger, archive, lambda: next(times))
    assert 0 < first < total
    assert first + export(ledger, archive) == total
    assert export(ledger, archive) == 0
    segments = list(archive.segments())
    assert len(segments) > 4
    whole = [{posting.sequence for posting in segment.postings} for segment in segments]
    assert sum(map(len, whole)) == len(set().union(*whole)), "a command is never split"
    assert verify(ledger, archive).startswith(f"{total} postings in {len(segments)} segments, up to sequence ")


def test_what_is_not_yet_committed_as_a_position_waits(ledger: psycopg.Connection, archive: Archive) -> None:
    ledger.execute("UPDATE positions SET sequence = 5")
    export(ledger, archive)
    assert max(posting.sequence for segment in archive.segments() for posting in segment.postings) <= 5


def test_two_exports_at_once_make_one_chain(ledger: psycopg.Connection, archive: Archive) -> None:
    class Late(Archive):
        def add(self, number: int, data: bytes) -> bool:
            archive.add(number, data)  # the other one was faster
            return super().add(number, data)

    assert export(ledger, Late(archive._s3, "ledger", "main")) == 0
    assert export(ledger, archive) == 0
    assert "postings in 1 segments" in verify(ledger, archive)


def test_one_altered_row_of_the_ledger_is_named(ledger: psycopg.Connection, archive: Archive) -> None:
    export(ledger, archive)
    ledger.execute("ALTER TABLE postings DISABLE TRIGGER USER")
    row = ledger.execute("SELECT sequence, event, line FROM postings OFFSET 25 LIMIT 1").fetchone()
    ledger.execute("UPDATE postings SET amount = amount + 1 WHERE (sequence, event, line) = (%s, %s, %s)", row)
    with pytest.raises(LedgerChangedError) as refused:
        verify(ledger, archive)
    assert f"the ledger has changed posting {row}: it was Posting(" in str(refused.value)


def test_a_damaged_end_stops_the_export(ledger: psycopg.Connection, archive: Archive) -> None:
    export(ledger, archive)
    archive._s3.put_object(Bucket="ledger", Key=archive.name(1), Body=b"rubbish")
    with pytest.raises(ChainError, match=r"postings/main/00000001\.jsonl\.gz: cannot be unpacked"):
        export(ledger, archive)
