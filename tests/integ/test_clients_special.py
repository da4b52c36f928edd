"""Stops, lists and changes of orders by unmodified clients against a running exchange, with values compared."""

from collections.abc import Iterator
from decimal import ROUND_DOWN, Decimal
from typing import Any

import ccxt
import pytest
from binance_common.errors import BadRequestError

from tests.integ.test_clients import SYMBOL, account, ask, best_bid, clean, far_below
from tests.integ.test_clients_ccxt import PAIR, settings
from tests.integ.test_clients_sdk import rest

pytestmark = pytest.mark.integ


@pytest.fixture
def exchange() -> Iterator[Any]:
    clean(0)
    client = ccxt.binance(settings(0))
    client.load_markets()
    yield client
    clean(0)


def share_of_best(percent: int) -> float:
    """Return a price on a tick, at so many percent of the best bid."""
    return float((best_bid() * percent / 100).quantize(Decimal("0.01"), ROUND_DOWN))


def locked(asset: str) -> Decimal:
    balances = ask("GET", "/api/v3/account", keys=account(0))[2]["balances"]
    return next(Decimal(each["locked"]) for each in balances if each["asset"] == asset)


def test_ccxt_stop_orders(exchange: Any) -> None:
    stop, limit = share_of_best(80), share_of_best(79)
    placed = exchange.create_order(PAIR, "limit", "sell", 0.01, limit, {"stopLossPrice": stop})
    found = exchange.fetch_order(placed["id"], PAIR)
    assert (found["status"], found["info"]["type"], found["price"], found["stopPrice"]) == (
        "open",
        "STOP_LOSS_LIMIT",
        limit,
        stop,
    )
    assert (found["amount"], found["filled"]) == (0.01, 0.0)
    assert locked("BTC") == Decimal("0.01")
    market = exchange.create_order(PAIR, "market", "sell", 0.002, None, {"stopLossPrice": stop})
    assert {each["id"] for each in exchange.fetch_open_orders(PAIR)} == {placed["id"], market["id"]}
    with pytest.raises(ccxt.OrderImmediatelyFillable):
        exchange.create_order(PAIR, "market", "sell", 0.002, None, {"stopLossPrice": share_of_best(120)})
    profit = exchange.create_order(
        PAIR, "limit", "sell", 0.003, share_of_best(119), {"takeProfitPrice": share_of_best(120)}
    )
    assert exchange.fetch_order(profit["id"], PAIR)["info"]["type"] == "TAKE_PROFIT_LIMIT"
    trailing = exchange.create_order(
        PAIR, "market", "sell", 0.004, None, {"trailingPercent": 5, "stopLossOrTakeProfit": "stopLoss"}
    )
    info = exchange.fetch_order(trailing["id"], PAIR)["info"]
    assert (int(info["trailingDelta"]), info["isWorking"]) == (500, False)
    exchange.cancel_all_orders(PAIR)
    assert (exchange.fetch_open_orders(PAIR), locked("BTC")) == ([], 0)


def test_ccxt_edit_order(exchange: Any) -> None:
    price, lower = float(far_below()), share_of_best(45)
    placed = exchange.create_order(PAIR, "limit", "buy", 0.01, price)
    edited = exchange.edit_order(placed["id"], PAIR, "limit", "buy", 0.02, lower)
    assert edited["id"] != placed["id"]
    assert exchange.fetch_order(placed["id"], PAIR)["status"] == "canceled"
    found = exchange.fetch_order(edited["id"], PAIR)
    assert (found["status"], found["price"], found["amount"]) == ("open", lower, 0.02)
    with pytest.raises(ccxt.ExchangeError):
        exchange.edit_order(placed["id"], PAIR, "limit", "buy", 0.02, lower)


def test_sdk_oco() -> None:
    clean(0)
    client = rest(0)
    above, stop, below = share_of_best(130), share_of_best(75), share_of_best(74)
    placed = client.order_list_oco(
        symbol=SYMBOL,
        side="SELL",
        quantity=0.01,
        above_type="LIMIT_MAKER",
        above_price=above,
        below_type="STOP_LOSS_LIMIT",
        below_stop_price=stop,
        below_price=below,
        below_time_in_force="GTC",
    ).data()
    assert (placed.contingency_type, placed.list_order_status, len(placed.orders)) == ("OCO", "EXECUTING", 2)
    assert [(each.type, Decimal(each.price)) for each in placed.order_reports] == [
        ("LIMIT_MAKER", Decimal(str(above))),
        ("STOP_LOSS_LIMIT", Decimal(str(below))),
    ]
    assert locked("BTC") == Decimal("0.01")
    found = client.get_order_list(order_list_id=placed.order_list_id).data()
    assert [each.order_id for each in found.orders] == [each.order_id for each in placed.orders]
    assert [each.order_list_id for each in client.open_order_list().data()] == [placed.order_list_id]
    with pytest.raises(BadRequestError) as caught:
        client.order_list_oco(
            symbol=SYMBOL,
            side="SELL",
            quantity=0.01,
            above_type="LIMIT_MAKER",
            above_price=below,
            below_type="STOP_LOSS",
            below_stop_price=stop,
        )
    assert caught.value.error_message == "The relationship of the prices for the orders is not correct."
    canceled = client.delete_order_list(symbol=SYMBOL, order_list_id=placed.order_list_id).data()
    assert (canceled.list_order_status, [each.status for each in canceled.order_reports]) == (
        "ALL_DONE",
        ["CANCELED", "CANCELED"],
    )
    assert locked("BTC") == 0


def test_sdk_amend_and_otoco() -> None:
    clean(0)
    client = rest(0)
    price = float(far_below())
    resting = client.new_order(
        symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=price
    ).data()
    amended = client.order_amend_keep_priority(symbol=SYMBOL, order_id=resting.order_id, new_qty=0.004).data()
    assert (amended.amended_order.order_id, Decimal(amended.amended_order.qty)) == (resting.order_id, Decimal("0.004"))
    assert Decimal(client.get_order(symbol=SYMBOL, order_id=resting.order_id).data().orig_qty) == Decimal("0.004")
    client.delete_order(symbol=SYMBOL, order_id=resting.order_id)
    placed = client.order_list_otoco(
        symbol=SYMBOL,
        working_type="LIMIT",
        working_side="BUY",
        working_price=float((best_bid() * 101 / 100).quantize(Decimal("0.01"), ROUND_DOWN)),
        working_quantity=0.001,
        working_time_in_force="FOK",
        pending_side="SELL",
        pending_quantity=0.001,
        pending_above_type="LIMIT_MAKER",
        pending_above_price=share_of_best(140),
        pending_below_type="STOP_LOSS",
        pending_below_stop_price=share_of_best(60),
    ).data()
    statuses = {
        each.order_id: client.get_order(symbol=SYMBOL, order_id=each.order_id).data().status for each in placed.orders
    }
    assert list(statuses.values()) == ["FILLED", "NEW", "NEW"]
    assert locked("BTC") == Decimal("0.001")
    clean(0)
    assert locked("BTC") == 0
