"""The shell of the service over real sockets: restore, follow, answer, reset; a fake engine feeds it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from config.markets import CATALOGUE
from local.stand_ins import free_port
from runtime.market_data.archive import Archive, open_archive
from runtime.market_data.book_builder import GapError
from runtime.market_data.links import OUTPUT_BYTES_MAX
from runtime.market_data.main import (
    Gateways,
    HistoryMismatchError,
    Restored,
    connect,
    follow,
    listen,
    restore,
    tick,
    wall_clock_ms,
)
from runtime.market_data.service import MarketData
from runtime.market_data.trade_stream import TradePublisher
from runtime.shared.frames import frame, read_frame
from runtime.shared.market_messages import (
    AskAggTrades,
    AskAveragePrice,
    AskDepth,
    AskKlines,
    AskTickers,
    AskTrades,
    Follow,
    Followed,
    Published,
    Reset,
    Told,
    decode_from_market_data,
)
from runtime.shared.messages import BUY, Happened, LevelChanged, encode
from runtime.shared.trade_records import decode_batch
from tests.runtime.ledger.feeds import Database
from tests.runtime.market_data.events import EngineRun, empty_views, engine_run, state
from tests.runtime.market_data.fake_engine import FakeEngine
from tests.runtime.market_data.wire import DepthClient, until

BTC = 1


class Gateway:
    """A gateway's end of a link."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.pushed: list[Any] = []
        self._asked = 0

    @classmethod
    async def link(cls, port: int) -> "Gateway":
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**20))

    def say(self, *messages: Any) -> None:
        self.writer.write(frame(encode(list(messages))))

    async def receive(self) -> list[Any]:
        return list(decode_from_market_data(await asyncio.wait_for(read_frame(self.reader), 5)))

    async def ask(self, question: type, **fields: Any) -> tuple[int, Any]:
        """Code and body, as JSON if it is some."""
        self._asked += 1
        self.say(question(id=self._asked, **fields))
        while True:
            for message in await self.receive():
                if isinstance(message, Told):
                    assert message.id == self._asked
                    return message.code, message.body.decode() if message.code else json.loads(message.body)
                self.pushed.append(message)

    async def events(self, condition: Callable[[Any], bool]) -> list[Any]:
        """Everything that was pushed until one meets `condition`."""
        while not any(condition(message) for message in self.pushed):
            self.pushed += await self.receive()
        taken, self.pushed = self.pushed, []
        return taken


class Running:
    """Market data that follows a fake engine."""

    def __init__(self, restored: Restored, engine: FakeEngine, archive: Archive, port: int) -> None:
        self.market_data = restored.market_data
        self.engine = engine
        self.port = port
        self.published: list[Any] = []
        self.caught_up = asyncio.Event()
        self._restored = restored
        self._ahead_ms = engine.happened[-1].time_us // 1000 - wall_clock_ms()
        self._archive = archive
        self.tasks: list[asyncio.Task[None]] = []

    def clock_ms(self) -> int:
        """It goes on from the last thing that happened."""
        return wall_clock_ms() + self._ahead_ms

    def _put(self, data: bytes, _after: str | None) -> str:
        self.published.append(decode_batch(data))
        return str(len(self.published))

    def start(self) -> None:
        publisher = TradePublisher(self._put, "main")
        caught_up = self.caught_up
        clock_ms = self.clock_ms
        gateways = Gateways(self.market_data, self._archive, clock_ms)
        self.tasks = [
            asyncio.create_task(job)
            for job in (
                publisher.run(),
                follow(self._restored, self.engine.address, publisher, clock_ms, caught_up),
                tick(self.market_data, clock_ms),
                listen(gateways, "127.0.0.1", self.port, caught_up),
            )
        ]

    async def gateway(self) -> Gateway:
        await asyncio.wait_for(self.caught_up.wait(), 5)
        await asyncio.sleep(0.01)
        return await Gateway.link(self.port)


@asynccontextmanager
async def running(conninfo: str, run: EngineRun, known: int, port: int) -> AsyncIterator[Running]:
    """Market data after a start: the ledger knows the first `known` commands, the engine all."""
    database = await Database.open(conninfo)
    await database.take(run.happened[:known])
    archive = await open_archive(conninfo)
    states = {market: state(run.engine, market) for market in run.engine.markets}
    async with FakeEngine(run.happened, states) as engine:
        link = await connect(engine.address)
        now_ms = run.happened[-1].time_us // 1000
        service = Running(await restore(link, archive, CATALOGUE, now_ms), engine, archive, port)
        await link.stop()
        service.start()
        try:
            yield service
        finally:
            for task in service.tasks:
                task.cancel()
            await asyncio.gather(*service.tasks, return_exceptions=True)
            await archive.close()
            await database.connection.close()


@pytest.fixture
def port() -> int:
    """A port that is free at the moment."""
    return free_port()


