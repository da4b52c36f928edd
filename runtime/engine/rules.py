"""What an order must satisfy before it touches money or the book.

Gateways check the same rules first, with better words; the engine checks again because it trusts nobody.
"""

from typing import Final

from runtime.engine.book import BookOrder
from runtime.engine.market import Spec
from runtime.engine.triggers import RISING, direction
from runtime.shared.messages import (
    BAD_ICEBERG,
    BAD_MARKET_QUANTITY,
    BAD_NOTIONAL,
    BAD_PRICE,
    BAD_QUANTITY,
    BAD_RELATION,
    BAD_TRAILING_DELTA,
    BUY,
    FOK,
    GTC,
    IOC,
    LIMIT,
    LIMIT_MAKER,
    MARKET,
    NOT_SUPPORTED,
    OCO,
    OTO,
    OTOCO,
    PRICE_BAND,
    RULES_2,
    SELL,
    STOP_LOSS,
    STOP_LOSS_LIMIT,
    STP_EXPIRE_BOTH,
    STP_NONE,
    STP_TRANSFER,
    TAKE_PROFIT,
    TAKE_PROFIT_LIMIT,
    PlaceList,
    PlaceOrder,
    Rejected,
)

PPM: Final = 1_000_000
CLIENT_ID_LENGTH_MAX: Final = 36
STOPS: Final = (STOP_LOSS, STOP_LOSS_LIMIT)
PROFITS: Final = (LIMIT_MAKER, TAKE_PROFIT, TAKE_PROFIT_LIMIT)
_SIZES: Final = {OCO: 2, OTO: 2, OTOCO: 3}


def is_text(text: str, length_max: int) -> bool:
    """Tell whether any store can hold `text`: not empty, bounded, without control characters."""
    return 1 <= len(text) <= length_max and text.isprintable()


def reaches(order_type: int, side: int, stop_price: int, price: int) -> bool:
    """Tell whether `price`, 0 for none, has reached the stop price of an order."""
    if not price:
        return False
    return price >= stop_price if direction(order_type, side) == RISING else price <= stop_price


def refuse_order(
    command: PlaceOrder, order: BookOrder, spec: Spec, reference: int, last_price: int, rules: int
) -> Rejected | None:
    """Return why `order`, which is what `command` asks for, cannot be taken under `rules`, or None.

    `reference` is the price in ticks that bands refer to, `last_price` that of the last trade; 0 for none.
    """
    if order.side not in (BUY, SELL):
        return Rejected(NOT_SUPPORTED, "side")
    if order.time_in_force not in (GTC, IOC, FOK):
        return Rejected(NOT_SUPPORTED, "time in force")
    if not STP_NONE <= order.stp <= (STP_TRANSFER if rules >= RULES_2 else STP_EXPIRE_BOTH):
        return Rejected(NOT_SUPPORTED, "self-trade prevention")
    if not is_text(order.client_order_id, CLIENT_ID_LENGTH_MAX):
        return Rejected(NOT_SUPPORTED, "client order id")
    order_type = order.order_type
    if order.is_special or order_type >= STOP_LOSS:
        refused = _refuse_special(command, order, spec, rules)
        if refused is not None:
            return refused
    if order_type in (MARKET, STOP_LOSS, TAKE_PROFIT):
        expected = command.stop_price or last_price if order_type != MARKET else reference
        return _refuse_market(order, spec, expected)
    if order_type in (LIMIT, STOP_LOSS_LIMIT, TAKE_PROFIT_LIMIT) or (
        order_type == LIMIT_MAKER and order.time_in_force == GTC
    ):
        return _refuse_limit(order, spec, reference)
    return Rejected(NOT_SUPPORTED, "order type")


