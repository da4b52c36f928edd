"""Every method of binance-sdk-spot, one by one, against a running exchange: none is left out without a word.

What the installed client offers is read off its classes. Each method has a case here, which calls it and compares the
decoded answer with what was done or what a request by hand is told, or stands in NOT_OFFERED or PLUMBING.
"""

import asyncio
import inspect
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from binance_common.configuration import ConfigurationWebSocketStreams
from binance_sdk_spot.rest_api.rest_api import SpotRestAPI
from binance_sdk_spot.spot import Spot
from binance_sdk_spot.websocket_api.websocket_api import SpotWebSocketAPI
from binance_sdk_spot.websocket_streams.websocket_streams import SpotWebSocketStreams
from pydantic import BaseModel
from requests.adapters import HTTPAdapter

from tests.integ.test_clients import SYMBOL, Machine, account, ask, best_bid, clean, far_below, until
from tests.integ.test_clients import demo as read_demo
from tests.integ.test_clients_sdk import rest, socket_api
from tests.integ.test_clients_special import share_of_best

pytestmark = pytest.mark.integ

WAIT_S = 20.0
MACHINES = (f"127.0.1.{number}" for number in range(1, 250))
"""Each case asks from an address of its own: all of them from one would wait minutes for its request weight."""
SOR = "Orders are not routed to other venues."
PAIRS = "Lists whose second order depends on what the first received are not built."
NOT_OFFERED = {
    **dict.fromkeys(("order_list_opo", "order_list_opoco", "order_list_place_opo", "order_list_place_opoco"), PAIRS),
    **dict.fromkeys(("sor_order", "sor_order_test", "sor_order_place"), SOR),
    **dict.fromkeys(("order_oco", "order_list_place"), "Replaced by the list with two legs, long ago."),
    "execution_rules": "No order is held to other prices than those its filters allow when it is placed.",
    "reference_price_calculation": "The price comes from other venues; how is told to no client.",
    "historical_block_trades": "There are no block trades.",
    "block_trades_historical": "There are no block trades.",
}
"""Answers the documented -1020, and why."""
STREAMS_NOT_OFFERED = {
    "block_trade": "There are no block trades.",
    "reference_price": "Asked for by REST and the WebSocket API.",
    "kline_offset": "Days begin at midnight in UTC.",
}
PLUMBING = {
    "rest": {"send_request", "send_signed_request"},
    "ws": {"send_message", "send_signed_message", "ping_server", "close_connection"},
    # user_data goes by a listenKey, whose routes answer 410: see test_clients.py.
    "streams": {"close_connection", "list_subscribe", "on", "ping_server", "subscribe", "unsubscribe", "user_data"},
}
"""Carries requests of other methods, or of none."""


def offered(kind: type) -> set[str]:
    """Return the public methods that a class of the client itself declares."""
    return {name for name, each in vars(kind).items() if not name.startswith("_") and inspect.isfunction(each)}


METHODS = {"rest": offered(SpotRestAPI), "ws": offered(SpotWebSocketAPI), "streams": offered(SpotWebSocketStreams)}
PUBLIC = {
    *(f"/api/v3/{name}" for name in ("exchangeInfo", "depth", "trades", "aggTrades", "klines", "avgPrice")),
    "/api/v3/referencePrice",
    "/api/v3/ticker/bookTicker",
}
"""Paths that take no signature."""


def plain(answer: Any) -> Any:
    """Return a decoded answer as JSON would have it, every field by its name on the wire."""
    if hasattr(answer, "actual_instance"):  # one of several models
        return plain(answer.actual_instance)
    if isinstance(answer, BaseModel):  # its own `to_dict` fails at arrays in arrays
        fields = type(answer).model_fields.items()
        told = {each.alias or name: getattr(answer, name) for name, each in fields}
        answer = {name: value for name, value in told.items() if value is not None}
    if isinstance(answer, list):
        return [plain(each) for each in answer]
    if isinstance(answer, dict):
        # What its models do not know, the client keeps apart; nothing of that is lost.
        told = {**answer, **answer.get("additional_properties", {})}
        return {name: plain(value) for name, value in told.items() if name != "additional_properties"}
    return answer


class RefusedError(Exception):
    """The WebSocket API refuses; its client tells that as an answer."""


