"""Market data to many clients: what the hub of the WebSocket gateway delivers, to a bare broadcast of picows.

The gateway is the real one, without the services behind its API: its listener, its hub, and a link over which this
process publishes trades as market data does. The bare server reads the same link and hands each payload to picows, for
one client after the other. Both are processes of their own; their CPU time is what counts. The clients are another
process, which reads with system calls and little else, and checks that every client got every trade.
"""

import asyncio
import contextlib
import resource
import select
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from bench.result import Result, compared, cpu_s
from config.markets import CATALOGUE
from local.paths import PROJECT
from local.stand_ins import free_port
from runtime.gateway.api_keys import ApiKeys
from runtime.gateway.dispatch import Exchange
from runtime.gateway.limit_models import LimitSettings
from runtime.gateway.limits import Limiter
from runtime.gateway.listings import Listings
from runtime.gateway.parts import GatewaySettings
from runtime.gateway.streams import GATHER_S, StreamHub
from runtime.gateway.user_data import UserStreams
from runtime.gateway.ws import Gateway, listen
from runtime.market_data.links import array_frame, encode_published
from runtime.shared.engine_link import EngineLink
from runtime.shared.frames import frame, read_frame
from runtime.shared.market_messages import (
    Follow,
    Followed,
    Published,
    decode_from_gateway,
    decode_from_market_data,
)
from runtime.shared.messages import encode

STREAM: Final = "btcusdt@trade"
CLIENTS: Final = 500
SLOW_PER_S: Final = 80
"""Trades a second that are delivered one by one."""
FAST_PER_S: Final = 1_000
"""Trades a second of a busy market."""
WARM_S: Final = 1.0
ROUND_S: Final = 3.0
ROUNDS: Final = 5
START_TIMEOUT_S: Final = 60.0
DRAIN_TIMEOUT_S: Final = 20.0
BACKLOG_S: Final = 0.5
"""How far publishing is ahead of the clients at most."""
TELL_S: Final = 0.05
"""How often the clients say how far they are."""
SPARE_FILES: Final = 200
"""Open files that a process needs beside its connections."""

_FIRST_ID: Final = 100_000_000_000
_HEADER_BYTES: Final = 4
_ID_AT: Final = _HEADER_BYTES + len('{"e":"trade","s":"BTCUSDT","t":')
_ID_END: Final = _ID_AT + 12
_TIME_AT: Final = _ID_END + len(',"T":')
_TIME_END: Final = _TIME_AT + 19
_TEXT: Final = 0x81
_CLOSE: Final = 0x88
_PING: Final = 0x89


def payload(number: int) -> bytes:
    """Return trade `number`, counted from 0, with the time in nanoseconds: as many bytes as any other."""
    return (
        b'{"e":"trade","s":"BTCUSDT","t":%d,"T":%019d,"p":"60000.00000000","q":"0.00100000","m":true,"M":true,'
        b'"pad":"%b"}' % (_FIRST_ID + number, time.monotonic_ns(), b"." * 60)
    )


FRAME_BYTES: Final = _HEADER_BYTES + len(payload(0))


