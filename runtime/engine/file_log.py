"""A log in files: one preallocated segment per epoch, appended with fdatasync, owned by one process through flock.

Stands in for MSK where there is none. What it promises: `append` returns once the batch is durable; at most the last,
never acknowledged batch can be torn by a crash, and opening the log cuts it; damage anywhere else refuses to open.
"""

import fcntl
import logging
import os
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Final

from runtime.engine.batch import MAGIC, Batch, BatchError, Chain, parse_batch

logger = logging.getLogger(__name__)

PREALLOCATION_BYTES: Final = 16 * 1024 * 1024
INDEX_STRIDE: Final = 64
"""Every so many batches the index remembers where one starts."""


class LogError(RuntimeError):
    """The log cannot be used as it is; nothing was changed. The message names the file and the position."""


class LogInUseError(LogError):
    """Another process owns the log: it is the leader."""


class _Place:
    """Where a batch starts: its first sequence, its file, its offset."""

    __slots__ = ("offset", "path", "sequence")

    def __init__(self, sequence: int, path: Path, offset: int) -> None:
        self.sequence = sequence
        self.path = path
        self.offset = offset


class FileLog:
    """One log of one group. Open it, `replay` it once, `begin` an epoch, then `append`."""

    def __init__(self, directory: Path, name: str, group: str, *, derivable: bool = False) -> None:
        """Own the log `name` of `group` in `directory`.

        A `derivable` log can be rebuilt from another one: it is not synced, and damage in it is cut, not refused.
        Raises LogInUseError.
        """
        self.chain = Chain(group)
        self._directory = directory
        self._name = name
        self._derivable = derivable
        self._index: list[_Place] = []
        self._batches = 0
        self._tails: list[tuple[Path, int, int]] = []
        self._file = -1
        self._path = Path()
        self._offset = 0
        self._allocated = 0
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(directory / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise LogInUseError(f"{directory / name}: another process leads {group!r}") from None

    def replay(self) -> Iterator[Batch]:
        """Yield every batch from the beginning, verified, and note what a crash left torn at the very end.

        Changes nothing: `begin` cuts. Raises LogError for anything else that does not verify.
        """
        segments = self._segments()
        for path in segments:
            good = 0
            with _mapped(path) as data:
                try:
                    for batch, start, end in _batches(data, 0):
                        self.chain.accept(batch)
                        self._remember(batch.first_sequence, path, start)
                        yield batch
                        good = end
                except BatchError as error:
                    if not self._derivable:
                        raise LogError(f"{path} at byte {good}: {error}") from None
                torn = self._torn_bytes(path, data, good, is_last=path == segments[-1])
            self._tails.append((path, good, torn))

    def newest_epoch(self) -> int:
        """Return the highest epoch that ever opened a segment here, 0 if none did."""
        return max((int(path.stem.rpartition("-")[2]) for path in self._segments()), default=0)

    def _segments(self) -> list[Path]:
        return sorted(self._directory.glob(f"{self._name}-*.log"))

    def _torn_bytes(self, path: Path, data: bytes | mmap, good: int, *, is_last: bool) -> int:
        """Return how many bytes behind the last good batch are not zero; refuse what one torn write cannot leave."""
        rest = data[good:].rstrip(b"\0")
        if rest and not self._derivable:
            if not is_last:
                raise LogError(f"{path} at byte {good}: damaged, and later epochs follow")
            if (later := _intact_batch_after(data, good)) is not None:
                raise LogError(f"{path} at byte {good}: damaged, but an intact batch follows at byte {later}")
        return len(rest)

    def begin(self, epoch: int, time_us: int) -> None:
        """Cut what was torn, open the segment of a new epoch and make its marker durable.

        From here on no older writer is believed.
        """
        if epoch <= self.chain.epoch:
            raise LogError(f"{self._name}: epoch {epoch} must be above {self.chain.epoch}")
        for path, good, torn in self._tails:
            _cut(path, good, torn)
        self.chain.epoch = epoch
        self._path = self._directory / f"{self._name}-{epoch:010d}.log"
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._offset = self._allocated = 0
        for folder in (self._directory, self._directory.parent):
            directory = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        self.append(self.chain.seal(time_us, 0, b""))

    def append(self, data: bytes, first_sequence: int = 0) -> None:
        """Write a sealed batch; return once it is durable (a derivable log: once it is written).

        `first_sequence`, where given, lets `read_from` find the batch.
        """
        if self._offset + len(data) > self._allocated:
            size = max(PREALLOCATION_BYTES, len(data))
            os.posix_fallocate(self._file, self._allocated, size)
            self._allocated += size
        written = 0
        while written < len(data):
            written += os.pwrite(self._file, data[written:], self._offset + written)
        if not self._derivable:
            os.fdatasync(self._file)
        if first_sequence:
            self._remember(first_sequence, self._path, self._offset)
        self._offset += len(data)

    def _remember(self, sequence: int, path: Path, offset: int) -> None:
        if self._batches % INDEX_STRIDE == 0 or self._index[-1].path != path:
            self._index.append(_Place(sequence, path, offset))
        self._batches += 1

    def read_from(self, sequence: int, bytes_max: int) -> list[Batch]:
        """Return batches from the one that holds `sequence` on, at least one if there is one, about `bytes_max` long.

        Safe to call from another thread while the owner appends.
        """
        index = self._index
        at = max(0, bisect_right(index, sequence, key=lambda place: place.sequence) - 1)
        found: list[Batch] = []
        while at < len(index) and not found:
            place = index[at]
            size = 0
            with _mapped(place.path) as data:
                for batch, _, _ in _batches(data, place.offset):
                    if size >= bytes_max:
                        break
                    if batch.count and batch.next_sequence > sequence:
                        found.append(batch)
                        size += len(batch.body)
            at = next((n for n in range(at + 1, len(index)) if index[n].path != place.path), len(index))
        return found

    def close(self) -> None:
        """Give the log up; the preallocated rest of the segment is returned."""
        if self._file >= 0:
            os.ftruncate(self._file, self._offset)
            os.close(self._file)
            self._file = -1
        os.close(self._lock)


def _cut(path: Path, good: int, torn: int) -> None:
    """Truncate a segment behind its last good batch, durably."""
    if path.stat().st_size == good:
        return
    if torn:
        logger.warning("%s: cut a torn batch of at most %d bytes at byte %d", path.name, torn, good)
    file = os.open(path, os.O_RDWR)
    try:
        os.ftruncate(file, good)
        os.fsync(file)
    finally:
        os.close(file)


@contextmanager
def _mapped(path: Path) -> Iterator[bytes | mmap]:
    """Map a segment for reading, so that a long log never has to fit in memory."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            yield b""
            return
        with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            yield data


def _batches(data: bytes | mmap, offset: int) -> Iterator[tuple[Batch, int, int]]:
    """Yield the intact batches from `offset` on, with start and end, up to the first bytes that are none."""
    start = offset
    while parsed := parse_batch(data, start):
        batch, end = parsed
        yield batch, start, end
        start = end


def _intact_batch_after(data: bytes | mmap, offset: int) -> int | None:
    """Return where in `data` after `offset` a whole batch stands, if one does."""
    at = data.find(MAGIC, offset + 1)
    while at >= 0:
        if parse_batch(data, at):
            return at
        at = data.find(MAGIC, at + 1)
    return None
