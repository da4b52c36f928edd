"""Answers to what an account does and asks with its orders."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from runtime.gateway import orders, views
from runtime.gateway.dispatch import Call, Exchange, Sending
from runtime.gateway.errors import (
    BAD_COMBINATION,
    CLIENT_ORDER_ID_MISMATCH,
    INTERVAL_TOO_LONG,
    NO_SUCH_LIST,
    NO_SUCH_ORDER,
    ONE_OF_TWO,
    REPLACE_FAILED,
    REPLACE_PARTIALLY_FAILED,
    UNEXPECTED_RESPONSE,
    Fault,
    amend_refused,
    cancel_refused,
    place_refused,
)
from runtime.gateway.listings import Listing
from runtime.gateway.params import Values
from runtime.gateway.user_data import INDEX_BITS
from runtime.shared.messages import (
    AskLists,
    AskOpenOrders,
    ListPlaced,
    OpenLists,
    OpenOrders,
    OrderAmended,
    OrderList,
    OrderPlaced,
    OrderReplaced,
    OrdersCanceled,
    PlaceList,
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


def place(_exchange: Exchange, call: Call) -> Sending:
    """Place an order and answer as ACK, RESULT or FULL."""
    return Sending(orders.new_order(call.values, call.owner.account), _placed, new_orders=1)


def _placed(exchange: Exchange, call: Call, replied: Replied) -> bytes:
    reply = replied.reply
    if isinstance(reply, OrderPlaced):
        response = orders.response_type(call.values)
        return views.encode(views.placed(exchange.listings, reply, replied.time_us, response, call.unit))
    raise place_refused(reply) if isinstance(reply, Rejected) else UNEXPECTED_RESPONSE.error()


async def test(exchange: Exchange, call: Call) -> bytes:
    """Check an order as far as this can be done without the engine, and answer nothing, or its commission rates."""
    orders.new_order(call.values, call.owner.account)
    if not call.values["computeCommissionRates"]:
        return b"{}"
    return views.encode(views.order_commission(exchange.limiter.tier(call.owner.tier)))


def cancel(_exchange: Exchange, call: Call) -> Sending:
    """Cancel one order."""
    command = orders.cancel_order(call.values, call.owner.account)

    def answer(exchange: Exchange, call: Call, replied: Replied) -> bytes:
        order = _canceled(replied).orders[0]
        return views.encode(views.canceled(exchange.listings, order, command.cancel_id, replied.time_us, call.unit))

    return Sending(command, answer)


def cancel_all(_exchange: Exchange, call: Call) -> Sending:
    """Cancel every open order of the account in one market."""
    command = orders.cancel_all(call.values, call.owner.account)

    def answer(exchange: Exchange, call: Call, replied: Replied) -> bytes:
        reply = _canceled(replied)
        of_lists = {order_id for placed in reply.lists for order_id, _ in placed.orders}
        told: list[Any] = [
            views.canceled(exchange.listings, order, command.cancel_id, replied.time_us, call.unit)
            for order in reply.orders
            if order.order_id not in of_lists
        ]
        told += [
            _canceled_list(exchange, replied, reply, placed, command.cancel_id, call.unit) for placed in reply.lists
        ]
        return views.encode(told)

    return Sending(command, answer)


def _canceled_list(
    exchange: Exchange, replied: Replied, reply: OrdersCanceled, placed: OrderList, cancel_id: str, unit: int
) -> views.OrderListView:
    """Return a list that was canceled, with the reports of its orders."""
    own = {order_id for order_id, _ in placed.orders}
    reports = [
        views.canceled(exchange.listings, order, cancel_id, replied.time_us, unit)
        for order in reply.orders
        if order.order_id in own
    ]
    shown = views.order_list(exchange.listings, placed, replied.time_us, unit)
    shown.order_reports = reports
    return shown


def cancel_list(_exchange: Exchange, call: Call) -> Sending:
    """Cancel a list of orders."""
    command = orders.cancel_list(call.values, call.owner.account)

    def answer(exchange: Exchange, call: Call, replied: Replied) -> bytes:
        reply = _canceled(replied)
        return views.encode(_canceled_list(exchange, replied, reply, reply.lists[0], command.cancel_id, call.unit))

    return Sending(command, answer)


class Replaced(Struct, rename="camel"):
    """What became of a cancelReplace: each half done, failed with an error, or not attempted."""

    cancel_result: str = "SUCCESS"
    new_order_result: str = "NOT_ATTEMPTED"
    cancel_response: views.CanceledOrRefused | None = None
    new_order_response: views.PlacedOrRefused | None = None


def replace(_exchange: Exchange, call: Call) -> Sending:
    """Cancel one order and place another; answer 409 when only one of the two was done."""
    command = orders.replace_order(call.values, call.owner.account)

    def answer(exchange: Exchange, call: Call, replied: Replied) -> bytes:
        if not isinstance(replied.reply, OrderReplaced):
            raise UNEXPECTED_RESPONSE.error()
        told, fault = _replaced(exchange, call, replied.reply, replied.time_us, command.cancel.cancel_id)
        if fault is None:
            return views.encode(told)
        error = fault.error()
        error.data = msgspec.Raw(views.encode(told))
        raise error

    return Sending(command, answer, new_orders=1)


def _replaced(
    exchange: Exchange, call: Call, reply: OrderReplaced, time_us: int, cancel_id: str
) -> tuple[Replaced, Fault | None]:
    """Return what became of both halves, and the error that this is, if it is one."""
    told = Replaced()
    if isinstance(reply.canceled, Rejected):
        told.cancel_result = "FAILURE"
        told.cancel_response = cancel_refused(reply.canceled).view()
    else:
        told.cancel_response = views.canceled(
            exchange.listings, reply.canceled.orders[0], cancel_id, time_us, call.unit
        )
    if isinstance(reply.placed, Rejected):
        told.new_order_result = "FAILURE"
        told.new_order_response = place_refused(reply.placed).view()
    elif reply.placed is not None:
        response = orders.response_type(call.values)
        told.new_order_result = "SUCCESS"
        told.new_order_response = views.placed(exchange.listings, reply.placed, time_us, response, call.unit)
    done = not isinstance(reply.canceled, Rejected), isinstance(reply.placed, OrderPlaced)
    return told, None if all(done) else REPLACE_PARTIALLY_FAILED if any(done) else REPLACE_FAILED


def amend(_exchange: Exchange, call: Call) -> Sending:
    """Make an order smaller; it keeps its place."""
    return Sending(orders.amend_order(call.values, call.owner.account), _amended)


def _amended(exchange: Exchange, call: Call, replied: Replied) -> bytes:
    if isinstance(replied.reply, Rejected):
        raise amend_refused(replied.reply)
    if not isinstance(replied.reply, OrderAmended):
        raise UNEXPECTED_RESPONSE.error()
    execution_id = replied.sequence << INDEX_BITS
    return views.amended(exchange.listings, replied.reply, replied.time_us, execution_id, call.unit)


def place_list(read: Callable[[Values, int], PlaceList]) -> Callable[[Exchange, Call], Sending]:
    """Return what places the list that `read` makes of the parameters."""

    def place_this_list(_exchange: Exchange, call: Call) -> Sending:
        """Place a list of orders, as a whole or not at all."""
        command = read(call.values, call.owner.account)
        return Sending(command, _placed_list, new_orders=len(command.orders))

    return place_this_list


def _placed_list(exchange: Exchange, call: Call, replied: Replied) -> bytes:
    reply = replied.reply
    if not isinstance(reply, ListPlaced):
        raise place_refused(reply) if isinstance(reply, Rejected) else UNEXPECTED_RESPONSE.error()
    response = call.values.get("newOrderRespType", orders.RESULT)
    reports = [views.placed(exchange.listings, each, replied.time_us, response, call.unit) for each in reply.orders]
    shown = views.order_list(exchange.listings, reply.order_list, replied.time_us, call.unit)
    shown.order_reports = reports
    return views.encode(shown)


async def list_status(exchange: Exchange, call: Call) -> bytes:
    """Answer one list, open or done."""
    list_id: int = call.values.get("orderListId", 0)
    client_list_id: str = call.values.get("origClientOrderId", "")
    if not list_id and not client_list_id:
        raise ONE_OF_TWO.error("orderListId", "origClientOrderId")
    found = await exchange.history.order_list(call.owner.account, list_id, client_list_id)
    if found is None or found.market not in exchange.listings.by_id:
        raise NO_SUCH_LIST.error()
    return views.encode(views.order_list(exchange.listings, found, found.updated_us, call.unit))


async def all_lists(exchange: Exchange, call: Call) -> bytes:
    """Answer the account's lists, oldest first."""
    values = call.values
    if "fromId" in values and ("startTime" in values or "endTime" in values):
        raise BAD_COMBINATION.error()
    _check_span(values)
    found = await exchange.history.order_lists(
        call.owner.account,
        from_id=values.get("fromId"),
        start_us=values.get("startTime"),
        end_us=values.get("endTime"),
        limit=values["limit"],
    )
    return _lists(exchange, found, call.unit)


