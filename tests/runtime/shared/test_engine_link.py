"""A link to the engine: how much it takes, and that it ends when it is told to, whatever arrives at that moment."""

import asyncio
import contextlib

import pytest

from runtime.shared.engine_link import CANCELS_RESERVED, IN_FLIGHT_MAX, EngineBusyError, EngineLink
from runtime.shared.messages import BUY, GTC, LIMIT, CancelAll, PlaceOrder


def test_a_link_stops_even_when_a_frame_takes_the_cancellation_with_it() -> None:
    """As `wait_for` does in Python 3.11 when what it waits for is there in the same turn of the loop."""

    async def deaf_once() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        await asyncio.sleep(3600)

    async def scenario() -> None:
        link = EngineLink("127.0.0.1:1")
        link._tasks = [asyncio.create_task(deaf_once())]
        await asyncio.sleep(0)
        await asyncio.wait_for(link.stop(), 5)
        assert link._tasks[0].cancelled()

    asyncio.run(scenario())


def test_a_link_that_breaks_just_now_ends_by_one_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the end of a program cancels its tasks, once: while the link waits for its writing side to end."""

    async def slow_to_end(_link: EngineLink, _writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ending.set()
            await asyncio.sleep(0.05)

    async def scenario() -> None:
        nonlocal ending
        ending = asyncio.Event()
        reader = asyncio.StreamReader()
        talk = asyncio.create_task(EngineLink("127.0.0.1:1")._converse(reader, None))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reader.feed_eof()
        await asyncio.wait_for(ending.wait(), 5)
        talk.cancel()
        await asyncio.wait((talk,), timeout=5)
        assert talk.cancelled(), "the cancellation was taken for the writing side's"

    ending = asyncio.Event()
    monkeypatch.setattr(EngineLink, "_write", slow_to_end)
    asyncio.run(scenario())


def test_a_flood_of_orders_leaves_room_for_cancels() -> None:
    async def scenario() -> None:
        link = EngineLink("127.0.0.1:1")
        order = PlaceOrder(1000, 1, BUY, LIMIT, GTC, 1, 1, 0, "flood")
        orders = IN_FLIGHT_MAX - CANCELS_RESERVED
        for _ in range(orders):
            link.submit(order, lambda _: None)
        with pytest.raises(EngineBusyError, match=f"^{orders} commands are in flight; at most {orders} may be$"):
            link.submit(order, lambda _: None)
        for _ in range(CANCELS_RESERVED):
            link.submit(CancelAll(1000, 1), lambda _: None)
        with pytest.raises(EngineBusyError, match=f"at most {IN_FLIGHT_MAX} may be$"):
            link.submit(CancelAll(1000, 1), lambda _: None)

    asyncio.run(scenario())
