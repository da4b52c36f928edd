"""A replica that follows the journal: what a standby does all day, and what every leader did before it led.

It also reads the event log, to know how far the leader has published, and keeps what it has applied beyond that: should
it lead next, that is what it publishes first.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from runtime.engine.batch import Batch
from runtime.engine.event_log import EventLog, LogError, Mark
from runtime.engine.file_log import FileLog
from runtime.engine.replica import Replica
from runtime.engine.snapshots import Snapshot, Snapshots, describe
from runtime.shared.messages import Entry

logger = logging.getLogger(__name__)

RECENT_BYTES_MAX: Final = 64 * 1024 * 1024
"""Newest event batches kept in memory for feeds; older ones are read from the event log."""
UNPUBLISHED_BYTES_MAX: Final = 64 * 1024 * 1024
"""Events applied here that the leader has not published yet; past it a standby waits for the leader."""
PROGRESS_S: Final = 2.0
_START: Final = Mark("", 0, 1, b"")
_decode_entries: Final = msgspec.msgpack.Decoder(list[Entry]).decode


def now_us() -> int:
    """Return the time in microseconds since 1970."""
    return time.time_ns() // 1000


class Recent:
    """An event batch in memory: the sequences it covers, and its bytes."""

    __slots__ = ("first", "following", "payload")

    def __init__(self, first: int, following: int, payload: bytes) -> None:
        """Cover `first` up to but not including `following`."""
        self.first = first
        self.following = following
        self.payload = payload


class RecentEvents:
    """The newest event batches, without a gap, up to RECENT_BYTES_MAX."""

    def __init__(self) -> None:
        """Start empty."""
        self._batches: deque[Recent] = deque()
        self._bytes = 0

    def add(self, batch: Recent) -> None:
        """Keep a batch; the oldest make room."""
        self._batches.append(batch)
        self._bytes += len(batch.payload)
        while self._bytes > RECENT_BYTES_MAX and len(self._batches) > 1:
            self._bytes -= len(self._batches.popleft().payload)

    def from_sequence(self, sequence: int) -> list[Recent] | None:
        """Return the batches that hold `sequence` and what follows; None if they begin later than that."""
        if not self._batches or self._batches[0].first > sequence:
            return None
        found: list[Recent] = []
        for batch in reversed(self._batches):
            if batch.following <= sequence:
                break
            found.append(batch)
        found.reverse()
        return found


class Unpublished:
    """The events of one command, encoded, that are not known to be in the event log."""

    __slots__ = ("data", "sequence", "time_us")

    def __init__(self, sequence: int, time_us: int, data: bytes) -> None:
        """Keep the events of `sequence`."""
        self.sequence = sequence
        self.time_us = time_us
        self.data = data


class Follower:
    """Replica, both logs and the snapshots of one group. Not thread-safe: one thread at a time."""

    def __init__(
        self,
        group: str,
        journal: EventLog,
        events: EventLog,
        snapshots: Snapshots | None = None,
        clock: Callable[[], int] = now_us,
    ) -> None:
        """Follow the logs of `group`; `start` restores and catches up."""
        self.group = group
        self.journal = journal
        self.events = events
        self.snapshots = snapshots
        self.clock = clock
        self.replica = Replica()
        self.recent = RecentEvents()
        self.published = 0
        """The last sequence whose events are in the event log."""
        self.unpublished: deque[Unpublished] = deque()
        self._unpublished_bytes = 0

    @classmethod
    def of_files(
        cls, directory: Path, group: str, snapshots: Snapshots | None = None, clock: Callable[[], int] = now_us
    ) -> "Follower":
        """Follow the logs of `group` in `directory`."""
        journal = FileLog(directory, "commands", group)
        return cls(group, journal, FileLog(directory, "events", group, derivable=True), snapshots, clock)

    def start(self) -> None:
        """Restore the newest snapshot that serves, and replay what follows it. Raises LogError."""
        started = time.monotonic()
        self._restore()
        restored = self.replica.sequence
        while self.catch_up() and not self.is_full:
            pass
        logger.info(
            "group %s: restored sequence %d, replayed to %d in %.1f s",
            self.group,
            restored,
            self.replica.sequence,
            time.monotonic() - started,
        )

    def _restore(self) -> None:
        for snapshot, replica in self.snapshots.newest_first() if self.snapshots else ():
            self._go_to(snapshot.journal, snapshot.events, replica)
            try:
                self.read_events()
            except LogError as error:
                logger.warning("snapshot %d is passed over, as its events are not there: %s", snapshot.sequence, error)
                continue
            if self.published >= snapshot.sequence:
                return
            # Events between the two could not be made again from this snapshot.
            logger.warning(
                "snapshot %d is passed over: the event log ends at sequence %d", snapshot.sequence, self.published
            )
        self._go_to(_START, _START, Replica())

    def _go_to(self, journal: Mark, events: Mark, replica: Replica) -> None:
        self.replica = replica
        self.journal.seek(journal)
        self.events.seek(events)
        self.recent = RecentEvents()
        self.published = events.next_sequence - 1

    def catch_up(self) -> int:
        """Apply what the journal holds by now; return how many commands that were. Raises LogError."""
        self.read_events()
        return self.read_journal()

    def read_events(self) -> None:
        """Learn how far the leader has published."""
        for batch in self.events.read():
            if batch.count:
                self.recent.add(Recent(batch.first_sequence, batch.next_sequence, batch.body))
                self.published = batch.next_sequence - 1
        while self.unpublished and self.unpublished[0].sequence <= self.published:
            self._unpublished_bytes -= len(self.unpublished.popleft().data)

    def read_journal(self) -> int:
        """Apply what the journal holds by now, or as much as may stay unpublished; return how many commands."""
        before = self.replica.sequence
        reported = time.monotonic()
        if self.is_full:
            return 0
        for batch in self.journal.read():
            self._apply(batch)
            if self.is_full:
                break
            if time.monotonic() - reported > PROGRESS_S:
                reported = time.monotonic()
                logger.info("replaying the journal: at sequence %d", self.replica.sequence)
        return self.replica.sequence - before

    def _apply(self, batch: Batch) -> None:
        if not batch.count:
            return
        applied = self.replica.apply_batch(batch.time_us, _decode_entries(batch.body), self.published)
        for sequence, data in enumerate(applied.happened, batch.next_sequence - len(applied.happened)):
            self.unpublished.append(Unpublished(sequence, batch.time_us, data))
            self._unpublished_bytes += len(data)

    @property
    def is_full(self) -> bool:
        """Whether so much is unpublished that no more may be applied."""
        return self._unpublished_bytes > UNPUBLISHED_BYTES_MAX

    def take_unpublished(self) -> list[Unpublished]:
        """Hand over what is unpublished, to be published."""
        taken = list(self.unpublished)
        self.unpublished.clear()
        self._unpublished_bytes = 0
        return taken

    def snapshot(self) -> tuple[Snapshot, bytes] | None:
        """Return a snapshot of the state and its bytes; None while events of it are unpublished, or none happened.

        Costs time in proportion to the state: nothing can be applied meanwhile. The event log is made durable first: a
        start from this snapshot could not make again what it lacks.
        """
        if self.unpublished or not self.replica.sequence:
            return None
        self.events.sync()
        return describe(self.group, self.replica, self.journal.mark(), self.events.mark())

    def close(self) -> None:
        """Give up both logs."""
        self.journal.close()
        self.events.close()
