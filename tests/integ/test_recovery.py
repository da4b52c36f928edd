"""Kill any process under load: nothing acknowledged is lost, nothing happens twice, and all is well again soon."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest

from runtime.market_maker.client import RefusedError, Session, UnavailableError
from tests.integ.exchange import Exchange, run

pytestmark = pytest.mark.integ
SYMBOL = "ETHIDR"
LANES = 6
SURE_MIN = 20
"""Orders that must stand in the end before a run says anything."""
UNSURE_CODES = {-1001, -1006, -1007, -1008}
"""Refusals that leave open whether the command took effect."""
NOTHING_OPEN = -2011
BACK_TIMEOUT_S = 60.0


class Load:
    """Lanes that place and cancel, each on a price of its own, and remember what must stand."""

    def __init__(self, exchange: Exchange, seed: int) -> None:
        self.standing: dict[str, int] = {}
        self.unsure: set[str] = set()
        self._exchange = exchange
        self._seed = seed
        self._stopping = asyncio.Event()
        self._reconnecting = asyncio.Lock()
        self._session: Session | None = None

    async def call(self, method: str, **params: Any) -> Any:
        """Send a request over a connection that is made again whenever it broke."""
        async with self._reconnecting:
            if self._session is None or not self._session.is_open:
                self._session = await self._exchange.session()
        return await self._session.call(method, symbol=SYMBOL, **params)

    async def lane(self, number: int) -> None:
        for count in range(100_000):
            if self._stopping.is_set():
                return
            name = f"r{self._seed}-{number}-{count}"
            try:
                await self._step(name, price=20_000_000 + number * 100, cancels=count % 10 != 9)
            except UnavailableError:
                self.unsure.add(name)
                await asyncio.sleep(0.05)
            except RefusedError as error:
                self.unsure.add(name)
                if error.code not in UNSURE_CODES:
                    raise
                await asyncio.sleep(0.05)

    async def _step(self, name: str, *, price: int, cancels: bool) -> None:
        order = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": str(price)}
        placed = await self.call("order.place", newClientOrderId=name, **order)
        self.standing[name] = placed["orderId"]
        if cancels:
            await self.call("order.cancel", origClientOrderId=name)
            del self.standing[name]

    async def kill_in_the_middle(self, victim: str, seconds: float) -> None:
        """Run the lanes, kill `victim` half way, and let the lanes go on until all is well again."""
        lanes = [asyncio.create_task(self.lane(number)) for number in range(LANES)]
        await asyncio.sleep(seconds / 2)
        self._exchange.kill(victim)
        await asyncio.sleep(seconds / 2)
        await asyncio.to_thread(self._exchange.wait_healthy)
        for _ in range(600):  # a busy machine places fewer in that time; the caller counts in the end
            if len(self.standing.keys() - self.unsure) >= SURE_MIN + LANES:  # each lane may yet cancel one
                break
            await asyncio.sleep(0.1)
        self._stopping.set()
        await asyncio.gather(*lanes)


async def patiently(session: Session, method: str, **params: Any) -> Any:
    """Send a request that may be repeated until nothing that it needs is away.

    What was started again is well a moment before the gateway has its link to it, and before it has caught up.
    """
    deadline = time.monotonic() + BACK_TIMEOUT_S
    while True:
        try:
            return await session.call(method, **params)
        except RefusedError as error:
            if error.code not in UNSURE_CODES or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


async def trade_through(exchange: Exchange, victim: str, seed: int) -> None:
    session = await exchange.session()
    await _cancel_all(session)
    load = Load(exchange, seed)
    await load.kill_in_the_middle(victim, seconds=2.0)
    final = await exchange.session()
    orders = await patiently(final, "openOrders.status", symbol=SYMBOL)
    found = {order["clientOrderId"]: order["orderId"] for order in orders}
    assert len(orders) == len(found), "an order stands twice"
    sure = {name: number for name, number in load.standing.items() if name not in load.unsure}
    assert {name: found.get(name) for name in sure} == sure, "an acknowledged order is lost"
    assert set(found) <= set(load.standing) | load.unsure, "an order stands that nobody placed"
    assert len(sure) >= SURE_MIN
    await _cancel_all(final)
    final.close()


async def _cancel_all(session: Session) -> None:
    try:
        await patiently(session, "openOrders.cancelAll", symbol=SYMBOL)
    except RefusedError as error:
        if error.code != NOTHING_OPEN:
            raise


@pytest.mark.parametrize("victim", ["engine", "ws", "market_data", "ledger", "rest", "postgres", "valkey"])
def test_kill_9_under_load(exchange: Exchange, victim: str) -> None:
    run(lambda: trade_through(exchange, victim, random.Random().randrange(10**6)))


def test_history_agrees_with_what_happened_after_the_ledger_was_killed(exchange: Exchange) -> None:
    async def scenario() -> None:
        session = await exchange.session("bob")
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET"}
        exchange.kill("ledger")
        placed = [
            await session.call("order.place", quantity="0.001", newOrderRespType="FULL", **order) for _ in range(5)
        ]
        await asyncio.to_thread(exchange.wait_healthy)
        for reply in placed:
            trades = await patiently(session, "myTrades", symbol="BTCUSDT", orderId=reply["orderId"])
            assert [(t["price"], t["qty"], t["commission"], t["id"]) for t in trades] == [
                (f["price"], f["qty"], f["commission"], f["tradeId"]) for f in reply["fills"]
            ]
        session.close()

    run(scenario)
