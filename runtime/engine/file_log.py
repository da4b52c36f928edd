"""A log in files: one preallocated segment per epoch, appended with fdatasync, owned by one process through flock.

Stands in for MSK where there is none. What it promises: `append` returns once the batch is durable; at most the last,
never acknowledged batch can be torn by a crash, and `begin` cuts it; damage anywhere else refuses to be continued.
Any number of processes may read while one writes.
"""

import fcntl
import logging
import os
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from runtime.engine.batch import MAGIC, Batch, BatchError, Chain, announced_bytes, pack_batch, parse_batch
from runtime.engine.event_log import LogError, LogInUseError, Mark, accept

logger = logging.getLogger(__name__)

PREALLOCATION_BYTES: Final = 16 * 1024 * 1024
READ_BYTES_LEAST: Final = 64 * 1024
READ_BYTES_MOST: Final = 4 * 1024 * 1024
"""A reader at the end takes small bites, one that catches up takes large ones."""
INDEX_STRIDE: Final = 64
"""Every so many batches the index remembers where one starts."""


class Disk:
    """The calls by which a log touches a disk: one seam, so that a test can cut the power between any two."""

    def make_folder(self, folder: Path) -> None:
        """Create `folder` unless it is there."""
        folder.mkdir(parents=True, exist_ok=True)

    def names(self, folder: Path) -> list[str]:
        """Return the names in `folder`."""
        return os.listdir(folder)  # noqa: PTH208 - names are what is wanted

    def create(self, path: Path) -> int:
        """Create and open a file that must not be there yet."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)

    def open(self, path: Path) -> int:
        """Open a file for reading and cutting."""
        return os.open(path, os.O_RDWR)

    def size(self, file: int) -> int:
        """Return the size of a file in bytes."""
        return os.fstat(file).st_size

    def read(self, file: int, size: int, offset: int) -> bytes:
        """Read up to `size` bytes."""
        return os.pread(file, size, offset)

    def allocate(self, file: int, offset: int, size: int) -> None:
        """Extend a file by zeros, with their blocks, so that later syncs write data alone."""
        os.posix_fallocate(file, offset, size)

    def write(self, file: int, data: bytes, offset: int) -> int:
        """Write, and return how many bytes were taken."""
        return os.pwrite(file, data, offset)

    def sync(self, file: int) -> None:
        """Return once what was written is durable."""
        os.fdatasync(file)

    def truncate(self, file: int, size: int) -> None:
        """Cut a file."""
        os.ftruncate(file, size)

    def sync_folder(self, folder: Path) -> None:
        """Make the names in `folder` durable."""
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    def lock(self, path: Path) -> int:
        """Take the lock that is `path`. Raises BlockingIOError while another process holds it."""
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            raise BlockingIOError from None
        return file

    def close(self, file: int) -> None:
        """Close a file, and give up its lock."""
        os.close(file)


class _Place:
    """Where a batch starts: its first sequence, its segment, its offset."""

    __slots__ = ("offset", "segment", "sequence")

    def __init__(self, sequence: int, segment: str, offset: int) -> None:
        self.sequence = sequence
        self.segment = segment
        self.offset = offset


class FileLog:
    """The `EventLog` in files."""

    def __init__(
        self, directory: Path, name: str, group: str, *, derivable: bool = False, disk: Disk | None = None
    ) -> None:
        """Read the log `name` of `group` in `directory`, from its beginning.

        A `derivable` log can be rebuilt from another one: it is not synced, and damage in it is cut, not refused.
        """
        self.chain = Chain(group)
        self._disk = disk or Disk()
        self._directory = directory
        self._name = name
        self._derivable = derivable
        self._lock = -1
        self._seek = Mark("", 0, 1, b"")
        self._segment = ""  # being read
        self._offset = 0
        self._last = ""  # position of the last batch that was read or appended
        self._ends: dict[str, int] = {}
        self._synced: set[str] = set()
        self._writing = ""  # being written
        self._file = -1
        self._written = 0
        self._allocated = 0
        self._index: list[_Place] = []
        self._older: list[_Place] = []
        self._batches = 0
        self._disk.make_folder(directory)

    # ---- reading -------------------------------------------------------------------------------------------------

    def seek(self, mark: Mark) -> None:
        """Go on reading right behind the batch that `mark` names; the next `read` checks that it is there."""
        self.chain = Chain(self.chain.group)
        if mark.position:
            self.chain.set(mark.epoch, mark.next_sequence, mark.hash)
        self._seek = mark
        self._segment, _, offset = mark.position.partition(":")
        self._offset = int(offset or 0)
        self._last = mark.position
        self._ends = {}
        self._index = []
        self._older = []
        self._batches = 0

    def mark(self) -> Mark:
        """Return where this reader or writer stands."""
        return Mark(self._last, self.chain.epoch, self.chain.next_sequence, self.chain.hash)

    def read(self) -> Iterator[Batch]:
        """Yield what follows, verified, up to the end.

        What a crash, or a write that is under way, left torn at the very end is no error; `begin` tells whether it may
        be cut. Changes nothing. Raises LogError for anything else that does not verify.
        """
        if self._seek.position:
            self._enter(self._seek)
        while True:
            segments = self._segments()  # listed before reading: a segment that has a successor changes no more
            if not self._segment:
                if not segments:
                    return
                self._segment = segments[0]
            yield from self._read_segment()
            later = [segment for segment in segments if segment > self._segment]
            if not later:
                return
            self._refuse_rest()
            self._segment, self._offset = later[0], 0

    def _enter(self, mark: Mark) -> None:
        """Check that the batch that `mark` names is where it says, and stand behind it."""
        segment = self._segment
        try:
            found = next(self._batches_in(segment, self._offset), None) if segment in self._segments() else None
        except BatchError as error:
            raise LogError(f"{self._path(segment)} at byte {self._offset}: {error}") from None
        if found is None or found[0].hash != mark.hash:
            raise LogError(
                f"{self._path(segment)} at byte {self._offset}: a snapshot names the batch before sequence "
                f"{mark.next_sequence}, which is not there: journal and snapshots are not of one history. Restore the "
                "journal that belongs to them, or move the snapshots away to replay this one from its beginning"
            )
        self._offset = self._ends[segment] = found[2]
        self._seek = Mark("", 0, 1, b"")

    def _read_segment(self) -> Iterator[Batch]:
        segment = self._segment
        self._ends.setdefault(segment, self._offset)
        try:
            for batch, start, end in self._batches_in(segment, self._offset):
                self.chain.accept(batch)
                self._remember(batch.first_sequence, segment, start)
                self._last = f"{segment}:{start}"
                self._offset = self._ends[segment] = end
                yield batch
        except BatchError as error:
            if not self._derivable:
                raise LogError(f"{self._path(segment)} at byte {self._offset}: {error}") from None

    def _batches_in(self, segment: str, offset: int) -> Iterator[tuple[Batch, int, int]]:
        """Yield the intact batches from `offset` on, with start and end, up to the first bytes that are none."""
        disk = self._disk
        file = disk.open(self._path(segment))
        bite = READ_BYTES_LEAST
        try:
            while disk.read(file, len(MAGIC), offset) == MAGIC:
                data = disk.read(file, bite, offset)
                bite = min(2 * bite, READ_BYTES_MOST)
                at = 0
                while parsed := parse_batch(data, at):
                    batch, end = parsed
                    yield batch, offset + at, offset + end
                    at = end
                if at == 0:  # nothing whole in what was read: a long batch, or the end
                    size = announced_bytes(data)
                    parsed = parse_batch(disk.read(file, size, offset), 0) if size > len(data) else None
                    if parsed is None:
                        return
                    batch, at = parsed
                    yield batch, offset, offset + at
                offset += at
        finally:
            disk.close(file)

    def _refuse_rest(self) -> None:
        """Refuse a segment that is followed by another but does not end with an intact batch."""
        segment = self._segment
        if not self._derivable and self._rest(segment, self._offset):
            raise LogError(f"{self._path(segment)} at byte {self._offset}: damaged, and later epochs follow")

    def _rest(self, segment: str, offset: int) -> bytes:
        """Return what stands behind `offset`, without the zeros at its end."""
        file = self._disk.open(self._path(segment))
        try:
            return self._disk.read(file, max(0, self._disk.size(file) - offset), offset).rstrip(b"\0")
        finally:
            self._disk.close(file)

    def _segments(self) -> list[str]:
        """Return the segments, oldest first."""
        prefix = f"{self._name}-"
        names = self._disk.names(self._directory)
        return sorted(name for name in names if name.startswith(prefix) and name.endswith(".log"))

    def _path(self, segment: str) -> Path:
        return self._directory / segment

    def newest_epoch(self) -> int:
        """Return the highest epoch that ever opened a segment here, 0 if none did."""
        return max((int(Path(name).stem.rpartition("-")[2]) for name in self._segments()), default=0)

    def torn_bytes(self) -> int:
        """Return how many bytes a crash left behind the last good batch, read to the end before.

        Raises LogError for bytes that one torn write cannot have left.
        """
        segments = self._segments()
        if not segments:
            return 0
        good = self._ends.get(segments[-1], 0)
        rest = self._rest(segments[-1], good)
        if not self._derivable and (later := _intact_batch_in(rest)) is not None:
            raise LogError(
                f"{self._path(segments[-1])} at byte {good}: damaged, but an intact batch follows at byte "
                f"{good + later}: no crash leaves that. Restore the file from a copy; nothing was changed"
            )
        return len(rest)

    # ---- writing -------------------------------------------------------------------------------------------------

    def acquire(self) -> None:
        """Become the only writer. Raises LogInUseError while another process is."""
        if self._lock >= 0:
            return
        path = self._directory / f"{self._name}.lock"
        try:
            self._lock = self._disk.lock(path)
        except BlockingIOError:
            raise LogInUseError(f"{self._directory / self._name}: another process leads {self.chain.group!r}") from None

    def begin(self, epoch: int, time_us: int, body: bytes) -> None:
        """Cut what was torn, open the segment of a new epoch and make its marker durable.

        From here on no older writer is believed.
        """
        assert self._lock >= 0, "acquire first"
        if epoch <= self.chain.epoch:
            raise LogError(f"{self._name}: epoch {epoch} must be above {self.chain.epoch}")
        torn = self.torn_bytes()
        for segment, good in self._ends.items():
            self._cut(segment, good, torn)
        self._open(epoch)
        chain = self.chain.copy()
        chain.epoch = epoch
        self._write(chain.seal(time_us, 0, body))

    def _open(self, epoch: int) -> None:
        """Open the segment of a new epoch, and write to it from here on."""
        self._finish_segment()
        self._writing = f"{self._name}-{epoch:010d}.log"
        self._file = self._disk.create(self._path(self._writing))
        self._written = self._allocated = 0
        for folder in (self._directory, self._directory.parent):
            self._disk.sync_folder(folder)

    def append(self, data: bytes, first_sequence: int) -> None:
        """Write a sealed batch; return once it is durable (a derivable log: once it is written)."""
        self._remember(first_sequence, self._writing, self._written)
        self._last = f"{self._writing}:{self._written}"
        self._write(data)

    def take(self, batch: Batch) -> None:
        """Append a batch of another copy of this log, a marker or commands, just as it was sealed."""
        assert self._lock >= 0, "acquire first"
        opens = batch.epoch > self.chain.epoch
        if opens != (batch.count == 0):
            place = f"epoch {batch.epoch} at sequence {batch.first_sequence}"
            raise LogError(f"{self._name}: {place} has no marker, or two")
        accept(self.chain, batch)
        if opens:
            self._open(batch.epoch)
        self.append(pack_batch(batch), batch.first_sequence)

    def _write(self, data: bytes) -> None:
        disk, file = self._disk, self._file
        if self._written + len(data) > self._allocated:
            size = max(PREALLOCATION_BYTES, len(data))
            disk.allocate(file, self._allocated, size)
            self._allocated += size
        written = 0
        while written < len(data):
            written += disk.write(file, data[written:], self._written + written)
        if not self._derivable:
            disk.sync(file)
        self._written += len(data)

    def sync(self) -> None:
        """Return once everything up to here is durable. A reader may do it for the writer: the files are the same."""
        for segment in self._segments():
            if segment in self._synced:
                continue
            file = self._disk.open(self._path(segment))
            try:
                self._disk.sync(file)
            finally:
                self._disk.close(file)
            if segment < max(self._segment, self._writing):  # nothing is added to it any more
                self._synced.add(segment)

    def _cut(self, segment: str, good: int, torn: int) -> None:
        """Truncate a segment behind its last good batch, durably."""
        disk = self._disk
        file = disk.open(self._path(segment))
        try:
            if disk.size(file) == good:
                return
            if torn:
                logger.warning("%s: cut a torn batch of at most %d bytes at byte %d", segment, torn, good)
            disk.truncate(file, good)
            disk.sync(file)
        finally:
            disk.close(file)

    # ---- finding a sequence ------------------------------------------------------------------------------------------

    def _remember(self, sequence: int, segment: str, offset: int) -> None:
        if self._batches % INDEX_STRIDE == 0 or self._index[-1].segment != segment:
            self._index.append(_Place(sequence, segment, offset))
        self._batches += 1

    def read_from(self, sequence: int, bytes_max: int) -> list[Batch]:
        """Return batches from the one that holds `sequence` on, at least one if there is one, about `bytes_max` long.

        Safe to call from another thread while the owner appends.
        """
        index = self._index
        if not index or sequence < index[0].sequence:
            index = self._older = self._older or self._index_before(index[0] if index else None)
        at = max(0, bisect_right(index, sequence, key=lambda place: place.sequence) - 1)
        found: list[Batch] = []
        size = 0
        segment, offset = (index[at].segment, index[at].offset) if index else ("", 0)
        for each in self._segments():
            if each < segment:
                continue
            for batch, _, _ in self._batches_in(each, offset if each == segment else 0):
                if found and size >= bytes_max:
                    return found
                if batch.count and batch.next_sequence > sequence:
                    found.append(batch)
                    size += len(batch.body)
        return found

    def _index_before(self, first: _Place | None) -> list[_Place]:
        """Return an index of what lies before the place where this process began to read: a snapshot, usually."""
        index: list[_Place] = []
        for segment in self._segments():
            for number, (batch, start, _) in enumerate(self._batches_in(segment, 0)):
                if first and (segment, start) >= (first.segment, first.offset):
                    return index
                if number % INDEX_STRIDE == 0:
                    index.append(_Place(batch.first_sequence, segment, start))
        return index

    def close(self) -> None:
        """Give the log up; the preallocated rest of the segment is returned."""
        self._finish_segment()
        if self._lock >= 0:
            self._disk.close(self._lock)
            self._lock = -1

    def _finish_segment(self) -> None:
        if self._file >= 0:
            self._disk.truncate(self._file, self._written)
            self._disk.close(self._file)
            self._file = -1


def _intact_batch_in(data: bytes) -> int | None:
    """Return where in `data` after its beginning a whole batch stands, if one does."""
    at = data.find(MAGIC, 1)
    while at >= 0:
        if parse_batch(data, at):
            return at
        at = data.find(MAGIC, at + 1)
    return None
