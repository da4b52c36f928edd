"""Other venues for one machine: they trade at our own prices, and tell them in the formats of the real ones.

Nothing here knows what the world pays, so the exchange's own best prices stand in for it: each venue quotes around
them, a little apart from the others. A market that has no quotes here has none there. What a venue is asked for is not
checked; it tells everything.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import sys
from typing import Any, Final

from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from config.markets import CATALOGUE
from runtime.market_maker.client import Stream, UnavailableError
from runtime.price_feed.venues import BITSTAMP, COINBASE, KRAKEN, VENUES
from runtime.shared.money import format_decimal, parse_decimal

logger = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
EVERY_S: Final = 0.5
DECIMALS: Final = 18
PPM: Final = 1_000_000
APART_PPM: Final = {COINBASE.name: -200, KRAKEN.name: 0, BITSTAMP.name: 300}
"""How far each venue is from the exchange."""
Pair = tuple[str, str]
"""Base and quote asset."""


def ticker(venue: str, pair: Pair, bid: str, ask: str) -> dict[str, Any]:
    """Return what `venue` sends when these are its best prices."""
    base, quote = pair
    match venue:
        case COINBASE.name:
            return {"type": "ticker", "product_id": f"{base}-{quote}", "best_bid": bid, "best_ask": ask}
        case KRAKEN.name:
            data = {"symbol": f"{base}/{quote}", "bid": bid, "ask": ask}
            return {"channel": "ticker", "type": "update", "data": [data]}
        case BITSTAMP.name:
            book = {"bids": [[bid, "1"]], "asks": [[ask, "1"]]}
            return {"event": "data", "channel": f"order_book_{base}{quote}".lower(), "data": book}
    raise ValueError(f"a venue is one of {', '.join(each.name for each in VENUES)}, was {venue!r}")


def moved(price: str, ppm: int) -> str:
    """Return `price` moved by `ppm` parts of a million."""
    return format_decimal(parse_decimal(price, DECIMALS) * (PPM + ppm) // PPM, DECIMALS, DECIMALS)


class _Client(WSListener):
    """Whoever listens."""

    def __init__(self, clients: set[WSTransport]) -> None:
        self._clients = clients

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._clients.add(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._clients.discard(transport)


class SimulatedVenue:
    """One venue: whoever connects hears of every price that it is given."""

    def __init__(self, name: str) -> None:
        """Open the venue called `name`."""
        self.name = name
        self.port = 0
        self._clients: set[WSTransport] = set()
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> None:
        """Listen at `port`, or at any that is free."""
        self._server = await ws_create_server(self._greet, HOST, port)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Stop listening, and hang up on everyone."""
        if self._server:
            self._server.close()
        for client in list(self._clients):
            client.disconnect()

    def _greet(self, _request: WSUpgradeRequest) -> WSListener:
        return _Client(self._clients)

    def quote(self, pair: Pair, bid: str, ask: str) -> None:
        """Tell everyone of new best prices."""
        self.send(json.dumps(ticker(self.name, pair, bid, ask)).encode())

    def send(self, message: bytes) -> None:
        """Tell everyone something, be it what it may."""
        for client in list(self._clients):
            client.send(WSMsgType.TEXT, message)


class Mirror:
    """Has venues repeat the best prices of the exchange, again and again: what is not repeated grows old."""

    def __init__(self, venues: list[SimulatedVenue]) -> None:
        """Repeat at `venues`."""
        self._venues = venues
        self._best: dict[str, tuple[str, str]] = {}

    async def follow(self, url: str) -> None:
        """Follow the public streams at `url` for ever, over every loss of the connection."""
        streams = [f"{symbol.lower()}@bookTicker" for symbol in CATALOGUE.market_by_symbol]
        while True:
            stream = Stream(self._hear)
            with contextlib.suppress(UnavailableError):  # it is not up yet, or restarts
                await stream.open(url, streams)
            while stream.is_open:
                self._repeat()
                await asyncio.sleep(EVERY_S)
            await asyncio.sleep(EVERY_S)

    def _hear(self, event: dict[str, Any]) -> None:
        self._best[event["s"]] = event["b"], event["a"]

    def _repeat(self) -> None:
        for symbol, (bid, ask) in self._best.items():
            market = CATALOGUE.market_by_symbol[symbol]
            if not parse_decimal(bid, DECIMALS) or not parse_decimal(ask, DECIMALS):
                continue  # nobody quotes it now
            for venue in self._venues:
                apart = APART_PPM[venue.name]
                venue.quote((market.base, market.quote), moved(bid, apart), moved(ask, apart))


async def main(exchange: str, ports: dict[str, int]) -> None:
    """Open the venues and mirror the exchange for ever."""
    venues = [SimulatedVenue(name) for name in ports]
    for venue in venues:
        await venue.start(ports[venue.name])
    await Mirror(venues).follow(exchange)


def _listening(text: str) -> tuple[str, int]:
    name, _, port = text.partition("=")
    if name not in APART_PPM or not port.isdigit():
        raise argparse.ArgumentTypeError(f"NAME=PORT, NAME one of {', '.join(APART_PPM)}, was {text!r}")
    return name, int(port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m local.simulated_venues", description=__doc__)
    parser.add_argument("--exchange", required=True, help="URL of the streams of the exchange whose prices they repeat")
    parser.add_argument("--port", type=_listening, action="append", required=True, help="NAME=PORT of a venue")
    options = parser.parse_args()
    try:
        asyncio.run(main(options.exchange, dict(options.port)))
    except KeyboardInterrupt:
        sys.exit(0)