async def open_lists(exchange: Exchange, call: Call) -> bytes:
    """Answer the account's lists that are not done."""
    answer = (await exchange.engine.ask(AskLists(call.owner.account))).answer
    return _lists(exchange, answer.lists if isinstance(answer, OpenLists) else [], call.unit)


def _lists(exchange: Exchange, found: list[OrderList], unit: int) -> bytes:
    listings = exchange.listings
    known = [each for each in found if each.market in listings.by_id]
    return views.encode([views.order_list(listings, each, each.updated_us, unit) for each in known])


async def prevented_matches(exchange: Exchange, call: Call) -> bytes:
    """Answer the account's self-trades that were prevented: one, those of an order, or those from an id on."""
    values = call.values
    if ("preventedMatchId" in values) == ("orderId" in values):
        raise BAD_COMBINATION.error()
    found = await exchange.history.prevented_matches(
        call.owner.account,
        values["symbol"].id,
        match_id=values.get("preventedMatchId"),
        order_id=values.get("orderId"),
        from_id=values.get("fromPreventedMatchId"),
        limit=values["limit"],
    )
    return views.encode([views.prevented_match(exchange.listings, each, call.unit) for each in found])


async def amendments(exchange: Exchange, call: Call) -> bytes:
    """Answer what was changed of one order, oldest first; nothing for an order that is not the account's."""
    values = call.values
    listing: Listing = values["symbol"]
    sequence, event = divmod(values.get("fromExecutionId", 0), 1 << INDEX_BITS)
    found = await exchange.history.order_amendments(
        call.owner.account, listing.id, values["orderId"], since=(sequence, event), limit=values["limit"]
    )
    return views.encode(
        [views.amendment(listing, each, (each.sequence << INDEX_BITS) + each.event, call.unit) for each in found]
    )


def _canceled(replied: Replied) -> OrdersCanceled:
    """Return the reply to a cancellation. Raises what it was refused for."""
    if isinstance(replied.reply, Rejected):
        raise cancel_refused(replied.reply)
    if not isinstance(replied.reply, OrdersCanceled):
        raise UNEXPECTED_RESPONSE.error()
    return replied.reply


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


async def allocations(_exchange: Exchange, call: Call) -> bytes:
    """Answer that no order was filled from elsewhere: orders that are routed to other venues are refused."""
    _check_span(call.values)
    return b"[]"


def _check_span(values: Values) -> None:
    if "startTime" not in values or "endTime" not in values:
        return
    span_us = values["endTime"] - values["startTime"]
    if span_us < 0:
        raise BAD_COMBINATION.error()
    if span_us > SPAN_HOURS_MAX * _HOUR_US:
        raise INTERVAL_TOO_LONG.error(SPAN_HOURS_MAX)
