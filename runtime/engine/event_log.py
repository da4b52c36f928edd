"""What the engine asks of a log: batches in order, one writer at a time, durable before `append` returns.

Drivers: files (`file_log`), Kafka (`kafka_log`), memory (`memory_log`). Sequences, epochs and hashes are ours, in the
header of each batch; how a driver finds a batch again is its own affair, an opaque position in a `Mark`.

Errors:
    LogError
    ├── LogInUseError  another process is the writer, and this driver cannot take that from it
    └── FencedError    another process has become the writer: what was being appended is not in the log
"""

from collections.abc import Iterator
from typing import Protocol

import msgspec

from runtime.engine.batch import Batch, BatchError, Chain


class LogError(RuntimeError):
    """The log cannot be used as it is. The message names the place, and what to do where that is known."""


class LogInUseError(LogError):
    """Another process owns the log: it is the leader."""


class FencedError(LogError):
    """Another process has taken the log over. Nothing may be acknowledged any more."""


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """A place in one log, right behind one batch: how the driver finds that batch, and what must follow it."""

    position: str
    """Where the batch begins; empty for the beginning of the log, before any batch."""
    epoch: int
    next_sequence: int
    hash: bytes


class LogReader(Protocol):
    """What the tools need that look at a log."""

    chain: Chain
    """Where this reader, later writer, stands."""

    def read(self) -> Iterator[Batch]:
        """Yield what follows, up to what is the end by now. May be left early and called again. Raises LogError."""

    def torn_bytes(self) -> int:
        """Return how many bytes a crash left behind the last batch, after reading to the end: `begin` cuts them.

        Raises LogError for bytes that no crash can have left.
        """

    def close(self) -> None:
        """Give the log up, and the right to write it."""


class EventLog(LogReader, Protocol):
    """One log of one group.

    A reader calls `read` again and again. A writer first reads to the end, calls `acquire`, reads what came in between,
    calls `begin`, reads until it meets the marker it has just written, and then appends. No thread-safety is promised
    except for `read_from`.
    """

    def seek(self, mark: Mark) -> None:
        """Go on reading right behind the batch that `mark` names; the next `read` checks that it is there."""

    def mark(self) -> Mark:
        """Return where this reader or writer stands."""

    def acquire(self) -> None:
        """Become the only writer, fencing an older one where the driver can. Raises LogInUseError where it cannot."""

    def newest_epoch(self) -> int:
        """Return the highest epoch ever opened, as far as it has been read; 0 if none was."""

    def begin(self, epoch: int, time_us: int, body: bytes) -> None:
        """Append the marker of a new epoch with `body`. Raises LogError when the log may not be continued as it is."""

    def append(self, data: bytes, first_sequence: int) -> None:
        """Append a batch sealed by `chain`; return once it is durable. Raises LogError.

        A log that can be rebuilt from another may return before that.
        """

    def take(self, batch: Batch) -> None:
        """Append a batch of another copy of this log, a marker or commands, just as it was sealed.

        For a log that was empty: `acquire` it, have it take all, and close it. Raises LogError for a batch that does
        not continue those before.
        """

    def sync(self) -> None:
        """Return once everything up to where this reader or writer stands is durable, also in a derivable log."""

    def read_from(self, sequence: int, bytes_max: int) -> list[Batch]:
        """Return batches from the one that holds `sequence` on, about `bytes_max` long; none if there are none.

        Safe to call from another thread while the owner appends.
        """


def accept(chain: Chain, batch: Batch) -> None:
    """Advance `chain` over a batch of another copy of its log. Raises LogError for one that does not continue it."""
    try:
        chain.accept(batch)
    except BatchError as error:
        raise LogError(str(error)) from None
