"""Lambda: every minute, what the business measures, as metrics, and what of it is wrong, in the log and as a case.

Alarms read the fields of the two lines in the log, each of which is there every minute: a silence is an alarm as well.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import psycopg
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import TypeAdapter

from runtime.business_metrics.measures import (
    CLOSED,
    FEW,
    SHARE,
    TRADES,
    UNBALANCED,
    WIDE,
    LedgerSum,
    MarketMeasure,
    Outflow,
    Traded,
    ledger_case,
    market_measure,
    unbalanced,
)
from runtime.business_metrics.sources import read_books, read_markets, read_outflows
from runtime.shared.business_events import BusinessEvent, EventPublisher
from runtime.shared.catalogue import Catalogue
from runtime.shared.engine_link import EngineError, linked
from runtime.shared.functions import logger, once, tracer
from runtime.shared.gauges import emit
from runtime.shared.messages import MarketState
from runtime.shared.settings import database_conninfo, read_catalogue_parameter
from runtime.withdrawals.register import Register


@tracer.capture_lambda_handler(capture_response=False)
def measure(_event: Mapping[str, Any], context: LambdaContext) -> None:
    """Measure once. Raises as the stores; that the engine does not answer is a line, since the next minute asks again.

    Environment: DATABASE_URL, CATALOGUE_PARAMETER, WITHDRAWAL_TABLE, ENGINE_ADDRESS, EVENT_BUS, IDEMPOTENCY_TABLE;
    SPREAD_BIPS_MAX; TRADES_MIN, the fewest trades that a minute has; HOUR_LIMITS, a JSON object of the most that may be
    withdrawn of each asset in an hour.
    """
    now_s = int(time.time())
    catalogue = read_catalogue_parameter(os.environ["CATALOGUE_PARAMETER"])
    with psycopg.connect(database_conninfo(os.environ["DATABASE_URL"]), autocommit=True) as connection:
        books = read_books(connection, catalogue, now_s)
    limits = TypeAdapter(dict[str, int]).validate_json(os.environ["HOUR_LIMITS"])
    outflows = list(read_outflows(_register(), limits, now_s))

    def publish(case: BusinessEvent) -> None:
        once(context, "business-case", case.event_id, lambda: _told(case))

    tell_of_money(books.sums, outflows, publish=publish, now_s=now_s)
    try:
        states = asyncio.run(_states(os.environ["ENGINE_ADDRESS"], catalogue))
    except EngineError as error:
        logger.error("the engine was not measured", reason=str(error))
        return
    tell_of_markets(
        catalogue,
        states,
        books.traded,
        bips_max=int(os.environ["SPREAD_BIPS_MAX"]),
        trades_min=int(os.environ["TRADES_MIN"]),
    )


def tell_of_money(
    sums: Sequence[LedgerSum], outflows: Sequence[Outflow], *, publish: Callable[[BusinessEvent], None], now_s: int
) -> None:
    """Tell of sums and outflows; a sum that is not zero is a line for each asset, and a case. Raises as `publish`."""
    wrong = unbalanced(sums)
    for each in sums:
        emit({"LedgerSum": each.balances, "LedgerPostingsSum": each.postings}, Asset=each.asset)
    for out in outflows:
        emit({"WithdrawnThisHour": out.units, "WithdrawnSharePpm": out.share_ppm}, Asset=out.asset)
    for each in wrong:
        # As text: readers of JSON elsewhere round large numbers.
        told: dict[str, Any] = {"balances": str(each.balances), "postings": str(each.postings)}
        logger.error("the ledger does not add up", asset=each.asset, **told)
    share = max((each.share_ppm for each in outflows), default=0)
    logger.info("money measured", assets=len(sums), extra={UNBALANCED: len(wrong), SHARE: share})
    if wrong:
        publish(ledger_case(wrong, now_s))


def tell_of_markets(
    catalogue: Catalogue,
    states: Mapping[int, MarketState],
    traded: Mapping[int, Traded],
    *,
    bips_max: int,
    trades_min: int,
) -> None:
    """Tell of every market of the catalogue; one that the engine does not know is closed, as nobody can trade it.

    Volumes are in different assets, so what all markets trade together is counted in trades.
    """
    measures = [
        market_measure(market.symbol, catalogue.spec(market).quote_units, states[market.id], traded[market.id])
        for market in catalogue.markets
        if market.id in states
    ]
    for each in measures:
        emit(_numbers(each, bips_max), Symbol=each.symbol)
    trading = {each.symbol for each in measures if each.is_trading}
    closed = [market.symbol for market in catalogue.markets if market.symbol not in trading]
    wide = [each.symbol for each in measures if each.is_wide(bips_max)]
    trades = sum(each.trades for each in measures)
    told = {CLOSED: len(closed), WIDE: len(wide), TRADES: trades, FEW: int(trades < trades_min)}
    logger.info("markets measured", closed=closed, wide=wide, extra=told)


def _numbers(each: MarketMeasure, bips_max: int) -> dict[str, int]:
    numbers = {
        "Trades": each.trades,
        "Volume": each.volume,
        "BidDepth": each.bid_depth,
        "AskDepth": each.ask_depth,
        "Trading": int(each.is_trading),
        "Wide": int(each.is_wide(bips_max)),
    }
    return numbers if each.spread_ppm is None else numbers | {"SpreadPpm": each.spread_ppm}


async def _states(address: str, catalogue: Catalogue) -> dict[int, MarketState]:
    async with linked(address) as link:
        return await read_markets(link, catalogue)


def _told(case: BusinessEvent) -> str:
    _publisher().publish(case)
    return case.event_id


@cache
def _publisher() -> EventPublisher:
    return EventPublisher(os.environ["EVENT_BUS"])


@cache
def _register() -> Register:
    return Register(os.environ["WITHDRAWAL_TABLE"])
