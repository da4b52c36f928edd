"""Detectors over trades, one market at a time, in the engine's order. Pure.

A `Watch` is all they remember of a market: buckets of BUCKET_S seconds over the last half hour. It counts trades by
their ids, which go up by one, so a trade that comes twice is passed over and a missing one is noticed. Shares and
moves are in parts per million, all figures integers, so a replay finds exactly the same.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from runtime.shared.trade_records import TradeRecord
from runtime.surveillance.findings import PUMP, RING, VOLUME_SPIKE, WASH_TRADE, Finding
from runtime.surveillance.rings import Pass, RingLimits, remember, ring

PPM: Final = 1_000_000
BUCKET_S: Final = 30
BUCKETS_KEPT: Final = 60
BUYERS_KEPT: Final = 100
"""Buyers that one bucket tells apart; the lots of any further one count towards no owner."""
_BUCKET_US: Final = BUCKET_S * 1_000_000


class Limits(Struct, frozen=True, kw_only=True):
    """Where ordinary trading ends. The values are the operator's choice; no rule that we know gives figures."""

    move_ppm: int = 50_000
    """A price notice: a move of 5 % within `move_s`."""
    move_s: int = 300
    spike_factor: int = 10
    """A spike: a bucket with so many times the mean of the buckets before it, of which `spike_buckets` had trades."""
    spike_buckets: int = 20
    pump_rise_ppm: int = 100_000
    """A pump: a rise of 10 % within `pump_s`, of whose volume one owner bought at least `pump_share_ppm`."""
    pump_share_ppm: int = 500_000
    pump_s: int = 600
    rings: RingLimits = RingLimits()


class Bucket(Struct):
    """Trading of BUCKET_S seconds. `bought` is in lots, by owner."""

    start_us: int
    first: int
    low: int
    high: int
    last: int
    lots: int
    trades: int
    bought: dict[str, int]


class Watch(Struct):
    """What is remembered of one market."""

    market: int
    last_trade_id: int = 0
    buckets: list[Bucket] = []
    noticed_us: int = 0
    """When the last price notice went out."""
    spiked_us: int = 0
    """Start of the last bucket that was called a spike."""
    passes: list[Pass] = []
    """Who sold how much to whom, oldest first."""


class Move(NamedTuple):
    """A price that went from one value to another within `window_s` seconds."""

    market: int
    symbol: str
    trade_id: int
    time_us: int
    from_ticks: int
    to_ticks: int
    window_s: int


class Observed(NamedTuple):
    """What one trade brought to light."""

    findings: list[Finding]
    moves: list[Move]
    missing: int
    """Trades before this one that never came."""


def observe(watch: Watch, trade: TradeRecord, owners: Mapping[int, str], limits: Limits) -> Observed | None:
    """Take the next trade of the market into `watch`; None for one that was seen before.

    `owners` names who stands behind an account; one that is not in it stands for itself.
    """
    if trade.trade_id <= watch.last_trade_id:
        return None
    missing = trade.trade_id - watch.last_trade_id - 1 if watch.last_trade_id else 0
    watch.last_trade_id = trade.trade_id
    _count(watch, trade, owner_of(trade.buyer, owners))
    findings = [
        *_wash_trade(trade, owners),
        *_volume_spike(watch, trade, limits),
        *_pump(watch, trade, owners, limits),
        *_ring(watch, trade, owners, limits),
    ]
    return Observed(findings, list(_move(watch, trade, limits)), missing)


def owner_of(account: int, owners: Mapping[int, str]) -> str:
    """Return who stands behind `account`."""
    return owners.get(account, f"account:{account}")


def _count(watch: Watch, trade: TradeRecord, buyer: str) -> None:
    start_us = trade.time_us // _BUCKET_US * _BUCKET_US
    if not watch.buckets or watch.buckets[-1].start_us < start_us:
        price = trade.price_ticks
        watch.buckets.append(Bucket(start_us, price, price, price, price, 0, 0, {}))
        oldest_us = start_us - BUCKETS_KEPT * _BUCKET_US
        watch.buckets = [bucket for bucket in watch.buckets if bucket.start_us > oldest_us]
    bucket = watch.buckets[-1]  # a clock that was set back does not open an older bucket again
    bucket.low = min(bucket.low, trade.price_ticks)
    bucket.high = max(bucket.high, trade.price_ticks)
    bucket.last = trade.price_ticks
    bucket.lots += trade.lots
    bucket.trades += 1
    if buyer in bucket.bought or len(bucket.bought) < BUYERS_KEPT:
        bucket.bought[buyer] = bucket.bought.get(buyer, 0) + trade.lots


