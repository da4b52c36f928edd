"""Trades reach the stream in order, exactly once while it works, and never hold anything up while it does not."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from runtime.market_data import trade_stream
from runtime.market_data.trade_stream import TradePublisher
from runtime.shared.messages import Traded
from runtime.shared.trade_records import TRADES_SCHEMA, Place, TradeBatch, TradeRecord, decode_batch, record
from tests.runtime.market_data.wire import until


def trades(first: int, count: int) -> list[TradeRecord]:
    return [
        record("BTCUSDT", Traded(1, n, 100, 1, False, 1, 2, 3, 4, 0, 0), sequence=n // 3, time_us=n)  # noqa: FBT003
        for n in range(first, first + count)
    ]


class Stream:
    """A stream that fails as often as it is told."""

    def __init__(self) -> None:
        self.batches: list[TradeBatch] = []
        self.after: list[str | None] = []
        self.failures = 0

    def put(self, data: bytes, after: str | None) -> str:
        if self.failures:
            self.failures -= 1
            raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "PutRecord")
        assert len(data) < 1_000_000
        self.batches.append(decode_batch(data))
        self.after.append(after)
        return str(len(self.batches))

    @property
    def ids(self) -> list[int]:
        return [trade.trade_id for batch in self.batches for trade in batch.trades]


def publishing(scenario: Callable[[TradePublisher, Stream], Awaitable[None]]) -> None:
    async def run() -> None:
        stream = Stream()
        publisher = TradePublisher(stream.put, "main")
        task = asyncio.create_task(publisher.run())
        await scenario(publisher, stream)
        await publisher.stop(task)
        assert task.done()

    asyncio.run(run())


def test_a_batch_says_what_it_holds() -> None:
    async def scenario(publisher: TradePublisher, stream: Stream) -> None:
        publisher.offer(trades(7, 5))
        publisher.offer([])
        await until(lambda: stream.batches)
        (batch,) = stream.batches
        assert (batch.schema, batch.group, batch.first, batch.last) == (
            TRADES_SCHEMA,
            "main",
            Place(1, 2),
            Place(1, 3),
        )
        assert batch.trades == trades(7, 5)

    publishing(scenario)


def test_order_and_size_hold_through_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trade_stream, "BACKOFF_MIN_S", 0.001)

    async def scenario(publisher: TradePublisher, stream: Stream) -> None:
        stream.failures = 3
        publisher.offer(trades(1, 5_000))
        publisher.offer(trades(5_001, 10))
        await until(lambda: len(stream.ids) == 5_010)
        assert stream.ids == list(range(1, 5_011))
        assert [len(batch.trades) for batch in stream.batches] == [2_000, 2_000, 1_010]
        assert stream.after == [None, "1", "2"]

    publishing(scenario)


def test_what_the_stream_does_not_take_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trade_stream, "BACKOFF_MIN_S", 0.02)
    monkeypatch.setattr(trade_stream, "TRADES_WAITING_MAX", 100)

    async def scenario(publisher: TradePublisher, stream: Stream) -> None:
        stream.failures = 2
        for first in range(1, 500, 10):
            publisher.offer(trades(first, 10))
            await asyncio.sleep(0)
        assert publisher.given_up == 400
        assert publisher.pulse() == {"trades_stuck_s": 0, "trades_waiting": 100, "trades_given_up": 400}
        await until(lambda: stream.ids and stream.ids[-1] == 500)
        sent = stream.ids
        assert sent == sorted(set(sent))
        assert sent[-100:] == list(range(401, 501))  # the newest are kept

    publishing(scenario)


def test_how_long_the_stream_has_taken_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trade_stream, "BACKOFF_MIN_S", 0.001)
    monkeypatch.setattr(trade_stream, "BACKOFF_MAX_S", 0.001)
    now_s = 1_000.0
    monkeypatch.setattr(trade_stream, "time", SimpleNamespace(monotonic=lambda: now_s))

    async def scenario(publisher: TradePublisher, stream: Stream) -> None:
        nonlocal now_s
        stream.failures = 10**6
        publisher.offer(trades(1, 3))
        await until(lambda: stream.failures < 10**6 - 1)
        now_s += 42.5
        tried = stream.failures
        await until(lambda: stream.failures < tried - 1)
        assert publisher.pulse() == {"trades_stuck_s": 42, "trades_waiting": 3, "trades_given_up": 0}
        stream.failures = 0
        await until(lambda: stream.ids)
        assert publisher.pulse()["trades_stuck_s"] == 0

    publishing(scenario)


def test_stopping_gives_what_waits_a_last_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sent() -> None:
        stream = Stream()
        publisher = TradePublisher(stream.put, "main")
        task = asyncio.create_task(publisher.run())
        publisher.offer(trades(1, 3))
        await publisher.stop(task)
        assert stream.ids == [1, 2, 3]

    async def not_sent() -> None:
        stream = Stream()
        stream.failures = 10**6
        publisher = TradePublisher(stream.put, "main")
        task = asyncio.create_task(publisher.run())
        publisher.offer(trades(1, 3))
        await publisher.stop(task)
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    monkeypatch.setattr(trade_stream, "STOP_TIMEOUT_S", 0.2)
    asyncio.run(sent())
    asyncio.run(not_sent())
