"""Orders of one market that wait for a price: stops, take-profits and those that trail the price.

A trigger is reached by a rising price or by a falling one. Per direction a dict of prices and one sorted list with the
next to be reached at the end, as in the book. A trailing trigger moves with every new extreme of the price; orders
that follow the same extreme stay together, so that a price which is no new extreme costs nothing.
"""

from bisect import bisect_left, insort
from typing import Final

from runtime.engine.book import BookOrder
from runtime.shared.messages import BUY, STOP_LOSS, STOP_LOSS_LIMIT

BASIS_POINTS: Final = 10_000
NO_PRICE: Final = 0
FALLING: Final = 0
RISING: Final = 1


def direction(order_type: int, side: int) -> int:
    """Return which way the price must go to reach the stop price of an order."""
    is_stop = order_type in (STOP_LOSS, STOP_LOSS_LIMIT)
    return RISING if (side == BUY) == is_stop else FALLING


class Trigger:
    """What one order waits for. `extreme` is the best price it has followed, NO_PRICE while it does not trail."""

    __slots__ = ("direction", "extreme", "is_trailing", "order", "price")

    def __init__(self, order: BookOrder, price: int, way: int, *, is_trailing: bool, extreme: int) -> None:
        """Wait for `price` to be reached by a price going that way."""
        self.order: BookOrder = order
        self.price: int = price
        self.direction: int = way
        self.is_trailing: bool = is_trailing
        self.extreme: int = extreme


class Triggers:
    """Orders that wait. Those whose trigger is reached move to `due`, in order, and are the caller's from there."""

    def __init__(self) -> None:
        """Start without any."""
        self.waiting: dict[int, Trigger] = {}
        self.due: dict[int, BookOrder] = {}
        """Orders to be entered as soon as possible, first come first."""
        self.activated: list[BookOrder] = []
        """Orders whose triggers began to trail at the last price; the caller empties it."""
        self._keys: tuple[list[int], list[int]] = ([], [])
        self._levels: tuple[dict[int, dict[int, Trigger]], dict[int, dict[int, Trigger]]] = ({}, {})
        self._extremes: tuple[list[int], list[int]] = ([], [])
        self._followers: tuple[dict[int, dict[int, Trigger]], dict[int, dict[int, Trigger]]] = ({}, {})

    def add(self, order: BookOrder, extreme: int = NO_PRICE, *, is_trailing: bool = False) -> None:
        """Have `order`, which has terms, wait: for its stop price, or if `is_trailing` for what follows `extreme`."""
        terms = order.terms
        assert terms is not None
        if is_trailing:
            self._follow(Trigger(order, 0, _trailing_direction(order), is_trailing=True, extreme=extreme))
        else:
            way = direction(order.order_type, order.side)
            self._wait(Trigger(order, terms.stop_price, way, is_trailing=False, extreme=NO_PRICE))

    def remove(self, order: BookOrder) -> None:
        """Forget an order that waits or is due."""
        if self.due.pop(order.order_id, None) is not None:
            return
        trigger = self.waiting[order.order_id]
        self._leave(trigger)
        if trigger.is_trailing:
            self._unfollow(trigger)

    def on_price(self, price: int) -> None:
        """Take the price of a trade: move trailing triggers, start those that begin here, and let fire what it reaches.

        Among those that fire together the one reached first comes first, then the older.
        """
        for way in (FALLING, RISING):
            extremes = self._extremes[way]
            while extremes and _is_beyond(way, price, _extreme_price(way, extremes[-1])):
                for trigger in list(self._followers[way][_extreme_price(way, extremes[-1])].values()):
                    self._leave(trigger)
                    self._unfollow(trigger)
                    trigger.extreme = price
                    self._follow(trigger)
        for way in (FALLING, RISING):
            keys = self._keys[way]
            while keys:
                reached = keys[-1] if way == FALLING else -keys[-1]
                if price > reached if way == FALLING else price < reached:
                    break
                self._fire(self._levels[way][reached], price)

    def _fire(self, level: dict[int, Trigger], price: int) -> None:
        for order_id in sorted(level):
            trigger = level[order_id]
            self._leave(trigger)
            if trigger.is_trailing:
                self._unfollow(trigger)
            elif trigger.order.terms is not None and trigger.order.terms.trailing_delta:
                self.activated.append(trigger.order)
                self.add(trigger.order, price, is_trailing=True)
                continue
            self.due[order_id] = trigger.order

    def _wait(self, trigger: Trigger) -> None:
        way = trigger.direction
        level = self._levels[way].get(trigger.price)
        if level is None:
            level = self._levels[way][trigger.price] = {}
            insort(self._keys[way], trigger.price if way == FALLING else -trigger.price)
        level[trigger.order.order_id] = trigger
        self.waiting[trigger.order.order_id] = trigger

    def _leave(self, trigger: Trigger) -> None:
        way = trigger.direction
        level = self._levels[way][trigger.price]
        del level[trigger.order.order_id]
        del self.waiting[trigger.order.order_id]
        if not level:
            del self._levels[way][trigger.price]
            keys = self._keys[way]
            del keys[bisect_left(keys, trigger.price if way == FALLING else -trigger.price)]

    def _follow(self, trigger: Trigger) -> None:
        """Put a trailing trigger where its extreme says, and among those that follow the same."""
        way = trigger.direction
        terms = trigger.order.terms
        assert terms is not None
        extreme = trigger.extreme
        if extreme == NO_PRICE:  # nothing has traded yet: out of reach until something has
            trigger.price = 0 if way == FALLING else 2**62
        elif way == FALLING:
            trigger.price = extreme * (BASIS_POINTS - terms.trailing_delta) // BASIS_POINTS
        else:
            trigger.price = -(-extreme * (BASIS_POINTS + terms.trailing_delta) // BASIS_POINTS)
        followers = self._followers[way].get(extreme)
        if followers is None:
            followers = self._followers[way][extreme] = {}
            insort(self._extremes[way], -extreme if way == FALLING else extreme or 2**62)
        followers[trigger.order.order_id] = trigger
        self._wait(trigger)

    def _unfollow(self, trigger: Trigger) -> None:
        way = trigger.direction
        extreme = trigger.extreme
        followers = self._followers[way][extreme]
        del followers[trigger.order.order_id]
        if not followers:
            del self._followers[way][extreme]
            extremes = self._extremes[way]
            del extremes[bisect_left(extremes, -extreme if way == FALLING else extreme or 2**62)]


def _trailing_direction(order: BookOrder) -> int:
    """Return which way the price must turn: a sale trails a rising price and fires when it falls, a buy the reverse."""
    return RISING if order.side == BUY else FALLING


def _extreme_price(way: int, key: int) -> int:
    """Return the extreme that a key stands for. The next to be beaten is at the end: the lowest high, highest low."""
    if way == FALLING:
        return -key
    return NO_PRICE if key == 2**62 else key


def _is_beyond(way: int, price: int, extreme: int) -> bool:
    """Tell whether `price` beats the extreme that triggers of this direction follow."""
    if way == FALLING:
        return price > extreme
    return price < extreme or extreme == NO_PRICE
