"""One market's order book: price, then time. Integer ticks and lots, nothing else; knows nothing of money or clocks.

Per side a dict of price levels and one sorted list of keys with the best at the end (asks negated), so that the best
price is `[-1]` and an exhausted level is popped in constant time. The orders of a level are linked to each other, so
that a cancel takes one out wherever it stands, and nothing is allocated for a place in the queue. An iceberg shows
`remaining` lots and keeps the rest in `reserve`; shown anew, it goes to the end of its level.
"""

from bisect import bisect_left, insort
from typing import Final, cast

from msgspec.structs import astuple

from runtime.shared.messages import (
    BUY,
    NEW,
    PARTIALLY_FILLED,
    PENDING_NEW,
    SELL,
    STP_DECREMENT,
    STP_EXPIRE_MAKER,
    STP_EXPIRE_TAKER,
    STP_NONE,
    STP_TRANSFER,
    Order,
    OrderTerms,
    PlaceOrder,
)

SIDES: Final = (BUY, SELL)
FILLS_MAX: Final = 10_000
"""Fills of one order; what remains after so many expires. Keeps the events of one command below what a batch holds."""
NO_BUDGET: Final = -1
"""No bound on price times lots."""
NOBODY: Final = -1
"""Owner of no order."""
_Fields = tuple[int, int, int, int, int, int, int, int, str, int, int, int, int]
"""Of PlaceOrder, in their order."""


class BookOrder:
    """An order while it lives.

    `remaining` lots are still to be filled, those of an iceberg's `reserve` besides; 0 once it is gone from the book.
    Orders of one `owner`, an account or a group of them, do not trade with each other unless they ask to. One that
    `is_special` was placed with a trigger or as an iceberg. `ahead` and `behind` are its neighbours at its level.
    """

    __slots__ = (
        "account",
        "ahead",
        "behind",
        "client_order_id",
        "created_us",
        "executed_lots",
        "executed_quote",
        "expiry",
        "is_special",
        "level",
        "lots",
        "market",
        "order_id",
        "order_type",
        "owner",
        "prevented",
        "price",
        "quote_amount",
        "remaining",
        "reserve",
        "side",
        "status",
        "stp",
        "terms",
        "time_in_force",
        "updated_us",
    )

    def __init__(self, order_id: int, command: PlaceOrder, time_us: int) -> None:
        """Make the order that `command` asks for; it is not on a book yet."""
        # All fields at once: to compiled code a message is no class of its own, and each would be looked up by name.
        (
            account,
            market,
            side,
            order_type,
            time_in_force,
            price,
            lots,
            quote_amount,
            client_order_id,
            stp,
            stop_price,
            trailing_delta,
            iceberg_lots,
        ) = cast(_Fields, astuple(command))
        self.order_id: int = order_id
        self.client_order_id: str = client_order_id
        self.account: int = account
        self.owner: int = account
        self.market: int = market
        self.side: int = side
        self.order_type: int = order_type
        self.time_in_force: int = time_in_force
        self.price: int = price
        self.lots: int = lots
        self.quote_amount: int = quote_amount
        self.remaining: int = lots
        self.reserve: int = 0
        self.prevented: int = 0
        self.executed_lots: int = 0
        self.executed_quote: int = 0
        self.status: int = NEW
        self.stp: int = stp
        self.expiry: int = 0
        self.created_us: int = time_us
        self.updated_us: int = time_us
        self.level: Level | None = None
        self.ahead: BookOrder | None = None
        self.behind: BookOrder | None = None
        self.terms: OrderTerms | None = None
        self.is_special: bool = bool(stop_price or trailing_delta or iceberg_lots)

    @property
    def is_open(self) -> bool:
        """Tell whether the order may still trade."""
        return self.status in (NEW, PARTIALLY_FILLED, PENDING_NEW)

    def view(self) -> Order:
        """Return the order as it stands, for a reply or an event."""
        return Order(
            self.order_id,
            self.client_order_id,
            self.account,
            self.market,
            self.side,
            self.order_type,
            self.time_in_force,
            self.price,
            self.lots,
            self.quote_amount,
            self.executed_lots,
            self.executed_quote,
            self.status,
            self.stp,
            self.expiry,
            self.created_us,
            self.updated_us,
            self.terms,
        )


