"""Public market streams over WebSocket: who follows what, and the small protocol by which clients say so.

Market data makes every payload; the hub wraps it at most once and hands the same bytes to every subscriber. A client
that has missed anything is disconnected, so that it starts from a snapshot: no stream ever continues over a gap.
"""

import asyncio
import contextlib
import logging
import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import msgspec

from runtime.shared.backoff import Backoff
from runtime.shared.frames import frame, read_frame
from runtime.shared.market_messages import (
    Follow,
    Followed,
    FromMarketData,
    Published,
    Reset,
    Unfollow,
    decode_from_market_data,
)
from runtime.shared.messages import encode
from runtime.shared.settings import split_address
from runtime.shared.stream_names import DIFFERENTIAL, UnknownStreamError, parse_stream

logger = logging.getLogger(__name__)

STREAMS_MAX: Final = 1_024
"""Streams per connection."""
MESSAGES_PER_SECOND_MAX: Final = 5
"""Requests from one connection."""
MESSAGE_BYTES_MAX: Final = 64 * 1024
"""Longest request: enough to name STREAMS_MAX streams."""
ID_LENGTH_MAX: Final = 36
BUFFER_BYTES_MAX: Final = 1024 * 1024
"""Unread output past which a client counts as too slow."""
LINK_BYTES_MAX: Final = 4 * 1024 * 1024
"""Unread requests to market data past which the link counts as broken."""

POLICY_VIOLATION: Final = 1008
TOO_BIG: Final = 1009
SERVICE_RESTART: Final = 1012
TRY_AGAIN_LATER: Final = 1013
REASON_BYTES_MAX: Final = 123
"""What a close frame has room for."""

METHODS: Final = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_METHODS_TEXT: Final = ", ".join(f"`{method}`" for method in METHODS)
_UNKNOWN_PROPERTY: Final = 0
_BAD_TYPE: Final = 1
_BAD_REQUEST: Final = 2
_BAD_JSON: Final = 3

_CONNECT_TIMEOUT_S: Final = 5.0
_BACKOFF_MIN_S: Final = 0.05
_BACKOFF_MAX_S: Final = 2.0
_READ_BUFFER_BYTES: Final = 1024 * 1024
_UNAVAILABLE: Final = "market data is not available at the moment"
_INT64: Final = range(-(2**63), 2**63)


