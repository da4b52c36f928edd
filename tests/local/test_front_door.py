"""The front door: routes, bounds, what is passed on and what is not, and that a slow reader costs no memory."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest
import uvloop

from local import front_door
from local.front_door import Client, FrontDoor, Settings
from local.site import Site

HEAD_END = b"\r\n\r\n"


@dataclass
class Gateway:
    """A gateway that keeps what it was sent and answers as it is told."""

    answer: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    closes: bool = False
    received: list[bytes] = field(default_factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(HEAD_END)
                size = next((int(v) for n, v in headers(head) if n == "content-length"), 0)
                self.received.append(head + await reader.readexactly(size))
                writer.write(self.answer)
                await writer.drain()
                if self.closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()


def headers(head: bytes) -> list[tuple[str, str]]:
    lines = head.partition(HEAD_END)[0].decode("latin-1").split("\r\n")[1:]
    return [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]


class World:
    """A front door, a site, and gateways made by the test."""

    def __init__(self, site: Path) -> None:
        self.site = site
        self.rest = Gateway()
        self.stream: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] = Gateway().serve
        self.port = 0
        self.door: FrontDoor

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._servers = [
            await asyncio.start_server(self.rest.serve, "127.0.0.1", 0),
            await asyncio.start_server(self._serve_stream, "127.0.0.1", 0),
        ]
        rest, stream = (f"127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in self._servers)
        self.door = FrontDoor(Settings(port=8000, site=self.site, rest=(rest,), stream=(stream,)))
        server = await loop.create_server(lambda: Client(self.door), "127.0.0.1", 0)
        self._servers.append(server)
        self.port = server.sockets[0].getsockname()[1]
        return self

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.stream(reader, writer)

    async def __aexit__(self, *_error: object) -> None:
        for server in self._servers:
            server.close()
        for client in list(self.door.clients):
            client.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, request: bytes) -> bytes:
        """Send a request on a connection of its own; return everything that comes back until the end."""
        reader, writer = await self.connect()
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return answer


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>page")
    (tmp_path / "assets" / "app-1.js").write_text("code()")
    return tmp_path


def run(site: Path, body: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        async with World(site) as world:
            await asyncio.wait_for(body(world), 20)

    uvloop.run(main())  # as in production


def request(
    target: str, *lines: str, method: str = "GET", body: bytes = b"", host: str = "localhost:8000", close: bool = True
) -> bytes:
    given = [f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, *(["Connection: close"] if close else [])]
    if body:
        given.append(f"Content-Length: {len(body)}")
    return "\r\n".join(given).encode() + HEAD_END + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_rest_gets_the_request_with_the_viewers_true_address_and_nothing_forged(site: Path) -> None:
    async def body(world: World) -> None:
        forged = ("CloudFront-Viewer-Address: 6.6.6.6:1", "X-Forwarded-For: 6.6.6.6", "X-Viewer-Address: 6.6.6.6")
        hop = ("Keep-Alive: 5", "TE: trailers", "X-MBX-APIKEY: k")
        answer = await world.ask(request("/api/v3/order?a=1%20b", *forged, *hop, method="POST", body=b"x=1"))
        assert answer == world.rest.answer
        (received,) = world.rest.received
        assert received.startswith(b"POST /api/v3/order?a=1%20b HTTP/1.1\r\n")
        assert received.endswith(HEAD_END + b"x=1")
        given = dict(headers(received))
        assert given.keys() == {"host", "x-mbx-apikey", "content-length", "cloudfront-viewer-address"}
        assert given["cloudfront-viewer-address"].rpartition(":")[0] == "127.0.0.1"
        assert b"6.6.6.6" not in received

    run(site, body)


@pytest.mark.parametrize("target", ["/api/v3/ping", "/sapi/v1/x"])
def test_rest_routes(site: Path, target: str) -> None:
    async def body(world: World) -> None:
        assert status(await world.ask(request(target))) == 200
        assert len(world.rest.received) == 1

    run(site, body)


def test_a_connection_serves_many_requests_in_order_even_when_they_come_at_once(site: Path) -> None:
    async def body(world: World) -> None:
        reader, writer = await world.connect()
        many = b"".join(request(f"/api/v3/{n}", close=False) for n in range(40))
        writer.write(many + request("/", close=True))
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.count(b"HTTP/1.1 200 OK") == 41
        assert answer.endswith(b"page")
        paths = [each.split(b" ")[1] for each in world.rest.received]
        assert paths == [b"/api/v3/%d" % n for n in range(40)]
        assert world.rest.connections == 1, "connections to the gateway are used again"

    run(site, body)


def test_a_chunked_body_is_passed_on_whole_with_its_length(site: Path) -> None:
    async def body(world: World) -> None:
        head = request("/api/v3/order", "Transfer-Encoding: chunked", method="POST")
        await world.ask(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert world.rest.received[0].endswith(HEAD_END + b"abcde")
        assert ("content-length", "5") in headers(world.rest.received[0])
        assert not any(name == "transfer-encoding" for name, _ in headers(world.rest.received[0]))

    run(site, body)


def test_answers_without_a_length_and_chunked_ones_pass_byte_for_byte(site: Path) -> None:
    async def body(world: World) -> None:
        world.rest.answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        assert await world.ask(request("/api/v3/a")) == world.rest.answer
        world.rest.answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end"
        world.rest.closes = True
        assert await world.ask(request("/api/v3/b", close=False)) == world.rest.answer

    run(site, body)


def test_head_has_no_body_whatever_its_answer_says(site: Path) -> None:
    async def body(world: World) -> None:
        world.rest.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
        reader, writer = await world.connect()
        writer.write(request("/api/v3/a", method="HEAD", close=False))
        assert await asyncio.wait_for(reader.readuntil(HEAD_END), 5) == world.rest.answer
        world.rest.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
        writer.write(request("/api/v3/b"))
        assert await asyncio.wait_for(reader.read(), 5) == world.rest.answer

    run(site, body)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (request("/api/v3/order", method="POST", body=b"x" * (front_door.BODY_BYTES_MAX + 1)), 413),
        (request("/api/v3/order", "Transfer-Encoding: chunked", method="POST") + b"fffffff\r\n" + b"x" * 2**21, 413),
        (request("/api/v3/a", f"X: {'y' * front_door.HEAD_BYTES_MAX}"), 431),
        (request("/api/v3/a", *[f"X-{n}: y" for n in range(front_door.HEADERS_MAX)]), 431),
        (request("/api/v3/a", host="attacker.example"), 421),
        (request("/", host="attacker.example:8000"), 421),
        (b"GET /api/v3/a HTTP/1.1" + HEAD_END, 421),
        (b"nonsense" + HEAD_END, 400),
        (request("/api/v3/a", "Content-Length: 5", "Transfer-Encoding: chunked", method="POST"), 400),
        (request("/missing.js"), 404),
        (request("/..%2f..%2fetc/passwd"), 404),
        (request("/../../etc/passwd"), 404),
        (request("/", method="POST", body=b"x"), 405),
    ],
)
def test_what_is_not_wanted_is_refused_and_nobody_behind_hears_of_it(site: Path, sent: bytes, expected: int) -> None:
    async def body(world: World) -> None:
        answer = await world.ask(sent)
        assert status(answer) == expected
        assert world.rest.received == []
        if expected in {400, 413, 421, 431}:
            told = json.loads(answer.partition(HEAD_END)[2])
            assert told["code"] < 0
            assert told["msg"]

    run(site, body)


def test_a_body_of_the_largest_size_passes(site: Path) -> None:
    async def body(world: World) -> None:
        content = b"x" * front_door.BODY_BYTES_MAX
        assert status(await world.ask(request("/api/v3/order", method="POST", body=content))) == 200
        assert world.rest.received[0].endswith(content)

    run(site, body)


def test_a_gateway_that_is_down_is_told_in_the_apis_own_form(site: Path) -> None:
    async def body(world: World) -> None:
        world._servers[0].close()
        answer = await world.ask(request("/api/v3/ping"))
        assert status(answer) == 502
        assert json.loads(answer.partition(HEAD_END)[2]) == {"code": -1000, "msg": "the REST gateway is not reachable"}
        assert status(await world.ask(request("/"))) == 200, "the site is served all the same"

    run(site, body)


def test_a_gateway_that_dies_before_its_answer_leaves_the_status_unknown(site: Path) -> None:
    async def body(world: World) -> None:
        world.rest.answer = b""
        world.rest.closes = True
        answer = await world.ask(request("/api/v3/order", method="POST", body=b"x"))
        assert status(answer) == 502
        assert json.loads(answer.partition(HEAD_END)[2])["code"] == -1006
        assert len(world.rest.received) == 1, "an order is never sent twice"

    run(site, body)


def test_a_gateway_that_dies_within_its_answer_ends_the_connection(site: Path) -> None:
    async def body(world: World) -> None:
        world.rest.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"
        world.rest.closes = True
        reader, writer = await world.connect()
        writer.write(request("/api/v3/a", close=False))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(reader.readexactly(200), 5)

    run(site, body)


def test_a_gateway_that_does_not_answer_has_a_limit(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_door, "ANSWER_TIMEOUT_S", 0.1)

    async def body(world: World) -> None:
        world.rest.answer = b""
        answer = await world.ask(request("/api/v3/a"))
        assert status(answer) == 504
        assert json.loads(answer.partition(HEAD_END)[2])["code"] == -1007

    run(site, body)


def test_a_request_that_is_never_finished_has_a_limit(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_door, "REQUEST_TIMEOUT_S", 0.1)

    async def body(world: World) -> None:
        assert status(await world.ask(b"GET /api/v3/a HTTP/1.1\r\n")) == 408

    run(site, body)


def test_there_is_a_limit_of_connections(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_door, "CONNECTIONS_MAX", 2)

    async def body(world: World) -> None:
        kept = [await world.connect() for _ in range(2)]
        reader, _writer = await world.connect()
        assert status(await asyncio.wait_for(reader.read(), 5)) == 503
        kept[0][1].close()
        await asyncio.sleep(0.1)
        assert status(await world.ask(request("/"))) == 200

    run(site, body)


def test_the_page_has_security_headers_and_is_known_by_its_tag(site: Path) -> None:
    async def body(world: World) -> None:
        page = await world.ask(request("/"))
        given = dict(headers(page))
        policy = given["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "connect-src 'self' ws://127.0.0.1:8000 ws://localhost:8000;" in policy
        assert "unsafe" not in policy
        assert given["x-content-type-options"] == "nosniff"
        assert given["x-frame-options"] == "DENY"
        assert given["content-type"] == "text/html; charset=utf-8"
        assert given["cache-control"] == "no-cache"
        again = await world.ask(request("/", f"If-None-Match: {given['etag']}"))
        assert status(again) == 304
        assert again.endswith(HEAD_END)
        script = dict(headers(await world.ask(request("/assets/app-1.js"))))
        assert "immutable" in script["cache-control"]
        assert script["content-type"].startswith("text/javascript")

    run(site, body)


def test_a_new_build_is_picked_up_and_a_missing_one_is_told(site: Path) -> None:
    async def body(world: World) -> None:
        assert (await world.ask(request("/"))).endswith(b"page")
        (site / "index.html").write_text("<!doctype html>newer")
        assert (await world.ask(request("/"))).endswith(b"newer")
        (site / "index.html").unlink()
        assert status(await world.ask(request("/"))) == 503

    run(site, body)


UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: k", "X-Viewer-Address: 6.6.6.6")
AGREED = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n"


@pytest.mark.parametrize("target", ["/ws", "/ws/btcusdt@trade", "/stream?streams=a", "/ws-api/v3"])
def test_after_the_upgrade_bytes_pass_both_ways_untouched(site: Path, target: str) -> None:
    heads: list[bytes] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(HEAD_END))
        await asyncio.sleep(0.05)  # the client's first frame comes before the agreement
        writer.write(AGREED)
        while data := await reader.read(1000):
            writer.write(data.upper())
        writer.close()

    async def body(world: World) -> None:
        world.stream = echo
        reader, writer = await world.connect()
        writer.write(request(target, *UPGRADE, close=False) + b"early ")
        assert await reader.readuntil(HEAD_END) == AGREED
        writer.write(b"late GET / HTTP/1.1\r\n\r\n")
        assert await reader.readexactly(29) == b"EARLY LATE GET / HTTP/1.1\r\n\r\n"
        given = dict(headers(heads[0]))
        assert given["upgrade"] == "websocket"
        assert given["connection"] == "Upgrade"
        assert given["sec-websocket-key"] == "k"
        assert given["x-viewer-address"] == "127.0.0.1"
        assert b"6.6.6.6" not in heads[0]
        writer.close()

    run(site, body)


def test_a_client_may_not_speak_to_a_gateway_that_did_not_agree(site: Path) -> None:
    received: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(HEAD_END)
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        await asyncio.sleep(0.2)
        writer.close()
        received.append(await reader.read())

    async def body(world: World) -> None:
        world.stream = refuse
        forged = request("/ws", "X-Viewer-Address: 6.6.6.6", close=False)
        answer = await world.ask(request("/ws", *UPGRADE, close=False) + forged)
        assert status(answer) == 400
        await asyncio.sleep(0.3)
        assert received == [b""]

    run(site, body)


def test_one_side_hanging_up_ends_the_other(site: Path) -> None:
    ended = asyncio.Event

    async def body(world: World) -> None:
        over = ended()

        async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(HEAD_END)
            writer.write(AGREED)
            await reader.read()
            over.set()
            writer.close()

        world.stream = wait
        reader, writer = await world.connect()
        writer.write(request("/ws", *UPGRADE, close=False))
        await reader.readuntil(HEAD_END)
        writer.close()
        await asyncio.wait_for(over.wait(), 5)

    run(site, body)


def test_a_slow_reader_slows_down_its_sender_and_costs_little_memory(site: Path) -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(HEAD_END)
        writer.write(AGREED)
        block = b"x" * 65536
        try:
            while True:
                writer.write(block)
                await writer.drain()
                sent += len(block)
        except ConnectionError:
            return

    async def body(world: World) -> None:
        world.stream = flood
        reader, writer = await world.connect()
        writer.write(request("/ws", *UPGRADE, close=False))
        await reader.readuntil(HEAD_END)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        before, deadline = -1, time.monotonic() + 20
        while sent != before:  # until it stands still: a busy machine takes longer to fill every buffer
            assert time.monotonic() < deadline, "the sender is not stopped"
            before = sent
            await asyncio.sleep(0.5)
        (client,) = world.door.clients
        assert client._transport.get_write_buffer_size() <= front_door.HIGH_WATER_BYTES + 2**18
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        await asyncio.wait_for(reader.readexactly(before), 10)
        assert sent > before
        writer.close()

    run(site, body)


def test_a_head_of_a_missing_page_has_no_body(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>page</p>")
    answer = Site(tmp_path, 8000).answer(b"HEAD", b"/nope", b"")
    assert answer.startswith(b"HTTP/1.1 404")
    assert answer.endswith(b"\r\n\r\n")
