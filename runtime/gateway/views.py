"""What clients see: orders, fills, trades, accounts, as JSON in the documented shapes.

Times are microseconds inside; `unit` says how many of them make one outside: 1000 for milliseconds, 1 for clients that
asked for microseconds.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

from runtime.gateway.listings import Listing, Listings
from runtime.gateway.orders import ACK, FULL, PREVENTIONS, TYPES
from runtime.ledger.history import AccountTrade, PreventedMatch
from runtime.shared.catalogue import PPM, Tier
from runtime.shared.messages import (
    AUCTION,
    CANCEL_ONLY,
    HALT,
    LIST_ALL_DONE,
    LIST_ENDED,
    LIST_STARTED,
    NEW,
    NOT_EXPIRED,
    PARTIALLY_FILLED,
    TRADING,
    AccountState,
    Order,
    OrderAmended,
    OrderList,
    OrderPlaced,
)
from runtime.shared.money import format_decimal

encode: Final = msgspec.json.encode

MS: Final = 1000
US: Final = 1

SIDE_NAMES: Final = ("BUY", "SELL")
TYPE_NAMES: Final = tuple(TYPES)
TIF_NAMES: Final = ("GTC", "IOC", "FOK")
STATUS_NAMES: Final = (
    "NEW",
    "PARTIALLY_FILLED",
    "FILLED",
    "CANCELED",
    "REJECTED",
    "EXPIRED",
    "EXPIRED_IN_MATCH",
    "PENDING_NEW",
)
STP_NAMES: Final = tuple(PREVENTIONS)
EXPIRY_NAMES: Final = (
    "",
    "UNFILLED_IOC_QUANTITY_EXPIRED",
    "UNFILLED_FOK_ORDER_EXPIRED",
    "INSUFFICIENT_LIQUIDITY",
    "INSUFFICIENT_BALANCES",
)
BREAK: Final = "BREAK"
MARKET_STATUS_NAMES: Final = {TRADING: "TRADING", HALT: "HALT", CANCEL_ONLY: "CANCEL_ONLY", AUCTION: BREAK}
"""An auction has no name of its own that strict decoders know: nothing trades until it ends, so it shows as a break."""
CONTINGENCY_NAMES: Final = ("OCO", "OTO", "OTO")
LIST_CHANGE_NAMES: Final = ("EXEC_STARTED", "UPDATED", "ALL_DONE")
LIST_STATUS_NAMES: Final = ("EXECUTING", "ALL_DONE", "REJECT")

NO_LIST: Final = -1
"""orderListId of an order that belongs to no list."""
ZERO: Final = "0.00000000"
_UNFILLED: Final = frozenset([NEW, PARTIALLY_FILLED])
NOT_WORKING: Final = -1
"""workingTime of an order that waits."""
Unset = msgspec.UnsetType


# ---- orders ----------------------------------------------------------------------------------------------------------


class _Ack(Struct, rename="camel", gc=False):
    symbol: str
    order_id: int
    order_list_id: int
    client_order_id: str
    transact_time: int


class _FillView(Struct, rename="camel", gc=False):
    price: str
    qty: str
    commission: str
    commission_asset: str
    trade_id: int


class _Result(_Ack, rename="camel", omit_defaults=True):
    price: str
    orig_qty: str
    executed_qty: str
    orig_quote_order_qty: str
    cummulative_quote_qty: str
    status: str
    time_in_force: str
    type: str
    side: str
    working_time: int
    self_trade_prevention_mode: str
    expiry_reason: str | Unset = msgspec.UNSET
    stop_price: str | Unset = msgspec.UNSET
    trailing_delta: int | Unset = msgspec.UNSET
    trailing_time: int | Unset = msgspec.UNSET
    iceberg_qty: str | Unset = msgspec.UNSET
    prevented_match_id: int | Unset = msgspec.UNSET
    prevented_quantity: str | Unset = msgspec.UNSET
    fills: list[_FillView] | Unset = msgspec.UNSET


class _Canceled(Struct, rename="camel", gc=False, omit_defaults=True):
    symbol: str
    orig_client_order_id: str
    order_id: int
    order_list_id: int
    client_order_id: str
    transact_time: int
    price: str
    orig_qty: str
    executed_qty: str
    orig_quote_order_qty: str
    cummulative_quote_qty: str
    status: str
    time_in_force: str
    type: str
    side: str
    self_trade_prevention_mode: str
    stop_price: str | Unset = msgspec.UNSET
    trailing_delta: int | Unset = msgspec.UNSET
    trailing_time: int | Unset = msgspec.UNSET
    iceberg_qty: str | Unset = msgspec.UNSET
    prevented_match_id: int | Unset = msgspec.UNSET
    prevented_quantity: str | Unset = msgspec.UNSET


class _OrderView(Struct, rename="camel", gc=False, omit_defaults=True):
    symbol: str
    order_id: int
    order_list_id: int
    client_order_id: str
    price: str
    orig_qty: str
    executed_qty: str
    cummulative_quote_qty: str
    status: str
    time_in_force: str
    type: str
    side: str
    stop_price: str
    iceberg_qty: str
    time: int
    update_time: int
    is_working: bool
    working_time: int
    orig_quote_order_qty: str
    self_trade_prevention_mode: str
    expiry_reason: str | Unset = msgspec.UNSET
    trailing_delta: int | Unset = msgspec.UNSET
    trailing_time: int | Unset = msgspec.UNSET
    prevented_match_id: int | Unset = msgspec.UNSET
    prevented_quantity: str | Unset = msgspec.UNSET


def list_id_of(order: Order) -> int:
    """Return the list an order belongs to, NO_LIST for none."""
    return order.terms.list_id if order.terms is not None and order.terms.list_id else NO_LIST


def working_us_of(order: Order) -> int:
    """Return since when an order may trade, in microseconds; 0 while it waits for a trigger or for another order."""
    return order.created_us if order.terms is None else order.terms.working_us


def _working_time(order: Order, unit: int) -> int:
    working_us = working_us_of(order)
    return working_us // unit if working_us else NOT_WORKING


def _add_terms(shown: _Result | _Canceled | _OrderView, listing: Listing, order: Order, unit: int) -> None:
    """Show what only some orders have, as far as this one has it."""
    terms = order.terms
    if terms is None:
        return
    if terms.stop_price:
        shown.stop_price = listing.price_text(terms.stop_price)
    if terms.iceberg_lots:
        shown.iceberg_qty = listing.quantity_text(terms.iceberg_lots)
    if terms.trailing_delta:
        shown.trailing_delta = terms.trailing_delta
        shown.trailing_time = terms.trailing_us // unit if terms.trailing_us else NOT_WORKING
    if terms.prevented_match_id:
        shown.prevented_match_id = terms.prevented_match_id
        shown.prevented_quantity = listing.quantity_text(terms.prevented_lots)


def _expiry(order: Order) -> str | Unset:
    return msgspec.UNSET if order.expiry == NOT_EXPIRED else EXPIRY_NAMES[order.expiry]


def placed(listings: Listings, reply: OrderPlaced, time_us: int, response: int, unit: int) -> Struct:
    """Return the answer to a new order, sequenced at `time_us`, as ACK, RESULT or FULL."""
    order = reply.order
    listing = listings.by_id[order.market]
    if response == ACK:
        return _Ack(listing.symbol, order.order_id, list_id_of(order), order.client_order_id, time_us // unit)
    shown = _Result(
        listing.symbol,
        order.order_id,
        list_id_of(order),
        order.client_order_id,
        time_us // unit,
        listing.price_text(order.price),
        listing.quantity_text(order.lots),
        listing.quantity_text(order.executed_lots),
        listing.quote_text(order.quote_amount),
        listing.quote_text(order.executed_quote),
        STATUS_NAMES[order.status],
        TIF_NAMES[order.time_in_force],
        TYPE_NAMES[order.order_type],
        SIDE_NAMES[order.side],
        _working_time(order, unit),
        STP_NAMES[order.stp],
        _expiry(order),
    )
    if response == FULL:
        shown.fills = [
            _FillView(
                listing.price_text(fill.price),
                listing.quantity_text(fill.lots),
                listings.amount_text(fill.fee_asset, fill.fee),
                listings.assets[fill.fee_asset].name,
                fill.trade_id,
            )
            for fill in reply.fills
        ]
    _add_terms(shown, listing, order, unit)
    return shown


def canceled(listings: Listings, order: Order, cancel_id: str, time_us: int, unit: int) -> Struct:
    """Return the report on an order canceled at `time_us` under the client's name `cancel_id`."""
    listing = listings.by_id[order.market]
    shown = _Canceled(
        listing.symbol,
        order.client_order_id,
        order.order_id,
        list_id_of(order),
        cancel_id,
        time_us // unit,
        listing.price_text(order.price),
        listing.quantity_text(order.lots),
        listing.quantity_text(order.executed_lots),
        listing.quote_text(order.quote_amount),
        listing.quote_text(order.executed_quote),
        STATUS_NAMES[order.status],
        TIF_NAMES[order.time_in_force],
        TYPE_NAMES[order.order_type],
        SIDE_NAMES[order.side],
        STP_NAMES[order.stp],
    )
    _add_terms(shown, listing, order, unit)
    return shown


