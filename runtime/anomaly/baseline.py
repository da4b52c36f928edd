"""What is usual in a market, and how far a minute is from it. Pure, integers only.

For each feature the baseline has the median of past minutes and their spread: 1.4826 times the median distance from the
median, which for a normal distribution is the standard deviation, and which a few wild minutes cannot move. A minute's
score is the distance of the feature that stands out most, in thousandths of that spread (a robust z-score).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from runtime.anomaly.features import NAMES, PPM, Features

MINUTES_MIN: Final = 60
"""Fewer minutes say nothing of what is usual."""
ALERT: Final = 12_000
"""A score from here on is a finding: twelve spreads. The operator's choice; no rule that we know gives a figure."""
UNUSUAL: Final = 4_000
"""A score from here on is unusual; how many are tells whether the baseline still fits."""
_SPREAD_MIN: Final = Features(volume=250, trades=250, move=300, span=300, one_sided=100_000)
"""Below these a spread is no measure: a market that stood still would make news of its first tick."""


class Baseline(Struct, frozen=True):
    """What is usual in one market. In the order of the features."""

    minutes: int
    medians: Features
    spreads: Features


class Score(Struct, frozen=True):
    """How unusual a minute is, and in what."""

    value: int
    feature: str


class BaselineError(ValueError):
    """There is too little to learn from."""


def fit(history: Sequence[Features]) -> Baseline:
    """Return what is usual in `history`, of which order does not matter. Raises BaselineError below MINUTES_MIN."""
    if len(history) < MINUTES_MIN:
        raise BaselineError(f"a baseline needs at least {MINUTES_MIN} minutes with trades, had {len(history)}")
    medians, spreads = [], []
    for name in NAMES:
        values = [getattr(each, name) for each in history]
        middle = _median(values)
        distance = _median([abs(value - middle) for value in values])
        medians.append(middle)
        spreads.append(max(distance * 14_826 // 10_000, getattr(_SPREAD_MIN, name)))
    return Baseline(len(history), Features(*medians), Features(*spreads))


def score(baseline: Baseline, minute: Features) -> Score:
    """Return how far `minute` is above what is usual; 0 where nothing is."""
    best = Score(0, NAMES[0])
    for name in NAMES:
        above = getattr(minute, name) - getattr(baseline.medians, name)
        best = max(
            best, Score(max(0, above) * 1000 // getattr(baseline.spreads, name), name), key=lambda each: each.value
        )
    return best


def drift_ppm(scores: Sequence[int]) -> int:
    """Return which share of `scores` is unusual, in parts per million; 0 of none."""
    return sum(value >= UNUSUAL for value in scores) * PPM // len(scores) if scores else 0


def fit_all(history: Mapping[int, Sequence[Features]]) -> dict[int, Baseline]:
    """Return the baseline of each market that has enough minutes."""
    return {market: fit(minutes) for market, minutes in history.items() if len(minutes) >= MINUTES_MIN}


def _median(values: Sequence[int]) -> int:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) // 2
