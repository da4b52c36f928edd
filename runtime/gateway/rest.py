"""The REST API: an ASGI application on uvicorn. Everything it serves is in the table of `endpoints`."""

import asyncio
import logging
import socket
import time
from functools import cache
from typing import Any, Final, cast

import msgspec
import uvicorn
from msgspec import Struct
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from runtime.gateway import IS_COMPILED
from runtime.gateway.api_documents import asyncapi, openapi
from runtime.gateway.auth import rest_payload
from runtime.gateway.dispatch import Exchange, Operation, Outcome, Request, now_us
from runtime.gateway.endpoints import ROUTES
from runtime.gateway.errors import (
    BAD_API_KEY_FORMAT,
    ILLEGAL_REQUEST,
    INTERNAL,
    MESSAGE_TOO_LARGE,
    NO_SUCH_METHOD,
    NO_SUCH_ROUTE,
    TOO_LARGE,
    UNKNOWN,
    ApiError,
)
from runtime.gateway.health import Health
from runtime.gateway.params import parse_form
from runtime.gateway.parts import DRAIN_TIMEOUT_S, GatewaySettings, open_exchange
from runtime.gateway.views import MS
from runtime.gateway.wallet import AwsWallet, DepositChain, WithdrawalRule
from runtime.gateway.ws_api import read_time_unit
from runtime.shared.log import configure
from runtime.shared.settings import read_settings
from runtime.shared.shell import run
from runtime.shared.telemetry import Span
from runtime.shared.web import Server

logger = logging.getLogger(__name__)

BODY_BYTES_MAX: Final = 64 * 1024
UNREAD_BYTES_MAX: Final = 512 * 1024
"""What may come between the heads of two requests: a body, or a head that does not end. Load balancers allow less."""
KEEP_ALIVE_S: Final = 75
"""Longer than the load balancer in front keeps an idle connection, so that it never meets one just closed."""
BACKLOG: Final = 2_048
HEALTH_PATH: Final = "/healthz"
DOCUMENTS: Final = {"/api/openapi.json": openapi, "/api/asyncapi.json": asyncapi}
"""The API described for machines, by path."""

Header = tuple[bytes, bytes]

_HEAD: Final = b"HTTP/1.1 "
_HEAD_END: Final = b"\r\n\r\n"
_CONTINUE: Final = b"HTTP/1.1 100 "
_JSON: Final = (b"content-type", b"application/json;charset=UTF-8")


class _Head(Struct):
    """The request headers that matter."""

    api_key: str
    viewer: str
    length: int
    is_chunked: bool
    time_unit: str


def _read_head(headers: list[Header]) -> _Head:
    """Pick them; of a header sent twice the last counts."""
    sent = dict(headers)
    return _Head(
        sent.get(b"x-mbx-apikey", b"").decode("latin-1"),
        sent.get(b"cloudfront-viewer-address", b"").decode("latin-1"),
        int(sent.get(b"content-length", 0)),  # the parser has refused anything else
        b"transfer-encoding" in sent,
        sent.get(b"x-mbx-time-unit", b"").decode("latin-1"),
    )


def viewer_address(viewer: str) -> str:
    """Return the address in `address:port`, where an IPv6 address may stand in brackets or not."""
    return viewer.rpartition(":")[0].strip("[]")


