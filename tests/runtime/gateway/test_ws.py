"""The WebSocket server over real sockets: routes, messages in pieces, pings, limits, a graceful end."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from local.stand_ins import free_port
from runtime.gateway import ws
from runtime.gateway.limit_models import LimitSettings
from runtime.gateway.parts import GatewaySettings
from runtime.gateway.streams import BUFFER_BYTES_MAX, StreamHub
from runtime.gateway.ws import Gateway, listen
from runtime.gateway.ws_api import ApiSession
from runtime.shared import messages as m
from tests.runtime.gateway.world import World

LIMIT = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.01",
    "price": "60000",
}


HANDSHAKE = (
    b"GET %b HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Peer(WSListener):
    """A client that keeps what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: asyncio.Queue[Any] = asyncio.Queue()
        self.close_code: int | None = None
        self.pings = 0
        self.gone = asyncio.Event()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            self.texts.put_nowait(json.loads(frame.get_payload_as_bytes()))
        elif frame.msg_type is WSMsgType.PING:
            self.pings += 1
        elif frame.msg_type is WSMsgType.CLOSE:
            self.close_code = int(frame.get_close_code().value)
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        del transport
        self.gone.set()

    async def text(self) -> Any:
        return await asyncio.wait_for(self.texts.get(), 10)

    async def closed(self) -> int | None:
        await asyncio.wait_for(self.gone.wait(), 10)
        return self.close_code


class Server:
    def __init__(self, world: World, gateway: Gateway, port: int) -> None:
        self.world = world
        self.gateway = gateway
        self.port = port

    async def connect(self, path: str = "/ws-api/v3", **options: Any) -> tuple[WSTransport, Peer]:
        return await ws_connect(Peer, f"ws://127.0.0.1:{self.port}{path}", **options)  # type: ignore[return-value]

    async def get(self, path: str) -> tuple[int, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        answer = (await asyncio.wait_for(reader.read(), 10)).decode()
        writer.close()
        return int(answer.split()[1]), answer.partition("\r\n\r\n")[2]


def run(scenario: Callable[[Server], Awaitable[None]], world: World | None = None, **changes: Any) -> None:
    async def main() -> None:
        served, port = world or World(), free_port()
        config = GatewaySettings.model_construct(connections_max=1_000, trusted_proxy="", **changes)
        hub = StreamHub("127.0.0.1:1", frozenset(served.listings.by_symbol))
        gateway = Gateway(served.exchange, served.users, hub, config)
        server = await listen(gateway, "127.0.0.1", port)
        try:
            await asyncio.wait_for(scenario(Server(served, gateway, port)), 30)
        finally:
            server.close()
            await gateway.shut_down()

    asyncio.run(main())


def request(method: str, request_id: object = 1, **params: Any) -> bytes:
    return json.dumps({"id": request_id, "method": method, "params": params}).encode()


def test_a_request_in_one_frame_and_in_several() -> None:
    async def scenario(server: Server) -> None:
        transport, peer = await server.connect()
        transport.send(WSMsgType.TEXT, request("ping"))
        assert (await peer.text())["status"] == 200
        text = request("ping", 2)
        transport.send(WSMsgType.TEXT, text[:5], fin=False)
        transport.send(WSMsgType.CONTINUATION, text[5:9], fin=False)
        transport.send(WSMsgType.PING, b"between")
        transport.send(WSMsgType.CONTINUATION, text[9:])
        assert (await peer.text())["id"] == 2
        transport.send(WSMsgType.TEXT, request("order.place", 3, **server.world.ana.params(**LIMIT)))
        assert (await peer.text())["result"]["status"] == "NEW"

    run(scenario)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([(WSMsgType.BINARY, b"x", True)], 1003),
        ([(WSMsgType.CONTINUATION, b"x", True)], 1002),
        ([(WSMsgType.TEXT, b"\xff", True)], 1007),
        ([(WSMsgType.TEXT, b"{", False), (WSMsgType.TEXT, b"}", True)], 1002),
        ([(WSMsgType.TEXT, b"x" * 70_000, True)], 1009),
        ([(WSMsgType.TEXT, b"x" * (ws.MESSAGE_BYTES_MAX + 1), True)], 1009),
        ([(WSMsgType.TEXT, b"x" * 60_000, False), *[(WSMsgType.CONTINUATION, b"x" * 60_000, False)] * 3], 1009),
    ],
)
def test_frames_that_may_not_be(frames: list[tuple[WSMsgType, bytes, bool]], code: int) -> None:
    async def scenario(server: Server) -> None:
        transport, peer = await server.connect()
        for kind, payload, fin in frames:
            transport.send(kind, payload, fin=fin)
        assert await peer.closed() == code
        other_transport, other = await server.connect()
        other_transport.send(WSMsgType.TEXT, request("ping"))
        assert (await other.text())["status"] == 200

    run(scenario)


