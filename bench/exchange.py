"""Signed orders through the whole path: WebSocket or REST, gateway, engine, journal, acknowledgement.

The exchange is the one that `make up` runs, in a folder of its own, with its market maker paused. What is counted is
the CPU time of the gateway and the engine; the client is a process of its own and costs nothing here. The baseline is
the same client at a bare echo of the same stack, with messages of the same size; for orders, whose answer means that
they are durable, also a bare loop that makes as many commands durable, as many at a time as can be in flight.
"""

import asyncio
import contextlib
import hmac
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import uvicorn
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_connect, ws_create_server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.engine import append_cpu_s
from bench.result import Result, compared, cpu_s, percentiles
from config.markets import CATALOGUE
from local import control
from local.demo import Keys, kept_keys
from local.paths import PROJECT, Layout
from local.stand_ins import free_port
from runtime.market_maker.client import Key, Session

SYMBOL: Final = "BTCUSDT"
ACCOUNTS: Final = ("replay-1", "replay-2", "replay-3", "replay-4")
"""Accounts with high limits."""
CONNECTIONS: Final = 256
"""So many that the gateway is busy, as the echo is: with fewer it mostly waits for the journal, and is woken up anew
for each batch that has become durable.
"""
IN_FLIGHT: Final = 1
"""Requests of one connection that are not answered yet. With more, a bare echo reads and writes many at a time."""
WARM_S: Final = 2.0
LOAD_S: Final = 8.0
SETTLE_S: Final = 1.0


class Load(msgspec.Struct, frozen=True):
    """What a client process saw: how many requests were answered, in which time, and how long each took, in seconds."""

    answered: int
    seconds: float
    latencies_s: list[float]
    error: str = ""


@contextlib.contextmanager
def exchange(root: Path) -> Iterator[Layout]:
    """Start an exchange in the empty folder `root`; stop it, whatever happens."""
    shutil.rmtree(root, ignore_errors=True)
    layout = Layout(root)
    environment = {**os.environ, "LOCAL_DIR": str(root)}

    def local(*arguments: str) -> None:
        command = [sys.executable, "-m", "local", *arguments]
        subprocess.run(command, cwd=PROJECT, env=environment, check=True, capture_output=True)  # noqa: S603 - ours

    local("up", "--port", str(free_port()), "--detach")
    try:
        paused = layout.run / "pause"
        paused.mkdir(exist_ok=True)
        for market in CATALOGUE.markets:
            (paused / market.symbol).write_text(str(os.getpid()))
        time.sleep(SETTLE_S)
        yield layout
    finally:
        local("down")


def e2e() -> Result:
    """Measure durable, authenticated orders for each CPU second of gateway and engine."""
    with exchange(Path(PROJECT / ".local" / "bench")) as layout:
        status = control.read_status(layout)
        assert status
        pids = [process.pid for process in status.processes if process.name.split("-")[0] in ("ws", "engine")]
        keys = kept_keys(layout.state / "clients.json")
        told = [[each.ed25519_api_key, each.ed25519_private_key_pem] for each in _accounts(keys)]
        url = f"ws://{next(each.address for each in status.processes if each.name.startswith('ws'))}/ws-api/v3"
        load, spent = _measure(["orders", url], told, pids)
    with _served("serve") as (address, pid):
        echo, echo_spent = _measure(["echoes", f"ws://{address}/"], [None] * CONNECTIONS, [pid])
    echo_s = echo_spent / echo.answered
    append_s = append_cpu_s(CONNECTIONS * IN_FLIGHT)
    return compared(
        "e2e",
        load.answered / spent,
        1 / (echo_s + append_s),
        unit="orders per CPU second of gateway and engine",
        what=f"{CONNECTIONS} connections logged on with Ed25519, {IN_FLIGHT} in flight each, LIMIT and cancel in turn, "
        f"file journal; {_pace(load)}; to a bare picows echo ({1 / echo_s:,.0f} per CPU second, "
        f"{echo.answered / echo.seconds:.0f}/s) and a bare group-commit append, together",
    )


def rest() -> Result:
    """Measure signed REST orders for each CPU second of the REST gateway."""
    with exchange(Path(PROJECT / ".local" / "bench")) as layout:
        status = control.read_status(layout)
        assert status
        (gateway,) = (process for process in status.processes if process.name.startswith("rest"))
        keys = kept_keys(layout.state / "clients.json")
        told = [[each.api_key, each.secret_key] for each in _accounts(keys)]
        load, spent = _measure(["rest", gateway.address], told, [gateway.pid])
    with _served("serve-rest") as (address, pid):
        echo, echo_spent = _measure(["rest-echoes", address], [None] * CONNECTIONS, [pid])
    return compared(
        "rest",
        load.answered / spent,
        echo.answered / echo_spent,
        unit="requests per CPU second of the REST gateway",
        what=f"{CONNECTIONS} connections, HMAC, LIMIT and cancel in turn; {_pace(load)}; to a bare echo of Starlette "
        f"and msgspec on the same server, {echo.answered / echo.seconds:.0f}/s",
    )


