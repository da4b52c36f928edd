"""The leader of a market group: journal, replica, event log. Nothing leaves it that is not durable.

One batch goes seal → append (durable) → apply → publish. A command log of every input makes the state; the event log
repeats what it led to, for consumers, and is filled up from the command log wherever a crash left it behind.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from runtime.engine.batch import Batch
from runtime.engine.file_log import FileLog, LogError
from runtime.engine.replica import Entry, Replica
from runtime.shared.catalogue import Catalogue
from runtime.shared.frames import pack_list
from runtime.shared.messages import RULES_NEWEST, Configure, Done, Happened, Rejected, Replied, encode

logger = logging.getLogger(__name__)

_decode_entries: Final = msgspec.msgpack.Decoder(list[Entry]).decode
RECENT_BYTES_MAX: Final = 64 * 1024 * 1024
"""Newest event batches kept in memory for followers; older ones are read from the event log."""
CATCH_UP_BYTES: Final = 1024 * 1024
PUBLISH_BYTES: Final = 1024 * 1024
EMIT_COMMANDS: Final = 512
"""Commands per event batch while the event log is filled up."""
PROGRESS_S: Final = 2.0


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


class Leader:
    """Sequences, journals, applies and publishes for one group. Not thread-safe, except where a method says so."""

    def __init__(self, directory: Path, group: str, clock: Callable[[], int] = now_us) -> None:
        """Own the logs of `group` in `directory`. Raises LogInUseError while another process does."""
        self._clock = clock
        self.group = group
        self.replica = Replica()
        self.journal = FileLog(directory, "commands", group)
        self.events = FileLog(directory, "events", group, derivable=True)
        self.epoch = 0
        self._recent: deque[Recent] = deque()
        self._recent_bytes = 0

    # ---- taking over -------------------------------------------------------------------------------------------

    def take_over(self) -> None:
        """Replay the journal, open a new epoch, and fill up the event log. Raises LogError."""
        started = reported = time.monotonic()
        self.epoch = max(self.journal.newest_epoch(), self.events.newest_epoch()) + 1
        emitted = 0
        for batch in self.events.replay():
            emitted = batch.next_sequence - 1
        self.events.begin(self.epoch, self._clock())
        missing: list[Happened] = []
        for batch in self.journal.replay():
            missing += [happened for happened in self._replay(batch) if happened.sequence > emitted]
            if len(missing) >= EMIT_COMMANDS:
                self._publish(missing)
                missing = []
            if time.monotonic() - reported > PROGRESS_S:
                reported = time.monotonic()
                logger.info("replaying the journal: at sequence %d", self.replica.sequence)
        if emitted > self.replica.sequence:
            raise LogError(f"the event log is at sequence {emitted}, the journal only at {self.replica.sequence}")
        if missing:
            self._publish(missing)
        self.journal.begin(self.epoch, self._time_us())
        logger.info(
            "leads group %s in epoch %d after replaying %d commands in %.1f s",
            self.group,
            self.epoch,
            self.replica.sequence,
            time.monotonic() - started,
        )

    def _replay(self, batch: Batch) -> list[Happened]:
        if not batch.count:
            return []
        return [self.replica.apply(batch.time_us, entry)[1] for entry in _decode_entries(batch.body)]

    def _time_us(self) -> int:
        """Return the time for the next batch: the clock, but never before what was already sequenced."""
        return max(self._clock(), self.replica.engine.time_us)

    def configure(self, catalogue: Catalogue) -> None:
        """Sequence the catalogue if it differs from what is in force. Raises LogError when the engine refuses it."""
        engine = self.replica.engine
        specs, tiers = catalogue.specs(), catalogue.tier_specs()
        assets = [asset.id for asset in catalogue.assets]
        if (
            engine.rules == RULES_NEWEST
            and all(spec.id in engine.markets and engine.markets[spec.id].spec == spec for spec in specs)
            and all(engine.tiers.get(tier.id) == tier for tier in tiers)
            and all(asset in engine.assets for asset in assets)
        ):
            return
        entry = Entry(f"leader-{self.epoch}", 1, 0, Configure(assets, specs, tiers, RULES_NEWEST))
        time_us, data = self.seal([entry])
        self.make_durable(data)
        (replied,) = self.apply(time_us, [entry])
        if isinstance(replied.reply, Rejected):
            raise LogError(f"the catalogue does not fit the journal: {replied.reply.detail}")
        assert isinstance(replied.reply, Done)
        logger.info("configured %d markets at sequence %d", len(specs), replied.sequence)

    # ---- one batch: seal, make durable, apply ------------------------------------------------------------------------

    def seal(self, entries: list[Entry]) -> tuple[int, bytes]:
        """Give `entries` the next sequences and a time; return that time and the bytes to make durable."""
        time_us = self._time_us()
        return time_us, self.journal.chain.seal(time_us, len(entries), encode(entries))

    def make_durable(self, data: bytes) -> None:
        """Return once `data` survives a crash. Blocks; call it from a worker thread."""
        self.journal.append(data)

    def apply(self, time_us: int, entries: list[Entry]) -> list[Replied]:
        """Apply what is durable now, publish its events, and return the replies."""
        replies: list[Replied] = []
        happened: list[Happened] = []
        for entry in entries:
            replied, event = self.replica.apply(time_us, entry)
            replies.append(replied)
            happened.append(event)
        self._publish(happened)
        return replies

    def _publish(self, happened: list[Happened]) -> None:
        """Log and keep events, in batches of about PUBLISH_BYTES; one command's events always fit one batch."""
        part: list[bytes] = []
        size = 0
        first = 0
        for event in happened:
            data = encode(event)
            if part and size + len(data) > PUBLISH_BYTES:
                self._publish_part(first, event.time_us, part)
                part, size, first = [], 0, first + len(part)
            first = first or event.sequence
            part.append(data)
            size += len(data)
        self._publish_part(first, happened[-1].time_us, part)

    def _publish_part(self, first: int, time_us: int, part: list[bytes]) -> None:
        payload = pack_list(part)
        self.events.append(self.events.chain.seal(time_us, len(part), payload), first)
        self._recent.append(Recent(first, first + len(part), payload))
        self._recent_bytes += len(payload)
        while self._recent_bytes > RECENT_BYTES_MAX and len(self._recent) > 1:
            self._recent_bytes -= len(self._recent.popleft().payload)

    # ---- followers ---------------------------------------------------------------------------------------------------

    def recent_from(self, sequence: int) -> list[Recent] | None:
        """Return the batches in memory that hold `sequence` and what follows; None if they begin later than that."""
        if sequence > self.replica.sequence:
            return []
        if not self._recent or self._recent[0].first > sequence:
            return None
        found: list[Recent] = []
        for batch in reversed(self._recent):
            if batch.following <= sequence:
                break
            found.append(batch)
        found.reverse()
        return found

    def logged_from(self, sequence: int) -> list[Recent]:
        """Return batches from the event log, from the one that holds `sequence` on. Thread-safe; blocks."""
        batches = self.events.read_from(sequence, CATCH_UP_BYTES)
        return [Recent(batch.first_sequence, batch.next_sequence, batch.body) for batch in batches]

    def close(self) -> None:
        """Give up both logs."""
        self.journal.close()
        self.events.close()
