"""Rolling statistics equal those worked out from all trades, at any time."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from runtime.market_data.candles import Bar
from runtime.market_data.tickers import WINDOW_MINUTES_MAX, Lookback, RollingWindow, Statistics
from runtime.market_data.trades import Trade
from tests.runtime.market_data.events import START_MS, tapes


def naive(minutes: int, trades: Sequence[Trade], now_ms: int) -> Statistics:
    start_ms = (now_ms // 60_000 - minutes) * 60_000
    inside = [trade for trade in trades if trade.time_ms >= start_ms]
    before = [trade.price for trade in trades if trade.time_ms < start_ms]
    last = trades[-1].price if trades else 0
    prices = [trade.price for trade in inside] or [last]
    return Statistics(
        open=prices[0],
        high=max(prices),
        low=min(prices),
        last=last,
        previous_close=before[-1] if before else 0,
        lots=sum(trade.lots for trade in inside),
        turnover=sum(trade.price * trade.lots for trade in inside),
        trades=len(inside),
        first_id=inside[0].trade_id if inside else -1,
        last_id=inside[-1].trade_id if inside else -1,
        open_ms=start_ms,
    )


def bar_of(trade: Trade) -> Bar:
    bar = Bar()
    bar.add(trade)
    return bar


@given(tapes(), st.sampled_from((1, 5, 60)), st.sets(st.integers(0, 60)), st.integers(0, 500_000))
def test_rolling_equals_recomputed(trades: list[Trade], minutes: int, looks: set[int], rest_ms: int) -> None:
    window = RollingWindow(minutes)
    for number, trade in enumerate(trades):
        window.add(trade.time_ms // 1000 * 1000, bar_of(trade))
        if number in looks:
            assert window.statistics(trade.time_ms) == naive(minutes, trades[: number + 1], trade.time_ms)
    end_ms = trades[-1].time_ms if trades else START_MS
    for now_ms in range(end_ms, end_ms + rest_ms, 61_000):
        assert window.statistics(now_ms) == naive(minutes, trades, now_ms)


@given(tapes(), st.sampled_from((1, 5, 60)))
def test_refilling_from_minutes_equals_following(trades: list[Trade], minutes: int) -> None:
    now_ms = (trades[-1].time_ms if trades else START_MS) + 30_000
    window = RollingWindow(minutes)
    first_ms = window.first_ms(now_ms)
    window.before(next((trade.price for trade in reversed(trades) if trade.time_ms < first_ms), 0))
    bars: dict[int, Bar] = {}
    for trade in trades:
        if trade.time_ms >= first_ms:
            bars.setdefault(trade.time_ms // 60_000 * 60_000, Bar()).add(trade)
    for time_ms, bar in bars.items():
        window.add(time_ms, bar)
    assert window.statistics(now_ms) == naive(minutes, trades, now_ms)


@given(tapes(pause_ms_max=40_000_000), st.sets(st.integers(1, WINDOW_MINUTES_MAX), min_size=1), st.integers(0, 500_000))
def test_any_window_of_a_week_equals_recomputed(trades: list[Trade], lengths: set[int], rest_ms: int) -> None:
    lookback = Lookback()
    for trade in trades:
        lookback.add(trade.time_ms // 1000 * 1000, bar_of(trade))
    now_ms = (trades[-1].time_ms if trades else START_MS) + rest_ms
    for minutes in (*lengths, 1, 60, WINDOW_MINUTES_MAX):
        assert lookback.statistics(now_ms // 60_000 - minutes) == naive(minutes, trades, now_ms)
