"""One port for site, REST and WebSocket, with the routes that CloudFront and the load balancers have in AWS.

/api/* and /sapi/*           to the REST gateway, with the client's address in CloudFront-Viewer-Address
/ws*, /stream* and /ws-api/* to the WebSocket gateway: after the upgrade, bytes are passed on untouched
everything else              files of the site, with security headers

A request is read whole, within bounds, before anything behind is bothered; answers are passed on as they come. Every
wait has a limit, and a slow reader slows down its own sender only.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Final, Self, TypeVar, cast

import httptools
import uvloop

from local.site import Site

HOST: Final = "127.0.0.1"
HEAD_BYTES_MAX: Final = 32 * 1024
HEADERS_MAX: Final = 100
BODY_BYTES_MAX: Final = 1024 * 1024
CONNECTIONS_MAX: Final = 8192
PIPELINED_MAX: Final = 16
IDLE_TIMEOUT_S: Final = 75.0
REQUEST_TIMEOUT_S: Final = 15.0
"""From the first byte of a request to its last."""
CONNECT_TIMEOUT_S: Final = 3.0
ANSWER_TIMEOUT_S: Final = 30.0
"""How long a gateway may take to begin its answer, and then between two parts of it."""
SPARE_MAX: Final = 64
SPARE_FOR_S: Final = 2.0
"""An idle connection to a gateway is used again for this long: well before the gateway would close it."""
LINGER_S: Final = 1.0
"""After a refusal the client may still be sending; what it sends is read, so that it sees the refusal."""
HIGH_WATER_BYTES: Final = 256 * 1024
STOP_TIMEOUT_S: Final = 5.0
_READ_BYTES: Final = 64 * 1024
_HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
_REWRITTEN: Final = frozenset({b"content-length", b"expect"})
_FORGEABLE: Final = (b"cloudfront-", b"x-viewer-", b"x-forwarded-", b"forwarded", b"x-real-ip")
"""Headers by which only a front door may speak; from a client they are dropped."""
_OWN_NAMES: Final = frozenset({b"127.0.0.1", b"localhost", b"[::1]"})
_SWITCHING: Final = b"HTTP/1.1 101"
_REASONS: Final = {
    400: b"Bad Request",
    408: b"Request Timeout",
    413: b"Content Too Large",
    421: b"Misdirected Request",
    431: b"Request Header Fields Too Large",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}
UNKNOWN: Final = -1000
UNEXPECTED_RESPONSE: Final = -1006
TIMEOUT: Final = -1007
ILLEGAL_REQUEST: Final = -1100

logger = logging.getLogger(__name__)
Header = tuple[bytes, bytes]
_T = TypeVar("_T")


class RefusedError(Exception):
    """The request is answered here, with an error in the API's own form."""

    def __init__(self, status: int, code: int, message: str) -> None:
        """Answer with HTTP `status`, and `code` and `message` in the body."""
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, whole."""

    method: bytes
    target: bytes
    version: str
    headers: tuple[Header, ...]
    body: bytes
    keep_alive: bool
    upgrade: bool

    @property
    def path(self) -> bytes:
        """The path, as it was sent."""
        return self.target.partition(b"?")[0]

    def header(self, name: bytes) -> bytes:
        """Return the first value of a header, or nothing."""
        return next((value for key, value in self.headers if key == name), b"")

    def forwarded(self, viewer: Header) -> bytes:
        """Return the bytes that a gateway gets: nothing of the hop, nothing forged, the viewer's true address."""
        of_hop = _HOP_BY_HOP | {name.strip() for name in self.header(b"connection").lower().split(b",")}
        kept = [
            (name, value)
            for name, value in self.headers
            if name not in of_hop and name not in _REWRITTEN and not name.startswith(_FORGEABLE)
        ]
        if self.upgrade:
            kept += [(b"connection", b"Upgrade"), (b"upgrade", self.header(b"upgrade"))]
        if self.body or self.header(b"content-length"):
            kept.append((b"content-length", b"%d" % len(self.body)))
        lines = [b"%s %s HTTP/%s" % (self.method, self.target, self.version.encode())]
        lines += [name + b": " + value for name, value in (*kept, viewer)]
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the launcher says: where to listen, what to serve, where the gateways are (host:port)."""

    port: int
    site: Path
    rest: tuple[str, ...]
    stream: tuple[str, ...]

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the settings that the launcher wrote."""
        told = json.loads(text)
        return cls(port=told["port"], site=Path(told["site"]), rest=tuple(told["rest"]), stream=tuple(told["stream"]))