def test_restored_and_caught_up_before_anyone_is_served(conninfo: str, port: int) -> None:
    run = engine_run()
    trades = run.trades(BTC)

    async def scenario() -> None:
        async with running(conninfo, run, 800, port) as service:
            gateway = await service.gateway()
            assert service.market_data.sequence == len(run.happened)
            code, depth = await gateway.ask(AskDepth, symbol="BTCUSDT", limit=5000)
            assert (code, depth["lastUpdateId"]) == (0, run.engine.markets[BTC].update_id)
            _, newest = await gateway.ask(AskTrades, symbol="BTCUSDT", limit=3, from_id=-1)
            assert [trade["id"] for trade in newest] == [trade.trade_id for trade in trades[-3:]]
            _, oldest = await gateway.ask(AskTrades, symbol="BTCUSDT", limit=2, from_id=1)
            assert [trade["id"] for trade in oldest] == [1, 2]
            _, aggregates = await gateway.ask(
                AskAggTrades, symbol="BTCUSDT", from_id=-1, start_ms=-1, end_ms=-1, limit=1000
            )
            assert sum(one["l"] - one["f"] + 1 for one in aggregates) == len(trades)
            _, minutes = await gateway.ask(
                AskKlines, symbol="BTCUSDT", interval="1m", start_ms=-1, end_ms=-1, limit=1000
            )
            assert sum(row[8] for row in minutes) == len(trades)
            _, tickers = await gateway.ask(AskTickers, kind="price", symbols=[], single=False)
            assert [entry["symbol"] for entry in tickers] == ["BTCUSDT", "ETHUSDT", "BTCIDR", "ETHIDR"]
            _, week = await gateway.ask(AskTickers, kind="window", symbols=["BTCUSDT"], single=True, minutes=10_080)
            assert week["count"] == len(trades)
            _, today = await gateway.ask(AskTickers, kind="session", symbols=["BTCUSDT"], single=True, mini=True)
            assert today["closeTime"] - today["openTime"] == 86_399_999
            _, book = await gateway.ask(AskTickers, kind="book", symbols=["ETHUSDT"], single=True)
            assert book["symbol"] == "ETHUSDT"
            code, average = await gateway.ask(AskAveragePrice, symbol="BTCUSDT")
            assert (code, average["mins"]) == (0, 5)
            # The stream of trades resumes where the ledger was: nothing is left out, some may come again.
            await until(lambda: service.published and service.published[-1].last.sequence >= trades[-1].sequence)
            told = [(trade.symbol, trade.trade_id) for batch in service.published for trade in batch.trades]
            again = [(h.sequence, e) for h in run.happened[800:] for e in h.events if type(e).__name__ == "Traded"]
            assert len(told) == len(again)
            assert service.published[0].first.sequence == again[0][0]
            assert service.published[-1].last.sequence == again[-1][0]

    asyncio.run(scenario())


def test_nobody_is_served_before_the_feed_has_reached_the_books(port: int) -> None:
    run = engine_run()
    half = len(run.happened) // 2

    async def scenario() -> None:
        async with FakeEngine(run.happened[:half], {}) as engine:
            restored = Restored(MarketData(empty_views()), 0, len(run.happened))
            service = Running(restored, engine, None, port)  # type: ignore[arg-type] - nothing older is asked for
            service.start()
            await until(lambda: service.market_data.sequence == half)
            with pytest.raises(ConnectionRefusedError):
                await Gateway.link(port)
            engine.happen(*run.happened[half:])
            gateway = await service.gateway()
            assert (await gateway.ask(AskDepth, symbol="BTCUSDT", limit=5))[0] == 0
            for task in service.tasks:
                task.cancel()
            await asyncio.gather(*service.tasks, return_exceptions=True)

    asyncio.run(scenario())


def test_errors_are_documented_codes(conninfo: str, port: int) -> None:
    async def scenario() -> None:
        async with running(conninfo, engine_run(), 5, port) as service:
            gateway = await service.gateway()
            assert await gateway.ask(AskDepth, symbol="NOSUCH", limit=5) == (-1121, "Invalid symbol.")
            times = {"start_ms": -1, "end_ms": -1, "limit": 5}
            assert await gateway.ask(AskKlines, symbol="BTCUSDT", interval="7m", **times) == (
                -1120,
                "Invalid interval.",
            )
            code, text = await gateway.ask(AskTrades, symbol="BTCUSDT", limit=0, from_id=-1)
            assert (code, text) == (-1130, "Data sent for parameter 'limit' is not valid.")
            assert (await gateway.ask(AskTickers, kind="year", symbols=[], single=False))[0] == -1130
            assert (await gateway.ask(AskTickers, kind="window", symbols=[], single=False, minutes=10_081))[0] == -1130

    asyncio.run(scenario())


