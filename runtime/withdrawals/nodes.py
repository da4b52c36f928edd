"""The port to the chain: the nodes of Ethereum, each asked through its sidecar, and what they say with one voice.

One node is enough to pass a transaction on; what became of it is believed only where all that answer, two at least,
say the same of the same block. A transaction is named by the hash of its bytes, so no node can pass on another one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol, TypeVar

from runtime.chain.health import QUORUM
from runtime.chain.rpc import REFUSED, NodeError, NodeRefusedError, Rpc, ask_all

_SUCCEEDED: Final = 1
_Found = TypeVar("_Found")


class Offered(StrEnum):
    """What came of handing a transaction to the nodes."""

    TAKEN = "taken"
    REFUSED = "refused"
    """Each node that answered refuses it now; it may take it later, as the transaction stays valid."""
    AWAY = "away"
    """No node answered."""


class Fate(StrEnum):
    """What became of a transaction, as far as one node, or all of them, can tell."""

    PENDING = "pending"
    """Known and not in a block, or not deep enough, or the nodes do not agree yet."""
    UNKNOWN = "unknown"
    """In no block and in no pool: it was lost, or a block that had it left the chain."""
    FINAL = "final"
    FAILED = "failed"
    """Final, and the chain carried nothing out; the network's fee is spent."""
    REPLACED = "replaced"
    """Another transaction of the wallet is final under its number: this one can never be carried out."""
    APART = "apart"
    """The nodes contradict each other."""
    SILENT = "silent"
    """Fewer than two nodes answer."""


@dataclass(frozen=True, slots=True)
class Mined:
    """The block that holds a transaction, and what the network took for it (wei)."""

    block: str
    height: int
    succeeded: bool
    network_fee: int


@dataclass(frozen=True, slots=True)
class View:
    """What one node says: the block that holds the transaction and its depth, or how it stands else."""

    fate: Fate
    mined: Mined | None = None
    depth: int = 0


class Chain(Protocol):
    """Whoever takes transactions to a chain and tells what became of them."""

    def offer(self, raw_transaction: str, transaction_id: str) -> tuple[Offered, str]:
        """Hand a signed transaction to every node; return what came of it, and the words of those that refuse."""

    def fate(self, transaction_id: str, sender: str, nonce: int, confirmations: int) -> tuple[Fate, Mined | None]:
        """Return what became of a transaction, with its block once it is final."""


def judged(views: Sequence[View], confirmations: int) -> tuple[Fate, Mined | None]:
    """Return what the nodes that answered say together."""
    if len(views) < QUORUM:
        return Fate.SILENT, None
    fates, blocks = {view.fate for view in views}, {view.mined for view in views}
    if Fate.FINAL in fates:  # here: in a block
        if len(blocks - {None}) > 1 or Fate.REPLACED in fates:
            return Fate.APART, None
        mined = views[0].mined
        if mined is None or None in blocks or min(view.depth for view in views) < confirmations:
            return Fate.PENDING, None
        return (Fate.FINAL if mined.succeeded else Fate.FAILED), mined
    if len(fates) == 1:
        return fates.pop(), None
    return (Fate.APART if Fate.REPLACED in fates else Fate.PENDING), None


class EthereumNodes:
    """The nodes behind `callers`, all of which are asked, each at the same time."""

    def __init__(self, callers: Sequence[Rpc]) -> None:
        """Ask these nodes."""
        self._callers = callers

    def offer(self, raw_transaction: str, transaction_id: str) -> tuple[Offered, str]:
        """Hand a signed transaction to every node; return what came of it, and the words of those that refuse."""
        answers = self._all(lambda rpc: _refusal(rpc, raw_transaction, transaction_id))
        if "" in answers:
            return Offered.TAKEN, ""
        return (Offered.REFUSED, "; ".join(sorted(set(answers)))) if answers else (Offered.AWAY, "")

    def fate(self, transaction_id: str, sender: str, nonce: int, confirmations: int) -> tuple[Fate, Mined | None]:
        """Return what became of a transaction, with its block once it is final."""
        views = self._all(lambda rpc: _view(rpc, transaction_id, sender, nonce, confirmations))
        return judged(views, confirmations)

    def _all(self, question: Callable[[Rpc], Awaitable[_Found]]) -> list[_Found]:
        """Return what the nodes answer that do."""
        answers, _ = asyncio.run(ask_all(self._callers, question))
        return answers


async def _refusal(rpc: Rpc, raw_transaction: str, transaction_id: str) -> str:
    """Return why a node does not take the transaction; empty when it has it. Raises NodeError."""
    try:
        answer = await rpc.call("eth_sendRawTransaction", "0x" + raw_transaction)
    except NodeRefusedError as refused:
        if refused.code != REFUSED:
            raise  # the sidecar's own words: it does not believe its node
        words = refused.words
    else:
        if answer == transaction_id:
            return ""
        words = f"answered {str(answer)[:80]!r}"
    # Sent before, or mined already: a node then refuses what it knows.
    return "" if await rpc.call("eth_getTransactionByHash", transaction_id) else words


async def _view(rpc: Rpc, transaction_id: str, sender: str, nonce: int, confirmations: int) -> View:
    """Return what one node says. Raises NodeError, also for an answer that makes no sense."""
    head = _number(await rpc.call("eth_blockNumber"))
    receipt = await rpc.call("eth_getTransactionReceipt", transaction_id)
    if receipt is None:
        if await rpc.call("eth_getTransactionByHash", transaction_id):
            return View(Fate.PENDING)
        settled = hex(max(0, head - confirmations + 1))
        used = _number(await rpc.call("eth_getTransactionCount", sender, settled))
        return View(Fate.REPLACED if used > nonce else Fate.UNKNOWN)
    try:
        mined = Mined(
            block=str(receipt["blockHash"]),
            height=_number(receipt["blockNumber"]),
            succeeded=_number(receipt["status"]) == _SUCCEEDED,
            network_fee=_number(receipt["gasUsed"]) * _number(receipt["effectiveGasPrice"]),
        )
    except (KeyError, TypeError):
        raise NodeError("eth_getTransactionReceipt: the receipt lacks a field") from None
    block = await rpc.call("eth_getBlockByNumber", hex(mined.height), False)  # noqa: FBT003 - as the API has it
    if not isinstance(block, dict) or block.get("hash") != mined.block:
        raise NodeError(f"eth_getTransactionReceipt: the block at {mined.height} is another one now")
    return View(Fate.FINAL, mined, head - mined.height + 1)


def _number(text: Any) -> int:  # noqa: ANN401 - JSON
    try:
        return int(text, 16)
    except (TypeError, ValueError):
        raise NodeError(f"a number in hexadecimal is expected, was {str(text)[:80]!r}") from None