def order_view(listings: Listings, order: Order, unit: int) -> Struct:
    """Return an order as queries show it."""
    listing = listings.by_id[order.market]
    shown = _OrderView(
        listing.symbol,
        order.order_id,
        list_id_of(order),
        order.client_order_id,
        listing.price_text(order.price),
        listing.quantity_text(order.lots),
        listing.quantity_text(order.executed_lots),
        listing.quote_text(order.executed_quote),
        STATUS_NAMES[order.status],
        TIF_NAMES[order.time_in_force],
        TYPE_NAMES[order.order_type],
        SIDE_NAMES[order.side],
        ZERO,
        ZERO,
        order.created_us // unit,
        order.updated_us // unit,
        working_us_of(order) > 0,
        _working_time(order, unit),
        listing.quote_text(order.quote_amount),
        STP_NAMES[order.stp],
        _expiry(order),
    )
    _add_terms(shown, listing, order, unit)
    return shown


def is_open(order: Order) -> bool:
    """Tell whether the order may trade as it is: it is open, and waits for nothing."""
    return order.status in _UNFILLED and working_us_of(order) > 0


class _AmendedView(Struct, rename="camel", gc=False):
    symbol: str
    order_id: int
    order_list_id: int
    orig_client_order_id: str
    client_order_id: str
    price: str
    qty: str
    executed_qty: str
    prevented_qty: str
    quote_order_qty: str
    cumulative_quote_qty: str
    status: str
    time_in_force: str
    type: str
    side: str
    working_time: int
    self_trade_prevention_mode: str


