"""The outermost shell of a service: an event loop that ends on SIGTERM, and a top that reports what went wrong."""

import asyncio
import contextlib
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


async def presence(host: str, port: int) -> asyncio.Server:
    """Listen only to show a health check that the process lives: whoever connects is hung up on."""
    return await asyncio.start_server(_hung_up, host, port)


async def _hung_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