class RestApi:
    """The ASGI application: from bytes to a `Request`, and from its `Outcome` back to bytes."""

    def __init__(self, exchange: Exchange, *, trusted_proxy: str = "") -> None:
        """Serve `exchange`. With a `trusted_proxy`, only it may say whom it speaks for."""
        self._exchange = exchange
        self._trusted_proxy = trusted_proxy
        self._health = Health(lambda: exchange.is_ready)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["path"] == HEALTH_PATH:
            await _send(send, *self._health.answer(), [])
            return
        head = _read_head(scope["headers"])
        address = self._address(scope, head)
        if scope["path"] in DOCUMENTS:
            await self._describe(scope["path"], address, send)
            return
        try:
            operation, request = await _read(scope, receive, head, address)
        except ApiError as error:
            await self._refuse(send, address, self._charged(address, error))
            return
        start_ns = time.time_ns() if self._exchange.telemetry.wants() else 0
        refusal: ApiError | None = None
        try:
            outcome = await self._exchange.serve(operation, request)
        except ApiError as error:
            refusal = error
        except Exception:
            logger.exception("a request failed", extra={"path": scope["path"]})
            refusal = UNKNOWN.error()
        if refusal is None:
            await _send(send, 200, outcome.body, _used_headers(outcome))
        else:
            await self._refuse(send, address, refusal)
        if start_ns:
            self._exchange.telemetry.answered(_span(scope, start_ns, refusal))

    async def _describe(self, path: str, address: str, send: Send) -> None:
        try:
            used = self._exchange.limiter.charge(address, 1)
        except ApiError as error:
            await self._refuse(send, address, error)
            return
        await _send(send, 200, _document(path), [(b"x-mbx-used-weight-1m", b"%d" % used)])

    def _charged(self, address: str, error: ApiError) -> ApiError:
        """Count a request that could not be read; return its error, or that it was one too many."""
        try:
            self._exchange.limiter.charge(address, 1)
        except ApiError as limited:
            return limited
        return error

    async def _refuse(self, send: Send, address: str, error: ApiError) -> None:
        headers = [(b"x-mbx-used-weight-1m", b"%d" % self._exchange.limiter.used_weight(address))]
        if error.retry_at_us:
            wait_s = max(1, -(-(error.retry_at_us - now_us()) // 1_000_000))
            headers.append((b"retry-after", b"%d" % wait_s))
        if error.status == TOO_LARGE:
            headers.append((b"connection", b"close"))  # what is still coming is not read
        await _send(send, error.status, error.body(), headers)

    def _address(self, scope: Scope, head: _Head) -> str:
        peer: str = scope["client"][0] if scope["client"] else ""
        if head.viewer and self._trusted_proxy in ("", peer):
            return viewer_address(head.viewer)
        return peer


@cache
def _document(path: str) -> bytes:
    return msgspec.json.encode(DOCUMENTS[path]())


def _span(scope: Scope, start_ns: int, refusal: ApiError | None) -> Span:
    """Return what is traced of a request: its route, which a table names, and how it ended."""
    name = f"{scope['method']} {scope['path']}"
    if refusal is None:
        return Span(name, start_ns, time.time_ns())
    return Span(name, start_ns, time.time_ns(), refusal.code, is_fault=refusal.status >= INTERNAL)


def _used_headers(outcome: Outcome) -> list[Header]:
    """Return the headers that tell how much of the limits is used."""
    headers = [(b"x-mbx-used-weight-1m", b"%d" % outcome.used_weight)]
    if outcome.order_counts is not None:
        short, day = outcome.order_counts
        headers.append((b"x-mbx-order-count-10s", b"%d" % short))
        headers.append((b"x-mbx-order-count-1d", b"%d" % day))
    return headers


async def _read(scope: Scope, receive: Receive, head: _Head, address: str) -> tuple[Operation, Request]:
    """Return what is asked for. Raises ApiError when that cannot be told."""
    operation = _find(scope["path"], scope["method"])
    unit = read_time_unit(head.time_unit) if head.time_unit else MS
    query: bytes = scope["query_string"]
    body = await _read_body(receive, head) if head.length or head.is_chunked else b""
    sent = parse_form(query)
    if body:
        sent = parse_form(body) | sent  # where both have a parameter, the query's counts
    if operation.security and not head.api_key:
        raise BAD_API_KEY_FORMAT.error()
    payloads = (rest_payload(query, body),) if operation.security else ()
    return operation, Request(sent, address, payloads, head.api_key, unit=unit)


def _find(path: str, method: str) -> Operation:
    methods = ROUTES.get(path)
    if methods is None:
        raise NO_SUCH_ROUTE.error()
    operation = methods.get(method)
    if operation is None:
        raise NO_SUCH_METHOD.error()
    return operation


async def _read_body(receive: Receive, head: _Head) -> bytes:
    if head.length > BODY_BYTES_MAX:
        raise MESSAGE_TOO_LARGE.error(BODY_BYTES_MAX)
    body = b""
    while True:
        message: Message = await receive()
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > BODY_BYTES_MAX:
            raise MESSAGE_TOO_LARGE.error(BODY_BYTES_MAX)
        if not message.get("more_body", False):
            return body


async def _send(send: Send, status: int, body: bytes, headers: list[Header]) -> None:
    headers += (_JSON, (b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _OneWrite:
    """A transport that sends the head of an answer with its body: uvicorn writes each, a system call and a packet."""

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        """Keep a head until its body comes; send everything else."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.endswith(_HEAD_END) and data.startswith(_HEAD) and not data.startswith(_CONTINUE):
            self._head = data
            return
        self._transport.write(data)

    def flush(self) -> None:
        """Send a head whose answer has no body."""
        if self._head:
            self.write(b"")

    def is_closing(self) -> bool:
        """Tell whether the connection is closing; asked at every answer."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close once everything is sent."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the transport has
        return getattr(self._transport, name)


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol, but a request that does not end has a limit, and a malformed one gets a documented answer."""

    _bytes_since_head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Answer by one write each."""
        self._answers = _OneWrite(transport)
        super().connection_made(cast(asyncio.Transport, self._answers))

    def on_response_complete(self) -> None:
        """Leave an answer, which may have had no body."""
        self._answers.flush()
        super().on_response_complete()

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request; refuse one whose head does not end."""
        self._bytes_since_head += len(data)
        super().data_received(data)
        if self._bytes_since_head > UNREAD_BYTES_MAX and not self.transport.is_closing():
            self.send_400_response("too long")

    def on_headers_complete(self) -> None:
        """Leave the head of a request."""
        self._bytes_since_head = 0
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no acceptable request, and close."""
        del msg
        error = ILLEGAL_REQUEST.error()
        body = error.body()
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\n%b: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (*_JSON, len(body), body)
        )
        self.transport.close()


def server(api: RestApi, connections_max: int) -> Server:
    """Return a server for `api`, which has still to be given a socket."""
    return Server(
        uvicorn.Config(
            api,  # one table holds every route, and every error is told by `RestApi`: a router would have nothing to do
            http=BoundedHttp,
            ws="none",
            lifespan="off",
            loop="none",
            proxy_headers=False,  # addresses are read from one trusted header, never from X-Forwarded-For
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=connections_max,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(DRAIN_TIMEOUT_S),
        )
    )


class RestSettings(GatewaySettings):
    """Environment variables of this entry point. Without a function that takes withdrawals there is no wallet."""

    deposit_table: str = ""
    address_table: str = ""
    withdrawal_table: str = ""
    withdrawal_function: str = ""
    deposit_chains: str = "[]"
    """As JSON."""
    withdrawal_rules: str = "[]"
    """As JSON."""

    def wallet(self) -> AwsWallet | None:
        """Return the wallet. Raises ValueError for settings that cannot be read."""
        if not self.withdrawal_function:
            return None
        return AwsWallet(
            deposit_table=self.deposit_table,
            address_table=self.address_table,
            withdrawal_table=self.withdrawal_table,
            withdrawal_function=self.withdrawal_function,
            chains=msgspec.json.decode(self.deposit_chains, type=list[DepositChain]),
            rules=msgspec.json.decode(self.withdrawal_rules, type=list[WithdrawalRule]),
        )


async def main(stopping: asyncio.Event) -> None:
    """Serve until told to stop, then finish what is under way."""
    settings = read_settings(RestSettings)
    configure(settings.service)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # one line per malformed request would be a gift
    async with open_exchange(settings, stopping) as exchange:
        if exchange is None:
            return
        exchange.wallet = settings.wallet()
        listening = socket.create_server((settings.listen_host, settings.listen_port), backlog=BACKLOG)
        serving = server(RestApi(exchange, trusted_proxy=settings.trusted_proxy), settings.connections_max)
        task = asyncio.create_task(serving.serve(sockets=[listening]))
        logger.info("REST API listens", extra={"port": settings.listen_port, "compiled": IS_COMPILED})
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        serving.should_exit = True
        await task
        if not stopping.is_set():
            raise RuntimeError("the HTTP server ended by itself")
        logger.info("REST API stopped")


if __name__ == "__main__":
    run(main)
