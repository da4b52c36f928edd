"""What the trade stream carries: one record holds a batch of trades, in the engine's order.

A record may come twice, and after a failure trades may be missing from the stream: a reader knows both from the trade
ids, which count by one per market. The ledger holds every trade.
"""

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
    """One record of the stream, as JSON. Refuse one whose `schema` is not known."""

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


decode_batch: Final = msgspec.json.Decoder(TradeBatch).decode
