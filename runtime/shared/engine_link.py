"""A client's side of the link to the engine: commands exactly once, questions, and the event feed.

Errors:
    EngineError
    ├── EngineUnavailableError  no reply before the deadline: the command may or may not take effect
    └── EngineBusyError         refused here, before sending: the command has no effect
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator
from typing import Final, Generic, TypeVar

from msgspec import MsgspecError

from runtime.shared.backoff import Backoff
from runtime.shared.frames import frame, read_frame
from runtime.shared.messages import (
    COMMANDS,
    FEED,
    Answered,
    Ask,
    Command,
    Happened,
    Hello,
    Question,
    Refused,
    Replied,
    Send,
    Welcome,
    decode_feed,
    decode_from_engine,
    encode,
)
from runtime.shared.settings import split_address

logger = logging.getLogger(__name__)
Message = TypeVar("Message")
Outcome = TypeVar("Outcome")

IN_FLIGHT_MAX: Final = 4_096
"""Commands sent and not yet answered, per link; the engine remembers at least as many replies per session."""
REPLY_TIMEOUT_S: Final = 10.0
BATCH_MAX: Final = 512
_BACKOFF_MIN_S: Final = 0.05
_BACKOFF_MAX_S: Final = 1.0
_SWEEP_S: Final = 0.05
"""How often deadlines are looked at: one timer for all costs less than one each."""
_FIRST_FRAME_TIMEOUT_S: Final = 5.0


class EngineError(Exception):
    """Base of what can go wrong between a client and the engine."""


class EngineUnavailableError(EngineError, ConnectionError):
    """No reply before the deadline. Whether the command takes effect is not known."""


class EngineBusyError(EngineError):
    """Too many commands are in flight on this link; this one was not sent."""


class _Waiting(Generic[Message, Outcome]):
    """A message that was sent, who waits for what comes of it, and until when."""

    __slots__ = ("due", "future", "message")

    def __init__(self, message: Message, timeout_s: float) -> None:
        self.message = message
        self.future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.due = time.monotonic() + timeout_s


async def _connect(address: str, hello: Hello) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, Welcome]:
    """Open a link and wait for the engine's Welcome. Raises OSError, EOFError or TimeoutError."""
    host, port = split_address(address)
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(frame(encode(hello)))
        first = decode_from_engine(await asyncio.wait_for(read_frame(reader), _FIRST_FRAME_TIMEOUT_S))
        if not isinstance(first[0], Welcome):
            msg = first[0].reason if isinstance(first[0], Refused) else f"unexpected {type(first[0]).__name__}"
            raise ConnectionRefusedError(f"the engine at {address} refuses this link: {msg}")
    except BaseException:
        writer.close()
        raise
    return reader, writer, first[0]


