"""A copy of the journal apart from the cluster that holds it: batches as their leader sealed them, in a bucket.

Every process of a group copies, by a reader of its own, and is at most about SEGMENT_S behind. The journal is cut into
segments; one is named after the place in the chain where it begins, and no name is ever written twice: whoever is first
with a segment has stored it, and the others go on behind it. So a process may die at any moment, and two may copy at
once.

A segment is magic, length of its header, header, its batches compressed, SHA-256 of all before. Each batch carries its
own CRC and the hash of the one before, as everywhere: what is read here is verified as the journal itself is.
"""

import asyncio
import logging
import time
import zlib
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Final

import msgspec

from runtime.engine.batch import Batch, BatchError, Chain, pack_batch, parse_batch
from runtime.engine.event_log import EventLog, LogError, Mark, accept
from runtime.engine.object_store import ObjectStore

logger = logging.getLogger(__name__)

SEGMENT_S: Final = 60.0
SEGMENT_BYTES: Final = 8 * 1024 * 1024
"""A segment is stored when its first batch was read so long ago, or once it holds so much."""
LOOK_S: Final = 1.0
RETRY_S: Final = 30.0
"""Pause after a failure; until it ends the copy falls behind, and nothing else happens."""
PREFIX: Final = "journal/"
BEGINNING: Final = Mark("", 0, 1, b"")
_MAGIC: Final = b"BRSG"
_LENGTH_BYTES: Final = 4
_DIGEST_BYTES: Final = 32
_FASTEST: Final = 1


class Segment(msgspec.Struct, frozen=True, array_like=True):
    """What a segment says of itself. New fields are added at the end."""

    group: str
    start: Mark
    """Where the journal stood before its first batch."""
    end: Mark
    """Where it stood behind its last one."""


class Archive:
    """The segments of one group, in one store; read, it is a log like the journal itself."""

    def __init__(self, store: ObjectStore, group: str) -> None:
        """Use the segments of `group` in `store`. None is deleted here."""
        self.chain = Chain(group)
        self._store = store

    def end(self) -> Mark:
        """Return where the copy ends, as a mark of the journal it is made from. Raises LogError, the store's errors."""
        names = self._names()
        return self._read(names[-1])[0].end if names else BEGINNING

    def add(self, segment: Segment, batches: list[Batch]) -> Mark:
        """Store a segment unless there is one that begins there; return where the one that is there now ends."""
        start = segment.start
        name = f"{PREFIX}{segment.group}/{start.next_sequence:020d}-{start.epoch:010d}.segment"
        header = msgspec.msgpack.encode(segment)
        body = zlib.compress(b"".join(map(pack_batch, batches)), _FASTEST)
        content = b"".join((_MAGIC, len(header).to_bytes(_LENGTH_BYTES, "big"), header, body))
        stored = self._store.add(name, content + sha256(content).digest())
        return segment.end if stored else self._read(name)[0].end

    def read(self) -> Iterator[Batch]:
        """Yield every batch from the first on, verified. Raises LogError, the store's errors."""
        for name in self._names():
            segment, body = self._read(name)
            offset = 0
            while offset < len(body):
                try:
                    parsed = parse_batch(body, offset)
                except BatchError as error:
                    raise LogError(f"{name} at byte {offset}: {error}") from None
                if parsed is None:
                    raise LogError(f"{name} at byte {offset}: not a whole batch")
                batch, offset = parsed
                accept(self.chain, batch)
                yield batch
            if self.chain.hash != segment.end.hash:
                raise LogError(f"{name}: it ends at sequence {self.chain.next_sequence - 1}, not where its header says")

    def torn_bytes(self) -> int:
        """Return 0: a segment is there whole or not at all."""
        return 0

    def close(self) -> None:
        """Do nothing: a store is not held open."""

    def _names(self) -> list[str]:
        return self._store.names(f"{PREFIX}{self.chain.group}/")

    def _read(self, name: str) -> tuple[Segment, bytes]:
        data = self._store.read(name)
        content, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
        start = len(_MAGIC) + _LENGTH_BYTES
        if data[: len(_MAGIC)] != _MAGIC or sha256(content).digest() != digest:
            raise LogError(f"{name}: damaged or not a segment: {len(data)} bytes whose digest does not hold")
        length = int.from_bytes(data[len(_MAGIC) : start], "big")
        try:
            segment = msgspec.msgpack.decode(content[start : start + length], type=Segment)
            body = zlib.decompress(content[start + length :])
        except (msgspec.MsgspecError, zlib.error) as error:
            raise LogError(f"{name}: not a segment known here: {error}") from None
        if segment.group != self.chain.group:
            raise LogError(f"{name}: it is of group {segment.group!r}, not of {self.chain.group!r}")
        return segment, body


class Archiver:
    """Copies a journal into an archive, by a reader that nobody else uses. Not thread-safe."""

    def __init__(self, journal: EventLog, archive: Archive, clock: Callable[[], float] = time.monotonic) -> None:
        """Copy what `journal` holds beyond the end of `archive`."""
        self._journal = journal
        self._archive = archive
        self._clock = clock
        self._start: Mark | None = None
        """Where the segment in the making begins; None while it is not known where the copy ends."""
        self._batches: list[Batch] = []
        self._bytes = 0
        self._since = 0.0

    def step(self) -> bool:
        """Read what is new, and store one segment if it is due; tell whether more may be due at once.

        Raises LogError, also for a journal that is not of one history with the archive, or the store's errors. The next
        step begins anew where the copy ends.
        """
        try:
            if self._start is None:
                start = self._archive.end()
                self._journal.seek(start)
                self._go_on(start)
            for batch in self._journal.read():
                if not self._batches:
                    self._since = self._clock()
                self._batches.append(batch)
                self._bytes += len(batch.body)
                if self._bytes >= SEGMENT_BYTES:
                    self._store()
                    return True
            if self._batches and self._clock() - self._since >= SEGMENT_S:
                self._store()
        except BaseException:
            self._start = None
            raise
        return False

    def _go_on(self, start: Mark) -> None:
        self._start = start
        self._batches = []
        self._bytes = 0

    def _store(self) -> None:
        assert self._start is not None
        self._journal.sync()  # what a power cut could take back must not stand in the copy
        read = self._journal.mark()
        end = self._archive.add(Segment(self._archive.chain.group, self._start, read), self._batches)
        if end != read:  # somebody else was first, and had read more or less
            self._journal.seek(end)
        self._go_on(end)

    def close(self) -> None:
        """Give the reader up."""
        self._journal.close()


async def keep_copying(archiver: Archiver, stopping: asyncio.Event) -> None:
    """Copy until `stopping` is set; what goes wrong is logged and tried again, and never touches trading."""
    while not stopping.is_set():
        pause_s = LOOK_S
        try:
            while await asyncio.to_thread(archiver.step) and not stopping.is_set():
                pass
        except Exception:
            logger.exception("the journal is not copied to the archive; this is tried again in %g s", RETRY_S)
            pause_s = RETRY_S
        try:
            await asyncio.wait_for(stopping.wait(), pause_s)
        except TimeoutError:
            continue
    archiver.close()
