"""A small client of the public WebSocket API, for our own programs that trade: they use what every trader uses."""

import asyncio
import base64
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

IN_FLIGHT_MAX: Final = 1_024
REPLY_TIMEOUT_S: Final = 15.0


class ApiError(Exception):
    """The exchange refused a request: HTTP-like `status`, `code` and text of its documentation."""

    def __init__(self, status: int, code: int, text: str) -> None:
        """Keep what the exchange said."""
        super().__init__(f"{code} {text} (status {status})")
        self.status = status
        self.code = code
        self.text = text


class ApiUnavailableError(ConnectionError):
    """The connection is closed or silent; what was in flight may or may not have happened."""


class _Response(msgspec.Struct, frozen=True):
    id: int | str | None = None
    status: int = 0
    result: Any = None
    error: dict[str, Any] | None = None
    event: dict[str, Any] | None = None


_decode: Final = msgspec.json.Decoder(_Response).decode


class WsApiClient(WSListener):
    """One connection. After `log_on` with an Ed25519 key requests need no signature of their own."""

    def __init__(self, on_event: Callable[[dict[str, Any]], None] | None = None) -> None:
        """Prepare; `connect` makes a usable one. `on_event` gets user data events."""
        self._transport: WSTransport | None = None
        self._next = 1
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._slots = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._on_event = on_event
        self.closed = asyncio.Event()

    @classmethod
    async def connect(cls, url: str, on_event: Callable[[dict[str, Any]], None] | None = None) -> "WsApiClient":
        """Open a connection to `ws://…/ws-api/v3`. Raises OSError or ApiUnavailableError."""
        _, client = await ws_connect(lambda: cls(on_event), url)
        assert isinstance(client, cls)
        return client

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Fail whoever still waits."""
        del transport
        self._transport = None
        self.closed.set()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ApiUnavailableError("the exchange closed the connection"))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Hand a response to its request, an event to the owner."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
            return
        if frame.msg_type != WSMsgType.TEXT:
            return
        response = _decode(frame.get_payload_as_bytes())
        if response.event is not None:
            if self._on_event:
                self._on_event(response.event)
            return
        future = self._waiting.get(response.id) if isinstance(response.id, int) else None
        if future is None or future.done():
            return
        if response.error is not None:
            error = ApiError(response.status, int(response.error["code"]), str(response.error["msg"]))
            future.set_exception(error)
        else:
            future.set_result(response.result)

    async def call(self, method: str, params: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - JSON
        """Send a request and return its result. Raises ApiError or ApiUnavailableError."""
        async with self._slots:
            if self._transport is None:
                raise ApiUnavailableError("the connection is closed")
            number = self._next
            self._next += 1
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._waiting[number] = future
            request = {"id": number, "method": method, "params": {**(params or {}), "returnRateLimits": False}}
            self._transport.send(WSMsgType.TEXT, msgspec.json.encode(request))
            try:
                return await asyncio.wait_for(future, REPLY_TIMEOUT_S)
            except TimeoutError:
                msg = f"no reply to {method} within {REPLY_TIMEOUT_S:g} s"
                raise ApiUnavailableError(msg) from None
            finally:
                del self._waiting[number]

    async def trade(self, method: str, params: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
        """Send a request of a logged-on session, which needs a timestamp and nothing else."""
        return await self.call(method, {**params, "timestamp": now_ms()})

    async def log_on(self, api_key: str, private_key_pem: str) -> None:
        """Authenticate the connection with an Ed25519 key."""
        params: dict[str, Any] = {"apiKey": api_key, "timestamp": now_ms()}
        await self.call("session.logon", {**params, "signature": sign_ed25519(params, private_key_pem)})

    def close(self) -> None:
        """Close the connection."""
        if self._transport:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def signed_payload(params: Mapping[str, Any]) -> bytes:
    """Return what a WebSocket API signature covers: all parameters, sorted by name."""
    return "&".join(f"{name}={params[name]}" for name in sorted(params)).encode()


def sign_ed25519(params: Mapping[str, Any], private_key_pem: str) -> str:
    """Return the base64 Ed25519 signature of `params`. Raises TypeError for a key of another kind."""
    key = load_pem_private_key(private_key_pem.encode(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError(f"session.logon takes an Ed25519 key, this is a {type(key).__name__}")
    return base64.b64encode(key.sign(signed_payload(params))).decode()
