"""Everything public about one market, kept current by the engine's events and by the passing of time."""

from bisect import bisect_left
from operator import itemgetter
from typing import Final, NamedTuple

from runtime.market_data.book_builder import BookBuilder, GapError
from runtime.market_data.candles import SECOND_MS, Bar, Candles, earliest_kept_ms, step_ms
from runtime.market_data.payloads import Instrument
from runtime.market_data.tickers import AVERAGE_MINUTES, DAY_MINUTES, MINUTE_MS, Lookback, RollingWindow, Statistics
from runtime.market_data.trades import AggTrade, Tape, Trade
from runtime.shared.messages import MarketState

WINDOWS: Final = {"1h": 60, "4h": 240, "1d": DAY_MINUTES}
"""Rolling windows and their minutes."""
DAY: Final = "1d"


class PastTrades(NamedTuple):
    """Trades before the feed: the newest one by one, all of them as bars."""

    newest: list[Trade]
    bars: dict[int, list[tuple[int, Bar]]]
    """By length of the bar, one of STEPS_MS: (time, bar) in order, as far back as candles of that length are kept."""
    price_before: dict[int, int]
    """By length of the bar: the last price before the first; 0 for none."""

    def since(self, step: int, first_ms: int) -> tuple[list[tuple[int, Bar]], int]:
        """Return the bars of length `step` from `first_ms` on, and the last price before that, 0 for none."""
        bars = self.bars[step]
        start = bisect_left(bars, first_ms, key=itemgetter(0))
        return bars[start:], bars[start - 1][1].close if start else self.price_before[step]


class MarketView:
    """One market's book, tape, candles and rolling statistics."""

    def __init__(self, instrument: Instrument, state: MarketState) -> None:
        """Start from the engine's book, without trades."""
        self.instrument: Final = instrument
        self.book: Final = BookBuilder(state)
        self.tape: Final = Tape()
        self.candles: Final = Candles()
        self.windows: Final = {name: RollingWindow(minutes) for name, minutes in WINDOWS.items()}
        self.average: Final = RollingWindow(AVERAGE_MINUTES)
        self.lookback: Final = Lookback()
        self.last_trade_id = 0
        self._second = -1
        self._bar = Bar()
        """The trades of that second which candles and windows do not have yet."""

    def refill(self, past: "PastTrades", now_ms: int) -> None:
        """Take the history of trades, once, before any other trade."""
        self.tape.refill(past.newest)
        self.last_trade_id = past.newest[-1].trade_id if past.newest else 0
        for interval, series in self.candles.series.items():
            first_ms = earliest_kept_ms(interval, now_ms)
            bars, price_before = past.since(step_ms(interval), first_ms)
            series.refill(first_ms, bars, price_before)
            series.advance(now_ms)
            series.take_closed()
        windows: tuple[RollingWindow | Lookback, ...] = (*self.windows.values(), self.average, self.lookback)
        for window in windows:
            bars, price_before = past.since(MINUTE_MS, window.first_ms(now_ms))
            window.before(price_before)
            for time_ms, bar in bars:
                window.add(time_ms, bar)

    def traded(self, trades: list[Trade]) -> list[AggTrade]:
        """Take the trades of one command; return them as aggregates.

        Raises GapError when trades are missing before these.
        """
        if trades[0].trade_id != self.last_trade_id + 1:
            msg = f"{self.instrument.symbol}: trade {trades[0].trade_id} came where {self.last_trade_id + 1} had to"
            raise GapError(msg)
        for trade in trades:
            second = trade.time_ms // SECOND_MS
            if second != self._second:
                self.settle()
                self._second = second
            self._bar.add(trade)
        self.last_trade_id = trades[-1].trade_id
        return self.tape.add(trades)

    def settle(self) -> None:
        """Bring candles and windows up to the last trade."""
        if self._bar.trades:
            bar, self._bar = self._bar, Bar()
            time_ms = self._second * SECOND_MS
            self.candles.add(time_ms, bar)
            self.average.add(time_ms, bar)
            self.lookback.add(time_ms, bar)
            for window in self.windows.values():
                window.add(time_ms, bar)

    def advance(self, time_ms: int) -> None:
        """Let candles close that end before `time_ms`."""
        self.settle()
        self.candles.advance(time_ms)

    def statistics(self, window: str, now_ms: int) -> Statistics:
        """Return the sums of one of WINDOWS."""
        self.settle()
        return self.windows[window].statistics(now_ms)

    def statistics_since(self, first_minute: int) -> Statistics:
        """Return the sums from the start of a minute, counted since 1970, at most WINDOW_MINUTES_MAX ago."""
        self.settle()
        return self.lookback.statistics(first_minute)

    def average_price(self, now_ms: int) -> str:
        """Return the average price of the last AVERAGE_MINUTES; without trades in them, the last price."""
        self.settle()
        recent = self.average.statistics(now_ms)
        if not recent.trades:
            return self.instrument.price(recent.last)
        return self.instrument.average(recent.turnover, recent.lots)

    @property
    def last_lots(self) -> int:
        """Quantity of the last trade, 0 before the first."""
        return self.tape.last.lots if self.tape.last else 0

    @property
    def last_trade_ms(self) -> int:
        """Time of the last trade, 0 before the first."""
        return self.tape.last.time_ms if self.tape.last else 0