class Level:
    """Orders at one price in order of arrival, from `first` to `last`.

    `lots` is what they show, `hidden` what they do not.
    """

    __slots__ = ("first", "hidden", "last", "lots", "price")

    def __init__(self, price: int) -> None:
        """Open an empty level."""
        self.price: int = price
        self.lots: int = 0
        self.hidden: int = 0
        self.first: BookOrder | None = None
        self.last: BookOrder | None = None

    def append(self, order: BookOrder) -> None:
        """Queue `order` behind all others."""
        last = self.last
        order.ahead = last
        if last is None:
            self.first = order
        else:
            last.behind = order
        self.last = order

    def unlink(self, order: BookOrder) -> None:
        """Take `order` out of the queue, wherever it stands."""
        ahead = order.ahead
        behind = order.behind
        if ahead is None:
            self.first = behind
        else:
            ahead.behind = behind
        if behind is None:
            self.last = ahead
        else:
            behind.ahead = ahead
        order.ahead = order.behind = None

    def orders(self) -> "list[BookOrder]":
        """Return the orders, oldest first."""
        found: list[BookOrder] = []
        order = self.first
        while order is not None:
            found.append(order)
            order = order.behind
        return found


class Prevention:
    """A self-trade that did not happen: what was taken off either order, and what changed hands without a trade."""

    __slots__ = ("maker", "maker_lots", "price", "taker_lots", "transferred")

    def __init__(self, maker: BookOrder, taker_lots: int, maker_lots: int, transferred: int) -> None:
        """Note it."""
        self.maker: BookOrder = maker
        self.price: int = maker.price
        self.taker_lots: int = taker_lots
        self.maker_lots: int = maker_lots
        self.transferred: int = transferred


NO_PREVENTIONS: Final[list[Prevention]] = []
"""What most takers have of them; never written to."""


class Taken:
    """What a taker met: fills (maker, lots) at the maker's price, self-trades prevented, levels (price, lots left)."""

    __slots__ = ("fills", "prevented", "preventions", "touched")

    def __init__(self) -> None:
        """Nothing yet."""
        self.fills: list[tuple[BookOrder, int]] = []
        self.preventions: list[Prevention] = NO_PREVENTIONS
        self.touched: list[tuple[int, int]] = []
        self.prevented: bool = False
        """True when self-trade prevention expires the taker's remainder."""

    def prevent(self, prevention: Prevention) -> None:
        """Note a self-trade that was prevented."""
        if self.preventions is NO_PREVENTIONS:
            self.preventions = []
        self.preventions.append(prevention)


NOTHING_TAKEN: Final = Taken()
"""What a taker that meets nobody has met; never written to."""


