"""All customers' accounts, balances and open orders as the ledger has them at one moment, in the form of a hand-over.

Names of accounts are those of the engine. What was gathered to know a customer stays in its own table and bucket: it is
handed over apart from this, once counsel has said what the receiver may have.

Errors:
    OutOfBalanceError  balances are not what postings add up to; nothing is handed over
"""

from typing import Any, Final, NamedTuple

import psycopg

from runtime.reporting.day import OutOfBalanceError
from runtime.shared.catalogue import Catalogue
from runtime.shared.hand_over import (
    ACCOUNTS,
    BALANCES,
    MANIFEST,
    ORDERS,
    SCHEMA,
    SIDES,
    TIMES_IN_FORCE,
    TYPES,
    Manifest,
    file_of,
    manifest_text,
)
from runtime.shared.messages import FIRST_USER_ACCOUNT, NEW, PARTIALLY_FILLED, PENDING_NEW
from runtime.shared.money import format_decimal


class Export(NamedTuple):
    """Files by name, the manifest last; and where the ledger stood."""

    files: dict[str, bytes]
    sequence: int


def export(connection: psycopg.Connection, catalogue: Catalogue, hand_over_id: str) -> Export:
    """Return what is handed over. The same books give the same bytes. Raises OutOfBalanceError."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        row = connection.execute("SELECT coalesce(max(sequence), 0) FROM positions").fetchone()
        sequence = int(row[0]) if row else 0
        accounts = connection.execute(_ACCOUNTS, (FIRST_USER_ACCOUNT,)).fetchall()
        balances = connection.execute(_BALANCES, (FIRST_USER_ACCOUNT,)).fetchall()
        orders = connection.execute(_ORDERS, (FIRST_USER_ACCOUNT, [NEW, PARTIALLY_FILLED, PENDING_NEW])).fetchall()
        posted = {int(asset): int(total) for asset, total in connection.execute(_POSTED, (FIRST_USER_ACCOUNT,))}
    sums: dict[int, int] = {}
    for _, asset, free, held in balances:
        sums[asset] = sums.get(asset, 0) + free + held
    if sums != posted:
        wrong = {asset: (sums.get(asset, 0), posted.get(asset, 0)) for asset in sorted({*sums, *posted})}
        raise OutOfBalanceError(f"balances and postings of customers differ: {wrong}")
    tiers = {number: tier.name for number, tier in catalogue.tier_by_id.items()}
    made = {
        ACCOUNTS: file_of(ACCOUNTS, ((account, name, tiers[tier]) for account, name, tier in accounts)),
        BALANCES: file_of(BALANCES, (_balance(each, catalogue) for each in balances)),
        ORDERS: file_of(ORDERS, (_order(each, catalogue) for each in orders)),
    }
    manifest = Manifest(
        schema=SCHEMA,
        hand_over_id=hand_over_id,
        ledger_sequence=sequence,
        files=[entry for _, entry in made.values()],
        totals={
            catalogue.asset_by_id[asset].name: format_decimal(total, catalogue.asset_by_id[asset].decimals)
            for asset, total in sorted(sums.items())
        },
    )
    files = {name: content for name, (content, _) in made.items()}
    return Export({**files, MANIFEST: manifest_text(manifest)}, sequence)


def _balance(row: Any, catalogue: Catalogue) -> tuple[Any, ...]:  # noqa: ANN401 - a row
    account, asset, free, held = row
    kind = catalogue.asset_by_id[asset]
    return account, kind.name, format_decimal(free, kind.decimals), format_decimal(held, kind.decimals)


def _order(row: Any, catalogue: Catalogue) -> tuple[Any, ...]:  # noqa: ANN401 - a row
    order_id, account, number, side, kind, time_in_force, price, stop_price, lots, executed, client_order_id = row
    market = catalogue.market_by_id[number]
    lot_units, decimals = catalogue.spec(market).lot_units, catalogue.asset(market.base).decimals
    return (
        order_id,
        account,
        market.symbol,
        SIDES[side],
        TYPES[kind],
        TIMES_IN_FORCE[time_in_force],
        market.price_text(price) if price else "",
        market.price_text(stop_price) if stop_price else "",
        format_decimal(lots * lot_units, decimals),
        format_decimal(executed * lot_units, decimals),
        client_order_id,
    )


_ACCOUNTS: Final = b"SELECT account, name, tier FROM accounts WHERE account >= %s ORDER BY account"
_BALANCES: Final = b"""
SELECT account, asset, free, held FROM balances
WHERE account >= %s AND (free > 0 OR held > 0) ORDER BY account, asset
"""
_ORDERS: Final = b"""
SELECT order_id, account, market, side, order_type, time_in_force, price, stop_price, lots, executed_lots,
       client_order_id
FROM orders WHERE account >= %s AND status = ANY(%s) ORDER BY order_id
"""
_POSTED: Final = b"""
SELECT asset, sum(amount) FROM postings WHERE account >= %s GROUP BY asset HAVING sum(amount) <> 0
"""
