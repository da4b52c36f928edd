"""ccxt, unmodified, against a running exchange: values, not just the absence of exceptions."""

import asyncio
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import ccxt
import ccxt.async_support
import pytest

from tests.integ.test_clients import account, clean, demo, far_below, until

pytestmark = pytest.mark.integ

PAIR = "BTC/USDT"


def settings(number: int, *, ed25519: bool = False) -> dict[str, Any]:
    """Return ccxt's settings for a demo account: keys, URLs, and nothing but spot."""
    keys, rest = account(number), demo()["rest_url"]
    sapi = {name: f"{rest}/sapi/{version}" for name, version in (("sapi", "v1"), ("sapiV2", "v2"), ("sapiV3", "v3"))}
    return {
        "apiKey": keys["ed25519_api_key"] if ed25519 else keys["api_key"],
        "secret": keys["ed25519_private_key_pem"] if ed25519 else keys["secret_key"],
        "enableRateLimit": False,
        "options": {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchMargins": True},
        "urls": {
            "api": {
                "public": f"{rest}/api/v3",
                "private": f"{rest}/api/v3",
                "v1": f"{rest}/api/v1",
                **sapi,
                "ws": {
                    "spot": f"{demo()['stream_url']}/ws",
                    "ws-api": {"spot": demo()["ws_api_url"]},
                },
            }
        },
    }


@pytest.fixture
def exchange() -> Iterator[Any]:
    clean(0)
    client = ccxt.binance(settings(0))
    client.load_markets()
    yield client
    clean(0)


def test_markets_and_currencies(exchange: Any) -> None:
    assert sorted(market["id"] for market in exchange.markets.values()) == sorted(demo()["symbols"])
    market = exchange.market(PAIR)
    assert (market["spot"], market["active"], market["margin"]) == (True, True, False)
    assert (market["precision"]["price"], market["precision"]["amount"]) == (0.01, 0.00001)
    assert (market["limits"]["cost"]["min"], market["limits"]["amount"]["min"]) == (5.0, 0.00001)
    assert exchange.currencies["IDR"]["type"] == "fiat"
    fees = exchange.fetch_trading_fees()
    assert fees[PAIR]["taker"] is not None
    assert abs(exchange.fetch_time() - time.time() * 1000) < 5_000


def test_market_data(exchange: Any) -> None:
    book = until(lambda: exchange.fetch_order_book(PAIR, 10), lambda book: book["bids"] and book["asks"])
    assert book["bids"][0][0] < book["asks"][0][0]
    assert len(book["bids"]) <= 10
    ticker = until(lambda: exchange.fetch_ticker(PAIR), lambda ticker: ticker["bid"] and ticker["ask"])
    assert ticker["symbol"] == PAIR
    assert ticker["bid"] < ticker["ask"]
    assert PAIR in exchange.fetch_tickers()
    assert until(lambda: exchange.fetch_bids_asks([PAIR])[PAIR]["bid"], bool) > 0
    trades = exchange.fetch_trades(PAIR, limit=5)
    assert 0 < len(trades) <= 5
    assert all(trade["price"] > 0 and trade["amount"] > 0 for trade in trades)
    candles = exchange.fetch_ohlcv(PAIR, "1m", limit=3)
    assert 0 < len(candles) <= 3
    assert all(low <= close <= high for _, _, high, low, close, _ in candles)


def test_the_life_of_a_limit_order(exchange: Any) -> None:
    price = float(far_below())
    before = exchange.fetch_balance()["USDT"]
    order = exchange.create_order(PAIR, "limit", "buy", 0.01, price)
    assert (order["status"], order["price"], order["amount"], order["filled"]) == ("open", price, 0.01, 0.0)
    held = exchange.fetch_balance()["USDT"]
    assert Decimal(str(held["used"])) - Decimal(str(before["used"])) == Decimal("0.01") * Decimal(str(price))
    assert held["total"] == before["total"]
    assert exchange.fetch_order(order["id"], PAIR)["status"] == "open"
    assert [each["id"] for each in exchange.fetch_open_orders(PAIR)] == [order["id"]]
    canceled = exchange.cancel_order(order["id"], PAIR)
    assert (canceled["status"], canceled["id"]) == ("canceled", order["id"])
    assert exchange.fetch_order(order["id"], PAIR)["status"] == "canceled"
    assert exchange.fetch_open_orders(PAIR) == []
    assert exchange.fetch_orders(PAIR, limit=5)[-1]["id"] == order["id"]
    assert exchange.fetch_balance()["USDT"] == before


def test_orders_that_trade(exchange: Any) -> None:
    before = {asset: Decimal(str(exchange.fetch_balance()[asset]["total"])) for asset in ("BTC", "USDT")}
    bought = exchange.create_order(PAIR, "market", "buy", 0.002)
    assert (bought["status"], bought["filled"]) == ("closed", 0.002)
    assert bought["fee"]["currency"] == "BTC"
    sold = exchange.create_order(PAIR, "limit", "sell", 0.001, float(far_below()), {"timeInForce": "IOC"})
    assert (sold["status"], sold["filled"], sold["fee"]["currency"]) == ("closed", 0.001, "USDT")
    by_cost = exchange.create_market_buy_order_with_cost(PAIR, 50)
    assert 0 < by_cost["cost"] <= 50
    mine = exchange.fetch_my_trades(PAIR, limit=50)
    of_these = [trade for trade in mine if trade["order"] in {bought["id"], sold["id"], by_cost["id"]}]
    after = {asset: Decimal(str(exchange.fetch_balance()[asset]["total"])) for asset in ("BTC", "USDT")}
    for asset, change in (("BTC", "amount"), ("USDT", "cost")):
        sign = 1 if asset == "BTC" else -1
        moved = sum(
            Decimal(str(trade[change])) * (sign if trade["side"] == "buy" else -sign)
            - (Decimal(str(trade["fee"]["cost"])) if trade["fee"]["currency"] == asset else 0)
            for trade in of_these
        )
        assert abs(after[asset] - before[asset] - moved) < Decimal("1e-7"), asset  # ccxt's numbers are floats


def test_refusals_become_the_exceptions_that_bots_handle(exchange: Any) -> None:
    price, maker = float(far_below()), {"postOnly": True}
    for call, exception in (
        (lambda: exchange.create_order(PAIR, "limit", "buy", 10_000, price), ccxt.InvalidOrder),
        (lambda: exchange.create_order(PAIR, "limit", "sell", 50, price * 3), ccxt.InsufficientFunds),
        (lambda: exchange.create_order(PAIR, "limit", "buy", 0.00001, price), ccxt.BadRequest),
        (
            lambda: exchange.create_order(PAIR, "limit", "buy", 0.01, price * 3, maker),
            ccxt.OrderImmediatelyFillable,
        ),
        (lambda: exchange.create_order(PAIR, "limit", "buy", 0.01, price, {"stopPrice": price}), ccxt.InvalidOrder),
        (lambda: exchange.cancel_order("999999999999", PAIR), ccxt.OrderNotFound),
        (lambda: exchange.fetch_order("999999999999", PAIR), ccxt.OrderNotFound),
        (lambda: exchange.cancel_all_orders(PAIR), ccxt.OrderNotFound),
        (lambda: exchange.fetch_order_book("XXX/YYY"), ccxt.BadSymbol),
        (lambda: exchange.fetch_deposit_address("BTC"), ccxt.BadRequest),
    ):
        with pytest.raises(exception):
            call()
    wrong = ccxt.binance(settings(0) | {"secret": "wrong"})
    with pytest.raises(ccxt.AuthenticationError):
        wrong.fetch_balance()
    unknown = ccxt.binance(settings(0) | {"apiKey": "u" * 64})
    with pytest.raises(ccxt.AuthenticationError):
        unknown.fetch_balance()


def test_ed25519_keys() -> None:
    client = ccxt.binance(settings(1, ed25519=True))
    client.load_markets()
    clean(1)
    order = client.create_order(PAIR, "limit", "buy", 0.001, float(far_below()), {"clientOrderId": "x-ed25519"})
    assert (order["status"], order["clientOrderId"]) == ("open", "x-ed25519")
    assert client.cancel_order(order["id"], PAIR)["status"] == "canceled"


def test_many_orders_concurrently() -> None:
    async def scenario() -> None:
        client = ccxt.async_support.binance(settings(1))
        try:
            await client.load_markets()
            price = float(far_below())
            orders = await asyncio.gather(
                *(client.create_order(PAIR, "limit", "buy", 0.001, price - number) for number in range(20))
            )
            assert {order["status"] for order in orders} == {"open"}
            opened = await client.fetch_open_orders(PAIR)
            assert {each["id"] for each in opened} == {order["id"] for order in orders}
            canceled = await client.cancel_all_orders(PAIR)
            assert len(canceled) == len(orders)
            assert await client.fetch_open_orders(PAIR) == []
        finally:
            await client.close()

    clean(1)
    asyncio.run(scenario())
