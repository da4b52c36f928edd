"""What a client asks for, as commands to the engine: checks everything that can be known without the book."""

import secrets
from typing import Final

from runtime.gateway import params
from runtime.gateway.errors import (
    BAD_CANCEL_RESTRICTIONS,
    BAD_ORDER_TYPE,
    BAD_SIDE,
    BAD_TIME_IN_FORCE,
    EMPTY_CLIENT_ORDER_ID,
    EMPTY_ORIGINAL_CLIENT_ORDER_ID,
    MANDATORY,
    NOT_REQUIRED,
    ONE_OF_TWO,
    ApiError,
)
from runtime.gateway.listings import Listing
from runtime.gateway.params import Parameter, Values
from runtime.shared.messages import (
    BUY,
    CANCEL_ANY,
    CANCEL_ONLY_NEW,
    CANCEL_ONLY_PARTIALLY_FILLED,
    FOK,
    GTC,
    IOC,
    LIMIT,
    LIMIT_MAKER,
    MARKET,
    SELL,
    STP_EXPIRE_BOTH,
    STP_EXPIRE_MAKER,
    STP_EXPIRE_TAKER,
    STP_NONE,
    CancelAll,
    CancelOrder,
    PlaceOrder,
)

SIDES: Final = {"BUY": BUY, "SELL": SELL}
TYPES: Final = {
    "LIMIT": LIMIT,
    "MARKET": MARKET,
    "LIMIT_MAKER": LIMIT_MAKER,
    "STOP_LOSS": None,
    "STOP_LOSS_LIMIT": None,
    "TAKE_PROFIT": None,
    "TAKE_PROFIT_LIMIT": None,
}
"""Order types; those that stand for None are documented but not built."""
TIMES_IN_FORCE: Final = {"GTC": GTC, "IOC": IOC, "FOK": FOK}
PREVENTIONS: Final = {
    "NONE": STP_NONE,
    "EXPIRE_TAKER": STP_EXPIRE_TAKER,
    "EXPIRE_MAKER": STP_EXPIRE_MAKER,
    "EXPIRE_BOTH": STP_EXPIRE_BOTH,
    "DECREMENT": None,
    "TRANSFER": None,
}
PREVENTION_DEFAULT: Final = "EXPIRE_MAKER"
RESTRICTIONS: Final = {"ONLY_NEW": CANCEL_ONLY_NEW, "ONLY_PARTIALLY_FILLED": CANCEL_ONLY_PARTIALLY_FILLED}
ACK: Final = 0
RESULT: Final = 1
FULL: Final = 2
RESPONSES: Final = {"ACK": ACK, "RESULT": RESULT, "FULL": FULL}

_GENERATED_BYTES: Final = 11
_NOT_BUILT: Final = (
    *("stopPrice", "trailingDelta", "icebergQty", "strategyId", "strategyType"),
    *("pegPriceType", "pegOffsetType", "pegOffsetValue"),
)

SYMBOL: Final = Parameter("symbol", params.symbol, is_mandatory=True)
NEW_ORDER: Final = (
    SYMBOL,
    Parameter("side", params.one_of(SIDES, BAD_SIDE), is_mandatory=True),
    Parameter("type", params.one_of(TYPES, BAD_ORDER_TYPE), is_mandatory=True),
    Parameter("timeInForce", params.one_of(TIMES_IN_FORCE, BAD_TIME_IN_FORCE)),
    Parameter("quantity", params.decimal),
    Parameter("quoteOrderQty", params.decimal),
    Parameter("price", params.decimal),
    Parameter("newClientOrderId", params.client_id, empty=EMPTY_CLIENT_ORDER_ID),
    Parameter("newOrderRespType", params.one_of(RESPONSES)),
    Parameter("selfTradePreventionMode", params.one_of(PREVENTIONS), default=PREVENTIONS[PREVENTION_DEFAULT]),
    *(Parameter(name, params.not_built) for name in _NOT_BUILT),
)
ONE_ORDER: Final = (
    SYMBOL,
    Parameter("orderId", params.long),
    Parameter("origClientOrderId", params.client_id, empty=EMPTY_ORIGINAL_CLIENT_ORDER_ID),
)
CANCEL: Final = (
    *ONE_ORDER,
    Parameter("newClientOrderId", params.client_id, empty=EMPTY_CLIENT_ORDER_ID),
    Parameter("cancelRestrictions", params.one_of(RESTRICTIONS, BAD_CANCEL_RESTRICTIONS)),
)


