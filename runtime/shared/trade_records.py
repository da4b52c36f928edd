"""What the trade stream carries: one record holds a batch of trades, in the engine's order.

A record may come twice, and after a failure trades may be missing from the stream: a reader knows both from the trade
ids, which count by one per market. The ledger holds every trade.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

import msgspec
from msgspec import Struct

from runtime.shared.messages import Traded

TRADES_SCHEMA: Final = "bursa.trades.1"


class TradeRecord(Struct, frozen=True, gc=False):
    """One match, in the engine's integers; see `messages.Traded`."""

    market: int
    symbol: str
    trade_id: int
    price_ticks: int
    lots: int
    buyer_is_maker: bool
    buy_order_id: int
    sell_order_id: int
    buyer: int
    seller: int
    buyer_fee: int
    seller_fee: int
    time_us: int
    sequence: int
    buyer_fee_asset: int = -1
    """Below 0: what that side received."""
    seller_fee_asset: int = -1


class Place(Struct, frozen=True):
    """Where a batch begins or ends: market, and sequence of the command."""

    market: int
    sequence: int


class TradeBatch(Struct, frozen=True):
    """One record of the stream, as JSON."""

    schema: str
    group: str
    first: Place
    last: Place
    trades: list[TradeRecord]


def record(symbol: str, trade: Traded, sequence: int, time_us: int) -> TradeRecord:
    """Return one trade of the command at `sequence`."""
    return TradeRecord(
        trade.market,
        symbol,
        trade.trade_id,
        trade.price,
        trade.lots,
        trade.buyer_is_maker,
        trade.buy_order_id,
        trade.sell_order_id,
        trade.buyer,
        trade.seller,
        trade.buyer_fee,
        trade.seller_fee,
        time_us,
        sequence,
        trade.buyer_fee_asset,
        trade.seller_fee_asset,
    )


def encode_batch(group: str, trades: list[TradeRecord]) -> bytes:
    """Return the record of `trades`, of which there is at least one."""
    first, last = trades[0], trades[-1]
    return msgspec.json.encode(
        TradeBatch(TRADES_SCHEMA, group, Place(first.market, first.sequence), Place(last.market, last.sequence), trades)
    )


class SchemaError(ValueError):
    """A record of a schema that is not known here."""

    def __init__(self, schema: str) -> None:
        """Keep the `schema` that was given."""
        super().__init__(f"schema must be {TRADES_SCHEMA!r}, was {schema!r}")
        self.schema = schema


_decode: Final = msgspec.json.Decoder(TradeBatch).decode


def decode_batch(data: bytes | str) -> TradeBatch:
    """Return the batch in a record. Raises SchemaError, or msgspec's errors for what is no batch at all."""
    batch = _decode(data)
    if batch.schema != TRADES_SCHEMA:
        raise SchemaError(batch.schema)
    return batch


def by_market(trades: Iterable[TradeRecord]) -> Iterator[tuple[int, Iterator[TradeRecord]]]:
    """Yield each market and its trades, in their order."""
    return groupby(sorted(trades, key=_place), key=lambda trade: trade.market)


def _place(trade: TradeRecord) -> tuple[int, int]:
    return trade.market, trade.trade_id
