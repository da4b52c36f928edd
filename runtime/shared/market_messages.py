"""What gateways and the market data service say to each other: streams to follow, questions about the market.

Frames of msgpack (see `frames`), lists of the structs below, in both directions. Market data owns every *public*
payload: what it sends is the JSON that a client receives, and the gateway adds only transport. Parameters are already
checked by the gateway; symbols are upper case; times are in milliseconds; -1 means not given.
"""

from typing import Final

from msgspec.msgpack import Decoder

from runtime.shared.messages import Message


class Follow(Message, tag=1):
    """Publish these streams to this gateway from now on (`btcusdt@depth@100ms`, `!miniTicker@arr`, …)."""

    streams: list[str]


class Unfollow(Message, tag=2):
    """Stop publishing these streams to this gateway."""

    streams: list[str]


class AskDepth(Message, tag=3):
    """GET depth. `limit` is 1 to 5000."""

    id: int
    symbol: str
    limit: int


class AskTrades(Message, tag=4):
    """GET trades (`from_id` -1: the newest) and historicalTrades."""

    id: int
    symbol: str
    limit: int
    from_id: int


class AskAggTrades(Message, tag=5):
    """GET aggTrades."""

    id: int
    symbol: str
    from_id: int
    start_ms: int
    end_ms: int
    limit: int


class AskKlines(Message, tag=6):
    """GET klines and uiKlines; `interval` is one of INTERVALS."""

    id: int
    symbol: str
    interval: str
    start_ms: int
    end_ms: int
    limit: int


class AskAveragePrice(Message, tag=7):
    """GET avgPrice."""

    id: int
    symbol: str


class AskTickers(Message, tag=8):
    """GET ticker/24hr (`day`), ticker (`window`), ticker/tradingDay (`session`), ticker/price and ticker/bookTicker.

    The last two are `price` and `book`. `symbols` empty means all. `single` answers an object rather than an array.
    `mini` is type=MINI. `minutes` is how long a `window` is: 1 to 10,080, a week. A `session` began at 00:00 UTC.
    """

    id: int
    kind: str
    symbols: list[str]
    single: bool
    mini: bool = False
    minutes: int = 0


FromGateway = Follow | Unfollow | AskDepth | AskTrades | AskAggTrades | AskKlines | AskAveragePrice | AskTickers


class Told(Message, tag=1):
    """The answer to question `id`: a JSON body for the client; `code` 0, or a documented error code and its text."""

    id: int
    code: int
    body: bytes


class Published(Message, tag=2):
    """One event of `stream`, as JSON. A stream's events arrive in order; depth events never skip an update id."""

    stream: str
    payload: bytes


class Reset(Message, tag=3):
    """The gateway fell behind or market data restarted: what `streams` showed before no longer joins what follows."""

    streams: list[str]
    reason: str


class Followed(Message, tag=4):
    """These streams are followed: whatever happens in them from now on is published to this gateway.

    A gateway tells its client that it is subscribed only then, so that a depth snapshot asked for next cannot be older
    than the first event.
    """

    streams: list[str]


FromMarketData = Told | Published | Reset | Followed

INTERVALS: Final = {
    "1s": 1_000,
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
    "3d": 259_200_000,
    "1w": 604_800_000,
    "1M": 0,
}
"""Kline intervals and their length in milliseconds; a month is of the calendar."""

decode_from_gateway: Final = Decoder(list[FromGateway]).decode
decode_from_market_data: Final = Decoder(list[FromMarketData]).decode
