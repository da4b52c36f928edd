"""Triggers, icebergs, lists, replacing and amending, as a signed client asks for them and hears of them."""

from typing import Any

import msgspec
import pytest

from runtime.shared import messages as m
from tests.runtime.gateway.test_endpoints import LIMIT, STOP, ask, refused
from tests.runtime.gateway.test_user_data import Ear, listen
from tests.runtime.gateway.world import BTCUSDT, World

OCO = {
    "symbol": "BTCUSDT",
    "side": "SELL",
    "quantity": "0.01",
    "aboveType": "LIMIT_MAKER",
    "abovePrice": "66000",
    "aboveClientOrderId": "up",
    "belowType": "STOP_LOSS_LIMIT",
    "belowPrice": "53900",
    "belowStopPrice": "54000",
    "belowTimeInForce": "GTC",
}


@pytest.fixture
def world() -> World:
    world = World()
    trade(world, 6_000_000)
    return world


def trade(world: World, price: int, lots: int = 10) -> None:
    """Have two others trade at a price in ticks, so that it is the last."""
    for name, side in (("maker", m.SELL), ("taker", m.BUY)):
        account = world.engine.open(name, BTC=10**9, USDT=10**13)
        sequence = world.engine.core.sequence
        placed = world.engine.apply(
            m.PlaceOrder(account, BTCUSDT, side, m.LIMIT, m.GTC, price, lots * 100, 0, f"{name}{sequence}")
        )
        assert isinstance(placed.reply, m.OrderPlaced)


def reports(ear: Ear) -> list[tuple[object, ...]]:
    return [(each["c"], each["x"], each["X"], each["w"]) for each in ear.reports()]


def test_a_stop_waits_and_then_trades(world: World) -> None:
    ear = listen(world, world.ana.account)
    order = STOP | {"stopPrice": "65000", "price": "66000", "newClientOrderId": "s", "newOrderRespType": "RESULT"}
    placed = ask(world, "POST /api/v3/order", world.ana, **order)
    assert (placed["status"], placed["stopPrice"], placed["workingTime"]) == ("NEW", "65000.00000000", -1)
    found = ask(world, "GET /api/v3/order", world.ana, symbol="BTCUSDT", origClientOrderId="s")
    assert (found["isWorking"], found["workingTime"], found["type"]) == (False, -1, "STOP_LOSS_LIMIT")
    assert [each["orderId"] for each in ask(world, "GET /api/v3/openOrders", world.ana)] == [placed["orderId"]]
    world.rest_order(world.budi.account, m.SELL, 6_550_000, 1_000, "a")
    trade(world, 6_499_999)
    assert len(ask(world, "GET /api/v3/openOrders", world.ana)) == 1
    trade(world, 6_500_000)
    found = ask(world, "GET /api/v3/order", world.ana, symbol="BTCUSDT", origClientOrderId="s")
    assert (found["status"], found["cummulativeQuoteQty"], found["isWorking"]) == ("FILLED", "655.00000000", True)
    assert reports(ear) == [
        ("s", "NEW", "NEW", False),
        ("s", "NEW", "NEW", True),
        ("s", "TRADE", "FILLED", False),
    ]


def test_a_price_that_moves_too_far_interrupts_trading_and_an_auction_ends_that(world: World) -> None:
    world.rest_order(world.budi.account, m.SELL, 7_000_000, 1_000, "far")
    order = LIMIT | {"price": "70000", "newOrderRespType": "RESULT"}
    placed = ask(world, "POST /api/v3/order", world.ana, **order)
    assert (placed["status"], placed["executedQty"]) == ("NEW", "0.00000000")
    assert ask(world, "GET /api/v3/exchangeInfo", symbol="BTCUSDT")["symbols"][0]["status"] == "BREAK"
    market_order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
    assert refused(world, "POST /api/v3/order", world.ana, **market_order).text == "Market is closed."
    world.engine.apply(m.SetMarketStatus(BTCUSDT, m.TRADING))
    found = ask(world, "GET /api/v3/order", world.ana, symbol="BTCUSDT", orderId=placed["orderId"])
    assert (found["status"], found["cummulativeQuoteQty"]) == ("FILLED", "700.00000000")


