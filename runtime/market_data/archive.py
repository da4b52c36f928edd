"""Trades from before: read from the ledger's tables at the start, and for questions that reach past memory.

Errors:
    ArchiveError  the database does not answer, or not in time
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, IsolationLevel
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from runtime.market_data.candles import (
    STEPS_MS,
    Bar,
    Candle,
    CandleSeries,
    earliest_kept_ms,
    next_opening_ms,
    opening_ms,
    step_ms,
)
from runtime.market_data.market import PastTrades
from runtime.market_data.trades import TRADES_KEPT, AggTrade, Trade, aggregate
from runtime.shared.market_messages import INTERVALS
from runtime.shared.settings import Login
from runtime.shared.trade_records import TradeRecord

logger = logging.getLogger(__name__)

SCHEMA_NEEDED: Final = 5
"""Version of the ledger's schema from which on the tables read here are as expected."""
GROUP: Final = "main"
QUERY_TIMEOUT_S: Final = 5.0
RESTORE_TIMEOUT_S: Final = 600.0
TRADES_READ_MAX: Final = 5_000
"""Most trades that one question reads; an answer about aggregates may be shorter for it."""
CONNECTIONS_MAX: Final = 3
WAITING_MAX: Final = 64
_START_RETRY_S: Final = 0.5

_TRADE: Final = "SELECT trade_id, price, lots, time_us / 1000, buyer_is_maker, sequence FROM trades WHERE market = %s"
_WHOLE_TRADES: Final = (
    "SELECT market, trade_id, price, lots, buyer_is_maker, buy_order_id, sell_order_id, buyer, seller, buyer_fee,"
    " seller_fee, time_us, sequence, buyer_fee_asset, seller_fee_asset FROM trades"
    " WHERE market = %s AND time_us >= %s AND sequence <= %s ORDER BY time_us DESC, trade_id DESC LIMIT %s"
)
"""Columns in the order of `TradeRecord`, without the symbol."""
_BARS: Final = """
SELECT bucket * %(step_us)s / 1000, opening.price, high, low, closing.price, volume, turnover,
       taker_buy_volume, taker_buy_turnover, trades, first_id, last_id
FROM (
    SELECT time_us / %(step_us)s AS bucket, min(trade_id) AS first_id, max(trade_id) AS last_id,
           max(price) AS high, min(price) AS low, count(*) AS trades,
           sum(lots) AS volume, sum(price::numeric * lots) AS turnover,
           coalesce(sum(lots) FILTER (WHERE NOT buyer_is_maker), 0) AS taker_buy_volume,
           coalesce(sum(price::numeric * lots) FILTER (WHERE NOT buyer_is_maker), 0) AS taker_buy_turnover
    FROM trades
    WHERE market = %(market)s AND time_us >= %(start_us)s AND time_us < %(end_us)s
    GROUP BY bucket
) AS buckets
JOIN trades AS opening ON opening.market = %(market)s AND opening.trade_id = first_id
JOIN trades AS closing ON closing.market = %(market)s AND closing.trade_id = last_id
ORDER BY bucket
"""
_BARS_OF_MINUTES: Final = """
SELECT minute_us / %(step_us)s * %(step_us)s / 1000 AS bucket, (array_agg(open ORDER BY minute_us))[1],
       max(high), min(low), (array_agg(close ORDER BY minute_us DESC))[1],
       sum(volume), sum(turnover), sum(taker_buy_volume), sum(taker_buy_turnover),
       sum(trades), min(first_id), max(last_id)
FROM candles
WHERE market = %(market)s AND minute_us >= %(start_us)s AND minute_us < %(end_us)s
GROUP BY bucket ORDER BY bucket
"""
"""The same from candles by the minute, which are fewer than trades, and not kept as long."""
_MINUTE_MS: Final = 60_000
_TIME_LIMIT_US: Final = 2**62


class ArchiveError(ConnectionError):
    """The database cannot be asked now; the message says why."""


async def open_archive(login: str | Login) -> "Archive":
    """Return a reader once the database answers and has the tables; say in the log what is waited for."""
    said = ""
    while problem := await _not_ready(login):
        if problem != said:
            logger.info("waiting for %s", problem)
            said = problem
        await asyncio.sleep(_START_RETRY_S)
    pool = AsyncConnectionPool(
        login,
        min_size=1,
        max_size=CONNECTIONS_MAX,
        max_waiting=WAITING_MAX,
        timeout=QUERY_TIMEOUT_S,
        kwargs={"autocommit": True},
        open=False,
    )
    await pool.open()
    return Archive(pool)


