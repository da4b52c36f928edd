"""Public market streams over WebSocket: who follows what, and the small protocol by which clients say so.

Market data makes every payload; the hub wraps and frames it once and hands the same bytes to every subscriber. What
happens within GATHER_S leaves in one write for each client, since writes are most of what a delivery costs; after a
quiet moment an event leaves at once.

A client that reads too slowly gets the newest state of streams that tell states, once it reads again, and none of
those before. Changes cannot be left out: no stream ever continues over a gap. So when too much is unread, or for too
long, the client is disconnected and told why, and starts from a snapshot.
"""

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol
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
from runtime.shared.tasks import end

logger = logging.getLogger(__name__)

STREAMS_MAX: Final = 1_024
"""Streams per connection."""
MESSAGES_PER_SECOND_MAX: Final = 5
"""Requests from one connection."""
MESSAGE_BYTES_MAX: Final = 64 * 1024
"""Longest request: enough to name STREAMS_MAX streams."""
ID_LENGTH_MAX: Final = 36
BUFFER_BYTES_MAX: Final = 1024 * 1024
"""Unread output past which a client is too slow to stay."""
BEHIND_S_MAX: Final = 30.0
"""How long a client may have more unread than its transport takes before it is too slow to stay."""
GATHER_S: Final = 0.01
"""Events of so long go out together."""
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

_TEXT: Final = 0x81
"""First byte of a frame that is a whole text."""
_LENGTH_16: Final = 126
_LENGTH_64: Final = 127


class Outlet(Protocol):
    """The way to a client."""

    def send(self, message: bytes) -> None:
        """Send a text now."""

    def write(self, frames: bytes) -> None:
        """Send whole frames now, in one write."""

    def close(self, code: int, reason: str) -> None:
        """Say goodbye and disconnect; nothing is sent after that."""

    def buffered(self) -> int:
        """Return how many bytes the client has not taken yet."""


def text_frame(payload: bytes) -> bytes:
    """Return `payload` as a server sends it: in one frame, without a mask, the same for every client."""
    size = len(payload)
    if size < _LENGTH_16:
        return b"%c%c%b" % (_TEXT, size, payload)
    if size < 1 << 16:
        return b"%c%c%b%b" % (_TEXT, _LENGTH_16, size.to_bytes(2, "big"), payload)
    return b"%c%c%b%b" % (_TEXT, _LENGTH_64, size.to_bytes(8, "big"), payload)