def allow_files(count: int) -> None:
    """Let this process have `count` connections open. Raises RuntimeError where the machine allows fewer."""
    needed = count + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed:
        return
    if hard < needed:
        raise RuntimeError(
            f"{count} connections need {needed} open files, and this process may have {hard}: raise `ulimit -Hn`"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


# ---- the benchmarks -------------------------------------------------------------------------------------------------


def fanout() -> Result:
    """Measure deliveries for each CPU second of the hub, one by one."""
    rates = asyncio.run(_measure({"bare": ("bare", SLOW_PER_S), "hub": ("hub-0", SLOW_PER_S)}))
    return compared(
        "fanout",
        rates["hub"],
        rates["bare"],
        unit="deliveries per CPU second of the gateway",
        what=f"{CLIENTS} clients, {SLOW_PER_S} trades a second of {FRAME_BYTES} bytes, each sent at once; median of "
        f"{ROUNDS} rounds; to a bare picows broadcast of the same",
    )


def fanout_coalesced() -> Result:
    """Measure the same for a busy market, whose trades are gathered."""
    gathering = f"hub-{GATHER_S * 1000:g}"
    rates = asyncio.run(_measure({"one by one": ("hub-0", SLOW_PER_S), "gathered": (gathering, FAST_PER_S)}))
    return compared(
        "fanout_coalesced",
        rates["gathered"],
        rates["one by one"],
        unit="deliveries per CPU second of the gateway",
        what=f"{CLIENTS} clients, {FAST_PER_S} trades a second gathered for {GATHER_S * 1000:g} ms; median of {ROUNDS} "
        f"rounds; to {SLOW_PER_S} trades a second, each sent at once",
    )


async def _measure(what: dict[str, tuple[str, int]]) -> dict[str, float]:
    """Return the deliveries per CPU second of each kind of server at its pace: the median of rounds taken in turn."""
    rates: dict[str, list[float]] = {name: [] for name in what}
    async with contextlib.AsyncExitStack() as stack:
        served = {name: await stack.enter_async_context(serving(kind, CLIENTS)) for name, (kind, _) in what.items()}
        crowds = {name: await stack.enter_async_context(crowd(each.port, CLIENTS)) for name, each in served.items()}
        for _ in range(ROUNDS):
            for name, (_, per_s) in what.items():
                rates[name].append(await one_round(served[name], crowds[name], per_s))
        for name, each in crowds.items():
            (await each.finish(served[name].published)).check()
    return {name: statistics.median(each) for name, each in rates.items()}


async def one_round(served: "Served", clients: "Crowd", per_s: int, seconds: float = ROUND_S) -> float:
    """Publish for `seconds` after warming up; return the deliveries per CPU second."""
    await served.publish(clients, per_s, WARM_S)
    before_s, before = cpu_s(served.pid), served.published
    await served.publish(clients, per_s, seconds)
    return (served.published - before) * clients.count / (cpu_s(served.pid) - before_s)


# ---- market data, here ----------------------------------------------------------------------------------------------


class Served:
    """A server process and the link by which it gets what this process publishes."""

    def __init__(self) -> None:
        """Wait for the server."""
        self.port = free_port()
        self.published = 0
        self.pid = 0
        self._writer: asyncio.StreamWriter | None = None
        self.gone = asyncio.Event()

    async def link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take the server's link and confirm what it follows, as market data does."""
        self._writer = writer
        with contextlib.suppress(OSError, EOFError):
            while True:
                for message in decode_from_gateway(await read_frame(reader)):
                    if isinstance(message, Follow):
                        writer.write(frame(encode([Followed(message.streams)])))
        writer.close()
        self.gone.set()

    async def publish(self, clients: "Crowd", per_s: int, seconds: float, together: int = 1) -> None:
        """Publish so many trades a second, `together` at a time, each in a frame of its own, and have them delivered.

        Fewer where server and clients get too little of the machine: they never have more than BACKLOG_S before them.
        """
        assert self._writer
        deadline = time.monotonic() + seconds
        while (started := time.monotonic()) < deadline:
            for _ in range(together):
                self._writer.write(array_frame([encode_published(STREAM, payload(self.published))]))
                self.published += 1
            await clients.wait_for(self.published - max(together, int(per_s * BACKLOG_S)))
            await asyncio.sleep(started + together / per_s - time.monotonic())
        await clients.wait_for(self.published)

    def rss_bytes(self) -> int:
        """Return the memory that the server has in use."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * resource.getpagesize()


@contextlib.asynccontextmanager
async def serving(kind: str, clients: int) -> AsyncIterator[Served]:
    """Run a server: `bare`, or `hub-MS` that gathers for so many milliseconds."""
    served = Served()
    link = await asyncio.start_server(served.link, "127.0.0.1", 0)
    address = f"127.0.0.1:{link.sockets[0].getsockname()[1]}"
    process = subprocess.Popen(  # noqa: S603, ASYNC220 - this very module, which starts at once
        [sys.executable, "-m", "bench.fanout", kind, str(served.port), address, str(clients)], cwd=PROJECT
    )
    served.pid = process.pid
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not await _listens(served.port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server {kind} did not start")
            await asyncio.sleep(0.05)
        yield served
    finally:
        process.kill()
        process.wait()
        await served.gone.wait()
        link.close()


async def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True
    return False


# ---- the servers ----------------------------------------------------------------------------------------------------


async def _serve_hub(gather_ms: float, port: int, market_data: str, clients: int) -> None:
    """Serve as the WebSocket gateway does."""
    allow_files(clients)
    listings = Listings(CATALOGUE)
    none = "127.0.0.1:1"
    nothing = cast(Any, None)  # behind the API only, which nobody asks here
    exchange = Exchange(
        listings=listings,
        engine=EngineLink(none),
        market=nothing,
        ledger=nothing,
        keys=ApiKeys(nothing),
        limiter=Limiter(LimitSettings(connects_per_5_minutes=1_000_000), CATALOGUE),
    )
    hub = StreamHub(market_data, frozenset(listings.by_symbol), gather_s=gather_ms / 1000)
    await hub.start()
    settings = GatewaySettings.model_construct(connections_max=2 * clients, trusted_proxy="")
    gateway = Gateway(exchange, UserStreams(listings), hub, settings)
    await listen(gateway, "127.0.0.1", port)
    await gateway.keep_alive()


class _Bare(WSListener):
    """The least that a server can do for a subscriber."""

    def __init__(self, transports: dict[WSTransport, None]) -> None:
        super().__init__()
        self._transports = transports

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transports[transport] = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        pass

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._transports.pop(transport, None)


async def _serve_bare(port: int, market_data: str, clients: int) -> None:
    allow_files(clients)
    transports: dict[WSTransport, None] = {}

    def accept(_request: WSUpgradeRequest) -> _Bare:
        return _Bare(transports)

    host, _, market_port = market_data.partition(":")
    reader, writer = await asyncio.open_connection(host, int(market_port))
    writer.write(frame(encode([Follow([STREAM])])))
    await ws_create_server(accept, "127.0.0.1", port)
    while True:
        for message in decode_from_market_data(await read_frame(reader)):
            if isinstance(message, Published):
                for transport in transports:
                    transport.send(WSMsgType.TEXT, message.payload)


# ---- the clients ----------------------------------------------------------------------------------------------------


class Report(msgspec.Struct):
    """What the clients saw."""

    delivered: int = 0
    """Trades, to all of those that stayed."""
    faults: list[str] = []
    """What a client that stayed should not have seen: a gap, an end, too little."""
    late_ms: list[float] = []
    """p50, p99 and longest time from publishing to reading, of the oldest trade in each read."""
    churned: int = 0
    """Clients that left and were followed by another."""
    slow_ends: dict[str, int] = {}
    """How it ended for clients that did not read: the reason in the goodbye, or that there was none."""

    def check(self) -> None:
        """Raise RuntimeError for a fault."""
        if self.faults:
            raise RuntimeError(f"{len(self.faults)} faults, such as {self.faults[0]}")


class Crowd:
    """The process of the clients."""

    def __init__(self, process: asyncio.subprocess.Process, count: int) -> None:
        """Speak to `process`, which has `count` clients that stay."""
        self.count = count
        self._process = process
        self._delivered = 0

    async def connected(self) -> None:
        """Return once every client is connected."""
        if await self._line() != b"connected\n":
            raise RuntimeError("the clients could not connect")

    async def wait_for(self, published: int) -> None:
        """Return once so many trades have been delivered to all together."""
        while self._delivered < published * self.count:
            self._delivered = int(await self._line())

    async def finish(self, published: int) -> Report:
        """Have the clients read until they have what was published, or cannot; return what they saw."""
        assert self._process.stdin
        self._process.stdin.write(b"%d\n" % published)
        while (line := await self._line())[:1] != b"{":
            pass
        return msgspec.json.decode(line, type=Report)

    async def _line(self) -> bytes:
        assert self._process.stdout
        line = await asyncio.wait_for(self._process.stdout.readline(), START_TIMEOUT_S)
        if not line:
            raise RuntimeError("the clients' process has ended")
        return line


@contextlib.asynccontextmanager
async def crowd(port: int, clients: int, *, stalled: int = 0, churning: int = 0) -> AsyncIterator[Crowd]:
    """Connect `clients` that read, `stalled` that do not, and `churning` that stay for a second each."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench.fanout", "crowd", str(port), str(clients), str(stalled), str(churning)),
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=1 << 24,
    )
    try:
        found = Crowd(process, clients)
        await found.connected()
        yield found
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class _Client:
    """A subscriber over a raw socket, which checks that the ids of trades run on."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=START_TIMEOUT_S)
        self.socket.sendall(
            b"GET /ws/%b HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" % STREAM.encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.socket.recv(4_096)
            if not data:
                raise RuntimeError(f"refused: {head[:200]!r}")
            head += data
        self._rest = head.partition(b"\r\n\r\n")[2]
        self.socket.settimeout(0)
        self.next = -1
        """The id that has to come, -1 before the first."""
        self.received = 0
        self.goodbye = ""
        self.fault = ""

    def read(self, late_ns: list[int]) -> bool:
        """Take what has come; return False at the end."""
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return True
        except OSError as error:
            self.goodbye = self.goodbye or f"no goodbye: {error}"
            return False
        if not data:
            self.goodbye = self.goodbye or "no goodbye: cut off"
            return False
        if self._rest:
            data = self._rest + data
        count = len(data) // FRAME_BYTES
        if count:
            with contextlib.suppress(ValueError):
                first, last = (
                    int(data[_ID_AT:_ID_END]),
                    int(data[(at := (count - 1) * FRAME_BYTES) + _ID_AT : at + _ID_END]),
                )
                if last - first == count - 1 and first == self.next and data[at] == _TEXT:
                    late_ns.append(time.monotonic_ns() - int(data[_TIME_AT:_TIME_END]))
                    self.next = last + 1
                    self.received += count
                    data = data[count * FRAME_BYTES :]
        self._rest = self._read_frames(data, late_ns)
        return True

    def read_all(self) -> None:
        """Take everything that is here."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        while poll.poll(0) and self.read([]):
            pass

    def _read_frames(self, data: bytes, late_ns: list[int]) -> bytes:
        """Take frames one by one, whatever they are; return what is not whole yet."""
        at = 0
        while len(data) - at >= _HEADER_BYTES:
            size, start = data[at + 1], at + 2
            if size == 126:  # noqa: PLR2004 - of the protocol: the length stands in two more bytes
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            if len(data) < start + size:
                break
            if data[at] == _TEXT:
                number = int(data[at + _ID_AT : at + _ID_END])
                if self.next not in (-1, number):
                    self.fault = self.fault or f"trade {number} came where {self.next} had to"
                late_ns.append(time.monotonic_ns() - int(data[at + _TIME_AT : at + _TIME_END]))
                self.next = number + 1
                self.received += 1
            elif data[at] == _PING:
                with contextlib.suppress(OSError):  # with a mask of zeros a payload stays what it is
                    self.socket.send(b"\x8a%c\0\0\0\0%b" % (0x80 | size, data[start : start + size]))
            elif data[at] == _CLOSE:
                self.goodbye = (
                    f"{int.from_bytes(data[start : start + 2], 'big')} {data[start + 2 : start + size].decode()}"
                )
            at = start + size
        return data[at:]