class _FromMachine(HTTPAdapter):
    """Lets the client's connections come from where requests by hand come from."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, source_address=(Machine.address, 0))  # type: ignore[no-untyped-call]


class Client:
    """One account's client, over REST or over the WebSocket API."""

    def __init__(self, transport: str) -> None:
        self.transport = transport
        self.number = 0 if transport == "rest" else 1
        self.loop = asyncio.new_event_loop()
        self.api = rest(0) if transport == "rest" else socket_api(1)
        if transport == "rest":
            self.api._session.mount("http://", _FromMachine())
        if transport == "ws":
            self._done(self.api.create_connection())

    def close(self) -> None:
        if self.transport == "ws":
            self._done(self.api.close_connection())
        self.loop.close()

    def call(self, name: str, **arguments: Any) -> Any:
        """Return the decoded answer. Raises what the client raises."""
        if self.transport == "rest":
            return plain(getattr(self.api, name)(**arguments).data())
        whole = plain(self._done(getattr(self.api, name)(**arguments)).data())
        if "error" in whole:
            raise RefusedError(whole["error"]["msg"])
        return whole.get("result")

    def by_hand(self, method: str, path: str, **parameters: Any) -> Any:
        """Return what the account is told without the client."""
        keys = None if path in PUBLIC else account(self.number)
        status, _, body = ask(method, path, keys=keys, **parameters)
        assert status == 200, body
        return body

    def _done(self, awaitable: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(awaitable, WAIT_S))

    # ---- what cases begin with -------------------------------------------------------------------------------------

    def rests(self, **changes: Any) -> Any:
        """Place an order that rests."""
        order = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": str(far_below())}
        return self.by_hand("POST", "/api/v3/order", symbol=SYMBOL, **(order | changes))

    def trades(self) -> Any:
        """Have an order filled."""
        return self.by_hand("POST", "/api/v3/order", symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.001")

    def listed(self) -> Any:
        """Place a list of two orders."""
        legs = {"aboveType": "LIMIT_MAKER", "abovePrice": share_of_best(130), "belowType": "STOP_LOSS"}
        legs["belowStopPrice"] = share_of_best(75)
        return self.by_hand("POST", "/api/v3/orderList/oco", symbol=SYMBOL, side="SELL", quantity="0.01", **legs)


Case = Callable[[Client, str], None]


@dataclass
class Cases:
    """Cases by the name of the method, for each transport."""

    rest: dict[str, Case] = field(default_factory=dict)
    ws: dict[str, Case] = field(default_factory=dict)


CASES = Cases()


def case(rest_name: str, ws_name: str | None = None) -> Callable[[Case], Case]:
    """Note the case of a method; it has the same name in both clients unless told."""

    def note(function: Case) -> Case:
        if rest_name:
            CASES.rest[rest_name] = function
        if ws_name != "":
            CASES.ws[ws_name or rest_name] = function
        return function

    return note


def same(path: str, **parameters: Any) -> Case:
    """Return the case of a question whose answer does not change: it is decoded to what a request by hand is told."""

    def check(client: Client, name: str) -> None:
        given = {_snake(key): value for key, value in parameters.items()}
        answer = client.call(name, **given)
        assert answer == _filled(client.by_hand("GET", path, **parameters))
        assert answer not in ([], {})

    return check


def _snake(name: str) -> str:
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name)


def _filled(answer: Any) -> Any:
    """Return a JSON answer without the fields that are null: the client leaves them out."""
    if isinstance(answer, list):
        return [_filled(each) for each in answer]
    if isinstance(answer, dict):
        return {name: _filled(value) for name, value in answer.items() if value is not None}
    return answer


# ---- market data -----------------------------------------------------------------------------------------------------


@case("ping")
def _ping(client: Client, name: str) -> None:
    assert not client.call(name)


@case("time")
def _time(client: Client, name: str) -> None:
    assert abs(client.call(name)["serverTime"] - time.time() * 1000) < 5_000


@case("exchange_info")
def _exchange_info(client: Client, name: str) -> None:
    by_hand = client.by_hand("GET", "/api/v3/exchangeInfo", symbol=SYMBOL)
    answer = client.call(name, symbol=SYMBOL)
    (market,) = answer["symbols"]
    assert [each["symbol"] for each in answer["symbols"]] == [each["symbol"] for each in by_hand["symbols"]] == [SYMBOL]
    assert market["orderTypes"] == by_hand["symbols"][0]["orderTypes"]
    assert [each["limit"] for each in answer["rateLimits"]] == [each["limit"] for each in by_hand["rateLimits"]]


