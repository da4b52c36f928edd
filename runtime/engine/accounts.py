"""What every account holds, free and held, in the smallest units of each asset: holds before a match, settles after."""

from runtime.engine.book import BookOrder
from runtime.shared.messages import (
    BUY,
    EXTERNAL_ACCOUNT,
    FEE_FROM_RECEIVED,
    FIRST_USER_ACCOUNT,
    NO_GROUP,
    STOP_LOSS,
    BalanceChanged,
    Event,
)

__all__ = ["Account", "Accounts", "Holding", "OwnOrders"]


class Holding:
    """One account's amount of one asset. `mark` is the last sequence that touched it."""

    __slots__ = ("account", "asset", "free", "held", "mark")

    def __init__(self, account: "Account", asset: int) -> None:
        """Start with nothing."""
        self.account: Account = account
        self.asset: int = asset
        self.free: int = 0
        self.held: int = 0
        self.mark: int = 0


class OwnOrders:
    """An account's open orders in one market, oldest first, and how many of them are of a kind that is counted."""

    __slots__ = ("algos", "buying", "icebergs", "lists", "orders")

    def __init__(self) -> None:
        """Start without orders."""
        self.orders: dict[int, BookOrder] = {}
        self.algos: int = 0
        """Orders with a trigger, reached or not."""
        self.icebergs: int = 0
        self.lists: int = 0
        self.buying: int = 0
        """Lots of open buys; kept by whoever changes the lots of an open order."""

    def add(self, order: BookOrder) -> None:
        """Take an order that is open now."""
        self.orders[order.order_id] = order
        if order.side == BUY:
            self.buying += order.remaining + order.reserve
        if order.terms is not None:
            self.algos += order.order_type >= STOP_LOSS
            self.icebergs += order.terms.iceberg_lots > 0

    def drop(self, order: BookOrder) -> None:
        """Forget an order that is no longer open; its lots are off `buying` already."""
        del self.orders[order.order_id]
        if order.terms is not None:
            self.algos -= order.order_type >= STOP_LOSS
            self.icebergs -= order.terms.iceberg_lots > 0


class Account:
    """A user or a house account. `clients` maps the client ids of open orders to these."""

    __slots__ = (
        "account",
        "clients",
        "fee_asset",
        "holdings",
        "lists",
        "name",
        "open_orders",
        "tier",
        "trade_group",
        "updated_us",
    )

    def __init__(self, account: int, name: str, tier: int) -> None:
        """Open the account, with nothing in it."""
        self.account: int = account
        self.name: str = name
        self.tier: int = tier
        self.updated_us: int = 0
        self.holdings: dict[int, Holding] = {}
        self.open_orders: dict[int, OwnOrders] = {}
        """By market."""
        self.clients: dict[str, BookOrder] = {}
        self.lists: dict[str, int] = {}
        """Client ids of open lists → their ids, oldest first."""
        self.trade_group: int = NO_GROUP
        self.fee_asset: int = FEE_FROM_RECEIVED

    @property
    def owner(self) -> int:
        """What its orders have in common with those they must not trade with: the account, or its group below -1."""
        return self.account if self.trade_group == NO_GROUP else -2 - self.trade_group

    def own_orders(self, market: int) -> OwnOrders:
        """Return the open orders in a market, to be added to."""
        own = self.open_orders.get(market)
        if own is None:
            own = self.open_orders[market] = OwnOrders()
        return own

    def open_order(self, market: int, order_id: int, client_order_id: str) -> BookOrder | None:
        """Return an open order in a market by id, or if that is 0 by client id."""
        if not order_id:
            order = self.clients.get(client_order_id)
            return order if order is not None and order.market == market else None
        own = self.open_orders.get(market)
        return own.orders.get(order_id) if own is not None else None

    def free(self, asset: int) -> int:
        """Return the free units of `asset`."""
        holding = self.holdings.get(asset)
        return holding.free if holding else 0

    def holding(self, asset: int) -> Holding:
        """Return what the account has of `asset`, opening the holding at the first call."""
        holding = self.holdings.get(asset)
        if holding is None:
            holding = self.holdings[asset] = Holding(self, asset)
        return holding


class Accounts:
    """All accounts. Every change of a holding goes through `touch` first, so that it is reported once per command."""

    def __init__(self) -> None:
        """Start with the outside world only."""
        self.accounts: dict[int, Account] = {}
        self.ids: dict[str, int] = {}
        self.next_account: int = FIRST_USER_ACCOUNT
        self._touched: list[Holding] = []

    def open(self, account: int, name: str, tier: int) -> Account:
        """Open an account under a fixed id."""
        opened = self.accounts[account] = Account(account, name, tier)
        self.ids[name] = account
        return opened

    def touch(self, holding: Holding, sequence: int) -> None:
        """Have the balance reported at the end of the command `sequence`."""
        if holding.mark != sequence:
            holding.mark = sequence
            self._touched.append(holding)

    def hold(self, holding: Holding, amount: int, sequence: int) -> bool:
        """Set `amount` units aside; return False, changing nothing, when there is not as much free."""
        if holding.free < amount:
            return False
        self.touch(holding, sequence)
        holding.free -= amount
        holding.held += amount
        return True

    def release(self, holding: Holding, amount: int, sequence: int) -> None:
        """Free `amount` held units."""
        self.touch(holding, sequence)
        holding.held -= amount
        holding.free += amount

    def spend(self, holding: Holding, amount: int, sequence: int) -> None:
        """Take `amount` held units away."""
        self.touch(holding, sequence)
        holding.held -= amount

    def credit(self, holding: Holding, amount: int, sequence: int) -> None:
        """Add `amount` free units (negative only for EXTERNAL_ACCOUNT)."""
        self.touch(holding, sequence)
        holding.free += amount

    def collect_changes(self, time_us: int, events: list[Event] | None) -> None:
        """Note the time in the account of each holding touched since the last call; add each, once, to `events`.

        A negative amount anywhere but in EXTERNAL_ACCOUNT stops the engine: it must never be published.
        """
        for holding in self._touched:
            account = holding.account
            number = account.account
            if (holding.free < 0 or holding.held < 0) and number != EXTERNAL_ACCOUNT:
                msg = f"account {number}, asset {holding.asset}: free {holding.free}, held {holding.held}"
                raise AssertionError(msg)
            account.updated_us = time_us
            if events is not None:
                events.append(BalanceChanged(number, holding.asset, holding.free, holding.held))
        self._touched.clear()
