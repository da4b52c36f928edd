"""One side of a public order book: price levels in ticks, and the lots that the engine's events say they hold."""

from bisect import bisect_left, insort
from collections.abc import Iterable
from itertools import islice

from runtime.shared.messages import BUY

Level = tuple[int, int]
"""(price, lots)"""


class BookSide:
    """Levels of one side. Keys ascend towards the best: the price of a bid, the negative price of an ask."""

    __slots__ = ("_keys", "_lots", "_sign")

    def __init__(self, side: int, levels: Iterable[Level] = ()) -> None:
        """Take `levels`, in any order."""
        self._sign = sign = 1 if side == BUY else -1
        self._lots = {sign * price: lots for price, lots in levels}
        self._keys = sorted(self._lots)

    def set(self, price: int, lots: int) -> None:
        """Let the level at `price` hold `lots`; with 0 it is gone."""
        key = self._sign * price
        if lots:
            if key not in self._lots:
                insort(self._keys, key)
            self._lots[key] = lots
        elif self._lots.pop(key, 0):
            del self._keys[bisect_left(self._keys, key)]

    def best(self) -> Level:
        """Return the best level; price and lots 0 when there is none."""
        if not self._keys:
            return 0, 0
        key = self._keys[-1]
        return self._sign * key, self._lots[key]

    def top(self, limit: int) -> list[Level]:
        """Return the best `limit` levels, best first."""
        return [(self._sign * key, self._lots[key]) for key in islice(reversed(self._keys), limit)]