@case("depth")
def _depth(client: Client, name: str) -> None:
    def look() -> Any:
        book = client.call(name, symbol=SYMBOL, limit=5, symbol_status="TRADING")
        assert max(len(book["bids"]), len(book["asks"])) <= 5
        return book

    book = until(look, lambda book: len(book["bids"]) == len(book["asks"]) == 5)
    bids, asks = ([Decimal(price) for price, _ in book[side]] for side in ("bids", "asks"))
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]
    later = client.by_hand("GET", "/api/v3/depth", symbol=SYMBOL, limit=5)
    assert later["lastUpdateId"] >= book["lastUpdateId"] > 0


def _public_trades(client: Client, name: str, path: str, number: str, first: str) -> None:
    client.trades()
    rows: list[Any] = []
    deadline = time.monotonic() + WAIT_S
    while not rows and time.monotonic() < deadline:
        rows = client.call(name, symbol=SYMBOL, limit=3)
    assert rows
    by_hand = client.by_hand("GET", path, symbol=SYMBOL, limit=1_000)
    told = {each[number]: each for each in by_hand}
    shared = [each for each in rows if each[number] in told]
    # The last of them can have grown since.
    assert [told[each[number]] for each in shared[:-1]] == shared[:-1]
    assert shared[-1][first] == told[shared[-1][number]][first]


@case("get_trades", "trades_recent")
def _trades(client: Client, name: str) -> None:
    _public_trades(client, name, "/api/v3/trades", "id", "price")


@case("historical_trades", "trades_historical")
def _historical_trades(client: Client, name: str) -> None:
    _public_trades(client, name, "/api/v3/trades", "id", "price")
    newest = client.by_hand("GET", "/api/v3/trades", symbol=SYMBOL, limit=1)[0]["id"]
    rows = client.call(name, symbol=SYMBOL, from_id=newest - 1, limit=2)
    assert [each["id"] for each in rows] == [newest - 1, newest]


@case("agg_trades", "trades_aggregate")
def _agg_trades(client: Client, name: str) -> None:
    _public_trades(client, name, "/api/v3/aggTrades", "a", "p")


@case("klines")
@case("ui_klines")
def _klines(client: Client, name: str) -> None:
    client.trades()
    rows = plain(client.call(name, symbol=SYMBOL, interval="1m", limit=3))
    by_hand = {each[0]: each for each in client.by_hand("GET", "/api/v3/klines", symbol=SYMBOL, interval="1m", limit=5)}
    assert 0 < len(rows) <= 3
    assert [by_hand[each[0]] for each in rows[:-1]] == rows[:-1]
    start, opened, high, low, close = rows[-1][:5]
    assert start % 60_000 == 0
    assert by_hand[start][1] == opened
    assert Decimal(low) <= min(Decimal(opened), Decimal(close)) <= Decimal(high)


@case("avg_price")
def _avg_price(client: Client, name: str) -> None:
    client.trades()
    answer = client.call(name, symbol=SYMBOL)
    assert abs(Decimal(answer["price"]) / best_bid() - 1) < Decimal("0.2")
    assert answer["mins"] == client.by_hand("GET", "/api/v3/avgPrice", symbol=SYMBOL)["mins"]


def _ticker(client: Client, name: str, **more: Any) -> None:
    answer = client.call(name, symbol=SYMBOL, **more)
    assert answer["symbol"] == SYMBOL
    assert Decimal(answer["lowPrice"]) <= Decimal(answer["lastPrice"]) <= Decimal(answer["highPrice"])
    assert answer["lastId"] - answer["firstId"] + 1 == answer["count"] > 0
    both = client.call(name, symbols=[SYMBOL, "ETHUSDT"], **more)
    assert [each["symbol"] for each in both] == [SYMBOL, "ETHUSDT"]


@case("ticker24hr")
def _day_ticker(client: Client, name: str) -> None:
    _ticker(client, name)


@case("ticker")
def _window_ticker(client: Client, name: str) -> None:
    client.trades()
    _ticker(client, name, window_size="1h")


@case("ticker_trading_day")
def _session_ticker(client: Client, name: str) -> None:
    _ticker(client, name)


@case("ticker_price")
def _price(client: Client, name: str) -> None:
    answer = client.call(name, symbol=SYMBOL)
    assert answer["symbol"] == SYMBOL
    assert abs(Decimal(answer["price"]) / best_bid() - 1) < Decimal("0.2")
    assert {each["symbol"] for each in client.call(name)} == set(read_demo()["symbols"])


