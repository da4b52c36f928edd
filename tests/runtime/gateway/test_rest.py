"""The REST API over real sockets: forms and queries, headers, limits, malformed requests, a graceful end."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from runtime.gateway import rest
from runtime.gateway.engine import Tell
from runtime.gateway.limit_models import LimitSettings
from runtime.gateway.rest import BODY_BYTES_MAX, UNREAD_BYTES_MAX, RestApi, server, viewer_address
from runtime.shared import messages as m
from runtime.shared.telemetry import Span, Telemetry
from tests.runtime.gateway.world import World, now_ms

LIMIT = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.01",
    "price": "60000",
}


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


class Server:
    """A running REST API and a plain HTTP client for it."""

    def __init__(self, world: World, port: int) -> None:
        self.world = world
        self.port = port

    async def raw(self, request: bytes) -> bytes:
        """Send bytes on a connection of their own; return everything that comes back."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        answer = b""
        with contextlib.suppress(ConnectionResetError):  # the server closed with bytes of ours unread
            while part := await asyncio.wait_for(reader.read(65_536), 10):
                answer += part
        writer.close()
        return answer

    async def ask(self, method: str, target: str, body: str = "", **headers: str) -> Reply:
        lines = [f"{method} {target} HTTP/1.1", "Host: h", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body:
            lines += [f"Content-Length: {len(body)}", "Content-Type: application/x-www-form-urlencoded"]
        return parse(await self.raw("\r\n".join([*lines, "", body]).encode("latin-1")))


def parse(answer: bytes) -> Reply:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert int(headers["content-length"]) == len(body)
    return Reply(int(first.split()[1]), headers, json.loads(body))


def run(scenario: Callable[[Server], Awaitable[None]], world: World | None = None, **options: Any) -> None:
    async def main() -> None:
        served = world or World()
        serving = server(RestApi(served.exchange, **options), 1_000)
        listening = socket.create_server(("127.0.0.1", 0))
        task = asyncio.create_task(serving.serve(sockets=[listening]))
        try:
            await asyncio.wait_for(scenario(Server(served, listening.getsockname()[1])), 30)
        finally:
            serving.should_exit = True
            await task

    asyncio.run(main())


def test_a_traced_request_tells_its_route_and_how_it_ended_and_nothing_of_whose_it_was() -> None:
    world = World()
    world.exchange.telemetry = Telemetry("rest", "127.0.0.1:1")
    told: list[Span] = []
    world.exchange.telemetry.answered = told.append  # type: ignore[method-assign]

    async def scenario(api: Server) -> None:
        key = {"X_MBX_APIKEY": world.ana.api_key}
        assert (await api.ask("GET", "/api/v3/time")).status == 200
        assert (
            await api.ask("GET", "/api/v3/order?" + world.ana.query(symbol="BTCUSDT", orderId=9), **key)
        ).status == 400
        world.engine.is_silent = True
        assert (await api.ask("GET", "/api/v3/account?" + world.ana.query(), **key)).status == 504
        assert (await api.ask("GET", "/api/v3/nothing?secret=1")).status == 404

    run(scenario, world)
    assert [(each.name, each.code, each.is_fault) for each in told] == [
        ("GET /api/v3/time", 0, False),
        ("GET /api/v3/order", -2013, False),
        ("GET /api/v3/account", -1007, True),
    ], "what is no route of ours has a name that strangers choose, so it is not traced"
    assert all(0 < each.start_ns <= each.end_ns for each in told)


def test_an_order_in_a_form_in_the_query_and_in_both() -> None:
    async def scenario(api: Server) -> None:
        ana = api.world.ana
        key = {"X_MBX_APIKEY": ana.api_key}
        form = await api.ask("POST", "/api/v3/order", ana.query(**LIMIT), **key)
        assert (form.status, form.body["status"]) == (200, "NEW")
        assert form.headers["content-type"] == "application/json;charset=UTF-8"
        assert (form.headers["x-mbx-order-count-10s"], form.headers["x-mbx-order-count-1d"]) == ("1", "1")
        assert form.headers["x-mbx-used-weight-1m"] == "0"
        assert "server" not in form.headers
        query = await api.ask("POST", "/api/v3/order?" + ana.query(**LIMIT), **key)
        assert query.body["orderId"] == form.body["orderId"] + 1
        first, rest = urlencode({"symbol": "BTCUSDT", "side": "SELL"}), urlencode(LIMIT | {"timestamp": now_ms()})
        signature = ana.sign((first + rest).encode())
        both = await api.ask("POST", f"/api/v3/order?{first}", f"{rest}&signature={signature}", **key)
        assert both.body["side"] == "SELL"  # what the query says beats the body
        order_id = both.body["orderId"]
        canceled = await api.ask("DELETE", "/api/v3/order", ana.query(symbol="BTCUSDT", orderId=order_id), **key)
        assert canceled.body["status"] == "CANCELED"
        assert "x-mbx-order-count-10s" not in canceled.headers

    run(scenario)


def test_every_kind_of_signature() -> None:
    async def scenario(api: Server) -> None:
        for trader in (api.world.ana, api.world.ana_ed25519, api.world.ana_rsa):
            reply = await api.ask("GET", "/api/v3/account?" + trader.query(), X_MBX_APIKEY=trader.api_key)
            assert (reply.status, reply.body.get("uid")) == (200, trader.account), trader.kind

    run(scenario)


def test_errors_have_their_code_and_status() -> None:
    async def scenario(api: Server) -> None:
        ana = api.world.ana
        for method, target, headers, status, code in (
            ("GET", "/api/v3/nothing", {}, 404, -1020),
            ("GET", "/", {}, 404, -1020),
            ("PUT", "/api/v3/time", {}, 405, -1020),
            ("GET", "/api/v3/time?x=1", {}, 400, -1101),
            ("GET", "/api/v3/depth", {}, 400, -1102),
            ("GET", "/api/v3/depth?symbol=B%C3%84&limit=5", {}, 400, -1100),
            ("GET", "/api/v3/depth?symbol=BTCUSDT&symbol=BTCUSDT", {}, 400, -1101),
            ("GET", "/api/v3/account?" + ana.query(), {}, 401, -2014),
            ("GET", "/api/v3/account?" + ana.query(), {"X_MBX_APIKEY": "bad key"}, 401, -2014),
            ("GET", "/api/v3/account?" + ana.query(), {"X_MBX_APIKEY": "n" * 64}, 401, -2015),
            ("GET", "/api/v3/account?timestamp=1", {"X_MBX_APIKEY": ana.api_key}, 400, -1021),
            ("GET", f"/api/v3/account?timestamp={now_ms()}", {"X_MBX_APIKEY": ana.api_key}, 400, -1102),
            ("GET", "/api/v3/time", {"X_MBX_TIME_UNIT": "HOUR"}, 400, -1194),
            ("POST", "/api/v3/userDataStream", {}, 410, -1016),
            ("POST", "/api/v3/sor/order", {}, 400, -1020),
        ):
            reply = await api.ask(method, target, **headers)
            assert (reply.status, reply.body["code"]) == (status, code), target
            assert "x-mbx-used-weight-1m" in reply.headers
        assert api.world.limiter.used_weight("127.0.0.1") >= 15

    run(scenario)


def test_a_body_that_is_too_large_is_refused() -> None:
    async def scenario(api: Server) -> None:
        reply = await api.ask("POST", "/api/v3/order", "x" * (BODY_BYTES_MAX + 1), X_MBX_APIKEY="k" * 64)
        assert (reply.status, reply.body["code"]) == (413, -1013)
        assert reply.headers["connection"] == "close"
        chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
        head = b"POST /api/v3/order HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert parse(await api.raw(head + chunk * 3)).status == 413
        assert (await api.ask("GET", "/api/v3/ping")).status == 200

    run(scenario)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /api/v3/time\x00 HTTP/1.1\r\n\r\n",
        "GET /api/v3/dépth HTTP/1.1\r\nHost: h\r\n\r\n".encode(),
        b"GET /" + b"x" * (UNREAD_BYTES_MAX + 1),
        b"GET / HTTP/1.1\r\nX: " + b"x" * (UNREAD_BYTES_MAX + 1),
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * (UNREAD_BYTES_MAX // 4),
        b"POST /api/v3/order HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ],
)
def test_what_is_no_request_gets_a_documented_answer(request_bytes: bytes) -> None:
    async def scenario(api: Server) -> None:
        answer = await api.raw(request_bytes)
        if answer or len(request_bytes) < UNREAD_BYTES_MAX:
            reply = parse(answer)
            assert (reply.status, reply.body["code"]) == (400, -1100)
        assert (await api.ask("GET", "/api/v3/ping")).status == 200

    run(scenario)


def test_raw_bytes_beyond_ascii_in_a_query() -> None:
    async def scenario(api: Server) -> None:
        request = "GET /api/v3/depth?symbol=BTCÜSDT HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()
        reply = parse(await api.raw(request))
        assert (reply.status, reply.body["code"]) == (400, -1100)

    run(scenario)


def test_a_gateway_is_in_service_once_it_has_had_its_links_and_stays_in_it_without() -> None:
    async def scenario(api: Server) -> None:
        api.world.market.connected = False
        assert (await api.ask("GET", "/healthz"))[::2] == (503, {"status": "unavailable"})
        api.world.market.connected, api.world.engine.connected = True, False
        assert (await api.ask("GET", "/healthz")).status == 503
        api.world.engine.connected = True
        assert (await api.ask("GET", "/healthz"))[::2] == (200, {"status": "ok"})
        api.world.market.connected = api.world.engine.connected = False
        assert (await api.ask("GET", "/healthz"))[::2] == (200, {"status": "ok"})

    run(scenario)


def test_limits_answer_429_then_418_and_say_how_long_to_wait() -> None:
    async def scenario(api: Server) -> None:
        replies = [await api.ask("GET", "/api/v3/ping") for _ in range(10)]
        assert [each.status for each in replies] == [200] * 4 + [429] * 3 + [418] * 3
        assert [each.headers["x-mbx-used-weight-1m"] for each in replies[:3]] == ["1", "2", "3"]
        assert 1 <= int(replies[4].headers["retry-after"]) <= 60
        assert 60 < int(replies[9].headers["retry-after"]) <= 120
        assert replies[9].body["code"] == -1003
        assert "retry-after" not in replies[0].headers

    run(scenario, World(LimitSettings(weight_per_minute=4, refusals_before_ban=3)))


def test_whose_request_it_is() -> None:
    async def viewers(api: Server) -> None:
        await api.ask("GET", "/api/v3/ping", CloudFront_Viewer_Address="198.51.100.7:4711", X_Forwarded_For="1.2.3.4")
        await api.ask("GET", "/api/v3/ping", CloudFront_Viewer_Address="2001:db8::1:4711")
        assert api.world.limiter.used_weight("198.51.100.7") == 1
        assert api.world.limiter.used_weight("2001:db8::9") == 1
        assert api.world.limiter.used_weight("127.0.0.1") == 0
        assert api.world.limiter.used_weight("1.2.3.4") == 0

    run(viewers)
    run(viewers, trusted_proxy="127.0.0.1")

    async def others(api: Server) -> None:
        await api.ask("GET", "/api/v3/ping", CloudFront_Viewer_Address="198.51.100.7:4711")
        assert api.world.limiter.used_weight("127.0.0.1") == 1

    run(others, trusted_proxy="192.0.2.1")
    assert viewer_address("[2001:db8::1]:443") == viewer_address("2001:db8::1:443") == "2001:db8::1"


def test_microseconds_by_header() -> None:
    async def scenario(api: Server) -> None:
        reply = await api.ask("GET", "/api/v3/time", X_MBX_TIME_UNIT="MICROSECOND")
        assert reply.body["serverTime"] > 10**15

    run(scenario)


def test_requests_in_a_row_on_one_connection() -> None:
    async def scenario(api: Server) -> None:
        ana = api.world.ana
        requests = b"".join(
            f"GET /api/v3/account?{ana.query()} HTTP/1.1\r\nHost: h\r\nX-MBX-APIKEY: {ana.api_key}\r\n\r\n".encode()
            for _ in range(20)
        )
        last = b"GET /api/v3/ping HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        answer = await api.raw(requests + last)
        assert answer.count(b"HTTP/1.1 200 OK") == 21

    run(scenario)


def test_an_answer_leaves_whole_and_one_without_a_body_leaves_too() -> None:
    async def scenario(api: Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(b"HEAD /api/v3/ping HTTP/1.1\r\nHost: h\r\n\r\n")  # kept alive: nothing else pushes it out
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert b"content-length: " in head
        order = api.world.ana.query(**LIMIT).encode()
        sent = b"POST /api/v3/order HTTP/1.1\r\nHost: h\r\nX-MBX-APIKEY: %b\r\nExpect: 100-continue\r\n"
        writer.write(sent % api.world.ana.api_key.encode() + b"Content-Length: %d\r\n\r\n" % len(order))
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(order)
        answer = await asyncio.wait_for(reader.read(65_536), 5)
        assert parse(answer).body["status"] == "NEW"  # head and body came together
        writer.close()

    run(scenario)


def test_stopping_lets_a_request_finish() -> None:
    class SlowWorld(World):
        def __init__(self) -> None:
            super().__init__()
            self.entered, self.release = asyncio.Event(), asyncio.Event()
            submit = self.engine.submit

            async def later(command: m.Command, tell: Tell) -> None:
                await self.release.wait()
                submit(command, tell)

            def slowly(command: m.Command, tell: Tell) -> None:
                self.entered.set()
                self.waiting = asyncio.create_task(later(command, tell))

            self.engine.submit = slowly  # type: ignore[method-assign]

    async def main() -> None:
        world = SlowWorld()
        serving = server(RestApi(world.exchange), 100)
        listening = socket.create_server(("127.0.0.1", 0))
        task = asyncio.create_task(serving.serve(sockets=[listening]))
        api = Server(world, listening.getsockname()[1])
        ana = world.ana
        placing = asyncio.create_task(api.ask("POST", "/api/v3/order", ana.query(**LIMIT), X_MBX_APIKEY=ana.api_key))
        await asyncio.wait_for(world.entered.wait(), 10)
        serving.should_exit = True
        await asyncio.sleep(0.3)
        assert not task.done()
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset, as the system likes
            await api.ask("GET", "/api/v3/ping")
        world.release.set()
        assert (await placing).body["status"] == "NEW"
        await asyncio.wait_for(task, 10)

    asyncio.run(main())


def test_a_server_that_ends_by_itself_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.asynccontextmanager
    async def opened(*_: object) -> AsyncIterator[object]:
        yield World().exchange

    async def serve(*_: object, **__: object) -> None:
        pass

    settings = rest.RestSettings.model_construct(
        service="rest", listen_host="127.0.0.1", listen_port=0, trusted_proxy="", connections_max=1
    )
    monkeypatch.setattr(rest, "read_settings", lambda _: settings)
    monkeypatch.setattr(rest, "configure", lambda _: None)
    monkeypatch.setattr(rest, "open_exchange", opened)
    monkeypatch.setattr(rest.Server, "serve", serve)
    with pytest.raises(RuntimeError, match="ended by itself"):
        asyncio.run(rest.main(asyncio.Event()))
