"""Detectors over orders that were taken back, and what their owners traded meanwhile. Pure.

Both look at one market and a stretch of time that is long enough to hold an order's whole life.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import median_low
from typing import Final

from msgspec import Struct

from runtime.shared.messages import BUY, SELL
from runtime.shared.trade_records import TradeRecord
from runtime.surveillance.findings import LAYERING, SPOOFING, Finding
from runtime.surveillance.trades import owner_of

ORDERS_NAMED_MAX: Final = 100
"""Orders and trades that one finding lists."""


class OrderLimits(Struct, frozen=True, kw_only=True):
    """Where ordinary quoting ends. The values are the operator's choice."""

    life_s: int = 60
    """An order that stood longer was meant."""
    size_factor: int = 5
    """A spoofing order has at least so many times the median size of the orders taken back in its market."""
    layers: int = 4
    """Layering: so many orders on one side, at as many prices, standing at the same time."""


class TakenBack(Struct, frozen=True):
    """An order that was canceled by its owner before anything of it was executed."""

    order_id: int
    account: int
    side: int
    price: int
    lots: int
    created_us: int
    canceled_us: int


def spoofing(
    orders: Sequence[TakenBack],
    trades: Sequence[TradeRecord],
    owners: Mapping[int, str],
    limits: OrderLimits,
) -> Iterator[Finding]:
    """Yield a finding for each large order whose owner traded on the other side before taking it back."""
    if not orders or not trades:
        return
    usual = median_low(order.lots for order in orders)
    dealings = _Dealings(trades, owners)
    for order in _brief(orders, limits):
        if order.lots < limits.size_factor * usual:
            continue
        against = dealings.of(owner_of(order.account, owners), _other(order.side), order.created_us, order.canceled_us)
        if against:
            yield _finding(
                SPOOFING, [order], against, {"lots": order.lots, "usual_lots": usual, "factor": limits.size_factor}
            )


def layering(
    orders: Sequence[TakenBack],
    trades: Sequence[TradeRecord],
    owners: Mapping[int, str],
    limits: OrderLimits,
) -> Iterator[Finding]:
    """Yield a finding for each ladder of orders whose owner traded on the other side while all of it stood.

    A ladder on both sides is what a market maker quotes: each price on the other side excuses two on this one.
    """
    if not trades:
        return
    ladders: dict[tuple[str, int], list[TakenBack]] = defaultdict(list)
    for order in _brief(orders, limits):
        ladders[owner_of(order.account, owners), order.side].append(order)
    dealings = _Dealings(trades, owners)
    for (owner, side), ladder in sorted(ladders.items()):
        for trade in dealings.of(owner, _other(side)):
            standing = _standing(ladder, trade)
            beside = _standing(ladders.get((owner, _other(side)), []), trade)
            if len({order.price for order in standing}) >= limits.layers + 2 * len({order.price for order in beside}):
                yield _finding(LAYERING, standing, [trade], {"layers": len(standing), "limit": limits.layers})
                break  # one finding names the ladder; each further trade against it would name it again


class _Dealings:
    """Trades by owner and side."""

    def __init__(self, trades: Sequence[TradeRecord], owners: Mapping[int, str]) -> None:
        self._by: dict[tuple[str, int], list[TradeRecord]] = defaultdict(list)
        for trade in trades:
            self._by[owner_of(trade.buyer, owners), BUY].append(trade)
            self._by[owner_of(trade.seller, owners), SELL].append(trade)

    def of(self, owner: str, side: int, start_us: int = 0, end_us: int = 2**63) -> list[TradeRecord]:
        return [trade for trade in self._by.get((owner, side), ()) if start_us <= trade.time_us <= end_us]


def _brief(orders: Sequence[TakenBack], limits: OrderLimits) -> Iterator[TakenBack]:
    return (order for order in orders if order.canceled_us - order.created_us <= limits.life_s * 1_000_000)


def _standing(orders: Sequence[TakenBack], trade: TradeRecord) -> list[TakenBack]:
    return [order for order in orders if order.created_us <= trade.time_us <= order.canceled_us]


def _other(side: int) -> int:
    return SELL if side == BUY else BUY


def _finding(kind: str, orders: Sequence[TakenBack], trades: Sequence[TradeRecord], figures: dict[str, int]) -> Finding:
    side = orders[0].side
    accounts = {order.account for order in orders} | {trade.seller if side == BUY else trade.buyer for trade in trades}
    return Finding(
        kind=kind,
        market=trades[0].market,
        symbol=trades[0].symbol,
        accounts=tuple(sorted(accounts)),
        trades=tuple(trade.trade_id for trade in trades[:ORDERS_NAMED_MAX]),
        orders=tuple(order.order_id for order in orders[:ORDERS_NAMED_MAX]),
        first_us=min(order.created_us for order in orders),
        last_us=max(order.canceled_us for order in orders),
        figures=figures,
    )