@case("reference_price")
def _reference(client: Client, name: str) -> None:
    by_hand = client.by_hand("GET", "/api/v3/referencePrice", symbol=SYMBOL)
    answer = client.call(name, symbol=SYMBOL)
    assert (answer["symbol"], answer["timestamp"] > by_hand["timestamp"] - 60_000) == (SYMBOL, True)
    assert abs(Decimal(answer["referencePrice"]) / best_bid() - 1) < Decimal("0.2")


@case("ticker_book_ticker", "ticker_book")
def _book_ticker(client: Client, name: str) -> None:
    answer = until(
        lambda: client.call(name, symbol=SYMBOL),
        lambda best: Decimal(best["bidPrice"]) and Decimal(best["askPrice"]),
    )
    assert Decimal(answer["bidPrice"]) < Decimal(answer["askPrice"])
    assert {each["symbol"] for each in client.call(name)} == set(read_demo()["symbols"])
    assert {each["symbol"] for each in client.call(name, symbol_status="TRADING")} == set(read_demo()["symbols"])
    with pytest.raises(Exception, match=r"status does not match the requested symbolStatus"):
        client.call(name, symbol=SYMBOL, symbol_status="HALT")


# ---- orders ----------------------------------------------------------------------------------------------------------


@case("new_order", "order_place")
def _place(client: Client, name: str) -> None:
    price = float(far_below())
    placed = client.call(name, symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=price)
    assert (placed["status"], Decimal(placed["origQty"]), Decimal(placed["price"])) == (
        *("NEW", Decimal("0.01")),
        Decimal(str(price)),
    )
    (found,) = client.by_hand("GET", "/api/v3/openOrders", symbol=SYMBOL)
    assert (found["orderId"], found["clientOrderId"]) == (placed["orderId"], placed["clientOrderId"])
    filled = client.call(name, symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.001, new_order_resp_type="FULL")
    assert sum(Decimal(each["qty"]) for each in filled["fills"]) == Decimal(filled["executedQty"]) == Decimal("0.001")


@case("order_test")
def _test(client: Client, name: str) -> None:
    order = {"symbol": SYMBOL, "side": "BUY", "type": "MARKET", "quantity": 0.001}
    assert not client.call(name, **order)
    rates = client.call(name, **order, compute_commission_rates=True)["standardCommissionForOrder"]
    own = client.by_hand("GET", "/api/v3/account/commission", symbol=SYMBOL)["standardCommission"]
    assert (rates["maker"], rates["taker"]) == (own["maker"], own["taker"])
    assert client.by_hand("GET", "/api/v3/openOrders", symbol=SYMBOL) == []


@case("delete_order", "order_cancel")
def _cancel(client: Client, name: str) -> None:
    placed = client.rests()
    canceled = client.call(name, symbol=SYMBOL, order_id=placed["orderId"])
    assert (canceled["status"], canceled["origClientOrderId"]) == ("CANCELED", placed["clientOrderId"])
    assert client.by_hand("GET", "/api/v3/openOrders", symbol=SYMBOL) == []


@case("delete_open_orders", "open_orders_cancel_all")
def _cancel_all(client: Client, name: str) -> None:
    ids = {client.rests()["orderId"] for _ in range(2)}
    canceled = client.call(name, symbol=SYMBOL)
    assert {(each["orderId"], each["status"]) for each in canceled} == {(each, "CANCELED") for each in ids}


@case("order_cancel_replace")
def _replace(client: Client, name: str) -> None:
    placed = client.rests()
    answer = client.call(
        name,
        symbol=SYMBOL,
        side="BUY",
        type="LIMIT",
        cancel_replace_mode="STOP_ON_FAILURE",
        cancel_order_id=placed["orderId"],
        time_in_force="GTC",
        quantity=0.02,
        price=share_of_best(45),
    )
    assert (answer["cancelResult"], answer["newOrderResult"]) == ("SUCCESS", "SUCCESS")
    assert answer["cancelResponse"]["orderId"] == placed["orderId"]
    (found,) = client.by_hand("GET", "/api/v3/openOrders", symbol=SYMBOL)
    assert (found["orderId"], found["origQty"]) == (answer["newOrderResponse"]["orderId"], "0.02000000")