def _accounts(keys: Mapping[str, Keys]) -> list[Keys]:
    """Return whose keys each connection uses."""
    return [keys[ACCOUNTS[at % len(ACCOUNTS)]] for at in range(CONNECTIONS)]


def _pace(load: Load) -> str:
    return f"{load.answered / load.seconds:.0f}/s, p50/p99/p99.9 {percentiles(load.latencies_s)} ms"


@contextlib.contextmanager
def _served(what: str) -> Iterator[tuple[str, int]]:
    """Run a bare server of this module; yield its address and process id."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.exchange", what, str(port)], cwd=PROJECT)  # noqa: S603
    try:
        time.sleep(SETTLE_S)
        yield f"127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait()


def _measure(command: list[str], told: Any, pids: list[int]) -> tuple[Load, float]:  # noqa: ANN401 - JSON for the client
    """Run a client process; return what it saw and the CPU seconds that `pids` used while it counted."""
    client = subprocess.Popen(  # noqa: S603 - this very module
        [sys.executable, "-m", "bench.exchange", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=PROJECT,
    )
    assert client.stdin
    assert client.stdout
    client.stdin.write(msgspec.json.encode(told) + b"\n")
    client.stdin.flush()
    client.stdout.readline()  # it is warm and begins to count
    before = sum(map(cpu_s, pids))
    client.stdout.readline()  # it has counted
    spent = sum(map(cpu_s, pids)) - before
    load = msgspec.json.decode(client.stdout.read(), type=Load)
    client.wait()
    if load.error:
        raise RuntimeError(load.error)
    return load, spent


# ---- the client process ---------------------------------------------------------------------------------------------


async def _load(ask: Callable[[int, int], Any], lanes: int) -> None:
    """Ask on every lane for WARM_S, then for LOAD_S while counting; print what was seen."""
    counting = False
    stopping = False
    answered = 0
    latencies: list[float] = []
    error = ""

    async def lane(number: int) -> None:
        nonlocal answered, error
        at = 0
        try:
            while not stopping:
                started = time.perf_counter()
                await ask(number, at)
                at += 1
                if counting:
                    answered += 1
                    latencies.append(time.perf_counter() - started)
        except Exception as caught:  # noqa: BLE001 - told to the parent, which stops
            error = repr(caught)

    tasks = [asyncio.create_task(lane(number)) for number in range(lanes)]
    await asyncio.sleep(WARM_S)
    counting = True
    sys.stdout.write("warm\n")
    sys.stdout.flush()
    started = time.perf_counter()
    await asyncio.sleep(LOAD_S)
    counting = False
    seconds = time.perf_counter() - started
    sys.stdout.write("counted\n")
    sys.stdout.flush()
    stopping = True
    await asyncio.gather(*tasks)
    sys.stdout.buffer.write(msgspec.json.encode(Load(answered, seconds, latencies, error)))


async def _orders(url: str, told: list[list[str]]) -> None:
    sessions = [Session(Key(*keys), in_flight_max=2 * IN_FLIGHT) for keys in told]
    for session in sessions:
        await session.open(url)
    run = f"{time.time_ns() // 1_000_000:x}"
    standing: dict[int, int] = {}

    async def ask(lane: int, at: int) -> None:
        session = sessions[lane % len(sessions)]
        if at % 2:
            await session.call("order.cancel", symbol=SYMBOL, orderId=standing[lane])
            return
        placed = await session.call(
            "order.place",
            symbol=SYMBOL,
            side="BUY",
            type="LIMIT",
            timeInForce="GTC",
            price=f"{30_000 + lane % 50}.00",
            quantity="0.00100",
            newClientOrderId=f"b{run}-{lane}-{at}",
            newOrderRespType="ACK",
        )
        standing[lane] = placed["orderId"]

    await _load(ask, len(sessions) * IN_FLIGHT)
    for session in sessions:
        session.close()


class _Http(asyncio.Protocol):
    """One kept connection: sends a request, waits for the answer, reads no more of it than a client has to."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._received = b""
        self._waiting: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) < length or self._waiting is None:
            return
        self._received = b""
        if head.startswith(b"HTTP/1.1 200 "):
            self._waiting.set_result(body)
        else:
            self._waiting.set_exception(RuntimeError(body.decode()))

    async def ask(self, head: bytes, body: bytes = b"") -> bytes:
        assert self.transport
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(b"%b\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
        return await self._waiting


async def _http(address: str, count: int) -> list[_Http]:
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(_Http, host, int(port)))[1] for _ in range(count)]