def test_followers_get_what_happens(conninfo: str, port: int) -> None:
    run = engine_run()

    async def scenario() -> None:
        async with running(conninfo, run, len(run.happened), port) as service:
            gateway = await service.gateway()
            gateway.say(Follow(["btcusdt@depth@100ms"]))
            await gateway.events(lambda message: isinstance(message, Followed))
            client = DepthClient()
            client.snapshot((await gateway.ask(AskDepth, symbol="BTCUSDT", limit=5000))[1])
            update_id = run.engine.markets[BTC].update_id
            sequence = service.engine.sequence
            for number in range(1, 200):
                change = LevelChanged(BTC, update_id + number, BUY, number % 17 + 1, number % 5)
                service.engine.happen(Happened(sequence + number, run.happened[-1].time_us + number, [change]))
                await asyncio.sleep(0.002)
            last = update_id + 199
            is_last = f'"u":{last}'.encode()
            for message in await gateway.events(lambda m: isinstance(m, Published) and is_last in m.payload):
                client.take(json.loads(message.payload))
            assert client.last_id == last
            assert client.applied > 1
            _, depth = await gateway.ask(AskDepth, symbol="BTCUSDT", limit=5000)
            assert list(client.book()) == [depth["bids"], depth["asks"]]

    asyncio.run(scenario())


def test_a_broken_feed_is_resumed_without_a_gap(conninfo: str, port: int) -> None:
    run = engine_run()

    async def scenario() -> None:
        async with running(conninfo, run, len(run.happened), port) as service:
            await service.gateway()
            sequence, update_id = service.engine.sequence, run.engine.markets[BTC].update_id
            for number in range(1, 4):
                for writer in service.engine.feeds:
                    writer.close()
                change = LevelChanged(BTC, update_id + number, BUY, 1, number)
                service.engine.happen(Happened(sequence + number, run.happened[-1].time_us, [change]))
                await until(lambda: service.market_data.sequence == service.engine.sequence)
            assert service.market_data.markets["BTCUSDT"].book.update_id == update_id + 3

    asyncio.run(scenario())


def test_a_gap_ends_the_process_rather_than_the_truth(conninfo: str, port: int) -> None:
    run = engine_run()

    async def scenario() -> None:
        async with running(conninfo, run, len(run.happened), port) as service:
            await service.gateway()
            gap = LevelChanged(BTC, run.engine.markets[BTC].update_id + 2, BUY, 1, 1)
            service.engine.happen(Happened(service.engine.sequence + 1, run.happened[-1].time_us, [gap]))
            with pytest.raises(GapError):
                await asyncio.wait_for(service.tasks[1], 5)

    asyncio.run(scenario())


def test_another_history_is_refused(conninfo: str) -> None:
    run = engine_run()

    async def scenario() -> None:
        database = await Database.open(conninfo)
        await database.take(run.happened)
        archive = await open_archive(conninfo)
        async with FakeEngine(run.happened[:100], {}) as engine:
            link = await connect(engine.address)
            with pytest.raises(HistoryMismatchError, match=f"ledger is at sequence {len(run.happened)}, .* at 100"):
                await restore(link, archive, CATALOGUE, 10**12)
            await link.stop()
        await archive.close()
        await database.connection.close()

    asyncio.run(scenario())


def test_a_gateway_that_stops_reading_is_reset_and_asked_questions_wait_for_it(conninfo: str, port: int) -> None:
    async def scenario() -> None:
        archive = await open_archive_of(conninfo)
        market_data = MarketData(empty_views())
        gateways = Gateways(market_data, archive, wall_clock_ms)
        server = await asyncio.start_server(gateways.serve, "127.0.0.1", port)
        gateway = await Gateway.link(port)
        gateway.say(Follow(["btcusdt@depth@100ms"]))
        await gateway.events(lambda message: isinstance(message, Followed))
        gateway.writer.transport.pause_reading()  # type: ignore[attr-defined]
        wide = [LevelChanged(BTC, number, BUY, number, 1) for number in range(1, 20_001)]
        sent = 0
        while sent < 3 * OUTPUT_BYTES_MAX:  # far more than sockets hold
            market_data.on_feed([Happened(1, 10**15, [])])
            for change in wide:
                update_id = market_data.markets["BTCUSDT"].book.update_id + 1
                market_data.markets["BTCUSDT"].book.apply(
                    LevelChanged(BTC, update_id, BUY, change.price, update_id % 7 + 1)
                )
            market_data.on_tick(wall_clock_ms())
            sent += 700_000
            await asyncio.sleep(0)
        gateway.writer.transport.resume_reading()  # type: ignore[attr-defined]

        async def ticking() -> None:
            while True:
                await asyncio.sleep(0.01)
                market_data.on_tick(wall_clock_ms())

        ticks = asyncio.create_task(ticking())
        pushed = await gateway.events(lambda message: isinstance(message, Reset))
        assert pushed[-1].streams == ["btcusdt@depth@100ms"]
        ids = [json.loads(message.payload) for message in pushed if isinstance(message, Published)]
        assert all(one["u"] + 1 == other["U"] for one, other in pairwise(ids))
        ticks.cancel()
        gateway.writer.close()
        server.close()
        await archive.close()

    asyncio.run(scenario())


async def open_archive_of(conninfo: str) -> Archive:
    database = await Database.open(conninfo)
    await database.connection.close()
    return await open_archive(conninfo)