def amended(listings: Listings, reply: OrderAmended, time_us: int, execution_id: int, unit: int) -> bytes:
    """Return the answer to a change of an order at `time_us`."""
    order = reply.order
    listing = listings.by_id[order.market]
    view = _AmendedView(
        listing.symbol,
        order.order_id,
        list_id_of(order),
        reply.old_client_order_id,
        order.client_order_id,
        listing.price_text(order.price),
        listing.quantity_text(order.lots),
        listing.quantity_text(order.executed_lots),
        listing.quantity_text(order.terms.prevented_lots if order.terms else 0),
        listing.quote_text(order.quote_amount),
        listing.quote_text(order.executed_quote),
        STATUS_NAMES[order.status],
        TIF_NAMES[order.time_in_force],
        TYPE_NAMES[order.order_type],
        SIDE_NAMES[order.side],
        _working_time(order, unit),
        STP_NAMES[order.stp],
    )
    return encode({"transactTime": time_us // unit, "executionId": execution_id, "amendedOrder": view})


# ---- lists -----------------------------------------------------------------------------------------------------------


def order_list(listings: Listings, placed_list: OrderList, time_us: int, unit: int) -> dict[str, Any]:
    """Return a list of orders as it stood at `time_us`."""
    symbol = listings.by_id[placed_list.market].symbol
    is_done = placed_list.status == LIST_ALL_DONE
    return {
        "orderListId": placed_list.list_id,
        "contingencyType": CONTINGENCY_NAMES[placed_list.kind],
        "listStatusType": LIST_CHANGE_NAMES[LIST_ENDED if is_done else LIST_STARTED],
        "listOrderStatus": LIST_STATUS_NAMES[placed_list.status],
        "listClientOrderId": placed_list.client_list_id,
        "transactionTime": time_us // unit,
        "symbol": symbol,
        "orders": [
            {"symbol": symbol, "orderId": order_id, "clientOrderId": client_id}
            for order_id, client_id in placed_list.orders
        ],
    }


def prevented_match(listings: Listings, match: PreventedMatch, unit: int) -> dict[str, Any]:
    """Return a self-trade that was prevented."""
    listing = listings.by_id[match.market]
    return {
        "symbol": listing.symbol,
        "preventedMatchId": match.match_id,
        "takerOrderId": match.taker_order_id,
        "makerSymbol": listing.symbol,
        "makerOrderId": match.maker_order_id,
        "tradeGroupId": match.trade_group,
        "selfTradePreventionMode": STP_NAMES[match.mode],
        "price": listing.price_text(match.price),
        "takerPreventedQuantity": listing.quantity_text(match.taker_lots),
        "makerPreventedQuantity": listing.quantity_text(match.maker_lots),
        "transactTime": match.time_us // unit,
    }


# ---- trades of an account --------------------------------------------------------------------------------------------


class _AccountTradeView(Struct, rename="camel", gc=False):
    symbol: str
    id: int
    order_id: int
    order_list_id: int
    price: str
    qty: str
    quote_qty: str
    commission: str
    commission_asset: str
    time: int
    is_buyer: bool
    is_maker: bool
    is_best_match: bool


def account_trade(listing: Listing, trade: AccountTrade, unit: int) -> Struct:
    """Return one fill as its owner sees it."""
    is_in_base = trade.is_buyer if trade.fee_asset < 0 else trade.fee_asset == listing.base.id
    fee_asset, fee_text = (listing.base, listing.base_text) if is_in_base else (listing.quote, listing.quote_text)
    return _AccountTradeView(
        listing.symbol,
        trade.trade_id,
        trade.order_id,
        NO_LIST,
        listing.price_text(trade.price),
        listing.quantity_text(trade.lots),
        listing.quote_text(trade.price * trade.lots * listing.spec.quote_units),
        fee_text(trade.fee),
        fee_asset.name,
        trade.time_us // unit,
        trade.is_buyer,
        trade.is_maker,
        True,  # noqa: FBT003 - in the order of the wire
    )


# ---- accounts --------------------------------------------------------------------------------------------------------


class _BalanceView(Struct, gc=False):
    asset: str
    free: str
    locked: str


def balances(listings: Listings, state: AccountState, *, omit_zero: bool) -> list[Struct]:
    """Return what the account has of each asset of the catalogue."""
    held = {balance.asset: balance for balance in state.balances}
    views: list[Struct] = []
    for number, asset in listings.assets.items():
        balance = held.get(number)
        free, locked = (balance.free, balance.held) if balance else (0, 0)
        if free or locked or not omit_zero:
            views.append(
                _BalanceView(asset.name, listings.amount_text(number, free), listings.amount_text(number, locked))
            )
    return views


def rate_text(ppm: int) -> str:
    """Return parts per million as the wire shows a commission rate."""
    return format_decimal(ppm, 6, 8)


_NO_DISCOUNT: Final = {
    "enabledForAccount": False,
    "enabledForSymbol": False,
    "discountAsset": None,
    "discount": rate_text(0),
}


def order_commission_rates(tier: Tier) -> dict[str, Any]:
    """Return what an order of the tier pays: the standard rates and nothing on top of them."""
    none = {"maker": rate_text(0), "taker": rate_text(0)}
    return {
        "standardCommissionForOrder": {"maker": rate_text(tier.maker_ppm), "taker": rate_text(tier.taker_ppm)},
        "specialCommissionForOrder": none,
        "taxCommissionForOrder": none,
        "discount": _NO_DISCOUNT,
    }


def commission_rates(tier: Tier) -> dict[str, Any]:
    """Return what an account of the tier pays as maker and taker; what it buys or sells makes no difference."""
    neither = {"buyer": rate_text(0), "seller": rate_text(0)}
    none = {"maker": rate_text(0), "taker": rate_text(0), **neither}
    return {
        "standardCommission": {"maker": rate_text(tier.maker_ppm), "taker": rate_text(tier.taker_ppm), **neither},
        "specialCommission": none,
        "taxCommission": none,
        "discount": _NO_DISCOUNT,
    }


def account(
    listings: Listings, state: AccountState, tier: Tier, permissions: Iterable[str], unit: int, *, omit_zero: bool
) -> bytes:
    """Return the answer to an account query."""
    allowed = frozenset(permissions)
    return encode(
        {
            "makerCommission": tier.maker_ppm * 10_000 // PPM,
            "takerCommission": tier.taker_ppm * 10_000 // PPM,
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": {
                "maker": rate_text(tier.maker_ppm),
                "taker": rate_text(tier.taker_ppm),
                "buyer": rate_text(0),
                "seller": rate_text(0),
            },
            "canTrade": "TRADE" in allowed,
            "canWithdraw": "WITHDRAW" in allowed,
            "canDeposit": True,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": state.updated_us // unit,
            "accountType": "SPOT",
            "balances": balances(listings, state, omit_zero=omit_zero),
            "permissions": ["SPOT"],
            "uid": state.account,
        }
    )
