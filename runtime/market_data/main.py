"""The market data service: the engine's book and the ledger's trades at the start, then the feed for ever.

It keeps nothing on disk. What contradicts itself (a missing update or trade) ends the process, and the next one starts
from the sources again.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

from msgspec import MsgspecError
from pydantic import Field

from runtime.market_data.answers import Answers, Ask, AskArchived, AskError
from runtime.market_data.archive import GROUP, Archive, ArchiveError, open_archive
from runtime.market_data.links import GatewayLink, bound_output
from runtime.market_data.market import MarketView
from runtime.market_data.payloads import Instrument
from runtime.market_data.service import MarketData
from runtime.market_data.trade_stream import TradePublisher, kinesis_put
from runtime.shared import log, shell
from runtime.shared.catalogue import Catalogue, CatalogueError
from runtime.shared.engine_link import EngineLink, EngineUnavailableError, follow_feed
from runtime.shared.frames import FrameError, read_frame
from runtime.shared.market_messages import Follow, FromGateway, Told, Unfollow, decode_from_gateway
from runtime.shared.messages import TRADING, AskMarket, MarketState
from runtime.shared.pulse import beat
from runtime.shared.settings import (
    ADDRESSES_PATTERN,
    DATABASE_URL_PATTERN,
    ServiceSettings,
    database_login,
    read_catalogue_parameter,
    read_settings,
    refuse_to_start,
)
from runtime.shared.telemetry import Telemetry

logger = logging.getLogger(__name__)

TICK_MS: Final = 100
REPEATED_MS: Final = 3_600_000
REPEATED_MAX: Final = 50_000
"""Trades of the last hour, at most so many, are published once more after a start: which of them the run before has
published, nobody knows."""
LINKS_MAX: Final = 256
ARCHIVE_QUESTIONS_MAX: Final = 32
"""Questions about older trades under way at once; more are refused."""
OVERLOADED: Final = -1008, "Server is currently overloaded with other requests. Please try again in a few minutes."
TIMED_OUT: Final = (
    -1007,
    "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
)

Clock = Callable[[], int]


def wall_clock_ms() -> int:
    """Return the time in milliseconds since 1970 (UTC)."""
    return time.time_ns() // 1_000_000


class HistoryMismatchError(RuntimeError):
    """Engine and ledger do not tell of the same past."""


class MarketDataSettings(ServiceSettings):
    """Environment of the market data service."""

    engine_address: str = Field(pattern=ADDRESSES_PATTERN)
    database_url: str = Field(pattern=DATABASE_URL_PATTERN)
    trade_stream: str = Field(min_length=1)


class Gateways:
    """The server side of the links to gateways."""

    def __init__(self, market_data: MarketData, archive: Archive, clock_ms: Clock) -> None:
        """Serve what `market_data` has."""
        self._market_data = market_data
        self._answers = Answers(market_data.markets, archive)
        self._clock_ms = clock_ms
        self._asking: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    def close(self) -> None:
        """End all links."""
        for writer in self._writers:
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one gateway until it goes away. It is not read while it has too much unread itself."""
        peer = writer.get_extra_info("peername")
        if self._market_data.links >= LINKS_MAX:
            logger.error("gateway %s refused: %d are linked, at most %d may be", peer, LINKS_MAX, LINKS_MAX)
            writer.close()
            return
        bound_output(writer)
        link = GatewayLink(writer.transport, str(peer))
        self._market_data.join(link)
        self._writers.add(writer)
        try:
            while True:
                for message in decode_from_gateway(await read_frame(reader)):
                    self._receive(link, message)
                    await writer.drain()
        except asyncio.IncompleteReadError:
            pass  # it left
        except (FrameError, MsgspecError) as error:
            logger.warning("gateway %s broke the protocol: %s", peer, error)
        except OSError as error:
            logger.info("link to gateway %s broke: %s", peer, error)
        finally:
            self._market_data.leave(link)
            self._writers.discard(writer)
            writer.close()

    def _receive(self, link: GatewayLink, message: FromGateway) -> None:
        if isinstance(message, Follow):
            self._market_data.follow(link, message.streams, self._clock_ms())
        elif isinstance(message, Unfollow):
            self._market_data.unfollow(link, message.streams)
        else:
            self._answer(link, message)

    def _answer(self, link: GatewayLink, ask: Ask) -> None:
        try:
            body = self._answers.from_memory(ask, self._clock_ms())
        except AskError as error:
            link.tell(Told(ask.id, error.code, error.text.encode()))
            return
        if body is not None:
            link.tell(Told(ask.id, 0, body))
            return
        assert isinstance(ask, AskArchived)
        if len(self._asking) >= ARCHIVE_QUESTIONS_MAX:
            link.tell(Told(ask.id, OVERLOADED[0], OVERLOADED[1].encode()))
            return
        task = asyncio.create_task(self._answer_from_archive(link, ask))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _answer_from_archive(self, link: GatewayLink, ask: AskArchived) -> None:
        try:
            link.tell(Told(ask.id, 0, await self._answers.from_archive(ask)))
        except AskError as error:
            link.tell(Told(ask.id, error.code, error.text.encode()))
        except ArchiveError as error:
            logger.warning("a question about older trades failed: %s", error)
            link.tell(Told(ask.id, TIMED_OUT[0], TIMED_OUT[1].encode()))


class Restored(NamedTuple):
    """Where market data stands before it follows the feed."""

    market_data: MarketData
    position: int
    """The last sequence whose trades are included: the feed is followed from the next."""
    book_sequence: int
    """The last sequence that some book includes: before the feed has come so far, nothing is told."""


