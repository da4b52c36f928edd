"""From trades to what describes a minute of a market. Pure, integers only."""

from typing import Final

from msgspec import Struct

from runtime.shared.trade_records import TradeRecord

MINUTE_US: Final = 60_000_000
PPM: Final = 1_000_000
_FRACTION_BITS: Final = 10


class Features(Struct, frozen=True, array_like=True):
    """One minute. Each is the larger the less ordinary; a quiet minute is no anomaly."""

    volume: int
    """Lots traded, in thousandths of a doubling: 1000 more is twice as much."""
    trades: int
    """Number of trades, likewise."""
    move: int
    """From the first price to the last, up or down, in parts per million."""
    span: int
    """From the lowest price to the highest, in parts per million of the lowest."""
    one_sided: int
    """How far takers bought more than they sold, or the other way round, in parts per million of the lots."""


NAMES: Final = Features.__struct_fields__


class Minute(Struct):
    """A minute that is not over yet."""

    start_us: int
    first: int
    low: int
    high: int
    last: int
    lots: int
    trades: int
    bought_lots: int
    """Of trades whose taker bought."""
    last_us: int
    last_trade_id: int


def minute_of(time_us: int) -> int:
    """Return the start of the minute of a time."""
    return time_us // MINUTE_US * MINUTE_US


def begin(trade: TradeRecord) -> Minute:
    """Return the minute that `trade` is the first of."""
    price = trade.price_ticks
    minute = Minute(minute_of(trade.time_us), price, price, price, price, 0, 0, 0, 0, 0)
    count(minute, trade)
    return minute


def count(minute: Minute, trade: TradeRecord) -> None:
    """Take one more trade into `minute`."""
    minute.low = min(minute.low, trade.price_ticks)
    minute.high = max(minute.high, trade.price_ticks)
    minute.last = trade.price_ticks
    minute.lots += trade.lots
    minute.trades += 1
    minute.bought_lots += 0 if trade.buyer_is_maker else trade.lots
    minute.last_us = max(minute.last_us, trade.time_us)
    minute.last_trade_id = trade.trade_id


def features(minute: Minute) -> Features:
    """Describe a minute that is over."""
    return Features(
        volume=doublings(minute.lots),
        trades=doublings(minute.trades),
        move=abs(minute.last - minute.first) * PPM // minute.first,
        span=(minute.high - minute.low) * PPM // minute.low,
        one_sided=abs(2 * minute.bought_lots - minute.lots) * PPM // minute.lots,
    )


def doublings(number: int) -> int:
    """Return the binary logarithm of a positive number in thousandths, rounded down to a 1024th; the same anywhere."""
    whole = number.bit_length() - 1
    rest = (number << 64) >> whole  # from 1 to below 2, with 64 bits behind the point
    fraction = 0
    for _ in range(_FRACTION_BITS):
        rest = rest * rest >> 64
        fraction <<= 1
        if rest >> 65:
            fraction |= 1
            rest >>= 1
    return whole * 1000 + fraction * 1000 // (1 << _FRACTION_BITS)
