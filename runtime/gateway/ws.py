"""The WebSocket server: picows. Market streams go to the hub of `streams`, API connections to `ws_api`."""

import asyncio
import contextlib
import logging
import socket
import time
from typing import Final, Protocol
from urllib.parse import unquote

from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from runtime.gateway import IS_COMPILED
from runtime.gateway.dispatch import Exchange
from runtime.gateway.errors import ApiError
from runtime.gateway.health import UNAVAILABLE, Health
from runtime.gateway.parts import DRAIN_TIMEOUT_S, GatewaySettings, open_exchange, running
from runtime.gateway.streams import StreamConnection, StreamHub
from runtime.gateway.user_data import UserStreams
from runtime.gateway.ws_api import ApiSession, Options, read_options
from runtime.shared.log import configure
from runtime.shared.settings import read_settings
from runtime.shared.shell import run

logger = logging.getLogger(__name__)

API_PATH: Final = "/ws-api/v3"
STREAM_PATHS: Final = ("/ws", "/stream")
HEALTH_PATH: Final = "/healthz"
VIEWER_HEADER: Final = "X-Viewer-Address"
MESSAGE_BYTES_MAX: Final = 128 * 1024
"""A longer message ends the connection unread; the sessions refuse shorter ones with an answer."""
PING_INTERVAL_S: Final = 20
SILENCE_S_MAX: Final = 60
"""Without a pong for as long, a client counts as gone."""
LIFE_S_MAX: Final = 86_400
KEY_CHECK_INTERVAL_S: Final = 15
HANDSHAKE_TIMEOUT_S: Final = 5.0
LINGER_S: Final = 1.0
"""How long a client that was told to go has for its own goodbye."""
SOCKET_BUFFER_BYTES: Final = 256 * 1024
"""What the system keeps for a client that does not read, before this process does; left alone it grows to megabytes."""


class Endpoint(Protocol):
    """What a connection speaks to: texts in, and the end."""

    def on_message(self, payload: bytes) -> None:
        """Take one text."""

    def on_close(self) -> None:
        """Forget the client."""


class Gateway:
    """All connections of this process."""

    def __init__(self, exchange: Exchange, users: UserStreams, hub: StreamHub, settings: GatewaySettings) -> None:
        """Serve `exchange` and the streams of `hub`."""
        self.exchange = exchange
        self.users = users
        self.hub = hub
        self.settings = settings
        self.connections: set[Connection] = set()
        self.is_stopping = False
        self._health = Health(lambda: exchange.is_ready and hub.connected and users.is_following)

    def accept(self, request: WSUpgradeRequest) -> "Connection | WSUpgradeResponseWithListener | None":
        """Route an upgrade request; picows answers 404 for None."""
        path, _, query = request.path.decode("latin-1").partition("?")
        if self.is_stopping:
            return _plain(*UNAVAILABLE)
        if path == HEALTH_PATH:
            return _plain(*self._health.answer())
        if len(self.connections) >= self.settings.connections_max:
            return _plain(*UNAVAILABLE)
        path = unquote(path)
        viewer = request.headers.get(VIEWER_HEADER, "")
        if path == API_PATH:
            try:
                return Connection(self, path, query, viewer, read_options(query))
            except ApiError as error:
                return _plain(error.status, error.body())
        if path.startswith(tuple(f"{prefix}/" for prefix in STREAM_PATHS)) or path in STREAM_PATHS:
            return Connection(self, path, query, viewer, None)
        return None

    async def keep_alive(self) -> None:
        """Ping every connection once in PING_INTERVAL_S, a part of them each second, for ever; drop who is gone."""
        turn = 0
        while True:
            await asyncio.sleep(1)
            turn = (turn + 1) % PING_INTERVAL_S
            now_s = time.monotonic()
            for connection in [each for each in self.connections if each.turn == turn]:
                connection.ping(now_s)

    async def check_keys(self) -> None:
        """End the subscriptions of keys that are no longer good, for ever."""
        while True:
            await asyncio.sleep(KEY_CHECK_INTERVAL_S)
            for connection in list(self.connections):
                if connection.session is not None:
                    await connection.session.check_subscriptions()

    async def shut_down(self) -> None:
        """Take leave of every client, within DRAIN_TIMEOUT_S."""
        self.is_stopping = True
        connections = list(self.connections)
        sessions = [each.session for each in connections if each.session is not None]
        await asyncio.gather(*(session.shut_down(DRAIN_TIMEOUT_S / 2) for session in sessions))
        for connection in connections:
            connection.close(WSCloseCode.GOING_AWAY.value, "The server is shutting down.")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(
                asyncio.gather(*(connection.gone.wait() for connection in connections)), DRAIN_TIMEOUT_S / 2
            )


