"""Where the numbers come from: the ledger's database, the engine's books, the register of withdrawals."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import psycopg

from runtime.business_metrics.measures import HOUR_S, LedgerSum, Outflow, Traded
from runtime.shared.catalogue import US, Catalogue
from runtime.shared.messages import Answered, AskMarket, MarketState, Question
from runtime.withdrawals.register import Register, hour_key

MINUTE_S: Final = 60
POSTINGS_S: Final = HOUR_S
"""How far back postings are added up each minute; whatever is older was added up then, and cannot change."""
_BALANCES: Final = "SELECT asset, sum(free) + sum(held) FROM balances GROUP BY asset"
_POSTINGS: Final = "SELECT asset, sum(amount) FROM postings WHERE time_us >= %s GROUP BY asset"
_TRADES: Final = """
SELECT market, count(*), sum(price::numeric * lots) FROM trades
WHERE market = %s AND time_us >= %s AND time_us < %s GROUP BY market
"""


class Asks(Protocol):
    """What answers questions about the engine's state, such as an `EngineLink`."""

    async def ask(self, question: Question) -> Answered:
        """Return the answer to `question`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the database tells, as of one moment of the ledger."""

    sums: tuple[LedgerSum, ...]
    """Of every asset that anybody holds or that moved lately, by id."""
    traded: Mapping[int, Traded]
    """Of each market of the catalogue."""


def read_books(connection: psycopg.Connection, catalogue: Catalogue, now_s: int) -> Books:
    """Return the ledger's sums and what was traded in the last whole minute. Raises psycopg.Error.

    An entry's lines have one time, so no window cuts through an entry. The connection must be in autocommit.
    """
    until_us = now_s // MINUTE_S * MINUTE_S * US
    window_us = (until_us - MINUTE_S * US, until_us)
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        balances = _by_asset(connection, _BALANCES)
        postings = _by_asset(connection, _POSTINGS, (now_s - POSTINGS_S) * US)
        traded = {market.id: _traded(connection, market.id, *window_us) for market in catalogue.markets}
    names = {asset.id: asset.name for asset in catalogue.assets}
    return Books(
        sums=tuple(
            LedgerSum(
                # An asset that left the catalogue is still in the ledger.
                asset=names.get(number, f"ASSET{number}"),
                balances=balances.get(number, 0),
                postings=postings.get(number, 0),
            )
            for number in sorted(balances.keys() | postings.keys())
        ),
        traded=traded,
    )


def _by_asset(connection: psycopg.Connection, query: Any, *values: int) -> dict[int, int]:  # noqa: ANN401 - psycopg wants a literal
    return {int(asset): int(total) for asset, total in connection.execute(query, values).fetchall()}


def _traded(connection: psycopg.Connection, market: int, from_us: int, until_us: int) -> Traded:
    row = connection.execute(_TRADES, (market, from_us, until_us)).fetchone()
    return Traded(trades=int(row[1]), turnover=int(row[2])) if row else Traded()


async def read_markets(engine: Asks, catalogue: Catalogue) -> dict[int, MarketState]:
    """Return the books of the markets that the engine knows. Raises EngineError."""
    answers = await asyncio.gather(*(engine.ask(AskMarket(market.id)) for market in catalogue.markets))
    states = [each.answer for each in answers]
    return {state.market: state for state in states if isinstance(state, MarketState)}


def read_outflows(register: Register, limits: Mapping[str, int], now_s: int) -> Iterable[Outflow]:
    """Yield, for each asset with an hourly limit, what its withdrawals count in this hour. Raises as the table.

    It is the very counter at which all withdrawals are halted: what was refused is taken off again.
    """
    for asset, units_max in limits.items():
        units = int(register.item(hour_key(asset, now_s)).get("units", 0))
        yield Outflow(asset=asset, units=units, units_max=units_max)
