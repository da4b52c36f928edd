"""A log in memory: for tests and simulations. It outlives the objects that read and write it, not the process."""

from bisect import bisect_right
from collections.abc import Iterator

from runtime.engine.batch import Batch, BatchError, Chain, pack_batch, parse_batch
from runtime.engine.event_log import FencedError, LogError, Mark, accept


class MemoryTopic:
    """What several `MemoryLog`s share, as processes share a topic of Kafka."""

    def __init__(self, *, fences: bool = True) -> None:
        """Start empty. A topic that does not fence takes appends of an older writer too; readers then drop them."""
        self.records: list[bytes] = []
        self.writer: MemoryLog | None = None
        self.fences = fences


class MemoryLog:
    """The `EventLog` in memory. As with Kafka, a batch that does not continue the chain is dropped, and counted."""

    def __init__(self, topic: MemoryTopic, group: str) -> None:
        """Read `topic` from its beginning."""
        self.chain = Chain(group)
        self.dropped = 0
        self._topic = topic
        self._next = 0
        self._last = ""
        self._sought: Mark | None = None

    def seek(self, mark: Mark) -> None:
        """Go on reading right behind the batch that `mark` names."""
        self.chain = Chain(self.chain.group)
        if mark.position:
            self.chain.set(mark.epoch, mark.next_sequence, mark.hash)
        self._next = int(mark.position or 0)
        self._last = mark.position
        self._sought = mark if mark.position else None

    def mark(self) -> Mark:
        """Return where this reader or writer stands."""
        return Mark(self._last, self.chain.epoch, self.chain.next_sequence, self.chain.hash)

    def read(self) -> Iterator[Batch]:
        """Yield what follows, dropping what does not continue the chain."""
        while self._next < len(self._topic.records) or self._sought:
            batch = self._batch(self._next) if self._next < len(self._topic.records) else None
            if sought := self._sought:
                if batch is None or batch.hash != sought.hash:
                    raise LogError(
                        f"record {self._next}: a snapshot names the batch before sequence {sought.next_sequence}, "
                        "which is not there: journal and snapshots are not of one history"
                    )
                self._sought = None
                self._next += 1
                continue
            assert batch is not None
            self._next += 1
            try:
                self.chain.accept(batch)
            except BatchError:
                self.dropped += 1
                continue
            self._last = str(self._next - 1)
            yield batch

    def _batch(self, number: int) -> Batch:
        parsed = parse_batch(self._topic.records[number], 0)
        if parsed is None:
            raise LogError(f"record {number}: not a whole batch")
        return parsed[0]

    def acquire(self) -> None:
        """Become the only writer."""
        self._topic.writer = self

    def newest_epoch(self) -> int:
        """Return the highest epoch that was read."""
        return self.chain.epoch

    def torn_bytes(self) -> int:
        """Return 0: a record is there whole or not at all."""
        return 0

    def begin(self, epoch: int, time_us: int, body: bytes) -> None:
        """Append the marker of a new epoch."""
        if epoch <= self.chain.epoch:
            raise LogError(f"epoch {epoch} must be above {self.chain.epoch}")
        chain = self.chain.copy()
        chain.epoch = epoch
        self._put(chain.seal(time_us, 0, body))

    def append(self, data: bytes, first_sequence: int) -> None:
        """Append a batch. Raises FencedError once another has acquired the topic."""
        del first_sequence
        self._last = str(len(self._topic.records))
        self._put(data)

    def take(self, batch: Batch) -> None:
        """Append a batch of another copy of this log."""
        accept(self.chain, batch)
        self.append(pack_batch(batch), batch.first_sequence)

    def _put(self, data: bytes) -> None:
        if self._topic.fences and self._topic.writer is not self:
            raise FencedError("another writer has taken the topic over")
        self._topic.records.append(data)

    def sync(self) -> None:
        """Return at once."""

    def read_from(self, sequence: int, bytes_max: int) -> list[Batch]:
        """Return batches from the one that holds `sequence` on."""
        numbers = range(len(self._topic.records))
        at = max(0, bisect_right(numbers, sequence, key=lambda number: self._batch(number).first_sequence) - 1)
        found: list[Batch] = []
        size = 0
        for number in numbers[at:]:
            batch = self._batch(number)
            if found and size >= bytes_max:
                break
            if batch.count and batch.next_sequence > sequence:
                found.append(batch)
                size += len(batch.body)
                sequence = batch.next_sequence
        return found

    def close(self) -> None:
        """Give up the right to write."""
        if self._topic.writer is self:
            self._topic.writer = None
