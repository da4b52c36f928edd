"""What every client relies on, asked by hand: errors, limits, read-your-writes; and the helpers of the client tests.

Needs a running exchange whose `demo.json` is named by BURSA_DEMO.
"""

import asyncio
import hashlib
import hmac
import http.client
import json
import os
import random
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import pytest

pytestmark = pytest.mark.integ

T = TypeVar("T")
VARIABLE = "BURSA_DEMO"
SYMBOL = "BTCUSDT"
WITHDRAWAL = {"coin": "ETH", "address": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "amount": "0.1"}


@cache
def _read(path: str) -> dict[str, Any]:
    contents: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return contents


def demo() -> dict[str, Any]:
    """Return the contents of demo.json, or skip the test that asks."""
    path = os.environ.get(VARIABLE, "")
    if not path or not Path(path).exists():
        pytest.skip(f"{VARIABLE} names no demo.json of a running exchange")
    return _read(path)


def account(number: int) -> dict[str, Any]:
    """Return the keys of the first (0) or second (1) demo account."""
    found: dict[str, Any] = demo()["accounts"][number]
    return found


class Machine:
    """Where requests by hand come from. Limits count by address, and a loopback interface has millions of them."""

    address = "127.0.0.1"


class _FromMachine(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(http.client.HTTPConnection, source_address=(Machine.address, 0)), req)  # type: ignore[arg-type]


