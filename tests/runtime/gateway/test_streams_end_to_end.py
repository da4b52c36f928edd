"""From the engine's feed to WebSocket clients: engine link, market data, hub and picows, all over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_connect,
    ws_create_server,
)

from runtime.gateway.streams import StreamConnection, StreamHub
from runtime.market_data.main import Gateways, Restored, follow, tick, wall_clock_ms
from runtime.market_data.payloads import depth_body
from runtime.market_data.service import MarketData
from runtime.market_data.trade_stream import TradePublisher
from runtime.shared.messages import BUY, SELL, Happened
from tests.runtime.market_data.events import EngineRun, empty_views, levels
from tests.runtime.market_data.fake_engine import FakeEngine
from tests.runtime.market_data.wire import DepthClient, until

BTC = 1


class ServerEnd(WSListener):  # type: ignore[misc] - picows is compiled
    """What the WebSocket gateway does, at its smallest."""

    def __init__(self, hub: StreamHub, target: str) -> None:
        super().__init__()
        self._hub = hub
        self._path, _, self._query = target.partition("?")
        self._link: StreamConnection | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._link = self._hub.connection(self._path, self._query, self)

    def send(self, message: bytes) -> None:
        self._transport.send(WSMsgType.TEXT, message)

    def write(self, frames: bytes) -> None:
        self._transport.underlying_transport.write(frames)

    def close(self, code: int, reason: str) -> None:
        self._transport.send_close(WSCloseCode(code), reason.encode())
        self._transport.disconnect()

    def buffered(self) -> int:
        size: int = self._transport.underlying_transport.get_write_buffer_size()
        return size

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        assert self._link
        if frame.msg_type is WSMsgType.TEXT:
            self._link.on_message(frame.get_payload_as_bytes())
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        del transport
        assert self._link
        self._link.on_close()


class ClientEnd(WSListener):  # type: ignore[misc] - picows is compiled
    """A client that keeps what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[Any] = []
        self.closed: tuple[int, str] | None = None
        self.transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            self.received.append(json.loads(frame.get_payload_as_bytes()))
        elif frame.msg_type is WSMsgType.CLOSE:
            self.closed = (frame.get_close_code(), frame.get_close_message().decode())
            transport.disconnect()

    def ask(self, method: str, params: list[Any], request_id: int) -> None:
        assert self.transport
        request = {"method": method, "params": params, "id": request_id}
        self.transport.send(WSMsgType.TEXT, json.dumps(request).encode())


class Exchange:
    """Everything between a fake engine and clients."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.market_data = MarketData(empty_views())
        self.url = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self.gateways: Gateways | None = None
        self.hub: StreamHub | None = None

    async def start(self) -> None:
        publisher = TradePublisher(lambda *_: "1", "main")
        restored = Restored(self.market_data, 0, 0)
        self.gateways = Gateways(self.market_data, None, wall_clock_ms)  # type: ignore[arg-type] - nothing is older
        self._server = await asyncio.start_server(self.gateways.serve, "127.0.0.1", 0)
        address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        hub = self.hub = StreamHub(address, frozenset(self.market_data.markets))
        await hub.start()

        def accept(request: WSUpgradeRequest) -> ServerEnd:
            return ServerEnd(hub, request.path.decode())

        sockets = await ws_create_server(accept, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{sockets.sockets[0].getsockname()[1]}"
        self._tasks = [
            asyncio.create_task(follow(restored, self.engine.address, publisher, wall_clock_ms, asyncio.Event())),
            asyncio.create_task(tick(self.market_data, wall_clock_ms)),
        ]
        await until(lambda: hub.connected)

    async def stop(self) -> None:
        assert self.hub
        assert self.gateways
        assert self._server
        await self.hub.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.gateways.close()
        self._server.close()
        await asyncio.sleep(0.01)

    async def client(self, target: str) -> ClientEnd:
        _, client = await ws_connect(ClientEnd, self.url + target)
        assert isinstance(client, ClientEnd)
        return client

    def depth(self) -> Any:
        market = self.market_data.markets["BTCUSDT"]
        return json.loads(depth_body(market.instrument, market.book.depth(5000)))


@asynccontextmanager
async def exchange(happened: list[Happened]) -> AsyncIterator[Exchange]:
    async with FakeEngine(happened, {}) as engine:
        running = Exchange(engine)
        await running.start()
        try:
            yield running
        finally:
            await running.stop()


def test_clients_have_the_engines_book_and_every_trade_while_it_trades() -> None:
    run = EngineRun(11, 1_200, pause_ms_max=2)
    half = len(run.happened) // 2

    async def scenario() -> None:
        async with exchange(run.happened[:half]) as running:
            await until(lambda: running.market_data.sequence == half)
            known = running.market_data.markets["BTCUSDT"].last_trade_id
            by_request = await running.client("/ws/0")
            by_request.ask("SUBSCRIBE", ["btcusdt@depth@100ms"], 1)
            by_path = await running.client("/stream?streams=btcusdt@depth@100ms/btcusdt@trade/btcusdt@aggTrade")
            await until(lambda: by_request.received)
            assert by_request.received == [{"result": None, "id": 1}]
            books = DepthClient(), DepthClient()
            books[0].snapshot(running.depth())
            for at in range(half, len(run.happened), 20):
                running.engine.happen(*run.happened[at : at + 20])
                await asyncio.sleep(0.01)
                if at > half + 200 and books[1].last_id < 0:
                    for message in by_path.received:
                        if message["stream"].endswith("@depth@100ms"):
                            books[1].take(message["data"])
                    seen = len(by_path.received)
                    books[1].snapshot(running.depth())
            last_id = run.engine.markets[BTC].update_id
            await until(lambda: by_request.received[-1].get("u") == last_id)
            await until(lambda: any(message["data"].get("u") == last_id for message in by_path.received))
            for message in by_request.received[1:]:
                books[0].take(message)
            for message in by_path.received[seen:]:
                if message["stream"].endswith("@depth@100ms"):
                    books[1].take(message["data"])
            instrument = running.market_data.markets["BTCUSDT"].instrument
            expected = tuple(
                [list(pair) for pair in instrument.levels(levels(run.engine, BTC, side))] for side in (BUY, SELL)
            )
            assert books[0].book() == books[1].book() == expected
            assert books[0].applied > 2
            told = [m["data"]["t"] for m in by_path.received if m["stream"] == "btcusdt@trade"]
            assert told == list(range(known + 1, run.trades(BTC)[-1].trade_id + 1))
            aggregates = [m["data"] for m in by_path.received if m["stream"] == "btcusdt@aggTrade"]
            assert [n for one in aggregates for n in range(one["f"], one["l"] + 1)] == told

    asyncio.run(scenario())


def test_market_data_goes_away_and_clients_are_told() -> None:
    async def scenario() -> None:
        async with exchange([]) as running:
            client = await running.client("/ws/btcusdt@trade")
            await asyncio.sleep(0.05)
            assert running.gateways
            running.gateways.close()
            await until(lambda: client.closed)
            assert client.closed == (1012, "market data restarted, please reconnect")
            await until(lambda: running.hub and running.hub.connected)
            again = await running.client("/ws/btcusdt@bookTicker")
            await until(lambda: again.received)
            assert again.received[0]["s"] == "BTCUSDT"
            refused = await running.client("/ws/btcusdt@kline_1m@+08:00")
            await until(lambda: refused.closed)
            assert refused.closed
            assert refused.closed[0] == 1008

    asyncio.run(scenario())
