"""A disk in memory whose power can be cut before any call, or in the middle of a write.

After a cut, what was synced is there. What was not is there wholly, in part, with a hole, or not at all, as drawn.
"""

from __future__ import annotations

import random
from pathlib import Path

from runtime.engine.file_log import Disk

SECTOR_BYTES = 512


class PowerCutError(BaseException):
    """Ends a life at once: nothing on the way up handles it."""


class File:
    """One file: what is durable, and what was done to it since the last sync."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = b""
        self.unsynced: list[tuple[str, int, bytes]] = []
        self.has_durable_name = False


class CrashDisk(Disk):
    """Counts calls that change something; the one numbered `cut_at` is the last, and may be half done."""

    def __init__(self, draw: random.Random) -> None:
        self.files: dict[Path, File] = {}
        self.calls = 0
        self.cut_at = -1
        self._draw = draw
        self._open: list[Path] = []
        self._locks: set[Path] = set()

    def _call(self) -> bool:
        """Count a call; tell whether the power goes in the middle of it."""
        self.calls += 1
        return self.calls == self.cut_at

    def make_folder(self, folder: Path) -> None:
        pass

    def names(self, folder: Path) -> list[str]:
        return [path.name for path in self.files if path.parent == folder]

    def _opened(self, path: Path) -> int:
        self._open.append(path)
        return len(self._open) - 1

    def create(self, path: Path) -> int:
        assert path not in self.files
        if self._call():
            raise PowerCutError
        self.files[path] = File()
        return self._opened(path)

    def open(self, path: Path) -> int:
        assert path in self.files
        return self._opened(path)

    def _file(self, file: int) -> File:
        return self.files[self._open[file]]

    def size(self, file: int) -> int:
        return len(self._file(file).data)

    def read(self, file: int, size: int, offset: int) -> bytes:
        return bytes(self._file(file).data[offset : offset + size])

    def _do(self, file: int, kind: str, offset: int, data: bytes) -> None:
        found = self._file(file)
        found.unsynced.append((kind, offset, data))
        apply(found.data, kind, offset, data)
        if self._call():
            raise PowerCutError

    def allocate(self, file: int, offset: int, size: int) -> None:
        self._do(file, "allocate", offset + min(size, 64 * 1024), b"")  # small, so that thousands of lives are fast

    def write(self, file: int, data: bytes, offset: int) -> int:
        taken = data if len(data) < 2 or self._draw.random() < 0.9 else data[: self._draw.randrange(1, len(data))]
        self._do(file, "write", offset, bytes(taken))
        return len(taken)

    def truncate(self, file: int, size: int) -> None:
        self._do(file, "truncate", size, b"")

    def sync(self, file: int) -> None:
        if self._call():
            raise PowerCutError
        found = self._file(file)
        found.durable = bytes(found.data)
        found.unsynced = []

    def sync_folder(self, folder: Path) -> None:
        if self._call():
            raise PowerCutError
        for path, file in self.files.items():
            if path.parent == folder:
                file.has_durable_name = True

    def lock(self, path: Path) -> int:
        if path in self._locks:
            raise BlockingIOError
        self._locks.add(path)
        return self._opened(path)

    def close(self, file: int) -> None:
        self._locks.discard(self._open[file])

    def restart(self) -> None:
        """Come back after a cut: locks are gone, and so is what the draw says was lost."""
        self._locks.clear()
        for path, file in list(self.files.items()):
            if not file.has_durable_name and self._draw.random() < 0.5:
                del self.files[path]
                continue
            file.has_durable_name = True
            data = bytearray(file.durable)
            for kind, offset, content in file.unsynced:
                self._survive(data, kind, offset, content)
            file.data, file.durable, file.unsynced = data, bytes(data), []

    def _survive(self, data: bytearray, kind: str, offset: int, content: bytes) -> None:
        fate = self._draw.random()
        if kind != "write":
            if fate < 0.7:
                apply(data, kind, offset, content)
            return
        if fate < 0.25:
            return
        if fate < 0.5:
            content = content[: self._draw.randrange(len(content) + 1)]
        elif fate < 0.7:
            hole = self._draw.randrange(len(content) // SECTOR_BYTES + 1) * SECTOR_BYTES
            content = content[:hole] + bytes(len(content[hole : hole + SECTOR_BYTES])) + content[hole + SECTOR_BYTES :]
        elif fate < 0.8 and content:
            at = self._draw.randrange(len(content))
            content = content[:at] + bytes([content[at] ^ (1 << self._draw.randrange(8))]) + content[at + 1 :]
        apply(data, "write", offset, content)


def apply(data: bytearray, kind: str, offset: int, content: bytes) -> None:
    """Do one call to the bytes of a file."""
    if kind == "truncate":
        del data[offset:]
        data.extend(bytes(offset - len(data)))
    elif kind == "allocate":
        data.extend(bytes(max(0, offset - len(data))))
    else:
        data.extend(bytes(max(0, offset + len(content) - len(data))))
        data[offset : offset + len(content)] = content
