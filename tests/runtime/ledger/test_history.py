"""What readers get, compared with the same question asked naively of all rows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from runtime.ledger.history import (
    AccountTrade,
    History,
    HistoryUnavailableError,
    LedgerBehindError,
    MinuteCandle,
    open_history,
)
from runtime.ledger.projection import project
from runtime.shared.messages import BUY, SELL, STP_NONE, AmendOrder, Happened, Order, OrderChanged, OrderPlaced, Traded
from tests.runtime.ledger.feeds import ANA, BUDI, START_US, STEP_US, Database, Feed, funded_feed, order

MINUTE_US = 60_000_000


def _busy_feed() -> Feed:
    """Two hundred orders in two markets that trade with each other and with themselves."""
    random = Random(7)
    feed = funded_feed()
    for number in range(200):
        feed.do(
            order(
                random.choice((ANA, BUDI)),
                random.choice((BUY, SELL)),
                6_000_000 + random.randint(-2, 2) * 100,
                random.randint(50, 500),
                f"c{number % 50}",
                market=random.choice((1, 1, 2)),
                stp=STP_NONE,
            )
        )
    return feed


FEED = _busy_feed()
END_US = FEED.happened[-1].time_us


def _orders() -> list[Order]:
    latest = {
        event.order.order_id: event.order
        for happened in FEED.happened
        for event in happened.events
        if isinstance(event, OrderChanged)
    }
    return [latest[order_id] for order_id in sorted(latest)]


def _trades() -> list[tuple[Happened, Traded]]:
    return [(happened, event) for happened in FEED.happened for event in happened.events if isinstance(event, Traded)]


def _account_trades(account: int, market: int) -> list[AccountTrade]:
    return [
        AccountTrade(
            market=market,
            trade_id=trade.trade_id,
            order_id=trade.buy_order_id if is_buyer else trade.sell_order_id,
            price=trade.price,
            lots=trade.lots,
            fee=trade.buyer_fee if is_buyer else trade.seller_fee,
            is_buyer=is_buyer,
            is_maker=trade.buyer_is_maker == is_buyer,
            time_us=happened.time_us,
        )
        for happened, trade in _trades()
        for is_buyer, owner in ((True, trade.buyer), (False, trade.seller))
        if trade.market == market and owner == account
    ]


def _read(conninfo: str, questions: Callable[[History], Awaitable[None]], feed: list[Happened] | None = None) -> None:
    async def scenario() -> None:
        database = await Database.open(conninfo)
        async with database.connection:
            await database.take(FEED.happened if feed is None else feed)
        history = await open_history(conninfo)
        try:
            await questions(history)
        finally:
            await history.close()

    asyncio.run(scenario())


def _page(rows: list[Any], limit: int, *, forward: bool) -> list[Any]:
    return rows[:limit] if forward else rows[-limit:]


def _whole_page(trades: list[AccountTrade], limit: int, *, forward: bool) -> list[AccountTrade]:
    ids = {trade.trade_id for trade in _page(trades, limit, forward=forward)}
    return [trade for trade in trades if trade.trade_id in ids]


def test_paging_by_id_loses_no_side_of_a_trade_with_oneself(conninfo: str) -> None:
    mine = _account_trades(ANA, 1)
    assert len({trade.trade_id for trade in mine}) < len(mine)

    async def questions(history: History) -> None:
        for limit in (1, 2, 3):
            read: list[AccountTrade] = []
            while page := await history.my_trades(ANA, 1, from_id=read[-1].trade_id + 1 if read else 0, limit=limit):
                read += page
            assert read == mine

    _read(conninfo, questions)


def test_postings_of_an_account_are_all_there_in_order_or_refused_and_prices_are_the_last(conninfo: str) -> None:
    expected = [
        (line.sequence, line.event, line.asset, line.amount, line.kind)
        for line in project(FEED.happened, 0, {}).postings
        if line.account == ANA
    ]
    last = {trade.market: trade.price for _, trade in _trades()}

    async def questions(history: History) -> None:
        assert await history.account_postings(ANA, len(expected)) == expected
        assert await history.account_postings(ANA, len(expected) - 1) is None
        assert await history.account_postings(999_999, 0) == []
        assert await history.last_prices() == last

    _read(conninfo, questions)


def test_amendments_of_one_order_from_an_execution_on(conninfo: str) -> None:
    feed = funded_feed()
    placed = [feed.do(order(ANA, SELL, 7_000_000, 1_000, name)) for name in "xy"]
    ids = [each.order.order_id for each in placed if isinstance(each, OrderPlaced)]
    for lots in (900, 800):
        for order_id in ids:
            feed.do(AmendOrder(ANA, 1, order_id, "", lots, ""))

    async def questions(history: History) -> None:
        found = await history.order_amendments(ANA, 1, ids[0])
        assert [(each.old_client_order_id, each.old_lots, each.new_lots) for each in found] == [
            ("x", 1_000, 900),
            ("x", 900, 800),
        ]
        last = found[1]
        assert await history.order_amendments(ANA, 1, ids[0], since=(last.sequence, last.event)) == [last]
        assert await history.order_amendments(ANA, 1, ids[0], limit=1) == found[:1]
        assert await history.order_amendments(ANA, 1, ids[0], since=(last.sequence, last.event + 1)) == []
        assert await history.order_amendments(BUDI, 1, ids[0]) == []
        assert await history.order_amendments(ANA, 2, ids[0]) == []

    _read(conninfo, questions, feed.happened)


def test_orders_by_id_and_by_client_id(conninfo: str) -> None:
    async def questions(history: History) -> None:
        for wanted in _orders():
            assert await history.order_by_id(wanted.account, wanted.market, wanted.order_id) == wanted
            assert await history.order_by_id(wanted.account + 1, wanted.market, wanted.order_id) is None
            assert await history.order_by_id(wanted.account, wanted.market + 1, wanted.order_id) is None
        reused = [o for o in _orders() if o.account == ANA and o.market == 1 and o.client_order_id == "c3"]
        assert len(reused) > 1
        assert await history.order_by_client_id(ANA, 1, "c3") == reused[-1]
        assert await history.order_by_client_id(ANA, 1, "never") is None

    _read(conninfo, questions)


def test_pages_of_orders(conninfo: str) -> None:
    mine = [o for o in _orders() if o.account == BUDI and o.market == 1]
    random = Random(1)

    async def questions(history: History) -> None:
        for _ in range(150):
            order_id = random.choice((None, random.randint(0, 220)))
            start_us = random.choice((None, random.randint(START_US, END_US)))
            end_us = random.choice((None, random.randint(START_US, END_US)))
            limit = random.choice((1, 5, 1_000))
            wanted = [
                o
                for o in mine
                if o.order_id >= (order_id or 0) and (start_us or 0) <= o.created_us <= (end_us or END_US)
            ]
            got = await history.all_orders(BUDI, 1, order_id=order_id, start_us=start_us, end_us=end_us, limit=limit)
            assert got == _page(wanted, limit, forward=order_id is not None or start_us is not None)
        with pytest.raises(ValueError, match="limit must be 1 to 5000, was 0"):
            await history.all_orders(BUDI, 1, limit=0)

    _read(conninfo, questions)


def test_pages_of_fills(conninfo: str) -> None:
    mine = _account_trades(ANA, 1)
    orders = sorted({trade.order_id for trade in mine})
    random = Random(2)

    async def questions(history: History) -> None:
        for _ in range(200):
            from_id = random.choice((None, random.randint(0, 120)))
            order_id = random.choice((None, None, random.choice(orders)))
            start_us = random.choice((None, random.randint(START_US - STEP_US, END_US + STEP_US)))
            end_us = random.choice((None, random.randint(START_US - STEP_US, END_US + STEP_US)))
            limit = random.choice((1, 5, 1_000))
            wanted = [
                trade
                for trade in mine
                if trade.trade_id >= (from_id or 0)
                and order_id in (None, trade.order_id)
                and (start_us or 0) <= trade.time_us <= (END_US if end_us is None else end_us)
            ]
            got = await history.my_trades(
                ANA, 1, from_id=from_id, order_id=order_id, start_us=start_us, end_us=end_us, limit=limit
            )
            assert got == _whole_page(wanted, limit, forward=from_id is not None or start_us is not None)
        assert {trade.is_maker for trade in await history.my_trades(ANA, 1)} == {True, False}

    _read(conninfo, questions)


def test_pages_of_the_tape(conninfo: str) -> None:
    tape = [(h.time_us, t.trade_id, t.price, t.lots, t.buyer_is_maker) for h, t in _trades() if t.market == 1]
    random = Random(3)

    async def questions(history: History) -> None:
        for _ in range(100):
            from_id = random.choice((None, random.randint(0, 120)))
            start_us = random.choice((None, random.randint(START_US, END_US + STEP_US)))
            end_us = random.choice((None, random.randint(START_US - STEP_US, END_US)))
            wanted = [
                row for row in tape if row[1] >= (from_id or 0) and (start_us or 0) <= row[0] <= (end_us or END_US)
            ]
            got = await history.public_trades(1, from_id=from_id, start_us=start_us, end_us=end_us, limit=9)
            rows = [(t.time_us, t.trade_id, t.price, t.lots, t.buyer_is_maker) for t in got]
            assert rows == _page(wanted, 9, forward=from_id is not None or start_us is not None)

    _read(conninfo, questions)


def test_minute_candles(conninfo: str) -> None:
    start_us = START_US + 20 * STEP_US
    minutes: dict[int, list[tuple[Happened, Traded]]] = {}
    for happened, trade in _trades():
        if trade.market == 1 and happened.time_us >= start_us // MINUTE_US * MINUTE_US:
            minutes.setdefault(happened.time_us // MINUTE_US * MINUTE_US, []).append((happened, trade))
    wanted = [
        MinuteCandle(
            minute,
            trades[0].price,
            max(t.price for t in trades),
            min(t.price for t in trades),
            trades[-1].price,
            sum(t.lots for t in trades),
            sum(t.lots * t.price for t in trades),
            len(trades),
            sum(t.lots for t in trades if not t.buyer_is_maker),
            sum(t.lots * t.price for t in trades if not t.buyer_is_maker),
            trades[0].trade_id,
            trades[-1].trade_id,
        )
        for minute, trades in ((minute, [t for _, t in pairs]) for minute, pairs in minutes.items())
    ]

    async def questions(history: History) -> None:
        assert len(wanted) > 5
        assert await history.minute_candles(1, start_us) == wanted
        assert await history.minute_candles(1, start_us, limit=2) == wanted[:2]
        assert await history.minute_candles(9, start_us) == []

    _read(conninfo, questions)


def test_money_is_conserved_and_a_forged_balance_shows(conninfo: str) -> None:
    async def questions(history: History) -> None:
        assert await history.conservation() == {1: 0, 2: 0, 3: 0, 4: 0}
        assert await history.disagreements() == []
        database = await Database.open(conninfo)
        async with database.connection:
            await database.connection.execute("UPDATE balances SET free = free + 5 WHERE account = 1000 AND asset = 1")
            ((free, held),) = await database.all("SELECT free, held FROM balances WHERE account = 1000 AND asset = 1")
        assert await history.disagreements() == [(1000, 1, free + held, free + held - 5)]

    _read(conninfo, questions)


def test_accounts_by_name(conninfo: str) -> None:
    async def questions(history: History) -> None:
        budi = await history.account_named("budi")
        assert budi is not None
        assert (budi.account, budi.tier) == (BUDI, 1)
        assert await history.account_named("nobody") is None

    _read(conninfo, questions)


@asynccontextmanager
async def _empty(conninfo: str) -> AsyncIterator[tuple[Database, History]]:
    database = await Database.open(conninfo)
    history = await open_history(conninfo)
    async with database.connection:
        yield database, history
    await history.close()


def test_many_readers_wait_for_the_ledger_and_one_that_waits_too_long_is_told(conninfo: str) -> None:
    async def scenario() -> None:
        async with _empty(conninfo) as (database, history):
            assert await history.position() == 0
            waiting = [asyncio.create_task(history.wait_for(sequence)) for sequence in (1, 2, 2, 3)]
            await asyncio.sleep(0.05)
            assert not any(task.done() for task in waiting)
            await database.take([Happened(1, 0, []), Happened(2, 0, [])])
            await asyncio.wait_for(asyncio.gather(*waiting[:3]), 1)
            assert not waiting[3].done()
            with pytest.raises(LedgerBehindError, match=r"at sequence 2, 9 was wanted within 0.1 s"):
                await history.wait_for(9, 0.1)
            await database.take([Happened(3, 0, [])])
            await asyncio.wait_for(waiting[3], 1)

    asyncio.run(scenario())


def test_a_reader_waits_for_the_schema(conninfo: str) -> None:
    async def scenario() -> None:
        opening = asyncio.create_task(open_history(conninfo))
        await asyncio.sleep(0.2)
        assert not opening.done()
        database = await Database.open(conninfo)
        await database.connection.close()
        history = await asyncio.wait_for(opening, 5)
        await history.close()

    asyncio.run(scenario())


def test_connections_cut_while_idle_are_replaced_and_a_lost_database_is_a_clear_error(conninfo: str) -> None:
    async def scenario() -> None:
        async with _empty(conninfo) as (database, history):
            await asyncio.gather(*(history.position() for _ in range(8)))
            await database.connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
            assert await asyncio.gather(*(history.position() for _ in range(8))) == [0] * 8
        pool = AsyncConnectionPool("host=127.0.0.1 port=1 dbname=x", open=False, timeout=0.2, reconnect_timeout=0.1)
        await pool.open()
        with pytest.raises(HistoryUnavailableError):
            await History(pool).position()
        await pool.close()

    asyncio.run(scenario())