def test_a_trailing_stop_says_how_far_it_trails(world: World) -> None:
    ear = listen(world, world.ana.account)
    order = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_LOSS", "quantity": "0.01", "trailingDelta": "100"}
    ask(world, "POST /api/v3/order", world.ana, **order)
    (found,) = ask(world, "GET /api/v3/openOrders", world.ana)
    assert (found["trailingDelta"], found["stopPrice"], found["price"]) == (100, "0.00000000", "0.00000000")
    assert found["trailingTime"] > 0
    (report,) = ear.reports()
    assert (report["d"], report["P"], report["o"]) == (100, "0.00000000", "STOP_LOSS")


def test_an_iceberg_shows_its_size(world: World) -> None:
    placed = ask(world, "POST /api/v3/order", world.ana, newOrderRespType="RESULT", icebergQty="0.004", **LIMIT)
    assert placed["icebergQty"] == "0.00400000"
    state = world.engine.core.markets[BTCUSDT].book.levels(m.BUY)
    assert state == [(6_000_000, 400)]


def test_oco(world: World) -> None:
    ear = listen(world, world.ana.account)
    placed = ask(world, "POST /api/v3/orderList/oco", world.ana, listClientOrderId="both", **OCO)
    assert (placed["contingencyType"], placed["listStatusType"], placed["listOrderStatus"]) == (
        "OCO",
        "EXEC_STARTED",
        "EXECUTING",
    )
    up, down = placed["orderReports"]
    assert (up["type"], up["clientOrderId"], up["orderListId"]) == ("LIMIT_MAKER", "up", placed["orderListId"])
    assert (down["stopPrice"], down["workingTime"]) == ("54000.00000000", -1)
    (open_list,) = ask(world, "GET /api/v3/openOrderList", world.ana)
    assert open_list["listClientOrderId"] == "both"
    free = {each["asset"]: each["locked"] for each in ask(world, "GET /api/v3/account", world.ana)["balances"]}
    assert free["BTC"] == "0.01000000"  # once for both
    world.engine.apply(m.PlaceOrder(world.budi.account, BTCUSDT, m.BUY, m.LIMIT, m.GTC, 6_600_000, 400, 0, "lift"))
    assert reports(ear)[2:] == [
        (down["clientOrderId"], "EXPIRED", "EXPIRED", False),
        ("up", "TRADE", "PARTIALLY_FILLED", True),
    ]
    (canceled,) = ask(world, "DELETE /api/v3/openOrders", world.ana, symbol="BTCUSDT")
    assert (canceled["listOrderStatus"], [each["status"] for each in canceled["orderReports"]]) == (
        "ALL_DONE",
        ["CANCELED"],
    )
    lists = [each for each in ear.heard if each["e"] == "listStatus"]
    assert [(each["l"], each["L"], each["C"]) for each in lists] == [
        ("EXEC_STARTED", "EXECUTING", "both"),
        ("ALL_DONE", "ALL_DONE", "both"),
    ]
    done = ask(world, "GET /api/v3/orderList", world.ana, orderListId=placed["orderListId"])
    assert (done["listOrderStatus"], len(done["orders"])) == ("ALL_DONE", 2)
    assert [each["orderListId"] for each in ask(world, "GET /api/v3/allOrderList", world.ana)] == [done["orderListId"]]
    assert refused(world, "GET /api/v3/orderList", world.budi, orderListId=done["orderListId"]).code == -2018


