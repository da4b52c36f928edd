"""Answers about the exchange and its markets, which everyone may ask for."""

from typing import Any, Final

import msgspec
from msgspec import Struct

from runtime.gateway.dispatch import Call, Exchange, now_us
from runtime.gateway.errors import (
    BAD_COMBINATION,
    BAD_SYMBOL_STATUS,
    NO_REFERENCE_PRICE,
    ONE_OF_TWO,
    STATUS_MISMATCH,
)
from runtime.gateway.limit_models import RateLimit
from runtime.gateway.listings import PLACES, Listing
from runtime.gateway.orders import PREVENTION_DEFAULT
from runtime.gateway.params import SCHEMAS, Values
from runtime.gateway.views import BREAK, MARKET_STATUS_NAMES, MS, STP_NAMES, TYPE_NAMES, encode
from runtime.shared.market_messages import (
    AskAggTrades,
    AskAveragePrice,
    AskDepth,
    AskKlines,
    AskTickers,
    AskTrades,
)
from runtime.shared.messages import STOP_LOSS
from runtime.shared.money import format_decimal, parse_decimal

_TIME_NAMES: Final = ("time", "T", "openTime", "closeTime")
_KLINE_TIMES: Final = (0, 6)
US_IN_MS: Final = 1000


# ---- the exchange ----------------------------------------------------------------------------------------------------


class Nothing(Struct):
    """Nothing."""


class ServerTime(Struct, rename="camel"):
    """What time it is here."""

    server_time: int


async def ping(_exchange: Exchange, _call: Call) -> bytes:
    """Answer nothing, quickly."""
    return b"{}"


