"""The public book of one market: price levels kept from the engine's events, and the differences clients ask for.

Prices are in ticks and quantities in lots. Update ids count by one per market without a gap, so a book is right
exactly when its id follows; whatever leaves here carries the ids it covers.
"""

from typing import NamedTuple

from runtime.shared.book_side import BookSide, Level
from runtime.shared.messages import BUY, SELL, LevelChanged, MarketState


class GapError(RuntimeError):
    """An update is missing: the book cannot be continued, only rebuilt."""


class Best(NamedTuple):
    """Top of the book. A side without orders has price and lots 0."""

    bid: int
    bid_lots: int
    ask: int
    ask_lots: int


class Depth(NamedTuple):
    """The best levels of both sides, best first, right after `update_id`."""

    update_id: int
    bids: list[Level]
    asks: list[Level]


class Diff(NamedTuple):
    """Every level that changed in the updates `first_id` to `last_id`, with what it holds now; 0 lots: it is gone."""

    first_id: int
    last_id: int
    bids: dict[int, int]
    asks: dict[int, int]


class _Pending:
    """Changes gathered for one channel since it last told any; `next_id` is the first it has not told."""

    __slots__ = ("asks", "bids", "next_id")

    def __init__(self, next_id: int) -> None:
        self.next_id = next_id
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}

    def take(self, last_id: int) -> Diff | None:
        if last_id < self.next_id:
            return None
        diff = Diff(self.next_id, last_id, self.bids, self.asks)
        self.next_id, self.bids, self.asks = last_id + 1, {}, {}
        return diff


class BookBuilder:
    """One market's book, continued from a snapshot of the engine by its events.

    Differences are gathered for two channels, a fast and a slow one. Each tells every update id once and in order,
    whoever listens; a slow difference is the fast ones since the last slow one, merged.
    """

    __slots__ = ("_asks", "_bids", "_fast", "_slow", "update_id")

    def __init__(self, state: MarketState) -> None:
        """Take the book as the engine had it right after `state.update_id`."""
        self.update_id = state.update_id
        self._bids = BookSide(BUY, state.bids)
        self._asks = BookSide(SELL, state.asks)
        self._fast = _Pending(state.update_id + 1)
        self._slow = _Pending(state.update_id + 1)

    def apply(self, change: LevelChanged) -> bool:
        """Follow the engine by one update; return False for one that the snapshot already held.

        Raises GapError when updates are missing before this one.
        """
        expected = self.update_id + 1
        if change.update_id != expected:
            if change.update_id < expected:
                return False
            msg = f"market {change.market}: update {change.update_id} came where {expected} had to"
            raise GapError(msg)
        self.update_id = expected
        if change.side == BUY:
            self._bids.set(change.price, change.lots)
            self._fast.bids[change.price] = change.lots
        else:
            self._asks.set(change.price, change.lots)
            self._fast.asks[change.price] = change.lots
        return True

    def take_fast(self) -> Diff | None:
        """Return what changed since the last call, None for nothing."""
        diff = self._fast.take(self.update_id)
        if diff:
            self._slow.bids.update(diff.bids)
            self._slow.asks.update(diff.asks)
        return diff

    def take_slow(self) -> Diff | None:
        """Return what changed between the last call and the last `take_fast`, None for nothing."""
        return self._slow.take(self._fast.next_id - 1)

    def best(self) -> Best:
        """Return the best bid and ask."""
        return Best(*self._bids.best(), *self._asks.best())

    def depth(self, limit: int) -> Depth:
        """Return the best `limit` levels of each side, as of now."""
        return Depth(self.update_id, self._bids.top(limit), self._asks.top(limit))
