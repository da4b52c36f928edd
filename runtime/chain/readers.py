"""Blocks as nodes tell them, turned into headers and payments: what counts as a payment is decided here and only here.

Counted are, on Ethereum, the value of a transaction that succeeded and the Transfer events of the contracts on our
list; on Bitcoin, every output to an address except those of a coinbase, which cannot be spent for a hundred blocks.
Not counted is value that a contract sends on within a transaction: a node tells it only by tracing.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Protocol

from runtime.chain.deposits import Block, Transfer
from runtime.chain.rpc import NodeError, Rpc
from runtime.shared.ethereum import checksummed, keccak256

TRANSFER_TOPIC: Final = "0x" + keccak256(b"Transfer(address,address,uint256)").hex()
_TOPICS: Final = 3
_WORD: Final = 66
"""Characters of 32 bytes in hexadecimal with 0x."""
_SUCCEEDED: Final = "0x1"
_BITCOIN_DECIMALS: Final = 8

Ours = Callable[[Collection[str]], Awaitable[Collection[str]]]
"""Tells which of these addresses are deposit addresses of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetOnChain:
    """An asset as a chain knows it. `contract` is a token's checksummed address; empty for the chain's own coin."""

    name: str
    decimals: int
    confirmations: int
    contract: str = ""


class Reader(Protocol):
    """One node, seen as a chain of blocks. Every call raises NodeError."""

    async def height(self) -> int:
        """Return the height of its highest block."""

    async def hash_at(self, height: int) -> str:
        """Return the hash of its block at `height`."""

    async def block(self, block_hash: str, ours: Ours) -> Block:
        """Return the block, with the payments to addresses that `ours` picks."""


class EthereumReader:
    """An Ethereum execution client."""

    def __init__(self, rpc: Rpc, assets: Iterable[AssetOnChain]) -> None:
        """Read the coin and the tokens among `assets`."""
        self._rpc = rpc
        self._coin = next((asset.name for asset in assets if not asset.contract), "")
        self._tokens = {asset.contract: asset.name for asset in assets if asset.contract}

    async def height(self) -> int:
        """Return the height of the head."""
        return _number(await self._rpc.call("eth_blockNumber"))

    async def hash_at(self, height: int) -> str:
        """Return the hash of the block at `height`."""
        return _text(_found(await self._rpc.call("eth_getBlockByNumber", hex(height), False)), "hash")  # noqa: FBT003

    async def block(self, block_hash: str, ours: Ours) -> Block:
        """Return the block and the payments to us that its receipts confirm."""
        raw = _found(await self._rpc.call("eth_getBlockByHash", block_hash, True))  # noqa: FBT003
        if raw.get("hash") != block_hash:
            raise NodeError(f"eth_getBlockByHash: asked for {block_hash}, got {str(raw.get('hash'))[:80]}")
        paid = [each for each in raw["transactions"] if each.get("to") and _number(each["value"])] if self._coin else []
        logs = await self._logs(block_hash)
        receivers = {_address(each["to"]) for each in paid} | {_topic_address(log) for log in logs}
        mine = set(await ours(receivers)) if receivers else set()
        found = [
            self._transfer(f"{each['hash']}:value", self._coin, receiver, _number(each["value"]))
            for each in paid
            if (receiver := _address(each["to"])) in mine and await self._receipt(each["hash"], block_hash)
        ]
        for log in logs:
            if (receiver := _topic_address(log)) in mine:
                found += await self._token(log, receiver, block_hash)
        return Block(
            height=_number(raw["number"]), hash=block_hash, parent=_text(raw, "parentHash"), transfers=tuple(found)
        )

    async def _logs(self, block_hash: str) -> list[Mapping[str, Any]]:
        if not self._tokens:
            return []
        wanted = {"blockHash": block_hash, "address": sorted(self._tokens), "topics": [TRANSFER_TOPIC]}
        logs = await self._rpc.call("eth_getLogs", wanted)
        return [log for log in logs if self._is_transfer(log)]

    def _is_transfer(self, log: Mapping[str, Any]) -> bool:
        """Check again what the filter asked for: a contract of our list, the event, two addresses and one number."""
        topics = log.get("topics", [])
        return (
            _address(log["address"]) in self._tokens
            and len(topics) == _TOPICS
            and topics[0] == TRANSFER_TOPIC
            and len(log.get("data", "")) == _WORD
            and not log.get("removed")
        )

    async def _token(self, log: Mapping[str, Any], receiver: str, block_hash: str) -> list[Transfer]:
        """Return the payment of a log, under its place within the transaction: its number in the block can change."""
        receipt = await self._receipt(log["transactionHash"], block_hash)
        amount = int(log["data"], 16)
        if not receipt or not amount:
            return []
        numbers = [each["logIndex"] for each in receipt["logs"]]
        if log["logIndex"] not in numbers:
            raise NodeError(f"eth_getTransactionReceipt: {log['transactionHash']} lacks a log that eth_getLogs told")
        place = f"{log['transactionHash']}:log{numbers.index(log['logIndex'])}"
        return [self._transfer(place, self._tokens[_address(log["address"])], receiver, amount)]

    async def _receipt(self, transaction: str, block_hash: str) -> Mapping[str, Any] | None:
        """Return the receipt, or None for a transaction that failed. Raises NodeError for that of another block."""
        receipt = _found(await self._rpc.call("eth_getTransactionReceipt", transaction))
        if receipt.get("blockHash") != block_hash:
            raise NodeError(f"eth_getTransactionReceipt: {transaction} is in another block now")
        return receipt if receipt.get("status") == _SUCCEEDED else None

    @staticmethod
    def _transfer(place: str, asset: str, address: str, amount: int) -> Transfer:
        return Transfer(place=place, asset=asset, address=address, amount=amount)


