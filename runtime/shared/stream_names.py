"""Names of public market streams: what the WebSocket gateway accepts and the market data service publishes."""

from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from runtime.shared.market_messages import INTERVALS

PARTIAL_DEPTHS: Final = (5, 10, 20)
DEPTH_SPEEDS: Final = ("", "@100ms", "@1000ms")
"""Suffixes of depth streams; none means every 1000 ms."""
TICKER_WINDOWS: Final = ("1h", "4h", "1d")

MARKET_STREAMS: Final = frozenset(
    [
        *("trade", "aggTrade", "bookTicker", "miniTicker", "ticker", "avgPrice"),
        *(f"depth{speed}" for speed in DEPTH_SPEEDS),
        *(f"depth{levels}{speed}" for levels in PARTIAL_DEPTHS for speed in DEPTH_SPEEDS),
        *(f"kline_{interval}" for interval in INTERVALS),
        *(f"ticker_{window}" for window in TICKER_WINDOWS),
    ]
)
"""What may follow `<symbol>@`."""
ALL_MARKETS_STREAMS: Final = frozenset(["!miniTicker@arr", *(f"!ticker_{window}@arr" for window in TICKER_WINDOWS)])

DIFFERENTIAL: Final = frozenset(["trade", "aggTrade", *(f"depth{speed}" for speed in DEPTH_SPEEDS)])
"""Streams whose events are changes. Every event of the others is a state, which replaces the one before."""


class UnknownStreamError(ValueError):
    """There is no stream of that name; the message names it and what is allowed."""


class StreamName(NamedTuple):
    """A stream taken apart: the symbol in upper case, or "" for all markets, and what is told about it."""

    symbol: str
    subject: str


def parse_stream(name: str, symbols: AbstractSet[str]) -> StreamName:
    """Take apart `<symbol>@<subject>`, the symbol in lower case, or one of ALL_MARKETS_STREAMS.

    Raises UnknownStreamError.
    """
    if name in ALL_MARKETS_STREAMS:
        return StreamName("", name)
    lower, _, subject = name.partition("@")
    symbol = lower.upper()
    if symbol not in symbols or lower != symbol.lower() or subject not in MARKET_STREAMS:
        shown = name[:60]
        msg = f"unknown stream '{shown}', expected <symbol>@<stream> with the symbol in lower case"
        raise UnknownStreamError(msg)
    return StreamName(symbol, subject)