def test_a_goodbye_without_a_reason_is_answered_properly() -> None:
    async def scenario(server: Server) -> None:
        transport, peer = await server.connect()
        transport.underlying_transport.write(bytes([0x88, 0x80, 0, 0, 0, 0]))
        assert await peer.closed() == 1000

    run(scenario)


def test_an_unexpected_failure_ends_that_client_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(server: Server) -> None:
        _, other = await server.connect()
        transport, peer = await server.connect()

        def fail(_: object, __: bytes) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(ApiSession, "on_message", fail)
        transport.send(WSMsgType.TEXT, request("ping"))
        assert await peer.closed() == 1011
        assert not other.gone.is_set()

    run(scenario)


def test_a_message_a_little_too_long_is_told_so_before_the_end() -> None:
    async def scenario(server: Server) -> None:
        transport, peer = await server.connect()
        transport.send(WSMsgType.TEXT, b" " * 70_000)
        reply = await peer.text()
        assert (reply["status"], reply["error"]["code"]) == (413, -1013)
        assert await peer.closed() == 1009

    run(scenario)


def test_events_reach_the_subscriber() -> None:
    async def scenario(server: Server) -> None:
        transport, peer = await server.connect()
        transport.send(WSMsgType.TEXT, request("userDataStream.subscribe.signature", **server.world.ana.params()))
        assert (await peer.text())["result"] == {"subscriptionId": 0}
        server.world.rest_order(server.world.ana.account, m.BUY, 5_000_000, 1_000, "x")
        assert [(await peer.text())["event"]["e"] for _ in range(2)] == ["executionReport", "outboundAccountPosition"]
        transport.disconnect()
        await peer.closed()
        for _ in range(100):
            await asyncio.sleep(0.01)
            if not server.gateway.connections:
                break
        assert server.world.users._listeners == {}

    run(scenario)


def test_routes() -> None:
    async def scenario(server: Server) -> None:
        assert (await server.get("/nothing"))[0] == 404
        assert (await server.get("/ws-api/v4"))[0] == 404
        status, body = await server.get("/ws-api/v3?timeUnit=HOUR")
        assert (status, json.loads(body)["code"]) == (400, -1194)
        assert await server.get("/healthz") == (503, '{"status":"unavailable"}')
        server.gateway.hub.connected = True
        assert (await server.get("/healthz"))[0] == 503  # accounts would miss events
        server.gateway.users.is_following = True
        assert await server.get("/healthz") == (200, '{"status":"ok"}')
        server.world.engine.connected = False
        assert (await server.get("/healthz"))[0] == 200  # or an engine that is away would cost every gateway
        for path in ("/ws", "/ws/0", "/stream"):
            transport, peer = await server.connect(path)
            transport.send(WSMsgType.TEXT, request("LIST_SUBSCRIPTIONS", "a"))
            assert await peer.text() == {"id": "a", "result": []}, path
        server.gateway.is_stopping = True
        assert (await server.get("/healthz"))[0] == 503

    run(scenario)