async def server_time(_exchange: Exchange, call: Call) -> bytes:
    """Answer what time it is here."""
    return b'{"serverTime":%d}' % (now_us() // call.unit)


Filter = dict[str, str | int | bool]
"""A limit on orders, by the names of the wire; the one called filterType says which others there are."""


class MarketInfo(Struct, rename="camel", kw_only=True):
    """A market: what can be done in it, and within which limits."""

    symbol: str
    status: str
    base_asset: str
    base_asset_precision: int
    quote_asset: str
    quote_precision: int
    quote_asset_precision: int
    base_commission_precision: int
    quote_commission_precision: int
    order_types: list[str]
    iceberg_allowed: bool
    oco_allowed: bool
    oto_allowed: bool
    opo_allowed: bool = False
    quote_order_qty_market_allowed: bool = True
    allow_trailing_stop: bool
    cancel_replace_allowed: bool = True
    amend_allowed: bool
    peg_instructions_allowed: bool = False
    is_spot_trading_allowed: bool = True
    is_margin_trading_allowed: bool = False
    filters: list[Filter]
    permissions: list[str] = []
    permission_sets: list[list[str]]
    default_self_trade_prevention_mode: str = PREVENTION_DEFAULT
    allowed_self_trade_prevention_modes: tuple[str, ...]


class ExchangeInfo(Struct, rename="camel"):
    """The markets and the limits of the exchange."""

    timezone: str
    server_time: int
    rate_limits: list[RateLimit]
    exchange_filters: list[Filter]
    symbols: list[MarketInfo]


async def exchange_info(exchange: Exchange, call: Call) -> bytes:
    """Describe the markets, their filters and the limits."""
    chosen = _chosen(exchange, call.values)
    statuses = await exchange.market_statuses()
    # A market that the engine does not know cannot trade.
    shown = [(listing, MARKET_STATUS_NAMES.get(statuses.get(listing.id, -1), BREAK)) for listing in chosen]
    if (wanted := call.values.get("symbolStatus")) is not None:
        shown = [(listing, status) for listing, status in shown if status == wanted]
    limiter = exchange.limiter
    return encode(
        ExchangeInfo(
            timezone="UTC",
            server_time=now_us() // call.unit,
            rate_limits=[rate.members for rate in (limiter.weight_rate, *limiter.order_rates())],
            exchange_filters=[],
            symbols=[
                market_info(listing, status, has_permissions=call.values["showPermissionSets"])
                for listing, status in shown
            ],
        )
    )


def _chosen(exchange: Exchange, values: Values) -> list[Listing]:
    """Return the markets that a client asks for by `symbol`, `symbols` or `permissions`, else all."""
    named = [name for name in ("symbol", "symbols", "permissions") if name in values]
    if len(named) > 1:
        raise BAD_COMBINATION.error()
    if "symbolStatus" in values and named and named != ["permissions"]:
        raise BAD_COMBINATION.error()
    if "symbol" in values:
        return [values["symbol"]]
    if "symbols" in values:
        listings: list[Listing] = values["symbols"]
        return listings
    if "SPOT" not in values.get("permissions", ["SPOT"]):
        return []
    return list(exchange.listings.by_id.values())


def market_info(listing: Listing, status: str, *, has_permissions: bool) -> MarketInfo:
    """Describe one market. Only what works is listed, and only filters that clients know."""
    market = listing.market
    has_lists = market.lists_max > 0 and market.algo_orders_max > 0
    return MarketInfo(
        symbol=listing.symbol,
        status=status,
        base_asset=listing.base.name,
        base_asset_precision=listing.base.decimals,
        quote_asset=listing.quote.name,
        quote_precision=listing.quote.decimals,
        quote_asset_precision=listing.quote.decimals,
        base_commission_precision=listing.base.decimals,
        quote_commission_precision=listing.quote.decimals,
        order_types=list(TYPE_NAMES if market.algo_orders_max else TYPE_NAMES[:STOP_LOSS]),
        iceberg_allowed=market.iceberg_parts_max > 0,
        oco_allowed=has_lists,
        oto_allowed=has_lists,
        allow_trailing_stop=market.algo_orders_max > 0,
        amend_allowed=market.amends_max > 0,
        filters=market_filters(listing),
        permission_sets=[["SPOT"]] if has_permissions else [],
        allowed_self_trade_prevention_modes=STP_NAMES,
    )


def market_filters(listing: Listing) -> list[Filter]:
    """Return what an order in this market must keep to, in the form and the names that clients know."""
    market = listing.market
    has_bound = listing.spec.max_position > 0
    up, down = _ratio(market.band_up_ppm), _ratio(market.band_down_ppm)
    filters: list[Filter] = [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": _padded(market.min_price),
            "maxPrice": _padded(market.max_price),
            "tickSize": _padded(market.tick),
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": _padded(market.min_quantity),
            "maxQty": _padded(market.max_quantity),
            "stepSize": _padded(market.lot),
        },
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": _padded(market.min_quantity),
            "maxQty": _padded(market.max_market_quantity),
            "stepSize": _padded(market.lot),
        },
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": up,
            "bidMultiplierDown": down,
            "askMultiplierUp": up,
            "askMultiplierDown": down,
            "avgPriceMins": 0,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": _padded(market.min_notional),
            "applyMinToMarket": True,
            "maxNotional": _padded(market.max_notional),
            "applyMaxToMarket": True,
            "avgPriceMins": 0,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": market.open_orders_max},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": market.algo_orders_max},
        {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": market.lists_max},
        {"filterType": "MAX_NUM_ORDER_AMENDS", "maxNumOrderAmends": market.amends_max},
        {"filterType": "ICEBERG_PARTS", "limit": market.iceberg_parts_max},
        {"filterType": "MAX_NUM_ICEBERG_ORDERS", "maxNumIcebergOrders": market.iceberg_orders_max},
        {
            "filterType": "TRAILING_DELTA",
            "minTrailingAboveDelta": market.trailing_min_bips,
            "maxTrailingAboveDelta": market.trailing_max_bips,
            "minTrailingBelowDelta": market.trailing_min_bips,
            "maxTrailingBelowDelta": market.trailing_max_bips,
        },
    ]
    if has_bound:
        filters.append({"filterType": "MAX_POSITION", "maxPosition": _padded(market.max_position)})
    return filters


def _padded(text: str) -> str:
    """Return a decimal of the catalogue with the wire's number of decimals, or more where it needs more."""
    places = max(PLACES, len(text.partition(".")[2]))
    return format_decimal(parse_decimal(text, places), places)


def _ratio(ppm: int) -> str:
    return format_decimal(ppm, 6).rstrip("0").rstrip(".")


def symbol_status(_name: str, text: str, _: object) -> str:
    """Read the status that markets are filtered by."""
    if text not in STATUSES:
        raise BAD_SYMBOL_STATUS.error()
    return text


STATUSES: Final = tuple(dict.fromkeys((*MARKET_STATUS_NAMES.values(), BREAK, "END_OF_DAY")))
SCHEMAS[symbol_status] = {"type": "string", "enum": [*STATUSES]}


# ---- market data -----------------------------------------------------------------------------------------------------


async def depth(exchange: Exchange, call: Call) -> bytes:
    """Answer the book."""
    (listing,) = await _of_status(exchange, call.values, [call.values["symbol"]])
    return await exchange.ask_market(AskDepth(0, listing.symbol, call.values["limit"]))


class ReferencePrice(Struct, rename="camel"):
    """What a market is worth elsewhere: price bands refer to it. Null while those who tell it are silent."""

    symbol: str
    reference_price: str | None
    timestamp: int