async def _rest(address: str, told: list[list[str]]) -> None:
    clients = await _http(address, len(told))
    run = f"{time.time_ns() // 1_000_000:x}"
    standing: dict[int, int] = {}

    async def ask(lane: int, at: int) -> None:
        api_key, secret = told[lane]
        if at % 2:
            method, query = "DELETE", f"symbol={SYMBOL}&orderId={standing[lane]}"
        else:
            method = "POST"
            query = (
                f"symbol={SYMBOL}&side=BUY&type=LIMIT&timeInForce=GTC&price={30_000 + lane % 50}.00&quantity=0.00100"
                f"&newClientOrderId=b{run}-{lane}-{at}&newOrderRespType=ACK"
            )
        query += f"&timestamp={time.time_ns() // 1_000_000}"
        signature = hmac.digest(secret.encode(), query.encode(), "sha256").hex()
        head = f"{method} /api/v3/order?{query}&signature={signature} HTTP/1.1\r\nX-MBX-APIKEY: {api_key}"
        answer = await clients[lane].ask(head.encode())
        if not at % 2:
            standing[lane] = msgspec.json.decode(answer)["orderId"]

    await _load(ask, len(clients))


async def _rest_echoes(address: str, count: int) -> None:
    clients = await _http(address, count)
    await _load(lambda lane, _: clients[lane].ask(b"POST /echo HTTP/1.1", ECHOED), count)


class _Echoed(msgspec.Struct):
    """What the bare REST server decodes and encodes again: an order."""

    id: int
    method: str
    params: dict[str, Any]


async def _serve_rest(port: int) -> None:
    decode, encode = msgspec.json.Decoder(_Echoed).decode, msgspec.json.Encoder().encode

    async def echo(request: Request) -> Response:
        return Response(encode(decode(await request.body())), media_type="application/json")

    app = Starlette(routes=[Route("/echo", echo, methods=["POST"])])
    config = uvicorn.Config(app, "127.0.0.1", port, ws="none", lifespan="off", loop="none", log_config=None)
    await uvicorn.Server(config).serve()


class _Client(WSListener):
    """Sends a text and waits for its echo, many at a time: they come back in order."""

    def __init__(self) -> None:
        self.transport: WSTransport | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._at = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        del transport
        frame.get_payload_as_bytes()
        self._waiting[self._at].set_result(None)
        self._at += 1

    async def ask(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        assert self.transport
        self.transport.send(WSMsgType.TEXT, ECHOED)
        await future


ECHOED: Final = msgspec.json.encode(
    {
        "id": 12345,
        "method": "order.place",
        "params": {
            "symbol": SYMBOL,
            "side": "BUY",
            "type": "LIMIT",
            "timeInForce": "GTC",
            "price": "30000.00",
            "quantity": "0.00100",
            "newClientOrderId": "b18c0000000-100-1000",
            "newOrderRespType": "ACK",
            "timestamp": 1764000000000,
        },
    }
)


async def _echoes(url: str, count: int) -> None:
    clients: list[_Client] = []
    for _ in range(count):
        _, client = await ws_connect(_Client, url)
        assert isinstance(client, _Client)
        clients.append(client)
    await _load(lambda lane, _: clients[lane % count].ask(), count * IN_FLIGHT)
    for client in clients:
        if client.transport:
            client.transport.disconnect()


class _Echo(WSListener):
    """The least that a WebSocket server can do for a message."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Send it back."""
        if frame.msg_type is WSMsgType.TEXT:
            transport.send(WSMsgType.TEXT, frame.get_payload_as_bytes())


async def _serve(port: int) -> None:
    def listener(_request: WSUpgradeRequest) -> _Echo:
        return _Echo()

    server = await ws_create_server(listener, "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    """Be a client, or the bare server."""
    match sys.argv[1:]:
        case ["serve", port]:
            uvloop.run(_serve(int(port)))
        case ["serve-rest", port]:
            uvloop.run(_serve_rest(int(port)))
        case ["rest", address]:
            uvloop.run(_rest(address, msgspec.json.decode(sys.stdin.buffer.readline())))
        case ["rest-echoes", address]:
            uvloop.run(_rest_echoes(address, len(msgspec.json.decode(sys.stdin.buffer.readline()))))
        case ["orders", url]:
            uvloop.run(_orders(url, msgspec.json.decode(sys.stdin.buffer.readline())))
        case ["echoes", url]:
            uvloop.run(_echoes(url, len(msgspec.json.decode(sys.stdin.buffer.readline()))))


if __name__ == "__main__":
    main()
