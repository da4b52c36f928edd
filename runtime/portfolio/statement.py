"""Statements: what moved in one month, what is held at its end, what it cost and what it earned.

One pass over the ledger in the order of accounts. The index of a month lists every statement with its checksum and is
filed last: a month without one is filed again, and what was stored stays as it is.

Errors:
    OutOfBalanceError  the postings of an account do not add up to what was folded from them; nothing of it is filed
"""

import copy
from collections.abc import Iterator
from datetime import date, timedelta
from hashlib import sha256
from itertools import groupby
from typing import Any, Final, NamedTuple

import psycopg
from msgspec import structs

from runtime.portfolio.holdings import Holding, LedgerError, Line, Portfolio, allocation
from runtime.reporting.day import OutOfBalanceError
from runtime.reporting.files import Report, report
from runtime.reporting.filing import Cabinet, refuse_unfinished
from runtime.shared.business_day import bounds_us, day_of
from runtime.shared.catalogue import Catalogue
from runtime.shared.money import format_decimal

CUSTOMER_MIN: Final = 1000
"""Accounts below are the house's own."""
_BEGINNING: Final = date(1970, 1, 1)
INDEX: Final = "statements"
ROWS_AT_ONCE: Final = 5_000
COLUMNS: Final = (
    *("kind", "asset", "opening", "transfers_in", "transfers_out", "trades_in", "trades_out", "fees", "closing"),
    *("currency", "quantity", "cost", "realized"),
)


class Month(NamedTuple):
    """A calendar month in Jakarta's time."""

    first: date
    last: date

    @classmethod
    def before(cls, now_us: int) -> "Month":
        """Return the last month that has ended by `now_us`."""
        last = day_of(now_us).replace(day=1) - timedelta(days=1)
        return cls(last.replace(day=1), last)

    @property
    def start_us(self) -> int:
        """Its first microsecond."""
        return bounds_us(self.first)[0]

    @property
    def end_us(self) -> int:
        """The first microsecond after it."""
        return bounds_us(self.last)[1]


def file_statements(connection: psycopg.Connection, catalogue: Catalogue, cabinet: Cabinet, now_us: int) -> list[str]:
    """File the statements of the month that ended before `now_us`; return their keys, none where they are filed.

    Raises NotFinalError while the ledger has not come to the month's end, OutOfBalanceError for books that are wrong.
    """
    month = Month.before(now_us)
    if cabinet.holds(_index(month, []).key):
        return []
    sequence = refuse_unfinished(connection, month.last, now_us)
    filed = []
    for each in statements(connection, catalogue, month):
        cabinet.file(each, sequence)
        filed.append(each)
    cabinet.file(_index(month, filed), sequence)
    return [each.key for each in filed]


