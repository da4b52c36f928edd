"""Answers to what an account does and asks with its orders."""

from typing import Final

from msgspec import Struct

from runtime.gateway import orders, views
from runtime.gateway.dispatch import Call, Exchange
from runtime.gateway.errors import (
    BAD_COMBINATION,
    CLIENT_ORDER_ID_MISMATCH,
    INTERVAL_TOO_LONG,
    NO_SUCH_ORDER,
    UNEXPECTED_RESPONSE,
    cancel_refused,
    place_refused,
)
from runtime.gateway.listings import Listing
from runtime.gateway.params import Values
from runtime.shared.engine_link import EngineBusyError
from runtime.shared.messages import (
    AskOpenOrders,
    CancelAll,
    CancelOrder,
    OpenOrders,
    OrderPlaced,
    OrdersCanceled,
    Rejected,
    Replied,
)

ALL_MARKETS: Final = -1
SPAN_HOURS_MAX: Final = 24
_HOUR_US: Final = 3_600_000_000
_TRADE_FILTERS: Final = frozenset(
    [
        frozenset[str](),
        frozenset(["orderId"]),
        frozenset(["startTime"]),
        frozenset(["endTime"]),
        frozenset(["fromId"]),
        frozenset(["startTime", "endTime"]),
        frozenset(["orderId", "fromId"]),
    ]
)
"""Combinations of optional parameters that myTrades takes."""


async def place(exchange: Exchange, call: Call) -> bytes:
    """Place an order and answer as ACK, RESULT or FULL."""
    key = call.owner
    command = orders.new_order(call.values, key.account)
    limiter = exchange.limiter
    call.check_fresh()
    call.order_counts = limiter.count_order(key.account, key.tier)
    try:
        replied = await exchange.engine.send(command)
    except EngineBusyError:
        limiter.forget_order(key.account)
        raise
    reply = replied.reply
    if isinstance(reply, OrderPlaced):
        if reply.fills:
            call.order_counts = limiter.forget_order(key.account)
        response = orders.response_type(call.values)
        return views.placed(exchange.listings, reply, replied.time_us, response, call.unit)
    limiter.forget_order(key.account)
    raise place_refused(reply) if isinstance(reply, Rejected) else UNEXPECTED_RESPONSE.error()


async def test(exchange: Exchange, call: Call) -> bytes:
    """Check an order as far as this can be done without the engine, and answer nothing, or its commission rates."""
    orders.new_order(call.values, call.owner.account)
    if not call.values["computeCommissionRates"]:
        return b"{}"
    tier = exchange.limiter.tier(call.owner.tier)
    rates = {"maker": views.rate_text(tier.maker_ppm), "taker": views.rate_text(tier.taker_ppm)}
    none = {"maker": views.rate_text(0), "taker": views.rate_text(0)}
    return views.encode(
        {
            "standardCommissionForOrder": rates,
            "specialCommissionForOrder": none,
            "taxCommissionForOrder": none,
            "discount": {
                "enabledForAccount": False,
                "enabledForSymbol": False,
                "discountAsset": None,
                "discount": views.rate_text(0),
            },
        }
    )


async def cancel(exchange: Exchange, call: Call) -> bytes:
    """Cancel one order."""
    command = orders.cancel_order(call.values, call.owner.account)
    replied = await _cancel(exchange, call, command)
    return views.encode(_canceled(exchange, replied, command.cancel_id, call.unit)[0])


async def cancel_all(exchange: Exchange, call: Call) -> bytes:
    """Cancel every open order of the account in one market."""
    command = orders.cancel_all(call.values, call.owner.account)
    replied = await _cancel(exchange, call, command)
    return views.encode(_canceled(exchange, replied, command.cancel_id, call.unit))


async def _cancel(exchange: Exchange, call: Call, command: CancelOrder | CancelAll) -> Replied:
    call.check_fresh()
    replied = await exchange.engine.send(command)
    if isinstance(replied.reply, Rejected):
        raise cancel_refused(replied.reply)
    return replied


def _canceled(exchange: Exchange, replied: Replied, cancel_id: str, unit: int) -> list[Struct]:
    if not isinstance(replied.reply, OrdersCanceled):
        raise UNEXPECTED_RESPONSE.error()
    return [
        views.canceled(exchange.listings, order, cancel_id, replied.time_us, unit) for order in replied.reply.orders
    ]


async def status(exchange: Exchange, call: Call) -> bytes:
    """Answer one order, open or closed."""
    order_id, client_order_id = orders.named_order(call.values)
    order = await exchange.history.order(call.owner.account, call.values["symbol"].id, order_id, client_order_id)
    if order is None:
        raise NO_SUCH_ORDER.error()
    if client_order_id and order.client_order_id != client_order_id:
        raise CLIENT_ORDER_ID_MISMATCH.error()
    return views.encode(views.order_view(exchange.listings, order, call.unit))


async def open_orders(exchange: Exchange, call: Call) -> bytes:
    """Answer the account's orders on the book, of one market or of all."""
    listing: Listing | None = call.values.get("symbol")
    question = AskOpenOrders(call.owner.account, listing.id if listing else ALL_MARKETS)
    answer = (await exchange.engine.ask(question)).answer
    found = answer.orders if isinstance(answer, OpenOrders) else []
    return views.encode([views.order_view(exchange.listings, order, call.unit) for order in found])


async def all_orders(exchange: Exchange, call: Call) -> bytes:
    """Answer the account's orders in one market, oldest first."""
    values = call.values
    _check_span(values)
    found = await exchange.history.orders(
        call.owner.account,
        values["symbol"].id,
        order_id=values.get("orderId"),
        start_us=values.get("startTime"),
        end_us=values.get("endTime"),
        limit=values["limit"],
    )
    return views.encode([views.order_view(exchange.listings, order, call.unit) for order in found])


async def my_trades(exchange: Exchange, call: Call) -> bytes:
    """Answer the account's fills in one market, oldest first."""
    values = call.values
    if frozenset(values.keys() - {"symbol", "limit"}) not in _TRADE_FILTERS:
        raise BAD_COMBINATION.error()
    _check_span(values)
    listing: Listing = values["symbol"]
    found = await exchange.history.trades(
        call.owner.account,
        listing.id,
        from_id=values.get("fromId"),
        order_id=values.get("orderId"),
        start_us=values.get("startTime"),
        end_us=values.get("endTime"),
        limit=values["limit"],
    )
    return views.encode([views.account_trade(listing, trade, call.unit) for trade in found])


def _check_span(values: Values) -> None:
    if "startTime" not in values or "endTime" not in values:
        return
    span_us = values["endTime"] - values["startTime"]
    if span_us < 0:
        raise BAD_COMBINATION.error()
    if span_us > SPAN_HOURS_MAX * _HOUR_US:
        raise INTERVAL_TOO_LONG.error(SPAN_HOURS_MAX)
