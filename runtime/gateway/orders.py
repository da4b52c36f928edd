"""What a client asks for, as commands to the engine: checks everything that can be known without the book."""

import secrets
from itertools import count
from typing import Final

from runtime.gateway import params
from runtime.gateway.errors import (
    BAD_CANCEL_RESTRICTIONS,
    BAD_ORDER_TYPE,
    BAD_SIDE,
    BAD_TIME_IN_FORCE,
    EMPTY_CLIENT_ORDER_ID,
    EMPTY_ORIGINAL_CLIENT_ORDER_ID,
    FILTER_FAILURE,
    MANDATORY,
    NOT_REQUIRED,
    ONE_OF_TWO,
    ApiError,
)
from runtime.gateway.listings import Listing
from runtime.gateway.params import Parameter, Values
from runtime.shared.messages import (
    ALLOW_FAILURE,
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
    OCO,
    OTO,
    OTOCO,
    SELL,
    STOP_LOSS,
    STOP_LOSS_LIMIT,
    STOP_ON_FAILURE,
    STP_DECREMENT,
    STP_EXPIRE_BOTH,
    STP_EXPIRE_MAKER,
    STP_EXPIRE_TAKER,
    STP_NONE,
    STP_TRANSFER,
    TAKE_PROFIT,
    TAKE_PROFIT_LIMIT,
    AmendOrder,
    CancelAll,
    CancelList,
    CancelOrder,
    PlaceList,
    PlaceOrder,
    ReplaceOrder,
)

SIDES: Final = {"BUY": BUY, "SELL": SELL}
TYPES: Final = {
    "LIMIT": LIMIT,
    "MARKET": MARKET,
    "LIMIT_MAKER": LIMIT_MAKER,
    "STOP_LOSS": STOP_LOSS,
    "STOP_LOSS_LIMIT": STOP_LOSS_LIMIT,
    "TAKE_PROFIT": TAKE_PROFIT,
    "TAKE_PROFIT_LIMIT": TAKE_PROFIT_LIMIT,
}
TIMES_IN_FORCE: Final = {"GTC": GTC, "IOC": IOC, "FOK": FOK}
PREVENTIONS: Final = {
    "NONE": STP_NONE,
    "EXPIRE_TAKER": STP_EXPIRE_TAKER,
    "EXPIRE_MAKER": STP_EXPIRE_MAKER,
    "EXPIRE_BOTH": STP_EXPIRE_BOTH,
    "DECREMENT": STP_DECREMENT,
    "TRANSFER": STP_TRANSFER,
}
PREVENTION_DEFAULT: Final = "EXPIRE_MAKER"
RESTRICTIONS: Final = {"ONLY_NEW": CANCEL_ONLY_NEW, "ONLY_PARTIALLY_FILLED": CANCEL_ONLY_PARTIALLY_FILLED}
ACK: Final = 0
RESULT: Final = 1
FULL: Final = 2
RESPONSES: Final = {"ACK": ACK, "RESULT": RESULT, "FULL": FULL}

_OURS: Final = secrets.token_hex(6)
"""Begins every name that this process gives: drawn once, as randomness for each order costs two calls of the kernel."""
_numbers: Final = count(1)
_NOT_BUILT: Final = ("strategyId", "strategyType", "pegPriceType", "pegOffsetType", "pegOffsetValue")
REPLACE_MODES: Final = {"STOP_ON_FAILURE": STOP_ON_FAILURE, "ALLOW_FAILURE": ALLOW_FAILURE}
_ABOVE_BELOW: Final = {name: code for name, code in TYPES.items() if code not in (LIMIT, MARKET)}
_WORKING: Final = {name: code for name, code in TYPES.items() if code in (LIMIT, LIMIT_MAKER)}