def test_who_sends_no_sign_of_life_is_dropped_and_nobody_stays_for_ever() -> None:
    async def scenario(server: Server) -> None:
        _, alive = await server.connect()
        _, mute = await server.connect(enable_auto_pong=False)
        (one, two) = sorted(server.gateway.connections, key=lambda each: each._opened_s)
        for connection in (one, two):
            connection.ping(connection._opened_s + 59)
        await asyncio.sleep(0.1)
        assert mute.pings == 1
        assert (one._heard_s > one._opened_s, two._heard_s > two._opened_s) == (True, False)
        one.ping(one._heard_s + 59.9)
        two.ping(two._heard_s + 60.1)
        await mute.closed()
        await asyncio.sleep(0.1)
        assert not alive.gone.is_set()
        one._heard_s += ws.LIFE_S_MAX
        one.ping(one._opened_s + ws.LIFE_S_MAX + 1)
        assert await alive.closed() == 1001

    run(scenario)


def test_who_reads_nothing_is_told_to_go_and_then_cut_off() -> None:
    async def scenario(server: Server) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            deaf.settimeout(0)
            await loop.sock_connect(deaf, ("127.0.0.1", server.port))
            await loop.sock_sendall(deaf, HANDSHAKE % b"/ws")
            assert (await loop.sock_recv(deaf, 1_024)).startswith(b"HTTP/1.1 101 ")
            (connection,) = server.gateway.connections
            while connection.buffered() < BUFFER_BYTES_MAX:
                connection.write(b"x" * 65_536)
            assert connection._stream
            assert connection._stream.is_behind
            connection.close(1008, "too slow")
            connection.ping(connection._heard_s)
            await asyncio.sleep(0.05)
            assert server.gateway.connections == {connection}
            connection.ping(connection._heard_s)
            await asyncio.wait_for(connection.gone.wait(), 5)
            assert server.gateway.connections == set()

    run(scenario)


def test_pings_are_spread_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws, "PING_INTERVAL_S", 1)

    async def scenario(server: Server) -> None:
        _, peer = await server.connect(enable_auto_pong=False)
        task = asyncio.create_task(server.gateway.keep_alive())
        await asyncio.sleep(1.2)
        assert peer.pings == 1
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    run(scenario)


def test_too_many_connections() -> None:
    async def scenario(server: Server) -> None:
        await server.connect()
        await server.connect("/ws")
        _, refused = await server.connect()
        assert await refused.closed() == 1008

    run(scenario, World(LimitSettings(connects_per_5_minutes=2)))


def test_the_address_is_the_peer_s_unless_a_trusted_proxy_says_otherwise() -> None:
    async def scenario(server: Server) -> None:
        transport, peer = await server.connect(extra_headers={"X-Viewer-Address": "198.51.100.7"})
        transport.send(WSMsgType.TEXT, request("ping"))
        await peer.text()

    world = World()
    run(scenario, world)
    assert (world.limiter.used_weight("127.0.0.1"), world.limiter.used_weight("198.51.100.7")) == (3, 0)

    class Proxied(World):
        pass

    world = Proxied()

    async def main() -> None:
        port = free_port()
        config = GatewaySettings.model_construct(connections_max=10, trusted_proxy="127.0.0.1")
        hub = StreamHub("127.0.0.1:1", frozenset(world.listings.by_symbol))
        gateway = Gateway(world.exchange, world.users, hub, config)
        server = await listen(gateway, "127.0.0.1", port)
        await scenario(Server(world, gateway, port))
        server.close()
        await gateway.shut_down()

    asyncio.run(main())
    assert (world.limiter.used_weight("127.0.0.1"), world.limiter.used_weight("198.51.100.7")) == (0, 3)


def test_the_end_is_announced_and_what_is_under_way_is_answered() -> None:
    async def scenario(server: Server) -> None:
        transport, peer = await server.connect()
        _, streams = await server.connect("/ws")
        transport.send(WSMsgType.TEXT, request("order.place", 9, **server.world.ana.params(**LIMIT)))
        assert (await peer.text())["id"] == 9
        await server.gateway.shut_down()
        assert (await peer.text())["event"]["e"] == "serverShutdown"
        assert await peer.closed() == 1001
        assert await streams.closed() == 1001
        assert (await server.get("/ws-api/v3"))[0] == 503
        assert server.gateway.connections == set()

    run(scenario)