class Gateways:
    """Connections to the processes of one gateway, used in turn."""

    def __init__(self, name: str, addresses: tuple[str, ...]) -> None:
        """Reach the gateway called `name` at one of `addresses`."""
        self._name = name
        self._count = len(addresses)
        self._turn = cycle(addresses)
        self._spare: deque[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = deque(maxlen=SPARE_MAX)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a connection. Raises RefusedError when no process of the gateway accepts one."""
        now = asyncio.get_running_loop().time()
        while self._spare:
            since, reader, writer = self._spare.pop()
            if now - since < SPARE_FOR_S and not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await self._reach(asyncio.open_connection)

    async def attach(self, protocol: asyncio.Protocol) -> None:
        """Connect `protocol`. Raises RefusedError when no process of the gateway accepts it."""
        loop = asyncio.get_running_loop()
        await self._reach(lambda host, port: loop.create_connection(lambda: protocol, host, port))

    async def _reach(self, connect: Callable[[str, int], Awaitable[_T]]) -> _T:
        for _ in range(self._count):
            host, _colon, port = next(self._turn).rpartition(":")
            with contextlib.suppress(OSError, TimeoutError):
                return await asyncio.wait_for(connect(host, int(port)), CONNECT_TIMEOUT_S)
        raise RefusedError(502, UNKNOWN, f"the {self._name} gateway is not reachable")

    def keep(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Keep a connection whose answer is complete, for the next request."""
        if len(self._spare) == SPARE_MAX:
            self._spare[0][2].close()
        self._spare.append((asyncio.get_running_loop().time(), reader, writer))


class FrontDoor:
    """What all connections share."""

    def __init__(self, settings: Settings) -> None:
        """Serve as `settings` say."""
        self.site = Site(settings.site, settings.port)
        self.rest = Gateways("REST", settings.rest)
        self.stream = Gateways("WebSocket", settings.stream)
        self.clients: set[Client] = set()


class Client(asyncio.Protocol):
    """One connection from outside. Its requests are answered one after the other, in their order."""

    def __init__(self, door: FrontDoor) -> None:
        """Belong to `door`."""
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._refusal: RefusedError | None = None
        self._serving: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._tunnel: Tunnel | None = None
        self._early = b""
        """What a client sent after its upgrade request, before the gateway agreed."""
        self._has_ended = False
        self._is_closing = False
        self._begin_message()

    # ---- asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet a client, unless there are too many."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        if len(self._door.clients) >= CONNECTIONS_MAX:
            self._refuse(RefusedError(503, UNKNOWN, f"at most {CONNECTIONS_MAX} connections"))
            self._transport.close()
            return
        self._door.clients.add(self)
        self._set_timer(IDLE_TIMEOUT_S, self._transport.close)

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget the client and stop working for it."""
        self._door.clients.discard(self)
        self._is_closing = True
        self._writable.set()
        self._cancel_timer()
        if self._serving is not None:
            self._serving.cancel()
        if self._tunnel is not None:
            self._tunnel.close()

    def data_received(self, data: bytes) -> None:
        """Take bytes: of a request, or of a tunnel."""
        if self._is_closing:
            return
        if self._tunnel is not None:
            self._tunnel.write(data)
            return
        if not self._is_head_complete:
            self._unparsed_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._early = data[upgrade.args[0] :]
            self._transport.pause_reading()
        except httptools.HttpParserError as error:
            self._refusal = self._refusal or RefusedError(400, ILLEGAL_REQUEST, f"not HTTP: {error}")
        if not self._is_head_complete and self._unparsed_bytes > HEAD_BYTES_MAX:
            self._refusal = _long_head()
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif len(self._waiting) >= PIPELINED_MAX:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Let a client that only closed its half have its answers."""
        self._has_ended = True
        return bool(self._serving and not self._serving.done())

    def pause_writing(self) -> None:
        """Stop producing: the client reads too slowly."""
        self._writable.clear()
        if self._tunnel is not None:
            self._tunnel.pause_reading()

    def resume_writing(self) -> None:
        """Go on producing."""
        self._writable.set()
        if self._tunnel is not None:
            self._tunnel.resume_reading()

    # ---- the parser's calls

    def _begin_message(self) -> None:
        self._target = b""
        self._headers: list[Header] = []
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._unparsed_bytes = 0
        self._is_head_complete = False

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._begin_message()
        self._set_timer(REQUEST_TIMEOUT_S, self._time_out)

    def on_url(self, part: bytes) -> None:
        """Take a part of the target."""
        self._head_bytes += len(part)
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        if len(self._headers) >= HEADERS_MAX:
            self._refusal = RefusedError(431, ILLEGAL_REQUEST, f"a request has at most {HEADERS_MAX} headers")
            return
        self._head_bytes += len(name) + len(value)
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Judge a request by its head."""
        self._is_head_complete = True
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refusal = _long_head()
        for name, value in self._headers:
            if name == b"content-length" and int(value) > BODY_BYTES_MAX:
                self._refusal = _too_large()
            elif name == b"expect" and not self._waiting:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        self._body_bytes += len(part)
        if self._body_bytes > BODY_BYTES_MAX:
            self._refusal = _too_large()
        else:
            self._body.append(part)

    def on_message_complete(self) -> None:
        """Put a whole request in its turn."""
        if self._refusal is not None:
            return
        self._cancel_timer()
        self._waiting.append(
            Request(
                method=self._parser.get_method(),
                target=self._target,
                version=self._parser.get_http_version(),
                headers=tuple(self._headers),
                body=b"".join(self._body),
                keep_alive=self._parser.should_keep_alive(),
                upgrade=self._parser.should_upgrade(),
            )
        )
        if self._serving is None or self._serving.done():
            self._serving = self._loop.create_task(self._serve())

    # ---- answering

    async def _serve(self) -> None:
        while self._waiting:
            request = self._waiting.popleft()
            if len(self._waiting) == PIPELINED_MAX - 1:
                self._transport.resume_reading()
            try:
                await self._answer(request)
            except RefusedError as refused:
                self._refuse(refused)
                return
            if self._tunnel is not None:
                return
            if not request.keep_alive or request.upgrade or self._has_ended or self._is_closing:
                self._transport.close()
                return
        self._set_timer(IDLE_TIMEOUT_S, self._transport.close)

    async def _answer(self, request: Request) -> None:
        host = request.header(b"host")
        if host.rpartition(b":")[0] not in _OWN_NAMES and host not in _OWN_NAMES:
            raise RefusedError(421, ILLEGAL_REQUEST, "the Host header must name this machine")
        path = request.path
        if path.startswith((b"/api/", b"/sapi/")):
            await self._proxy(request)
        elif path.startswith((b"/ws", b"/stream")):
            await self._open_tunnel(request)
        else:
            self._transport.write(self._door.site.answer(request.method, path, request.header(b"if-none-match")))
            await self._writable.wait()

    async def _proxy(self, request: Request) -> None:
        """Pass one request to the REST gateway and its answer back, byte for byte."""
        host, port = self._transport.get_extra_info("peername")[:2]
        head = request.forwarded((b"cloudfront-viewer-address", f"{host}:{port}".encode()))
        gateway = self._door.rest
        reader, writer = await gateway.open()
        answer = Answer(is_head=request.method == b"HEAD")
        try:
            writer.write(head)
            await self._pass_answer(reader, answer)
        except BaseException:
            writer.close()
            raise
        if answer.keep_alive and request.version == "1.1":
            gateway.keep(reader, writer)
        else:
            writer.close()
            self._is_closing |= not answer.keep_alive

    async def _pass_answer(self, reader: asyncio.StreamReader, answer: "Answer") -> None:
        while not answer.is_complete:
            try:
                part = await asyncio.wait_for(reader.read(_READ_BYTES), ANSWER_TIMEOUT_S)
                answer.feed(part)
            except TimeoutError:
                self._give_up(answer, RefusedError(504, TIMEOUT, "no answer in time; execution status unknown"))
            except (OSError, httptools.HttpParserError):
                self._give_up(answer, RefusedError(502, UNEXPECTED_RESPONSE, "no answer; execution status unknown"))
            self._transport.write(part)
            await self._writable.wait()
            if self._transport.is_closing():
                raise asyncio.CancelledError

    def _give_up(self, answer: "Answer", refusal: RefusedError) -> None:
        """End an answer that will not be completed: with an error, or if it was begun, with the connection."""
        if not answer.is_begun:
            raise refusal from None
        self._transport.abort()
        raise asyncio.CancelledError

    async def _open_tunnel(self, request: Request) -> None:
        """Pass an upgrade request to the WebSocket gateway, and then everything, both ways."""
        viewer = self._transport.get_extra_info("peername")[0]
        tunnel = Tunnel(self)
        await self._door.stream.attach(tunnel)
        self._tunnel = tunnel
        self._cancel_timer()
        tunnel.write(request.forwarded((b"x-viewer-address", viewer.encode())))

    def tunnel_agreed(self) -> None:
        """Let the client speak: the gateway has switched protocols."""
        if self._tunnel is not None and self._early:
            self._tunnel.write(self._early)
        self._early = b""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def tunnel_data(self, data: bytes) -> None:
        """Pass on what the WebSocket gateway sent."""
        self._transport.write(data)

    def tunnel_closed(self) -> None:
        """Hang up, as the WebSocket gateway has."""
        self._transport.close()

    def stop_reading(self) -> None:
        """Pause: the gateway cannot take more at the moment."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def go_on_reading(self) -> None:
        """Go on: the gateway can take more."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    # ---- refusals and time

    def _refuse(self, refused: RefusedError) -> None:
        """Answer with an error, and hang up once the client has had a moment to read it."""
        if self._is_closing:
            return
        self._is_closing = True
        self._waiting.clear()
        body = json.dumps({"code": refused.code, "msg": str(refused)}).encode()
        self._transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
            % (refused.status, _REASONS[refused.status], len(body), body)
        )
        with contextlib.suppress(OSError, NotImplementedError):
            self._transport.write_eof()
        self._transport.resume_reading()
        self._set_timer(LINGER_S, self._transport.close)

    def _time_out(self) -> None:
        self._refuse(RefusedError(408, TIMEOUT, f"a request must be sent within {REQUEST_TIMEOUT_S:g} s"))

    def _set_timer(self, delay_s: float, action: Callable[[], None]) -> None:
        self._cancel_timer()
        self._timer = self._loop.call_later(delay_s, action)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Answer:
    """Follows an answer of the REST gateway to know where it ends."""

    def __init__(self, *, is_head: bool) -> None:
        """Expect an answer; one to HEAD has no body, whatever its head says."""
        self.is_begun = False
        self.is_complete = False
        self.keep_alive = False
        self._is_head = is_head
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, part: bytes) -> None:
        """Take a part. Raises HttpParserError, or ConnectionError at an end that comes too early."""
        if not part:
            if self.is_begun and not self.keep_alive:
                self.is_complete = True  # an answer that only the end of the connection ends
                return
            raise ConnectionResetError("the gateway hung up")
        self._parser.feed_data(part)
        self.is_begun = True

    def on_headers_complete(self) -> None:
        """Note whether the connection can be used again."""
        self.keep_alive = self._parser.should_keep_alive()
        self.is_complete = self._is_head

    def on_message_complete(self) -> None:
        """Note the end."""
        self.is_complete = True


class Tunnel(asyncio.Protocol):
    """The far side of a WebSocket connection."""

    def __init__(self, client: Client) -> None:
        """Belong to `client`."""
        self._client = client
        self._transport: asyncio.Transport
        self._is_agreed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Pass on what the gateway sends; its first words tell whether it agrees to be spoken to."""
        if not self._is_agreed and data.startswith(_SWITCHING):
            self._is_agreed = True
            self._client.tunnel_agreed()
        self._client.tunnel_data(data)

    def connection_lost(self, _error: Exception | None) -> None:
        """Hang up on the client too."""
        self._client.tunnel_closed()

    def write(self, data: bytes) -> None:
        """Pass bytes to the gateway."""
        self._transport.write(data)

    def close(self) -> None:
        """Hang up on the gateway."""
        self._transport.close()

    def pause_reading(self) -> None:
        """Pause: the client cannot take more at the moment."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on: the client can take more."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """Pause the client: the gateway cannot take more at the moment."""
        self._client.stop_reading()

    def resume_writing(self) -> None:
        """Let the client go on: the gateway can take more."""
        self._client.go_on_reading()


def _long_head() -> RefusedError:
    return RefusedError(431, ILLEGAL_REQUEST, f"a request head has at most {HEAD_BYTES_MAX} bytes")


def _too_large() -> RefusedError:
    return RefusedError(413, ILLEGAL_REQUEST, f"a request body has at most {BODY_BYTES_MAX} bytes")


async def serve(settings: Settings) -> None:
    """Listen until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    door = FrontDoor(settings)
    server = await loop.create_server(lambda: Client(door), HOST, settings.port, backlog=1024, reuse_address=True)
    logger.info("listening on %s:%d", HOST, settings.port)
    await stopping.wait()
    server.close()
    for client in list(door.clients):
        client.close()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(server.wait_closed(), STOP_TIMEOUT_S)


def main() -> None:
    """Read the settings and serve."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s")
    settings = Settings.from_json(os.environ["FRONT_DOOR"])
    uvloop.run(serve(settings))


if __name__ == "__main__":
    main()
