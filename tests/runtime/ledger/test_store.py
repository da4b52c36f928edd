"""Rows in a real database: each batch whole or not at all, nothing rewritten, nothing unbalanced."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection

from runtime.ledger.migrate import migrate, read_migrations
from runtime.ledger.projection import DisagreementError, Rows, TradeRow, candles, project
from runtime.ledger.store import CANDLE_MONTHS, PositionMovedError, write
from runtime.shared.messages import BUY, SELL, AmendOrder, BalanceChanged, Happened, OrderPlaced
from tests.runtime.ledger.feeds import ANA, BUDI, Database, Feed, batches, funded_feed, order


def _traded() -> Feed:
    feed = funded_feed()
    feed.do(order(ANA, SELL, 6_000_000, 1_000, "a"))
    feed.do(order(BUDI, BUY, 6_000_000, 400, "b"))
    feed.do(order(BUDI, BUY, 6_000_000, 700, "c"))
    return feed


def _run(conninfo: str, scenario: Callable[[Database], Awaitable[None]]) -> None:
    async def opened() -> None:
        database = await Database.open(conninfo)
        async with database.connection:
            await scenario(database)

    asyncio.run(opened())


async def _contents(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    tables = ("markets", "accounts", "orders", "trades", "candles", "postings", "transfers", "balances", "positions")
    return {table: await database.all(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in tables}


def test_any_cut_into_batches_leaves_the_same_rows_as_the_engine(conninfo: str) -> None:
    feed = _traded()

    async def scenario(database: Database) -> None:
        seen = []
        for sizes in ([], [1] * 20, [5, 4, 3]):
            await database.connection.execute(
                "ALTER TABLE postings DISABLE TRIGGER USER; ALTER TABLE trades DISABLE TRIGGER USER;"
                "ALTER TABLE transfers DISABLE TRIGGER USER;"
                "TRUNCATE markets, accounts, orders, trades, candles, postings, transfers, balances;"
                "UPDATE positions SET sequence = 0"
            )
            database.position, database.markets = 0, {}
            for batch in batches(feed.happened, sizes):
                await database.take(batch)
            seen.append(await _contents(database))
        assert seen[0] == seen[1] == seen[2]
        balances = {(account, asset): (free, held) for account, asset, free, held, _ in seen[0]["balances"]}
        assert balances == {key: amounts for key, amounts in feed.balances().items() if any(amounts)}
        assert [row[1] for row in seen[0]["orders"]] == ["a", "b", "c"]
        assert len(seen[0]["trades"]) == 2
        assert seen[0]["positions"] == [("main", 14, feed.happened[-1].time_us)]

    _run(conninfo, scenario)


@pytest.mark.parametrize("sizes", [[], [1] * 30, [12, 2]])
def test_amendments_tell_the_quantity_before_however_the_feed_is_cut(conninfo: str, sizes: list[int]) -> None:
    feed = funded_feed()
    placed = feed.do(order(ANA, SELL, 6_000_000, 1_000, "a"))
    assert isinstance(placed, OrderPlaced)
    first = len(feed.happened)
    order_id = placed.order.order_id
    for lots, name in ((900, "b"), (400, "c"), (300, "")):
        feed.do(AmendOrder(ANA, 1, order_id, "", lots, name))
    expected = [
        (order_id, first + 1 + number, 0, ANA, 1, *names, *lots, feed.happened[first + number].time_us)
        for number, (names, lots) in enumerate(
            ((("a", "b"), (1_000, 900)), (("b", "c"), (900, 400)), (("c", "c"), (400, 300)))
        )
    ]

    async def scenario(database: Database) -> None:
        for batch in batches(feed.happened, sizes):
            await database.take(batch)
        assert await database.all("SELECT * FROM order_amendments ORDER BY 2") == expected

    _run(conninfo, scenario)


def test_an_amended_order_that_was_never_placed_stops_the_ledger(conninfo: str) -> None:
    feed = funded_feed()
    placed = feed.do(order(ANA, SELL, 6_000_000, 1_000, "a"))
    assert isinstance(placed, OrderPlaced)
    feed.do(AmendOrder(ANA, 1, placed.order.order_id, "", 900, ""))
    feed.happened[-2].events.clear()
    feed.happened[-1].events[1:] = []

    async def scenario(database: Database) -> None:
        with pytest.raises(DisagreementError, match=f"order {placed.order.order_id} was amended, and never placed"):
            await database.take(feed.happened)

    _run(conninfo, scenario)


def test_a_batch_that_fails_leaves_no_row_and_no_position(conninfo: str) -> None:
    feed = _traded()

    async def scenario(database: Database) -> None:
        await database.take(feed.happened[:12])
        before = await _contents(database)
        rows = project(feed.happened[12:], 12, database.markets)
        rows.trades.append(rows.trades[0])  # the second fails on its key, after everything before it was written
        with pytest.raises(psycopg.errors.UniqueViolation):
            await write(database.connection, "main", 12, rows)
        assert await _contents(database) == before
        await database.take(feed.happened[12:])

    _run(conninfo, scenario)


def test_a_second_writer_is_noticed(conninfo: str) -> None:
    feed = _traded()

    async def scenario(database: Database) -> None:
        other = await Database.open(conninfo)
        async with other.connection:
            await database.take(feed.happened[:12])
            with pytest.raises(PositionMovedError, match="no longer at sequence 0"):
                await other.take(feed.happened[:13])
        assert database.position == 12

    _run(conninfo, scenario)


def test_a_stored_balance_that_the_engine_does_not_start_from_stops_the_ledger(conninfo: str) -> None:
    feed = _traded()

    async def scenario(database: Database) -> None:
        await database.take(feed.happened[:12])
        await database.connection.execute("UPDATE balances SET free = free - 1 WHERE account = %s", (BUDI,))
        with pytest.raises(DisagreementError, match=f"account {BUDI} holds 999999999999999"):
            await database.take(feed.happened[12:])
        assert await database.all("SELECT sequence FROM positions") == [(12,)]

    _run(conninfo, scenario)


@pytest.mark.parametrize("table", ["postings", "trades", "transfers", "order_amendments"])
@pytest.mark.parametrize("change", ["DELETE FROM {}", "TRUNCATE {}", "UPDATE {} SET sequence = sequence"])
def test_what_was_written_stays(conninfo: str, table: str, change: str) -> None:
    async def scenario(database: Database) -> None:
        feed = _traded()
        resting = feed.do(order(ANA, SELL, 7_000_000, 1_000, "d"))
        assert isinstance(resting, OrderPlaced)
        feed.do(AmendOrder(ANA, 1, resting.order.order_id, "", 900, ""))
        await database.take(feed.happened)
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            await database.connection.execute(change.format(table).encode())

    _run(conninfo, scenario)


def test_the_database_takes_no_entry_that_does_not_balance(conninfo: str) -> None:
    async def scenario(database: Database) -> None:
        rows = project(_traded().happened, 0, {})
        rows.postings[-1] = rows.postings[-1]._replace(amount=rows.postings[-1].amount + 1)
        with pytest.raises(
            psycopg.errors.RaiseException, match=r"entry \(14, \d+\) does not balance: asset 3 sums to 1"
        ):
            await write(database.connection, "main", 0, rows)

    _run(conninfo, scenario)


def test_only_the_outside_world_may_owe(conninfo: str) -> None:
    async def scenario(database: Database) -> None:
        with pytest.raises(psycopg.errors.CheckViolation):
            await database.connection.execute("INSERT INTO balances VALUES (1000, 1, -1, 0, 1)")
        await database.connection.execute("INSERT INTO balances VALUES (0, 1, -1, 0, 1)")

    _run(conninfo, scenario)


def test_a_refused_command_moves_the_position_only(conninfo: str) -> None:
    async def scenario(database: Database) -> None:
        await database.take([Happened(1, 5, []), Happened(2, 6, [])])
        contents = await _contents(database)
        assert contents.pop("positions") == [("main", 2, 6)]
        assert not any(contents.values())
        await database.take([Happened(3, 7, [BalanceChanged(ANA, 1, 0, 0)])])
        assert await database.all("SELECT account, asset, free, held FROM balances") == [(ANA, 1, 0, 0)]

    _run(conninfo, scenario)


def _traded_at(*times_us: int) -> list[TradeRow]:
    return [
        TradeRow(1, number, 100 + number % 7, number, number % 3 == 0, 1, 2, ANA, BUDI, 0, 0, time_us, number, 1, 2)
        for number, time_us in enumerate(times_us, 1)
    ]


async def _partitions(database: Database) -> list[str]:
    found = await database.all("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'candles'::regclass")
    return sorted(name for (name,) in found)


def test_candles_come_and_go_by_the_month(conninfo: str) -> None:
    """The writer, who owns nothing, gets the month it writes and the next; a month past its time goes whole."""
    may = int(datetime(2026, 5, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * 1_000_000
    rows = _traded_at(may, may + 500_000, may + 1_000_000, may + 2_000_000)

    async def scenario(database: Database) -> None:
        await database.connection.execute("SET ROLE ledger_writer")
        for batch in (rows[:1], rows[1:]):
            await write(database.connection, "main", database.position, Rows(0, may, trades=batch))
        assert await _partitions(database) == ["candles_2026_05", "candles_2026_06", "candles_2026_07"]
        stored = await database.all("SELECT * FROM candles ORDER BY minute_us")
        assert stored == candles(rows)
        assert [row[1] for row in stored] == [may - 59_000_000, may + 1_000_000]
        assert await database.all("SELECT count(*) FROM candles_2026_05") == [(1,)]
        later = int(datetime(2028, 6, 2, tzinfo=UTC).timestamp()) * 1_000_000
        await database.connection.execute("SELECT keep_candle_months(%s, %s)", (later, CANDLE_MONTHS))
        assert await _partitions(database) == [
            "candles_2026_06",
            "candles_2026_07",
            "candles_2028_06",
            "candles_2028_07",
        ]
        with pytest.raises(psycopg.errors.RaiseException, match="kept for 6 to 120 months, not for 5"):
            await database.connection.execute("SELECT keep_candle_months(%s, 5)", (later,))

    _run(conninfo, scenario)


def test_candles_of_trades_from_before_are_made_of_them(conninfo: str) -> None:
    newest = int(datetime(2028, 6, 2, tzinfo=UTC).timestamp()) * 1_000_000
    day = 86_400_000_000
    rows = _traded_at(*sorted(newest - day * back + second for back in range(0, 900, 9) for second in (0, 7_000_000)))

    async def scenario() -> None:
        async with await AsyncConnection.connect(conninfo, autocommit=True) as connection:
            await migrate(connection, read_migrations()[:4])
            async with connection.cursor() as cursor:
                places = ", ".join(["%s"] * len(TradeRow._fields))
                names = ", ".join(TradeRow._fields)
                await cursor.executemany(f"INSERT INTO trades ({names}) VALUES ({places})".encode(), rows)
            await migrate(connection, read_migrations())
            cursor = await connection.execute("SELECT * FROM candles ORDER BY minute_us")
            kept = [row for row in candles(rows) if row.minute_us >= newest - 732 * day]
            stored = await cursor.fetchall()
            assert 0 < len(stored) < len(candles(rows))
            assert stored == [row for row in kept if row.minute_us >= stored[0][1]]
            first = datetime.fromtimestamp(stored[0][1] / 1e6, UTC)
            assert (first.year, first.month) == (2026, 7)

    asyncio.run(scenario())
