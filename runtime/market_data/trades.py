"""The tape: recent trades, and trades of one taker order at one price told as one."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

FIRST_TRADE_ID: Final = 1
TRADES_KEPT: Final = 5_000
"""Recent trades in memory per market; several times what one question may ask for."""


class Trade(NamedTuple):
    """One match: price in ticks, quantity in lots, `sequence` of the command that caused it."""

    trade_id: int
    price: int
    lots: int
    time_ms: int
    buyer_is_maker: bool
    sequence: int


class AggTrade(NamedTuple):
    """Consecutive trades of one command at one price.

    It is named by the id of its first trade: increasing, not consecutive, and the same whenever and by whomever it is
    worked out, so that a restart needs no counter.
    """

    first_id: int
    last_id: int
    price: int
    lots: int
    time_ms: int
    buyer_is_maker: bool


def aggregate(trades: Iterable[Trade]) -> list[AggTrade]:
    """Return `trades`, in order of their ids, with neighbours of the same command, price and taker side as one."""
    told: list[AggTrade] = []
    previous: Trade | None = None
    for trade in trades:
        if (
            previous is not None
            and trade.sequence == previous.sequence
            and trade.price == previous.price
            and trade.buyer_is_maker == previous.buyer_is_maker
        ):
            told[-1] = told[-1]._replace(last_id=trade.trade_id, lots=told[-1].lots + trade.lots)
        else:
            told.append(
                AggTrade(trade.trade_id, trade.trade_id, trade.price, trade.lots, trade.time_ms, trade.buyer_is_maker)
            )
        previous = trade
    return told


class Tape:
    """The newest trades of one market, at most `kept` single ones and as many aggregates."""

    def __init__(self, kept: int = TRADES_KEPT) -> None:
        """Start empty."""
        self.trades: deque[Trade] = deque(maxlen=kept)
        self.aggregates: deque[AggTrade] = deque(maxlen=kept)

    @property
    def last(self) -> Trade | None:
        """The newest trade, if there was one."""
        return self.trades[-1] if self.trades else None

    def add(self, trades: Sequence[Trade]) -> list[AggTrade]:
        """Take all trades of one command, or of several whole ones; return their aggregates."""
        told = aggregate(trades)
        self.trades.extend(trades)
        self.aggregates.extend(told)
        return told

    def refill(self, trades: Sequence[Trade]) -> None:
        """Take history: the newest trades, in order. A first aggregate that may lack its beginning is left out."""
        told = self.add(trades)
        if told and told[0].first_id != FIRST_TRADE_ID and self.aggregates[0] is told[0]:
            self.aggregates.popleft()
