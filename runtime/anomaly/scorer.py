"""Scores a market minute by minute as its trades come, and learns what is usual from the minutes before. Pure."""

from collections.abc import Callable
from typing import Final, NamedTuple

from msgspec import Struct

from runtime.anomaly.baseline import ALERT, Baseline, Score, drift_ppm, fit, score
from runtime.anomaly.features import Features, Minute, begin, count, features, minute_of
from runtime.shared.trade_records import TradeRecord
from runtime.surveillance.findings import ANOMALY, Finding

LEARNED: Final = 240
"""Minutes with trades from which a baseline is learned; until it has them, a market is not scored."""
DRIFT_OVER: Final = 120
"""Minutes over which drift is measured."""
Judge = Callable[[int, Baseline, Features], Score]
"""Scores one minute of a market: `by_baseline`, or a model that is asked."""


class Memory(Struct):
    """What is remembered of one market."""

    market: int
    last_trade_id: int = 0
    open: Minute | None = None
    learning: list[Features] = []
    """Minutes since the baseline was learned; LEARNED of them make the next one."""
    baseline: Baseline | None = None
    scores: list[int] = []
    """Of the last DRIFT_OVER minutes."""


class Scored(NamedTuple):
    """A minute that is over."""

    finding: Finding | None
    score: Score
    drift_ppm: int


def by_baseline(_market: int, baseline: Baseline, minute: Features) -> Score:
    """Score by the market's own baseline."""
    return score(baseline, minute)


def take(memory: Memory, trade: TradeRecord, judge: Judge = by_baseline) -> Scored | None:
    """Take the next trade; return the score of the minute that it ended, if it ended one that could be scored.

    A trade that was seen before changes nothing. A clock that was set back does not open an older minute again.
    """
    if trade.trade_id <= memory.last_trade_id:
        return None
    memory.last_trade_id = trade.trade_id
    over = memory.open
    if over is not None and minute_of(trade.time_us) <= over.start_us:
        count(over, trade)
        return None
    memory.open = begin(trade)
    return None if over is None else _close(memory, over, trade.symbol, judge)


def _close(memory: Memory, minute: Minute, symbol: str, judge: Judge) -> Scored | None:
    described = features(minute)
    scored = None
    if memory.baseline is not None:
        given = judge(memory.market, memory.baseline, described)
        memory.scores = [*memory.scores[-(DRIFT_OVER - 1) :], given.value]
        finding = _finding(memory, minute, symbol, described, given) if given.value >= ALERT else None
        scored = Scored(finding, given, drift_ppm(memory.scores))
    memory.learning.append(described)
    if len(memory.learning) >= LEARNED:
        memory.baseline, memory.learning = fit(memory.learning), []
    return scored


def _finding(memory: Memory, minute: Minute, symbol: str, described: Features, given: Score) -> Finding:
    """Return the finding; no account stands out, so it belongs to the market's case of the day."""
    figures = {f"minute_{name}": getattr(described, name) for name in described.__struct_fields__}
    return Finding(
        kind=ANOMALY,
        market=memory.market,
        symbol=symbol,
        accounts=(),
        trades=(minute.last_trade_id,),
        orders=(),
        first_us=minute.start_us,
        last_us=minute.last_us,
        figures={"score": given.value, "limit": ALERT, "lots": minute.lots, **figures},
    )
