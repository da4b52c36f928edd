"""Both ends of the stream hub for tests: market data that says what it is told to, clients that remember."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from runtime.gateway.streams import StreamConnection, StreamHub
from runtime.shared.frames import frame, read_frame
from runtime.shared.market_messages import (
    Follow,
    Followed,
    FromMarketData,
    Published,
    Unfollow,
    decode_from_gateway,
)
from runtime.shared.messages import encode
from tests.runtime.market_data.wire import until

SYMBOLS = frozenset({"BTCUSDT", "ETHUSDT"})


class FakeMarketData:
    """Takes one hub. Confirms what is followed unless `is_mute`."""

    def __init__(self) -> None:
        self.heard: list[Follow | Unfollow] = []
        self.is_mute = False
        self.links = 0
        self.address = ""
        self._writer: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.listen(0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        self.deafen()

    async def listen(self, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def deafen(self) -> None:
        """Take no more links."""
        assert self._server
        self._server.close()

    def cut(self) -> None:
        """Break the link."""
        if self._writer:
            self._writer.close()
            self._writer = None

    def say(self, *messages: FromMarketData) -> None:
        assert self._writer
        self._writer.write(frame(encode(list(messages))))

    def publish(self, stream: str, payload: Any) -> None:
        self.say(Published(stream, json.dumps(payload, separators=(",", ":")).encode()))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.links += 1
        try:
            while True:
                for message in decode_from_gateway(await read_frame(reader)):
                    assert isinstance(message, Follow | Unfollow)
                    self.heard.append(message)
                    if isinstance(message, Follow) and not self.is_mute:
                        self.say(Followed(message.streams))
        except (OSError, EOFError):
            writer.close()


def texts(frames: bytes) -> list[bytes]:
    """Take frames of whole texts apart."""
    found: list[bytes] = []
    while frames:
        assert frames[0] == 0x81
        size, at = frames[1], 2
        if size > 125:
            at = 4 if size == 126 else 10
            size = int.from_bytes(frames[2:at], "big")
        assert len(frames) >= at + size, "a frame is cut short"
        found.append(frames[at : at + size])
        frames = frames[at + size :]
    return found


class Client:
    """A client on an ideal transport."""

    def __init__(self, hub: StreamHub, path: str = "/ws", query: str = "") -> None:
        self.received: list[Any] = []
        self.raw: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self.unread = 0
        self.writes: list[bytes] = []
        self.link: StreamConnection = hub.connection(path, query, self)

    def send(self, message: bytes) -> None:
        assert self.closed is None, "sent after close"
        self.raw.append(message)
        self.received.append(json.loads(message))

    def write(self, frames: bytes) -> None:
        assert frames, "nothing is written"
        self.writes.append(frames)
        for message in texts(frames):
            self.send(message)

    def buffered(self) -> int:
        return self.unread

    def close(self, code: int, reason: str) -> None:
        assert self.closed is None, "closed twice"
        assert len(reason.encode()) <= 123, "a close reason has at most 123 bytes"
        self.closed = (code, reason)

    def ask(self, method: str, params: Any = None, request_id: Any = 1) -> None:
        request = {"method": method, "params": params, "id": request_id}
        self.link.on_message(json.dumps(request).encode())

    def take(self) -> list[Any]:
        taken, self.received = self.received, []
        return taken


class Clock:
    """A clock that a test moves; by default far enough between requests."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.step_s = 1.0

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


Scenario = Callable[[StreamHub, FakeMarketData], Awaitable[None]]


def with_hub(scenario: Scenario, clock: Clock | None = None) -> None:
    async def run() -> None:
        async with FakeMarketData() as market_data:
            hub = StreamHub(market_data.address, SYMBOLS, clock=clock or Clock())
            await hub.start()
            try:
                await until(lambda: hub.connected)
                await scenario(hub, market_data)
            finally:
                await hub.stop()

    asyncio.run(run())
