"""The ledger's side of PostgreSQL: reads where it stands, writes one batch in one transaction."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, NamedTuple

from psycopg import AsyncConnection, AsyncCursor, sql

from runtime.ledger.projection import (
    AmendmentRow,
    CandleRow,
    DisagreementError,
    Posting,
    PreventedMatchRow,
    Rows,
    Scale,
    TradeRow,
    TransferRow,
    candles,
)
from runtime.ledger.quotes import QuoteRow
from runtime.shared.messages import Order, OrderList, OrderTerms


class PositionMovedError(RuntimeError):
    """Another ledger process wrote since this one read the position; read it again."""


class Standing(NamedTuple):
    """Where the ledger stands: the last sequence it holds, and the markets it knows."""

    sequence: int
    markets: dict[int, Scale]


async def read_standing(connection: AsyncConnection, group: str) -> Standing:
    """Return where the ledger of `group` stands; 0 and no markets at the very beginning."""
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO positions (group_name, sequence, time_us) VALUES (%s, 0, 0) ON CONFLICT DO NOTHING", (group,)
        )
        cursor = await connection.execute("SELECT sequence FROM positions WHERE group_name = %s", (group,))
        (row,) = await cursor.fetchall()
        cursor = await connection.execute("SELECT market, base, quote, lot_units, quote_units FROM markets")
        return Standing(row[0], {market: Scale(*scale) for market, *scale in await cursor.fetchall()})


async def write(connection: AsyncConnection, group: str, position: int, rows: Rows, price_months: int) -> None:
    """Write `rows` and move the position on from `position`: both, or neither.

    With a new month, candles and quotes go that are older than `price_months`. Raises PositionMovedError, or
    DisagreementError when stored balances are not what the batch began with.
    """
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.execute(_MOVE, (rows.sequence, rows.time_us, group, position))  # locks out any other writer
        moved = await cursor.fetchone()
        if moved is None:
            raise PositionMovedError(f"the ledger of group {group} is no longer at sequence {position}")
        await _refuse_disagreement(cursor, rows)
        minutes = candles(rows.trades)
        times_us = [rows.time_us, *(row.minute_us for row in minutes), *(row.second_us for row in rows.quotes)]
        await _keep_months(cursor, moved[0], times_us, price_months)
        await _append(cursor, _AMENDMENTS, await _whole_amendments(cursor, rows.order_amendments))
        for table in _APPENDED:
            await _append(cursor, table, getattr(rows, table.name))
        await _add_candles(cursor, minutes)
        await _merge(cursor, _MARKETS, ((market, *scale) for market, scale in rows.markets.items()))
        await _merge(cursor, _ACCOUNTS, rows.accounts.values())
        await _merge(cursor, _ORDERS, map(_order_values, rows.orders.values()))
        await _merge(cursor, _ORDER_LISTS, map(_list_values, rows.order_lists.values()))
        await _merge(cursor, _BALANCES, (balance[:-1] for balance in rows.balances.values()))
        await _merge(cursor, _QUOTES, rows.quotes)


async def _whole_amendments(cursor: AsyncCursor, rows: Sequence[AmendmentRow]) -> list[AmendmentRow]:
    """Return the rows with the quantity that orders of earlier batches had. Raises DisagreementError for unknown ones.

    Asked before this batch replaces their rows.
    """
    asked = [row.order_id for row in rows if not row.old_lots]
    lots: dict[int, int] = {}
    if asked:
        await cursor.execute("SELECT order_id, lots FROM orders WHERE order_id = ANY(%s::int8[])", (asked,))
        lots = dict(await cursor.fetchall())
    for row in rows:
        if not row.old_lots and row.order_id not in lots:
            raise DisagreementError(f"sequence {row.sequence}: order {row.order_id} was amended, and never placed")
    return [row if row.old_lots else row._replace(old_lots=lots[row.order_id]) for row in rows]


async def _keep_months(cursor: AsyncCursor, past_us: int, times_us: Iterable[int], kept: int) -> None:
    """See to it that prices have the tables of their months: those of `past_us` were seen to when it was written."""
    months = {_month(time_us): time_us for time_us in times_us}
    months.pop(_month(past_us), None)
    for time_us in sorted(months.values()):
        await cursor.execute("SELECT keep_price_months(%s, %s)", (time_us, kept))


def _month(time_us: int) -> tuple[int, int]:
    at = datetime.fromtimestamp(time_us // 1_000_000, UTC)
    return at.year, at.month


async def _add_candles(cursor: AsyncCursor, rows: Sequence[CandleRow]) -> None:
    """Add what a batch traded to the candles of its minutes."""
    if rows:
        await cursor.execute(_MERGE_CANDLES, [list(column) for column in zip(*rows, strict=True)])


async def _refuse_disagreement(cursor: AsyncCursor, rows: Rows) -> None:
    """Raise DisagreementError for the first balance whose stored amount the batch contradicts."""
    if not rows.balances:
        return
    balances = rows.balances.values()
    columns = [balance.account for balance in balances], [balance.asset for balance in balances]
    await cursor.execute(_CONTRADICTED, (*columns, [balance.before for balance in balances]))
    for account, asset, stored, before in await cursor.fetchall():
        raise DisagreementError(
            f"account {account} holds {stored} of asset {asset} by its postings, but the engine's events up to "
            f"sequence {rows.sequence} start from {before}"
        )


class _Table(NamedTuple):
    """A table to write to: its columns, their types, and for one whose rows are replaced what a newer row changes."""

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    key: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


_PLAIN: Final = tuple(name for name in Order.__struct_fields__ if name != "terms")
_NO_TERMS: Final = (None,) * len(OrderTerms.__struct_fields__)
_APPENDED: Final = (
    _Table(
        "trades",
        TradeRow._fields,
        ("int4", *("int8",) * 3, "bool", *("int8",) * 8, "int4", "int4"),
    ),
    _Table("prevented_matches", PreventedMatchRow._fields, ("int4", *("int8",) * 6, "int2", *("int8",) * 5)),
    _Table("postings", Posting._fields, ("int8", "int4", "int2", "int8", "int4", "int8", "int2", "int8")),
    _Table("transfers", TransferRow._fields, ("int8", "int4", "int8", "int4", "int8", "text", "int8")),
)
_AMENDMENTS: Final = _Table(
    "order_amendments",
    AmendmentRow._fields,
    ("int8", "int8", "int4", "int8", "int4", "text", "text", *("int8",) * 3),
)
_MARKETS: Final = _Table(
    "markets", ("market", *Scale._fields), ("int4", "int4", "int4", "int8", "int8"), ("market",), ()
)
_ACCOUNTS: Final = _Table(
    "accounts",
    ("account", "name", "tier", "opened_us"),
    ("int8", "text", "int4", "int8"),
    ("account",),
    ("name", "tier"),
)
_ORDERS: Final = _Table(
    "orders",
    (*_PLAIN, *OrderTerms.__struct_fields__),
    (
        *("int8", "text", "int8", "int4", *("int2",) * 3, *("int8",) * 5, *("int2",) * 3, "int8", "int8"),
        *("int8", "int4", *("int8",) * 6, "int4", "int8"),
    ),
    ("order_id",),
    (
        *("client_order_id", "lots", "executed_lots", "executed_quote", "status", "expiry", "updated_us"),
        *("working_us", "trailing_us", "prevented_lots", "prevented_match_id", "amends"),
    ),
)
_ORDER_LISTS: Final = _Table(
    "order_lists",
    ("list_id", "account", "market", "kind", "client_list_id", "status", "created_us", "updated_us"),
    ("int8", "int8", "int4", "int2", "text", "int2", "int8", "int8"),
    ("list_id",),
    ("status", "updated_us"),
)
_BALANCES: Final = _Table(
    "balances",
    ("account", "asset", "free", "held", "sequence"),
    ("int8", "int4", "int8", "int8", "int8"),
    ("account", "asset"),
    ("free", "held", "sequence"),
)
_QUOTES: Final = _Table(
    "quotes", QuoteRow._fields, ("int4", *("int8",) * 5), QuoteRow._fields[:2], QuoteRow._fields[2:]
)


def _order_values(order: Order) -> tuple[Any, ...]:
    terms = order.terms
    beside = _NO_TERMS if terms is None else tuple(getattr(terms, name) for name in OrderTerms.__struct_fields__)
    return (*(getattr(order, name) for name in _PLAIN), *beside)


def _list_values(placed: OrderList) -> tuple[Any, ...]:
    return tuple(getattr(placed, name) for name in _ORDER_LISTS.columns)


async def _append(cursor: AsyncCursor, table: _Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add rows by binary COPY: the cheapest way in, for the tables that get most of them."""
    if not rows:
        return
    async with cursor.copy(_append_statement(table)) as copy:
        copy.set_types(table.types)
        for row in rows:
            await copy.write_row(row)


