"""The leader's TCP side: links that carry commands and questions in and replies out, and feeds of what happened.

Group commit without a timer: while one batch is being made durable in a thread of its own, the one before it is applied
and answered, and the next one gathers.
A standby listens too, so that it is ready; it refuses every link with NOT_LEADER until it leads.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar, cast

import msgspec

from runtime.engine.follower import Recent
from runtime.engine.leader import JournalWriter, Leader, Sealed
from runtime.engine.questions import answer
from runtime.engine.sessions import SESSIONS_MAX
from runtime.engine.tenure import Tenure
from runtime.shared.frames import FrameError, FrameSplitter, frame
from runtime.shared.messages import (
    COMMANDS,
    FEED,
    NOT_LEADER,
    UNKNOWN_SESSION,
    Answered,
    Ask,
    Entry,
    FromEngine,
    PassTime,
    Refused,
    Send,
    Welcome,
    decode_from_client,
    decode_hello,
    encode,
)

logger = logging.getLogger(__name__)
Outcome = TypeVar("Outcome")

BATCH_MAX: Final = 1_024
"""Commands per journal batch."""
PENDING_MAX: Final = 16_384
"""Commands waiting; past it links are not read until the engine has caught up."""
LINKS_MAX: Final = 256
SESSION_LENGTH_MAX: Final = 64
HELLO_TIMEOUT_S: Final = 5.0
CLIENT_FRAME_BYTES_MAX: Final = 2 * 1024 * 1024
REPLY_FRAME_BYTES: Final = 1024 * 1024
BEAT_S: Final = 1.0
_BEAT: Final = frame(encode([]))
WRITE_BUFFER_MAX: Final = 32 * 1024 * 1024
"""Replies a client may leave unread before its link is cut."""


class Link(asyncio.Protocol):
    """One connection. Its first frame, a Hello, decides whether it carries commands or a feed."""

    def __init__(self, server: "Server") -> None:
        """Wait for the connection."""
        self._server = server
        self._splitter = FrameSplitter()
        self._transport: asyncio.Transport | None = None
        self._session = ""
        self._feed: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._deadline: asyncio.TimerHandle | None = None
        self._is_refused = False
        self.is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or refuse one too many."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class, of the same shape
        self._writable.set()
        if len(self._server.links) >= LINKS_MAX:
            self.refuse(f"{LINKS_MAX} links are open; no more are taken")
            return
        self._server.links.add(self)
        self._deadline = asyncio.get_running_loop().call_later(HELLO_TIMEOUT_S, self.refuse, "no Hello in time")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the link; what it sent stays sequenced."""
        del exc
        self._transport = None
        self._server.links.discard(self)
        if self._deadline:
            self._deadline.cancel()
        if self._feed:
            self._feed.cancel()

    def pause_writing(self) -> None:
        """Have the feed wait for a slow reader."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let the feed go on."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Take frames; a peer that breaks the protocol is told why and cut."""
        try:
            for payload in self._splitter.feed(data):
                if self._is_refused:
                    return
                if len(payload) > CLIENT_FRAME_BYTES_MAX:
                    raise FrameError(f"a frame of {len(payload)} bytes; at most {CLIENT_FRAME_BYTES_MAX} are allowed")
                if self._session:
                    self._receive(payload)
                else:
                    self._greet(payload)
        except (FrameError, msgspec.MsgspecError) as error:
            logger.warning("link %s broke the protocol: %s", self._session or "unnamed", error)
            self.refuse(f"protocol error: {error}")

    def _greet(self, payload: bytes) -> None:
        hello = decode_hello(payload)
        if not self._server.is_leading:
            self.refuse(NOT_LEADER)
            return
        if hello.kind not in (COMMANDS, FEED):
            self.refuse(f"a link is of kind {COMMANDS} or {FEED}, was {hello.kind}")
            return
        if hello.kind == COMMANDS and not 1 <= len(hello.session) <= SESSION_LENGTH_MAX:
            self.refuse(f"a session has 1 to {SESSION_LENGTH_MAX} characters, was {hello.session[:80]!r}")
            return
        if self._deadline:
            self._deadline.cancel()
        leader = self._server.leader
        self.send([Welcome(leader.group, leader.epoch, leader.replica.sequence)])
        if hello.kind == FEED:
            self._session = "feed"
            start = leader.replica.sequence + 1 if hello.sequence < 0 else max(1, hello.sequence)
            self._feed = asyncio.get_running_loop().create_task(self._feed_from(start))
        else:
            self._session = hello.session

    def _receive(self, payload: bytes) -> None:
        """Queue commands for the next batch, and answer questions."""
        expected = self._server.expected(self._session)
        entries: list[Entry] = []
        for message in decode_from_client(payload):
            if not isinstance(message, Send):
                self._answer(message)
                continue
            n = message.n
            if not 1 <= n <= expected or not 0 <= message.acknowledged < n:
                known = f"{UNKNOWN_SESSION}: " if expected == 1 else ""
                self.refuse(f"{known}command {n}, acknowledged {message.acknowledged}; expected {expected}")
                break
            entries.append(Entry(self._session, n, message.acknowledged, message.command, message.expires_us))
            if n == expected:
                expected += 1
        self._server.submit(self, entries)

    def _answer(self, ask: Ask) -> None:
        replica = self._server.leader.replica
        self.send([Answered(ask.id, replica.sequence, answer(replica, ask.question))])

    def send(self, messages: list[FromEngine]) -> None:
        """Send, in as many frames as it takes; a client that does not read is cut."""
        if self._transport is None or self._transport.is_closing():
            return
        payload = encode(messages)
        if len(payload) > REPLY_FRAME_BYTES and len(messages) > 1:
            middle = len(messages) // 2
            self.send(messages[:middle])
            self.send(messages[middle:])
            return
        try:
            self._transport.write(frame(payload))
        except FrameError:
            logger.exception("link %s: a reply that no frame holds; cut", self._session)
            self._transport.abort()
            return
        if self._transport.get_write_buffer_size() > WRITE_BUFFER_MAX:
            logger.warning("link %s does not read its replies: cut", self._session)
            self._transport.abort()

    def refuse(self, reason: str) -> None:
        """Say why and close; what else arrives is not read."""
        self._is_refused = True
        self.send([Refused(reason)])
        if self._transport:
            self._transport.close()

    def pause(self) -> None:
        """Stop reading until the engine has caught up."""
        if self._transport and not self.is_paused:
            self.is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._transport and self.is_paused:
            self.is_paused = False
            self._transport.resume_reading()

    def beat(self) -> None:
        """Show the client that the engine lives, with an empty list."""
        if self._session and self._transport and self._writable.is_set():
            self._transport.write(_BEAT)

    async def _feed_from(self, sequence: int) -> None:
        """Feed until the link ends; what goes wrong ends the link, never in silence."""
        try:
            await self._follow(sequence)
        except Exception:
            logger.exception("a feed failed; its link is cut")
            if self._transport:
                self._transport.abort()

    async def _follow(self, sequence: int) -> None:
        """Send everything from `sequence` on, for ever: from memory where it is, else from the event log."""
        server = self._server
        while self._transport:
            batches = server.leader.recent_from(sequence)
            if batches is None:
                batches = await server.read_logged(sequence)
                if not batches:
                    self.refuse(f"no events from sequence {sequence} on are kept")
                    return
            for batch in batches:
                await self._writable.wait()
                if self._transport is None:
                    return
                self._transport.write(frame(batch.payload))
                sequence = batch.following
            if not batches:
                await server.published(sequence)


