"""Orders: from parameters to commands in ticks and lots, with the static filters in the documented words."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.markets import CATALOGUE
from runtime.engine.book import BookOrder
from runtime.engine.market import Spec
from runtime.engine.rules import refuse_order
from runtime.gateway import orders
from runtime.gateway.endpoints import METHODS
from runtime.gateway.errors import ApiError
from runtime.gateway.listings import Listings
from runtime.shared.messages import (
    BUY,
    CANCEL_ONLY_NEW,
    GTC,
    IOC,
    LIMIT,
    LIMIT_MAKER,
    MARKET,
    RULES_NEWEST,
    SELL,
    STP_EXPIRE_MAKER,
    STP_NONE,
    PlaceOrder,
)

LISTINGS = Listings(CATALOGUE)
ACCOUNT = 1000
BASE = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": "60000"}


def new_order(**changes: str | None) -> PlaceOrder:
    sent = {name: value for name, value in {**BASE, **changes}.items() if value is not None}
    return orders.new_order(METHODS["order.place"].parameters.read(sent, LISTINGS), ACCOUNT)


def market(**changes: str | None) -> PlaceOrder:
    return new_order(**({"type": "MARKET", "timeInForce": None, "price": None} | changes))


def refused(call: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        call()
    return caught.value


def test_a_limit_order() -> None:
    placed = new_order(newClientOrderId="mine", side="SELL", timeInForce="IOC", selfTradePreventionMode="NONE")
    assert placed == PlaceOrder(ACCOUNT, 1, SELL, LIMIT, IOC, 6_000_000, 1_000, 0, "mine", STP_NONE)


def test_defaults() -> None:
    first, second = new_order(), new_order()
    assert (first.side, first.time_in_force, first.stp) == (BUY, GTC, STP_EXPIRE_MAKER)
    assert first.client_order_id != second.client_order_id
    assert 1 <= len(first.client_order_id) <= 36


def test_market_and_post_only_orders() -> None:
    assert (market().order_type, market().lots, market().price, market().quote_amount) == (MARKET, 1_000, 0, 0)
    by_amount = market(quantity=None, quoteOrderQty="100.5")
    assert (by_amount.lots, by_amount.quote_amount) == (0, 10_050_000_000)
    assert new_order(type="LIMIT_MAKER", timeInForce=None).order_type == LIMIT_MAKER


AS_MARKET: dict[str, str | None] = {"type": "MARKET", "price": None, "timeInForce": None}
BY_AMOUNT = AS_MARKET | {"quantity": None}
MANDATORY = "Mandatory parameter '%s' was not sent, was empty/null, or malformed."
NOT_REQUIRED = "Parameter '%s' sent when not required."
PRECISION = "Parameter '%s' has too much precision."
FILTER = "Filter failure: %s"


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"timeInForce": None}, -1102, MANDATORY % "timeInForce"),
        ({"quantity": None}, -1102, MANDATORY % "quantity"),
        ({"price": None}, -1102, MANDATORY % "price"),
        ({"quoteOrderQty": "5"}, -1106, NOT_REQUIRED % "quoteOrderQty"),
        ({"type": "LIMIT_MAKER"}, -1106, NOT_REQUIRED % "timeInForce"),
        (AS_MARKET | {"price": "1"}, -1106, NOT_REQUIRED % "price"),
        (AS_MARKET | {"timeInForce": "GTC"}, -1106, NOT_REQUIRED % "timeInForce"),
        (AS_MARKET | {"quoteOrderQty": "5"}, -1106, NOT_REQUIRED % "quoteOrderQty"),
        (BY_AMOUNT, -1102, "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!"),
        ({"price": "60000.001"}, -1013, FILTER % "PRICE_FILTER"),
        ({"price": "0"}, -1013, FILTER % "PRICE_FILTER"),
        ({"price": "1000000.01"}, -1013, FILTER % "PRICE_FILTER"),
        ({"price": "60000.123456789"}, -1111, PRECISION % "price"),
        ({"quantity": "0.000001"}, -1013, FILTER % "LOT_SIZE"),
        ({"quantity": "0"}, -1013, FILTER % "LOT_SIZE"),
        ({"quantity": "0.010001"}, -1013, FILTER % "LOT_SIZE"),
        ({"quantity": "9000.00001"}, -1013, FILTER % "LOT_SIZE"),
        ({"quantity": "0.000000001"}, -1111, PRECISION % "quantity"),
        ({"quantity": "0.00001", "price": "1"}, -1013, FILTER % "NOTIONAL"),
        ({"quantity": "9000", "price": "1000000"}, -1013, FILTER % "NOTIONAL"),
        (AS_MARKET | {"quantity": "150.00001"}, -1013, FILTER % "MARKET_LOT_SIZE"),
        (BY_AMOUNT | {"quoteOrderQty": "4.99"}, -1013, FILTER % "NOTIONAL"),
        (BY_AMOUNT | {"quoteOrderQty": "5.000000001"}, -1111, PRECISION % "quoteOrderQty"),
    ],
)
def test_filters_and_combinations(changes: dict[str, str | None], code: int, text: str) -> None:
    error = refused(lambda: new_order(**changes))
    assert (error.code, error.text) == (code, text)


def test_trailing_zeros_are_not_precision() -> None:
    assert new_order(price="60000.0000000000", quantity="0.0100000000000").price == 6_000_000


def taken_or_code(symbol: str, price: str, quantity: str) -> PlaceOrder | int:
    try:
        return new_order(symbol=symbol, price=price, quantity=quantity)
    except ApiError as error:
        return error.code


@given(
    st.sampled_from(sorted(LISTINGS.by_symbol)),
    st.decimals(0, 10**7, places=3, allow_nan=False),
    st.decimals(0, 20, places=6, allow_nan=False),
)
def test_what_the_gateway_takes_the_engine_takes_and_money_is_exact(
    symbol: str, price: Decimal, quantity: Decimal
) -> None:
    listing = LISTINGS.by_symbol[symbol]
    command = taken_or_code(symbol, f"{price:f}", f"{quantity:f}")
    if not isinstance(command, PlaceOrder):
        assert command == -1013  # never too much precision with so few digits
        return
    assert refuse_order(command, BookOrder(1, command, 0), Spec(listing.spec), 0, 0, RULES_NEWEST) is None
    assert Decimal(listing.price_text(command.price)) == price
    assert Decimal(listing.quantity_text(command.lots)) == quantity
    notional = listing.quote_text(command.price * command.lots * listing.spec.quote_units)
    assert Decimal(notional) == price * quantity


def test_which_order_is_meant() -> None:
    read = METHODS["order.cancel"].parameters.read
    values = read({"symbol": "BTCUSDT", "orderId": "5", "cancelRestrictions": "ONLY_NEW"}, LISTINGS)
    command = orders.cancel_order(values, ACCOUNT)
    assert (command.order_id, command.client_order_id, command.restriction) == (5, "", CANCEL_ONLY_NEW)
    assert command.cancel_id
    values = read({"symbol": "BTCUSDT", "origClientOrderId": "mine", "newClientOrderId": "bye"}, LISTINGS)
    assert orders.cancel_order(values, ACCOUNT).cancel_id == "bye"
    error = refused(lambda: orders.cancel_order(read({"symbol": "BTCUSDT"}, LISTINGS), ACCOUNT))
    assert error.text == "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!"
    assert refused(lambda: read({"symbol": "BTCUSDT", "cancelRestrictions": "ANY"}, LISTINGS)).code == -1145
