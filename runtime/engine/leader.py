"""The leader of a market group: journal, replica, event log. Nothing leaves it that is not durable.

One batch goes seal → append (durable) → apply → publish; the next may be sealed and appended before it is applied.
A command log of every input makes the state; the event log repeats what it led to, for consumers, and is filled up from
the command log wherever a crash left it behind.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import msgspec

from runtime.engine.batch import Opened
from runtime.engine.event_log import EventLog, LogError
from runtime.engine.follower import Follower, Recent
from runtime.engine.replica import Replica
from runtime.engine.snapshots import Snapshot
from runtime.shared.catalogue import Catalogue
from runtime.shared.frames import pack_list
from runtime.shared.messages import RULES_NEWEST, Configure, Done, Entry, Rejected, Replied, encode

logger = logging.getLogger(__name__)

CATCH_UP_BYTES: Final = 1024 * 1024
PUBLISH_BYTES: Final = 1024 * 1024
MARKERS_MAX: Final = 5
"""Attempts to open an epoch on a log that does not fence, while an older writer still appends."""


class Sealed:
    """A batch on its way: its entries, the first of their sequences, their time, and the bytes to make durable."""

    __slots__ = ("data", "entries", "first", "time_us")

    def __init__(self, first: int, time_us: int, entries: list[Entry], data: bytes) -> None:
        """Keep what `Leader.seal` decided."""
        self.first = first
        self.time_us = time_us
        self.entries = entries
        self.data = data


class Leader:
    """Sequences, journals, applies and publishes for one group. Not thread-safe, except where a method says so."""

    def __init__(self, follower: Follower, member: str | None = None) -> None:
        """Lead what `follower` has followed so far, under the name `member`; `take_over` begins."""
        self.group = follower.group
        self.journal = follower.journal
        self.events = follower.events
        self.epoch = 0
        self._follower = follower
        self._member = member or secrets.token_hex(8)
        self._sealed_us = 0
        self._recent = follower.recent

    @property
    def replica(self) -> Replica:
        """The state."""
        return self._follower.replica

    # ---- taking over -------------------------------------------------------------------------------------------

    def take_over(self, epoch: int = 0) -> None:
        """Own both logs in a new epoch, at least `epoch`, replay what is missing, and fill up the event log.

        Raises LogInUseError while another process owns them, or LogError; in either case the journal is unchanged.
        """
        started = time.monotonic()
        follower = self._follower
        self.journal.acquire()
        self.events.acquire()
        follower.read_events()
        self._recent = follower.recent
        self.epoch = max(epoch, self.journal.newest_epoch() + 1, self.events.newest_epoch() + 1)
        self._open_epoch(self.events, follower.read_events)
        replayed = self._catch_up()
        self.journal.torn_bytes()
        if follower.published > self.replica.sequence:
            raise LogError(
                f"the event log is at sequence {follower.published}, the journal only at {self.replica.sequence}: the "
                "end of the journal is lost. Restore it; nothing was changed in it"
            )
        self._open_epoch(self.journal, self._catch_up)
        logger.info(
            "leads group %s in epoch %d from sequence %d, %d of them replayed now, in %.2f s",
            self.group,
            self.epoch,
            self.replica.sequence,
            replayed,
            time.monotonic() - started,
        )

    def _open_epoch(self, log: EventLog, read: Callable[[], object]) -> None:
        """Append a marker, and read until it is met: whatever an older writer got in before it is seen by all."""
        body = msgspec.msgpack.encode(Opened(self._member))
        for _ in range(MARKERS_MAX):
            log.begin(self.epoch, self._time_us(), body)
            read()
            if log.chain.epoch == self.epoch:
                return
        raise LogError(f"an older leader still appends: no marker of epoch {self.epoch} was accepted")

    def _catch_up(self) -> int:
        """Apply the journal to its end, and publish what that led to; return how many commands there were."""
        total = 0
        while True:
            applied = self._follower.read_journal()
            total += applied
            if unpublished := self._follower.take_unpublished():
                told = [each.data for each in unpublished]
                self._publish(unpublished[0].sequence, unpublished[-1].time_us, told)
            if not applied:
                return total

    def _time_us(self) -> int:
        """Return the time for the next batch: the clock, but never before what was already sequenced."""
        return max(self._follower.clock(), self.replica.engine.time_us, self._sealed_us)

    def configure(self, catalogue: Catalogue) -> None:
        """Sequence the catalogue if it differs from what is in force. Raises LogError when the engine refuses it."""
        engine = self.replica.engine
        specs, tiers = catalogue.specs(), catalogue.tier_specs()
        assets = [asset.id for asset in catalogue.assets]
        if (
            engine.rules == RULES_NEWEST
            and all(spec.id in engine.markets and engine.markets[spec.id].spec.message == spec for spec in specs)
            and all(engine.tiers.get(tier.id) == tier for tier in tiers)
            and all(asset in engine.assets for asset in assets)
        ):
            return
        entry = Entry(f"leader-{self.epoch}", 1, 0, Configure(assets, specs, tiers, RULES_NEWEST))
        sealed = self.seal([entry])
        self.make_durable(sealed)
        (replied,) = self.apply(sealed)
        if isinstance(replied.reply, Rejected):
            raise LogError(f"the catalogue does not fit the journal: {replied.reply.detail}")
        assert isinstance(replied.reply, Done)
        logger.info("configured %d markets at sequence %d", len(specs), replied.sequence)

    @property
    def auction_is_due(self) -> bool:
        """Whether an auction's time has come, which the next command ends."""
        return self._time_us() >= self.replica.engine.auction_due_us

    # ---- one batch: seal, make durable, apply ------------------------------------------------------------------------

    def seal(self, entries: list[Entry]) -> Sealed:
        """Give `entries` the next sequences and a time. What was sealed before need not be applied yet."""
        first = self.journal.chain.next_sequence
        time_us = self._sealed_us = self._time_us()
        return Sealed(first, time_us, entries, self.journal.chain.seal(time_us, len(entries), encode(entries)))

    def make_durable(self, sealed: Sealed) -> None:
        """Return once `sealed` survives a crash. Blocks; see JournalWriter. Raises LogError, OSError."""
        self.journal.append(sealed.data, sealed.first)

    def apply(self, sealed: Sealed) -> list[Replied]:
        """Apply what is durable now, publish its events, and return the replies."""
        assert sealed.first == self.replica.sequence + 1, "batches are applied in the order of the journal"
        applied = self.replica.apply_batch(sealed.time_us, sealed.entries, sealed.first - 1)
        self._publish(sealed.first, sealed.time_us, applied.happened)
        return applied.replies

    def _publish(self, first: int, time_us: int, happened: list[bytes]) -> None:
        """Log and keep the events of the sequences from `first` on, in batches of about PUBLISH_BYTES."""
        for part in _parts(happened, PUBLISH_BYTES):
            payload = pack_list(part)
            following = first + len(part)
            self.events.append(self.events.chain.seal(time_us, len(part), payload), first)
            self._recent.add(Recent(first, following, payload))
            self._follower.published = following - 1
            first = following

    # ---- followers ---------------------------------------------------------------------------------------------------

    def recent_from(self, sequence: int) -> list[Recent] | None:
        """Return the batches in memory that hold `sequence` and what follows; None if they begin later than that."""
        if sequence > self.replica.sequence:
            return []
        return self._recent.from_sequence(sequence)

    def logged_from(self, sequence: int) -> list[Recent]:
        """Return batches from the event log, from the one that holds `sequence` on. Thread-safe; blocks."""
        batches = self.events.read_from(sequence, CATCH_UP_BYTES)
        return [Recent(batch.first_sequence, batch.next_sequence, batch.body) for batch in batches]

    def snapshot(self) -> tuple[Snapshot, bytes] | None:
        """Return a snapshot, as `Follower.snapshot`. Nothing may be on its way to the journal meanwhile."""
        return self._follower.snapshot()

    def close(self) -> None:
        """Give up both logs."""
        self._follower.close()


class JournalWriter:
    """The thread in which batches are made durable, while whoever began that goes on."""

    def __init__(self) -> None:
        """Start with nothing to do."""
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")

    def begin(self, write: Callable[[Sealed], None], sealed: Sealed) -> Future[None]:
        """Begin `write(sealed)`, and return as soon as the thread is at it.

        Until then it needs the interpreter's lock, which a batch that is being applied meanwhile would not give up.
        """
        begun = threading.Event()

        def run() -> None:
            begun.set()
            write(sealed)

        future = self._pool.submit(run)
        begun.wait()
        return future

    def close(self) -> None:
        """Finish what was begun."""
        self._pool.shutdown()


def _parts(items: list[bytes], bytes_max: int) -> Iterator[list[bytes]]:
    """Cut `items` into stretches of at most `bytes_max`, or of one item that is longer."""
    if sum(map(len, items)) <= bytes_max:
        yield items
        return
    part: list[bytes] = []
    size = 0
    for item in items:
        if part and size + len(item) > bytes_max:
            yield part
            part, size = [], 0
        part.append(item)
        size += len(item)
    yield part