class Connection(WSListener):
    """One client: puts messages together, and keeps the rules that hold for every WebSocket."""

    def __init__(self, gateway: Gateway, path: str, query: str, viewer: str, options: Options | None) -> None:
        """Prepare for a client that asks for `path?query`; `options` are those of the API, None means streams."""
        super().__init__()
        self.session: ApiSession | None = None
        self.gone = asyncio.Event()
        self.turn = 0
        self._gateway = gateway
        self._path = path
        self._query = query
        self._viewer = viewer
        self._options = options
        self._transport: WSTransport | None = None
        self._endpoint: Endpoint | None = None
        self._stream: StreamConnection | None = None
        self._was_leaving = False
        self._partial: bytearray | None = None
        """What has come of a message in several frames."""
        self._opened_s = self._heard_s = time.monotonic()

    # ---- picows calls --------------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Begin to serve, unless the client may not connect now."""
        self._transport = transport
        gateway = self._gateway
        gateway.connections.add(self)
        self.turn = id(self) // 64 % PING_INTERVAL_S
        address = self._address(transport)
        if not gateway.exchange.limiter.connect(address):
            self.close(WSCloseCode.POLICY_VIOLATION.value, "Too many connection attempts.")
        elif self._options is None:
            self._endpoint = self._stream = gateway.hub.connection(self._path, self._query, self)
        else:
            self._open_session(address, self._options)

    def _open_session(self, address: str, options: Options) -> None:
        session = ApiSession(
            self._gateway.exchange,
            self._gateway.users,
            options,
            address=address,
            send=self.send,
            close=self.close,
            buffered=self.buffered,
        )
        try:
            session.open()
        except ApiError as error:
            self.close(WSCloseCode.POLICY_VIOLATION.value, error.text[:100])
            return
        self._endpoint = self.session = session

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take a frame."""
        kind = frame.msg_type
        if transport.is_close_frame_sent and kind is not WSMsgType.CLOSE:
            return  # what followed the fault in the same breath
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self.close(WSCloseCode.PROTOCOL_ERROR.value, "No extension was agreed on.")
        elif kind is WSMsgType.TEXT and frame.fin and self._partial is None:
            self._deliver(frame.get_payload_as_bytes())
        elif kind is WSMsgType.PONG:
            self._heard_s = time.monotonic()
        elif kind is WSMsgType.CLOSE:
            code = frame.get_close_code()
            if not frame.payload_size:
                code = WSCloseCode.OK
            elif code in (WSCloseCode.NO_INFO, WSCloseCode.ABNORMAL_CLOSURE):  # which may not be sent
                code = WSCloseCode.PROTOCOL_ERROR
            transport.send_close(code, frame.get_close_message())
            transport.disconnect()
        elif kind is WSMsgType.TEXT or kind is WSMsgType.CONTINUATION:
            self._take_part(frame)
        elif kind is not WSMsgType.PING:  # picows has answered it
            self.close(WSCloseCode.UNSUPPORTED_DATA.value, "Text frames only.")

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Forget the client."""
        del transport
        self._gateway.connections.discard(self)
        if self._endpoint is not None:
            self._endpoint.on_close()
            self._endpoint = None
        self.gone.set()

    def pause_writing(self) -> None:
        """Say that the client has more unread than the transport likes to keep."""
        if self._stream is not None:
            self._stream.on_full()

    def resume_writing(self) -> None:
        """Say that the client has read most of it."""
        if self._stream is not None:
            self._stream.on_room()

    # ---- what endpoints call -------------------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        """Send a text; without a connection it goes nowhere."""
        if self._transport is not None and not self._transport.is_close_frame_sent:
            self._transport.send(WSMsgType.TEXT, message)

    def write(self, frames: bytes) -> None:
        """Send whole frames in one write; picows itself makes one for each frame."""
        if self._transport is not None and not self._transport.is_close_frame_sent:
            self._transport.underlying_transport.write(frames)

    def close(self, code: int, reason: str) -> None:
        """Say goodbye, and disconnect."""
        if self._transport is None or self._transport.is_close_frame_sent:
            return
        self._transport.send_close(WSCloseCode(code), reason.encode()[:120])
        # At once, what the client is still sending would be answered with a reset, and the goodbye be lost.
        asyncio.get_running_loop().call_later(LINGER_S, self._transport.disconnect)

    def buffered(self) -> int:
        """Return the number of bytes that the client has not taken yet."""
        if self._transport is None:
            return 0
        size: int = self._transport.underlying_transport.get_write_buffer_size()
        return size

    # ---- inside ----------------------------------------------------------------------------------------------------

    def ping(self, now_s: float) -> None:
        """Ask for a sign of life, or give up on a client that gave none, or that has been here or leaving too long."""
        if self._transport is None:
            return
        if self._transport.is_close_frame_sent:
            if self._was_leaving:  # for a whole turn: it does not even read the goodbye
                self._transport.disconnect(graceful=False)
            self._was_leaving = True
        elif now_s - self._heard_s > SILENCE_S_MAX:
            self._transport.disconnect(graceful=False)
        elif now_s - self._opened_s > LIFE_S_MAX:
            self.close(WSCloseCode.GOING_AWAY.value, "A connection lasts 24 hours.")
        else:
            self._transport.send_ping(b"%d" % (time.time_ns() // 1_000_000))

    def _deliver(self, message: bytes) -> None:
        """Hand a message on. What goes wrong with one client, and nobody expected, ends that client only."""
        if self._endpoint is None:
            return
        if not (message.isascii() or _is_utf8(message)):
            self.close(WSCloseCode.INVALID_TEXT.value, "A text is UTF-8.")
            return
        try:
            self._endpoint.on_message(message)
        except Exception:
            logger.exception("a message could not be handled")
            self.close(WSCloseCode.INTERNAL_ERROR.value, "Internal error.")

    def _take_part(self, frame: WSFrame) -> None:
        if self._partial is None:
            if frame.msg_type is WSMsgType.CONTINUATION:
                self.close(WSCloseCode.PROTOCOL_ERROR.value, "A message was continued that had not begun.")
                return
            self._partial = bytearray()
        elif frame.msg_type is WSMsgType.TEXT:
            self.close(WSCloseCode.PROTOCOL_ERROR.value, "A message began inside another.")
            return
        self._partial += frame.get_payload_as_bytes()
        if len(self._partial) > MESSAGE_BYTES_MAX:
            self.close(WSCloseCode.MESSAGE_TOO_BIG.value, f"A message has at most {MESSAGE_BYTES_MAX} bytes.")
        elif frame.fin:
            message, self._partial = bytes(self._partial), None
            self._deliver(message)

    def _address(self, transport: WSTransport) -> str:
        """Return the client's address: the peer's, or what the front door in front of it says."""
        peer: str = transport.underlying_transport.get_extra_info("peername")[0]
        if self._viewer and peer == self._gateway.settings.trusted_proxy:
            return self._viewer
        return peer


def _is_utf8(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


def _plain(status: int, body: bytes) -> WSUpgradeResponseWithListener:
    """Return an ordinary HTTP answer."""
    headers = {"Content-Type": "application/json;charset=UTF-8"}
    if status < 400:  # noqa: PLR2004 - where HTTP's errors begin
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_ok_response(body, headers), None)
    return WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(status, body, headers), None)


async def listen(gateway: Gateway, host: str, port: int) -> asyncio.Server:
    """Open the port."""
    server: asyncio.Server = await ws_create_server(
        gateway.accept,
        host,
        port,
        websocket_handshake_timeout=HANDSHAKE_TIMEOUT_S,
        max_frame_size=MESSAGE_BYTES_MAX,
        enable_auto_ping=False,
        logger_name="ws",
    )
    for listening in server.sockets:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)  # its connections have it too
    return server


async def main(stopping: asyncio.Event) -> None:
    """Serve until told to stop, then take leave of every client."""
    settings = read_settings(GatewaySettings)
    configure(settings.service)
    logging.getLogger("picows").setLevel(logging.CRITICAL)  # one line per malformed frame would be a gift
    async with open_exchange(settings, stopping) as exchange, contextlib.AsyncExitStack() as stack:
        if exchange is None:
            return
        hub = StreamHub(settings.market_data_address, frozenset(exchange.listings.by_symbol))
        await hub.start()
        stack.push_async_callback(hub.stop)
        users = UserStreams(exchange.listings)
        gateway = Gateway(exchange, users, hub, settings)
        following = users.follow(exchange.engine, settings.engine_address)
        await stack.enter_async_context(running(following, gateway.keep_alive(), gateway.check_keys()))
        server = await listen(gateway, settings.listen_host, settings.listen_port)
        logger.info("WebSocket server listens", extra={"port": settings.listen_port, "compiled": IS_COMPILED})
        await stopping.wait()
        server.close()
        await gateway.shut_down()
        logger.info("WebSocket server stopped")


if __name__ == "__main__":
    run(main)
