"""Candles of every interval: trades are summed second by second, and each second is added to all its candles.

Integers throughout: prices in ticks, quantities in lots, turnover in ticks times lots, times in milliseconds (UTC).
"""

from calendar import timegm
from collections import deque
from collections.abc import Iterable
from time import gmtime
from typing import Final, Self

from runtime.market_data.trades import FIRST_TRADE_ID, Trade
from runtime.shared.market_messages import INTERVALS

CANDLES_KEPT: Final = 1_000
"""Candles in memory per market and interval: as many as one question may ask for."""
SECOND_MS: Final = 1_000
MONTH: Final = "1M"
_WEEK: Final = "1w"
_FIRST_MONDAY_MS: Final = 4 * 86_400_000
"""1970 began on a Thursday."""
_MONTHS: Final = 12


STEPS_MS: Final = (86_400_000, 3_600_000, 60_000, SECOND_MS)
"""Lengths of the bars that history is read in, longest first."""


def step_ms(interval: str) -> int:
    """Return the longest of STEPS_MS that candles of `interval` can be made of."""
    length = INTERVALS[interval]
    return next(step for step in STEPS_MS if interval == MONTH or step <= length)


def opening_ms(interval: str, time_ms: int) -> int:
    """Return when the candle of `interval` that holds `time_ms` opens."""
    if interval == MONTH:
        year, month = gmtime(time_ms // 1000)[:2]
        return _month_ms(year, month)
    length = INTERVALS[interval]
    shift = _FIRST_MONDAY_MS if interval == _WEEK else 0
    return time_ms - (time_ms - shift) % length


def earliest_kept_ms(interval: str, now_ms: int, kept: int = CANDLES_KEPT) -> int:
    """Return when the oldest of the `kept` candles of `interval` up to `now_ms` opens; for months, 0."""
    return 0 if interval == MONTH else max(0, opening_ms(interval, now_ms) - (kept - 1) * INTERVALS[interval])


def next_opening_ms(interval: str, open_ms: int) -> int:
    """Return when the candle after the one that opens at `open_ms` opens."""
    if interval != MONTH:
        return open_ms + INTERVALS[interval]
    year, month = gmtime(open_ms // 1000)[:2]
    return _month_ms(year + month // _MONTHS, month % _MONTHS + 1)


def _month_ms(year: int, month: int) -> int:
    return timegm((year, month, 1, 0, 0, 0)) * 1000


class Bar:
    """Trades summed up: prices, volumes (all and bought by takers), count and ids. Empty while `trades` is 0."""

    __slots__ = (
        "close",
        "first_id",
        "high",
        "last_id",
        "lots",
        "low",
        "open",
        "taker_buy_lots",
        "taker_buy_turnover",
        "trades",
        "turnover",
    )

    open: int
    high: int
    low: int
    close: int
    lots: int
    turnover: int
    taker_buy_lots: int
    taker_buy_turnover: int
    trades: int
    first_id: int
    last_id: int

    def __init__(self, price: int = 0) -> None:
        """Start with no trade, all prices at `price`."""
        self.open = self.high = self.low = self.close = price
        self.lots = self.turnover = self.taker_buy_lots = self.taker_buy_turnover = 0
        self.trades = 0
        self.first_id = self.last_id = -1

    def add(self, trade: Trade) -> None:
        """Add the next trade."""
        price, lots = trade.price, trade.lots
        turnover = price * lots
        if not self.trades:
            self.open = self.high = self.low = price
            self.first_id = trade.trade_id
        elif price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.close = price
        self.last_id = trade.trade_id
        self.trades += 1
        self.lots += lots
        self.turnover += turnover
        if not trade.buyer_is_maker:
            self.taker_buy_lots += lots
            self.taker_buy_turnover += turnover

    def merge(self, later: "Bar") -> None:
        """Add everything that `later`, which is not empty, holds."""
        if not self.trades:
            self.open, self.high, self.low = later.open, later.high, later.low
            self.first_id = later.first_id
        else:
            self.high = max(self.high, later.high)
            self.low = min(self.low, later.low)
        self.close = later.close
        self.last_id = later.last_id
        self.trades += later.trades
        self.lots += later.lots
        self.turnover += later.turnover
        self.taker_buy_lots += later.taker_buy_lots
        self.taker_buy_turnover += later.taker_buy_turnover


class Candle(Bar):
    """The trades from `open_ms` to `close_ms`, both included. Without any, its prices are the last price before."""

    __slots__ = ("close_ms", "open_ms")

    def __init__(self, open_ms: int, close_ms: int, price: int) -> None:
        """Start without a trade, at the last price before."""
        super().__init__(price)
        self.open_ms = open_ms
        self.close_ms = close_ms

    @classmethod
    def opening(cls, interval: str, open_ms: int, price: int) -> Self:
        """Return the empty candle of `interval` that opens at `open_ms`."""
        return cls(open_ms, next_opening_ms(interval, open_ms) - 1, price)

    def carry(self, price: int) -> None:
        """Have the last price before this candle, which is empty, be `price`."""
        self.open = self.high = self.low = self.close = price


class CandleSeries:
    """The newest candles of one interval, without holes from the first trade on."""

    def __init__(self, interval: str, kept: int = CANDLES_KEPT) -> None:
        """Start without a candle: the first trade opens the first."""
        self.interval = interval
        self.candles: deque[Candle] = deque(maxlen=kept)
        self._kept = kept
        self._final_before_ms = 0
        """Candles that opened before this have been told as closed."""

    def refill(self, first_ms: int, bars: Iterable[tuple[int, Bar]], price_before: int) -> None:
        """Take history: `bars` with their times, from `first_ms` on, where a candle opens, in order of time.

        `price_before` is the last price before that, 0 for none: then the first bar opens the first candle.
        """
        if price_before:
            self.candles.append(Candle.opening(self.interval, first_ms, price_before))
        for time_ms, bar in bars:
            self.add(time_ms, bar)

    @property
    def holds_first_trade(self) -> bool:
        """Tell whether there is nothing before the first candle."""
        return bool(self.candles) and self.candles[0].first_id == FIRST_TRADE_ID

    @property
    def last(self) -> Candle | None:
        """The candle that is still open, if the market has ever traded."""
        return self.candles[-1] if self.candles else None

    def add(self, time_ms: int, bar: Bar) -> None:
        """Add the trades of one second, at `time_ms`. One that comes late is added where it belongs."""
        if not self.candles:
            first = Candle.opening(self.interval, opening_ms(self.interval, time_ms), bar.open)
            self.candles.append(first)
            self._final_before_ms = first.open_ms
        self.advance(time_ms)
        later: list[Candle] = []
        for candle in reversed(self.candles):
            if candle.open_ms <= time_ms:
                candle.merge(bar)
                self._final_before_ms = min(self._final_before_ms, candle.open_ms)
                break
            later.append(candle)
        for empty in reversed(later):  # also when all that is kept is later
            if empty.trades:
                break
            empty.carry(bar.close)

    def advance(self, time_ms: int) -> None:
        """Close what closes before `time_ms` and open the candle of that time, with empty ones in between."""
        if not self.candles or time_ms <= self.candles[-1].close_ms:
            return
        newest_ms = opening_ms(self.interval, time_ms)
        open_ms = self.candles[-1].close_ms + 1
        if self.interval != MONTH:  # those that would not be kept are not made
            open_ms = max(open_ms, newest_ms - (self._kept - 1) * INTERVALS[self.interval])
        price = self.candles[-1].close
        while open_ms <= newest_ms:
            candle = Candle.opening(self.interval, open_ms, price)
            self.candles.append(candle)
            open_ms = candle.close_ms + 1

    def take_closed(self) -> list[Candle]:
        """Return the candles that closed, or changed after they had closed, since the last call, oldest first."""
        if not self.candles or self.candles[-1].open_ms == self._final_before_ms:
            return []
        closed: list[Candle] = []
        for candle in reversed(self.candles):
            if candle.open_ms < self._final_before_ms:
                break
            closed.append(candle)
        self._final_before_ms = self.candles[-1].open_ms
        return closed[:0:-1]

    def between(self, start_ms: int, end_ms: int, limit: int) -> list[Candle]:
        """Return up to `limit` candles that open from `start_ms` to `end_ms`, oldest first; -1 leaves a side open.

        The oldest ones when a start is given, else the newest.
        """
        chosen = [
            candle for candle in self.candles if candle.open_ms >= start_ms and (end_ms < 0 or candle.open_ms <= end_ms)
        ]
        return chosen[:limit] if start_ms >= 0 else chosen[-limit:]


class Candles:
    """All intervals of one market."""

    def __init__(self, kept: int = CANDLES_KEPT) -> None:
        """Start without a candle."""
        self.series: Final = {interval: CandleSeries(interval, kept) for interval in INTERVALS}

    def add(self, time_ms: int, bar: Bar) -> None:
        """Add the trades of one second to every interval."""
        for series in self.series.values():
            series.add(time_ms, bar)

    def advance(self, time_ms: int) -> None:
        """Let time pass, for every interval."""
        for series in self.series.values():
            series.advance(time_ms)
