"""The link to market data: answers find their questions, and a broken link fails what waits instead of stalling it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from runtime.gateway import market_link
from runtime.gateway.market_link import MarketBusyError, MarketLink, MarketUnavailableError
from runtime.shared.frames import frame, read_frame
from runtime.shared.market_messages import AskDepth, Follow, Told, decode_from_gateway
from runtime.shared.messages import encode


class Service:
    """Market data that answers in whatever order it is told to."""

    def __init__(self) -> None:
        self.is_mute = False
        self.writers: list[asyncio.StreamWriter] = []

    async def start(self) -> str:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                questions = decode_from_gateway(await read_frame(reader))
                told = [
                    Told(each.id, 0 if each.limit < 100 else -1112, each.symbol.encode() + b"%d" % each.limit)
                    for each in reversed(questions)
                    if isinstance(each, AskDepth)
                ]
                assert not any(isinstance(each, Follow) for each in questions)
                if not self.is_mute:
                    writer.write(frame(encode(told)))
        except (EOFError, ConnectionError):
            writer.close()

    def cut(self) -> None:
        for writer in self.writers:
            writer.close()
        self.writers.clear()


def run(scenario: Callable[[MarketLink, Service], Awaitable[None]]) -> None:
    async def main() -> None:
        service = Service()
        link = MarketLink(await service.start())
        await link.start()
        await connected(link)
        await asyncio.wait_for(scenario(link, service), 10)
        await link.stop()
        service.server.close()

    asyncio.run(main())


async def connected(link: MarketLink) -> None:
    for _ in range(500):
        if link.connected:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never connected")


def test_answers_find_their_questions() -> None:
    async def scenario(link: MarketLink, _: Service) -> None:
        told = await asyncio.gather(*(link.ask(AskDepth(0, "A", limit)) for limit in range(98, 102)))
        assert told == [(0, b"A98"), (0, b"A99"), (-1112, b"A100"), (-1112, b"A101")]
        assert link._waiting == {}

    run(scenario)


def test_a_broken_link_fails_what_waits_and_comes_back() -> None:
    async def scenario(link: MarketLink, service: Service) -> None:
        service.is_mute = True
        asking = asyncio.create_task(link.ask(AskDepth(0, "A", 1), timeout_s=60))
        await asyncio.sleep(0.05)
        service.cut()
        with pytest.raises(MarketUnavailableError):
            await asking
        service.is_mute = False
        await connected(link)
        assert await link.ask(AskDepth(0, "A", 2)) == (0, b"A2")

    run(scenario)


def test_no_answer_in_time() -> None:
    async def scenario(link: MarketLink, service: Service) -> None:
        service.is_mute = True
        with pytest.raises(MarketUnavailableError):
            await link.ask(AskDepth(0, "A", 1), timeout_s=0.05)
        assert link._waiting == {}

    run(scenario)


def test_without_a_link_nobody_waits() -> None:
    async def main() -> None:
        link = MarketLink("127.0.0.1:1")
        await link.start()
        with pytest.raises(MarketUnavailableError):
            await link.ask(AskDepth(0, "A", 1))
        await link.stop()

    asyncio.run(main())


def test_questions_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(market_link, "WAITING_MAX", 3)

    async def scenario(link: MarketLink, service: Service) -> None:
        service.is_mute = True
        asking = [asyncio.create_task(link.ask(AskDepth(0, "A", 1), timeout_s=5)) for _ in range(3)]
        await asyncio.sleep(0.01)
        with pytest.raises(MarketBusyError):
            await link.ask(AskDepth(0, "A", 1))
        await link.stop()
        for task in asking:
            with pytest.raises(MarketUnavailableError):
                await task

    run(scenario)