class _RequestError(ValueError):
    """A request that is answered with an error; it changed nothing."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class _Topic:
    """A stream with its subscribers, by how they want it wrapped."""

    __slots__ = ("_head", "combined", "is_followed", "keeps_last", "last", "name", "raw")

    def __init__(self, name: str) -> None:
        self.name = name
        self.raw: dict[StreamConnection, None] = {}
        self.combined: dict[StreamConnection, None] = {}
        self.is_followed = False
        """Market data has said that it publishes the stream to us."""
        self.keeps_last = name.partition("@")[2] not in DIFFERENTIAL
        self.last = b""
        """The last payload of a stream that tells states, for those who come later."""
        self._head = b'{"stream":"%s","data":' % name.encode()

    def wrap(self, payload: bytes) -> bytes:
        return b"%s%s}" % (self._head, payload)

    def add(self, connection: "StreamConnection") -> None:
        (self.combined if connection.is_combined else self.raw)[connection] = None

    def discard(self, connection: "StreamConnection") -> None:
        self.raw.pop(connection, None)
        self.combined.pop(connection, None)

    def subscribers(self) -> list["StreamConnection"]:
        return [*self.raw, *self.combined]


class StreamConnection:
    """One client. The listener hands in what it receives; `send` and `close` go back to the listener."""

    def __init__(
        self,
        hub: "StreamHub",
        send: Callable[[bytes], None],
        close: Callable[[int, str], None],
        buffered: Callable[[], int],
        *,
        is_combined: bool,
    ) -> None:
        """Start without a stream. `buffered` returns how many bytes the client has not taken yet."""
        self.send: Final = send
        self.buffered: Final = buffered
        self.is_combined = is_combined
        """Events are told as {"stream","data"}."""
        self.topics: Final[dict[str, _Topic]] = {}
        self._hub = hub
        self._close = close
        self._is_closed = False
        self._received: deque[float] = deque(maxlen=MESSAGES_PER_SECOND_MAX)
        self._unconfirmed: list[tuple[set[str], bytes]] = []
        """Names that market data has not confirmed yet, and the reply to send when it has."""

    def on_message(self, payload: bytes) -> None:
        """Take one text frame from the client and answer it."""
        if self._is_closed:
            return
        now_s = self._hub.clock()
        if len(self._received) == MESSAGES_PER_SECOND_MAX and now_s - self._received[0] < 1:
            self.drop(POLICY_VIOLATION, f"more than {MESSAGES_PER_SECOND_MAX} messages per second")
            return
        self._received.append(now_s)
        if len(payload) > MESSAGE_BYTES_MAX:
            self.drop(TOO_BIG, f"a message has at most {MESSAGE_BYTES_MAX} bytes, was {len(payload)}")
            return
        request_id: int | str | None = None
        try:
            request = _parse(payload)
            request_id = _checked_id(request)
            self._perform(request, request_id)
        except _RequestError as error:
            self.send(msgspec.json.encode({"error": {"code": error.code, "msg": str(error)}, "id": request_id}))

    def on_close(self) -> None:
        """Forget the client, which is gone."""
        self._is_closed = True
        self._unconfirmed.clear()
        self._hub.unsubscribe(self, list(self.topics))

    def drop(self, code: int, reason: str) -> None:
        """Disconnect the client and say why."""
        if not self._is_closed:
            self.on_close()
            self._close(code, reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore"))

    def confirm(self, name: str) -> None:
        """Reply to requests that only waited for this stream."""
        for names, reply in self._unconfirmed:
            names.discard(name)
            if not names:
                self.send(reply)
        self._unconfirmed = [waiting for waiting in self._unconfirmed if waiting[0]]

    def _perform(self, request: dict[str, Any], request_id: int | str | None) -> None:
        """Carry out a request. Raises _RequestError."""
        method = _method(request)
        result: Any = None
        if method == "SUBSCRIBE":
            names = self._hub.checked(_streams(request))
            if len(self.topics.keys() | set(names)) > STREAMS_MAX:
                raise _RequestError(_BAD_REQUEST, "Invalid request: too many parameters")
            self._subscribe(names, _reply(request_id, None))
            return
        if method == "UNSUBSCRIBE":
            names = _streams(request)
            self._hub.unsubscribe(self, names)
            for name in names:
                self.confirm(name)
        elif method == "LIST_SUBSCRIPTIONS":
            result = list(self.topics)
        elif method == "SET_PROPERTY":
            self._set_combined(_property(request, with_value=True))
        else:
            _property(request, with_value=False)
            result = self.is_combined
        self.send(_reply(request_id, result))

    def _subscribe(self, names: list[str], reply: bytes) -> None:
        """Follow `names`, and reply once nothing that happens in them from then on can be missed."""
        if not self._hub.connected:
            self.drop(TRY_AGAIN_LATER, _UNAVAILABLE)
            return
        fresh = [name for name in names if name not in self.topics]
        self._hub.subscribe(self, fresh)
        waiting = {name for name in names if not self.topics[name].is_followed}
        if waiting:
            self._unconfirmed.append((waiting, reply))
        else:
            self.send(reply)
        for name in fresh:
            topic = self.topics[name]
            if topic.last:
                self.send(topic.wrap(topic.last) if self.is_combined else topic.last)

    def _set_combined(self, is_combined: bool) -> None:  # noqa: FBT001 - the value of a property
        for topic in self.topics.values():
            topic.discard(self)
        self.is_combined = is_combined
        for topic in self.topics.values():
            topic.add(self)


class StreamHub:
    """All stream clients of this process, over one link to market data."""

    def __init__(
        self,
        market_address: str,
        symbols: frozenset[str],
        *,
        buffer_bytes_max: int = BUFFER_BYTES_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare for streams of `symbols`, which are in upper case; `start` links to `market_address` (host:port)."""
        self.connected = False
        self.clock: Final = clock
        self._address = market_address
        self._symbols = symbols
        self._buffer_bytes_max = buffer_bytes_max
        self._topics: dict[str, _Topic] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to link to market data, and keep linked until `stop`."""
        self._task = asyncio.create_task(self._keep_linked())

    async def stop(self) -> None:
        """Close the link and disconnect every client that has a stream."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def connection(
        self,
        path: str,
        query: str,
        send: Callable[[bytes], None],
        close: Callable[[int, str], None],
        buffered: Callable[[], int],
    ) -> StreamConnection:
        """Take a client that has just connected to `path?query`, and subscribe it to what those name.

        One that asks for what is not there is told so by `close`, at once; nothing more is sent to it.
        """
        kind, _, rest = path.lstrip("/").partition("/")
        connection = StreamConnection(self, send, close, buffered, is_combined=kind == "stream")
        parameters = parse_qs(query)
        names = parameters.get("streams", [""])[0].split("/") if kind == "stream" else unquote(rest).split("/")
        names = [name for name in names if name and not name.isdigit()]  # a number only tells connections apart
        try:
            _refuse_other_units(parameters)
            if kind not in ("ws", "stream"):
                raise _RequestError(_BAD_REQUEST, f"no such path: {path[:60]}")
            names = self.checked(names)
            if len(names) > STREAMS_MAX:
                raise _RequestError(_BAD_REQUEST, f"at most {STREAMS_MAX} streams, were {len(names)}")
        except _RequestError as error:
            connection.drop(POLICY_VIOLATION, str(error))
            return connection
        if names and not self.connected:
            connection.drop(TRY_AGAIN_LATER, _UNAVAILABLE)
            return connection
        self.subscribe(connection, names)
        for topic in connection.topics.values():
            if topic.last:
                send(topic.wrap(topic.last) if connection.is_combined else topic.last)
        return connection

    def checked(self, names: Iterable[str]) -> list[str]:
        """Return `names`, each once. Raises _RequestError for one that is not a stream."""
        try:
            for name in names:
                parse_stream(name, self._symbols)
        except UnknownStreamError as error:
            raise _RequestError(_BAD_REQUEST, f"Invalid request: {error}") from None
        return list(dict.fromkeys(names))

    # ---- subscriptions -------------------------------------------------------------------------------------------

    def subscribe(self, connection: StreamConnection, names: list[str]) -> None:
        """Add the client to the streams `names`, which exist; follow those that nobody had."""
        fresh: list[str] = []
        for name in names:
            topic = self._topics.get(name)
            if topic is None:
                topic = self._topics[name] = _Topic(name)
                fresh.append(name)
            topic.add(connection)
            connection.topics[name] = topic
        if fresh:
            self._tell(Follow(fresh))

    def unsubscribe(self, connection: StreamConnection, names: list[str]) -> None:
        """Take the client out of those of `names` that it has; stop following what nobody has any more."""
        for name in names:
            topic = connection.topics.pop(name, None)
            if topic:
                topic.discard(connection)
        self._forget(names)

    def _forget(self, names: list[str]) -> None:
        """Unfollow those of `names` without subscribers.

        Not one that market data has yet to confirm: its confirmation must not be taken for that of a later Follow.
        """
        idle: list[str] = []
        for name in names:
            topic = self._topics.get(name)
            if topic and topic.is_followed and not topic.subscribers():
                del self._topics[name]
                idle.append(name)
        if idle:
            self._tell(Unfollow(idle))

    def _tell(self, message: Follow | Unfollow) -> None:
        if self._writer is None:
            return
        if self._writer.transport.get_write_buffer_size() > LINK_BYTES_MAX:
            logger.error("market data does not read what it is told: link cut")
            self._writer.transport.abort()
            return
        self._writer.write(frame(encode([message])))

    # ---- the link ------------------------------------------------------------------------------------------------

    async def _keep_linked(self) -> None:
        host, port = split_address(self._address)
        backoff = Backoff(_BACKOFF_MIN_S, _BACKOFF_MAX_S)
        while True:
            try:
                reader, writer = await asyncio.wait_for(
                    asyncio.open_connection(host, port, limit=_READ_BUFFER_BYTES), _CONNECT_TIMEOUT_S
                )
            except (OSError, TimeoutError) as error:
                logger.debug("no market data at %s: %s", self._address, error)
                await backoff.pause()
                continue
            backoff.connected()
            logger.info("streams linked to market data at %s", self._address)
            self._writer = writer
            self.connected = True
            try:
                await self._listen(reader)
            except (OSError, EOFError, msgspec.MsgspecError) as error:
                logger.warning("the streams' link to market data broke: %r", error)
            finally:
                self.connected = False
                self._writer = None
                writer.close()
                self._reset(list(self._topics), "market data restarted, please reconnect")
                self._topics.clear()
            await backoff.pause()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while True:
            for message in decode_from_market_data(await read_frame(reader)):
                self._receive(message)
            await asyncio.sleep(0)  # frames that wait already must not keep clients waiting

    def _receive(self, message: FromMarketData) -> None:
        if isinstance(message, Published):
            self._publish(message.stream, message.payload)
        elif isinstance(message, Followed):
            self._confirm(message.streams)
        elif isinstance(message, Reset):
            logger.warning("market data resets %d streams: %s", len(message.streams), message.reason)
            self._reset(message.streams, "events were missed, please reconnect")

    def _publish(self, stream: str, payload: bytes) -> None:
        topic = self._topics.get(stream)
        if topic is None or not topic.is_followed:
            return
        if topic.keeps_last:
            topic.last = payload
        if topic.raw:
            self._broadcast(list(topic.raw), payload)
        if topic.combined:
            self._broadcast(list(topic.combined), topic.wrap(payload))

    def _broadcast(self, connections: list[StreamConnection], payload: bytes) -> None:
        limit = self._buffer_bytes_max
        for connection in connections:
            if connection.buffered() > limit:
                connection.drop(POLICY_VIOLATION, f"too slow: more than {limit} bytes wait to be read")
            else:
                connection.send(payload)

    def _confirm(self, names: list[str]) -> None:
        for name in names:
            topic = self._topics.get(name)
            if topic:
                topic.is_followed = True
                for connection in topic.subscribers():
                    connection.confirm(name)
        self._forget(names)  # whoever wanted them may be gone already

    def _reset(self, names: list[str], reason: str) -> None:
        """Disconnect everyone who has one of these streams."""
        for name in names:
            topic = self._topics.get(name)
            for connection in topic.subscribers() if topic else ():
                connection.drop(SERVICE_RESTART, reason)


