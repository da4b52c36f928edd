"""What has been: orders, fills and trades, read from PostgreSQL by the gateways and the market data service.

Times are in microseconds, prices in ticks, quantities in lots, fees in units of the asset received. Lists are oldest
first. A page starts at what is asked for (an id, a start time) and goes forward; asked for neither, it is the newest.

Errors:
    HistoryUnavailableError  the database does not answer, or not in time
    └── LedgerBehindError    it answers, but the ledger has not come as far as the reader must see
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

import psycopg
from msgspec import Struct, structs
from psycopg_pool import AsyncConnectionPool

from runtime.ledger.migrate import SCHEMA_VERSION
from runtime.shared.messages import FEE_FROM_RECEIVED, Order, OrderList, OrderTerms
from runtime.shared.settings import Login

logger = logging.getLogger(__name__)

GROUP: Final = "main"
"""The market group whose position is read; there is one until markets are split."""
PAGE_MAX: Final = 5_000
"""Most rows of one answer."""
QUERY_TIMEOUT_S: Final = 5.0
CHECK_TIMEOUT_S: Final = 120.0
_POOL_MAX: Final = 4
_POOL_WAITING_MAX: Final = 256
_POLL_MIN_S: Final = 0.005
_POLL_MAX_S: Final = 0.05
_START_RETRY_S: Final = 0.5

_ORDERS: Final = (
    "SELECT order_id, client_order_id, account, market, side, order_type, time_in_force, price, lots, quote_amount,"
    " executed_lots, executed_quote, status, stp, expiry, created_us, updated_us, stop_price, trailing_delta,"
    " iceberg_lots, list_id, working_us, trailing_us, prevented_lots, prevented_match_id, amends, hold_price"
    " FROM orders WHERE "
)
"""Columns in the order of `Order`, then of `OrderTerms`."""
_PLAIN_COLUMNS: Final = len(Order.__struct_fields__) - 1
_LISTS: Final = (
    "SELECT list_id, account, market, kind, client_list_id, status,"
    " ARRAY(SELECT order_id FROM orders WHERE orders.list_id = order_lists.list_id ORDER BY order_id),"
    " ARRAY(SELECT client_order_id FROM orders WHERE orders.list_id = order_lists.list_id ORDER BY order_id),"
    " created_us, updated_us FROM order_lists WHERE "
)
_PREVENTED: Final = (
    "SELECT market, match_id, taker_order_id, maker_order_id, trade_group, mode, price, taker_lots, maker_lots, time_us"
    " FROM prevented_matches WHERE "
)
_AMENDMENTS: Final = (
    "SELECT market, order_id, sequence, event, old_client_order_id, new_client_order_id, old_lots, new_lots, time_us"
    " FROM order_amendments WHERE "
)
_TRADES: Final = "SELECT trade_id, price, lots, buyer_is_maker, time_us FROM trades WHERE "
_BUYS: Final = (
    "SELECT market, trade_id, buy_order_id, price, lots, buyer_fee, true, buyer_is_maker, time_us, buyer_fee_asset"
    " FROM trades WHERE "
)
_SALES: Final = (
    "SELECT market, trade_id, sell_order_id, price, lots, seller_fee, false, NOT buyer_is_maker, time_us,"
    " seller_fee_asset"
    " FROM trades WHERE "
)


class HistoryUnavailableError(ConnectionError):
    """The database cannot be asked now; the message says why."""


class LedgerBehindError(HistoryUnavailableError):
    """The ledger did not reach the wanted sequence in time."""


class PublicTrade(Struct, frozen=True, gc=False):
    """A trade as everyone may see it."""

    trade_id: int
    price: int
    lots: int
    buyer_is_maker: bool
    time_us: int


class AccountTrade(Struct, frozen=True, gc=False):
    """One side of a trade, as its owner sees it.

    The fee is in `fee_asset`, and if that is below 0 in what the side received: base for a buyer, else quote.
    """

    market: int
    trade_id: int
    order_id: int
    price: int
    lots: int
    fee: int
    is_buyer: bool
    is_maker: bool
    time_us: int
    fee_asset: int = FEE_FROM_RECEIVED


class PreventedMatch(Struct, frozen=True, gc=False):
    """Two orders of one owner that met and did not trade."""

    market: int
    match_id: int
    taker_order_id: int
    maker_order_id: int
    trade_group: int
    mode: int
    price: int
    taker_lots: int
    maker_lots: int
    time_us: int


class Amendment(Struct, frozen=True, gc=False):
    """An order was made smaller and kept its place."""

    market: int
    order_id: int
    sequence: int
    event: int
    """Which event of the command at `sequence` told of it; the two make the id of the execution."""
    old_client_order_id: str
    new_client_order_id: str
    old_lots: int
    new_lots: int
    time_us: int


class MinuteCandle(Struct, frozen=True, gc=False):
    """One minute of trading. `volume` is in lots, `turnover` in ticks times lots; both may exceed 64 bits."""

    start_us: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    turnover: int
    trades: int
    taker_buy_volume: int
    taker_buy_turnover: int
    first_trade_id: int
    last_trade_id: int


class AccountName(Struct, frozen=True, gc=False):
    """An account as the ledger knows it."""

    account: int
    name: str
    tier: int


async def open_history(login: str | Login, *, pool_max: int = _POOL_MAX) -> "History":
    """Return a reader once the database answers and its schema is recent enough; say in the log what is waited for."""
    pool = AsyncConnectionPool(
        login,
        min_size=1,
        max_size=pool_max,
        max_waiting=_POOL_WAITING_MAX,
        timeout=QUERY_TIMEOUT_S,
        kwargs={"autocommit": True},
        check=AsyncConnectionPool.check_connection,  # one that broke while idle is replaced before a reader gets it
        open=False,
    )
    waiting = ""
    while problem := await _not_ready(login):
        if problem != waiting:
            logger.info("history: waiting for %s", problem)
            waiting = problem
        await asyncio.sleep(_START_RETRY_S)
    await pool.open()
    return History(pool)


async def _not_ready(login: str | Login) -> str:
    """Return what is missing before history can be read, or nothing."""
    try:
        async with await psycopg.AsyncConnection.connect(
            login if isinstance(login, str) else await login()
        ) as connection:
            cursor = await connection.execute("SELECT max(version) FROM schema_migrations")
            row = await cursor.fetchone()
    except psycopg.errors.UndefinedTable:
        row = None
    except psycopg.OperationalError as error:
        return f"the database: {_first_line(error)}"
    version = (row[0] if row else None) or 0
    return "" if version >= SCHEMA_VERSION else f"the ledger's schema version {SCHEMA_VERSION}, is {version}"


def _order(row: Sequence[Any]) -> Order:
    """Return the order in a row of _ORDERS."""
    beside = row[_PLAIN_COLUMNS:]
    order = Order(*row[:_PLAIN_COLUMNS])
    return order if beside[0] is None else structs.replace(order, terms=OrderTerms(*beside))


def _list(row: Sequence[Any]) -> OrderList:
    """Return the list in a row of _LISTS."""
    list_id, account, market, kind, client_list_id, status, order_ids, client_ids, created_us, updated_us = row
    orders = list(zip(order_ids, client_ids, strict=True))
    return OrderList(list_id, account, market, kind, client_list_id, status, orders, created_us, updated_us)


def _whole_trades(sides: list[AccountTrade], limit: int) -> list[AccountTrade]:
    """Return the first `limit` of sides sorted by trade, and the other side of the last one if it comes next."""
    is_split = len(sides) > limit and sides[limit].trade_id == sides[limit - 1].trade_id
    return sides[: limit + is_split]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


class History:
    """Bounded, read-only queries. One instance per process."""

    def __init__(self, pool: AsyncConnectionPool, group: str = GROUP) -> None:
        """Read through `pool`, which must be open and in autocommit; `close` closes it."""
        self._pool = pool
        self._group = group
        self._seen = 0  # the position only grows, so what was seen once stays a lower bound
        self._polling = asyncio.Lock()

    async def close(self) -> None:
        """Close the pool."""
        await self._pool.close()

    # ---- how far the ledger has come ---------------------------------------------------------------------------

    async def position(self) -> int:
        """Return the last sequence in the ledger, 0 before the first."""
        rows = await self._rows("SELECT sequence FROM positions WHERE group_name = %s", (self._group,))
        self._seen = max(self._seen, rows[0][0] if rows else 0)
        return self._seen

    async def wait_for(self, sequence: int, timeout_s: float = 2.0) -> None:
        """Return once the ledger holds everything up to `sequence`: then a reader sees its own orders.

        However many wait, one of them polls. Raises LedgerBehindError after `timeout_s`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                pause_s = _POLL_MIN_S
                while self._seen < sequence:
                    async with self._polling:
                        if self._seen >= sequence or await self.position() >= sequence:
                            return
                        await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, _POLL_MAX_S)
        except TimeoutError:
            msg = f"the ledger is at sequence {self._seen}, {sequence} was wanted within {timeout_s:g} s"
            raise LedgerBehindError(msg) from None

    # ---- accounts and orders -----------------------------------------------------------------------------------

    async def account_named(self, name: str) -> AccountName | None:
        """Return the account called `name`."""
        rows = await self._rows("SELECT account, name, tier FROM accounts WHERE name = %s", (name,))
        return AccountName(*rows[0]) if rows else None

    async def order_by_id(self, account: int, market: int, order_id: int) -> Order | None:
        """Return one order of the account, open or closed."""
        rows = await self._rows(
            _ORDERS + "order_id = %s AND account = %s AND market = %s",
            (order_id, account, market),
        )
        return _order(rows[0]) if rows else None

    async def order_by_client_id(self, account: int, market: int, client_order_id: str) -> Order | None:
        """Return the newest of the account's orders with that client id: it is unique among open orders only."""
        rows = await self._rows(
            _ORDERS + "account = %s AND client_order_id = %s AND market = %s ORDER BY order_id DESC LIMIT 1",
            (account, client_order_id, market),
        )
        return _order(rows[0]) if rows else None

    async def all_orders(
        self,
        account: int,
        market: int,
        *,
        order_id: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 500,
    ) -> list[Order]:
        """Return the account's orders from `order_id` on, or created from `start_us` to `end_us`, both included."""
        where = _Where(account=account, market=market)
        where.between("order_id", order_id, None)
        where.between("created_us", start_us, end_us)
        by_time = order_id is None and (start_us is not None or end_us is not None)
        rows = await self._page(
            _ORDERS,
            where,
            by=("created_us", "order_id") if by_time else ("order_id",),
            forward=order_id is not None or start_us is not None,
            limit=limit,
        )
        return [_order(row) for row in rows]

    # ---- lists and self-trades ---------------------------------------------------------------------------------

    async def list_by_id(self, account: int, list_id: int) -> OrderList | None:
        """Return one list of the account, open or done."""
        rows = await self._rows(_LISTS + "list_id = %s AND account = %s", (list_id, account))
        return _list(rows[0]) if rows else None

    async def list_by_client_id(self, account: int, client_list_id: str) -> OrderList | None:
        """Return the newest of the account's lists with that client id."""
        rows = await self._rows(
            _LISTS + "account = %s AND client_list_id = %s ORDER BY list_id DESC LIMIT 1", (account, client_list_id)
        )
        return _list(rows[0]) if rows else None

    async def all_lists(
        self,
        account: int,
        *,
        from_id: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 500,
    ) -> list[OrderList]:
        """Return the account's lists from `from_id` on, or created from `start_us` to `end_us`, both included."""
        where = _Where(account=account)
        where.between("list_id", from_id, None)
        where.between("created_us", start_us, end_us)
        forward = from_id is not None or start_us is not None
        return [_list(row) for row in await self._page(_LISTS, where, by=("list_id",), forward=forward, limit=limit)]

    async def prevented_matches(
        self,
        account: int,
        market: int,
        *,
        match_id: int | None = None,
        order_id: int | None = None,
        from_id: int | None = None,
        limit: int = 500,
    ) -> list[PreventedMatch]:
        """Return self-trades of the account that were prevented: one, those of an order, or from `from_id` on."""
        rows = await self._rows(
            _PREVENTED + "(taker = %(account)s OR maker = %(account)s) AND market = %(market)s"
            " AND (%(match_id)s::int8 IS NULL OR match_id = %(match_id)s)"
            " AND (%(order_id)s::int8 IS NULL OR taker_order_id = %(order_id)s OR maker_order_id = %(order_id)s)"
            " AND match_id >= coalesce(%(from_id)s::int8, 0) ORDER BY match_id LIMIT %(limit)s",
            {
                "account": account,
                "market": market,
                "match_id": match_id,
                "order_id": order_id,
                "from_id": from_id,
                "limit": min(limit, PAGE_MAX),
            },
        )
        return [PreventedMatch(*row) for row in rows]

    async def order_amendments(
        self, account: int, market: int, order_id: int, *, since: tuple[int, int] = (0, 0), limit: int = 500
    ) -> list[Amendment]:
        """Return what was changed of an order of the account, from the execution (sequence, event) on, oldest first."""
        rows = await self._rows(
            _AMENDMENTS + "order_id = %s AND account = %s AND market = %s AND (sequence, event) >= (%s, %s)"
            " ORDER BY sequence, event LIMIT %s",
            (order_id, account, market, *since, min(limit, PAGE_MAX)),
        )
        return [Amendment(*row) for row in rows]

    # ---- trades ------------------------------------------------------------------------------------------------

    async def my_trades(
        self,
        account: int,
        market: int,
        *,
        from_id: int | None = None,
        order_id: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 500,
    ) -> list[AccountTrade]:
        """Return the account's fills from trade `from_id` on, of one order, or from `start_us` to `end_us`.

        A trade of the account with itself shows both its sides, and both on one page: the next page begins after the
        last trade id, so a page that would end between the two holds one fill more than `limit`.
        """
        first_id, last_id = await self._trade_ids(market, from_id, start_us, end_us)
        forward = from_id is not None or start_us is not None
        sides: list[AccountTrade] = []
        for select, owner, order in ((_BUYS, "buyer", "buy_order_id"), (_SALES, "seller", "sell_order_id")):
            where = _Where(**{owner: account}, market=market, **({} if order_id is None else {order: order_id}))
            where.between("trade_id", first_id, last_id)
            rows = await self._page(select, where, by=("trade_id",), forward=forward, limit=limit)
            sides += [AccountTrade(*row) for row in rows]
        sides.sort(key=lambda trade: trade.trade_id)
        return _whole_trades(sides, limit) if forward else _whole_trades(sides[::-1], limit)[::-1]

    async def public_trades(
        self,
        market: int,
        *,
        from_id: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 500,
    ) -> list[PublicTrade]:
        """Return the market's trades from trade `from_id` on, or from `start_us` to `end_us`, both included."""
        first_id, last_id = await self._trade_ids(market, from_id, start_us, end_us)
        forward = from_id is not None or start_us is not None
        where = _Where(market=market)
        where.between("trade_id", first_id, last_id)
        rows = await self._page(_TRADES, where, by=("trade_id",), forward=forward, limit=limit)
        return [PublicTrade(*row) for row in rows]

    async def minute_candles(self, market: int, start_us: int, limit: int = PAGE_MAX) -> list[MinuteCandle]:
        """Return the market's candles of the minutes from `start_us` (rounded down) on; minutes without trades lack.

        They are kept as long as the ledger is told to keep prices.
        """
        rows = await self._rows(
            _MINUTE_CANDLES, {"market": market, "start_us": start_us // 60_000_000 * 60_000_000, "limit": limit}
        )
        return [MinuteCandle(*(int(value) for value in row)) for row in rows]

    async def _trade_ids(
        self, market: int, from_id: int | None, start_us: int | None, end_us: int | None
    ) -> tuple[int, int]:
        """Return the first and last id of a page: an index by id then serves times, too, since both grow together."""
        if start_us is None and end_us is None:
            return from_id or 0, _ID_MAX
        rows = await self._rows(
            _TRADE_IDS,
            {
                "market": market,
                "start_us": 0 if start_us is None else start_us,
                "end_us": _ID_MAX if end_us is None else end_us,
            },
        )
        first, last = rows[0]
        if first is None or last is None:  # all trades are before the start, or after the end
            return _ID_MAX, 0
        return max(first, from_id or 0), last

    # ---- portfolios --------------------------------------------------------------------------------------------

    async def account_postings(self, account: int, limit: int) -> list[tuple[int, int, int, int, int]] | None:
        """Return sequence, event, asset, amount and kind of every posting of the account, oldest first.

        None when there are more than `limit`: then no more than that was looked at.
        """
        ((count,),) = await self._rows(
            "SELECT count(*) FROM (SELECT FROM postings WHERE account = %s LIMIT %s) AS counted", (account, limit + 1)
        )
        if count > limit:
            return None
        rows = await self._rows(
            "SELECT sequence, event, asset, amount, kind FROM postings WHERE account = %s"
            " ORDER BY sequence, event, line",
            (account,),
        )
        return [(sequence, event, asset, amount, kind) for sequence, event, asset, amount, kind in rows]

    async def last_prices(self) -> dict[int, int]:
        """Return the price of each market's last trade in ticks; a market without trades is not there."""
        return dict(await self._rows(_LAST_PRICES, ()))

    # ---- checks ------------------------------------------------------------------------------------------------

    async def conservation(self) -> dict[int, int]:
        """Return the sum of all postings per asset: 0 for each, or money was made or lost. Reads every posting."""
        rows = await self._rows(
            "SELECT asset, sum(amount) FROM postings GROUP BY asset ORDER BY asset", (), timeout_s=CHECK_TIMEOUT_S
        )
        return {asset: int(total) for asset, total in rows}

    async def disagreements(self) -> list[tuple[int, int, int, int]]:
        """Return (account, asset, balance, sum of postings) where the two differ: none ever should.

        Reads every posting.
        """
        rows = await self._rows(_DISAGREEMENTS, (), timeout_s=CHECK_TIMEOUT_S)
        return [(account, asset, int(balance), int(posted)) for account, asset, balance, posted in rows]

    # ---- queries -----------------------------------------------------------------------------------------------

    async def _page(
        self, select: str, where: "_Where", *, by: tuple[str, ...], forward: bool, limit: int
    ) -> list[tuple[Any, ...]]:
        """Return one page, oldest first: from its beginning if `forward`, else its newest rows."""
        if not 1 <= limit <= PAGE_MAX:
            raise ValueError(f"limit must be 1 to {PAGE_MAX}, was {limit}")
        order = ", ".join(by) if forward else ", ".join(f"{column} DESC" for column in by)
        query = select + " AND ".join(where.terms) + f" ORDER BY {order} LIMIT %s"
        rows = await self._rows(query, (*where.values, limit))
        return rows if forward else rows[::-1]

    async def _rows(
        self, query: str, parameters: Sequence[Any] | dict[str, Any], *, timeout_s: float = QUERY_TIMEOUT_S
    ) -> list[tuple[Any, ...]]:
        """Return all rows of a read. Raises HistoryUnavailableError."""
        try:
            async with asyncio.timeout(timeout_s), self._pool.connection() as connection:
                cursor = await connection.execute(query.encode(), parameters)
                return await cursor.fetchall()
        except psycopg.OperationalError as error:
            raise HistoryUnavailableError(_first_line(error)) from error
        except TimeoutError:
            raise HistoryUnavailableError(f"no answer from the database within {timeout_s:g} s") from None


class _Where:
    """Conditions of a query and their values. Column names come from this file, never from a caller."""

    def __init__(self, **equal: int) -> None:
        self.terms = [f"{column} = %s" for column in equal]
        self.values = list(equal.values())

    def between(self, column: str, least: int | None, most: int | None) -> None:
        """Bound `column` from below, from above, both or neither; bounds are included."""
        for operator, value in ((">=", least), ("<=", most)):
            if value is not None:
                self.terms.append(f"{column} {operator} %s")
                self.values.append(value)


_ID_MAX: Final = 2**63 - 1

_TRADE_IDS: Final = """
SELECT
    (SELECT trade_id FROM trades WHERE market = %(market)s AND time_us >= %(start_us)s
     ORDER BY time_us, trade_id LIMIT 1),
    (SELECT trade_id FROM trades WHERE market = %(market)s AND time_us <= %(end_us)s
     ORDER BY time_us DESC, trade_id DESC LIMIT 1)
"""

_LAST_PRICES: Final = """
SELECT market, price FROM markets CROSS JOIN LATERAL
    (SELECT price FROM trades WHERE trades.market = markets.market ORDER BY trade_id DESC LIMIT 1) AS last
"""

_MINUTE_CANDLES: Final = """
SELECT minute_us, open, high, low, close, volume, turnover, trades,
       taker_buy_volume, taker_buy_turnover, first_id, last_id
FROM candles WHERE market = %(market)s AND minute_us >= %(start_us)s ORDER BY minute_us LIMIT %(limit)s
"""

_DISAGREEMENTS: Final = """
SELECT account, asset, coalesce(free::numeric + held, 0), coalesce(posted, 0)
FROM balances FULL JOIN (SELECT account, asset, sum(amount) AS posted FROM postings GROUP BY account, asset) AS sums
     USING (account, asset)
WHERE coalesce(free::numeric + held, 0) <> coalesce(posted, 0)
ORDER BY account, asset
"""
