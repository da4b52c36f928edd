"""What clients see: orders, fills, trades, accounts, as JSON in the documented shapes.

Times are microseconds inside; `unit` says how many of them make one outside: 1000 for milliseconds, 1 for clients that
asked for microseconds.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from runtime.gateway.listings import Listing, Listings
from runtime.gateway.orders import ACK, FULL, PREVENTIONS
from runtime.ledger.history import AccountTrade
from runtime.shared.catalogue import PPM, Tier
from runtime.shared.messages import (
    CANCEL_ONLY,
    HALT,
    NEW,
    NOT_EXPIRED,
    PARTIALLY_FILLED,
    TRADING,
    AccountState,
    Order,
    OrderPlaced,
)
from runtime.shared.money import format_decimal

encode: Final = msgspec.json.encode

MS: Final = 1000
US: Final = 1

SIDE_NAMES: Final = ("BUY", "SELL")
TYPE_NAMES: Final = ("LIMIT", "MARKET", "LIMIT_MAKER")
TIF_NAMES: Final = ("GTC", "IOC", "FOK")
STATUS_NAMES: Final = (
    "NEW",
    "PARTIALLY_FILLED",
    "FILLED",
    "CANCELED",
    "REJECTED",
    "EXPIRED",
    "EXPIRED_IN_MATCH",
)
STP_NAMES: Final = tuple(name for name, mode in PREVENTIONS.items() if mode is not None)
EXPIRY_NAMES: Final = (
    "",
    "UNFILLED_IOC_QUANTITY_EXPIRED",
    "UNFILLED_FOK_ORDER_EXPIRED",
    "INSUFFICIENT_LIQUIDITY",
)
MARKET_STATUS_NAMES: Final = {TRADING: "TRADING", HALT: "HALT", CANCEL_ONLY: "CANCEL_ONLY"}

NO_LIST: Final = -1
"""orderListId of an order that belongs to no list."""
ZERO: Final = "0.00000000"
_UNFILLED: Final = frozenset([NEW, PARTIALLY_FILLED])


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
    expiry_reason: str | msgspec.UnsetType = msgspec.UNSET
    fills: list[_FillView] | msgspec.UnsetType = msgspec.UNSET


class _Canceled(Struct, rename="camel", gc=False):
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


class _OrderView(Struct, rename="camel", gc=False):
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
    expiry_reason: str | msgspec.UnsetType = msgspec.UNSET


def _expiry(order: Order) -> str | msgspec.UnsetType:
    return msgspec.UNSET if order.expiry == NOT_EXPIRED else EXPIRY_NAMES[order.expiry]


def placed(listings: Listings, reply: OrderPlaced, time_us: int, response: int, unit: int) -> bytes:
    """Return the answer to a new order, sequenced at `time_us`, as ACK, RESULT or FULL."""
    order = reply.order
    listing = listings.by_id[order.market]
    if response == ACK:
        return encode(_Ack(listing.symbol, order.order_id, NO_LIST, order.client_order_id, time_us // unit))
    return encode(
        _Result(
            listing.symbol,
            order.order_id,
            NO_LIST,
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
            order.created_us // unit,
            STP_NAMES[order.stp],
            _expiry(order),
            [
                _FillView(
                    listing.price_text(fill.price),
                    listing.quantity_text(fill.lots),
                    listings.amount_text(fill.fee_asset, fill.fee),
                    listings.assets[fill.fee_asset].name,
                    fill.trade_id,
                )
                for fill in reply.fills
            ]
            if response == FULL
            else msgspec.UNSET,
        )
    )


def canceled(listings: Listings, order: Order, cancel_id: str, time_us: int, unit: int) -> Struct:
    """Return the report on an order canceled at `time_us` under the client's name `cancel_id`."""
    listing = listings.by_id[order.market]
    return _Canceled(
        listing.symbol,
        order.client_order_id,
        order.order_id,
        NO_LIST,
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


def order_view(listings: Listings, order: Order, unit: int) -> Struct:
    """Return an order as queries show it."""
    listing = listings.by_id[order.market]
    return _OrderView(
        listing.symbol,
        order.order_id,
        NO_LIST,
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
        True,  # noqa: FBT003 - in the order of the wire: every order here was working from the start
        order.created_us // unit,
        listing.quote_text(order.quote_amount),
        STP_NAMES[order.stp],
        _expiry(order),
    )


def is_open(order: Order) -> bool:
    """Tell whether the order may still trade."""
    return order.status in _UNFILLED


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
    fee_asset, fee_text = (listing.base, listing.base_text) if trade.is_buyer else (listing.quote, listing.quote_text)
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
