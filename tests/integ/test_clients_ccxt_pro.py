"""ccxt.pro, unmodified, against a running exchange: market streams, the account's own, and orders over WebSocket."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import ccxt
import ccxt.pro
import pytest

from tests.integ.test_clients import clean, far_below
from tests.integ.test_clients_ccxt import PAIR, settings

pytestmark = pytest.mark.integ

WAIT_S = 30


def run(scenario: Callable[[Any], Awaitable[None]], number: int = 0) -> None:
    async def main() -> None:
        client = ccxt.pro.binance(settings(number))
        try:
            await client.load_markets()
            await asyncio.wait_for(scenario(client), 2 * WAIT_S)
        finally:
            await client.close()

    clean(number)
    asyncio.run(main())
    clean(number)


async def soon(awaitable: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(awaitable, WAIT_S)


async def begun(awaitable: Awaitable[Any]) -> "asyncio.Future[Any]":
    """Return a watch that has taken its place among those of a stream that is confirmed: no round trip is left."""
    watching = asyncio.ensure_future(awaitable)
    await asyncio.sleep(0.2)
    return watching


async def released(client: Any) -> None:
    """Return once the pushed balances show no USDT in use."""
    while client.balance["spot"]["USDT"]["used"]:  # noqa: ASYNC110 - pushes change it, the client tells nobody
        await asyncio.sleep(0.05)


def test_market_streams() -> None:
    async def scenario(client: Any) -> None:
        compared = 0
        while compared < 5:
            book = await soon(client.watch_order_book(PAIR))
            if book["bids"] and book["asks"]:  # quotes come and go
                compared += 1
                assert book["bids"][0][0] < book["asks"][0][0]
        ticker = await soon(client.watch_ticker(PAIR))
        assert ticker["last"] > 0
        best: dict[str, Any] = {}
        while not (best.get("bid") and best.get("ask")):
            best = (await soon(client.watch_bids_asks([PAIR])))[PAIR]
        assert best["bid"] < best["ask"]
        await client.create_order(PAIR, "market", "buy", 0.001)
        trades = await soon(client.watch_trades(PAIR))
        assert trades[-1]["price"] > 0
        candles = await soon(client.watch_ohlcv(PAIR, "1m"))
        assert candles[-1][2] >= candles[-1][3]

    run(scenario)


def test_orders_and_balances_are_pushed() -> None:
    async def scenario(client: Any) -> None:
        price = float(far_below())
        await soon(client.authenticate())  # returns once the account's stream is confirmed
        watching = await begun(client.watch_orders(PAIR))
        order = await client.create_order(PAIR, "limit", "buy", 0.01, price)
        (pushed,) = await soon(watching)
        assert (pushed["id"], pushed["status"], pushed["price"], pushed["amount"]) == (order["id"], "open", price, 0.01)
        balance = await begun(client.watch_balance())
        watching = await begun(client.watch_orders(PAIR))
        await client.cancel_order(order["id"], PAIR)
        pushed = (await soon(watching))[-1]
        assert (pushed["id"], pushed["status"]) == (order["id"], "canceled")
        await soon(balance)  # the first push may still tell of the placing; what counts is where the pushes end
        await soon(released(client))
        mine = await begun(client.watch_my_trades(PAIR))
        bought = await client.create_order(PAIR, "market", "buy", 0.001)
        trade = (await soon(mine))[-1]
        assert (trade["order"], trade["side"], trade["fee"]["currency"]) == (bought["id"], "buy", "BTC")

    run(scenario, 1)


def test_orders_over_the_websocket_api() -> None:
    async def scenario(client: Any) -> None:
        price = float(far_below())
        order = await soon(client.create_order_ws(PAIR, "limit", "buy", 0.01, price))
        assert (order["status"], order["price"], order["amount"]) == ("open", price, 0.01)
        assert (await soon(client.fetch_order_ws(order["id"], PAIR)))["status"] == "open"
        assert [each["id"] for each in await soon(client.fetch_open_orders_ws(PAIR))] == [order["id"]]
        # ccxt looks for the balances of derivatives in this answer; what it was sent is in `info`
        sent = (await soon(client.fetch_balance_ws()))["info"]["balances"]
        assert next(float(each["locked"]) for each in sent if each["asset"] == "USDT") > 0
        assert (await soon(client.cancel_order_ws(order["id"], PAIR)))["status"] == "canceled"
        bought = await soon(client.create_order_ws(PAIR, "market", "buy", 0.001))
        assert (bought["status"], bought["filled"]) == ("closed", 0.001)
        assert (await soon(client.fetch_my_trades_ws(PAIR)))[-1]["order"] == bought["id"]
        assert (await soon(client.fetch_orders_ws(PAIR)))[-1]["id"] == bought["id"]
        assert len(await soon(client.fetch_trades_ws(PAIR, limit=3))) <= 3
        assert len(await soon(client.fetch_ohlcv_ws(PAIR, "1m", limit=2))) <= 2
        for number in range(3):
            await soon(client.create_order_ws(PAIR, "limit", "buy", 0.001, price - number))
        assert len(await soon(client.cancel_all_orders_ws(PAIR))) == 3
        with pytest.raises(ccxt.InsufficientFunds):
            await soon(client.create_order_ws(PAIR, "limit", "sell", 50, price * 3))
        with pytest.raises(ccxt.OrderNotFound):
            await soon(client.cancel_order_ws("999999999999", PAIR))

    run(scenario)
