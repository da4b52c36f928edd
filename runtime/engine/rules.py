"""What an order must satisfy before it touches money or the book.

Gateways check the same rules first, with better words; the engine checks again because it trusts nobody.
"""

from typing import Final

from runtime.shared.messages import (
    BAD_MARKET_QUANTITY,
    BAD_NOTIONAL,
    BAD_PRICE,
    BAD_QUANTITY,
    BUY,
    FOK,
    GTC,
    IOC,
    LIMIT,
    LIMIT_MAKER,
    MARKET,
    NOT_SUPPORTED,
    PRICE_BAND,
    SELL,
    STP_EXPIRE_BOTH,
    STP_NONE,
    MarketSpec,
    PlaceOrder,
    Rejected,
)

PPM: Final = 1_000_000
CLIENT_ID_LENGTH_MAX: Final = 36


def refuse_order(command: PlaceOrder, spec: MarketSpec, reference: int) -> Rejected | None:
    """Return why `command` cannot be taken, or None. `reference` is the price in ticks bands refer to, 0 for none."""
    if command.side not in (BUY, SELL):
        return Rejected(NOT_SUPPORTED, "side")
    if command.time_in_force not in (GTC, IOC, FOK):
        return Rejected(NOT_SUPPORTED, "time in force")
    if not STP_NONE <= command.stp <= STP_EXPIRE_BOTH:
        return Rejected(NOT_SUPPORTED, "self-trade prevention")
    if not 1 <= len(command.client_order_id) <= CLIENT_ID_LENGTH_MAX or not command.client_order_id.isprintable():
        return Rejected(NOT_SUPPORTED, "client order id")
    if command.order_type == MARKET:
        return _refuse_market(command, spec, reference)
    if command.order_type == LIMIT or (command.order_type == LIMIT_MAKER and command.time_in_force == GTC):
        return _refuse_limit(command, spec, reference)
    return Rejected(NOT_SUPPORTED, "order type")


def _refuse_limit(command: PlaceOrder, spec: MarketSpec, reference: int) -> Rejected | None:
    if command.quote_amount:
        return Rejected(NOT_SUPPORTED, "quote amount")
    if not spec.min_ticks <= command.price <= spec.max_ticks:
        return Rejected(BAD_PRICE)
    if not spec.min_lots <= command.lots <= spec.max_lots:
        return Rejected(BAD_QUANTITY)
    if not spec.min_notional <= command.price * command.lots * spec.quote_units <= spec.max_notional:
        return Rejected(BAD_NOTIONAL)
    if reference:
        scaled = command.price * PPM
        if not reference * spec.band_down_ppm <= scaled <= reference * spec.band_up_ppm:
            return Rejected(PRICE_BAND)
    return None


def _refuse_market(command: PlaceOrder, spec: MarketSpec, reference: int) -> Rejected | None:
    if command.price or (command.lots != 0) == (command.quote_amount != 0):
        return Rejected(NOT_SUPPORTED, "price or quantity of a market order")
    if command.quote_amount:
        notional = command.quote_amount
    else:
        if not spec.min_lots <= command.lots <= spec.max_market_lots:
            return Rejected(BAD_MARKET_QUANTITY)
        notional = command.lots * reference * spec.quote_units
    if notional and not spec.min_notional <= notional <= spec.max_notional:
        return Rejected(BAD_NOTIONAL)
    return None