class BitcoinReader:
    """A Bitcoin node."""

    def __init__(self, rpc: Rpc, assets: Sequence[AssetOnChain]) -> None:
        """Read outputs of the one asset that the chain has."""
        self._rpc = rpc
        (asset,) = assets
        self._asset = asset.name

    async def height(self) -> int:
        """Return the height of the tip."""
        return int(await self._rpc.call("getblockcount"))

    async def hash_at(self, height: int) -> str:
        """Return the hash of the block at `height`."""
        return str(await self._rpc.call("getblockhash", height))

    async def block(self, block_hash: str, ours: Ours) -> Block:
        """Return the block and the outputs that pay us."""
        raw = _found(await self._rpc.call("getblock", block_hash, 2))
        if raw.get("hash") != block_hash:
            raise NodeError(f"getblock: asked for {block_hash}, got {str(raw.get('hash'))[:80]}")
        outputs = [
            (f"{each['txid']}:{output['n']}", output["scriptPubKey"]["address"], output["value"])
            for each in raw["tx"]
            if "coinbase" not in each["vin"][0]
            for output in each["vout"]
            if "address" in output["scriptPubKey"]
        ]
        mine = set(await ours({address for _, address, _ in outputs})) if outputs else set()
        return Block(
            height=int(raw["height"]),
            hash=block_hash,
            parent=str(raw.get("previousblockhash", "")),
            transfers=tuple(
                Transfer(place=place, asset=self._asset, address=address, amount=_satoshis(value))
                for place, address, value in outputs
                if address in mine and value
            ),
        )


READERS: Final[Mapping[str, Callable[[Rpc, Sequence[AssetOnChain]], Reader]]] = {
    "ethereum": EthereumReader,
    "bitcoin": BitcoinReader,
}
"""How each chain is read."""


def _satoshis(value: Decimal | int) -> int:
    units = Decimal(value).scaleb(_BITCOIN_DECIMALS)
    if units != units.to_integral_value() or units < 0:
        raise NodeError(f"getblock: {value} is no amount of bitcoin")
    return int(units)


def _found(answer: Any) -> Mapping[str, Any]:  # noqa: ANN401 - JSON
    if not isinstance(answer, dict):
        raise NodeError("the node does not know the block or transaction (any more)")
    return answer


def _number(text: Any) -> int:  # noqa: ANN401 - JSON
    try:
        return int(text, 16)
    except (TypeError, ValueError):
        raise NodeError(f"a number in hexadecimal is expected, was {text!r}") from None


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str):
        raise NodeError(f"{name} is expected to be text, was {value!r}")
    return value


def _address(text: str) -> str:
    return checksummed(bytes.fromhex(text.removeprefix("0x")))


def _topic_address(log: Mapping[str, Any]) -> str:
    return _address(log["topics"][2][-40:])
