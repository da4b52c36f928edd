"""One market's order book: price, then time. Integer ticks and lots, nothing else; knows nothing of money or clocks.

Per side a dict of price levels and one sorted list of keys with the best at the end (asks negated), so that the best
price is `[-1]` and an exhausted level is popped in constant time. A cancel is lazy: the order's remaining lots become
0 and the dead entry is skipped when it reaches the front of its queue, or dropped when dead entries pile up.
"""

from bisect import bisect_left, insort
from collections import deque
from typing import Final

from runtime.shared.messages import (
    BUY,
    NEW,
    SELL,
    STP_EXPIRE_BOTH,
    STP_EXPIRE_MAKER,
    STP_EXPIRE_TAKER,
    STP_NONE,
    Order,
    PlaceOrder,
)

_QUEUE_MIN: Final = 64
_QUEUE_FACTOR: Final = 4
"""A queue is compacted when longer than _QUEUE_MIN and than _QUEUE_FACTOR times its live orders."""
SIDES: Final = (BUY, SELL)
FILLS_MAX: Final = 10_000
"""Fills of one order; what remains after so many expires. Keeps the events of one command below what a batch holds."""
NO_BUDGET: Final = -1
"""No bound on price times lots."""


class BookOrder:
    """An order while it lives: `remaining` lots still to be filled, 0 once it is gone from the book."""

    __slots__ = (
        "account",
        "client_order_id",
        "created_us",
        "executed_lots",
        "executed_quote",
        "expiry",
        "level",
        "lots",
        "market",
        "order_id",
        "order_type",
        "price",
        "quote_amount",
        "remaining",
        "side",
        "status",
        "stp",
        "time_in_force",
        "updated_us",
    )

    def __init__(self, order_id: int, command: PlaceOrder, time_us: int) -> None:
        """Make the order that `command` asks for; it is not on a book yet."""
        self.order_id: int = order_id
        self.client_order_id: str = command.client_order_id
        self.account: int = command.account
        self.market: int = command.market
        self.side: int = command.side
        self.order_type: int = command.order_type
        self.time_in_force: int = command.time_in_force
        self.price: int = command.price
        self.lots: int = command.lots
        self.quote_amount: int = command.quote_amount
        self.remaining: int = command.lots
        self.executed_lots: int = 0
        self.executed_quote: int = 0
        self.status: int = NEW
        self.stp: int = command.stp
        self.expiry: int = 0
        self.created_us: int = time_us
        self.updated_us: int = time_us
        self.level: Level | None = None

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
        )


class Level:
    """Orders at one price in order of arrival; `lots` and `live` count those still alive."""

    __slots__ = ("live", "lots", "price", "queue")

    def __init__(self, price: int) -> None:
        """Open an empty level."""
        self.price: int = price
        self.lots: int = 0
        self.live: int = 0
        self.queue: deque[BookOrder] = deque()