@cache
def _append_statement(table: _Table) -> sql.Composed:
    return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(table.name), _names(table.columns))


async def _merge(cursor: AsyncCursor, table: _Table, rows: Iterable[tuple[Any, ...]]) -> None:
    """Add rows, or replace what changed in those already there: one statement, one array per column."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    if columns:
        await cursor.execute(_merge_statement(table), columns)


@cache
def _merge_statement(table: _Table) -> sql.Composed:
    arrays = sql.SQL(", ").join(sql.SQL("%b::{}[]").format(sql.SQL(kind)) for kind in table.types)
    changes = sql.SQL(", ").join(
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column)) for column in table.changed
    )
    return sql.SQL("INSERT INTO {} ({}) SELECT * FROM unnest({}) ON CONFLICT ({}) DO {}").format(
        sql.Identifier(table.name),
        _names(table.columns),
        arrays,
        _names(table.key),
        sql.SQL("UPDATE SET {}").format(changes) if table.changed else sql.SQL("NOTHING"),
    )


def _names(columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


_MERGE_CANDLES: Final = f"""
INSERT INTO candles ({", ".join(CandleRow._fields)})
SELECT * FROM unnest(%b::int4[], {", ".join(["%b::int8[]"] * 5)}, {", ".join(["%b::numeric[]"] * 4)},
                     {", ".join(["%b::int8[]"] * 3)})
ON CONFLICT (market, minute_us) DO UPDATE SET
    high = greatest(candles.high, excluded.high), low = least(candles.low, excluded.low), close = excluded.close,
    volume = candles.volume + excluded.volume, turnover = candles.turnover + excluded.turnover,
    taker_buy_volume = candles.taker_buy_volume + excluded.taker_buy_volume,
    taker_buy_turnover = candles.taker_buy_turnover + excluded.taker_buy_turnover,
    trades = candles.trades + excluded.trades, last_id = excluded.last_id
"""  # noqa: S608 - names of our own columns
_MOVE: Final = """
UPDATE positions AS moved SET sequence = %s, time_us = %s FROM positions AS before
WHERE moved.group_name = %s AND moved.sequence = %s AND before.group_name = moved.group_name
RETURNING before.time_us
"""
_CONTRADICTED: Final = """
SELECT account, asset, coalesce(free::numeric + held, 0)::text, before
FROM unnest(%b::int8[], %b::int4[], %b::int8[]) AS batch (account, asset, before)
LEFT JOIN balances USING (account, asset)
WHERE coalesce(free::numeric + held, 0) <> before LIMIT 1
"""