# ---- requests ----------------------------------------------------------------------------------------------------


def _parse(payload: bytes) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        position = re.search(r"byte (\d+)", str(error))
        before = payload[: int(position[1])] if position else payload
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        raise _RequestError(_BAD_JSON, f"Invalid JSON: expected value at line {line} column {column}") from None
    if not isinstance(request, dict):
        raise _RequestError(_BAD_REQUEST, "Invalid request: expected an object")
    return request


def _checked_id(request: dict[str, Any]) -> int | str | None:
    request_id = request.get("id", ...)
    if request_id is None:
        return None
    if isinstance(request_id, int) and not isinstance(request_id, bool) and request_id in _INT64:
        return request_id
    if isinstance(request_id, str) and len(request_id) <= ID_LENGTH_MAX:
        return request_id
    raise _RequestError(_BAD_REQUEST, "Invalid request: request ID must be an unsigned integer")


def _method(request: dict[str, Any]) -> str:
    method = request.get("method")
    if method is None:
        raise _RequestError(_BAD_REQUEST, "Invalid request: missing field `method`")
    if method not in METHODS:
        raise _RequestError(
            _BAD_REQUEST, f"Invalid request: unknown variant `{str(method)[:40]}`, expected one of {_METHODS_TEXT}"
        )
    return str(method)