def test_oto_and_otoco(world: World) -> None:
    ear = listen(world, world.ana.account)
    working = {"workingType": "LIMIT", "workingTimeInForce": "GTC", "workingSide": "BUY", "workingClientOrderId": "w"}
    working |= {"symbol": "BTCUSDT", "workingPrice": "60000", "workingQuantity": "0.01"}
    pending = {"pendingType": "LIMIT_MAKER", "pendingSide": "SELL", "pendingQuantity": "0.01", "pendingPrice": "61000"}
    placed = ask(world, "POST /api/v3/orderList/oto", world.ana, pendingClientOrderId="p", **working, **pending)
    assert [(each["clientOrderId"], each["status"]) for each in placed["orderReports"]] == [
        ("w", "NEW"),
        ("p", "PENDING_NEW"),
    ]
    world.engine.apply(m.PlaceOrder(world.budi.account, BTCUSDT, m.SELL, m.LIMIT, m.GTC, 6_000_000, 1_000, 0, "hit"))
    assert reports(ear)[2:] == [("w", "TRADE", "FILLED", False), ("p", "NEW", "NEW", True)]
    canceled = ask(world, "DELETE /api/v3/orderList", world.ana, symbol="BTCUSDT", orderListId=placed["orderListId"])
    assert [each["status"] for each in canceled["orderReports"]] == ["CANCELED"]
    pair = {
        "pendingSide": "SELL",
        "pendingQuantity": "0.01",
        "pendingAboveType": "LIMIT_MAKER",
        "pendingAbovePrice": "62000",
        "pendingBelowType": "STOP_LOSS",
        "pendingBelowStopPrice": "58000",
    }
    placed = ask(world, "POST /api/v3/orderList/otoco", world.ana, **working, **pair)
    assert [each["status"] for each in placed["orderReports"]] == ["NEW", "PENDING_NEW", "PENDING_NEW"]
    ask(world, "DELETE /api/v3/order", world.ana, symbol="BTCUSDT", origClientOrderId="w")
    assert ask(world, "GET /api/v3/openOrders", world.ana) == []


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"abovePrice": "53000"}, -2010, "The relationship of the prices for the orders is not correct."),
        ({"belowStopPrice": "60500", "belowPrice": "60000"}, -2010, "The relationship of the prices"),
        ({"abovePrice": None}, -1102, "Mandatory parameter 'abovePrice'"),
        ({"belowStopPrice": None}, -1102, "Param 'belowStopPrice' or 'belowTrailingDelta' must be sent"),
        ({"aboveType": "LIMIT"}, -1116, "Invalid orderType."),
        ({"quantity": "20"}, -2010, "Account has insufficient balance for requested action."),
        ({"aboveTimeInForce": "GTC"}, -1106, "Parameter 'aboveTimeInForce' sent when not required."),
    ],
)
def test_refusals_of_a_list(world: World, changes: dict[str, Any], code: int, text: str) -> None:
    counts = world.limiter.order_counts(world.ana.account)
    sent = {name: value for name, value in {**OCO, **changes}.items() if value is not None}
    error = refused(world, "POST /api/v3/orderList/oco", world.ana, **sent)
    assert error.code == code
    assert error.text.startswith(text)
    assert world.limiter.order_counts(world.ana.account) == counts


def test_cancel_replace(world: World) -> None:
    placed = ask(world, "POST /api/v3/order", world.ana, newClientOrderId="old", **LIMIT)
    both = LIMIT | {"cancelReplaceMode": "STOP_ON_FAILURE"}
    done = ask(
        world,
        "POST /api/v3/order/cancelReplace",
        world.ana,
        cancelOrderId=placed["orderId"],
        **both | {"price": "59000"},
    )
    assert (done["cancelResult"], done["newOrderResult"]) == ("SUCCESS", "SUCCESS")
    assert (done["cancelResponse"]["status"], done["cancelResponse"]["origClientOrderId"]) == ("CANCELED", "old")
    assert (done["newOrderResponse"]["status"], done["newOrderResponse"]["price"]) == ("NEW", "59000.00000000")
    again = {"cancelOrderId": placed["orderId"]}
    rich = {"quantity": "100"}
    newest = {"cancelOrderId": done["newOrderResponse"]["orderId"]}
    for changes, code, status, cancel, new in (
        (again, -2022, 400, "FAILURE", "NOT_ATTEMPTED"),
        (again | {"cancelReplaceMode": "ALLOW_FAILURE"}, -2021, 409, "FAILURE", "SUCCESS"),
        (again | rich | {"cancelReplaceMode": "ALLOW_FAILURE"}, -2022, 400, "FAILURE", "FAILURE"),
        (newest | rich, -2021, 409, "SUCCESS", "FAILURE"),
    ):
        error = refused(world, "POST /api/v3/order/cancelReplace", world.ana, **both | changes)
        body = msgspec.json.decode(error.body())
        assert (body["code"], error.status) == (code, status)
        data = body["data"]
        assert (data["cancelResult"], data["newOrderResult"]) == (cancel, new)
        if cancel == "FAILURE":
            assert data["cancelResponse"] == {"code": -2011, "msg": "Unknown order sent."}
        if new == "FAILURE":
            assert data["newOrderResponse"]["msg"] == "Account has insufficient balance for requested action."


