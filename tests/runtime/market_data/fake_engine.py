"""An engine for tests: it says what it is told to say, over the real link."""

import asyncio
from types import TracebackType
from typing import Self

from runtime.shared.frames import frame, read_frame
from runtime.shared.messages import (
    FEED,
    Answered,
    Ask,
    AskMarket,
    Happened,
    MarketState,
    Unknown,
    Welcome,
    decode_from_client,
    decode_hello,
    encode,
)


class FakeEngine:
    """Answers AskMarket from `states` and feeds `happened`, which may grow by `happen`."""

    def __init__(self, happened: list[Happened], states: dict[int, MarketState]) -> None:
        self.happened = list(happened)
        self.states = states
        self.address = ""
        self.feeds: list[asyncio.StreamWriter] = []
        self._grown = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server
        self._server.close()
        for writer in self.feeds:
            writer.close()

    @property
    def sequence(self) -> int:
        return self.happened[-1].sequence if self.happened else 0

    def happen(self, *happened: Happened) -> None:
        self.happened.extend(happened)
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            hello = decode_hello(await read_frame(reader))
            writer.write(frame(encode([Welcome("main", 1, self.sequence)])))
            if hello.kind == FEED:
                await self._feed(writer, hello.sequence)
            while True:
                for message in decode_from_client(await read_frame(reader)):
                    assert isinstance(message, Ask)
                    assert isinstance(message.question, AskMarket)
                    answer = self.states.get(message.question.market, Unknown())
                    writer.write(frame(encode([Answered(message.id, self.sequence, answer)])))
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    async def _feed(self, writer: asyncio.StreamWriter, sequence: int) -> None:
        self.feeds.append(writer)
        at = max(0, sequence - 1)
        while True:
            grown = self._grown
            while at < len(self.happened):
                writer.write(frame(encode(self.happened[at : at + 50])))
                await writer.drain()
                at += 50
            at = len(self.happened)
            await grown.wait()