_OF_ALL: Final = (
    Parameter("newOrderRespType", params.one_of(RESPONSES)),
    Parameter("selfTradePreventionMode", params.one_of(PREVENTIONS), default=PREVENTIONS[PREVENTION_DEFAULT]),
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
    Parameter("stopPrice", params.decimal),
    Parameter("trailingDelta", params.long),
    Parameter("icebergQty", params.decimal),
    Parameter("newClientOrderId", params.client_id, empty=EMPTY_CLIENT_ORDER_ID),
    *_OF_ALL,
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


REPLACE: Final = (
    *NEW_ORDER,
    Parameter("cancelReplaceMode", params.one_of(REPLACE_MODES), is_mandatory=True),
    Parameter("cancelOrderId", params.long),
    Parameter("cancelOrigClientOrderId", params.client_id, empty=EMPTY_ORIGINAL_CLIENT_ORDER_ID),
    Parameter("cancelNewClientOrderId", params.client_id, empty=EMPTY_CLIENT_ORDER_ID),
    Parameter("cancelRestrictions", params.one_of(RESTRICTIONS, BAD_CANCEL_RESTRICTIONS)),
    Parameter("orderRateLimitExceededMode", params.one_of({"DO_NOTHING": 0, "CANCEL_ONLY": None})),
)
AMEND: Final = (
    *ONE_ORDER,
    Parameter("newClientOrderId", params.client_id, empty=EMPTY_CLIENT_ORDER_ID),
    Parameter("newQty", params.decimal, is_mandatory=True),
)


def _leg(prefix: str, types: dict[str, int], *names: str) -> tuple[Parameter, ...]:
    """Declare the parameters of one order of a list, each under its name behind `prefix`."""
    readers: dict[str, params.Reader] = {
        "timeInForce": params.one_of(TIMES_IN_FORCE, BAD_TIME_IN_FORCE),
        "clientOrderId": params.client_id,
        "trailingDelta": params.long,
    }
    told = ("clientOrderId", "price", "timeInForce", "icebergQty", *names)
    return (
        Parameter(_named(prefix, "type"), params.one_of(types, BAD_ORDER_TYPE), is_mandatory=True),
        *(Parameter(_named(prefix, name), readers.get(name, params.decimal)) for name in told),
        *(Parameter(_named(prefix, name), params.not_built) for name in _NOT_BUILT),
    )


def _side_and_quantity(prefix: str) -> tuple[Parameter, ...]:
    return (
        Parameter(_named(prefix, "side"), params.one_of(SIDES, BAD_SIDE), is_mandatory=True),
        Parameter(_named(prefix, "quantity"), params.decimal, is_mandatory=True),
    )


def _named(prefix: str, name: str) -> str:
    return prefix + name[0].upper() + name[1:] if prefix else name


_LIST_ID: Final = Parameter("listClientOrderId", params.client_id)
_TRIGGER: Final = ("stopPrice", "trailingDelta")
_COMMON: Final = ("side", "quantity")
PLACE_OCO: Final = (
    *(SYMBOL, _LIST_ID, *_side_and_quantity("")),
    *_leg("above", _ABOVE_BELOW, *_TRIGGER),
    *_leg("below", _ABOVE_BELOW, *_TRIGGER),
    *_OF_ALL,
)
PLACE_OTO: Final = (
    *(SYMBOL, _LIST_ID, *_side_and_quantity("working"), *_side_and_quantity("pending")),
    *_leg("working", _WORKING),
    *_leg("pending", TYPES, *_TRIGGER),
    *_OF_ALL,
)
PLACE_OTOCO: Final = (
    *(SYMBOL, _LIST_ID, *_side_and_quantity("working"), *_side_and_quantity("pending")),
    *_leg("working", _WORKING),
    *_leg("pendingAbove", _ABOVE_BELOW, *_TRIGGER),
    *_leg("pendingBelow", _ABOVE_BELOW, *_TRIGGER),
    *_OF_ALL,
)
ONE_LIST: Final = (Parameter("orderListId", params.long), Parameter("origClientOrderId", params.client_id))
CANCEL_LIST: Final = (
    SYMBOL,
    Parameter("orderListId", params.long),
    Parameter("listClientOrderId", params.client_id),
    Parameter("newClientOrderId", params.client_id, empty=EMPTY_CLIENT_ORDER_ID),
)

_REQUIRED: Final = {
    LIMIT: ("timeInForce", "quantity", "price"),
    LIMIT_MAKER: ("quantity", "price"),
    MARKET: (),
    STOP_LOSS: ("quantity",),
    STOP_LOSS_LIMIT: ("timeInForce", "quantity", "price"),
    TAKE_PROFIT: ("quantity",),
    TAKE_PROFIT_LIMIT: ("timeInForce", "quantity", "price"),
}
_FORBIDDEN: Final = {
    LIMIT: ("quoteOrderQty", *_TRIGGER),
    LIMIT_MAKER: ("quoteOrderQty", "timeInForce", *_TRIGGER),
    MARKET: ("price", "timeInForce", "icebergQty", *_TRIGGER),
    STOP_LOSS: ("quoteOrderQty", "price", "timeInForce", "icebergQty"),
    STOP_LOSS_LIMIT: ("quoteOrderQty",),
    TAKE_PROFIT: ("quoteOrderQty", "price", "timeInForce", "icebergQty"),
    TAKE_PROFIT_LIMIT: ("quoteOrderQty",),
}


def new_order(values: Values, account: int) -> PlaceOrder:
    """Return the command for the parameters of NEW_ORDER. Raises the documented error of the first thing wrong."""
    return _order(values, account, values["symbol"], values.get("newClientOrderId", ""))


def _order(
    values: Values, account: int, listing: Listing, client_order_id: str, prefix: str = "", common: str = ""
) -> PlaceOrder:
    """Return the command for the parameters behind `prefix`; side and quantity are behind another, `common`."""
    own = values if not prefix else _of_leg(values, prefix, common)
    order_type: int = own["type"]
    for name in _FORBIDDEN[order_type]:
        if name in own:
            raise NOT_REQUIRED.error(_named(prefix, name))
    for name in _REQUIRED[order_type]:
        if name not in own:
            raise MANDATORY.error(_named(prefix, name))
    price = quote_amount = 0
    if order_type == MARKET:
        lots, quote_amount = _market_quantity(own, listing)
    elif "price" in own:
        price = listing.ticks(_named(prefix, "price"), own["price"])
        lots = listing.lots("quantity", own["quantity"], is_market=False)
        listing.check_notional(price * lots * listing.spec.quote_units)
    else:
        lots = listing.lots("quantity", own["quantity"], is_market=True)
    stop_price, trailing_delta = _trigger(own, prefix, order_type, listing)
    time_in_force = own.get("timeInForce", GTC)
    return PlaceOrder(
        account,
        listing.id,
        own["side"],
        order_type,
        time_in_force,
        price,
        lots,
        quote_amount,
        client_order_id or new_client_order_id(),
        values["selfTradePreventionMode"],
        stop_price,
        trailing_delta,
        _iceberg(own, prefix, listing, lots, time_in_force),
    )


_OF_LEG: Final = ("type", "price", "timeInForce", "icebergQty", *_TRIGGER)


def _of_leg(values: Values, prefix: str, common: str) -> Values:
    """Return the parameters of one order of a list under the names that they have for an order alone."""
    named = {name: _named(prefix, name) for name in _OF_LEG} | {name: _named(common, name) for name in _COMMON}
    return {name: values[sent] for name, sent in named.items() if sent in values}


def _trigger(own: Values, prefix: str, order_type: int, listing: Listing) -> tuple[int, int]:
    """Return stop price and trailing delta; both are 0 for an order without a trigger."""
    if order_type < STOP_LOSS:
        return 0, 0
    if "stopPrice" not in own and "trailingDelta" not in own:
        raise ONE_OF_TWO.error(_named(prefix, "stopPrice"), _named(prefix, "trailingDelta"))
    stop_price = listing.ticks(_named(prefix, "stopPrice"), own["stopPrice"]) if "stopPrice" in own else 0
    if "trailingDelta" not in own:
        return stop_price, 0
    spec = listing.spec
    if not spec.trailing_min <= own["trailingDelta"] <= spec.trailing_max:
        raise FILTER_FAILURE.error("TRAILING_DELTA")
    return stop_price, own["trailingDelta"]


def _iceberg(own: Values, prefix: str, listing: Listing, lots: int, time_in_force: int) -> int:
    """Return the lots that show at a time, 0 for all."""
    if "icebergQty" not in own:
        return 0
    shown = listing.lots(_named(prefix, "icebergQty"), own["icebergQty"], is_market=False)
    if time_in_force != GTC:
        raise NOT_REQUIRED.error(_named(prefix, "icebergQty"))
    if shown > lots:
        raise FILTER_FAILURE.error("LOT_SIZE")
    if -(-lots // shown) > listing.spec.iceberg_parts_max:
        raise FILTER_FAILURE.error("ICEBERG_PARTS")
    return shown


def place_oco(values: Values, account: int) -> PlaceList:
    """Return the command for the parameters of PLACE_OCO."""
    return _list(values, account, OCO, [("above", ""), ("below", "")])


def place_oto(values: Values, account: int) -> PlaceList:
    """Return the command for the parameters of PLACE_OTO."""
    return _list(values, account, OTO, [("working", "working"), ("pending", "pending")])


def place_otoco(values: Values, account: int) -> PlaceList:
    """Return the command for the parameters of PLACE_OTOCO."""
    legs = [("working", "working"), ("pendingAbove", "pending"), ("pendingBelow", "pending")]
    return _list(values, account, OTOCO, legs)


def _list(values: Values, account: int, kind: int, legs: list[tuple[str, str]]) -> PlaceList:
    """Return the command for a list whose orders are behind these prefixes, their side and quantity behind others."""
    listing: Listing = values["symbol"]
    return PlaceList(
        account,
        listing.id,
        kind,
        values.get("listClientOrderId") or new_client_order_id(),
        [
            _order(values, account, listing, values.get(_named(prefix, "clientOrderId"), ""), prefix, common)
            for prefix, common in legs
        ],
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


def amend_order(values: Values, account: int) -> AmendOrder:
    """Return the command for the parameters of AMEND."""
    listing: Listing = values["symbol"]
    order_id, client_order_id = named_order(values)
    lots = listing.lots("newQty", values["newQty"], is_market=False)
    return AmendOrder(account, listing.id, order_id, client_order_id, lots, values.get("newClientOrderId", ""))


def replace_order(values: Values, account: int) -> ReplaceOrder:
    """Return the command for the parameters of REPLACE."""
    order_id: int = values.get("cancelOrderId", 0)
    client_order_id: str = values.get("cancelOrigClientOrderId", "")
    if not order_id and not client_order_id:
        raise ONE_OF_TWO.error("cancelOrigClientOrderId", "cancelOrderId")
    cancel = CancelOrder(
        account,
        values["symbol"].id,
        order_id,
        client_order_id,
        values.get("cancelNewClientOrderId") or new_client_order_id(),
        values.get("cancelRestrictions", CANCEL_ANY),
    )
    return ReplaceOrder(cancel, new_order(values, account), values["cancelReplaceMode"])


def cancel_list(values: Values, account: int) -> CancelList:
    """Return the command for the parameters of CANCEL_LIST."""
    list_id: int = values.get("orderListId", 0)
    client_list_id: str = values.get("listClientOrderId", "")
    if not list_id and not client_list_id:
        raise ONE_OF_TWO.error("orderListId", "listClientOrderId")
    cancel_id = values.get("newClientOrderId") or new_client_order_id()
    return CancelList(account, values["symbol"].id, list_id, client_list_id, cancel_id)


def response_type(values: Values) -> int:
    """Return ACK, RESULT or FULL: what was asked for, else FULL where an order may trade at once."""
    default = FULL if values["type"] in (LIMIT, MARKET) else ACK
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
    """Return a name that no other order has, for one whose owner gave none: 22 hex digits."""
    return f"{_OURS}{next(_numbers):010x}"