@case("order_amend_keep_priority")
def _amend(client: Client, name: str) -> None:
    placed = client.rests()
    answer = client.call(name, symbol=SYMBOL, order_id=placed["orderId"], new_qty=0.004)
    assert (answer["amendedOrder"]["orderId"], answer["amendedOrder"]["qty"]) == (placed["orderId"], "0.00400000")
    (found,) = client.by_hand("GET", "/api/v3/openOrders", symbol=SYMBOL)
    assert found["origQty"] == "0.00400000"


@case("order_amendments")
def _amendments(client: Client, name: str) -> None:
    placed = client.rests()
    named = {"symbol": SYMBOL, "orderId": placed["orderId"]}
    done = [
        client.by_hand("PUT", "/api/v3/order/amend/keepPriority", **named, newQty=qty) for qty in ("0.008", "0.004")
    ]
    listed = client.call(name, symbol=SYMBOL, order_id=placed["orderId"])
    assert [(each["executionId"], each["origQty"], each["newQty"]) for each in listed] == [
        (done[0]["executionId"], "0.01000000", "0.00800000"),
        (done[1]["executionId"], "0.00800000", "0.00400000"),
    ]
    assert listed == client.by_hand("GET", "/api/v3/order/amendments", **named)


@case("get_order", "order_status")
def _status(client: Client, name: str) -> None:
    placed = client.trades()
    answer = client.call(name, symbol=SYMBOL, order_id=placed["orderId"])
    assert answer == client.by_hand("GET", "/api/v3/order", symbol=SYMBOL, orderId=placed["orderId"])
    assert (answer["status"], answer["cummulativeQuoteQty"]) == ("FILLED", placed["cummulativeQuoteQty"])


@case("get_open_orders", "open_orders_status")
def _open_orders(client: Client, name: str) -> None:
    ids = [client.rests()["orderId"] for _ in range(2)]
    answer = client.call(name, symbol=SYMBOL)
    assert [each["orderId"] for each in answer] == ids
    assert answer == client.by_hand("GET", "/api/v3/openOrders", symbol=SYMBOL)


@case("all_orders")
def _all_orders(client: Client, name: str) -> None:
    placed = client.rests()
    answer = client.call(name, symbol=SYMBOL, limit=3)
    assert answer[-1]["orderId"] == placed["orderId"]
    assert answer == client.by_hand("GET", "/api/v3/allOrders", symbol=SYMBOL, limit=3)


@case("my_trades")
def _my_trades(client: Client, name: str) -> None:
    placed = client.trades()
    answer = client.call(name, symbol=SYMBOL, order_id=placed["orderId"])
    assert [(each["id"], each["qty"]) for each in answer] == [
        (each["tradeId"], each["qty"]) for each in placed["fills"]
    ]


# ---- lists -----------------------------------------------------------------------------------------------------------


@case("order_list_oco", "order_list_place_oco")
def _oco(client: Client, name: str) -> None:
    legs = {"above_type": "LIMIT_MAKER", "above_price": share_of_best(130), "below_type": "STOP_LOSS"}
    placed = client.call(name, symbol=SYMBOL, side="SELL", quantity=0.01, below_stop_price=share_of_best(75), **legs)
    _is_open(client, placed, "OCO", 2)


@case("order_list_oto", "order_list_place_oto")
def _oto(client: Client, name: str) -> None:
    placed = client.call(name, **_WORKING(), pending_type="MARKET", pending_side="SELL", pending_quantity=0.01)
    _is_open(client, placed, "OTO", 2)


@case("order_list_otoco", "order_list_place_otoco")
def _otoco(client: Client, name: str) -> None:
    placed = client.call(
        name,
        **_WORKING(),
        pending_side="SELL",
        pending_quantity=0.01,
        pending_above_type="LIMIT_MAKER",
        pending_above_price=share_of_best(130),
        pending_below_type="STOP_LOSS",
        pending_below_stop_price=share_of_best(40),
    )
    _is_open(client, placed, "OTO", 3)


def _WORKING() -> dict[str, Any]:  # noqa: N802 - read as a value
    return {
        "symbol": SYMBOL,
        "working_type": "LIMIT",
        "working_side": "BUY",
        "working_price": float(far_below()),
        "working_quantity": 0.01,
        "working_time_in_force": "GTC",
    }