async def reference_price(exchange: Exchange, call: Call) -> bytes:
    """Answer the price that bands refer to, and when it was set."""
    listing: Listing = call.values["symbol"]
    ticks, set_us = await exchange.reference_price(listing.id)
    if not set_us:
        raise NO_REFERENCE_PRICE.error()
    return encode(ReferencePrice(listing.symbol, listing.price_text(ticks) if ticks else None, set_us // call.unit))


async def trades(exchange: Exchange, call: Call) -> bytes:
    """Answer trades: the newest, or those from an id on."""
    values = call.values
    question = AskTrades(0, values["symbol"].symbol, values["limit"], values.get("fromId", -1))
    return _in_unit(await exchange.ask_market(question), call)


async def aggregate_trades(exchange: Exchange, call: Call) -> bytes:
    """Answer trades joined by price, side and taker."""
    values = call.values
    if "fromId" in values and ("startTime" in values or "endTime" in values):
        raise BAD_COMBINATION.error()
    start_ms, end_ms = _span_ms(values)
    question = AskAggTrades(0, values["symbol"].symbol, values.get("fromId", -1), start_ms, end_ms, values["limit"])
    return _in_unit(await exchange.ask_market(question), call)


async def klines(exchange: Exchange, call: Call) -> bytes:
    """Answer candles."""
    values = call.values
    start_ms, end_ms = _span_ms(values)
    question = AskKlines(0, values["symbol"].symbol, values["interval"], start_ms, end_ms, values["limit"])
    return _in_unit(await exchange.ask_market(question), call)


async def average_price(exchange: Exchange, call: Call) -> bytes:
    """Answer the average price of the last minutes."""
    return _in_unit(await exchange.ask_market(AskAveragePrice(0, call.values["symbol"].symbol)), call)


async def ticker_day(exchange: Exchange, call: Call) -> bytes:
    """Answer the statistics of the last 24 hours."""
    return await _tickers("day", exchange, call)


async def ticker_window(exchange: Exchange, call: Call) -> bytes:
    """Answer the statistics of the last minutes, hours or days."""
    _check_is_chosen(call.values)
    return await _tickers("window", exchange, call, minutes=call.values["windowSize"])


async def ticker_session(exchange: Exchange, call: Call) -> bytes:
    """Answer the statistics of this day, which began at 00:00 UTC."""
    _check_is_chosen(call.values)
    return await _tickers("session", exchange, call)


def _check_is_chosen(values: Values) -> None:
    if "symbol" not in values and "symbols" not in values:
        raise ONE_OF_TWO.error("symbol", "symbols")


async def ticker_price(exchange: Exchange, call: Call) -> bytes:
    """Answer last prices."""
    return await _tickers("price", exchange, call)


async def ticker_book(exchange: Exchange, call: Call) -> bytes:
    """Answer the best bids and asks."""
    return await _tickers("book", exchange, call)


async def _tickers(kind: str, exchange: Exchange, call: Call, *, minutes: int = 0) -> bytes:
    values = call.values
    if "symbol" in values and "symbols" in values:
        raise BAD_COMBINATION.error()
    is_single = "symbol" in values
    listings: list[Listing] = [values["symbol"]] if is_single else values.get("symbols", [])
    if "symbolStatus" in values:
        listings = await _of_status(exchange, values, listings or list(exchange.listings.by_id.values()))
        if not listings:
            return b"[]"
    names = [listing.symbol for listing in listings]
    question = AskTickers(0, kind, names, is_single, values.get("type", False), minutes)
    return _in_unit(await exchange.ask_market(question), call)


async def _of_status(exchange: Exchange, values: Values, listings: list[Listing]) -> list[Listing]:
    """Return those of `listings` whose status is `symbolStatus`, if it is given.

    Raises -1220 where a client names one market and it has another status.
    """
    wanted = values.get("symbolStatus")
    if wanted is None:
        return listings
    statuses = await exchange.market_statuses()
    kept = [each for each in listings if MARKET_STATUS_NAMES.get(statuses.get(each.id, -1), BREAK) == wanted]
    if "symbol" in values and not kept:
        raise STATUS_MISMATCH.error()
    return kept


def _span_ms(values: Values) -> tuple[int, int]:
    """Return startTime and endTime in milliseconds, -1 for one not given."""
    start_us, end_us = values.get("startTime"), values.get("endTime")
    if start_us is not None and end_us is not None and start_us > end_us:
        raise BAD_COMBINATION.error()
    return (-1 if start_us is None else start_us // 1000), (-1 if end_us is None else end_us // 1000)


def _in_unit(body: bytes, call: Call) -> bytes:
    """Return market data, whose times are milliseconds, in the unit that the client asked for."""
    if call.unit == MS:
        return body
    decoded: Any = msgspec.json.decode(body)
    for row in decoded if isinstance(decoded, list) else [decoded]:
        places: Any = [name for name in _TIME_NAMES if name in row] if isinstance(row, dict) else _KLINE_TIMES
        for place in places:
            row[place] *= US_IN_MS
    return encode(decoded)
