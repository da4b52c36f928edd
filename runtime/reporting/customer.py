"""One customer's orders and trades of one business day, as the supervisor may ask for them. The shape is ours."""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

import psycopg

from runtime.shared.business_day import bounds_us, text_of
from runtime.shared.catalogue import Catalogue
from runtime.shared.messages import BUY
from runtime.shared.money import format_decimal

ROWS_MAX: Final = 5_000
"""Orders, and trades, of one answer; `is_whole` tells whether there are more."""


def customer_records(connection: psycopg.Connection, catalogue: Catalogue, account: int, day: date) -> dict[str, Any]:
    """Return orders entered and trades executed by `account` on `day`, oldest first, amounts as decimal text."""
    bounds = bounds_us(day)
    orders = connection.execute(_ORDERS, (account, *bounds, ROWS_MAX + 1)).fetchall()
    trades = connection.execute(
        _TRADES, {"account": account, "start": bounds[0], "end": bounds[1], "limit": ROWS_MAX + 1}
    )
    fills = trades.fetchall()
    return {
        "account": account,
        "day": day.isoformat(),
        "is_whole": max(len(orders), len(fills)) <= ROWS_MAX,
        "orders": [_order(row, catalogue) for row in orders[:ROWS_MAX]],
        "trades": [_trade(row, account, catalogue) for row in fills[:ROWS_MAX]],
    }


def _order(row: Sequence[Any], catalogue: Catalogue) -> dict[str, Any]:
    order_id, market_id, side, price, lots, executed_lots, status, created_us, updated_us = row
    market = catalogue.market_by_id[market_id]
    decimals, lot_units = catalogue.asset(market.base).decimals, catalogue.spec(market).lot_units
    return {
        "order_id": order_id,
        "symbol": market.symbol,
        "side": "BUY" if side == BUY else "SELL",
        "price": market.price_text(price),
        "quantity": format_decimal(lots * lot_units, decimals),
        "executed": format_decimal(executed_lots * lot_units, decimals),
        "status": status,
        "entered": text_of(created_us),
        "changed": text_of(updated_us),
    }


def _trade(row: Sequence[Any], account: int, catalogue: Catalogue) -> dict[str, Any]:
    market_id, trade_id, price, lots, buyer, seller, time_us = row
    market = catalogue.market_by_id[market_id]
    sides = [side for side, owner in (("BUY", buyer), ("SELL", seller)) if owner == account]
    return {
        "trade_id": trade_id,
        "symbol": market.symbol,
        "sides": sides,
        "price": market.price_text(price),
        "quantity": format_decimal(lots * catalogue.spec(market).lot_units, catalogue.asset(market.base).decimals),
        "time": text_of(time_us),
    }


_ORDERS: Final = b"""
SELECT order_id, market, side, price, lots, executed_lots, status, created_us, updated_us FROM orders
WHERE account = %s AND created_us >= %s AND created_us < %s ORDER BY order_id LIMIT %s
"""
_TRADES: Final = b"""
SELECT market, trade_id, price, lots, buyer, seller, time_us FROM trades
WHERE (buyer = %(account)s OR seller = %(account)s) AND time_us >= %(start)s AND time_us < %(end)s
ORDER BY time_us, market, trade_id LIMIT %(limit)s
"""
