"""The link to the market data service: questions about the market, answered with the JSON that clients get.

Errors:
    MarketLinkError
    ├── MarketUnavailableError  no link, or no answer in time
    └── MarketBusyError         too many questions wait already; this one was not sent
"""

import asyncio
import logging
from typing import Final

from msgspec import MsgspecError
from msgspec.structs import replace

from runtime.shared.backoff import Backoff
from runtime.shared.frames import frame, read_frame
from runtime.shared.market_messages import (
    AskAggTrades,
    AskAveragePrice,
    AskDepth,
    AskKlines,
    AskTickers,
    AskTrades,
    Told,
    decode_from_market_data,
)
from runtime.shared.messages import encode
from runtime.shared.settings import split_address
from runtime.shared.tasks import end

logger = logging.getLogger(__name__)

MarketQuestion = AskDepth | AskTrades | AskAggTrades | AskKlines | AskAveragePrice | AskTickers

WAITING_MAX: Final = 4_096
ANSWER_TIMEOUT_S: Final = 5.0
_CONNECT_TIMEOUT_S: Final = 5.0
_BACKOFF_MIN_S: Final = 0.05
_BACKOFF_MAX_S: Final = 1.0


class MarketLinkError(Exception):
    """Base of what can go wrong between a gateway and the market data service."""


class MarketUnavailableError(MarketLinkError, ConnectionError):
    """There is no link, or no answer came in time."""


class MarketBusyError(MarketLinkError):
    """Too many questions are waiting; this one was not sent."""


class MarketLink:
    """Asks questions over one connection, which it keeps up. A broken connection fails what waits: reads can repeat."""

    def __init__(self, address: str) -> None:
        """Prepare a link to the service at `address` (host:port); `start` connects."""
        self.connected = False
        self._address = address
        self._waiting: dict[int, asyncio.Future[Told]] = {}
        self._next = 1
        self._outbox: list[MarketQuestion] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to connect, and keep connected until `stop`."""
        self._task = asyncio.create_task(self._keep_connected())

    async def stop(self) -> None:
        """Close the link; whoever still waits gets MarketUnavailableError."""
        if self._task:
            await end(self._task)
        self._fail("the link to market data was closed")

    async def ask(self, question: MarketQuestion, timeout_s: float = ANSWER_TIMEOUT_S) -> tuple[int, bytes]:
        """Return the answer as (code, body): code 0 and the JSON for the client, or a documented code and its text.

        The id of `question` is ours to fill in. Raises MarketBusyError or MarketUnavailableError.
        """
        if not self.connected:
            raise MarketUnavailableError(f"no link to market data at {self._address}")
        if len(self._waiting) >= WAITING_MAX:
            raise MarketBusyError(f"{len(self._waiting)} questions wait; at most {WAITING_MAX} may")
        number = self._next
        self._next += 1
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._outbox.append(replace(question, id=number))
        self._wake.set()
        try:
            told = await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            raise MarketUnavailableError(f"no answer from market data within {timeout_s:g} s") from None
        finally:
            self._waiting.pop(number, None)
        return told.code, told.body

    def _fail(self, reason: str) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(MarketUnavailableError(reason))

    async def _keep_connected(self) -> None:
        host, port = split_address(self._address)
        backoff = Backoff(_BACKOFF_MIN_S, _BACKOFF_MAX_S)
        while True:
            try:
                reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), _CONNECT_TIMEOUT_S)
            except (OSError, TimeoutError) as error:
                logger.debug("no market data at %s: %s", self._address, error)
                await backoff.pause()
                continue
            backoff.connected()
            logger.info("linked to market data at %s", self._address)
            try:
                await self._converse(reader, writer)
            except (OSError, EOFError, MsgspecError) as error:
                logger.warning("link to market data broke: %r", error)
            finally:
                self.connected = False
                self._outbox.clear()
                self._fail("the link to market data broke")
                writer.close()
            await backoff.pause()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pump both directions until one breaks."""
        self.connected = True
        writing = asyncio.create_task(self._write(writer))
        try:
            while True:
                for message in decode_from_market_data(await read_frame(reader)):
                    if isinstance(message, Told):
                        future = self._waiting.get(message.id)
                        if future is not None and not future.done():
                            future.set_result(message)
        finally:
            await end(writing, OSError)  # a broken pipe shows on the reading side

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            questions, self._outbox = self._outbox, []
            if questions:
                writer.write(frame(encode(questions)))
                await writer.drain()
