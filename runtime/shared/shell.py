"""The outermost shell of a service: an event loop that ends on SIGTERM, and a top that reports what went wrong."""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable

import uvloop

logger = logging.getLogger(__name__)


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `main` until it returns. Its event is set on SIGTERM or SIGINT; an error is logged and exits with 1."""

    async def supervised() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await main(stopping)

    try:
        uvloop.run(supervised())
    except Exception:
        logger.exception("stopped by an error")
        sys.exit(1)
