"""Where each term comes from: the ledger's books, the register of withdrawals, the watcher's table, and two nodes."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from runtime.chain.health import QUORUM
from runtime.chain.readers import AssetOnChain
from runtime.chain.rpc import Rpc, ask_all
from runtime.chain.store import Deposit, Deposits
from runtime.reconciliation.rules import HOT, TIERS, Scale, Terms, tier_of, uncredited
from runtime.shared.catalogue import Catalogue
from runtime.shared.ethereum import keccak256
from runtime.shared.messages import FIRST_USER_ACCOUNT
from runtime.withdrawals.register import Register, network_fees_key, paid_out_key

QUESTIONS_MAX: Final = 8
"""At once, for each node."""
_BALANCE_OF: Final = "0x" + keccak256(b"balanceOf(address)").hex()[:8]
_OWED: Final = "SELECT coalesce(sum(free + held), 0) FROM balances WHERE account <> 0 AND asset = %s"
_TO_CUSTOMERS: Final = f"""
SELECT coalesce(sum(free + held), 0) FROM balances WHERE account >= {FIRST_USER_ACCOUNT} AND asset = %s
"""  # noqa: S608 - a number of our own
_SETTLED: Final = """
SELECT coalesce(-sum(amount), 0) FROM transfers
WHERE reference >= 'withdrawal/' AND reference < 'withdrawal0' AND asset = %s
"""


class NodesApartError(RuntimeError):
    """Two nodes name different balances at one height, or too few answer. Nothing is reconciled on one node's word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a round reads. Everything but the chain is read first: what it tells of is then in the blocks that count."""

    chain: str
    assets: Sequence[AssetOnChain]
    wallets: Mapping[str, str]
    """Name, which begins with the tier → address that holds coins of house and customers, besides those of deposits."""
    nodes: Sequence[Rpc]
    connection: psycopg.Connection
    catalogue: Catalogue
    register: Register
    deposits: Deposits

    def read(self) -> list[Terms]:
        """Return the terms of each asset. Raises NodesApartError and as the stores."""
        paid_out = {each.name: self._sum(paid_out_key(self.chain, each.name)) for each in self.assets}
        network_fees = self._sum(network_fees_key(self.chain))
        books = self._books()
        deposits = list(self.deposits.all())
        return asyncio.run(self._on_chain(paid_out, network_fees, books, deposits))

    def _sum(self, key: str) -> int:
        return int(self.register.item(key).get("units", 0))

    def _books(self) -> dict[str, tuple[int, ...]]:
        """Return, by asset, all balances, those of customers, and what was paid out, as of one moment of the ledger."""
        with self.connection.transaction():
            self.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            return {
                each.name: tuple(self._number(query, each.name) for query in (_OWED, _TO_CUSTOMERS, _SETTLED))
                for each in self.assets
            }

    def _number(self, query: Any, asset: str) -> int:  # noqa: ANN401 - psycopg wants a literal
        row = self.connection.execute(query, (self.catalogue.asset(asset).id,)).fetchone()
        assert row is not None
        return int(row[0])

    async def _on_chain(
        self,
        paid_out: Mapping[str, int],
        network_fees: int,
        books: Mapping[str, tuple[int, ...]],
        deposits: Sequence[Deposit],
    ) -> list[Terms]:
        height = min(await self._alike("eth_blockNumber")) - max(each.confirmations for each in self.assets) + 1
        waiting = {each.block for each in deposits if each.status in {"pending", "crediting"}}
        is_mined = {block: await self._is_mined(block, height) for block in waiting}
        found = []
        for asset in self.assets:
            scale = Scale(chain=asset.decimals, ledger=self.catalogue.asset(asset.name).decimals)
            received = [each for each in deposits if each.transfer.asset == asset.name]
            owed, to_customers, settled = books[asset.name]
            tiers = dict.fromkeys((each.transfer.address for each in received), HOT)
            tiers |= {address: tier_of(name) for name, address in self.wallets.items()}
            held = await self._held(asset, tiers, height)
            found.append(
                Terms(
                    asset=asset.name,
                    height=height,
                    by_tier={tier: scale.of_chain(amount) for tier, amount in held.items()},
                    in_ledger=scale.of_ledger(owed),
                    uncredited=uncredited(received, scale, is_mined=is_mined),
                    unsettled=scale.of_ledger(paid_out[asset.name] - settled),
                    network_fees=0 if asset.contract else scale.of_chain(network_fees),
                    to_customers=scale.of_ledger(to_customers),
                )
            )
        return found

    async def _is_mined(self, block_hash: str, height: int) -> bool:
        """Return whether a block is in the chain, at `height` or below. Raises NodesApartError."""
        blocks = await self._answers("eth_getBlockByHash", block_hash, False)  # noqa: FBT003 - as the API has it
        numbers = {int(block["number"], 16) if block else None for block in blocks}
        if len(numbers) != 1:
            raise NodesApartError(f"the nodes know block {block_hash} at {sorted(map(str, numbers))}")
        number = numbers.pop()
        return number is not None and number <= height

    async def _held(self, asset: AssetOnChain, tiers: Mapping[str, str], height: int) -> dict[str, int]:
        """Return what the addresses of each tier hold after the block at `height`. Raises NodesApartError."""
        gate = asyncio.Semaphore(QUESTIONS_MAX)

        async def one(address: str) -> int:
            async with gate:
                return await self._balance(asset, address, height)

        held = dict.fromkeys(TIERS, 0)
        for tier, amount in zip(tiers.values(), await asyncio.gather(*map(one, tiers)), strict=True):
            held[tier] += amount
        return held

    async def _balance(self, asset: AssetOnChain, address: str, height: int) -> int:
        if asset.contract:
            data = _BALANCE_OF + address.removeprefix("0x").lower().rjust(64, "0")
            told = set(await self._alike("eth_call", {"to": asset.contract, "data": data}, hex(height)))
        else:
            told = set(await self._alike("eth_getBalance", address, hex(height)))
        if len(told) != 1:
            raise NodesApartError(f"{address} holds {' or '.join(map(str, sorted(told)))} of {asset.name} at {height}")
        return told.pop()

    async def _alike(self, method: str, *params: object) -> list[int]:
        """Return what each node answers, as numbers. Raises NodesApartError when fewer than two do."""
        try:
            return [int(str(answer), 16) for answer in await self._answers(method, *params)]
        except ValueError as error:
            raise NodesApartError(f"{method}: {error}") from None

    async def _answers(self, method: str, *params: object) -> list[Any]:
        found, problems = await ask_all(self.nodes, lambda node: node.call(method, *params))
        if len(found) < QUORUM:
            reasons = "; ".join(map(str, problems))
            raise NodesApartError(f"{method}: {len(found)} nodes answer, {QUORUM} are needed: {reasons}")
        return found