def _refuse_special(command: PlaceOrder, order: BookOrder, spec: Spec, rules: int) -> Rejected | None:
    """Check triggers and icebergs."""
    if rules < RULES_2:
        is_refused = order.order_type >= STOP_LOSS or command.iceberg_lots
        return Rejected(NOT_SUPPORTED, "order type") if is_refused else None
    if order.order_type >= STOP_LOSS:
        refused = _refuse_trigger(command, spec)
        if refused is not None:
            return refused
    elif command.stop_price or command.trailing_delta:
        return Rejected(NOT_SUPPORTED, "a trigger of an order without one")
    iceberg_lots = command.iceberg_lots
    if not iceberg_lots:
        return None
    if not order.price or order.time_in_force != GTC:
        return Rejected(NOT_SUPPORTED, "an iceberg that does not rest")
    if not spec.min_lots <= iceberg_lots <= order.lots:
        return Rejected(BAD_QUANTITY)
    if -(-order.lots // iceberg_lots) > spec.iceberg_parts_max:
        return Rejected(BAD_ICEBERG)
    return None


def _refuse_trigger(command: PlaceOrder, spec: Spec) -> Rejected | None:
    if not spec.algo_orders_max:
        return Rejected(NOT_SUPPORTED, "orders with a trigger")
    if not command.stop_price and not command.trailing_delta:
        return Rejected(NOT_SUPPORTED, "an order that waits for nothing")
    if command.stop_price and not spec.min_ticks <= command.stop_price <= spec.max_ticks:
        return Rejected(BAD_PRICE)
    if command.trailing_delta and not spec.trailing_min <= command.trailing_delta <= spec.trailing_max:
        return Rejected(BAD_TRAILING_DELTA)
    return None


def _refuse_limit(order: BookOrder, spec: Spec, reference: int) -> Rejected | None:
    if order.quote_amount:
        return Rejected(NOT_SUPPORTED, "quote amount")
    if not spec.min_ticks <= order.price <= spec.max_ticks:
        return Rejected(BAD_PRICE)
    if not spec.min_lots <= order.lots <= spec.max_lots:
        return Rejected(BAD_QUANTITY)
    if not spec.min_notional <= order.price * order.lots * spec.quote_units <= spec.max_notional:
        return Rejected(BAD_NOTIONAL)
    if reference:
        scaled = order.price * PPM
        if not reference * spec.band_down_ppm <= scaled <= reference * spec.band_up_ppm:
            return Rejected(PRICE_BAND)
    return None


def _refuse_market(order: BookOrder, spec: Spec, expected: int) -> Rejected | None:
    """Check an order without a limit, which is expected to trade at about that price, 0 for unknown."""
    if order.price or (order.lots != 0) == (order.quote_amount != 0):
        return Rejected(NOT_SUPPORTED, "price or quantity of a market order")
    if order.quote_amount and order.order_type != MARKET:
        return Rejected(NOT_SUPPORTED, "quote amount")
    if order.quote_amount:
        notional = order.quote_amount
    else:
        if not spec.min_lots <= order.lots <= spec.max_market_lots:
            return Rejected(BAD_MARKET_QUANTITY)
        notional = order.lots * expected * spec.quote_units
    if notional and not spec.min_notional <= notional <= spec.max_notional:
        return Rejected(BAD_NOTIONAL)
    return None


def refuse_list(command: PlaceList, spec: Spec, reference: int, last_price: int, rules: int) -> Rejected | None:
    """Return why the orders of a list cannot be taken together, or one of them by itself; None when they can."""
    orders = command.orders
    if rules < RULES_2 or _SIZES.get(command.kind, 0) != len(orders):
        return Rejected(NOT_SUPPORTED, "list")
    if not is_text(command.client_list_id, CLIENT_ID_LENGTH_MAX):
        return Rejected(NOT_SUPPORTED, "client list id")
    if len({order.client_order_id for order in orders}) != len(orders):
        return Rejected(NOT_SUPPORTED, "client order ids of a list must differ")
    for order in orders:
        if (order.account, order.market) != (command.account, command.market):
            return Rejected(NOT_SUPPORTED, "account or market of an order")
        refused = refuse_order(order, BookOrder(0, order, 0), spec, reference, last_price, rules)
        if refused is not None:
            return refused
        if order.quote_amount:
            return Rejected(NOT_SUPPORTED, "quote amount")
    if command.kind != OCO and orders[0].order_type not in (LIMIT, LIMIT_MAKER):
        return Rejected(NOT_SUPPORTED, "type of a working order")
    return None if command.kind == OTO else _refuse_pair(orders[-2], orders[-1])


def _refuse_pair(above: PlaceOrder, below: PlaceOrder) -> Rejected | None:
    """Check the two orders of an OCO: one takes a profit, the other stops a loss, on the right side of it."""
    if above.side != below.side or above.lots != below.lots:
        return Rejected(NOT_SUPPORTED, "sides or quantities of a pair")
    stop, profit = (above, below) if above.side == BUY else (below, above)
    if stop.order_type not in STOPS or profit.order_type not in PROFITS:
        return Rejected(NOT_SUPPORTED, "types of a pair")
    high, low = above.stop_price or above.price, below.stop_price or below.price
    if high and low and high <= low:
        return Rejected(BAD_RELATION)
    return None