def ask(method: str, path: str, *, keys: dict[str, Any] | None = None, **parameters: Any) -> tuple[int, Any, Any]:
    """Ask by hand; return status, headers and what the JSON says. With `keys` the request is signed."""
    headers = {}
    query = urlencode(parameters)
    if keys is not None:
        query = urlencode({**parameters, "timestamp": parameters.get("timestamp", time.time_ns() // 1_000_000)})
        signature = hmac.new(keys["secret_key"].encode(), query.encode(), hashlib.sha256).hexdigest()
        query += f"&signature={signature}"
        headers["X-MBX-APIKEY"] = keys["api_key"]
    request = urllib.request.Request(f"{demo()['rest_url']}{path}?{query}", method=method, headers=headers)
    try:
        with urllib.request.build_opener(_FromMachine).open(request, timeout=20) as answer:
            return answer.status, answer.headers, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.load(error)


def until(look: Callable[[], T], holds: Callable[[T], object]) -> T:
    """Return the first answer of `look` for which `holds`: quotes come and go, and a look may find a bare book."""
    for _ in range(100):
        answer = look()
        if holds(answer):
            return answer
        time.sleep(0.2)
    raise AssertionError(f"not once in 100 looks; the last one: {answer}")


def best_bid(symbol: str = SYMBOL) -> Decimal:
    """Return the best bid, once somebody quotes."""
    for _ in range(100):
        book = ask("GET", "/api/v3/ticker/bookTicker", symbol=symbol)[2]
        if Decimal(book["bidPrice"]):
            return Decimal(book["bidPrice"])
        time.sleep(0.2)
    raise AssertionError(f"nobody quotes {symbol}")


def far_below(symbol: str = SYMBOL, tick: str = "0.01") -> Decimal:
    """Return a price that rests: half the best bid, on a tick."""
    return (best_bid(symbol) / 2).quantize(Decimal(tick), ROUND_DOWN)


def clean(number: int) -> None:
    """Cancel what earlier tests left on the book."""
    for symbol in demo()["symbols"]:
        ask("DELETE", "/api/v3/openOrders", keys=account(number), symbol=symbol)


def free(number: int, asset: str) -> Decimal:
    """Return what the account has free of an asset."""
    balances = ask("GET", "/api/v3/account", keys=account(number))[2]["balances"]
    return next(Decimal(each["free"]) for each in balances if each["asset"] == asset)


def limit_order(price: Decimal, **more: Any) -> dict[str, Any]:
    return {
        "symbol": SYMBOL,
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.001",
        "price": str(price),
        **more,
    }


def test_a_client_finds_its_own_order_and_trades_at_once() -> None:
    keys = account(0)
    clean(0)
    before = free(0, "BTC")
    status, headers, order = ask(
        "POST", "/api/v3/order", keys=keys, symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.001"
    )
    assert (status, order["status"], Decimal(order["executedQty"])) == (200, "FILLED", Decimal("0.001"))
    assert headers["X-MBX-ORDER-COUNT-10S"] is not None
    found = ask("GET", "/api/v3/order", keys=keys, symbol=SYMBOL, orderId=order["orderId"])[2]
    assert {name: found[name] for name in ("status", "executedQty", "cummulativeQuoteQty", "clientOrderId")} == {
        name: order[name] for name in ("status", "executedQty", "cummulativeQuoteQty", "clientOrderId")
    }
    trades = ask("GET", "/api/v3/myTrades", keys=keys, symbol=SYMBOL, orderId=order["orderId"])[2]
    assert [(each["id"], each["qty"], each["commission"]) for each in trades] == [
        (each["tradeId"], each["qty"], each["commission"]) for each in order["fills"]
    ]
    assert sum(Decimal(each["quoteQty"]) for each in trades) == Decimal(order["cummulativeQuoteQty"])
    assert ask("GET", "/api/v3/allOrders", keys=keys, symbol=SYMBOL, limit=1)[2][0]["orderId"] == order["orderId"]
    gained = sum(Decimal(each["qty"]) - Decimal(each["commission"]) for each in trades)
    assert free(0, "BTC") - before == gained


def test_a_portfolio_tells_what_was_bought_and_what_it_cost() -> None:
    keys = account(0)
    clean(0)

    def held(asset: str) -> dict[str, Any]:
        status, _, answer = ask("GET", "/sapi/v1/portfolio/holdings", keys=keys, currency="USDT")
        assert status == 200, answer
        return next(each for each in answer["holdings"] if each["asset"] == asset)

    def cost() -> dict[str, Decimal]:
        found = [each for each in held("BTC")["costs"] if each["currency"] == "USDT"]
        return {name: Decimal(found[0][name]) if found else Decimal(0) for name in ("quantity", "cost", "realized")}

    before = cost()
    order = ask("POST", "/api/v3/order", keys=keys, symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.001")[2]
    after = cost()
    gained = sum(Decimal(each["qty"]) - Decimal(each["commission"]) for each in order["fills"])
    assert after["quantity"] - before["quantity"] == gained
    assert after["cost"] - before["cost"] == Decimal(order["cummulativeQuoteQty"])
    assert after["realized"] == before["realized"]
    for asset in ("BTC", "USDT"):
        balances = ask("GET", "/api/v3/account", keys=keys)[2]["balances"]
        (balance,) = [each for each in balances if each["asset"] == asset]
        assert Decimal(held(asset)["quantity"]) == Decimal(balance["free"]) + Decimal(balance["locked"])
    assert ask("GET", "/sapi/v1/portfolio/holdings", currency="USDT")[0] == 401


def test_documented_errors() -> None:
    keys, price = account(0), far_below()
    for method, path, signed, parameters, expected in (
        ("GET", "/api/v3/depth", False, {"symbol": "NOPE"}, (400, -1121)),
        ("GET", "/api/v3/nothing", False, {}, (404, -1020)),
        ("GET", "/api/v3/account", False, {}, (401, -2014)),
        ("GET", "/api/v3/account", True, {"timestamp": 1}, (400, -1021)),
        ("POST", "/api/v3/order", True, limit_order(price, quantity="0.0000001"), (400, -1013)),
        ("POST", "/api/v3/order", True, limit_order(Decimal(900_000), quantity="8999"), (400, -1013)),
        ("POST", "/api/v3/order", True, limit_order(price, pegPriceType="PRIMARY_PEG"), (400, -1020)),
        ("DELETE", "/api/v3/order", True, {"symbol": SYMBOL, "orderId": 1}, (400, -2011)),
        ("GET", "/api/v3/order", True, {"symbol": SYMBOL, "orderId": 2**60}, (400, -2013)),
        ("POST", "/api/v3/userDataStream", False, {}, (410, -1016)),
        ("GET", "/sapi/v1/capital/deposit/address", True, {"coin": "IDR"}, (400, -1020)),
        ("POST", "/sapi/v1/capital/withdraw/apply", True, WITHDRAWAL, (401, -2015)),
    ):
        status, _, body = ask(method, path, keys=keys if signed else None, **parameters)
        assert (status, body["code"]) == expected, (method, path, parameters)


def test_a_client_order_id_is_unique_among_open_orders() -> None:
    keys, price = account(0), far_below()
    clean(0)
    named = limit_order(price, newClientOrderId="mine")
    first = ask("POST", "/api/v3/order", keys=keys, **named)[2]
    assert ask("POST", "/api/v3/order", keys=keys, **named)[2] == {"code": -2010, "msg": "Duplicate order sent."}
    canceled = ask("DELETE", "/api/v3/order", keys=keys, symbol=SYMBOL, origClientOrderId="mine")[2]
    assert (canceled["status"], canceled["orderId"]) == ("CANCELED", first["orderId"])
    second = ask("POST", "/api/v3/order", keys=keys, **named)[2]
    assert second["orderId"] > first["orderId"]
    clean(0)


def test_many_orders_at_once_are_each_placed_once() -> None:
    clean(0)
    price = far_below()

    async def place_all() -> list[int]:
        loop = asyncio.get_running_loop()
        orders = [limit_order(price - number, newClientOrderId=f"many{number}") for number in range(30)]
        replies = await asyncio.gather(
            *(
                loop.run_in_executor(None, lambda o=o: ask("POST", "/api/v3/order", keys=account(0), **o))
                for o in orders
            )
        )
        assert {reply[0] for reply in replies} == {200}
        return [reply[2]["orderId"] for reply in replies]

    placed = asyncio.run(place_all())
    opened = ask("GET", "/api/v3/openOrders", keys=account(0), symbol=SYMBOL)[2]
    assert sorted(each["orderId"] for each in opened) == sorted(placed)
    assert [each["orderId"] for each in opened] == sorted(placed)
    canceled = ask("DELETE", "/api/v3/openOrders", keys=account(0), symbol=SYMBOL)[2]
    assert {each["orderId"] for each in canceled} == set(placed)


def test_ten_thousand_rapid_requests_get_one_address_banned_and_nobody_else() -> None:
    """Every address of loopback counts as a client of its own; a random one leaves the others alone."""
    source = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.{random.randrange(2, 255)}"
    host, port = demo()["rest_url"].removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20, source_address=(source, 0))
    statuses: Counter[int] = Counter()
    last: dict[str, Any] = {}
    # A minute may end in the middle, and each has an allowance of its own: then it takes some more.
    while statuses.total() < 10_000 or (418 not in statuses and statuses.total() < 20_000):
        connection.request("GET", "/api/v3/ping")
        with connection.getresponse() as response:
            statuses[response.status] += 1
            last = json.load(response)
    connection.close()
    assert set(statuses) == {200, 429, 418}
    assert last["code"] == -1003
    assert last["msg"].startswith("Way too much request weight used; IP banned until ")
    assert ask("GET", "/api/v3/ping")[0] == 200
