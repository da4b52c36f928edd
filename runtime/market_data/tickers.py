"""Rolling statistics: sums over the last minutes, kept by minute so that time can leave as well as enter.

A window starts on a minute and ends now, so it spans up to 59,999 ms more than its name says.
"""

from bisect import bisect_left
from collections import deque
from operator import attrgetter
from typing import Final, NamedTuple

from runtime.market_data.candles import Bar

MINUTE_MS: Final = 60_000
DAY_MINUTES: Final = 1_440
AVERAGE_MINUTES: Final = 5
HOUR_MINUTES: Final = 60
WINDOW_MINUTES_MAX: Final = 7 * DAY_MINUTES
"""The longest window that can be asked for."""
_number = attrgetter("number")


class Statistics(NamedTuple):
    """A window summed up. Prices are in ticks, 0 before the market's first trade; ids are -1 without trades."""

    open: int
    high: int
    low: int
    last: int
    previous_close: int
    """The last price before the window; 0 when there was none."""
    lots: int
    turnover: int
    """Ticks times lots."""
    trades: int
    first_id: int
    last_id: int
    open_ms: int


class _Minute(Bar):
    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class RollingWindow:
    """Statistics of the last `minutes` minutes."""

    def __init__(self, minutes: int) -> None:
        """Start without a trade."""
        self.minutes = minutes
        self._buckets: deque[_Minute] = deque()
        self._lots = self._turnover = self._trades = 0
        self._high = self._low = 0
        self._last = self._previous_close = 0

    def add(self, time_ms: int, bar: Bar) -> None:
        """Add the trades of one second. One that comes late counts in the newest minute."""
        number = time_ms // MINUTE_MS
        if not self._buckets or number > self._buckets[-1].number:
            self._buckets.append(_Minute(number))
        self._buckets[-1].merge(bar)
        if self._trades:
            self._high, self._low = max(self._high, bar.high), min(self._low, bar.low)
        else:
            self._high, self._low = bar.high, bar.low
        self._lots += bar.lots
        self._turnover += bar.turnover
        self._trades += bar.trades
        self._last = bar.close

    def before(self, price: int) -> None:
        """Have `price` be the last one before the first trade that is added."""
        self._last = self._previous_close = price

    def first_ms(self, now_ms: int) -> int:
        """Return when the window that ends at `now_ms` starts."""
        return (now_ms // MINUTE_MS - self.minutes) * MINUTE_MS

    def advance(self, now_ms: int) -> None:
        """Let go of the minutes that are over."""
        first = now_ms // MINUTE_MS - self.minutes
        buckets = self._buckets
        if not buckets or buckets[0].number >= first:
            return
        extreme_left = False
        while buckets and buckets[0].number < first:
            gone = buckets.popleft()
            self._lots -= gone.lots
            self._turnover -= gone.turnover
            self._trades -= gone.trades
            self._previous_close = gone.close
            extreme_left |= gone.high == self._high or gone.low == self._low
        if extreme_left and buckets:
            self._high = max(bucket.high for bucket in buckets)
            self._low = min(bucket.low for bucket in buckets)

    def statistics(self, now_ms: int) -> Statistics:
        """Return the sums as of `now_ms`."""
        self.advance(now_ms)
        buckets, traded = self._buckets, bool(self._buckets)
        return Statistics(
            open=buckets[0].open if traded else self._last,
            high=self._high if traded else self._last,
            low=self._low if traded else self._last,
            last=self._last,
            previous_close=self._previous_close,
            lots=self._lots,
            turnover=self._turnover,
            trades=self._trades,
            first_id=buckets[0].first_id if traded else -1,
            last_id=buckets[-1].last_id if traded else -1,
            open_ms=self.first_ms(now_ms),
        )


class Lookback:
    """Trades of the last WINDOW_MINUTES_MAX minutes, by minute and by hour, for windows that start on any minute."""

    def __init__(self) -> None:
        """Start without a trade."""
        self._minutes: list[_Minute] = []
        self._hours: list[_Minute] = []
        """Numbered by the hour."""
        self._last = self._price_before = 0

    @staticmethod
    def first_ms(now_ms: int) -> int:
        """Return when the longest window that ends at `now_ms` starts."""
        return (now_ms // MINUTE_MS - WINDOW_MINUTES_MAX) * MINUTE_MS

    def before(self, price: int) -> None:
        """Have `price` be the last one before the first trade that is added."""
        self._last = self._price_before = price

    def add(self, time_ms: int, bar: Bar) -> None:
        """Add the trades of up to one minute. Those that come late count in the newest minute."""
        number = time_ms // MINUTE_MS
        minutes, hours = self._minutes, self._hours
        if not minutes or number > minutes[-1].number:
            minutes.append(_Minute(number))
            if not hours or number // HOUR_MINUTES > hours[-1].number:
                hours.append(_Minute(number // HOUR_MINUTES))
                self._forget_before(number - WINDOW_MINUTES_MAX - HOUR_MINUTES)
        minutes[-1].merge(bar)
        hours[-1].merge(bar)
        self._last = bar.close

    def _forget_before(self, first: int) -> None:
        gone = bisect_left(self._minutes, first, key=_number)
        if gone:
            self._price_before = self._minutes[gone - 1].close
            del self._minutes[:gone]
            del self._hours[: bisect_left(self._hours, first // HOUR_MINUTES, key=_number)]

    def statistics(self, first_minute: int) -> Statistics:
        """Return the sums from the start of `first_minute`, counted since 1970, up to now.

        Whole hours are added as such, so that a week costs no more than about 200 additions.
        """
        minutes, hours = self._minutes, self._hours
        first_hour = -(-first_minute // HOUR_MINUTES)
        start = bisect_left(minutes, first_minute, key=_number)
        end = bisect_left(minutes, first_hour * HOUR_MINUTES, key=_number)
        total = Bar()
        for bar in (*minutes[start:end], *hours[bisect_left(hours, first_hour, key=_number) :]):
            total.merge(bar)
        previous = minutes[start - 1].close if start else self._price_before
        traded = total.trades > 0
        return Statistics(
            open=total.open if traded else self._last,
            high=total.high if traded else self._last,
            low=total.low if traded else self._last,
            last=self._last,
            previous_close=previous,
            lots=total.lots,
            turnover=total.turnover,
            trades=total.trades,
            first_id=total.first_id,
            last_id=total.last_id,
            open_ms=first_minute * MINUTE_MS,
        )
