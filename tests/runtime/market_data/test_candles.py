"""Candles share out the trades among them, whatever the interval and however they came in."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.market_data.candles import (
    Bar,
    Candle,
    Candles,
    CandleSeries,
    earliest_kept_ms,
    next_opening_ms,
    opening_ms,
    step_ms,
)
from runtime.market_data.trades import Trade
from runtime.shared.market_messages import INTERVALS
from tests.runtime.market_data.events import START_MS, deal, tapes

Row = tuple[int, ...]


def bar_of(trades: Sequence[Trade]) -> Bar:
    bar = Bar()
    for trade in trades:
        bar.add(trade)
    return bar


def row(candle: Candle) -> Row:
    return (
        *(candle.open_ms, candle.open, candle.high, candle.low, candle.close, candle.lots, candle.turnover),
        *(candle.taker_buy_lots, candle.taker_buy_turnover, candle.trades, candle.first_id, candle.last_id),
    )


def naive(interval: str, trades: Sequence[Trade], until_ms: int) -> list[Row]:
    """Candles by the book: for every interval from the first trade's on, look at all trades."""
    rows: list[Row] = []
    open_ms = opening_ms(interval, trades[0].time_ms) if trades else until_ms + 1
    price = 0
    while open_ms <= until_ms:
        inside = [t for t in trades if opening_ms(interval, t.time_ms) == open_ms]
        prices = [t.price for t in inside] or [price]
        bought = [t for t in inside if not t.buyer_is_maker]
        rows.append(
            (
                *(open_ms, prices[0], max(prices), min(prices), prices[-1]),
                *(sum(t.lots for t in inside), sum(t.price * t.lots for t in inside)),
                *(sum(t.lots for t in bought), sum(t.price * t.lots for t in bought)),
                *(len(inside), inside[0].trade_id if inside else -1, inside[-1].trade_id if inside else -1),
            )
        )
        price = prices[-1]
        open_ms = next_opening_ms(interval, open_ms)
    return rows


@given(tapes(), st.integers(0, 400_000))
def test_candles_partition_the_trades(trades: list[Trade], rest_ms: int) -> None:
    candles = Candles(kept=100_000)
    until_ms = (trades[-1].time_ms if trades else START_MS) + rest_ms
    seconds: dict[int, list[Trade]] = {}
    for trade in trades:
        seconds.setdefault(trade.time_ms // 1000, []).append(trade)
    for second, inside in seconds.items():
        half = len(inside) // 2  # a second may be settled in parts
        for part in filter(None, (inside[:half], inside[half:])):
            candles.add(second * 1000, bar_of(part))
    candles.advance(until_ms)
    for interval, series in candles.series.items():
        if interval == "1s":
            assert sum(candle.trades for candle in series.candles) == len(trades)
        else:
            assert [row(candle) for candle in series.candles] == naive(interval, trades, until_ms)


@given(tapes(pause_ms_max=5_000), st.lists(st.integers(0, 60), max_size=8))
def test_a_trade_that_comes_after_its_candle_closed_still_counts_there(trades: list[Trade], early: list[int]) -> None:
    """The clock may close a candle before the engine's last trades of that time arrive."""
    series = CandleSeries("1s", 100_000)
    told: dict[int, Row] = {}
    for number, trade in enumerate(trades):
        series.add(trade.time_ms // 1000 * 1000, bar_of([trade]))
        if number in early:
            series.advance(trade.time_ms + 3_000)
            told |= {candle.open_ms: row(candle) for candle in series.take_closed()}
    end_ms = (trades[-1].time_ms if trades else START_MS) + 10_000
    series.advance(end_ms)
    told |= {candle.open_ms: row(candle) for candle in series.take_closed()}
    expected = naive("1s", trades, end_ms)
    assert [row(candle) for candle in series.candles] == expected
    assert sorted(told.values()) == expected[:-1]  # whoever keeps the last word per candle has them all right


@given(st.integers(0, 4 * 10**12), st.sampled_from(list(INTERVALS)))
def test_intervals_tile_time(time_ms: int, interval: str) -> None:
    open_ms = opening_ms(interval, time_ms)
    next_ms = next_opening_ms(interval, open_ms)
    assert open_ms <= time_ms < next_ms
    assert opening_ms(interval, open_ms) == opening_ms(interval, next_ms - 1) == open_ms
    assert opening_ms(interval, next_ms) == next_ms
    opened = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=open_ms)
    if interval == "1w":
        assert (opened.weekday(), opened.hour, opened.minute, opened.second) == (0, 0, 0, 0)
    if interval == "1M":
        assert (opened.day, opened.hour, opened.minute, opened.second) == (1, 0, 0, 0)
        assert 28 <= (next_ms - open_ms) // 86_400_000 <= 31
    assert open_ms % step_ms(interval) == next_ms % step_ms(interval) == 0


def test_the_month_after_december_is_january() -> None:
    december = int(datetime(2026, 12, 31, 23, 59, tzinfo=UTC).timestamp() * 1000)
    january = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp() * 1000)
    assert next_opening_ms("1M", opening_ms("1M", december)) == january


