"""Snapshots of a replica, so that a start replays only the tail of the journal.

A snapshot holds the state, its sequence, its hash, and the place in both logs that it belongs to. It is verified before
it is used; one that does not verify is passed over, loudly, for the one before. The journal is never trimmed: what a
snapshot saves is time, not history, so a snapshot may be lost or expire, and an auditor can replay everything.
"""

import logging
from collections.abc import Iterator
from hashlib import sha256
from typing import Final

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from runtime.engine.event_log import Mark
from runtime.engine.object_store import ObjectStore
from runtime.engine.replica import Replica, SnapshotError

logger = logging.getLogger(__name__)

_MAGIC: Final = b"BRSS"
_LENGTH_BYTES: Final = 4
_DIGEST_BYTES: Final = 32
_SEQUENCE_DIGITS: Final = 20


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """What a snapshot says of its state. New fields are added at the end."""

    group: str
    sequence: int
    time_us: int
    state_hash: str
    journal: Mark
    events: Mark


class Snapshots:
    """The snapshots of one group, in one store."""

    def __init__(self, store: ObjectStore, group: str) -> None:
        """Use the snapshots of `group` in `store`. None is deleted here: how long they stay is the store's affair."""
        self._store = store
        self._group = group

    def newest_sequence(self) -> int:
        """Return the sequence of the newest snapshot by its name, 0 without one."""
        names = self._names()
        return _sequence_of(names[-1]) if names else 0

    def newest_first(self) -> Iterator[tuple[Snapshot, Replica]]:
        """Yield what can be restored, newest first. One that cannot be is reported as an error and passed over."""
        for name in reversed(self._names()):
            try:
                yield unpack(self._store.read(name), self._group)
            except (SnapshotError, OSError, BotoCoreError, ClientError) as error:
                logger.exception("snapshot %s is passed over, the one before is tried: %s", name, error)  # noqa: TRY401

    def save(self, snapshot: Snapshot, state: bytes) -> None:
        """Store a snapshot. Raises the store's errors."""
        self._store.write(self._name(snapshot.sequence), pack(snapshot, state))

    def _names(self) -> list[str]:
        return self._store.names(f"{self._group}/")

    def _name(self, sequence: int) -> str:
        return f"{self._group}/{sequence:0{_SEQUENCE_DIGITS}d}.snapshot"


def _sequence_of(name: str) -> int:
    stem = name.rpartition("/")[2].partition(".")[0]
    return int(stem) if stem.isdigit() else 0


def describe(group: str, replica: Replica, journal: Mark, events: Mark) -> tuple[Snapshot, bytes]:
    """Return a snapshot of `replica`, which has applied exactly what lies before `journal`, and its state."""
    state = replica.snapshot()
    time_us = replica.engine.time_us
    return Snapshot(group, replica.sequence, time_us, sha256(state).hexdigest(), journal, events), state


def pack(snapshot: Snapshot, state: bytes) -> bytes:
    """Return the bytes of a snapshot: magic, length of the header, header, state, SHA-256 of all before."""
    header = msgspec.msgpack.encode(snapshot)
    content = b"".join((_MAGIC, len(header).to_bytes(_LENGTH_BYTES, "big"), header, state))
    return content + sha256(content).digest()


def unpack(data: bytes, group: str) -> tuple[Snapshot, Replica]:
    """Return what `pack` was given, verified. Raises SnapshotError."""
    content, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    start = len(_MAGIC) + _LENGTH_BYTES
    if data[: len(_MAGIC)] != _MAGIC or sha256(content).digest() != digest:
        raise SnapshotError(f"damaged or not a snapshot: {len(data)} bytes whose digest does not hold")
    length = int.from_bytes(data[len(_MAGIC) : start], "big")
    try:
        snapshot = msgspec.msgpack.decode(content[start : start + length], type=Snapshot)
    except msgspec.MsgspecError as error:
        raise SnapshotError(f"its header is not one known here: {error}") from None
    if snapshot.group != group:
        raise SnapshotError(f"it is of group {snapshot.group!r}, not of {group!r}")
    state = content[start + length :]
    replica = Replica.restore(state)
    if not snapshot.sequence == replica.sequence == snapshot.journal.next_sequence - 1:
        raise SnapshotError(
            f"its header is of sequence {snapshot.sequence}, its state of {replica.sequence}, and the journal goes on "
            f"with {snapshot.journal.next_sequence}"
        )
    if sha256(state).hexdigest() != snapshot.state_hash:
        raise SnapshotError("its state does not have the hash that its header names")
    return snapshot, replica
