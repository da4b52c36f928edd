"""The best bid and ask of each market, second by second: what is kept of prices besides the trades. Pure.

The engine's events tell what a level holds, not which is the best, so the books are followed here, in memory.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from runtime.shared.book_side import BookSide, Level
from runtime.shared.messages import BUY, SELL, Happened, LevelChanged, MarketState

SECOND_US: Final = 1_000_000


class QuoteRow(NamedTuple):
    """A row of `quotes`: the best levels as the second left them. A side without orders has price and lots 0.

    It holds until the market's next row. While a market is in an auction, bid and ask may cross.
    """

    market: int
    second_us: int
    bid: int
    bid_lots: int
    ask: int
    ask_lots: int


class _Book:
    """A market's book, and its best levels as they were noted last."""

    __slots__ = ("noted", "sides")

    def __init__(self, bids: Iterable[Level] = (), asks: Iterable[Level] = ()) -> None:
        self.sides = {BUY: BookSide(BUY, bids), SELL: BookSide(SELL, asks)}
        self.noted: tuple[int, ...] = ()


class Quotes:
    """The books of all markets, and the quotes that are to be written. `sequence` is the last command followed.

    A ledger that starts takes the engine's books, which are ahead of its feed: what was quoted until the feed is level
    with them stays unknown. Then the books are right, as each event tells what its level holds, not by how much it
    changed.
    """

    def __init__(self, position: int, states: Iterable[MarketState] = (), books_at: int = 0) -> None:
        """Follow the feed from after `position` on; none of `states` is newer than sequence `books_at`."""
        self.sequence = position
        self._books_at = books_at
        self._books: defaultdict[int, _Book] = defaultdict(_Book)
        for state in states:
            self._books[state.market] = _Book(state.bids, state.asks)
        self._unwritten: dict[tuple[int, int], QuoteRow] = {}

    def follow(self, batch: Sequence[Happened]) -> list[QuoteRow]:
        """Return what to write with `batch`, and what could not be written before it. Old commands change nothing."""
        for happened in batch:
            if happened.sequence <= self.sequence:
                continue
            self.sequence = happened.sequence
            changed = set(self._books) if self.sequence == self._books_at else set[int]()
            for event in happened.events:
                if isinstance(event, LevelChanged):
                    self._books[event.market].sides[event.side].set(event.price, event.lots)
                    changed.add(event.market)
            if self.sequence >= self._books_at:
                self._note(changed, happened.time_us // SECOND_US * SECOND_US)
        return list(self._unwritten.values())

    def written(self) -> None:
        """Forget what `follow` returned: it is in the ledger."""
        self._unwritten.clear()

    def _note(self, markets: Iterable[int], second_us: int) -> None:
        for market in markets:
            book = self._books[market]
            best = (*book.sides[BUY].best(), *book.sides[SELL].best())
            if best != book.noted:
                book.noted = best
                self._unwritten[market, second_us] = QuoteRow(market, second_us, *best)