class OrderBook:
    """Resting orders of one market."""

    def __init__(self) -> None:
        """Start empty."""
        self.orders: dict[int, BookOrder] = {}
        self._keys: tuple[list[int], list[int]] = ([], [])
        self._levels: tuple[dict[int, Level], dict[int, Level]] = ({}, {})

    def best(self, side: int) -> int:
        """Return the best price of `side` in ticks, 0 when that side is empty."""
        keys = self._keys[side]
        if not keys:
            return 0
        return keys[-1] if side == BUY else -keys[-1]

    def crosses(self, side: int, price: int) -> bool:
        """Tell whether an order of `side` at `price` would match at once."""
        best = self.best(1 - side)
        if not best:
            return False
        return price >= best if side == BUY else price <= best

    def is_crossed(self) -> bool:
        """Tell whether bids and asks would match each other."""
        bid, ask = self.best(BUY), self.best(SELL)
        return bool(bid and ask) and bid >= ask

    def levels(self, side: int, count: int = -1) -> list[tuple[int, int]]:
        """Return (price, lots) of the best `count` levels (-1: all), best first."""
        keys = self._keys[side]
        levels = self._levels[side]
        chosen = reversed(keys if count < 0 else keys[max(0, len(keys) - count) :])
        prices = [key if side == BUY else -key for key in chosen]
        return [(price, levels[price].lots) for price in prices]

    def supply(self, side: int) -> list[tuple[int, int]]:
        """Return (price, lots) of every level of `side`, best first, with what icebergs hide."""
        return [(price, lots + self._levels[side][price].hidden) for price, lots in self.levels(side)]

    def resting(self, side: int) -> list[BookOrder]:
        """Return every live order of `side`, best price first, oldest first within a price."""
        return [order for price, _ in self.levels(side) for order in self._levels[side][price].orders()]

    def add(self, order_id: int, command: PlaceOrder, time_us: int) -> Taken:
        """Match the order of `command`, then rest what remains: for a bare book. The engine settles in between."""
        order = BookOrder(order_id, command, time_us)
        taken = self.take(order)
        if order.remaining:
            self.rest(order)
        return taken

    def rest(self, order: BookOrder) -> int:
        """Put `order`, which must not cross, at the end of its level; return the lots of that level."""
        side = order.side
        price = order.price
        level = self._levels[side].get(price)
        if level is None:
            level = self._levels[side][price] = Level(price)
            insort(self._keys[side], price if side == BUY else -price)
        level.append(order)
        terms = order.terms
        if terms is not None and terms.iceberg_lots:
            hidden = max(0, order.remaining - terms.iceberg_lots)
            order.remaining -= hidden
            order.reserve += hidden
            level.hidden += order.reserve
        level.lots += order.remaining
        order.level = level
        self.orders[order.order_id] = order
        return level.lots

    def remove(self, order: BookOrder) -> int:
        """Take a resting order off the book; return the lots left in its level."""
        level = order.level
        if level is None:
            msg = f"order {order.order_id} is not on the book"
            raise ValueError(msg)
        level.lots -= order.remaining
        level.hidden -= order.reserve
        level.unlink(order)
        order.remaining = order.reserve = 0
        order.level = None
        del self.orders[order.order_id]
        if level.first is None:
            self._close_level(order.side, level.price)
        return level.lots

    def reduce(self, order: BookOrder, lots: int) -> int:
        """Take `lots` off a resting order that has more; what it hides goes first. Return the lots of its level."""
        level = order.level
        assert level is not None
        hidden = min(lots, order.reserve)
        order.reserve -= hidden
        level.hidden -= hidden
        order.remaining -= lots - hidden
        level.lots -= lots - hidden
        return level.lots

    def front(self, side: int) -> BookOrder | None:
        """Return the order of `side` that is served next, None when that side is empty."""
        keys = self._keys[side]
        if not keys:
            return None
        return self._levels[side][keys[-1] if side == BUY else -keys[-1]].first

    def serve(self, order: BookOrder, lots: int) -> None:
        """Take `lots` off the order at the front of its side, at most what it shows; close its level if it was last."""
        level = order.level
        assert level is not None
        level.lots -= lots
        order.remaining -= lots
        if not order.remaining:
            self._exhausted(order, level)
            if level.first is None:
                self._close_level(order.side, level.price)

    def lots_at(self, side: int, price: int) -> int:
        """Return the lots that show at a price."""
        level = self._levels[side].get(price)
        return level.lots if level else 0

    def _close_level(self, side: int, price: int) -> None:
        del self._levels[side][price]
        keys = self._keys[side]
        key = price if side == BUY else -price
        if keys[-1] == key:
            keys.pop()
        else:
            del keys[bisect_left(keys, key)]

    def take(self, taker: BookOrder, bound: int = 0) -> Taken:
        """Match `taker` against the other side, best price first, and reduce `remaining` of both sides of each fill.

        A price of 0 takes any price; nothing trades beyond `bound`, if there is one. Levels and the order index are
        brought up to date; money is the caller's affair.
        """
        side = taker.side
        opposite = 1 - side
        keys = self._keys[opposite]
        limit = taker.price
        if not keys:
            return NOTHING_TAKEN
        if limit:  # most orders rest: they are through here
            best = keys[-1] if opposite == BUY else -keys[-1]
            if best > limit if side == BUY else best < limit:
                return NOTHING_TAKEN
        taken = Taken()
        levels = self._levels[opposite]
        if bound and (not limit or (limit > bound if side == BUY else limit < bound)):
            limit = bound
        while taker.remaining and keys and not taken.prevented and len(taken.fills) < FILLS_MAX:
            price = keys[-1] if opposite == BUY else -keys[-1]
            if limit and (price > limit if side == BUY else price < limit):
                break
            level = levels[price]
            before = level.lots
            self._take_level(taker, level, taken)
            if level.lots != before:
                taken.touched.append((price, level.lots))
            if level.first is None:
                keys.pop()
                del levels[price]
        return taken

    def _take_level(self, taker: BookOrder, level: Level, taken: Taken) -> None:
        remaining = taker.remaining
        fills = taken.fills
        while remaining and len(fills) < FILLS_MAX:
            maker = level.first
            if maker is None:
                break
            if maker.owner == taker.owner and taker.stp != STP_NONE:
                remaining -= self.prevent(taker, remaining, maker, taken)
                if taken.prevented:
                    break
                continue
            lots = maker.remaining
            if lots > remaining:  # noqa: PLR1730 - compiled, `min` would be a call
                lots = remaining
            remaining -= lots
            level.lots -= lots
            maker.remaining -= lots
            if not maker.remaining:
                self._exhausted(maker, level)
            fills.append((maker, lots))
        taker.remaining = remaining

    def _exhausted(self, order: BookOrder, level: Level) -> None:
        """Show more of the order at the front of its queue, at the end of it; or take it off if that was all."""
        level.unlink(order)
        if order.reserve:
            assert order.terms is not None
            shown = min(order.reserve, order.terms.iceberg_lots)
            order.reserve -= shown
            order.remaining = shown
            level.hidden -= shown
            level.lots += shown
            level.append(order)
            return
        order.level = None
        del self.orders[order.order_id]

    def prevent(self, taker: BookOrder, remaining: int, maker: BookOrder, taken: Taken) -> int:
        """Do what the taker's mode says, the maker being at the front of its queue; return the lots the taker loses.

        A maker that expires is off the book afterwards. Between two accounts of one group that both say TRANSFER, what
        decrements them changes hands; anywhere else TRANSFER is DECREMENT.
        """
        mode = taker.stp
        whole = maker.remaining + maker.reserve
        if mode in (STP_DECREMENT, STP_TRANSFER):
            lots = min(remaining, whole)
            is_transfer = mode == maker.stp == STP_TRANSFER and maker.account != taker.account
            taken.prevent(Prevention(maker, lots, lots, lots if is_transfer else 0))
            taken.prevented = lots == remaining
            if lots == whole:
                self._expire(maker)
            else:
                self.reduce(maker, lots)
            return lots
        taken.prevented = mode != STP_EXPIRE_MAKER
        taken.prevent(
            Prevention(maker, remaining if taken.prevented else 0, 0 if mode == STP_EXPIRE_TAKER else whole, 0)
        )
        if mode != STP_EXPIRE_TAKER:
            self._expire(maker)
        return 0  # what expires with the taker is the caller's to note: it keeps its remaining lots until then

    def _expire(self, maker: BookOrder) -> None:
        """Take the order at the front of its queue off; a level without orders is left to the caller."""
        level = maker.level
        assert level is not None
        level.unlink(maker)
        level.lots -= maker.remaining
        level.hidden -= maker.reserve
        maker.level = None
        del self.orders[maker.order_id]

    def reachable(self, side: int, lots: int, budget: int, owner: int = NOBODY) -> tuple[int, int, bool]:
        """Return what a taker of `side` would get, changing nothing: lots, sum of price times lots, book too short.

        `budget` bounds the sum (NO_BUDGET: nothing does). Orders of `owner` do not count.
        """
        opposite = 1 - side
        levels = self._levels[opposite]
        got = cost = price = 0
        for key in reversed(self._keys[opposite]):
            if got == lots:
                break
            price = key if opposite == BUY else -key
            level = levels[price]
            there = level.lots + level.hidden if owner == NOBODY else _lots_of_others(level, owner, lots - got)
            there = min(there, lots - got)
            if budget != NO_BUDGET:
                affordable = (budget - cost) // price
                if affordable < there:
                    return got + affordable, cost + affordable * price, False
            got += there
            cost += there * price
        is_short = got < lots and (budget == NO_BUDGET or budget - cost >= price)
        return got, cost, is_short

    def can_fill(self, taker: BookOrder, bound: int = 0) -> bool:
        """Tell whether `taker` would be filled whole, by at most FILLS_MAX fills, before self-trade prevention ends it.

        Own orders do not count; where the taker's mode takes from the taker, nothing behind the first of them does. An
        iceberg counts for as many fills as it takes to show it all.
        """
        opposite = 1 - taker.side
        limit = taker.price
        if bound and (not limit or (limit > bound if taker.side == BUY else limit < bound)):
            limit = bound
        got = fills = 0
        for key in reversed(self._keys[opposite]):
            price = key if opposite == BUY else -key
            if limit and (price > limit if taker.side == BUY else price < limit):
                return False
            for maker in self._levels[opposite][price].orders():
                if maker.owner == taker.owner and taker.stp != STP_NONE:
                    if taker.stp != STP_EXPIRE_MAKER:
                        return False
                    continue
                got += maker.remaining + maker.reserve
                fills += _parts(maker)
                if fills > FILLS_MAX:
                    return False
                if got >= taker.lots:
                    return True
        return False


def _lots_of_others(level: Level, owner: int, wanted: int) -> int:
    """Return the lots in a level that are not of `owner`, counting no further than `wanted`."""
    lots = 0
    order = level.first
    while order is not None and lots < wanted:
        if order.owner != owner:
            lots += order.remaining + order.reserve
        order = order.behind
    return lots


def _parts(order: BookOrder) -> int:
    """Return in how many parts a resting order will have shown itself once it is filled."""
    if not order.reserve or order.terms is None:
        return 1
    return 1 - (-order.reserve // order.terms.iceberg_lots)