_REQUIRED: Final = {
    LIMIT: ("timeInForce", "quantity", "price"),
    LIMIT_MAKER: ("quantity", "price"),
    MARKET: (),
}
_FORBIDDEN: Final = {
    LIMIT: ("quoteOrderQty",),
    LIMIT_MAKER: ("quoteOrderQty", "timeInForce"),
    MARKET: ("price", "timeInForce"),
}


def new_order(values: Values, account: int) -> PlaceOrder:
    """Return the command for the parameters of NEW_ORDER. Raises the documented error of the first thing wrong."""
    listing: Listing = values["symbol"]
    order_type: int = values["type"]
    for name in _FORBIDDEN[order_type]:
        if name in values:
            raise NOT_REQUIRED.error(name)
    for name in _REQUIRED[order_type]:
        if name not in values:
            raise MANDATORY.error(name)
    price = quote_amount = 0
    if order_type == MARKET:
        lots, quote_amount = _market_quantity(values, listing)
    else:
        price = listing.ticks("price", values["price"])
        lots = listing.lots("quantity", values["quantity"], is_market=False)
        listing.check_notional(price * lots * listing.spec.quote_units)
    return PlaceOrder(
        account,
        listing.id,
        values["side"],
        order_type,
        values.get("timeInForce", GTC),
        price,
        lots,
        quote_amount,
        values.get("newClientOrderId") or new_client_order_id(),
        values["selfTradePreventionMode"],
    )


def _market_quantity(values: Values, listing: Listing) -> tuple[int, int]:
    """Return lots and quote amount, one of them 0."""
    if "quantity" in values:
        if "quoteOrderQty" in values:
            raise NOT_REQUIRED.error("quoteOrderQty")
        return listing.lots("quantity", values["quantity"], is_market=True), 0
    if "quoteOrderQty" not in values:
        raise ONE_OF_TWO.error("quantity", "quoteOrderQty")
    quote_amount = listing.quote_amount("quoteOrderQty", values["quoteOrderQty"])
    listing.check_notional(quote_amount)
    return 0, quote_amount


def response_type(values: Values) -> int:
    """Return ACK, RESULT or FULL: what was asked for, else FULL where an order may trade at once."""
    default = ACK if values["type"] == LIMIT_MAKER else FULL
    chosen: int = values.get("newOrderRespType", default)
    return chosen


def named_order(values: Values) -> tuple[int, str]:
    """Return which order the parameters of ONE_ORDER name: its id or 0, its client id or nothing."""
    order_id: int = values.get("orderId", 0)
    client_order_id: str = values.get("origClientOrderId", "")
    if not order_id and not client_order_id:
        raise _unnamed(values)
    return order_id, client_order_id


def _unnamed(values: Values) -> ApiError:
    if "orderId" in values:  # sent, but no order has the id 0
        return MANDATORY.error("orderId")
    return ONE_OF_TWO.error("origClientOrderId", "orderId")


def cancel_order(values: Values, account: int) -> CancelOrder:
    """Return the command for the parameters of CANCEL."""
    order_id, client_order_id = named_order(values)
    return CancelOrder(
        account,
        values["symbol"].id,
        order_id,
        client_order_id,
        values.get("newClientOrderId") or new_client_order_id(),
        values.get("cancelRestrictions", CANCEL_ANY),
    )


def cancel_all(values: Values, account: int) -> CancelAll:
    """Return the command that cancels every open order in a market."""
    return CancelAll(account, values["symbol"].id, new_client_order_id())


def new_client_order_id() -> str:
    """Return a random name for an order whose owner gave none."""
    return secrets.token_hex(_GENERATED_BYTES)