class Taken:
    """What a taker met: fills (maker, lots) at the maker's price, own orders expired, levels (price, lots left)."""

    __slots__ = ("expired", "fills", "prevented", "touched")

    def __init__(self) -> None:
        """Nothing yet."""
        self.fills: list[tuple[BookOrder, int]] = []
        self.expired: list[BookOrder] = []
        self.touched: list[tuple[int, int]] = []
        self.prevented: bool = False
        """True when self-trade prevention expires the taker's remainder."""


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

    def levels(self, side: int, count: int = -1) -> list[tuple[int, int]]:
        """Return (price, lots) of the best `count` levels (-1: all), best first."""
        keys = self._keys[side]
        levels = self._levels[side]
        chosen = reversed(keys if count < 0 else keys[max(0, len(keys) - count) :])
        prices = [key if side == BUY else -key for key in chosen]
        return [(price, levels[price].lots) for price in prices]

    def resting(self, side: int) -> list[BookOrder]:
        """Return every live order of `side`, best price first, oldest first within a price."""
        return [
            order
            for price, _ in self.levels(side)
            for order in self._levels[side][price].queue
            if order.remaining and order.level is not None
        ]

    def rest(self, order: BookOrder) -> int:
        """Put `order`, which must not cross, at the end of its level; return the lots of that level."""
        side = order.side
        price = order.price
        level = self._levels[side].get(price)
        if level is None:
            level = self._levels[side][price] = Level(price)
            insort(self._keys[side], price if side == BUY else -price)
        level.queue.append(order)
        level.live += 1
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
        level.live -= 1
        order.remaining = 0
        order.level = None
        del self.orders[order.order_id]
        if not level.live:
            self._close_level(order.side, level.price)
        elif len(level.queue) > _QUEUE_MIN and len(level.queue) > _QUEUE_FACTOR * level.live:
            level.queue = deque([entry for entry in level.queue if entry.remaining])
        return level.lots

    def _close_level(self, side: int, price: int) -> None:
        del self._levels[side][price]
        keys = self._keys[side]
        key = price if side == BUY else -price
        if keys[-1] == key:
            keys.pop()
        else:
            del keys[bisect_left(keys, key)]

    def take(self, taker: BookOrder) -> Taken:
        """Match `taker` against the other side, best price first, and reduce `remaining` of both sides of each fill.

        A price of 0 takes any price. Levels and the order index are brought up to date; money is the caller's affair.
        """
        taken = Taken()
        side = taker.side
        opposite = 1 - side
        keys = self._keys[opposite]
        levels = self._levels[opposite]
        limit = taker.price
        while taker.remaining and keys and not taken.prevented and len(taken.fills) < FILLS_MAX:
            price = keys[-1] if opposite == BUY else -keys[-1]
            if limit and (price > limit if side == BUY else price < limit):
                break
            level = levels[price]
            before = level.lots
            self._take_level(taker, level, taken)
            if level.lots != before:
                taken.touched.append((price, level.lots))
            if not level.live:
                keys.pop()
                del levels[price]
        return taken

    def _take_level(self, taker: BookOrder, level: Level, taken: Taken) -> None:
        queue = level.queue
        remaining = taker.remaining
        while remaining and level.live and len(taken.fills) < FILLS_MAX:
            maker = queue[0]
            lots = maker.remaining
            if not lots:
                queue.popleft()
                continue
            if maker.account == taker.account and taker.stp != STP_NONE:
                self._prevent_self_trade(taker.stp, maker, level, taken)
                if taken.prevented:
                    break
                continue
            lots = min(lots, remaining)
            remaining -= lots
            level.lots -= lots
            maker.remaining -= lots
            if not maker.remaining:
                queue.popleft()
                level.live -= 1
                maker.level = None
                del self.orders[maker.order_id]
            taken.fills.append((maker, lots))
        taker.remaining = remaining

    def _prevent_self_trade(self, stp: int, maker: BookOrder, level: Level, taken: Taken) -> None:
        """Expire what the taker's mode says; the maker is at the front of its queue."""
        if stp in (STP_EXPIRE_MAKER, STP_EXPIRE_BOTH):
            level.queue.popleft()
            level.live -= 1
            level.lots -= maker.remaining
            maker.level = None
            del self.orders[maker.order_id]
            taken.expired.append(maker)  # keeps its remaining lots: the caller releases what they held
        if stp in (STP_EXPIRE_TAKER, STP_EXPIRE_BOTH):
            taken.prevented = True

    def reachable(self, side: int, limit: int, lots: int, budget: int, own: dict[int, int]) -> tuple[int, int, bool]:
        """Return what a taker of `side` would get, changing nothing: lots, sum of price times lots, book too short.

        `limit` 0 takes any price; `budget` bounds the sum (NO_BUDGET: nothing does). `own` is lots by price that the
        taker must not count, its own orders.
        """
        opposite = 1 - side
        levels = self._levels[opposite]
        got = cost = price = 0
        for key in reversed(self._keys[opposite]):
            if got == lots:
                break
            price = key if opposite == BUY else -key
            if limit and (price > limit if side == BUY else price < limit):
                break
            there = min(levels[price].lots - own.get(price, 0), lots - got)
            if budget != NO_BUDGET:
                affordable = (budget - cost) // price
                if affordable < there:
                    return got + affordable, cost + affordable * price, False
            got += there
            cost += there * price
        is_short = got < lots and (budget == NO_BUDGET or budget - cost >= price)
        return got, cost, is_short

    def can_fill(self, taker: BookOrder) -> bool:
        """Tell whether `taker` would be filled whole, by at most FILLS_MAX fills, before self-trade prevention ends it.

        Own orders do not count; where the taker's mode expires the taker, nothing behind the first of them does.
        """
        opposite = 1 - taker.side
        got = fills = 0
        for key in reversed(self._keys[opposite]):
            price = key if opposite == BUY else -key
            if taker.price and (price > taker.price if taker.side == BUY else price < taker.price):
                return False
            for maker in self._levels[opposite][price].queue:
                if not maker.remaining:
                    continue
                if maker.account == taker.account and taker.stp != STP_NONE:
                    if taker.stp != STP_EXPIRE_MAKER:
                        return False
                    continue
                got += maker.remaining
                fills += 1
                if got >= taker.lots:
                    return True
                if fills == FILLS_MAX:
                    return False
        return False
