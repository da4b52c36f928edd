"""One market's state: its book, the orders that wait for a price, its rules, its counters, its prices of reference."""

from typing import Final

from runtime.engine.book import BookOrder, OrderBook
from runtime.engine.triggers import Triggers
from runtime.shared.messages import BUY, TRADING, MarketSpec, OrderList

PPM: Final = 1_000_000


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
        self.spec: MarketSpec = spec
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
