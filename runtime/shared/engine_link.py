"""A client's side of the link to the engine: commands exactly once, questions, and the event feed.

A group has several processes, one of which leads: an address may be a name that stands for several hosts, or a list of
addresses with commas between them. All are tried at once, and the one that leads answers.

Errors:
    EngineError
    ├── EngineUnavailableError  no reply before the deadline: the command may or may not take effect
    └── EngineBusyError         refused here, before sending: the command has no effect
"""

import asyncio
import contextlib
import logging
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, Generic, TypeVar

from msgspec import MsgspecError, Struct

from runtime.shared.backoff import Backoff
from runtime.shared.frames import frame, pack_list, read_frame
from runtime.shared.messages import (
    COMMANDS,
    FEED,
    NOT_LEADER,
    UNKNOWN_SESSION,
    Answered,
    Ask,
    CancelAll,
    CancelOrder,
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
from runtime.shared.tasks import end

logger = logging.getLogger(__name__)
Outcome = TypeVar("Outcome")

IN_FLIGHT_MAX: Final = 4_096
"""Commands sent and not yet answered, per link; the engine remembers at least as many replies per session."""
REPLY_TIMEOUT_S: Final = 10.0
CANCELS_RESERVED: Final = 512
"""Of IN_FLIGHT_MAX, for cancels alone: whoever is flooded with orders can still take them back."""
SILENCE_S: Final = 5.0
"""The engine shows every second that it lives; after this long without a sign the connection is given up."""
BATCH_MAX: Final = 256
_BACKOFF_MIN_S: Final = 0.05
_BACKOFF_MAX_S: Final = 1.0
_SWEEP_S: Final = 0.05
"""How often deadlines are looked at: one timer for all costs less than one each."""
_CONNECT_TIMEOUT_S: Final = 3.0
_FIRST_FRAME_TIMEOUT_S: Final = 3.0
_STOP_PAUSE_S: Final = 0.1
_NO_LEADER_PAUSE_S: Final = 0.1
"""A standby answers: a new leader is a matter of moments, so the pauses do not grow."""


class EngineError(Exception):
    """Base of what can go wrong between a client and the engine."""


class EngineUnavailableError(EngineError, ConnectionError):
    """No reply before the deadline. Whether the command takes effect is not known."""


class EngineBusyError(EngineError):
    """Too many commands are in flight on this link; this one was not sent."""


class _Waiting(Struct, Generic[Outcome], eq=False):
    """The bytes of a message that was sent, until when it may be answered, and who is told once what comes of it."""

    data: bytes
    due: float
    """In seconds of the monotonic clock."""
    _tell: Callable[[Outcome | EngineError], None] | None

    def tell(self, outcome: Outcome | EngineError) -> None:
        """Tell what came of it, unless that was done. What goes wrong with one client must not end the link of all."""
        tell, self._tell = self._tell, None
        if tell:
            try:
                tell(outcome)
            except Exception:
                logger.exception("an answer of the engine could not be passed on")


def _settler(future: "asyncio.Future[Outcome]") -> Callable[[Outcome | EngineError], None]:
    """Return what settles `future`."""

    def settle(outcome: Outcome | EngineError) -> None:
        if future.done():  # whoever waited was cancelled
            return
        if isinstance(outcome, EngineError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    return settle


class _NoLeaderError(ConnectionRefusedError):
    """A process of the group answers, and none that leads."""


_Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter, Welcome]


async def _connect(address: str, hello: Hello) -> _Connected:
    """Open a link to whichever process leads, and wait for its Welcome. Raises OSError, EOFError or TimeoutError."""
    loop = asyncio.get_running_loop()
    hosts: list[tuple[str, int]] = []
    for each in address.split(","):
        host, port = split_address(each)
        found = await asyncio.wait_for(loop.getaddrinfo(host, port, type=socket.SOCK_STREAM), _CONNECT_TIMEOUT_S)
        hosts += [(str(info[4][0]), port) for info in found]
    attempts = [asyncio.create_task(_greet(*host, address, hello)) for host in dict.fromkeys(hosts)]
    chosen: asyncio.Task[_Connected] | None = None
    try:
        chosen = await _first(attempts)
        return chosen.result()
    finally:
        for attempt in attempts:
            if attempt is not chosen:
                attempt.cancel()
                attempt.add_done_callback(_discard)


def _discard(attempt: asyncio.Task[_Connected]) -> None:
    """Close what an attempt that came second has opened."""
    if not attempt.cancelled() and not attempt.exception():
        attempt.result()[1].close()


async def _first(attempts: list[asyncio.Task[_Connected]]) -> asyncio.Task[_Connected]:
    """Return the first attempt that succeeds. Raises what tells most when none does."""
    errors: list[BaseException] = []
    waiting = set(attempts)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for attempt in done:
            if not attempt.exception():
                return attempt
        errors += [error for attempt in done if (error := attempt.exception())]
    raise next((error for error in errors if isinstance(error, _NoLeaderError)), errors[0])


async def _greet(host: str, port: int, address: str, hello: Hello) -> _Connected:
    """Open a link to one process, and wait for its Welcome."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), _CONNECT_TIMEOUT_S)
    try:
        writer.write(frame(encode(hello)))
        first = decode_from_engine(await asyncio.wait_for(read_frame(reader), _FIRST_FRAME_TIMEOUT_S))
        if not isinstance(first[0], Welcome):
            reason = first[0].reason if isinstance(first[0], Refused) else f"unexpected {type(first[0]).__name__}"
            kind = _NoLeaderError if reason == NOT_LEADER else ConnectionRefusedError
            raise kind(f"the engine at {address} refuses this link: {reason}")
    except BaseException:
        writer.close()
        raise
    return reader, writer, first[0]


async def _pause(backoff: Backoff, error: BaseException) -> None:
    """Wait before the next attempt after `error`."""
    if isinstance(error, _NoLeaderError):
        await asyncio.sleep(_NO_LEADER_PAUSE_S)
    else:
        await backoff.pause()


class EngineLink:
    """Commands and questions to the leader. One instance is one session: numbering its commands 1, 2, 3 and so on.

    After a broken connection every unanswered command is sent again under its number, and the engine answers those
    that it already has from its memory, so each takes effect once.
    """

    def __init__(self, address: str, *, session: str | None = None) -> None:
        """Prepare a link to the engine at `address` (host:port, or several with commas); `start` connects."""
        self.connected = False
        self.epoch = 0
        self._address = address
        self._session = session or secrets.token_hex(8)
        self._next = 1
        self._unanswered: dict[int, _Waiting[Replied]] = {}
        self._questions: dict[int, _Waiting[Answered]] = {}
        self._next_question = 1
        self._outbox: list[bytes] = []
        self._wake = asyncio.Event()
        self._up = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to connect, and keep connected until `stop`."""
        self._tasks = [asyncio.create_task(self._keep_connected()), asyncio.create_task(self._expire())]

    async def stop(self) -> None:
        """Close the link; whoever still waits gets EngineUnavailableError."""
        waiting = set(self._tasks)
        while waiting:
            for task in waiting:
                task.cancel()
            # A frame that arrives at this very moment takes the cancellation with it: then it is asked for again.
            _, waiting = await asyncio.wait(waiting, timeout=_STOP_PAUSE_S)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        closed = EngineUnavailableError("the link to the engine was closed")
        _fail([*self._unanswered.values(), *self._questions.values()], closed)

    async def wait_connected(self, timeout_s: float) -> None:
        """Return once connected. Raises EngineUnavailableError after `timeout_s`."""
        try:
            await asyncio.wait_for(self._up.wait(), timeout_s)
        except TimeoutError:
            msg = f"no engine answers at {self._address}"
            raise EngineUnavailableError(msg) from None

    async def send(self, command: Command, timeout_s: float = REPLY_TIMEOUT_S) -> Replied:
        """Have `command` sequenced and made durable; return its reply.

        Raises as `submit`, or EngineUnavailableError (status unknown).
        """
        future: asyncio.Future[Replied] = asyncio.get_running_loop().create_future()
        self.submit(command, _settler(future), timeout_s)
        return await future

    def submit(
        self, command: Command, tell: Callable[[Replied | EngineError], None], timeout_s: float = REPLY_TIMEOUT_S
    ) -> None:
        """Have `command` sequenced and made durable; `tell` is called once, later, with its reply.

        Sequenced after `timeout_s` it is refused as TOO_LATE, so a status that is unknown does not stay so for long:
        then `tell` gets EngineUnavailableError. Raises EngineBusyError, or OverflowError and such for a command that
        cannot be encoded; it was not sent then, and nothing will be told.
        """
        if len(self._unanswered) >= IN_FLIGHT_MAX - CANCELS_RESERVED:
            self._check_room(command)
        n = self._next
        expires_us = time.time_ns() // 1000 + int(timeout_s * 1_000_000)
        data = encode(Send(n, self._acknowledged(), command, expires_us))  # raises before a number is taken
        self._next = n + 1
        self._unanswered[n] = _Waiting(data, time.monotonic() + timeout_s, tell)
        self._enqueue(data)

    def _check_room(self, command: Command) -> None:
        most = IN_FLIGHT_MAX if isinstance(command, CancelOrder | CancelAll) else IN_FLIGHT_MAX - CANCELS_RESERVED
        if len(self._unanswered) >= most:
            msg = f"{len(self._unanswered)} commands are in flight; at most {most} may be"
            raise EngineBusyError(msg)

    async def ask(self, question: Question, timeout_s: float = REPLY_TIMEOUT_S) -> Answered:
        """Return the answer to `question`. Raises EngineBusyError or EngineUnavailableError."""
        if len(self._questions) >= IN_FLIGHT_MAX:
            msg = f"{len(self._questions)} questions are in flight; at most {IN_FLIGHT_MAX} may be"
            raise EngineBusyError(msg)
        number = self._next_question
        self._next_question = number + 1
        data = encode(Ask(number, question))
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._questions[number] = _Waiting(data, time.monotonic() + timeout_s, _settler(future))
        self._enqueue(data)
        try:
            return await future
        finally:
            self._questions.pop(number, None)

    async def _expire(self) -> None:
        """Tell those who have waited too long. Their commands stay: a late reply still retires them."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = time.monotonic()
            error = EngineUnavailableError(f"no reply from the engine at {self._address} in time")
            _fail([sent for sent in self._unanswered.values() if sent.due < now], error)
            _fail([asked for asked in self._questions.values() if asked.due < now], error)

    def _acknowledged(self) -> int:
        return next(iter(self._unanswered), self._next) - 1

    def _enqueue(self, data: bytes) -> None:
        if self.connected:
            if not self._outbox:  # else the writer has been woken
                self._wake.set()
            self._outbox.append(data)

    async def _keep_connected(self) -> None:
        backoff = Backoff(_BACKOFF_MIN_S, _BACKOFF_MAX_S)
        while True:
            try:
                reader, writer, welcome = await _connect(self._address, Hello(COMMANDS, self._session))
            except (OSError, EOFError, TimeoutError, MsgspecError) as error:
                logger.debug("no engine at %s: %r", self._address, error)
                await _pause(backoff, error)
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
        self._outbox = [waiting.data for waiting in self._unanswered.values()]
        self._outbox += [waiting.data for waiting in self._questions.values()]
        self.connected = True
        self._up.set()
        self._wake.set()
        writing = asyncio.create_task(self._write(writer))
        try:
            async with _while_heard() as heard:
                while True:
                    self._receive(await read_frame(reader))
                    heard()
        finally:
            await end(writing, OSError)  # a broken pipe shows on the reading side

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            messages, self._outbox = self._outbox, []
            for start in range(0, len(messages), BATCH_MAX):
                writer.write(frame(pack_list(messages[start : start + BATCH_MAX])))
            await writer.drain()

    def _receive(self, payload: bytes) -> None:
        for message in decode_from_engine(payload):
            if isinstance(message, Replied):
                sent = self._unanswered.pop(message.n, None)
                if sent:
                    sent.tell(message)
            elif isinstance(message, Answered):
                asked = self._questions.pop(message.id, None)
                if asked:
                    asked.tell(message)
            elif isinstance(message, Refused):
                if message.reason.startswith(UNKNOWN_SESSION):
                    self._renew_session()
                raise ConnectionAbortedError(message.reason)

    def _renew_session(self) -> None:
        """Go on as a new client: what is unanswered was forgotten by the engine, and must not be sent again."""
        gone = EngineUnavailableError("the engine no longer knows this session")
        forgotten, self._unanswered = self._unanswered, {}
        self._session = secrets.token_hex(8)
        self._next = 1
        _fail(forgotten.values(), gone)


@contextlib.asynccontextmanager
async def _while_heard() -> AsyncIterator[Callable[[], None]]:
    """Give what is called at each sign of life. Raises TimeoutError in the body after SILENCE_S without one.

    One timer that moves costs much less than a `wait_for`, and so a task, for every frame.
    """
    clock = asyncio.get_running_loop().time
    async with asyncio.timeout(SILENCE_S) as silence:
        yield lambda: silence.reschedule(clock() + SILENCE_S)


def _fail(waiting: Iterable["_Waiting[Replied] | _Waiting[Answered]"], error: EngineError) -> None:
    for each in waiting:
        each.tell(error)


@contextlib.asynccontextmanager
async def linked(address: str, timeout_s: float = 5.0) -> AsyncIterator[EngineLink]:
    """Give a link to the engine at `address` for one piece of work. Raises EngineUnavailableError after `timeout_s`."""
    link = EngineLink(address)
    await link.start()
    try:
        await link.wait_connected(timeout_s)
        yield link
    finally:
        await link.stop()


FeedDecoder = Callable[[bytes], list[Happened]]


def _happened(payload: bytes, decode: FeedDecoder) -> list[Happened]:
    """Read a frame of a feed. Raises ConnectionAbortedError with the reason of an engine that refuses to go on."""
    try:
        return decode(payload)
    except MsgspecError:
        for message in decode_from_engine(payload):
            if isinstance(message, Refused):
                raise ConnectionAbortedError(message.reason) from None
        raise


def _from(sequence: int, batch: list[Happened]) -> list[Happened]:
    """Return what of `batch` happened from `sequence` on."""
    if batch and batch[0].sequence >= sequence:
        return batch
    return [each for each in batch if each.sequence >= sequence]


async def follow_feed(address: str, sequence: int, decode: FeedDecoder = decode_feed) -> AsyncIterator[list[Happened]]:
    """Yield what happened from `sequence` on (0: everything, -1: from the next command), for ever.

    Reconnects; never repeats or skips a sequence. `decode` may leave events out, but no sequence.
    """
    backoff = Backoff(_BACKOFF_MIN_S, _BACKOFF_MAX_S)
    following = sequence
    while True:
        try:
            reader, writer, welcome = await _connect(address, Hello(FEED, "", following))
        except (OSError, EOFError, TimeoutError, MsgspecError) as error:
            logger.debug("no engine feed at %s: %r", address, error)
            await _pause(backoff, error)
            continue
        logger.info("following engine group %s, epoch %d, from sequence %d", welcome.group, welcome.epoch, following)
        backoff.connected()
        if following < 0:
            following = welcome.sequence + 1
        try:
            while True:
                async with _while_heard() as heard:
                    while not (batch := _from(following, _happened(await read_frame(reader), decode))):
                        heard()
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