async def restore(engine: EngineLink, archive: Archive, catalogue: Catalogue, now_ms: int) -> Restored:
    """Return all markets as the ledger and the engine know them.

    Books are newer than trades: on the way there, updates that a book has are skipped by their ids.
    """
    instruments = [Instrument(market) for market in catalogue.markets]
    position, past = await archive.restore([instrument.market_id for instrument in instruments], now_ms)
    views: list[MarketView] = []
    book_sequence = position
    for instrument in instruments:
        answered = await engine.ask(AskMarket(instrument.market_id))
        if answered.sequence < position:
            msg = (
                f"the ledger is at sequence {position}, the engine at {answered.sequence}: "
                "they are not of one history; restore the engine's journal, or start the ledger empty"
            )
            raise HistoryMismatchError(msg)
        book_sequence = max(book_sequence, answered.sequence)
        state = answered.answer
        if not isinstance(state, MarketState):
            logger.info("%s is not known to the engine yet", instrument.symbol)
            state = MarketState(instrument.market_id, TRADING, 0, 0, 0, [], [])
        view = MarketView(instrument, state)
        view.refill(past[instrument.market_id], now_ms)
        views.append(view)
    return Restored(MarketData(views), position, book_sequence)


async def repeat(archive: Archive, restored: Restored, publisher: TradePublisher, now_ms: int) -> None:
    """Publish once more what the last run may have left unpublished; readers drop what they have."""
    symbols = {view.instrument.market_id: symbol for symbol, view in restored.market_data.markets.items()}
    since_us = (now_ms - REPEATED_MS) * 1000
    try:
        trades = await archive.repeated(symbols, restored.position, since_us, REPEATED_MAX)
    except ArchiveError as error:
        logger.warning("trades up to sequence %d are not published once more: %s", restored.position, error)
        return
    publisher.offer(trades)


async def follow(
    restored: Restored, address: str, publisher: TradePublisher, clock_ms: Clock, caught_up: asyncio.Event
) -> None:
    """Follow the engine's feed for ever; say when it has come as far as the books."""
    market_data = restored.market_data
    if restored.position >= restored.book_sequence:
        caught_up.set()
    async for batch in follow_feed(address, restored.position + 1):
        publisher.offer(market_data.on_feed(batch))
        market_data.publish_live(clock_ms())
        if market_data.sequence >= restored.book_sequence:
            caught_up.set()
        await asyncio.sleep(0)  # a full socket buffer must not keep gateways waiting


async def listen(gateways: Gateways, host: str, port: int, caught_up: asyncio.Event) -> None:
    """Take gateways once there is something right to tell them, for ever."""
    await caught_up.wait()
    server = await asyncio.start_server(gateways.serve, host, port)
    logger.info("listening on %s:%d", host, port)
    try:
        await asyncio.Event().wait()
    finally:
        server.close()
        gateways.close()


async def tick(market_data: MarketData, clock_ms: Clock) -> None:
    """Let time pass, in steps of TICK_MS on the clock."""
    while True:
        await asyncio.sleep((TICK_MS - clock_ms() % TICK_MS) / 1000)
        market_data.on_tick(clock_ms())


async def connect(address: str) -> EngineLink:
    """Return a link to the engine once it answers."""
    engine = EngineLink(address)
    await engine.start()
    while not engine.connected:
        try:
            await engine.wait_connected(10.0)
        except EngineUnavailableError as error:
            logger.info("waiting for the engine: %s", error)
    return engine


async def run_until(stopping: asyncio.Event, *work: Coroutine[Any, Any, None]) -> None:
    """Run `work`, none of which ends by itself, until told to stop. Raises the first error."""
    tasks = [asyncio.create_task(job) for job in work]
    waiting = asyncio.create_task(stopping.wait())
    try:
        done, _ = await asyncio.wait((waiting, *tasks), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (waiting, *tasks):
            task.cancel()
        await asyncio.gather(waiting, *tasks, return_exceptions=True)


async def main(stopping: asyncio.Event) -> None:
    """Restore, then serve until told to stop."""
    settings = read_settings(MarketDataSettings)
    log.configure(settings.service)
    try:
        catalogue = read_catalogue_parameter(settings.catalogue_parameter)
    except CatalogueError as error:
        refuse_to_start(str(error))
    archive = await open_archive(database_login(settings.database_url))
    engine = await connect(settings.engine_address)
    started_ms = wall_clock_ms()
    restored = await restore(engine, archive, catalogue, started_ms)
    await engine.stop()
    logger.info(
        "restored trades up to sequence %d and books up to %d in %d ms",
        restored.position,
        restored.book_sequence,
        wall_clock_ms() - started_ms,
    )
    publisher = TradePublisher(kinesis_put(settings.trade_stream, GROUP), GROUP)
    await repeat(archive, restored, publisher, started_ms)
    publishing = asyncio.create_task(publisher.run())
    gateways = Gateways(restored.market_data, archive, wall_clock_ms)
    caught_up = asyncio.Event()
    try:
        await run_until(
            stopping,
            follow(restored, settings.engine_address, publisher, wall_clock_ms, caught_up),
            tick(restored.market_data, wall_clock_ms),
            beat(publisher.pulse, Telemetry(settings.service, settings.otlp_address)),
            listen(gateways, settings.listen_host, settings.listen_port, caught_up),
        )
    finally:
        await publisher.stop(publishing)
        await archive.close()
        logger.info("stopped at sequence %d", restored.market_data.sequence)


if __name__ == "__main__":
    shell.run(main)