class EngineLink:
    """Commands and questions to the leader. One instance is one session: numbering its commands 1, 2, 3 and so on.

    After a broken connection every unanswered command is sent again under its number, and the engine answers those
    that it already has from its memory, so each takes effect once.
    """

    def __init__(self, address: str, *, session: str | None = None) -> None:
        """Prepare a link to the engine at `address` (host:port); `start` connects."""
        self.connected = False
        self.epoch = 0
        self._address = address
        self._session = session or secrets.token_hex(8)
        self._next = 1
        self._unanswered: dict[int, _Waiting[Send, Replied]] = {}
        self._questions: dict[int, _Waiting[Ask, Answered]] = {}
        self._next_question = 1
        self._outbox: list[Send | Ask] = []
        self._wake = asyncio.Event()
        self._up = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to connect, and keep connected until `stop`."""
        self._tasks = [asyncio.create_task(self._keep_connected()), asyncio.create_task(self._expire())]

    async def stop(self) -> None:
        """Close the link; whoever still waits gets EngineUnavailableError."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        closed = EngineUnavailableError("the link to the engine was closed")
        _fail([sent.future for sent in self._unanswered.values()], closed)
        _fail([asked.future for asked in self._questions.values()], closed)

    async def wait_connected(self, timeout_s: float) -> None:
        """Return once connected. Raises EngineUnavailableError after `timeout_s`."""
        try:
            await asyncio.wait_for(self._up.wait(), timeout_s)
        except TimeoutError:
            msg = f"no engine answers at {self._address}"
            raise EngineUnavailableError(msg) from None

    async def send(self, command: Command, timeout_s: float = REPLY_TIMEOUT_S) -> Replied:
        """Have `command` sequenced and made durable; return its reply.

        Raises EngineBusyError (not sent) or EngineUnavailableError (status unknown).
        """
        if len(self._unanswered) >= IN_FLIGHT_MAX:
            msg = f"{len(self._unanswered)} commands are in flight; at most {IN_FLIGHT_MAX} may be"
            raise EngineBusyError(msg)
        n = self._next
        send = Send(n, self._acknowledged(), command)
        self._next = n + 1
        waiting: _Waiting[Send, Replied] = _Waiting(send, timeout_s)
        self._unanswered[n] = waiting
        self._enqueue(send)
        return await waiting.future

    async def ask(self, question: Question, timeout_s: float = REPLY_TIMEOUT_S) -> Answered:
        """Return the answer to `question`. Raises EngineBusyError or EngineUnavailableError."""
        if len(self._questions) >= IN_FLIGHT_MAX:
            msg = f"{len(self._questions)} questions are in flight; at most {IN_FLIGHT_MAX} may be"
            raise EngineBusyError(msg)
        number = self._next_question
        self._next_question = number + 1
        ask = Ask(number, question)
        waiting: _Waiting[Ask, Answered] = _Waiting(ask, timeout_s)
        self._questions[number] = waiting
        self._enqueue(ask)
        try:
            return await waiting.future
        finally:
            self._questions.pop(number, None)

    async def _expire(self) -> None:
        """Tell those who have waited too long. Their commands stay: a late reply still retires them."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = time.monotonic()
            error = EngineUnavailableError(f"no reply from the engine at {self._address} in time")
            _fail([sent.future for sent in self._unanswered.values() if sent.due < now], error)
            _fail([asked.future for asked in self._questions.values() if asked.due < now], error)

    def _acknowledged(self) -> int:
        return next(iter(self._unanswered), self._next) - 1

    def _enqueue(self, message: Send | Ask) -> None:
        if self.connected:
            self._outbox.append(message)
            self._wake.set()

    async def _keep_connected(self) -> None:
        backoff = Backoff(_BACKOFF_MIN_S, _BACKOFF_MAX_S)
        while True:
            try:
                reader, writer, welcome = await _connect(self._address, Hello(COMMANDS, self._session))
            except (OSError, EOFError, TimeoutError, MsgspecError) as error:
                logger.debug("no engine at %s: %r", self._address, error)
                await backoff.pause()
                continue
            logger.info("linked to engine group %s, epoch %d", welcome.group, welcome.epoch)
            self.epoch = welcome.epoch
            backoff.connected()
            try:
                await self._converse(reader, writer)
            except (OSError, EOFError, MsgspecError) as error:
                logger.warning("link to the engine broke: %r", error)
            finally:
                self.connected = False
                self._up.clear()
                writer.close()
            await backoff.pause()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send again what is unanswered, then pump both directions until one breaks."""
        self._outbox = [waiting.message for waiting in self._unanswered.values()]
        self._outbox += [waiting.message for waiting in self._questions.values()]
        self.connected = True
        self._up.set()
        self._wake.set()
        writing = asyncio.create_task(self._write(writer))
        try:
            while True:
                self._receive(await read_frame(reader))
        finally:
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):  # a broken pipe shows on the reading side
                await writing

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            messages, self._outbox = self._outbox, []
            for start in range(0, len(messages), BATCH_MAX):
                writer.write(frame(encode(messages[start : start + BATCH_MAX])))
            await writer.drain()

    def _receive(self, payload: bytes) -> None:
        for message in decode_from_engine(payload):
            if isinstance(message, Replied):
                sent = self._unanswered.pop(message.n, None)
                if sent and not sent.future.done():
                    sent.future.set_result(message)
            elif isinstance(message, Answered):
                asked = self._questions.pop(message.id, None)
                if asked and not asked.future.done():
                    asked.future.set_result(message)
            elif isinstance(message, Refused):
                raise ConnectionAbortedError(message.reason)


def _fail(futures: list[asyncio.Future[Outcome]], error: EngineError) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)


async def follow_feed(address: str, sequence: int) -> AsyncIterator[list[Happened]]:
    """Yield what happened from `sequence` on (0: everything, -1: from the next command), for ever.

    Reconnects; never repeats or skips a sequence.
    """
    backoff = Backoff(_BACKOFF_MIN_S, _BACKOFF_MAX_S)
    following = sequence
    while True:
        try:
            reader, writer, welcome = await _connect(address, Hello(FEED, "", following))
        except (OSError, EOFError, TimeoutError, MsgspecError) as error:
            logger.debug("no engine feed at %s: %r", address, error)
            await backoff.pause()
            continue
        logger.info("following engine group %s, epoch %d, from sequence %d", welcome.group, welcome.epoch, following)
        backoff.connected()
        if following < 0:
            following = welcome.sequence + 1
        try:
            while True:
                batch = [event for event in decode_feed(await read_frame(reader)) if event.sequence >= following]
                if not batch:
                    continue
                if batch[0].sequence > max(following, 1):
                    msg = f"the feed went from sequence {following - 1} to {batch[0].sequence}"
                    raise ConnectionAbortedError(msg)
                following = batch[-1].sequence + 1
                yield batch
        except (OSError, EOFError, MsgspecError) as error:
            logger.warning("the engine feed broke: %r", error)
        finally:
            writer.close()
        await backoff.pause()
