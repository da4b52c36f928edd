"""The memory of replies that makes a repeated command harmless: it changes nothing and gets its first reply again."""

from typing import Final

from runtime.engine.engine import Engine
from runtime.shared.messages import (
    ALREADY_PRUNED,
    TOO_LATE,
    Entry,
    Event,
    Happened,
    Rejected,
    Replied,
    Reply,
    encode,
)

REPLIES_MAX: Final = 8_192
"""Replies remembered per session: twice what a client may have in flight."""
SESSIONS_MAX: Final = 1_024
"""Sessions remembered; the one idle longest is forgotten first."""


class Session:
    """Replies that one client may still ask for again."""

    __slots__ = ("last", "pruned", "replies")

    def __init__(self) -> None:
        """Nothing received yet."""
        self.last: int = 0
        self.pruned: int = 0
        self.replies: dict[int, Replied] = {}

    def prune(self, through: int) -> None:
        """Forget replies up to number `through`."""
        through = min(through, self.last)
        if through - self.pruned > len(self.replies):
            self.replies = {n: replied for n, replied in self.replies.items() if n > through}
        else:
            for n in range(self.pruned + 1, through + 1):
                self.replies.pop(n, None)
        self.pruned = max(self.pruned, through)

    def remember(self, replied: Replied, n: int) -> None:
        """Keep the reply to the newest command, number `n`."""
        self.last = n
        self.replies[n] = replied
        if len(self.replies) > REPLIES_MAX:
            self.prune(next(iter(self.replies)))


class Applied:
    """What a batch led to: the reply to each entry, and of each sequence that was to be told of what happened in it."""

    __slots__ = ("happened", "replies")

    def __init__(self) -> None:
        """Nothing yet."""
        self.replies: list[Replied] = []
        self.happened: list[bytes] = []
        """Of each `Happened`, its encoding: made at once, while what it is made of is at hand."""


def apply_batch(
    engine: Engine, sessions: dict[str, Session], time_us: int, entries: list[Entry], published: int
) -> Applied:
    """Apply `entries` as the next sequences, one after the other; tell what happened beyond the sequence `published`.

    An entry that its session has sent before changes nothing and gets its first reply again. A session is looked up
    once for all entries in a row that are of it.
    """
    applied = Applied()
    replies = applied.replies
    happened = applied.happened
    name = ""
    session: Session | None = None
    for entry in entries:
        if session is None or entry.session != name:
            name = entry.session
            session = _session(sessions, name)
        engine.is_telling = engine.sequence >= published
        replied, events = _apply(engine, session, time_us, entry)
        replies.append(replied)
        if engine.is_telling:
            happened.append(encode(Happened(engine.sequence, time_us, events)))
    engine.is_telling = True
    return applied


def apply_one(engine: Engine, sessions: dict[str, Session], time_us: int, entry: Entry) -> tuple[Replied, Happened]:
    """Apply `entry` as a batch of its own, for those who look into what happened."""
    replied, events = _apply(engine, _session(sessions, entry.session), time_us, entry)
    return replied, Happened(engine.sequence, time_us, events)


def _apply(engine: Engine, session: Session, time_us: int, entry: Entry) -> tuple[Replied, list[Event]]:
    """Apply `entry` as the next sequence, unless `session` has sent it before; return its reply and its events."""
    sequence = engine.sequence + 1
    n = entry.n
    acknowledged = entry.acknowledged
    if acknowledged > session.pruned:
        session.prune(acknowledged)
    if n <= session.last:
        engine.skip(sequence, time_us)
        first = session.replies.get(n)
        if first is None:
            first = Replied(n, sequence, time_us, Rejected(ALREADY_PRUNED))
        return first, []
    expires_us = entry.expires_us
    if expires_us and time_us > expires_us:
        engine.skip(sequence, time_us)
        reply: Reply = Rejected(TOO_LATE)
        events: list[Event] = []
    else:
        reply, events = engine.apply(sequence, time_us, entry.command)
    replied = Replied(n, sequence, time_us, reply)
    session.remember(replied, n)
    return replied, events


def _session(sessions: dict[str, Session], name: str) -> Session:
    """Return the session, as the one used last; forget the one idle longest when there are too many."""
    session = sessions.pop(name, None)
    if session is None:
        session = Session()
    sessions[name] = session
    if len(sessions) > SESSIONS_MAX:
        del sessions[next(iter(sessions))]
    return session