def test_only_the_newest_candles_are_kept_and_a_long_silence_costs_no_more() -> None:
    series = CandleSeries("1s", 10)
    series.add(START_MS, bar_of([deal(1, 100, 1)]))
    series.advance(START_MS + 10**12)
    assert len(series.candles) == 10
    assert [candle.close for candle in series.candles] == [100] * 10
    assert series.candles[-1].open_ms == START_MS + 10**12
    assert series.candles[0].open_ms == earliest_kept_ms("1s", START_MS + 10**12, 10)


def test_without_a_trade_there_is_no_candle() -> None:
    series = CandleSeries("1m")
    series.advance(START_MS)
    assert series.last is None
    assert series.take_closed() == []


@pytest.mark.parametrize(
    ("start", "end", "limit", "expected"),
    [
        (-1, -1, 3, [7, 8, 9]),
        (2, -1, 3, [2, 3, 4]),
        (-1, 4, 2, [3, 4]),
        (2, 3, 9, [2, 3]),
        (5, 4, 9, []),
        (20, -1, 9, []),
    ],
)
def test_pages(start: int, end: int, limit: int, expected: list[int]) -> None:
    series = CandleSeries("1s")
    series.add(START_MS, bar_of([deal(1, 100, 1)]))
    series.advance(START_MS + 9_000)
    given_start, given_end = (-1 if number < 0 else START_MS + number * 1000 for number in (start, end))
    found = series.between(given_start, given_end, limit)
    assert [(candle.open_ms - START_MS) // 1000 for candle in found] == expected


@given(tapes(pause_ms_max=3 * 86_400_000), st.integers(0, 59))
def test_refilling_from_bars_gives_the_same_candles_as_following_trades(trades: list[Trade], cut: int) -> None:
    until_ms = (trades[-1].time_ms if trades else START_MS) + 3_600_000
    for interval in INTERVALS:
        step = step_ms(interval)
        followed = CandleSeries(interval, 200)
        bars: dict[int, Bar] = {}
        for trade in trades:
            followed.add(trade.time_ms, bar_of([trade]))
            bars.setdefault(trade.time_ms // step * step, Bar()).add(trade)
        followed.advance(until_ms)
        first_ms = earliest_kept_ms(interval, until_ms, 200 - cut)
        before = [t.price for t in trades if t.time_ms < first_ms]
        refilled = CandleSeries(interval, 200)
        refilled.refill(
            first_ms, [(time, bar) for time, bar in bars.items() if time >= first_ms], before[-1] if before else 0
        )
        refilled.advance(until_ms)
        expected = [row(candle) for candle in followed.candles if candle.open_ms >= first_ms]
        assert [row(candle) for candle in refilled.candles] == expected
