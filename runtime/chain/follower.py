"""Follows one chain through several nodes: what they agree on becomes deposits, each credited exactly once.

The order of writing makes it so. Before the engine is asked, the deposit is written as being credited; the engine
refuses a reference it has seen; only then is it written as credited, and only when a block is dealt with does the
stored chain end with it. Whatever ends this process, the next one repeats the last block, finishes what was begun and
finds all else done.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from runtime.accounts.operations import CommandRefusedError
from runtime.chain.deposits import DEPTH_MAX, Block, Change, Credited, Frozen, Orphaned, Pending, Transfer, Watcher
from runtime.chain.health import QUORUM, agreed
from runtime.chain.readers import AssetOnChain, Reader
from runtime.chain.rpc import NodeError
from runtime.chain.store import Addresses, Deposit, Deposits, Status
from runtime.shared.business_events import (
    BusinessEvent,
    CaseOpened,
    ChainDisagreed,
    DepositCredited,
    DepositReversed,
    DepositSeen,
)
from runtime.shared.catalogue import Asset

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")

STEP_BLOCKS_MAX: Final = 100
"""Blocks read ahead before any is dealt with."""
DISAGREEMENT_S: Final = 60.0
"""Nodes may see a new block a moment apart; past this they are on different chains."""

Credit = Callable[[int, int, int, str], Awaitable[bool]]
"""Account, asset, units, reference: True when credited now, False when before. Raises CommandRefusedError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a follower works with."""

    chain: str
    readers: Mapping[str, Reader]
    """By the name of the node. The first is read; the others must agree."""
    assets: Mapping[str, AssetOnChain]
    exchange_assets: Mapping[str, Asset]
    addresses: Addresses
    deposits: Deposits
    credit: Credit
    publish: Callable[[BusinessEvent], None]


class Follower:
    """One run along the chain. After an error it is thrown away, and the next one resumes from what is stored."""

    def __init__(self, parts: Parts) -> None:
        """Prepare; `resume` comes first."""
        self._parts = parts
        self._watcher = Watcher(lambda transfer: parts.assets[transfer.asset].confirmations)
        self._owners: dict[str, int] = {}
        self._disagree_since: float | None = None
        self.is_agreed = False
        """Whether a quorum of nodes agreed at the last look."""

    async def resume(self) -> None:
        """Take up the stored chain, and finish every credit that was begun."""
        blocks = await asyncio.to_thread(self._parts.deposits.blocks)
        self._watcher.resume(blocks)
        for block in blocks:
            await self._prime(block)

    async def step(self) -> bool:
        """Deal with what is new; return whether there was anything. Raises NodeError, what stores and engine raise."""
        agreed_block = await self._agreed()
        if agreed_block is None or self._watcher.holds(agreed_block):
            return False
        reader = next(iter(self._parts.readers.values()))
        blocks = [await reader.block(agreed_block, self._ours)]
        while not self._watcher.fork_of(blocks):
            if len(blocks) > DEPTH_MAX + STEP_BLOCKS_MAX:
                raise NodeError(f"no block in {len(blocks)} joins the chain as it was followed")
            blocks.insert(0, await reader.block(blocks[0].parent, self._ours))
        for block in blocks:
            await self._deal_with(block)
        return True

    async def _agreed(self) -> str | None:
        """Return the next block to go to: one that every node has, and that a quorum of them sees alike."""
        heights = await self._asked(lambda reader: reader.height())
        if not heights:
            raise NodeError(f"none of {len(self._parts.readers)} nodes answers")
        tip = self._watcher.tip
        lowest = min(heights.values())
        height = lowest if tip is None else min(lowest, tip.height + STEP_BLOCKS_MAX)
        if height < self._watcher.first_height:
            raise NodeError(f"a node is at {height}, the chain is followed from {self._watcher.first_height} on")
        hashes = await self._asked(lambda reader: reader.hash_at(height))
        if len(hashes) < QUORUM:
            raise NodeError(f"{len(hashes)} of {len(self._parts.readers)} nodes answer; {QUORUM} must")
        block = agreed(hashes)
        self.is_agreed = block is not None
        if block is None:
            await self._disagreement(height, hashes)
        else:
            self._disagree_since = None
        return block

    async def _asked(self, question: Callable[[Reader], Awaitable[Answer]]) -> dict[str, Answer]:
        """Put a question to every node; who does not answer has no say."""
        answers: dict[str, Answer] = {}
        for name, reader in self._parts.readers.items():
            try:
                answers[name] = await question(reader)
            except NodeError as error:
                logger.warning("node %s of %s: %s", name, self._parts.chain, error)
        return answers

    async def _disagreement(self, height: int, hashes: Mapping[str, str]) -> None:
        """Wait a while for nodes to agree, then tell of it once; nothing is credited meanwhile."""
        now = time.monotonic()
        if self._disagree_since is None:
            self._disagree_since = now
        if now - self._disagree_since < DISAGREEMENT_S:
            return
        self._disagree_since = now
        logger.error("nodes of %s disagree at %d: %s", self._parts.chain, height, dict(hashes))
        await self._tell(
            ChainDisagreed(
                event_id=_event_id("disagreed", self._parts.chain, str(height), *sorted(hashes.values())),
                at_us=_now_us(),
                chain=self._parts.chain,
                height=height,
                nodes=tuple(sorted(hashes)),
            )
        )

    async def _ours(self, addresses: Collection[str]) -> Collection[str]:
        found = await asyncio.to_thread(self._parts.addresses.owners, self._parts.chain, addresses)
        self._owners |= found
        return found

    async def _deal_with(self, block: Block) -> None:
        await self._prime(block)
        for change in self._watcher.advance([block]):
            await self._carry_out(change)
        await asyncio.to_thread(self._parts.deposits.follow, block)

    async def _prime(self, block: Block) -> None:
        """Tell the watcher what is stored of the block's payments, and finish a credit that was begun."""
        for transfer in block.transfers:
            known = await asyncio.to_thread(self._parts.deposits.deposit, transfer.place)
            if known is None or known.status in {"pending", "orphaned"}:
                continue
            if known.status == "crediting":
                await self._credit(known)
            self._watcher.remember(known.transfer, known.block, is_frozen=known.status == "frozen")

    async def _carry_out(self, change: Change) -> None:
        deposit = await self._deposit_of(change)
        if isinstance(change, Pending):
            await self._write(deposit, "pending")
            await self._tell(DepositSeen(**self._told(deposit, "seen")))
        elif isinstance(change, Credited):
            await self._write(deposit, "crediting")
            await self._credit(deposit)
        elif isinstance(change, Orphaned):
            await self._write(deposit, "orphaned")
            await self._tell(DepositReversed(**self._told(deposit, "orphaned"), credited=False))
        elif isinstance(change, Frozen):
            await self._freeze(deposit)
        else:
            logger.warning("deposit %s is in the chain again", deposit.transfer.place)
            await self._write(deposit, "credited")

    async def _credit(self, deposit: Deposit) -> None:
        """Put the deposit into the account's balance, whether or not that was tried before."""
        asset = self._parts.exchange_assets[deposit.transfer.asset]
        if not deposit.units:
            logger.info("deposit %s is less than a unit", deposit.transfer.place)
            await self._write(deposit, "dust")
            return
        reference = f"{self._parts.chain}/{deposit.transfer.place}"
        try:
            await self._parts.credit(deposit.account, asset.id, deposit.units, reference)
        except CommandRefusedError:
            logger.exception("deposit %s was refused", deposit.transfer.place)
            await self._open_case(deposit, "deposit-refused")
            await self._write(deposit, "refused")
            return
        told = self._told(deposit, "credited")
        await self._tell(DepositCredited(**told, reference=reference))
        await self._write(deposit, "credited")

    async def _freeze(self, deposit: Deposit) -> None:
        """Tell people: what was credited is not in the chain. The balance stays as it is until they decide."""
        known = await asyncio.to_thread(self._parts.deposits.deposit, deposit.transfer.place)
        if known is not None and known.status in {"dust", "refused"}:
            return  # nothing was credited
        logger.error("deposit %s was credited and has left the chain", deposit.transfer.place)
        await self._open_case(deposit, "deposit-orphaned")
        await self._tell(DepositReversed(**self._told(deposit, "frozen"), credited=True))
        await self._write(deposit, "frozen")

    async def _open_case(self, deposit: Deposit, kind: str) -> None:
        await self._tell(
            CaseOpened(
                event_id=_event_id(kind, deposit.transfer.place, deposit.block),
                at_us=_now_us(),
                case_id=_event_id(kind, deposit.transfer.place),
                kind=kind,
                severity="high",
                account_ids=(deposit.account,),
                evidence=f"{self._parts.chain} {deposit.transfer.place} block {deposit.block}",
            )
        )

    async def _deposit_of(self, change: Change) -> Deposit:
        transfer = change.transfer
        if transfer.address not in self._owners:
            await self._ours([transfer.address])
        return Deposit(
            chain=self._parts.chain,
            transfer=transfer,
            status="pending",
            block=change.block,
            account=self._owners[transfer.address],
            units=self._units(transfer),
        )

    def _units(self, transfer: Transfer) -> int:
        """Return the amount in units of the exchange, rounded down: what is below its last digit is not credited."""
        excess = self._parts.assets[transfer.asset].decimals - self._parts.exchange_assets[transfer.asset].decimals
        scale: int = 10 ** abs(excess)
        return transfer.amount // scale if excess >= 0 else transfer.amount * scale

    async def _write(self, deposit: Deposit, status: Status) -> None:
        await asyncio.to_thread(self._parts.deposits.put, replace(deposit, status=status), _now_us())

    async def _tell(self, event: BusinessEvent) -> None:
        await asyncio.to_thread(self._parts.publish, event)

    def _told(self, deposit: Deposit, what: str) -> dict[str, Any]:
        return {
            "event_id": _event_id(what, self._parts.chain, deposit.transfer.place, deposit.block),
            "at_us": _now_us(),
            "account_id": deposit.account,
            "asset": deposit.transfer.asset,
            "amount": str(deposit.units),
            "deposit_id": f"{self._parts.chain}/{deposit.transfer.place}",
        }


def _event_id(*parts: str) -> str:
    """Return an id that follows from what happened, so that telling it twice is harmless."""
    return hashlib.sha256("/".join(parts).encode()).hexdigest()


def _now_us() -> int:
    return time.time_ns() // 1_000
