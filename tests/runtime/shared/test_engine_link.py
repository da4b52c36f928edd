"""A link to the engine ends when it is told to, whatever arrives at that moment."""

import asyncio
import contextlib

from runtime.shared.engine_link import EngineLink


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
