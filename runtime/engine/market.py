"""One market's state: its book, the orders that wait for a price, its rules, its counters, its prices of reference."""

from typing import Final

from runtime.engine.book import BookOrder, OrderBook
from runtime.engine.triggers import Triggers
from runtime.shared.messages import BUY, TRADING, MarketSpec, OrderList

PPM: Final = 1_000_000


class Spec:
    """What `MarketSpec` says, in the form that the core reads: compiled code takes a number of it without a lookup."""

    __slots__ = (
        "algo_orders_max",
        "amends_max",
        "auction_us",
        "band_down_ppm",
        "band_up_ppm",
        "base",
        "iceberg_orders_max",
        "iceberg_parts_max",
        "id",
        "interruption_ppm",
        "interruption_window_us",
        "lists_max",
        "lot_units",
        "max_lots",
        "max_market_lots",
        "max_notional",
        "max_position",
        "max_ticks",
        "message",
        "min_lots",
        "min_notional",
        "min_ticks",
        "open_orders_max",
        "quote",
        "quote_units",
        "reference_age_us",
        "trailing_max",
        "trailing_min",
    )

    def __init__(self, message: MarketSpec) -> None:
        """Copy every field."""
        self.message: MarketSpec = message
        self.id: int = message.id
        self.base: int = message.base
        self.quote: int = message.quote
        self.lot_units: int = message.lot_units
        self.quote_units: int = message.quote_units
        self.min_ticks: int = message.min_ticks
        self.max_ticks: int = message.max_ticks
        self.min_lots: int = message.min_lots
        self.max_lots: int = message.max_lots
        self.max_market_lots: int = message.max_market_lots
        self.min_notional: int = message.min_notional
        self.max_notional: int = message.max_notional
        self.band_down_ppm: int = message.band_down_ppm
        self.band_up_ppm: int = message.band_up_ppm
        self.open_orders_max: int = message.open_orders_max
        self.algo_orders_max: int = message.algo_orders_max
        self.iceberg_parts_max: int = message.iceberg_parts_max
        self.iceberg_orders_max: int = message.iceberg_orders_max
        self.lists_max: int = message.lists_max
        self.amends_max: int = message.amends_max
        self.max_position: int = message.max_position
        self.trailing_min: int = message.trailing_min
        self.trailing_max: int = message.trailing_max
        self.reference_age_us: int = message.reference_age_us
        self.interruption_ppm: int = message.interruption_ppm
        self.interruption_window_us: int = message.interruption_window_us
        self.auction_us: int = message.auction_us


class Market:
    """One market."""

    __slots__ = (
        "auction_price",
        "book",
        "last_match_id",
        "last_price",
        "last_trade_id",
        "reference_price",
        "reference_us",
        "spec",
        "status",
        "triggers",
        "until_us",
        "update_id",
        "window_price",
        "window_us",
    )

    def __init__(self, spec: MarketSpec) -> None:
        """Open the market for trading, with an empty book."""
        self.spec: Spec = Spec(spec)
        self.book: OrderBook = OrderBook()
        self.triggers: Triggers = Triggers()
        self.status: int = TRADING
        self.update_id: int = 0
        self.last_trade_id: int = 0
        self.last_match_id: int = 0
        """The last self-trade that was prevented."""
        self.last_price: int = 0
        """Price of the last trade in ticks, 0 before the first."""
        self.reference_price: int = 0
        self.reference_us: int = 0
        self.window_price: int = 0
        """Price at the start of the window in which prices may move only so far."""
        self.window_us: int = 0
        self.until_us: int = 0
        """When the auction ends; 0 outside of one."""
        self.auction_price: int = 0
        """At which an auction matches that could not be matched whole by one command; 0: still to be found."""

    def reference(self, time_us: int) -> int:
        """Return the price in ticks that bands refer to: what others pay, or when that is stale, the last trade's."""
        return self.reference_price if self.is_fresh(time_us) else self.last_price

    def is_fresh(self, time_us: int) -> bool:
        """Tell whether there is a reference price that is not stale."""
        return self.reference_price > 0 and time_us - self.reference_us <= self.spec.reference_age_us

    def bound(self, side: int, time_us: int) -> int:
        """Return the last price in ticks at which a taker of `side` may trade now, 0 for any.

        It is so far from the price at the start of the window; a window starts with the first order after the last one
        has passed, at the price of the last trade, or before any at the reference price.
        """
        spec = self.spec
        if not spec.interruption_ppm:
            return 0
        if not self.window_price or time_us - self.window_us >= spec.interruption_window_us:
            self.window_us = time_us
            self.window_price = self.last_price or self.reference(time_us)
        if side == BUY:
            return self.window_price * (PPM + spec.interruption_ppm) // PPM
        return -(-self.window_price * (PPM - spec.interruption_ppm) // PPM)


class ListOfOrders:
    """An open list. The first order of an OTO or OTOCO works while the others wait for it."""

    __slots__ = ("account", "client_id", "created_us", "hold", "is_waiting", "kind", "list_id", "market", "orders")

    def __init__(self, list_id: int, account: int, market: int, kind: int, client_id: str, created_us: int) -> None:
        """Open it, without orders."""
        self.list_id: int = list_id
        self.account: int = account
        self.market: int = market
        self.kind: int = kind
        self.client_id: str = client_id
        self.created_us: int = created_us
        self.orders: list[BookOrder] = []
        self.hold: int = 0
        """What the two orders of an open pair hold together: as much as the dearer of them; 0 when there is no pair."""
        self.is_waiting: bool = False
        """Whether orders wait for the first one to be filled."""

    def view(self, status: int, time_us: int) -> OrderList:
        """Return the list as it stands at `time_us`."""
        return OrderList(
            self.list_id,
            self.account,
            self.market,
            self.kind,
            self.client_id,
            status,
            [(order.order_id, order.client_order_id) for order in self.orders],
            self.created_us,
            time_us,
        )