class _Crowd:
    """All clients of this process."""

    def __init__(self, port: int, clients: int, stalled: int, churning: int) -> None:
        allow_files(clients + stalled + churning)
        self._port = port
        self._poll = select.epoll()
        self._readers: dict[int, _Client] = {}
        self._steady = [self._join() for _ in range(clients)]
        self._stalled = [_Client(port) for _ in range(stalled)]
        self._churning = churning
        self._report = Report()
        self._late_ns: list[int] = []
        self._stopping = threading.Event()

    def _join(self) -> _Client:
        client = _Client(self._port)
        self._poll.register(client.socket.fileno(), select.EPOLLIN)
        self._readers[client.socket.fileno()] = client
        return client

    def _leave(self, client: _Client) -> None:
        if self._readers.pop(client.socket.fileno(), None):
            self._poll.unregister(client.socket.fileno())
        client.socket.close()

    def run(self) -> Report:
        """Read until told how many trades there were, and then until all are here or nothing comes any more."""
        self._poll.register(sys.stdin.fileno(), select.EPOLLIN)
        tell_s = 0.0
        passing_by = threading.Thread(target=self._pass_by)
        passing_by.start()
        last_id = -1
        deadline_s = float("inf")
        while time.monotonic() < deadline_s:
            for number, _ in self._poll.poll(TELL_S):
                if number == sys.stdin.fileno():
                    last_id = _FIRST_ID + int(sys.stdin.readline()) - 1
                    deadline_s = time.monotonic() + DRAIN_TIMEOUT_S
                    self._poll.unregister(number)
                elif client := self._readers.get(number):
                    self._read(client)
            if deadline_s < float("inf") and all(each.next > last_id or each.goodbye for each in self._steady):
                break
            if time.monotonic() > tell_s:
                tell_s = time.monotonic() + TELL_S
                sys.stdout.write(f"{sum(each.received for each in self._steady)}\n")
                sys.stdout.flush()
        self._stopping.set()
        passing_by.join()
        return self._close(last_id)

    def _read(self, client: _Client) -> None:
        if not client.read(self._late_ns):
            client.fault = client.fault or f"ended: {client.goodbye or 'without a goodbye'}"
            client.goodbye = client.goodbye or "none"
            self._leave(client)

    def _pass_by(self) -> None:
        """Be the clients that stay for a second each, in a thread, since connecting waits."""
        while self._churning and not self._stopping.is_set():
            clients = [_Client(self._port) for _ in range(self._churning)]
            self._stopping.wait(1)
            for client in clients:
                client.read_all()
                self._note(client)
                client.socket.close()
            self._report.churned += len(clients)

    def _note(self, client: _Client) -> None:
        if client.fault:
            self._report.faults.append(client.fault)

    def _close(self, last_id: int) -> Report:
        report = self._report
        for client in self._steady:
            self._note(client)
        for client in self._steady:
            if not client.fault and client.next <= last_id:
                report.faults.append(f"the last trade was {client.next - 1}, should be {last_id}")
            report.delivered += client.received
        late = sorted(self._late_ns)
        if late:
            report.late_ms = [late[min(len(late) - 1, int(len(late) * share))] / 1e6 for share in (0.5, 0.99, 1)]
        self._read_the_stalled()
        for client in self._stalled:
            end = client.fault or client.goodbye or "goes on"
            report.slow_ends[end] = report.slow_ends.get(end, 0) + 1
        return report

    def _read_the_stalled(self) -> None:
        """Have those that did not read take what waits for them, to its end."""
        poll = select.epoll()
        waiting = {client.socket.fileno(): client for client in self._stalled}
        for number in waiting:
            poll.register(number, select.EPOLLIN)
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        while waiting and time.monotonic() < deadline:
            for number, _ in poll.poll(TELL_S):
                if not waiting[number].read([]):
                    poll.unregister(number)
                    del waiting[number]


def main() -> None:
    """Be a server, or the clients."""
    match sys.argv[1:]:
        case ["crowd", port, clients, stalled, churning]:
            all_clients = _Crowd(int(port), int(clients), int(stalled), int(churning))
            sys.stdout.write("connected\n")
            sys.stdout.flush()
            sys.stdout.buffer.write(msgspec.json.encode(all_clients.run()) + b"\n")
        case ["bare", port, market_data, clients]:
            uvloop.run(_serve_bare(int(port), market_data, int(clients)))
        case [kind, port, market_data, clients]:
            uvloop.run(_serve_hub(float(kind.removeprefix("hub-")), int(port), market_data, int(clients)))


if __name__ == "__main__":
    main()
