"""Surveillance at work: trades from the stream and orders from the ledger go in, cases and price notices come out."""

from collections.abc import Mapping
from typing import Final

import psycopg

from runtime.shared.business_events import EventPublisher, PriceNotice
from runtime.shared.catalogue import Catalogue
from runtime.shared.functions import logger, metrics
from runtime.shared.market_memory import MarketMemory
from runtime.shared.messages import CANCELED
from runtime.shared.trade_records import TradeBatch, TradeRecord, by_market
from runtime.surveillance.cases import CaseBook
from runtime.surveillance.orders import OrderLimits, TakenBack, layering, spoofing
from runtime.surveillance.owners import Owners
from runtime.surveillance.trades import Limits, Move, Watch, observe

SWEEP_S: Final = 900
"""How far back a sweep looks: three times from one to the next, so that a late ledger or a lost sweep costs nothing."""
ROWS_MAX: Final = 50_000
"""Orders and trades of one market that one sweep looks at; the newest, if there are more."""


class Follower:
    """Follows the trade stream."""

    def __init__(
        self, watches: MarketMemory[Watch], owners: Owners, cases: CaseBook, publisher: EventPublisher
    ) -> None:
        """Take what is known from, and bring what is found to, the given places."""
        self._watches = watches
        self._owners = owners
        self._cases = cases
        self._publisher = publisher
        self._limits = Limits()

    def take(self, batch: TradeBatch) -> int:
        """Observe the trades of one record of the stream; return how many cases were opened.

        What is remembered is stored last: a record that was cut off is observed again as if for the first time.
        """
        owners = self._owners.of(account for trade in batch.trades for account in (trade.buyer, trade.seller))
        opened = 0
        for market, trades in by_market(batch.trades):
            watch = self._watches.load(market)
            before = watch.last_trade_id
            opened += sum(self._observe(watch, trade, owners) for trade in trades)
            if watch.last_trade_id != before:
                self._watches.save(watch, before)
        return opened

    def _observe(self, watch: Watch, trade: TradeRecord, owners: Mapping[int, str]) -> int:
        seen = observe(watch, trade, owners, self._limits)
        if seen is None:
            return 0
        if seen.missing:  # the publisher had to give them up; the ledger has them, and so does the sweep
            logger.error("trades are missing", market=trade.market, before=trade.trade_id, count=seen.missing)
            metrics.add_metric("TradesMissing", "Count", seen.missing)
        for move in seen.moves:
            self._publisher.publish(_notice(move))
        opened = sum(self._cases.report(finding) for finding in seen.findings)
        if opened:
            metrics.add_metric("CasesOpened", "Count", opened)
        return opened


def sweep(connection: psycopg.Connection, catalogue: Catalogue, owners: Owners, cases: CaseBook) -> int:
    """Look through the orders taken back lately; return how many cases were opened."""
    row = connection.execute("SELECT max(time_us) FROM positions").fetchone()
    start_us = ((row and row[0]) or 0) - SWEEP_S * 1_000_000
    opened = 0
    for market in catalogue.markets:
        orders = _taken_back(connection, market.id, start_us)
        trades = _trades(connection, market.id, market.symbol, start_us)
        if max(len(orders), len(trades)) == ROWS_MAX:
            logger.warning("a sweep did not reach all", market=market.symbol, rows=ROWS_MAX)
            metrics.add_metric("SweepsCut", "Count", 1)
        accounts = {order.account for order in orders}
        known = owners.of(accounts | {side for trade in trades for side in (trade.buyer, trade.seller)})
        for detector in (spoofing, layering):
            findings = detector(orders, trades, known, OrderLimits())
            opened += sum(cases.report(finding) for finding in findings)
    metrics.add_metric("CasesOpened", "Count", opened)
    return opened


def _notice(move: Move) -> PriceNotice:
    return PriceNotice(
        event_id=f"price-{move.symbol}-{move.trade_id}",
        at_us=move.time_us,
        symbol=move.symbol,
        from_ticks=move.from_ticks,
        to_ticks=move.to_ticks,
        window_s=move.window_s,
    )


def _taken_back(connection: psycopg.Connection, market: int, start_us: int) -> list[TakenBack]:
    rows = connection.execute(_TAKEN_BACK, (start_us, market, CANCELED, ROWS_MAX)).fetchall()
    return [TakenBack(*row) for row in reversed(rows)]


def _trades(connection: psycopg.Connection, market: int, symbol: str, start_us: int) -> list[TradeRecord]:
    rows = connection.execute(_TRADES, (market, start_us, ROWS_MAX)).fetchall()
    return [TradeRecord(market, symbol, *row) for row in reversed(rows)]


_TAKEN_BACK: Final = b"""
SELECT order_id, account, side, price, lots, created_us, updated_us FROM orders
WHERE created_us >= %s AND market = %s AND status = %s AND executed_lots = 0 AND lots > 0
ORDER BY order_id DESC LIMIT %s
"""
_TRADES: Final = b"""
SELECT trade_id, price, lots, buyer_is_maker, buy_order_id, sell_order_id, buyer, seller, buyer_fee, seller_fee,
       time_us, sequence FROM trades
WHERE market = %s AND time_us >= %s ORDER BY time_us DESC, trade_id DESC LIMIT %s
"""