def _is_open(client: Client, placed: dict[str, Any], kind: str, count: int) -> None:
    assert (placed["contingencyType"], placed["listOrderStatus"], len(placed["orderReports"])) == (
        *(kind, "EXECUTING"),
        count,
    )
    (found,) = client.by_hand("GET", "/api/v3/openOrderList")
    assert found["orderListId"] == placed["orderListId"]
    assert sorted(each["orderId"] for each in found["orders"]) == sorted(each["orderId"] for each in placed["orders"])


@case("delete_order_list", "order_list_cancel")
def _cancel_list(client: Client, name: str) -> None:
    placed = client.listed()
    answer = client.call(name, symbol=SYMBOL, order_list_id=placed["orderListId"])
    assert (answer["listOrderStatus"], [each["status"] for each in answer["orderReports"]]) == (
        "ALL_DONE",
        ["CANCELED", "CANCELED"],
    )


@case("get_order_list", "order_list_status")
def _list_status(client: Client, name: str) -> None:
    placed = client.listed()
    answer = client.call(name, order_list_id=placed["orderListId"])
    assert answer == client.by_hand("GET", "/api/v3/orderList", orderListId=placed["orderListId"])


@case("open_order_list", "open_order_lists_status")
def _open_lists(client: Client, name: str) -> None:
    placed = client.listed()
    answer = client.call(name)
    assert [each["orderListId"] for each in answer] == [placed["orderListId"]]
    assert answer == client.by_hand("GET", "/api/v3/openOrderList")


@case("all_order_list", "all_order_lists")
def _all_lists(client: Client, name: str) -> None:
    placed = client.listed()
    answer = client.call(name, limit=2)
    assert answer[-1]["orderListId"] == placed["orderListId"]
    assert answer == client.by_hand("GET", "/api/v3/allOrderList", limit=2)


# ---- the account -----------------------------------------------------------------------------------------------------


@case("get_account", "account_status")
def _account(client: Client, name: str) -> None:
    client.rests()
    answer = client.call(name, omit_zero_balances=True)
    assert answer == client.by_hand("GET", "/api/v3/account", omitZeroBalances="true")
    (held,) = [each["locked"] for each in answer["balances"] if each["asset"] == "USDT"]
    assert Decimal(held) > 0


case("account_commission")(same("/api/v3/account/commission", symbol=SYMBOL))
case("my_filters", "")(same("/api/v3/myFilters", symbol=SYMBOL))


@case("", "my_filters")
def _filters(client: Client, name: str) -> None:
    """The client's model of this answer (13.2.0) looks for the filters beside `result`, so it shows none of them."""
    weight = next(
        each
        for each in client._done(getattr(client.api, name)(symbol=SYMBOL)).data().rate_limits
        if each.rate_limit_type == "REQUEST_WEIGHT"
    )
    assert weight.count >= 40


@case("my_allocations")
def _allocations(client: Client, name: str) -> None:
    assert client.call(name, symbol=SYMBOL) == []


@case("my_prevented_matches")
def _prevented(client: Client, name: str) -> None:
    for _ in range(5):
        book = client.by_hand("GET", "/api/v3/ticker/bookTicker", symbol=SYMBOL)
        price = str(Decimal(book["askPrice"]) - Decimal("0.01"))  # better than any other bid
        resting = client.rests(price=price, quantity="0.001", timeInForce="GTC")
        taker = client.rests(side="SELL", price=price, quantity="0.001", selfTradePreventionMode="EXPIRE_TAKER")
        client.by_hand("DELETE", "/api/v3/openOrders", symbol=SYMBOL) if resting["status"] == "NEW" else None
        if taker["status"] == "EXPIRED_IN_MATCH":
            break
    else:
        pytest.fail("the maker was faster five times")
    (match,) = client.call(name, symbol=SYMBOL, order_id=taker["orderId"])
    assert (match["makerOrderId"], match["takerOrderId"]) == (resting["orderId"], taker["orderId"])
    assert (match["price"], match["selfTradePreventionMode"]) == (resting["price"], "EXPIRE_TAKER")


@case("rate_limit_order", "account_rate_limits_orders")
def _rate_limits(client: Client, name: str) -> None:
    before = client.call(name)
    place = "new_order" if client.transport == "rest" else "order_place"
    price = float(far_below())
    client.call(place, symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=price)
    answer = client.call(name)
    assert [(each["rateLimitType"], each["interval"]) for each in answer] == [("ORDERS", "SECOND"), ("ORDERS", "DAY")]
    assert answer[-1]["count"] > before[-1]["count"]  # what the other gateway counted may come on top, late


