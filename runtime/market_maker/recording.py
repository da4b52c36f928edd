"""A recorded feed as a price source: what the best prices were, so long after the recording began.

A gzip file, one message per line: local time in nanoseconds, a space, the JSON of a combined stream. Only `bookTicker`
messages count.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

LINE_BYTES_MAX: Final = 1024 * 1024
_MARK: Final = b'@bookTicker"'


class RecordingError(ValueError):
    """The file is not such a recording; the message names the line."""


class _Ticker(msgspec.Struct):
    s: str
    b: str
    a: str


class _Message(msgspec.Struct):
    data: _Ticker


_decode: Final = msgspec.json.Decoder(_Message).decode


class Recording:
    """Replays the file once, at the speed it was recorded, as `advance` is told how much time has passed."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises RecordingError, or OSError."""
        self.best: dict[str, tuple[str, str]] = {}
        """Best bid and ask of each symbol so far, as decimal strings."""
        self.is_over = False
        self._messages = _read(path)
        self._next: tuple[int, Any] | None = next(self._messages, None)
        if self._next is None:
            raise RecordingError(f"{path} holds no bookTicker message")
        self._began_ns = self._next[0]

    def advance(self, elapsed_ns: int) -> None:
        """Take in everything up to `elapsed_ns` after the beginning. Raises RecordingError at a bad line."""
        while self._next is not None and self._next[0] - self._began_ns <= elapsed_ns:
            ticker = self._next[1]
            self.best[ticker.s] = ticker.b, ticker.a
            self._next = next(self._messages, None)
        self.is_over = self._next is None


def _read(path: Path) -> Iterator[tuple[int, _Ticker]]:
    number = 0
    try:
        with gzip.open(path, "rb") as file:
            while line := file.readline(LINE_BYTES_MAX):
                number += 1
                time_ns, _, message = line.partition(b" ")
                if _MARK in message[:64]:
                    yield int(time_ns), _decode(message).data
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RecordingError(f"{path}, line {number}: {error}") from None
