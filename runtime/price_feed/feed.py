"""Connections to venues, and what follows from them for the engine and the bus. Lost ones are made again, for ever.

Whatever a venue does, the worst is that its quotes are not used: prices are agreed on by the others, or stop.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from runtime.price_feed.reference import MarketPrice
from runtime.price_feed.venues import MESSAGE_BYTES_MAX, Venue, VenueError
from runtime.shared.backoff import Backoff
from runtime.shared.business_events import NotPublishedError, ReferencePriceStopped
from runtime.shared.engine_link import EngineError
from runtime.shared.messages import Rejected, Reply, SetReferencePrice
from runtime.shared.web_socket import connect

logger = logging.getLogger(__name__)

TELL_S: Final = 0.25
"""How often it is looked at whether there is something to tell."""
PULSE_S: Final = 60.0
"""How often the feed logs what it knows; alarms read these lines, and their absence."""
PAUSE_MIN_S: Final = 0.5
PAUSE_MAX_S: Final = 30.0
PARTS_MAX: Final = 64
"""Frames of one message; a venue sends one."""
PENDING_EVENTS_MAX: Final = 100
"""Events kept while the bus does not take them; the oldest go first."""

Send = Callable[[SetReferencePrice], Awaitable[Reply]]
LastPrice = Callable[[int], Awaitable[int]]
"""Returns the price of the last trade in a market, in ticks; 0 before the first."""


class _Connection(WSListener):
    """One WebSocket to a venue. Messages go to `receive`; `ended` is set when it is over, whoever ended it."""

    def __init__(self, receive: Callable[[bytes], None]) -> None:
        self.ended = asyncio.Event()
        self.transport: WSTransport | None = None
        self._receive = receive
        self._parts: list[bytes] = []
        self._size = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            part = frame.get_payload_as_bytes()
            self._parts.append(part)
            self._size += len(part)
            if self._size > MESSAGE_BYTES_MAX or len(self._parts) > PARTS_MAX:
                logger.warning("hung up: a message is over %d bytes or %d frames", MESSAGE_BYTES_MAX, PARTS_MAX)
                transport.disconnect()
            elif frame.fin:
                message, self._parts, self._size = b"".join(self._parts), [], 0
                self._receive(message)
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        del transport
        self.ended.set()


class Feed:
    """Follows `venues` and tells what they agree on, market by market."""

    def __init__(
        self,
        prices: Sequence[MarketPrice],
        venues: Sequence[Venue],
        *,
        send: Send,
        last_price: LastPrice,
        publish: Callable[[ReferencePriceStopped], None],
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """Prepare; `publish` blocks, and is called in a thread."""
        self._prices = prices
        self._venues = venues
        self._send = send
        self._last_price = last_price
        self._publish = publish
        self._now_us = now_us
        self._pending: list[ReferencePriceStopped] = []
        self._connected: set[str] = set()

    async def forever(self) -> None:
        """Follow every venue, and tell. Ends only by a bug."""
        async with asyncio.TaskGroup() as group:
            for venue in self._venues:
                group.create_task(self._follow(venue))
            group.create_task(self._tell_forever())
            group.create_task(self._publish_forever())
            group.create_task(self._pulse_forever())

    # ---- in ------------------------------------------------------------------------------------------------------

    async def _follow(self, venue: Venue) -> None:
        symbols = [venue.symbol(price.market.base, price.market.quote) for price in self._prices]
        backoff = Backoff(PAUSE_MIN_S, PAUSE_MAX_S)
        while True:
            try:
                listener = await connect(
                    lambda: _Connection(lambda message: self._receive(venue, message)),
                    venue.url,
                    max_frame_size=MESSAGE_BYTES_MAX,
                )
            except ConnectionError as error:
                logger.warning("%s does not answer, this is tried again: %s", venue.name, error)
                await backoff.pause()
                continue
            assert listener.transport
            backoff.connected()
            logger.info("listens to %s", venue.name)
            self._connected.add(venue.name)
            for request in venue.subscriptions(symbols):
                listener.transport.send(WSMsgType.TEXT, request.encode())
            try:
                await listener.ended.wait()
            finally:
                listener.transport.disconnect()
                self._connected.discard(venue.name)
                for price in self._prices:
                    price.forget(venue)
            logger.warning("the connection to %s is lost, it is made again", venue.name)
            await backoff.pause()

    def _receive(self, venue: Venue, message: bytes) -> None:
        try:
            quotes = venue.read(message)
        except VenueError as error:
            logger.warning("passed over: %s", error)
            return
        now_us = self._now_us()
        for quote in quotes:
            for price in self._prices:
                price.see(venue, quote, now_us)

    # ---- out -----------------------------------------------------------------------------------------------------

    async def _tell_forever(self) -> None:
        while True:
            await self.tell()
            await asyncio.sleep(TELL_S)

    async def tell(self) -> None:
        """Tell the engine what it has to hear now, and note what the bus has to.

        What the engine does not take grows old there by itself.
        """
        for price in self._prices:
            command, event = price.tell(self._now_us())
            if event is not None:
                logger.warning("no reference price of %s: %s", event.symbol, event.reason)
                self._pending = [*self._pending, event][-PENDING_EVENTS_MAX:]
            if command is not None:
                await self._command(price, command)

    async def _command(self, price: MarketPrice, command: SetReferencePrice) -> None:
        try:
            reply = await self._send(command)
        except EngineError as error:
            logger.warning("the engine does not take the price of %s: %s", price.market.symbol, error)
        else:
            if isinstance(reply, Rejected):
                logger.error("the engine refuses %d ticks for %s: %s", command.price, price.market.symbol, reply.detail)

    async def _publish_forever(self) -> None:
        """Put events on the bus, by a task of its own: a bus that hangs must not hold up prices."""
        while True:
            await asyncio.sleep(TELL_S)
            while self._pending:
                event = self._pending[0]
                try:
                    await asyncio.to_thread(self._publish, event)
                except (NotPublishedError, BotoCoreError, ClientError) as error:
                    logger.warning("%d events wait for the bus: %s", len(self._pending), error)
                    break
                self._pending = [each for each in self._pending if each is not event]

    async def _pulse_forever(self) -> None:
        while True:
            await asyncio.sleep(PULSE_S)
            logger.info("pulse", extra=await self.pulse())

    async def pulse(self) -> dict[str, Any]:
        """Return what the feed knows: venues connected, markets without a price, how far trading is from the others."""
        stopped = sum(not price.ticks for price in self._prices)
        found: dict[str, Any] = {"venues_connected": len(self._connected), "prices_stopped": stopped}
        apart = []
        for price in self._prices:
            try:
                last = await self._last_price(price.market.id)
            except EngineError as error:
                logger.warning("the engine does not tell its last price of %s: %s", price.market.symbol, error)
                continue
            if (ppm := price.apart_ppm(last)) is not None:
                apart.append(ppm)
        return found | ({"apart_ppm": max(apart)} if apart else {})