# ---- the socket's own ------------------------------------------------------------------------------------------------


def _key(client: Client) -> str:
    key: str = account(client.number)["ed25519_api_key"]
    return key


@case("", "session_logon")
@case("", "session_status")
@case("", "session_logout")
def _session(client: Client, name: str) -> None:
    assert client.call("session_logon")["apiKey"] == _key(client)
    if name != "session_logon":
        assert client.call("session_status")["apiKey"] == _key(client)
        assert not client.call("session_logout").get("apiKey")
        assert not client.call("session_status").get("apiKey")


@case("", "user_data_stream_subscribe")
@case("", "user_data_stream_subscribe_signature")
@case("", "user_data_stream_unsubscribe")
@case("", "session_subscriptions")
def _user_data(client: Client, name: str) -> None:
    subscribe = "user_data_stream_subscribe"
    if name == "user_data_stream_subscribe_signature":
        subscribe = name
    else:
        client.call("session_logon")
    heard: asyncio.Queue[Any] = asyncio.Queue()
    subscription = client._done(getattr(client.api, subscribe)())
    subscription.stream.on("message", heard.put_nowait)
    number = subscription.response.data().result.subscription_id
    placed = client._done(
        client.api.order_place(
            symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=float(far_below())
        )
    )
    report = plain(client._done(heard.get()))
    assert (report["i"], report["x"]) == (placed.data().result.order_id, "NEW")
    if name in {"user_data_stream_unsubscribe", "session_subscriptions"}:
        assert [each["subscriptionId"] for each in client.call("session_subscriptions")] == [number]
        assert client.call("user_data_stream_unsubscribe", subscription_id=number) in ({}, None)
        assert client.call("session_subscriptions") == []


# ---- the tests -------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _own_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "address", next(MACHINES))


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    made = Client(request.param)
    clean(made.number)
    yield made
    clean(made.number)
    made.close()


def of_both(wanted: Callable[[str], set[str]]) -> list[Any]:
    return [
        pytest.param(transport, name, id=f"{transport}-{name}")
        for transport in ("rest", "ws")
        for name in sorted(METHODS[transport] & wanted(transport))
    ]


def test_no_method_is_left_out() -> None:
    assert METHODS["rest"] == CASES.rest.keys() | (NOT_OFFERED.keys() & METHODS["rest"]) | PLUMBING["rest"]
    assert METHODS["ws"] == CASES.ws.keys() | (NOT_OFFERED.keys() & METHODS["ws"]) | PLUMBING["ws"]
    assert METHODS["streams"] == STREAMS.keys() | STREAMS_NOT_OFFERED.keys() | PLUMBING["streams"]
    assert not NOT_OFFERED.keys() & (CASES.rest.keys() | CASES.ws.keys())
    assert NOT_OFFERED.keys() <= METHODS["rest"] | METHODS["ws"]
    assert min(len(CASES.rest), len(CASES.ws), len(STREAMS)) > 10


@pytest.mark.parametrize(("client", "name"), of_both(lambda each: set(getattr(CASES, each))), indirect=["client"])
def test_method(client: Client, name: str) -> None:
    getattr(CASES, client.transport)[name](client, name)


@pytest.mark.parametrize(("client", "name"), of_both(lambda _: set(NOT_OFFERED)), indirect=["client"])
def test_method_that_is_not_offered(client: Client, name: str) -> None:
    given = {"symbol": SYMBOL, "side": "BUY", "type": "MARKET", "quantity": 0.01, "price": 1.0, "from_id": 1}
    given |= {"working_type": "LIMIT", "working_side": "BUY", "working_price": 1.0, "working_quantity": 0.01}
    given |= {"pending_side": "SELL", "pending_type": "MARKET", "pending_above_type": "LIMIT_MAKER"}
    given |= {"stop_price": 1.0}
    known = inspect.signature(getattr(client.api, name)).parameters
    with pytest.raises(Exception, match=r"This operation is not supported\."):
        client.call(name, **{key: value for key, value in given.items() if key in known})


# ---- streams ---------------------------------------------------------------------------------------------------------


def _price_near(text: str) -> None:
    assert abs(Decimal(text) / best_bid() - 1) < Decimal("0.2")


