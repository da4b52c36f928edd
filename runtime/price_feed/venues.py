"""Public WebSocket formats of other venues: what to ask for, and the best prices in what they send.

Formats are those that the venues document: the `ticker` channel of Coinbase Exchange, the `ticker` channel of Kraken's
version 2, the `order_book` channel of Bitstamp. Prices are read as the text they were sent as, never through a float.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from runtime.shared.catalogue import DECIMALS_MAX
from runtime.shared.money import MoneyError, parse_decimal

MESSAGE_BYTES_MAX: Final = 256 * 1024
"""Larger than any message of these channels; a longer one is refused unread."""
SHOWN_MAX: Final = 60
"""Of a wrong value, how many characters a message repeats."""


class VenueError(ValueError):
    """A venue sent what its documents do not describe. The message names the field and what was given."""


@dataclass(frozen=True, slots=True)
class Quote:
    """Best bid and ask at one venue, in units of 10**-DECIMALS_MAX of the quote asset."""

    symbol: str
    """As the venue calls it."""
    bid: int
    ask: int

    def __post_init__(self) -> None:
        """Refuse a book that cannot be: empty, or crossed."""
        if not 0 < self.bid <= self.ask:
            raise VenueError(f"{self.symbol[:SHOWN_MAX]}: bid {self.bid} must be more than 0, at most ask {self.ask}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """One venue: where it is, how it names a pair, how it is asked, and how its messages are read."""

    name: str
    url: str
    symbol: Callable[[str, str], str]
    """Its name of the market of a base in a quote asset."""
    subscriptions: Callable[[Sequence[str]], list[str]]
    """Messages to send after connecting, for these symbols."""
    quotes: Callable[[Mapping[str, Any]], Iterator[Quote]]

    def read(self, message: str | bytes) -> list[Quote]:
        """Return the quotes in `message`; none in an acknowledgement or a sign of life. Raises VenueError."""
        if len(message) > MESSAGE_BYTES_MAX:
            raise VenueError(f"{self.name}: a message has at most {MESSAGE_BYTES_MAX} bytes, was {len(message)}")
        try:
            body = json.loads(message, parse_float=str, parse_int=str)
        except (ValueError, RecursionError):
            raise VenueError(f"{self.name}: not JSON: {message[:SHOWN_MAX]!r}") from None
        try:
            return list(self.quotes(_object(body, "message")))
        except VenueError as error:
            raise VenueError(f"{self.name}: {error}") from None


def _object(value: Any, name: str) -> Mapping[str, Any]:  # noqa: ANN401 - JSON
    if not isinstance(value, dict):
        raise VenueError(f"{name} must be an object, was {str(value)[:SHOWN_MAX]!r}")
    return value


def _list(value: Any, name: str) -> list[Any]:  # noqa: ANN401 - JSON
    if not isinstance(value, list):
        raise VenueError(f"{name} must be a list, was {str(value)[:SHOWN_MAX]!r}")
    return value


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise VenueError(f"{name} must be a text or number, was {str(value)[:SHOWN_MAX]!r}")
    return value


def _price(body: Mapping[str, Any], name: str) -> int:
    try:
        return parse_decimal(_text(body, name), DECIMALS_MAX)
    except MoneyError as error:
        raise VenueError(f"{name}: {error}") from None


def _best(book: Mapping[str, Any], name: str) -> int:
    """Return the price of the first level, which is the best."""
    levels = _list(book.get(name), name)
    first = _list(levels[0], name) if levels else []
    if not first:
        raise VenueError(f"{name} must have a level with a price")
    return _price({name: first[0]}, name)


def _of_coinbase(body: Mapping[str, Any]) -> Iterator[Quote]:
    if body.get("type") == "error":
        raise VenueError(f"refused: {str(body.get('reason') or body.get('message'))[:SHOWN_MAX]!r}")
    if body.get("type") == "ticker":
        yield Quote(_text(body, "product_id"), _price(body, "best_bid"), _price(body, "best_ask"))


def _of_kraken(body: Mapping[str, Any]) -> Iterator[Quote]:
    if body.get("success") is False:
        raise VenueError(f"refused: {str(body.get('error'))[:SHOWN_MAX]!r}")
    if body.get("channel") == "ticker":
        for entry in _list(body.get("data"), "data"):
            ticker = _object(entry, "data")
            yield Quote(_text(ticker, "symbol"), _price(ticker, "bid"), _price(ticker, "ask"))


_BITSTAMP_BOOK: Final = "order_book_"


def _of_bitstamp(body: Mapping[str, Any]) -> Iterator[Quote]:
    if body.get("event") == "bts:error":
        raise VenueError(f"refused: {str(body.get('data'))[:SHOWN_MAX]!r}")
    channel = body.get("channel")
    if body.get("event") == "data" and isinstance(channel, str) and channel.startswith(_BITSTAMP_BOOK):
        book = _object(body.get("data"), "data")
        yield Quote(channel.removeprefix(_BITSTAMP_BOOK), _best(book, "bids"), _best(book, "asks"))


COINBASE: Final = Venue(
    name="coinbase",
    url="wss://ws-feed.exchange.coinbase.com:443/",
    symbol=lambda base, quote: f"{base}-{quote}",
    subscriptions=lambda symbols: [
        json.dumps({"type": "subscribe", "product_ids": list(symbols), "channels": ["ticker"]})
    ],
    quotes=_of_coinbase,
)
KRAKEN: Final = Venue(
    name="kraken",
    url="wss://ws.kraken.com:443/v2",
    symbol=lambda base, quote: f"{base}/{quote}",
    subscriptions=lambda symbols: [
        json.dumps(
            {
                "method": "subscribe",
                # A quote may change without a trade, and only `bbo` tells of that.
                "params": {"channel": "ticker", "symbol": list(symbols), "event_trigger": "bbo"},
            }
        )
    ],
    quotes=_of_kraken,
)
BITSTAMP: Final = Venue(
    name="bitstamp",
    url="wss://ws.bitstamp.net:443/",
    symbol=lambda base, quote: f"{base}{quote}".lower(),
    subscriptions=lambda symbols: [
        json.dumps({"event": "bts:subscribe", "data": {"channel": f"{_BITSTAMP_BOOK}{symbol}"}}) for symbol in symbols
    ],
    quotes=_of_bitstamp,
)
VENUES: Final = (COINBASE, KRAKEN, BITSTAMP)