def statements(connection: psycopg.Connection, catalogue: Catalogue, month: Month) -> Iterator[Report]:
    """Yield the statement of every account that had postings before the month's end, all as of one moment."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        with connection.cursor("postings_of_accounts") as cursor:
            cursor.itersize = ROWS_AT_ONCE
            cursor.execute(_POSTINGS, (month.end_us, CUSTOMER_MIN))
            for account, rows in groupby(cursor, key=lambda row: row[0]):
                yield _statement(account, rows, catalogue, month)


def final_statement(
    connection: psycopg.Connection, catalogue: Catalogue, account: int, sequence: int, day: date
) -> Report:
    """Return the statement of all that `account` ever did, up to `sequence`, as of `day`; there must be nothing left.

    Raises OutOfBalanceError for an account that still holds something.
    """
    rows = connection.execute(_OF_ONE, (account, sequence)).fetchall()
    whole = _statement(account, iter(rows), catalogue, Month(_BEGINNING, day))
    if left := {name: amount for name, amount in whole.totals.items() if amount}:
        raise OutOfBalanceError(f"account {account} is to be closed, and the ledger holds {left} at {sequence}")
    return structs.replace(whole, name=f"final-statement-{account}-{sequence}")


def _statement(account: int, rows: Iterator[Any], catalogue: Catalogue, month: Month) -> Report:
    portfolio, opening = Portfolio(catalogue), None
    sums: dict[int, int] = {}
    for time_us, lines in groupby(rows, key=lambda row: row[6]):
        if opening is None and time_us >= month.start_us:
            opening = copy.deepcopy(portfolio.holdings)
        batch = [Line(*row[1:6]) for row in lines]
        for line in batch:
            sums[line.asset] = sums.get(line.asset, 0) + line.amount
        try:
            portfolio.take(batch)
        except LedgerError as error:
            raise OutOfBalanceError(f"account {account}: {error}") from None
    if opening is None:
        opening = copy.deepcopy(portfolio.holdings)
    for asset, holding in portfolio.holdings.items():
        if holding.quantity != sums.get(asset, 0) or holding.uncosted < 0:
            raise OutOfBalanceError(
                f"account {account}: {holding.quantity} units of asset {asset} are held, {sums.get(asset, 0)} posted"
            )
    table = [row for asset in sorted(sums) for row in _rows(asset, opening, portfolio.holdings[asset], catalogue)]
    totals = {f"{catalogue.asset_by_id[asset].name} closing": amount for asset, amount in sums.items()}
    return report(f"statement-{account}", month.last, COLUMNS, table, totals)


def _rows(asset: int, opening: dict[int, Holding], now: Holding, catalogue: Catalogue) -> Iterator[list[str]]:
    """Yield what moved, then a line for each currency that paid for the asset."""
    before = opening.get(asset, Holding())
    kind = catalogue.asset_by_id[asset]
    moved = (
        before.quantity,
        now.transfers_in - before.transfers_in,
        now.transfers_out - before.transfers_out,
        now.trades_in - before.trades_in,
        now.trades_out - before.trades_out,
        now.fees - before.fees,
        now.quantity,
    )
    yield ["movement", kind.name, *(format_decimal(amount, kind.decimals) for amount in moved), "", "", "", ""]
    for currency, pool in sorted(now.pools.items()):
        payer = catalogue.asset_by_id[currency]
        earlier = before.pools[currency].realized if currency in before.pools else 0
        amounts = [format_decimal(amount, payer.decimals) for amount in (pool.cost, pool.realized - earlier)]
        yield ["cost", kind.name, *[""] * 7, payer.name, format_decimal(pool.quantity, kind.decimals), *amounts]


def _index(month: Month, filed: list[Report]) -> Report:
    rows = [(each.name, f"{each.key}.csv", sha256(each.content).hexdigest()) for each in filed]
    return report(INDEX, month.last, ("statement", "file", "sha256"), rows, {"statements": len(rows)})


def portfolio_of(connection: psycopg.Connection, catalogue: Catalogue, account: int, currency: str) -> dict[str, Any]:
    """Return what `account` holds now, its costs and results, and how it is spread, valued in `currency`.

    Raises CatalogueError for a currency that is no asset of the catalogue.
    """
    valued_in = catalogue.asset(currency)
    portfolio = Portfolio(catalogue)
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        portfolio.take(Line(*row) for row in connection.execute(_OF_ACCOUNT, (account,)).fetchall())
        prices: dict[int, int] = dict(connection.execute(_PRICES).fetchall())
    quantities = {asset: holding.quantity for asset, holding in portfolio.holdings.items()}
    shares = allocation(quantities, prices, currency, catalogue)
    priced = {share.asset for share in shares}
    return {
        "account": account,
        "currency": currency,
        "value": format_decimal(sum(share.value for share in shares), valued_in.decimals),
        "allocation": [
            {
                "asset": catalogue.asset_by_id[share.asset].name,
                "value": format_decimal(share.value, valued_in.decimals),
                "share": format_decimal(share.share_ppm, 6),
            }
            for share in shares
        ],
        "without_price": sorted(
            catalogue.asset_by_id[asset].name for asset, held in quantities.items() if held and asset not in priced
        ),
        "holdings": [_held(asset, holding, catalogue) for asset, holding in sorted(portfolio.holdings.items())],
    }


def _held(asset: int, holding: Holding, catalogue: Catalogue) -> dict[str, Any]:
    kind = catalogue.asset_by_id[asset]
    return {
        "asset": kind.name,
        "quantity": format_decimal(holding.quantity, kind.decimals),
        "costs": [
            {
                "currency": catalogue.asset_by_id[currency].name,
                "quantity": format_decimal(pool.quantity, kind.decimals),
                "cost": format_decimal(pool.cost, catalogue.asset_by_id[currency].decimals),
                "realized": format_decimal(pool.realized, catalogue.asset_by_id[currency].decimals),
            }
            for currency, pool in sorted(holding.pools.items())
        ],
    }


_POSTINGS: Final = b"""
SELECT account, sequence, event, asset, amount, kind, time_us FROM postings
WHERE time_us < %s AND account >= %s ORDER BY account, sequence, event, line
"""
_OF_ONE: Final = b"""
SELECT account, sequence, event, asset, amount, kind, time_us FROM postings
WHERE account = %s AND sequence <= %s ORDER BY sequence, event, line
"""
_OF_ACCOUNT: Final = b"""
SELECT sequence, event, asset, amount, kind FROM postings WHERE account = %s ORDER BY sequence, event, line
"""
_PRICES: Final = b"""
SELECT market, price FROM markets CROSS JOIN LATERAL
    (SELECT price FROM trades WHERE trades.market = markets.market ORDER BY trade_id DESC LIMIT 1) AS last
"""
