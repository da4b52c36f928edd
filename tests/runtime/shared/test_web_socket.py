"""A WebSocket opens, or a ConnectionError says why not, however the other side behaves."""

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest
from picows import WSListener, WSTransport, WSUpgradeRequest, ws_create_server

from local.stand_ins import free_port
from runtime.shared.web_socket import connect

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener(WSListener):
    """Knows whether it was connected."""

    transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def _not_found(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    writer.close()


async def _nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"\x00\x01\x02\r\n\r\n")
    writer.close()


@pytest.mark.parametrize(
    ("serve", "why"), [(_hang_up, "hung up before it answered"), (_not_found, "404"), (_nonsense, "")]
)
def test_a_server_that_opens_none_is_named(serve: Serve, why: str) -> None:
    async def scenario() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:  # type: ignore[arg-type]
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
            with pytest.raises(ConnectionError, match=f"{re.escape(url)}: .*{why}"):
                await connect(Listener, url)

    asyncio.run(scenario())


def test_an_address_where_nobody_listens_is_named() -> None:
    url = f"ws://127.0.0.1:{free_port()}/ws"
    with pytest.raises(ConnectionError, match=re.escape(url)):
        asyncio.run(connect(Listener, url))


def test_what_is_open_is_given() -> None:
    async def scenario() -> None:
        def accept(_request: WSUpgradeRequest) -> WSListener:
            return Listener()

        server = await ws_create_server(accept, "127.0.0.1", 0)
        async with server:
            listener = await connect(Listener, f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws")
            assert listener.transport
            listener.transport.disconnect()

    asyncio.run(scenario())