def _since(watch: Watch, seconds: int) -> list[Bucket]:
    """Return the buckets of the last `seconds`, the current one included."""
    oldest_us = watch.buckets[-1].start_us - seconds * 1_000_000
    return [bucket for bucket in watch.buckets if bucket.start_us > oldest_us]


def _wash_trade(trade: TradeRecord, owners: Mapping[int, str]) -> Iterator[Finding]:
    """Both sides belong to one owner: nothing changed hands, but the tape shows volume."""
    if owner_of(trade.buyer, owners) == owner_of(trade.seller, owners):
        figures = {"price_ticks": trade.price_ticks, "lots": trade.lots}
        yield _finding(WASH_TRADE, trade, {trade.buyer, trade.seller}, trade.time_us, figures)


def _volume_spike(watch: Watch, trade: TradeRecord, limits: Limits) -> Iterator[Finding]:
    *before, current = watch.buckets
    if current.start_us == watch.spiked_us or len(before) < limits.spike_buckets:
        return
    usual = sum(bucket.lots for bucket in before)
    if current.lots * len(before) >= limits.spike_factor * usual:
        watch.spiked_us = current.start_us
        figures = {"lots": current.lots, "usual_lots": usual // len(before), "factor": limits.spike_factor}
        yield _finding(VOLUME_SPIKE, trade, set(), current.start_us, figures)


def _pump(watch: Watch, trade: TradeRecord, owners: Mapping[int, str], limits: Limits) -> Iterator[Finding]:
    window = _since(watch, limits.pump_s)
    base = window[0].first
    if trade.price_ticks * PPM < base * (PPM + limits.pump_rise_ppm) or trade.price_ticks < window[-1].high:
        return  # not up by so much, or not the one that set the new high
    buyer = owner_of(trade.buyer, owners)
    bought = sum(bucket.bought.get(buyer, 0) for bucket in window)
    lots = sum(bucket.lots for bucket in window)
    if bought * PPM >= lots * limits.pump_share_ppm:
        figures = {"from_ticks": base, "to_ticks": trade.price_ticks, "bought_lots": bought, "lots": lots}
        yield _finding(PUMP, trade, {trade.buyer}, window[0].start_us, figures)


def _ring(watch: Watch, trade: TradeRecord, owners: Mapping[int, str], limits: Limits) -> Iterator[Finding]:
    seller, buyer = owner_of(trade.seller, owners), owner_of(trade.buyer, owners)
    if seller == buyer:
        return  # a wash trade, and told as one
    new = Pass(trade.time_us, seller, buyer, trade.lots, 1, trade.seller, trade.buyer, trade.trade_id)
    watch.passes = remember(watch.passes, new, limits.rings)
    if found := ring(watch.passes, seller, buyer, limits.rings):
        figures = {"owners": len(found.lots), "rounds": found.rounds, "lots": sum(found.lots)}
        figures |= {"least_lots": min(found.lots), "most_lots": max(found.lots)}
        finding = _finding(RING, trade, set(found.accounts), found.first_us, figures)
        yield msgspec.structs.replace(finding, trades=found.trades)


def _move(watch: Watch, trade: TradeRecord, limits: Limits) -> Iterator[Move]:
    """Tell of a price once per window: as long as it keeps moving, in the next window again."""
    if trade.time_us < watch.noticed_us + limits.move_s * 1_000_000:
        return
    window = _since(watch, limits.move_s)
    low, high = min(bucket.low for bucket in window), max(bucket.high for bucket in window)
    price = trade.price_ticks
    if price * PPM >= low * (PPM + limits.move_ppm):
        start = low
    elif price * PPM <= high * (PPM - limits.move_ppm):
        start = high
    else:
        return
    watch.noticed_us = trade.time_us
    yield Move(trade.market, trade.symbol, trade.trade_id, trade.time_us, start, price, limits.move_s)


def _finding(kind: str, trade: TradeRecord, accounts: set[int], first_us: int, figures: dict[str, int]) -> Finding:
    return Finding(
        kind=kind,
        market=trade.market,
        symbol=trade.symbol,
        accounts=tuple(sorted(accounts)),
        trades=(trade.trade_id,),
        orders=(),
        first_us=first_us,
        last_us=trade.time_us,
        figures=figures,
    )
