"""Streams whose every event is a whole state: how to see whether the state changed, and how to tell it.

The other streams (`stream_names.DIFFERENTIAL`) tell changes, and are published where the changes happen.
"""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Final, NamedTuple

from runtime.market_data import payloads
from runtime.market_data.market import DAY, WINDOWS, MarketView
from runtime.shared.market_messages import INTERVALS
from runtime.shared.stream_names import PARTIAL_DEPTHS, StreamName

LIVE: Final = 0
"""Told after every batch of events."""
FAST: Final = 100
SLOW: Final = 1_000


class Subject(NamedTuple):
    """`look` returns what a payload would be made of; when that differs from last time, `tell` makes one."""

    cadence_ms: int
    look: Callable[[MarketView, int], Hashable]
    tell: Callable[[MarketView, int], bytes]


def _book_ticker(market: MarketView, _now_ms: int) -> bytes:
    return payloads.book_ticker_event(market.instrument, market.book.update_id, market.book.best())


def _partial_depth(levels: int, market: MarketView, _now_ms: int) -> bytes:
    return payloads.depth_body(market.instrument, market.book.depth(levels))


def _ticker(market: MarketView, now_ms: int) -> bytes:
    day = market.statistics(DAY, now_ms)
    return payloads.ticker_event(market.instrument, day, market.last_lots, market.book.best(), now_ms)


def _mini_ticker(market: MarketView, now_ms: int) -> bytes:
    return payloads.mini_ticker_event(market.instrument, market.statistics(DAY, now_ms), now_ms)


def _window_ticker(window: str, market: MarketView, now_ms: int) -> bytes:
    return payloads.window_ticker_event(market.instrument, window, market.statistics(window, now_ms), now_ms)


def _average_price(market: MarketView, now_ms: int) -> bytes:
    average = market.average_price(now_ms)
    return payloads.average_price_event(market.instrument, average, market.last_trade_ms, now_ms)


def _candle(interval: str, market: MarketView, now_ms: int) -> bytes:
    candle = market.candles.series[interval].last
    if candle is None:
        return b""
    return payloads.kline_event(market.instrument, interval, candle, now_ms, is_closed=False)


def _look_at_candle(interval: str, market: MarketView, _now_ms: int) -> Hashable:
    candle = market.candles.series[interval].last
    return candle and (candle.open_ms, candle.trades, candle.close)


def _look_at_window(window: str, market: MarketView, now_ms: int) -> Hashable:
    return market.statistics(window, now_ms)


def _look_at_ticker(market: MarketView, now_ms: int) -> Hashable:
    return market.statistics(DAY, now_ms), market.last_lots, market.book.best()


SUBJECTS: Final = {
    "bookTicker": Subject(LIVE, lambda market, _: market.book.best(), _book_ticker),
    **{
        f"depth{levels}{speed}": Subject(
            cadence_ms, lambda market, _: market.book.update_id, partial(_partial_depth, levels)
        )
        for levels in PARTIAL_DEPTHS
        for speed, cadence_ms in (("@100ms", FAST), ("", SLOW), ("@1000ms", SLOW))
    },
    "miniTicker": Subject(SLOW, partial(_look_at_window, DAY), _mini_ticker),
    "ticker": Subject(SLOW, _look_at_ticker, _ticker),
    "avgPrice": Subject(
        SLOW, lambda market, now_ms: (market.average_price(now_ms), market.last_trade_ms), _average_price
    ),
    **{
        f"ticker_{window}": Subject(SLOW, partial(_look_at_window, window), partial(_window_ticker, window))
        for window in WINDOWS
    },
    **{
        f"kline_{interval}": Subject(SLOW, partial(_look_at_candle, interval), partial(_candle, interval))
        for interval in INTERVALS
    },
}


def subject_of(stream: StreamName) -> Subject | None:
    """Return the subject of a stream, None if it tells changes. A stream of all markets tells an array of states."""
    if stream.symbol:
        return SUBJECTS.get(stream.subject)
    return SUBJECTS[stream.subject.removeprefix("!").removesuffix("@arr")]
