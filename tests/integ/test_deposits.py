"""From a block to a balance on the whole exchange: credited once, whatever is killed and whatever the chain does."""

from __future__ import annotations

import asyncio
import contextlib
import time
from decimal import Decimal
from typing import Any

import pytest

from local.control import read_status
from runtime.chain.rpc import NodeError, Rpc
from runtime.market_maker.client import RefusedError
from runtime.shared.ethereum import checksummed
from tests.integ.exchange import Exchange, run, wait_for

pytestmark = pytest.mark.integ
ETHER = 10**18
CONFIRMATIONS = 3
WATCHER = "deposits_ethereum"
TIMEOUT_S = 60.0


class Chain:
    """The simulated chain under the exchange, and a demo account on it."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        status = read_status(exchange.layout)
        assert status
        (node,) = [process for process in status.processes if process.name == "ethereum"]
        self._rpc = Rpc(node.address)
        (account,) = [account for account in exchange.demo["accounts"] if account["name"] == "bob"]
        self.address: str = account["deposit_addresses"]["ethereum"]

    async def call(self, method: str, *params: object) -> Any:
        return await self._rpc.call(method, *params)

    async def rest(self) -> Decimal:
        """Take back what other tests left of the account's orders, so that no trade changes its balance; return it."""
        session = await self.exchange.session("bob")
        try:
            for symbol in self.exchange.demo["symbols"]:
                with contextlib.suppress(RefusedError):  # nothing is open there
                    await session.call("openOrders.cancelAll", symbol=symbol)
        finally:
            session.close()
        return await self.balance()

    async def balance(self) -> Decimal:
        """Return what the account has in ether, free and held."""
        session = await self.exchange.session("bob")
        try:
            account = await session.call("account.status", omitZeroBalances=False)
        finally:
            session.close()
        (ether,) = [each for each in account["balances"] if each["asset"] == "ETH"]
        return Decimal(ether["free"]) + Decimal(ether["locked"])

    async def until(self, wanted: Decimal) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while (now := await self.balance()) != wanted:
            assert now < wanted, f"credited more than once: {now}, expected {wanted}"
            assert time.monotonic() < deadline, f"not credited in time: {now}, expected {wanted}"
            await asyncio.sleep(0.5)


def test_a_transfer_is_credited_once_though_the_watcher_is_killed(exchange: Exchange) -> None:
    async def scenario() -> None:
        chain = Chain(exchange)
        before = await chain.rest()
        await chain.call("sim_pay", chain.address, str(2 * ETHER))
        await chain.call("sim_mine", 1)
        exchange.kill(WATCHER)
        await chain.call("sim_mine", CONFIRMATIONS - 1)
        await chain.until(before + 2)
        exchange.kill(WATCHER)
        await chain.call("sim_pay", chain.address, str(ETHER // 4))
        await chain.call("sim_mine", CONFIRMATIONS)
        await chain.until(before + 2 + Decimal("0.25"))

    run(scenario)
    exchange.wait_healthy()


def test_a_block_that_leaves_the_chain_before_its_time_credits_nothing(exchange: Exchange) -> None:
    async def scenario() -> None:
        chain = Chain(exchange)
        before = await chain.rest()
        await chain.call("sim_pay", chain.address, str(7 * ETHER))
        await chain.call("sim_mine", 1)
        await asyncio.sleep(1.5)  # the watcher may see it, and need not
        height = int(await chain.call("eth_blockNumber"), 16)
        await chain.call("sim_reorganize", 2)
        assert int(await chain.call("eth_blockNumber"), 16) > height
        await chain.call("sim_pay", chain.address, str(ETHER))
        await chain.call("sim_mine", CONFIRMATIONS)
        # What came later is credited, so the watcher has passed the blocks that could have credited the other.
        await chain.until(before + 1)

    run(scenario)


def test_a_token_is_credited_by_the_listed_contract_alone(exchange: Exchange) -> None:
    async def scenario() -> None:
        chain = Chain(exchange)
        before = await chain.rest()
        await chain.call("sim_pay_token", checksummed(b"\xf0" * 20), chain.address, str(ETHER))
        await chain.call("sim_pay", chain.address, str(ETHER))
        await chain.call("sim_mine", CONFIRMATIONS)
        await chain.until(before + 1)

    run(scenario)


def test_nothing_is_answered_by_a_node_that_is_not_asked_for_the_chain(exchange: Exchange) -> None:
    """The sidecars pass on no method of administration, and not the simulated chain's own ones either."""
    status = read_status(exchange.layout)
    assert status
    nodes = [process for process in status.processes if process.name.startswith("node-ethereum")]
    assert len(nodes) == 2
    wait_for(lambda: all(asyncio.run(healthy(node.address)) for node in nodes))
    for node in nodes:
        for method in ("sim_mine", "admin_peers", "debug_setHead", "personal_sign"):
            with pytest.raises(Exception, match="allowed with a list of params"):
                asyncio.run(Rpc(node.address).call(method))


async def healthy(address: str) -> bool:
    try:
        return bool((await Rpc(address).get("/health"))["healthy"])
    except NodeError:  # answers that it is not
        return False