class _RequestError(ValueError):
    """A request that is answered with an error; it changed nothing."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class _Topic:
    """A stream with its subscribers, by how they want it wrapped."""

    __slots__ = ("_head", "combined", "is_followed", "keeps_last", "last", "name", "news", "raw")

    def __init__(self, name: str) -> None:
        self.name = name
        self.raw: dict[StreamConnection, None] = {}
        self.combined: dict[StreamConnection, None] = {}
        self.is_followed = False
        """Market data has said that it publishes the stream to us."""
        self.keeps_last = name.partition("@")[2] not in DIFFERENTIAL
        self.last = b""
        """The last payload of a stream that tells states, for those who come later."""
        self.news: list[bytes] = []
        """Payloads that were gathered and go out with the next flush."""
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
    """One client. The listener hands in what it receives, and says when the client takes no more; see `Outlet`."""

    def __init__(self, hub: "StreamHub", outlet: Outlet, *, is_combined: bool) -> None:
        """Start without a stream."""
        self.is_combined = is_combined
        """Events are told as {"stream","data"}."""
        self.topics: Final[dict[str, _Topic]] = {}
        self.waiting: Final[list[bytes]] = []
        """Frames that the flush under way has for this client."""
        self.is_behind = False
        """The transport has more unread than it likes to."""
        self.missed: Final[dict[str, None]] = {}
        """Streams whose states were left out while the client was behind."""
        self._hub = hub
        self._outlet = outlet
        self._is_closed = False
        self._behind_since_s = 0.0
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
            self._outlet.send(msgspec.json.encode({"error": {"code": error.code, "msg": str(error)}, "id": request_id}))

    def on_close(self) -> None:
        """Forget the client, which is gone."""
        self._is_closed = True
        self._unconfirmed.clear()
        self.waiting.clear()
        self.missed.clear()
        self._hub.unsubscribe(self, list(self.topics))

    def drop(self, code: int, reason: str) -> None:
        """Disconnect the client and say why."""
        if not self._is_closed:
            self.on_close()
            self._outlet.close(code, reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore"))

    def on_full(self) -> None:
        """Take note that the client does not read what it was sent."""
        self.is_behind = True
        self._behind_since_s = self._hub.clock()

    def on_room(self) -> None:
        """Take note that it has read most of it, and tell it the newest of what was left out."""
        self.is_behind = False
        missed = list(self.missed)
        self.missed.clear()
        for name in missed:
            if topic := self.topics.get(name):
                self.tell_state(topic)

    def tell_state(self, topic: _Topic) -> None:
        """Send the last payload of a stream that tells states, if there was one."""
        if topic.last:
            self._outlet.send(topic.wrap(topic.last) if self.is_combined else topic.last)

    def flush(self) -> None:
        """Send what waits, in one write, unless the client is too slow to get any more."""
        if self.is_behind and not self._is_closed:
            self._judge()
        if not self.waiting:  # whoever was disconnected has nothing waiting
            return
        frames = self.waiting[0] if len(self.waiting) == 1 else b"".join(self.waiting)
        self.waiting.clear()
        self._outlet.write(frames)

    def _judge(self) -> None:
        """Disconnect a client that is too far behind, or has been behind for too long."""
        limit = self._hub.buffer_bytes_max
        if self._outlet.buffered() > limit:
            self.drop(POLICY_VIOLATION, f"too slow: more than {limit} bytes wait to be read")
        elif self._hub.clock() - self._behind_since_s > BEHIND_S_MAX:
            self.drop(POLICY_VIOLATION, f"too slow: behind for more than {BEHIND_S_MAX:g} s")

    def confirm(self, name: str) -> None:
        """Reply to requests that only waited for this stream."""
        for names, reply in self._unconfirmed:
            names.discard(name)
            if not names:
                self._outlet.send(reply)
        self._unconfirmed = [waiting for waiting in self._unconfirmed if waiting[0]]

    def _perform(self, request: dict[str, Any], request_id: int | str | None) -> None:
        """Carry out a request. Raises _RequestError."""
        method = _method(request)
        self._hub.flush()  # what happened before is told before the answer
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
        self._outlet.send(_reply(request_id, result))

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
            self._outlet.send(reply)
        for name in fresh:
            self.tell_state(self.topics[name])

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
        gather_s: float = GATHER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare for streams of `symbols`, which are in upper case; `start` links to `market_address` (host:port).

        With `gather_s` 0 nothing waits for what comes after it.
        """
        self.connected = False
        self.clock: Final = clock
        self.buffer_bytes_max: Final = buffer_bytes_max
        self._address = market_address
        self._symbols = symbols
        self._gather_s = gather_s
        self._topics: dict[str, _Topic] = {}
        self._fresh: list[_Topic] = []
        """Those with news."""
        self._flushed_s = 0.0
        self._flush_later: asyncio.TimerHandle | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to link to market data, and keep linked until `stop`."""
        self._task = asyncio.create_task(self._keep_linked())

    async def stop(self) -> None:
        """Close the link and disconnect every client that has a stream."""
        if self._task:
            await end(self._task)

    def connection(self, path: str, query: str, outlet: Outlet) -> StreamConnection:
        """Take a client that has just connected to `path?query`, and subscribe it to what those name.

        One that asks for what is not there is told so by `close`, at once; nothing more is sent to it.
        """
        kind, _, rest = path.lstrip("/").partition("/")
        connection = StreamConnection(self, outlet, is_combined=kind == "stream")
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
        self.flush()
        self.subscribe(connection, names)
        for topic in connection.topics.values():
            connection.tell_state(topic)
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
                self.flush()
                self._reset(list(self._topics), "market data restarted, please reconnect")
                self._topics.clear()
            await backoff.pause()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while True:
            for message in decode_from_market_data(await read_frame(reader)):
                self._receive(message)
            self._flush_soon()
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
        if not topic.news:
            self._fresh.append(topic)
        topic.news.append(payload)

    def _flush_soon(self) -> None:
        """Flush now if the last time is GATHER_S ago, or else when it will be."""
        if not self._fresh or self._flush_later is not None:
            return
        wait_s = self._flushed_s + self._gather_s - time.monotonic()
        if wait_s <= 0:
            self._flush_in_time()
        else:
            self._flush_later = asyncio.get_running_loop().call_later(wait_s, self._flush_in_time)

    def _flush_in_time(self) -> None:
        self._flush_later = None
        self.flush()
        # Counted from the end: the longer it takes to tell everyone, the more is gathered for the next time.
        self._flushed_s = time.monotonic()

    def flush(self) -> None:
        """Send what was gathered: for each stream made into frames once, for each client in one write."""
        fresh, self._fresh = self._fresh, []
        touched: list[StreamConnection] = []
        for topic in fresh:
            news, topic.news = topic.news, []
            if topic.raw:
                _hand_out(topic, topic.raw, news, touched)
            if topic.combined:
                _hand_out(topic, topic.combined, [topic.wrap(payload) for payload in news], touched)
            if topic.keeps_last:
                topic.last = news[-1]
        for connection in touched:
            connection.flush()

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


def _hand_out(
    topic: _Topic, members: Iterable[StreamConnection], texts: list[bytes], touched: list[StreamConnection]
) -> None:
    """Have `texts` wait for the members of a topic; add to `touched` who had nothing waiting, or must be judged."""
    frames = b"".join([text_frame(text) for text in texts])
    for connection in members:
        waiting = connection.waiting
        if connection.is_behind:
            touched.append(connection)
            if topic.keeps_last:
                connection.missed[topic.name] = None
                continue
        elif not waiting:
            touched.append(connection)
        waiting.append(frames)


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
