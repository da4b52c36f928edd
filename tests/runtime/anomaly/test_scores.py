"""What is usual is learned from what was, what stands out is told, and the same trades always give the same scores."""

import math
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.anomaly.baseline import (
    ALERT,
    MINUTES_MIN,
    UNUSUAL,
    Baseline,
    BaselineError,
    Score,
    drift_ppm,
    fit,
    fit_all,
    score,
)
from runtime.anomaly.features import NAMES, Features, begin, count, doublings, features
from runtime.anomaly.scorer import DRIFT_OVER, LEARNED, Memory, Scored, take
from runtime.shared.trade_records import TradeRecord
from runtime.surveillance.findings import ANOMALY
from tests.runtime.surveillance.test_detectors import trade

ZERO_US = 1_790_000_040_000_000
"""The start of a minute."""


def at(number: int, minute: int, price: int = 100_000, lots: int = 10, **other: Any) -> TradeRecord:
    return msgspec.structs.replace(
        trade(number, 0, price, lots, **other), time_us=ZERO_US + minute * 60_000_000 + number % 3
    )


def ordinary(minutes: int, seed: int = 1, per_minute: int = 6, start: int = 0) -> list[TradeRecord]:
    """Trades about a price, with sizes and sides by chance."""
    chance = random.Random(seed)
    return [
        msgspec.structs.replace(
            at(1 + start * per_minute + number, start + number // per_minute, 100_000 + chance.randrange(-60, 60)),
            lots=chance.randrange(5, 40),
            buyer_is_maker=chance.random() < 0.5,
        )
        for number in range(minutes * per_minute)
    ]


def scored(memory: Memory, trades: list[TradeRecord]) -> list[Scored]:
    return [each for one in trades if (each := take(memory, one)) is not None]


def taught() -> Memory:
    """A memory that has just learned what is usual."""
    memory = Memory(1)
    assert scored(memory, ordinary(LEARNED + 1)) == []
    assert memory.baseline is not None
    return memory


@given(st.integers(1, 2**62))
def test_doublings_are_the_logarithm(number: int) -> None:
    assert abs(doublings(number) - math.log2(number) * 1000) < 2.5


@given(st.integers(1, 2**61), st.integers(0, 2**61))
def test_more_is_never_fewer_doublings(number: int, more: int) -> None:
    assert doublings(number) <= doublings(number + more)


def test_a_minute_is_described_in_integers() -> None:
    minute = begin(at(1, 0, 100_000, 10))
    count(minute, at(2, 0, 99_000, 20, buyer=1))
    count(minute, msgspec.structs.replace(at(3, 0, 101_000, 34), buyer_is_maker=True))
    assert features(minute) == Features(
        volume=6000,  # 64 lots
        trades=doublings(3),
        move=10_000,
        span=2_000 * 1_000_000 // 99_000,
        one_sided=4 * 1_000_000 // 64,
    )
    assert (minute.last_trade_id, minute.bought_lots) == (3, 30)


def test_a_few_wild_minutes_do_not_move_what_is_usual() -> None:
    usual = [Features(3000 + at, 2000 + at, 100 + at, 200 + at, 300_000 + at) for at in range(80)]
    wild = [Features(20_000, 20_000, 900_000, 900_000, 1_000_000)] * 8
    calm, mixed = fit(usual), fit(usual + wild)
    for name in NAMES:
        assert getattr(mixed.medians, name) - getattr(calm.medians, name) <= 5
        assert getattr(mixed.spreads, name) <= getattr(calm.spreads, name) * 2
    assert score(mixed, wild[0]).value > ALERT
    assert score(mixed, usual[40]).value < UNUSUAL


def test_the_spread_is_that_of_a_normal_distribution() -> None:
    chance = random.Random(3)
    values = [Features(0, 0, 0, 0, round(chance.gauss(500_000, 150_000))) for _ in range(4000)]
    assert fit(values).spreads.one_sided == pytest.approx(150_000, rel=0.05)


def test_too_few_minutes_teach_nothing() -> None:
    few = [Features(1, 1, 1, 1, 1)] * (MINUTES_MIN - 1)
    with pytest.raises(BaselineError, match=f"at least {MINUTES_MIN} minutes with trades, had {MINUTES_MIN - 1}"):
        fit(few)
    assert fit_all({1: few, 2: [*few, few[0]]}).keys() == {2}


def test_the_score_is_of_what_stands_out_most_and_quiet_is_no_anomaly() -> None:
    usual = Baseline(60, Features(5000, 3000, 100, 200, 0), Features(500, 500, 300, 300, 100_000))
    assert score(usual, Features(6000, 3000, 1_300, 200, 0)) == Score(4000, "move")
    assert score(usual, Features(0, 0, 0, 0, 0)).value == 0


def test_a_minute_unlike_those_before_is_told_once_with_what_was_measured() -> None:
    memory = taught()
    quiet = scored(memory, ordinary(30, seed=2, start=LEARNED + 1))
    assert len(quiet) == 30
    assert [each.finding for each in quiet if each.finding] == []
    first = memory.last_trade_id + 1
    burst = [at(first + n, LEARNED + 31, 100_000 + 300 * n, 4_000) for n in range(20)]
    ((told,),) = [scored(memory, [*burst, at(first + 20, LEARNED + 32)])[-1:]]
    finding = told.finding
    assert finding is not None
    assert (finding.kind, finding.market, finding.symbol, finding.accounts) == (ANOMALY, 1, "BTCUSDT", ())
    assert finding.trades == (first + 19,)
    assert (finding.figures["lots"], finding.figures["limit"]) == (80_000, ALERT)
    assert finding.figures["score"] == told.score.value >= ALERT
    assert finding.figures["minute_move"] == 300 * 19 * 1_000_000 // 100_000
    assert finding.first_us == ZERO_US + (LEARNED + 31) * 60_000_000


def test_trades_that_come_again_change_nothing_wherever_the_batch_was_cut() -> None:
    trades = ordinary(LEARNED + 40, seed=5)
    once, again = Memory(1), Memory(1)
    scored(once, trades)
    for cut in range(0, len(trades), 97):
        scored(again, trades[max(0, cut - 50) : cut + 97])  # what was seen comes along once more
        kept = msgspec.msgpack.encode(again)
        again = msgspec.msgpack.decode(kept, type=Memory)
    assert msgspec.msgpack.encode(again) == msgspec.msgpack.encode(once)


def test_a_clock_that_was_set_back_opens_no_older_minute() -> None:
    memory = Memory(1)
    take(memory, at(1, 5))
    take(memory, at(2, 3))
    assert memory.open is not None
    assert (memory.open.trades, memory.open.start_us) == (2, ZERO_US + 5 * 60_000_000)


def test_drift_rises_when_trading_changes_for_good_and_ends_when_that_is_learned() -> None:
    memory = taught()
    before = scored(memory, ordinary(DRIFT_OVER, seed=6, start=LEARNED + 1))[-1].drift_ppm
    start = LEARNED + 1 + DRIFT_OVER
    busier = [msgspec.structs.replace(each, lots=each.lots * 64) for each in ordinary(DRIFT_OVER, seed=7, start=start)]
    during = scored(memory, busier)[-1].drift_ppm
    assert before < 20_000
    assert during > 900_000
    start += DRIFT_OVER
    later = [msgspec.structs.replace(each, lots=each.lots * 64) for each in ordinary(400, seed=8, start=start)]
    assert scored(memory, later)[-1].drift_ppm < 20_000
    assert drift_ppm([]) == 0


def test_what_is_remembered_fits_into_an_item() -> None:
    """DynamoDB takes 400 KB."""
    memory = taught()
    scored(memory, ordinary(LEARNED - 1, seed=9, start=LEARNED + 1))
    assert len(memory.learning) == LEARNED - 1
    assert len(msgspec.msgpack.encode(memory)) < 20_000