def test_amending_keeps_the_place(world: World) -> None:
    ear = listen(world, world.ana.account)
    placed = ask(world, "POST /api/v3/order", world.ana, newClientOrderId="big", **LIMIT)
    world.rest_order(world.budi.account, m.BUY, 6_000_000, 1_000, "behind")
    route = "PUT /api/v3/order/amend/keepPriority"
    done = ask(
        world, route, world.ana, symbol="BTCUSDT", orderId=placed["orderId"], newQty="0.004", newClientOrderId="small"
    )
    order = done["amendedOrder"]
    assert (order["qty"], order["origClientOrderId"], order["clientOrderId"]) == ("0.00400000", "big", "small")
    report = ear.reports()[-1]
    assert (report["x"], report["X"], report["c"], report["C"], report["I"]) == (
        *("REPLACED", "NEW", "small", "big"),
        done["executionId"],
    )
    resting = [order.client_order_id for order in world.engine.core.markets[BTCUSDT].book.resting(m.BUY)]
    assert resting == ["small", "behind"]
    for quantity, code, text in (
        ("0.005", -2038, "Order amend (quantity increase) is not supported."),
        ("0", -1013, "Filter failure: LOT_SIZE"),
    ):
        error = refused(world, route, world.ana, symbol="BTCUSDT", orderId=placed["orderId"], newQty=quantity)
        assert (error.code, error.text) == (code, text)
    error = refused(world, route, world.ana, symbol="BTCUSDT", orderId=999, newQty="0.001")
    assert (error.code, error.text) == (-2038, "Unknown order sent.")


def test_amendments_are_listed(world: World) -> None:
    placed = ask(world, "POST /api/v3/order", world.ana, newClientOrderId="big", **LIMIT)
    named = {"symbol": "BTCUSDT", "orderId": placed["orderId"]}
    route = "PUT /api/v3/order/amend/keepPriority"
    done = [
        ask(world, route, world.ana, newQty=quantity, newClientOrderId=name, **named)
        for quantity, name in (("0.008", "smaller"), ("0.004", "small"))
    ]
    listed = ask(world, "GET /api/v3/order/amendments", world.ana, **named)
    assert listed == [
        {
            **named,
            "executionId": each["executionId"],
            "origClientOrderId": names[0],
            "newClientOrderId": names[1],
            "origQty": quantities[0],
            "newQty": quantities[1],
            "time": each["transactTime"],
        }
        for each, names, quantities in zip(
            done,
            (("big", "smaller"), ("smaller", "small")),
            (("0.01000000", "0.00800000"), ("0.00800000", "0.00400000")),
            strict=True,
        )
    ]
    second = {**named, "fromExecutionId": done[1]["executionId"]}
    assert ask(world, "GET /api/v3/order/amendments", world.ana, **second) == listed[1:]
    assert ask(world, "GET /api/v3/order/amendments", world.ana, limit=1, **named) == listed[:1]
    assert ask(world, "GET /api/v3/order/amendments", world.budi, **named) == []
    assert refused(world, "GET /api/v3/order/amendments", world.ana, symbol="BTCUSDT").code == -1102


def test_a_self_trade_that_is_prevented_can_be_asked_for(world: World) -> None:
    ear = listen(world, world.ana.account)
    resting = ask(world, "POST /api/v3/order", world.ana, **LIMIT)
    sell = LIMIT | {"side": "SELL", "quantity": "0.004", "selfTradePreventionMode": "DECREMENT"}
    taker = ask(world, "POST /api/v3/order", world.ana, **sell)
    assert (taker["status"], taker["preventedQuantity"]) == ("EXPIRED_IN_MATCH", "0.00400000")
    report = next(each for each in ear.reports() if each["x"] == "TRADE_PREVENTION")
    assert (report["i"], report["A"], report["B"], report["U"], report["u"], report["Cs"]) == (
        *(resting["orderId"], "0.00400000", "0.00400000", taker["orderId"], -1),
        "BTCUSDT",
    )
    (match,) = ask(world, "GET /api/v3/myPreventedMatches", world.ana, symbol="BTCUSDT", orderId=taker["orderId"])
    assert (match["preventedMatchId"], match["makerOrderId"]) == (1, resting["orderId"])
    assert (match["selfTradePreventionMode"], match["makerPreventedQuantity"]) == ("DECREMENT", "0.00400000")
    assert refused(world, "GET /api/v3/myPreventedMatches", world.ana, symbol="BTCUSDT").code == -1128
