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

    def remember(self, replied: Replied) -> None:
        """Keep the reply to the newest command."""
        self.last = replied.n
        self.replies[replied.n] = replied
        if len(self.replies) > REPLIES_MAX:
            self.prune(next(iter(self.replies)))


def apply_once(engine: Engine, sessions: dict[str, Session], time_us: int, entry: Entry) -> tuple[Replied, Happened]:
    """Apply `entry` as the next sequence, unless its session has sent it before; return its reply and what happened."""
    sequence = engine.sequence + 1
    n = entry.n
    session = _session(sessions, entry.session)
    session.prune(entry.acknowledged)
    if n <= session.last:
        engine.skip(sequence, time_us)
        first = session.replies.get(n)
        if first is None:
            first = Replied(n, sequence, time_us, Rejected(ALREADY_PRUNED))
        return first, Happened(sequence, time_us, [])
    expires_us = entry.expires_us
    events: list[Event]
    if expires_us and time_us > expires_us:
        engine.skip(sequence, time_us)
        reply: Reply = Rejected(TOO_LATE)
        events = []
    else:
        reply, events = engine.apply(sequence, time_us, entry.command)
    replied = Replied(n, sequence, time_us, reply)
    session.remember(replied)
    return replied, Happened(sequence, time_us, events)


def _session(sessions: dict[str, Session], name: str) -> Session:
    """Return the session, as the one used last; forget the one idle longest when there are too many."""
    session = sessions.pop(name, None)
    if session is None:
        session = Session()
    sessions[name] = session
    if len(sessions) > SESSIONS_MAX:
        del sessions[next(iter(sessions))]
    return session
