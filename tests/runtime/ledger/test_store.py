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
from runtime.ledger.quotes import QuoteRow, Quotes
from runtime.ledger.store import PositionMovedError, write
from runtime.shared.messages import BUY, SELL, AmendOrder, BalanceChanged, Happened, OrderPlaced
from tests.runtime.ledger.feeds import ANA, BUDI, PRICE_MONTHS, Database, Feed, batches, funded_feed, order


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
    tables = (
        "markets",
        "accounts",
        "orders",
        "trades",
        "candles",
        "quotes",
        "postings",
        "transfers",
        "balances",
        "positions",
    )
    return {table: await database.all(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in tables}


def test_any_cut_into_batches_leaves_the_same_rows_as_the_engine(conninfo: str) -> None:
    feed = _traded()

    async def scenario(database: Database) -> None:
        seen = []
        for sizes in ([], [1] * 20, [5, 4, 3]):
            await database.connection.execute(
                "ALTER TABLE postings DISABLE TRIGGER USER; ALTER TABLE trades DISABLE TRIGGER USER;"
                "ALTER TABLE transfers DISABLE TRIGGER USER;"
                "TRUNCATE markets, accounts, orders, trades, candles, quotes, postings, transfers, balances;"
                "UPDATE positions SET sequence = 0"
            )
            database.position, database.markets, database.quotes = 0, {}, Quotes(0)
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
            await write(database.connection, "main", 12, rows, PRICE_MONTHS)
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
            await write(database.connection, "main", 0, rows, PRICE_MONTHS)

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
    found = await database.all(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent IN ('candles'::regclass, 'quotes'::regclass)"
    )
    return sorted(name for (name,) in found)


def _months(*months: str) -> list[str]:
    return sorted(f"{table}_{month}" for table in ("candles", "quotes") for month in months)


def _us(*at: int) -> int:
    return int(datetime(*at, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[misc,arg-type]


def test_prices_come_and_go_by_the_month(conninfo: str) -> None:
    """The writer, who owns nothing, gets the month it writes and the next; a month past its time goes whole."""
    may = _us(2026, 5, 31, 23, 59, 59)
    trades = _traded_at(may, may + 500_000, may + 1_000_000, may + 2_000_000)
    quotes = [QuoteRow(1, may, 100, 5, 0, 0), QuoteRow(1, may + 1_000_000, 100, 5, 101, 2)]

    async def scenario(database: Database) -> None:
        await database.connection.execute("SET ROLE ledger_writer")
        for cut in (slice(1), slice(1, None)):
            rows = Rows(0, may, trades=trades[cut], quotes=quotes[cut])
            await write(database.connection, "main", 0, rows, PRICE_MONTHS)
        assert await _partitions(database) == _months("2026_05", "2026_06", "2026_07")
        stored = await database.all("SELECT * FROM candles ORDER BY minute_us")
        assert stored == candles(trades)
        assert [row[1] for row in stored] == [may - 59_000_000, may + 1_000_000]
        assert await database.all("SELECT * FROM quotes ORDER BY second_us") == quotes
        for table in ("candles", "quotes"):
            assert await database.all(f"SELECT count(*) FROM {table}_2026_05") == [(1,)]
        await write(database.connection, "main", 0, Rows(0, _us(2028, 6, 2)), PRICE_MONTHS)
        assert await _partitions(database) == _months("2026_06", "2026_07", "2028_06", "2028_07")
        with pytest.raises(psycopg.errors.RaiseException, match="kept for 6 to 120 months, not for 5"):
            await database.connection.execute("SELECT keep_price_months(%s, 5)", (may,))

    _run(conninfo, scenario)


def test_months_are_asked_for_when_another_begins(conninfo: str) -> None:
    """Also by a batch without a price: the next one does not ask."""
    june = _us(2026, 6, 30, 12)

    async def scenario(database: Database) -> None:
        connection = database.connection
        await connection.execute("SET ROLE ledger_writer")
        for time_us in (june, june + 1, _us(2026, 9, 1)):
            await write(connection, "main", 0, Rows(0, time_us), PRICE_MONTHS)
        assert await _partitions(database) == _months("2026_06", "2026_07", "2026_09", "2026_10")
        await connection.execute("RESET ROLE")
        await connection.execute("DROP FUNCTION keep_price_months")
        await connection.execute("SET ROLE ledger_writer")
        late = _us(2026, 9, 30, 23, 59, 59)
        rows = Rows(0, late, trades=_traded_at(late), quotes=[QuoteRow(1, late, 1, 1, 2, 2)])
        await write(connection, "main", 0, rows, PRICE_MONTHS)
        rows = Rows(0, late, quotes=[QuoteRow(1, late, 1, 7, 2, 2)])
        await write(connection, "main", 0, rows, PRICE_MONTHS)
        assert await database.all("SELECT bid_lots FROM quotes_2026_09") == [(7,)], "a second's last quote stays"
        with pytest.raises(psycopg.errors.UndefinedFunction):
            await write(connection, "main", 0, Rows(0, _us(2026, 10, 1)), PRICE_MONTHS)

    _run(conninfo, scenario)


def test_a_ledger_from_before_has_the_months_it_stands_in(conninfo: str) -> None:
    async def scenario() -> None:
        async with await AsyncConnection.connect(conninfo, autocommit=True) as connection:
            await migrate(connection, read_migrations()[:5])
            standing = "INSERT INTO positions (group_name, sequence, time_us) VALUES ('main', 7, %s)"
            await connection.execute(standing, (_us(2026, 5, 20),))
            await migrate(connection, read_migrations())
            assert await _partitions(Database(connection)) == _months("2026_05", "2026_06")

    asyncio.run(scenario())


def test_candles_of_trades_from_before_are_made_of_them(conninfo: str) -> None:
    newest = _us(2028, 6, 2)
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
