"""The views made for the supervisor, a page at a time: everything that was done and quoted, as the ledger has it.

Amounts are in the smallest unit of their asset, prices in ticks, quantities in lots, times in microseconds: all of them
whole numbers of up to 64 bits. Rows of trades, postings and transfers never change; others are as they stand now.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg import sql

VIEWS: Final[Mapping[str, tuple[str, ...]]] = {
    "accounts": ("account",),
    "orders": ("order_id",),
    "trades": ("market", "trade_id"),
    "postings": ("sequence", "event", "line"),
    "transfers": ("sequence", "event"),
    "balances": ("account", "asset"),
    "markets": ("market",),
    "quotes": ("market", "second_us"),
}
"""View → the columns that tell its rows apart, all of them whole numbers."""
ROWS_MAX: Final = 5_000
"""Rows of one page."""


def read_page(
    connection: psycopg.Connection, view: str, after: Sequence[int] = (), rows_max: int = ROWS_MAX
) -> dict[str, Any]:
    """Return the rows of `view` that come after the key `after`, or its first; `next` is where to go on, or None."""
    keys = sql.SQL(", ").join(map(sql.Identifier, VIEWS[view]))
    query = sql.SQL("SELECT {keys}, to_jsonb(viewed) FROM regulator.{view} AS viewed {start} ORDER BY {keys} LIMIT %s")
    start = sql.SQL("WHERE ({keys}) > ({after})").format(
        keys=keys, after=sql.SQL(", ").join(sql.Placeholder() * len(after))
    )
    found = connection.execute(
        query.format(keys=keys, view=sql.Identifier(view), start=start if after else sql.SQL("")),
        (*after, rows_max + 1),
    ).fetchall()
    page = found[:rows_max]
    return {
        "view": view,
        "rows": [row for *_, row in page],
        "next": list(page[-1][:-1]) if len(found) > rows_max else None,
    }
