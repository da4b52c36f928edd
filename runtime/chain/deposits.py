"""From blocks to deposits: a chain of headers that can be reorganized, and what each deposit is at any time. Pure.

A deposit is pending until its block is deep enough, then credited, once. A block that leaves the chain takes its
pending deposits with it. One whose deposit was credited already is the bad day that confirmations are meant to
prevent: the deposit is frozen and told, and never turned back in silence.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

DEPTH_MAX: Final = 1000
"""Headers kept. A reorganization that goes deeper stops the watcher, for people to look at."""


class ReorganizedTooDeepError(Exception):
    """The new chain leaves ours below the oldest header that is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One payment to an address of ours. `place` is the transaction's id and the number of the output in it."""

    place: str
    asset: str
    address: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A header and the payments to us in its block."""

    height: int
    hash: str
    parent: str
    transfers: tuple[Transfer, ...] = ()


@dataclass(frozen=True, slots=True)
class Pending:
    """Seen, not deep enough yet."""

    transfer: Transfer
    block: str


@dataclass(frozen=True, slots=True)
class Credited:
    """Deep enough: to be credited, under `place` as the reference that makes it count once."""

    transfer: Transfer
    block: str


@dataclass(frozen=True, slots=True)
class Orphaned:
    """Its block left the chain before it was credited; it is nothing until it comes back."""

    transfer: Transfer
    block: str


@dataclass(frozen=True, slots=True)
class Frozen:
    """Credited, and then its block left the chain: the account must be stopped and people told."""

    transfer: Transfer
    block: str


@dataclass(frozen=True, slots=True)
class Restored:
    """A frozen deposit whose transaction is in the chain again and deep enough."""

    transfer: Transfer
    block: str


Change = Pending | Credited | Orphaned | Frozen | Restored


@dataclass(slots=True)
class Watcher:
    """The chain as we see it, and the deposits in it."""

    confirmations: Callable[[Transfer], int]
    """Blocks that a deposit waits for; its own block is the first."""
    _chain: deque[Block] = field(default_factory=deque)
    _credited: dict[str, tuple[Transfer, str]] = field(default_factory=dict)
    """Credited for ever, by place, with the block it was credited in."""
    _frozen: set[str] = field(default_factory=set)

    def resume(self, blocks: Iterable[Block]) -> None:
        """Take up the chain where it was left: `blocks` join one another, the oldest first. Nothing changes by it."""
        assert not self._chain, "a watcher resumes before its first block"
        self._chain.extend(blocks)

    def remember(self, transfer: Transfer, block: str, *, is_frozen: bool) -> None:
        """Take note of what was credited before, in `block`, so that it counts once; `is_frozen` if it left since."""
        self._credited[transfer.place] = (transfer, block)
        if is_frozen:
            self._frozen.add(transfer.place)

    def holds(self, block_hash: str) -> bool:
        """Tell whether the block is in the chain."""
        return any(block_hash == known.hash for known in self._chain)

    @property
    def first_height(self) -> int:
        """Height of the lowest block that is kept; 0 without any."""
        return self._chain[0].height if self._chain else 0

    @property
    def tip(self) -> Block | None:
        """The highest block of the chain."""
        return self._chain[-1] if self._chain else None

    def fork_of(self, blocks: Sequence[Block]) -> bool:
        """Tell whether `blocks` join the chain: if not, the caller fetches their parents as well."""
        return not self._chain or any(block.hash == blocks[0].parent for block in self._chain)

    def advance(self, blocks: Iterable[Block]) -> list[Change]:
        """Take the blocks that follow ours, or that replace its end, in order; return what changes.

        Raises ReorganizedTooDeepError when they join nowhere in what is kept, and ValueError for blocks that are no
        chain. Either leaves everything as it was before the block in question.
        """
        changes: list[Change] = []
        for block in blocks:
            changes += self._advanced(block)
        return changes

    def _advanced(self, block: Block) -> list[Change]:
        if any(block.hash == known.hash for known in self._chain):
            return []  # told again
        if self._chain and not any(known.hash == block.parent for known in self._chain):
            raise ReorganizedTooDeepError(
                f"block {block.hash} at {block.height} joins none of {len(self._chain)} headers"
            )
        parent = next((known for known in self._chain if known.hash == block.parent), None)
        if parent is not None and block.height != parent.height + 1:
            raise ValueError(f"block {block.hash} has height {block.height}, its parent {parent.height}")
        changes = self._cut(block.parent) if self._chain else []
        self._chain.append(block)
        while len(self._chain) > DEPTH_MAX:
            self._chain.popleft()
        changes += [Pending(transfer, block.hash) for transfer in block.transfers if self._is_new(transfer)]
        return changes + self._matured()

    def _is_new(self, transfer: Transfer) -> bool:
        return transfer.place not in self._credited

    def _cut(self, parent: str) -> list[Change]:
        """Drop what stands above `parent`, the newest first."""
        changes: list[Change] = []
        while self._chain[-1].hash != parent:
            left = self._chain.pop()
            for transfer in reversed(left.transfers):
                if self._is_new(transfer):
                    changes.append(Orphaned(transfer, left.hash))
                elif transfer.place not in self._frozen:
                    self._frozen.add(transfer.place)
                    changes.append(Frozen(transfer, left.hash))
        return changes

    def _matured(self) -> list[Change]:
        """Credit what has become deep enough with the newest block."""
        changes: list[Change] = []
        height = self._chain[-1].height
        for block in self._chain:
            depth = height - block.height + 1
            for transfer in block.transfers:
                if depth < self.confirmations(transfer):
                    continue
                if self._is_new(transfer):
                    self._credited[transfer.place] = (transfer, block.hash)
                    changes.append(Credited(transfer, block.hash))
                elif transfer.place in self._frozen and self._credited[transfer.place][0] == transfer:
                    self._frozen.discard(transfer.place)
                    changes.append(Restored(transfer, block.hash))
        return changes
