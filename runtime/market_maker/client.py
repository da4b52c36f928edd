"""A client of the public API, as anyone could write it: signed requests over the WebSocket API, streams, and REST."""

import asyncio
import base64
import hmac
import json
import logging
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.error import HTTPError, URLError

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from runtime.shared.web_socket import connect

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT_S: Final = 5.0
IN_FLIGHT_MAX: Final = 64
"""Requests sent and not yet answered, per connection."""
BODY_BYTES_MAX: Final = 4 * 1024 * 1024
_PEM: Final = "-----BEGIN"


class UnavailableError(ConnectionError):
    """No answer: what was asked for may have happened, or not. The connection is of no further use."""


class RefusedError(RuntimeError):
    """The exchange answered with an error."""

    def __init__(self, method: str, code: int, text: str) -> None:
        """Keep the documented `code` and its text."""
        super().__init__(f"{method}: {code} {text}")
        self.code = code
        self.text = text


class BadKeyError(ValueError):
    """The key cannot sign; the message says what is allowed, and shows nothing of it."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key. Its secret is an HMAC secret, or the PEM of an Ed25519 private key."""

    api_key: str
    secret_key: str = field(repr=False)

    @property
    def logs_on(self) -> bool:
        """Whether one signature opens a session, rather than each request carrying its own."""
        return self.secret_key.startswith(_PEM)

    def sign(self, parameters: Mapping[str, Any]) -> str:
        """Return the signature of `parameters`, sorted by name. Raises BadKeyError."""
        payload = "&".join(f"{name}={value}" for name, value in sorted(parameters.items())).encode()
        if not self.logs_on:
            return hmac.digest(self.secret_key.encode(), payload, "sha256").hex()
        try:
            private = load_pem_private_key(self.secret_key.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            private = None
        if not isinstance(private, Ed25519PrivateKey):
            raise BadKeyError("a PEM secret_key holds an unencrypted Ed25519 private key") from None
        return base64.b64encode(private.sign(payload)).decode()


class _Problem(msgspec.Struct):
    code: int
    msg: str


class _Incoming(msgspec.Struct):
    """A reply (it has an id), or an event of a user data subscription."""

    id: int | None = None
    result: Any = None
    error: _Problem | None = None
    event: dict[str, Any] | None = None


_decode_incoming: Final = msgspec.json.Decoder(_Incoming).decode
_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


class _Connection(WSListener):
    """One WebSocket: text messages go to `receive`, its end, whatever ends it, to `lost`."""

    def __init__(self, receive: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        self.is_open = False
        self.transport: WSTransport | None = None
        self._receive = receive
        self._lost = lost

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.is_open = True

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT and frame.fin:
            try:
                self._receive(frame.get_payload_as_bytes())
            except (msgspec.MsgspecError, LookupError, ValueError) as error:
                logger.warning("hung up: the exchange sent what cannot be read: %r", error)
                transport.disconnect()
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        del transport
        self.is_open = False
        self._lost()


async def _connect(
    url: str, receive: Callable[[bytes], None], lost: Callable[[], None], local_address: str = ""
) -> _Connection:
    """Open a WebSocket, from `local_address` where one is given. Raises UnavailableError."""
    source = (local_address, 0) if local_address else None
    try:
        return await connect(lambda: _Connection(receive, lost), url, local_addr=source)
    except ConnectionError as error:
        raise UnavailableError(str(error)) from error


class Session:
    """One connection to the WebSocket API in the name of one account."""

    def __init__(
        self,
        key: Key,
        on_event: Callable[[dict[str, Any]], None] | None = None,
        *,
        in_flight_max: int = IN_FLIGHT_MAX,
        local_address: str = "",
    ) -> None:
        """Prepare; `open` connects. `on_event`, where given, hears of orders and balances.

        `local_address` is what to connect from on a machine that has several: limits count by address.
        """
        self._key = key
        self._in_flight_max = in_flight_max
        self._local_address = local_address
        self._on_event = on_event
        self._connection: _Connection | None = None
        self._waiting: dict[int, tuple[str, asyncio.Future[Any]]] = {}
        self._next = 1

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self._connection is not None and self._connection.is_open

    async def open(self, url: str) -> None:
        """Connect, log on where the key allows it, and subscribe to the account's events if someone wants them.

        Raises UnavailableError or RefusedError.
        """
        self._connection = await _connect(url, self._receive, self._lost, self._local_address)
        if self._key.logs_on:
            await self.request("session.logon", self._signed({}))
        if self._on_event is None:
            return
        if self._key.logs_on:
            await self.request("userDataStream.subscribe", {})
        else:
            await self.request("userDataStream.subscribe.signature", self._signed({}))

    def close(self) -> None:
        """Close the connection; whoever waits gets UnavailableError."""
        if self._connection and self._connection.transport:
            self._connection.transport.disconnect()

    async def call(self, method: str, **parameters: Any) -> Any:  # noqa: ANN401 - whatever JSON the method answers
        """Send a request in the account's name and return its result. Raises UnavailableError or RefusedError."""
        if self._key.logs_on:
            return await self.request(method, parameters | {"timestamp": _now_ms()})
        return await self.request(method, self._signed(parameters))

    def _signed(self, parameters: dict[str, Any]) -> dict[str, Any]:
        named = parameters | {"apiKey": self._key.api_key, "timestamp": _now_ms()}
        return named | {"signature": self._key.sign(named)}

    async def request(self, method: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
        """Send a request as it is and return its result. Raises UnavailableError or RefusedError."""
        connection = self._connection
        if connection is None or connection.transport is None or not connection.is_open:
            raise UnavailableError(f"{method}: not connected")
        if len(self._waiting) >= self._in_flight_max:
            raise UnavailableError(f"{method}: {self._in_flight_max} requests are not answered yet")
        number = self._next
        self._next += 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = method, future
        connection.transport.send(WSMsgType.TEXT, _encode({"id": number, "method": method, "params": parameters}))
        try:
            return await asyncio.wait_for(future, REQUEST_TIMEOUT_S)
        except TimeoutError:
            raise UnavailableError(f"{method}: no answer within {REQUEST_TIMEOUT_S:g} s") from None
        finally:
            del self._waiting[number]

    def _lost(self) -> None:
        for method, future in self._waiting.values():
            if not future.done():
                future.set_exception(UnavailableError(f"{method}: the connection closed before an answer"))

    def _receive(self, payload: bytes) -> None:
        message = _decode_incoming(payload)
        if message.event is not None:
            if self._on_event:
                self._on_event(message.event)
            return
        method, future = self._waiting.get(message.id or 0, ("", None))
        if future is None or future.done():
            return
        if message.error:
            future.set_exception(RefusedError(method, message.error.code, message.error.msg))
        else:
            future.set_result(message.result)


class Stream:
    """A subscription to public streams: `on_event` hears each event's data."""

    def __init__(self, on_event: Callable[[dict[str, Any]], None]) -> None:
        """Prepare; `open` connects."""
        self._on_event = on_event
        self._connection: _Connection | None = None

    @property
    def is_open(self) -> bool:
        """Whether events can come."""
        return self._connection is not None and self._connection.is_open

    async def open(self, url: str, streams: list[str]) -> None:
        """Connect to `url` (without a path) and follow `streams`. Raises UnavailableError."""
        path = f"/stream?streams={'/'.join(streams)}"
        self._connection = await _connect(url + path, self._receive, lambda: None)

    def close(self) -> None:
        """Close the connection."""
        if self._connection and self._connection.transport:
            self._connection.transport.disconnect()

    def _receive(self, payload: bytes) -> None:
        data = _decode(payload).get("data")
        if isinstance(data, dict):
            self._on_event(data)


async def get(url: str, path: str) -> Any:  # noqa: ANN401 - JSON
    """Return the answer to a public REST request. Raises UnavailableError or RefusedError."""
    return await asyncio.to_thread(_get, url + path, path)


def _get(url: str, path: str) -> Any:  # noqa: ANN401 - JSON
    if not url.startswith(("http://", "https://")):
        raise UnavailableError(f"a REST URL starts with http:// or https://, was {url!r}")
    try:
        with urllib.request.urlopen(url, timeout=REQUEST_TIMEOUT_S) as answer:  # noqa: S310 - scheme checked above
            return json.loads(answer.read(BODY_BYTES_MAX))
    except HTTPError as error:
        raise _refused(path, error) from None
    except (URLError, TimeoutError, ValueError, OSError) as error:
        raise UnavailableError(f"{url}: {error}") from error


def _refused(path: str, error: HTTPError) -> RefusedError | UnavailableError:
    try:
        problem = msgspec.json.decode(error.read(BODY_BYTES_MAX), type=_Problem)
    except (msgspec.MsgspecError, OSError):
        return UnavailableError(f"{path}: HTTP {error.code}")
    return RefusedError(path, problem.code, problem.msg)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Pacer:
    """Allows at most `limit` orders in `window_s` seconds, evenly; time enters as an argument, in seconds."""

    def __init__(self, limit: int, window_s: float) -> None:
        """Begin with the allowance of one window."""
        self._limit = limit
        self._rate = limit / window_s
        self._left = float(limit)
        self._at: float | None = None

    def allow(self, wanted: int, now_s: float) -> int:
        """Return how many of `wanted` orders may go now, and count them."""
        if self._at is not None:
            self._left = min(self._limit, self._left + (now_s - self._at) * self._rate)
        self._at = now_s
        allowed = min(wanted, int(self._left))
        self._left -= allowed
        return allowed
