"""Moves bytes between the enclave and the one address it may reach, KMS of its region; understands none of them."""

import asyncio
import contextlib
import logging
from typing import Final

from runtime.wallet_enclave.transport import CONNECTIONS_MAX, listening

logger = logging.getLogger(__name__)
CHUNK_BYTES: Final = 64 * 1024
CONNECT_TIMEOUT_S: Final = 5.0
LIFE_S: Final = 60.0
"""Of one connection: a call to KMS takes milliseconds."""


async def forward(address: str, host: str, port: int) -> asyncio.Server:
    """Listen at `address` for the enclave and connect each connection to `host`:`port`."""
    places = asyncio.BoundedSemaphore(CONNECTIONS_MAX)

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            if places.locked():
                return
            async with places:
                try:
                    async with asyncio.timeout(CONNECT_TIMEOUT_S):
                        up_reader, up_writer = await asyncio.open_connection(host, port)
                except (OSError, TimeoutError) as error:
                    logger.warning("KMS cannot be reached: %s", error)
                    return
                with contextlib.closing(up_writer), contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LIFE_S):
                        await asyncio.gather(_pumped(reader, up_writer), _pumped(up_reader, writer))

    return await asyncio.start_server(connection, sock=listening(address))


async def _pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        if not writer.is_closing():
            writer.write_eof()