def _of_trade(event: dict[str, Any]) -> None:
    assert event["s"] == SYMBOL
    _price_near(event["p"])
    (found,) = ask("GET", "/api/v3/historicalTrades", symbol=SYMBOL, fromId=event.get("f", event.get("t")), limit=1)[2]
    assert (found["price"], found["isBuyerMaker"]) == (event["p"], event["m"])


def _of_candle(event: dict[str, Any]) -> None:
    candle = event["k"]
    assert (event["s"], candle["i"], candle["t"] % 60_000) == (SYMBOL, "1m", 0)
    assert Decimal(candle["l"]) <= Decimal(candle["c"]) <= Decimal(candle["h"])


def _of_ticker(event: dict[str, Any]) -> None:
    assert event["s"] == SYMBOL
    assert Decimal(event["l"]) <= Decimal(event["c"]) <= Decimal(event["h"])


def _of_all(event: Any) -> None:
    rows = event if isinstance(event, list) else [event]
    assert {each["s"] for each in rows} <= set(read_demo()["symbols"])
    assert all(Decimal(each["l"]) <= Decimal(each["c"]) <= Decimal(each["h"]) for each in rows)


def _of_best(event: dict[str, Any]) -> None:
    assert (event["s"], Decimal(event["b"]) < Decimal(event["a"])) == (SYMBOL, True)


def _of_average(event: dict[str, Any]) -> None:
    assert event["s"] == SYMBOL
    _price_near(event["w"])


def _of_changes(event: dict[str, Any]) -> None:
    assert (event["s"], event["U"] <= event["u"]) == (SYMBOL, True)
    assert event["b"] or event["a"]


def _of_book(event: dict[str, Any]) -> None:
    assert max(len(event["bids"]), len(event["asks"])) <= 5
    assert Decimal(event["bids"][0][0]) < Decimal(event["asks"][0][0])


MARKET = {"symbol": SYMBOL.lower()}
STREAMS: dict[str, tuple[dict[str, Any], Callable[[Any], None]]] = {
    "agg_trade": (MARKET, _of_trade),
    "trade": (MARKET, _of_trade),
    "kline": (MARKET | {"interval": "1m"}, _of_candle),
    "mini_ticker": (MARKET, _of_ticker),
    "ticker": (MARKET, _of_ticker),
    "rolling_window_ticker": (MARKET | {"window_size": "1h"}, _of_ticker),
    "all_mini_ticker": ({}, _of_all),
    "all_market_rolling_window_ticker": ({"window_size": "1h"}, _of_all),
    "book_ticker": (MARKET, _of_best),
    "avg_price": (MARKET, _of_average),
    "diff_book_depth": (MARKET | {"update_speed": "100ms"}, _of_changes),
    "partial_book_depth": (MARKET | {"levels": "5", "update_speed": "100ms"}, _of_book),
}


@pytest.mark.parametrize("name", sorted(METHODS["streams"] & STREAMS.keys()))
def test_stream(name: str) -> None:
    arguments, check = STREAMS[name]
    check(asyncio.run(_first_event(name, arguments)))


@pytest.mark.parametrize("name", sorted(STREAMS_NOT_OFFERED))
def test_stream_that_is_not_offered(name: str) -> None:
    more = {"interval": "1m"} if name == "kline_offset" else {}
    with pytest.raises(TimeoutError):  # the client drops the answer that the stream is not known
        asyncio.run(_first_event(name, MARKET | more, wait_s=3))


async def _first_event(name: str, arguments: dict[str, Any], wait_s: float = WAIT_S) -> Any:
    client = Spot(config_ws_streams=ConfigurationWebSocketStreams(stream_url=read_demo()["stream_url"]))
    connection = await client.websocket_streams.create_connection()
    heard: asyncio.Queue[Any] = asyncio.Queue()
    try:
        stream = await getattr(connection, name)(**arguments)
        stream.on("message", heard.put_nowait)
        return await asyncio.wait_for(_trading(heard), wait_s)
    finally:
        await connection.close_connection()


async def _trading(heard: "asyncio.Queue[Any]") -> Any:
    """Return the first event, while trades go on; of a book, the first with five quotes on both sides."""
    while True:
        while heard.empty():
            order = {"side": "BUY", "type": "MARKET", "quantity": "0.001"}
            await asyncio.to_thread(ask, "POST", "/api/v3/order", keys=account(0), symbol=SYMBOL, **order)
            await asyncio.sleep(0.3)
        event = plain(heard.get_nowait())
        if not ("bids" in event and min(len(event["bids"]), len(event["asks"])) < 5):
            return event
