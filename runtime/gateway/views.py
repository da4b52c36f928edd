"""What clients see: orders, fills, trades, accounts, as JSON in the documented shapes.

Times are microseconds inside; `unit` says how many of them make one outside: 1000 for milliseconds, 1 for clients that
asked for microseconds.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Struct

from runtime.gateway.listings import Listing, Listings
from runtime.gateway.orders import ACK, FULL, PREVENTIONS, TYPES
from runtime.ledger.history import AccountTrade, Amendment, PreventedMatch
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


class PlacedAck(Struct, rename="camel", gc=False):
    """A new order, told as ACK."""

    symbol: str
    order_id: int
    order_list_id: int
    client_order_id: str
    transact_time: int


class PlacedFill(Struct, rename="camel", gc=False):
    """A fill of a new order."""

    price: str
    qty: str
    commission: str
    commission_asset: str
    trade_id: int


class PlacedResult(PlacedAck, rename="camel", omit_defaults=True):
    """A new order, told as RESULT, or with its fills as FULL."""

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
    fills: list[PlacedFill] | Unset = msgspec.UNSET


class CanceledView(Struct, rename="camel", gc=False, omit_defaults=True):
    """An order that was canceled."""

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


class OrderView(Struct, rename="camel", gc=False, omit_defaults=True):
    """An order, as queries show it."""

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


def _add_terms(shown: PlacedResult | CanceledView | OrderView, listing: Listing, order: Order, unit: int) -> None:
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


def placed(listings: Listings, reply: OrderPlaced, time_us: int, response: int, unit: int) -> PlacedAck:
    """Return the answer to a new order, sequenced at `time_us`, as ACK, RESULT or FULL."""
    order = reply.order
    listing = listings.by_id[order.market]
    if response == ACK:
        return PlacedAck(listing.symbol, order.order_id, list_id_of(order), order.client_order_id, time_us // unit)
    shown = PlacedResult(
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
            PlacedFill(
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


def canceled(listings: Listings, order: Order, cancel_id: str, time_us: int, unit: int) -> CanceledView:
    """Return the report on an order canceled at `time_us` under the client's name `cancel_id`."""
    listing = listings.by_id[order.market]
    shown = CanceledView(
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


def order_view(listings: Listings, order: Order, unit: int) -> OrderView:
    """Return an order as queries show it."""
    listing = listings.by_id[order.market]
    shown = OrderView(
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


class AmendedView(Struct, rename="camel", gc=False):
    """An order after it was made smaller."""

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


class AmendmentView(Struct, rename="camel", gc=False):
    """A change of an order."""

    transact_time: int
    execution_id: int
    amended_order: AmendedView


def amended(listings: Listings, reply: OrderAmended, time_us: int, execution_id: int, unit: int) -> bytes:
    """Return the answer to a change of an order at `time_us`."""
    order = reply.order
    listing = listings.by_id[order.market]
    view = AmendedView(
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
    return encode(AmendmentView(time_us // unit, execution_id, view))


class AmendmentRow(Struct, rename="camel", gc=False):
    """One change of an order that kept its place."""

    symbol: str
    order_id: int
    execution_id: int
    orig_client_order_id: str
    new_client_order_id: str
    orig_qty: str
    new_qty: str
    time: int


def amendment(listing: Listing, found: Amendment, execution_id: int, unit: int) -> AmendmentRow:
    """Return one row of the answer about an order's changes."""
    return AmendmentRow(
        listing.symbol,
        found.order_id,
        execution_id,
        found.old_client_order_id,
        found.new_client_order_id,
        listing.quantity_text(found.old_lots),
        listing.quantity_text(found.new_lots),
        found.time_us // unit,
    )


# ---- lists -----------------------------------------------------------------------------------------------------------


class ListedOrder(Struct, rename="camel", gc=False):
    """An order of a list, by its names."""

    symbol: str
    order_id: int
    client_order_id: str


def _either(*names: str) -> msgspec.Meta:
    """Return how the API's documents tell a choice of structs, which msgspec itself only knows by a tag."""
    return msgspec.Meta(extra_json_schema={"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in names]})


Canceled = Annotated[Any, _either("CanceledView", "OrderListView")]
Report = Annotated[Any, _either("PlacedAck", "PlacedResult", "CanceledView")]
PlacedOrRefused = Annotated[Any, _either("PlacedAck", "PlacedResult", "ErrorView")]
CanceledOrRefused = Annotated[Any, _either("CanceledView", "ErrorView")]


class OrderListView(Struct, rename="camel", gc=False, omit_defaults=True):
    """A list of orders; the answers that place or cancel one also tell its orders."""

    order_list_id: int
    contingency_type: str
    list_status_type: str
    list_order_status: str
    list_client_order_id: str
    transaction_time: int
    symbol: str
    orders: list[ListedOrder]
    order_reports: Sequence[Report] | Unset = msgspec.UNSET


def order_list(listings: Listings, placed_list: OrderList, time_us: int, unit: int) -> OrderListView:
    """Return a list of orders as it stood at `time_us`."""
    symbol = listings.by_id[placed_list.market].symbol
    is_done = placed_list.status == LIST_ALL_DONE
    return OrderListView(
        placed_list.list_id,
        CONTINGENCY_NAMES[placed_list.kind],
        LIST_CHANGE_NAMES[LIST_ENDED if is_done else LIST_STARTED],
        LIST_STATUS_NAMES[placed_list.status],
        placed_list.client_list_id,
        time_us // unit,
        symbol,
        [ListedOrder(symbol, order_id, client_id) for order_id, client_id in placed_list.orders],
    )


class PreventedMatchView(Struct, rename="camel", gc=False):
    """A trade of an account with itself, or with its group, that was prevented."""

    symbol: str
    prevented_match_id: int
    taker_order_id: int
    maker_symbol: str
    maker_order_id: int
    trade_group_id: int
    self_trade_prevention_mode: str
    price: str
    taker_prevented_quantity: str
    maker_prevented_quantity: str
    transact_time: int


def prevented_match(listings: Listings, match: PreventedMatch, unit: int) -> PreventedMatchView:
    """Return a self-trade that was prevented."""
    listing = listings.by_id[match.market]
    return PreventedMatchView(
        listing.symbol,
        match.match_id,
        match.taker_order_id,
        listing.symbol,
        match.maker_order_id,
        match.trade_group,
        STP_NAMES[match.mode],
        listing.price_text(match.price),
        listing.quantity_text(match.taker_lots),
        listing.quantity_text(match.maker_lots),
        match.time_us // unit,
    )


# ---- trades of an account --------------------------------------------------------------------------------------------


class AccountTradeView(Struct, rename="camel", gc=False):
    """A fill, as its owner sees it."""

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


def account_trade(listing: Listing, trade: AccountTrade, unit: int) -> AccountTradeView:
    """Return one fill as its owner sees it."""
    is_in_base = trade.is_buyer if trade.fee_asset < 0 else trade.fee_asset == listing.base.id
    fee_asset, fee_text = (listing.base, listing.base_text) if is_in_base else (listing.quote, listing.quote_text)
    return AccountTradeView(
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


class BalanceView(Struct, gc=False):
    """What an account has of one asset."""

    asset: str
    free: str
    locked: str


class Rates(Struct, gc=False):
    """Commission as a share of what is received, by role."""

    maker: str
    taker: str


class SideRates(Rates):
    """The same, and what comes on top by side."""

    buyer: str
    seller: str


class Discount(Struct, rename="camel", gc=False):
    """What is taken off for paying in one asset; there is no such asset here."""

    enabled_for_account: bool = False
    enabled_for_symbol: bool = False
    discount_asset: str | None = None
    discount: str = ZERO


class OrderCommission(Struct, rename="camel", gc=False):
    """What an order would pay."""

    standard_commission_for_order: Rates
    special_commission_for_order: Rates
    tax_commission_for_order: Rates
    discount: Discount


class AccountCommission(Struct, rename="camel", gc=False):
    """What an account pays in one market."""

    symbol: str
    standard_commission: SideRates
    special_commission: SideRates
    tax_commission: SideRates
    discount: Discount


class AccountView(Struct, rename="camel", gc=False):
    """An account: what it pays, may do and has."""

    maker_commission: int
    taker_commission: int
    buyer_commission: int
    seller_commission: int
    commission_rates: SideRates
    can_trade: bool
    can_withdraw: bool
    can_deposit: bool
    brokered: bool
    require_self_trade_prevention: bool
    prevent_sor: bool
    update_time: int
    account_type: str
    balances: list[BalanceView]
    permissions: list[str]
    uid: int


def balances(listings: Listings, state: AccountState, *, omit_zero: bool) -> list[BalanceView]:
    """Return what the account has of each asset of the catalogue."""
    held = {balance.asset: balance for balance in state.balances}
    views: list[BalanceView] = []
    for number, asset in listings.assets.items():
        balance = held.get(number)
        free, locked = (balance.free, balance.held) if balance else (0, 0)
        if free or locked or not omit_zero:
            views.append(
                BalanceView(asset.name, listings.amount_text(number, free), listings.amount_text(number, locked))
            )
    return views


def rate_text(ppm: int) -> str:
    """Return parts per million as the wire shows a commission rate."""
    return format_decimal(ppm, 6, 8)


def _side_rates(tier: Tier) -> SideRates:
    """Return what the tier pays as maker and taker; what it buys or sells makes no difference."""
    return SideRates(rate_text(tier.maker_ppm), rate_text(tier.taker_ppm), ZERO, ZERO)


def order_commission(tier: Tier) -> OrderCommission:
    """Return what an order of the tier pays: the standard rates and nothing on top of them."""
    none = Rates(ZERO, ZERO)
    return OrderCommission(Rates(rate_text(tier.maker_ppm), rate_text(tier.taker_ppm)), none, none, Discount())


def account_commission(symbol: str, tier: Tier) -> AccountCommission:
    """Return what an account of the tier pays in a market: the standard rates and nothing on top of them."""
    none = SideRates(ZERO, ZERO, ZERO, ZERO)
    return AccountCommission(symbol, _side_rates(tier), none, none, Discount())


def account(
    listings: Listings, state: AccountState, tier: Tier, permissions: Iterable[str], unit: int, *, omit_zero: bool
) -> AccountView:
    """Return the answer to an account query."""
    allowed = frozenset(permissions)
    return AccountView(
        maker_commission=tier.maker_ppm * 10_000 // PPM,
        taker_commission=tier.taker_ppm * 10_000 // PPM,
        buyer_commission=0,
        seller_commission=0,
        commission_rates=_side_rates(tier),
        can_trade="TRADE" in allowed,
        can_withdraw="WITHDRAW" in allowed,
        can_deposit=True,
        brokered=False,
        require_self_trade_prevention=False,
        prevent_sor=False,
        update_time=state.updated_us // unit,
        account_type="SPOT",
        balances=balances(listings, state, omit_zero=omit_zero),
        permissions=["SPOT"],
        uid=state.account,
    )
