"""What the Flink job does with a record of the trade stream: the detectors of `trades`, market by market. Pure.

The function `handler.follow` runs the very same detectors. Both may run at once: a finding has the same id whoever
finds it, so its case is opened once.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

import msgspec

from runtime.shared.trade_records import TradeRecord, by_market, decode_batch
from runtime.surveillance.findings import encode_finding
from runtime.surveillance.trades import Limits, Watch, observe

OwnersOf = Callable[[Collection[int]], Mapping[int, str]]
"""Looks up who stands behind accounts."""
_decode_trades = msgspec.msgpack.Decoder(list[TradeRecord]).decode
_decode_watch = msgspec.msgpack.Decoder(Watch).decode


class MarketTrades(NamedTuple):
    """The trades of one market in one record: what Flink sends to whoever keeps that market's memory."""

    market: int
    trades: bytes


class Step(NamedTuple):
    """What a market's memory is afterwards, and what was found, as messages for the queue."""

    memory: bytes
    messages: list[str]
    missing: int
    """Trades that never came."""


def split(record: bytes) -> Iterator[MarketTrades]:
    """Yield the trades of each market in a record. Raises SchemaError for a record of another schema."""
    for market, trades in by_market(decode_batch(record).trades):
        yield MarketTrades(market, msgspec.msgpack.encode(list(trades)))


def advance(memory: bytes | None, part: MarketTrades, owners_of: OwnersOf, limits: Limits) -> Step:
    """Take `part` into the memory of its market, which is None at first. What was seen before changes nothing."""
    trades = _decode_trades(part.trades)
    owners = owners_of({account for trade in trades for account in (trade.buyer, trade.seller)})
    watch = Watch(part.market) if memory is None else _decode_watch(memory)
    messages: list[str] = []
    missing = 0
    for trade in trades:
        if seen := observe(watch, trade, owners, limits):
            messages += map(encode_finding, seen.findings)
            missing += seen.missing
    return Step(msgspec.msgpack.encode(watch), messages, missing)
