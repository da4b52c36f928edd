"""Turns what a feed shows into the orders that would have shown it. Pure: the caller sends them and tells the outcome.

A depth diff gives absolute quantities by level, not orders, so orders are a synthesis, and this is it:
- A level below its recorded quantity gets one new order of the difference.
- A level above it has its newest orders canceled until the rest fits; what is then missing is one new order.
- Where that new order would be worth less than the market's least notional, one more order is canceled and merged.
- All cancels of a diff come before all its new orders, since the recorded book is only whole at the end of a diff.
- A trade is a marketable immediate-or-cancel order of a second account, at the trade's price and quantity.
Quantities are in lots, prices in ticks.
"""

from dataclasses import dataclass, field
from typing import Final

from local.replay.feed import DepthDiff, Trade
from runtime.shared.catalogue import PRICE_SCALE, Asset, Market
from runtime.shared.messages import BUY, SELL
from runtime.shared.money import parse_decimal

CLIENT_ID_PREFIX: Final = "replay"


@dataclass(slots=True)
class OwnOrder:
    """An order of ours that rests, as far as we know."""

    client_order_id: str
    side: int
    price: int
    lots: int


@dataclass(slots=True)
class Actions:
    """What one diff asks for, in this order."""

    cancels: list[OwnOrder] = field(default_factory=list)
    places: list[OwnOrder] = field(default_factory=list)


class Synthesis:
    """Our orders in one market, level by level, oldest first."""

    def __init__(self, market: Market, base: Asset, run: str) -> None:
        """Start with no order. `run` makes the client order ids of this run its own."""
        self._market = market
        self._base = base
        self._run = run
        self._number = 0
        self._levels: dict[tuple[int, int], list[OwnOrder]] = {}
        self._lot_units = parse_decimal(market.lot, base.decimals)
        # Least notional in units of 10**-PRICE_SCALE per whole base unit, to compare without division.
        self._least: int = parse_decimal(market.min_notional, PRICE_SCALE) * 10**base.decimals

    def lots(self, quantity: str) -> int:
        """Return a recorded quantity in lots; one finer than our lot is cut."""
        return parse_decimal(quantity, self._base.decimals) // self._lot_units

    def is_worth_an_order(self, price: int, lots: int) -> bool:
        """Tell whether the market's least notional allows such an order."""
        worth: int = price * self._market.tick_units * lots * self._lot_units
        return worth >= self._least

    def follow(self, diff: DepthDiff) -> Actions:
        """Return the orders to cancel and to place; call `canceled`, `placed` as they succeed."""
        actions = Actions()
        for side, levels in ((BUY, diff.bids), (SELL, diff.asks)):
            for price_text, quantity in levels:
                self._level(side, self._market.ticks(price_text), self.lots(quantity), actions)
        return actions

    def _level(self, side: int, price: int, wanted: int, actions: Actions) -> None:
        own = self._levels.get((side, price), [])
        total = sum(order.lots for order in own)
        kept = len(own)
        while kept and (total > wanted or (total < wanted and not self.is_worth_an_order(price, wanted - total))):
            kept -= 1
            total -= own[kept].lots
        actions.cancels += own[kept:]
        if wanted > total:
            self._number += 1
            identity = f"{CLIENT_ID_PREFIX}-{self._run}-{self._number}"
            actions.places.append(OwnOrder(identity, side, price, wanted - total))

    def placed(self, order: OwnOrder) -> None:
        """Note that `order` rests now."""
        self._levels.setdefault((order.side, order.price), []).append(order)

    def gone(self, order: OwnOrder) -> None:
        """Note that `order` does not rest any more."""
        level = self._levels.get((order.side, order.price))
        if level and order in level:
            level.remove(order)
            if not level:
                del self._levels[(order.side, order.price)]

    def taker(self, trade: Trade) -> tuple[int, int, int]:
        """Return side, price and lots of the order that makes `trade` happen."""
        return SELL if trade.buyer_is_maker else BUY, self._market.ticks(trade.price), self.lots(trade.quantity)

    def filled(self, side: int, price: int, lots: int) -> None:
        """Note that `lots` of our orders of `side` at `price` were filled, oldest first."""
        for order in list(self._levels.get((side, price), ())):
            if not lots:
                break
            part = min(lots, order.lots)
            order.lots -= part
            lots -= part
            if not order.lots:
                self.gone(order)