class Taken:
    """A batch on its way: who waits for its replies, and when it is durable."""

    __slots__ = ("sealed", "shares", "written")

    def __init__(self, shares: list[tuple[Link | None, int]], sealed: Sealed, written: Future[None]) -> None:
        """Keep how many of the entries, in order, are of which link; None for commands of the leader's own."""
        self.shares = shares
        self.sealed = sealed
        self.written = written


class Server:
    """Takes commands from links, commits them in batches, and sends replies and events out."""

    def __init__(self, leader: Leader | None = None) -> None:
        """Serve `leader`, which has taken over; without one, wait until `lead`."""
        self.links: set[Link] = set()
        self._leader = leader
        self._tenure: Tenure | None = None
        self._pending: deque[tuple[Link | None, list[Entry]]] = deque()
        self._waiting = 0
        """How many commands are pending."""
        self._between: list[Callable[[], None]] = []
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        self._stopping = False
        self._submitted: dict[str, int] = {}
        self._beating: asyncio.Task[None] | None = None
        self._committing: asyncio.Task[None] | None = None
        self._listener: asyncio.Server | None = None
        self._writer = JournalWriter()
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="catch-up")

    @property
    def is_leading(self) -> bool:
        """Whether commands are taken."""
        return self._leader is not None and not self._stopping

    @property
    def is_listening(self) -> bool:
        """Whether links are accepted."""
        return self._listener is not None

    @property
    def leader(self) -> Leader:
        """The leader that is served."""
        assert self._leader is not None
        return self._leader

    async def start(self, host: str, port: int) -> None:
        """Listen, and begin to commit if there is a leader."""
        self._listener = await asyncio.get_running_loop().create_server(lambda: Link(self), host, port)
        if self._leader and not self._committing:
            self.lead(self._leader)

    def lead(self, leader: Leader, tenure: Tenure | None = None) -> None:
        """Serve `leader`, which has taken over, for as long as `tenure` confirms it (without one, for ever)."""
        loop = asyncio.get_running_loop()
        self._leader = leader
        self._tenure = tenure
        self._committing = loop.create_task(self._commit_forever())
        self._beating = loop.create_task(self._beat_forever())

    async def run_until(self, stopping: asyncio.Event) -> None:
        """Serve until `stopping` is set.

        Raises what broke the journal, or took the lease: an engine that cannot write, or may not, must not live.
        """
        assert self._committing
        waiting = asyncio.create_task(stopping.wait())
        vital = [self._committing, *([self._tenure.renewing] if self._tenure else [])]
        await asyncio.wait((waiting, *vital), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        for task in vital:
            if task.done():
                task.result()

    async def drain(self) -> None:
        """Take nothing more, and finish what was taken. Links stay open: their owners need nowhere to go yet."""
        if self._listener:
            self._listener.close()
        self._stopping = True
        self._wake.set()
        if self._committing:
            await asyncio.wait((self._committing,))
        self._writer.close()

    def close(self) -> None:
        """Close every link, after `drain`: whoever was on it finds the next leader."""
        if self._beating:
            self._beating.cancel()
        for link in list(self.links):
            link.refuse("the engine is stopping")
        self._reader.shutdown()

    async def stop(self) -> None:
        """Take nothing more, finish what was taken, and close."""
        await self.drain()
        self.close()

    async def between_batches(self, work: Callable[[], Outcome]) -> Outcome:
        """Return what `work` returns, called while no batch is on its way; everything waits for it."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def call() -> None:
            try:
                result = work()
            except BaseException as error:
                future.set_exception(error)
                raise
            if not future.done():
                future.set_result(result)

        self._between.append(call)
        self._wake.set()
        return await future

    def submit(self, link: Link | None, entries: list[Entry]) -> None:
        """Queue commands of one session for the next batch. `link` gets the replies; without one they are our own."""
        if self._stopping or not entries:
            return  # not acknowledged: the client sends them again to whoever leads next
        session = entries[0].session
        newest = max([entry.n for entry in entries])
        self._submitted[session] = max(newest, self._submitted.get(session, 0))
        if len(self._submitted) > 2 * SESSIONS_MAX:
            del self._submitted[next(iter(self._submitted))]
        self._pending.append((link, entries))
        self._waiting += len(entries)
        self._wake.set()
        if link and self._waiting > PENDING_MAX:
            link.pause()

    def expected(self, session: str) -> int:
        """Return the number that the next new command of `session` must have."""
        return max(self._last(session), self._submitted.get(session, 0)) + 1

    def _last(self, session: str) -> int:
        """Return the number of the newest command of `session` that was applied."""
        known = self.leader.replica.sessions.get(session)
        return known.last if known else 0

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            for link in list(self.links):
                link.beat()
            self._end_due_auction()

    def _end_due_auction(self) -> None:
        """Let time pass by a command of the leader's own, should no other be on its way."""
        if not (self.is_leading and self.leader.auction_is_due):
            return
        session = f"leader-{self.leader.epoch}"
        n = self._last(session) + 1
        if n == self.expected(session):  # otherwise one is on its way
            self.submit(None, [Entry(session, n, n - 1, PassTime())])

    async def _commit_forever(self) -> None:
        durable: Taken | None = None
        while durable or self._pending or not self._stopping:
            if not (durable or self._pending or self._between):
                self._wake.clear()
                await self._wake.wait()
                continue
            # What is to be done between batches waits for this one, and no other begins before it.
            writing = self._begin_batch() if self._pending and not self._between else None
            if durable:
                await self._finish_batch(durable)
            if writing:
                await asyncio.wrap_future(writing.written)
            else:
                between, self._between = self._between, []
                for call in between:
                    call()
            durable = writing

    def _begin_batch(self) -> Taken:
        """Sequence what waits, and begin to make it durable."""
        taken: list[Entry] = []
        shares: list[tuple[Link | None, int]] = []
        while self._pending and (room := BATCH_MAX - len(taken)):
            link, entries = self._pending.popleft()
            if len(entries) > room:
                self._pending.appendleft((link, entries[room:]))
                entries = entries[:room]
            taken += entries
            shares.append((link, len(entries)))
        self._waiting -= len(taken)
        sealed = self.leader.seal(taken)
        return Taken(shares, sealed, self._writer.begin(self.leader.make_durable, sealed))

    async def _finish_batch(self, taken: Taken) -> None:
        """Apply what is durable, and answer."""
        if self._tenure:
            await self._tenure.confirm()
        replies = self.leader.apply(taken.sealed)
        by_link: dict[Link, list[FromEngine]] = {}
        start = 0
        for link, count in taken.shares:
            if link:
                by_link.setdefault(link, []).extend(replies[start : start + count])
            start += count
        for link, messages in by_link.items():
            link.send(messages)
        self._tell_followers()
        if self._waiting <= PENDING_MAX // 2:
            for link in self.links:
                link.resume()

    def _tell_followers(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def published(self, sequence: int) -> None:
        """Return once `sequence` is published."""
        while self.leader.replica.sequence < sequence:
            await self._news.wait()

    async def read_logged(self, sequence: int) -> list[Recent]:
        """Read a stretch of the event log without holding up the engine."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, self.leader.logged_from, sequence)
