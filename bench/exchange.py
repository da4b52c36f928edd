"""Signed orders through the whole path: WebSocket or REST, gateway, engine, journal, acknowledgement.

The exchange is the one that `make up` runs, in a folder of its own, with its market maker paused in the market under
load. What is counted is the CPU time of the gateway and the engine; the client is a process of its own and costs
nothing here. The baseline is a bare echo of the same stack, with messages of the same size from the same client.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from bench.result import Result, compared, cpu_s, percentiles
from local import control
from local.demo import kept_keys
from local.paths import PROJECT, Layout
from local.stand_ins import free_port
from runtime.market_maker.client import Key, Session

SYMBOL: Final = "BTCUSDT"
ACCOUNTS: Final = ("replay-1", "replay-2", "replay-3", "replay-4")
"""Accounts with high limits."""
CONNECTIONS: Final = 64
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
        pause = layout.run / "pause" / SYMBOL
        pause.parent.mkdir(exist_ok=True)
        pause.write_text(str(os.getpid()))
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
        accounts = [keys[ACCOUNTS[at % len(ACCOUNTS)]] for at in range(CONNECTIONS)]
        told = [[each.ed25519_api_key, each.ed25519_private_key_pem] for each in accounts]
        url = f"ws://{next(each.address for each in status.processes if each.name.startswith('ws'))}/ws-api/v3"
        load, spent = _measure(["orders", url], told, pids)
    echo, echo_spent = _echo()
    return compared(
        "e2e",
        load.answered / spent,
        echo.answered / echo_spent,
        unit="orders per CPU second of gateway and engine",
        what=f"{CONNECTIONS} connections logged on with Ed25519, {IN_FLIGHT} in flight each, LIMIT and cancel in turn, "
        f"file journal; {load.answered / load.seconds:.0f}/s, p50/p99/p99.9 {percentiles(load.latencies_s)} ms; "
        f"to a bare picows echo, {echo.answered / echo.seconds:.0f}/s",
    )


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


def _echo() -> tuple[Load, float]:
    """Measure a bare echo of the WebSocket stack."""
    port = free_port()
    server = subprocess.Popen([sys.executable, "-m", "bench.exchange", "serve", str(port)], cwd=PROJECT)  # noqa: S603
    try:
        time.sleep(SETTLE_S)
        return _measure(["echoes", f"ws://127.0.0.1:{port}/"], [None] * CONNECTIONS, [server.pid])
    finally:
        server.terminate()
        server.wait()


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
    from picows import ws_connect  # noqa: PLC0415 - only the client connects

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
    import uvloop  # noqa: PLC0415 - as the services do

    match sys.argv[1:]:
        case ["serve", port]:
            uvloop.run(_serve(int(port)))
        case ["orders", url]:
            uvloop.run(_orders(url, msgspec.json.decode(sys.stdin.buffer.readline())))
        case ["echoes", url]:
            uvloop.run(_echoes(url, len(msgspec.json.decode(sys.stdin.buffer.readline()))))


if __name__ == "__main__":
    main()