async def _not_ready(login: str | Login) -> str:
    """Return what is missing, or nothing."""
    try:
        async with await AsyncConnection.connect(login if isinstance(login, str) else await login()) as connection:
            cursor = await connection.execute("SELECT max(version) FROM schema_migrations")
            row = await cursor.fetchone()
    except psycopg.errors.UndefinedTable:
        row = None
    except psycopg.OperationalError as error:
        return f"the database: {_first_line(error)}"
    version = (row[0] if row else None) or 0
    return "" if version >= SCHEMA_NEEDED else f"version {SCHEMA_NEEDED} of the ledger's schema, is {version}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


class Archive:
    """Bounded, read-only queries."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        """Read through `pool`, which must be open and in autocommit; `close` closes it."""
        self._pool = pool

    async def close(self) -> None:
        """Close the pool."""
        await self._pool.close()

    async def restore(self, markets: Iterable[int], now_ms: int) -> tuple[int, dict[int, PastTrades]]:
        """Return the last sequence in the ledger (0 before the first) and each market's trades up to it.

        Reads every trade once, to sum them up by day. Raises ArchiveError.
        """
        try:
            async with asyncio.timeout(RESTORE_TIMEOUT_S), self._pool.connection() as connection:
                await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
                try:
                    async with connection.transaction():  # one snapshot: position and trades belong together
                        row = await _row(connection, "SELECT sequence FROM positions WHERE group_name = %s", (GROUP,))
                        return (row[0] if row else 0), {
                            market: await _past_trades(connection, market, now_ms) for market in markets
                        }
                finally:
                    await connection.set_isolation_level(None)
        except psycopg.OperationalError as error:
            raise ArchiveError(_first_line(error)) from error
        except TimeoutError:
            raise ArchiveError(f"history could not be read within {RESTORE_TIMEOUT_S:g} s") from None

    async def repeated(self, symbols: Mapping[int, str], position: int, since_us: int, most: int) -> list[TradeRecord]:
        """Return the newest up to `most` trades from `since_us` to sequence `position`, in the engine's order.

        Raises ArchiveError.
        """
        rows = [
            row for market in symbols for row in await self._rows(_WHOLE_TRADES, (market, since_us, position, most))
        ]
        records = [TradeRecord(row[0], symbols[row[0]], *row[1:]) for row in rows]
        return sorted(records, key=lambda each: (each.sequence, each.market, each.trade_id))[-most:]

    async def trades(self, market: int, from_id: int, limit: int) -> list[Trade]:
        """Return up to `limit` trades from `from_id` on. Raises ArchiveError."""
        rows = await self._rows(f"{_TRADE} AND trade_id >= %s ORDER BY trade_id LIMIT %s", (market, from_id, limit))
        return [Trade(*row) for row in rows]

    async def agg_trades(
        self, market: int, *, from_id: int, before_id: int, start_ms: int, end_ms: int, limit: int
    ) -> tuple[list[AggTrade], bool]:
        """Return up to `limit` aggregates of trades from `from_id` to before `before_id`, or by time; -1: not given.

        The oldest ones when a trade or a start is given, else the newest. Also whether that is all there is, which it
        is not if there are more than `limit`, or too many trades to read at once. Raises ArchiveError.
        """
        where, values = f"{_TRADE} AND trade_id < %s", [market, before_id]
        if from_id >= 0:
            where += " AND trade_id >= %s"
            values.append(from_id - 1)  # one more, to see whether the first is the beginning of its aggregate
        if start_ms >= 0:
            where += " AND time_us >= %s"
            values.append(start_ms * 1000)
        if end_ms >= 0:
            where += " AND time_us < %s"
            values.append((end_ms + 1) * 1000)
        is_forward = from_id >= 0 or start_ms >= 0
        by = "trade_id" if from_id >= 0 or not (start_ms >= 0 or end_ms >= 0) else "time_us, trade_id"
        order = by if is_forward else ", ".join(f"{column} DESC" for column in by.split(", "))
        rows = await self._rows(f"{where} ORDER BY {order} LIMIT %s", (*values, TRADES_READ_MAX))
        told = aggregate(Trade(*row) for row in (rows if is_forward else rows[::-1]))
        is_all = len(rows) < TRADES_READ_MAX
        if not is_all and len(told) > 1:  # the aggregate at the cut may lack a part
            told = told[:-1] if is_forward else told[1:]
        told = [trade for trade in told if trade.first_id >= from_id]
        return (told[:limit] if is_forward else told[-limit:]), is_all and len(told) <= limit

    async def candles(self, market: int, interval: str, start_ms: int, end_ms: int, limit: int) -> list[Candle]:
        """Return the up to `limit` candles that open from `start_ms` to `end_ms`, both given. Raises ArchiveError."""
        first_ms = opening_ms(interval, start_ms)
        if first_ms < start_ms:
            first_ms = next_opening_ms(interval, first_ms)
        price_before = await self._price_before(market, first_ms)
        if not price_before:  # the market opens later
            rows = await self._rows(
                "SELECT time_us / 1000 FROM trades WHERE market = %s AND time_us >= %s ORDER BY time_us LIMIT 1",
                (market, first_ms * 1000),
            )
            if not rows:
                return []
            first_ms = opening_ms(interval, rows[0][0])
        until_ms = first_ms
        for _ in range(limit):
            if until_ms > end_ms:
                break
            until_ms = next_opening_ms(interval, until_ms)
        if until_ms == first_ms:
            return []
        step = step_ms(interval)
        has_minutes = step >= _MINUTE_MS and await self._has_minutes(market, first_ms)
        rows = await self._rows(_BARS_OF_MINUTES if has_minutes else _BARS, _bars_of(market, step, first_ms, until_ms))
        series = CandleSeries(interval, limit)
        series.refill(first_ms, map(_bar, rows), price_before)
        series.advance(until_ms - 1)
        return list(series.candles)

    async def _has_minutes(self, market: int, from_ms: int) -> bool:
        """Whether candles by the minute go back so far: then all since are there."""
        ((oldest_us,),) = await self._rows("SELECT min(minute_us) FROM candles WHERE market = %s", (market,))
        return oldest_us is not None and oldest_us <= from_ms * 1000

    async def _price_before(self, market: int, time_ms: int) -> int:
        rows = await self._rows(_PRICE_BEFORE, (market, time_ms * 1000))
        return int(rows[0][0]) if rows else 0

    async def _rows(self, query: str, parameters: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401 - as psycopg takes them
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S), self._pool.connection() as connection:
                return await _all(connection, query, parameters)
        except (psycopg.OperationalError, PoolTimeout, TooManyRequests) as error:
            raise ArchiveError(_first_line(error)) from error
        except TimeoutError:
            raise ArchiveError(f"no answer from the database within {QUERY_TIMEOUT_S:g} s") from None


_PRICE_BEFORE: Final = (
    "SELECT price FROM trades WHERE market = %s AND time_us < %s ORDER BY time_us DESC, trade_id DESC LIMIT 1"
)


async def _past_trades(connection: AsyncConnection, market: int, now_ms: int) -> PastTrades:
    newest = await _all(connection, f"{_TRADE} ORDER BY trade_id DESC LIMIT %s", (market, TRADES_KEPT))
    bars: dict[int, list[tuple[int, Bar]]] = {}
    price_before: dict[int, int] = {}
    for step in STEPS_MS:
        first_ms = min(earliest_kept_ms(interval, now_ms) for interval in INTERVALS if step_ms(interval) == step)
        rows = await _all(connection, _BARS, _bars_of(market, step, first_ms, _TIME_LIMIT_US // 1000))
        bars[step] = [_bar(row) for row in rows]
        row = await _row(connection, _PRICE_BEFORE, (market, first_ms * 1000))
        price_before[step] = row[0] if row else 0
    return PastTrades([Trade(*row) for row in reversed(newest)], bars, price_before)


def _bars_of(market: int, step: int, first_ms: int, end_ms: int) -> Mapping[str, int]:
    return {"market": market, "step_us": step * 1000, "start_us": first_ms * 1000, "end_us": end_ms * 1000}


def _bar(row: tuple[Any, ...]) -> tuple[int, Bar]:
    """Return time and bar of one row of _BARS. Sums come as Decimal, since they may exceed 64 bits."""
    bar = Bar()
    time_ms, bar.open, bar.high, bar.low, bar.close, *sums = map(int, row)
    bar.lots, bar.turnover, bar.taker_buy_lots, bar.taker_buy_turnover, bar.trades, bar.first_id, bar.last_id = sums
    return time_ms, bar


async def _all(connection: AsyncConnection, query: str, parameters: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401 - as psycopg takes them
    cursor = await connection.execute(query.encode(), parameters)
    return await cursor.fetchall()


async def _row(connection: AsyncConnection, query: str, parameters: Any) -> tuple[Any, ...] | None:  # noqa: ANN401 - as psycopg takes them
    cursor = await connection.execute(query.encode(), parameters)
    return await cursor.fetchone()