def _streams(request: dict[str, Any]) -> list[str]:
    names = request.get("params")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _RequestError(_BAD_REQUEST, "Invalid request: `params` must be an array of stream names")
    return names


def _property(request: dict[str, Any], *, with_value: bool) -> bool:
    """Check that the only property there is was named; return the value to set, if there must be one."""
    parameters = request.get("params")
    if not isinstance(parameters, list) or not parameters or not isinstance(parameters[0], str):
        raise _RequestError(_BAD_REQUEST, "Invalid request: property name must be a string")
    if parameters[0] != "combined":
        raise _RequestError(_UNKNOWN_PROPERTY, "Unknown property")
    if len(parameters) > 1 + with_value:
        raise _RequestError(_BAD_REQUEST, "Invalid request: too many parameters")
    value = parameters[-1]
    if with_value and not isinstance(value, bool):
        raise _RequestError(_BAD_TYPE, "Invalid value type: expected Boolean")
    return value is True


def _refuse_other_units(parameters: dict[str, list[str]]) -> None:
    unit = parameters.get("timeUnit", ["MILLISECOND"])[0]
    if unit.upper() != "MILLISECOND":
        raise _RequestError(_BAD_REQUEST, f"timeUnit: only MILLISECOND is supported on streams, was {unit[:20]}")


def _reply(request_id: int | str | None, result: Any) -> bytes:  # noqa: ANN401 - any JSON
    return msgspec.json.encode({"result": result, "id": request_id})
