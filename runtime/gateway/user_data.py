"""What an account hears of itself as it happens: execution reports, balances, transfers.

The engine's feed is followed once per gateway. A command's events are decoded, and put into JSON, only if somebody
listens for an account that it touched.
"""

import asyncio
import logging
from typing import Final, Protocol

from msgspec import UNSET, Struct, UnsetType

from runtime.gateway.engine import Engine
from runtime.gateway.errors import REJECT_REASONS
from runtime.gateway.listings import Listing, Listings
from runtime.gateway.views import (
    CONTINGENCY_NAMES,
    EXPIRY_NAMES,
    LIST_CHANGE_NAMES,
    LIST_STATUS_NAMES,
    SIDE_NAMES,
    STATUS_NAMES,
    STP_NAMES,
    TIF_NAMES,
    TYPE_NAMES,
    encode,
    is_open,
    list_id_of,
    working_us_of,
)
from runtime.shared.engine_link import EngineError, follow_feed
from runtime.shared.event_owners import decode_feed_of
from runtime.shared.messages import (
    EXEC_REPLACED,
    EXEC_TRADE,
    EXEC_TRADE_PREVENTION,
    NOT_EXPIRED,
    AskAccount,
    BalanceChanged,
    Event,
    FeeCharged,
    Happened,
    ListChanged,
    Order,
    OrderChanged,
    OrderTerms,
    SelfTradePrevented,
    Transferred,
)

logger = logging.getLogger(__name__)

EXECUTION_NAMES: Final = ("NEW", "TRADE", "CANCELED", "EXPIRED", "TRADE_PREVENTION", "REPLACED", "REJECTED")
INDEX_BITS: Final = 20
"""Room for the events of one command in the id of an execution."""
_ASK_AGAIN_S: Final = 0.1
_NOBODY: Final = 0
"""An account that does not exist: the question is how far the engine is."""


class Listener(Protocol):
    """Somebody who hears what happens to an account."""

    @property
    def unit(self) -> int:
        """Microseconds in one of its units of time: MS or US."""

    def hear(self, event: bytes) -> None:
        """Take one event, as JSON. Must not block, nor raise."""


# ---- events ----------------------------------------------------------------------------------------------------------


class ListedOrderName(Struct, gc=False, rename={"symbol": "s", "order_id": "i", "client_order_id": "c"}):
    """An order of a list, by its names."""

    symbol: str
    order_id: int
    client_order_id: str


class ListStatus(
    Struct,
    gc=False,
    rename={
        "event": "e",
        "event_time": "E",
        "symbol": "s",
        "list_id": "g",
        "contingency": "c",
        "change": "l",
        "status": "L",
        "reject_reason": "r",
        "client_list_id": "C",
        "transaction_time": "T",
        "orders": "O",
    },
):
    """What happened to a list of orders."""

    event: str
    event_time: int
    symbol: str
    list_id: int
    contingency: str
    change: str
    status: str
    reject_reason: str
    client_list_id: str
    transaction_time: int
    orders: list[ListedOrderName]


class PositionBalance(Struct, gc=False, rename={"asset": "a", "free": "f", "held": "l"}):
    """What an account has of one asset."""

    asset: str
    free: str
    held: str


class AccountPosition(Struct, gc=False, rename={"event": "e", "event_time": "E", "updated": "u", "balances": "B"}):
    """The balances that an event changed, as they are after it."""

    event: str
    event_time: int
    updated: int
    balances: list[PositionBalance]


class BalanceUpdate(
    Struct, gc=False, rename={"event": "e", "event_time": "E", "asset": "a", "amount": "d", "cleared": "T"}
):
    """A deposit or withdrawal, or the fee of one."""

    event: str
    event_time: int
    asset: str
    amount: str
    cleared: int


class Notice(Struct, gc=False, rename={"event": "e", "event_time": "E"}):
    """`eventStreamTerminated`: the subscription has ended. `serverShutdown`: connect again, elsewhere."""

    event: str
    event_time: int


class ExecutionReport(
    Struct,
    gc=False,
    omit_defaults=True,
    rename={
        "event": "e",
        "event_time": "E",
        "symbol": "s",
        "client_order_id": "c",
        "side": "S",
        "order_type": "o",
        "time_in_force": "f",
        "quantity": "q",
        "price": "p",
        "stop_price": "P",
        "iceberg_quantity": "F",
        "order_list_id": "g",
        "original_client_order_id": "C",
        "execution": "x",
        "status": "X",
        "reject_reason": "r",
        "order_id": "i",
        "last_quantity": "l",
        "filled_quantity": "z",
        "last_price": "L",
        "commission": "n",
        "commission_asset": "N",
        "transaction_time": "T",
        "trade_id": "t",
        "execution_id": "I",
        "is_on_book": "w",
        "is_maker": "m",
        "ignored": "M",
        "created": "O",
        "filled_quote": "Z",
        "last_quote": "Y",
        "quote_order_quantity": "Q",
        "working_time": "W",
        "prevention": "V",
        "expiry_reason": "eR",
        "trailing_delta": "d",
        "trailing_time": "D",
        "match_id": "v",
        "prevented_quantity": "A",
        "last_prevented_quantity": "B",
        "trade_group": "u",
        "counter_order_id": "U",
        "counter_symbol": "Cs",
        "transferred_quantity": "pl",
        "transferred_price": "pL",
        "transferred_quote": "pY",
    },
):
    """What happened to an order."""

    event: str
    event_time: int
    symbol: str
    client_order_id: str
    side: str
    order_type: str
    time_in_force: str
    quantity: str
    price: str
    stop_price: str
    iceberg_quantity: str
    order_list_id: int
    original_client_order_id: str
    execution: str
    status: str
    reject_reason: str
    order_id: int
    last_quantity: str
    filled_quantity: str
    last_price: str
    commission: str
    commission_asset: str | None
    transaction_time: int
    trade_id: int
    execution_id: int
    is_on_book: bool
    is_maker: bool
    ignored: bool
    created: int
    filled_quote: str
    last_quote: str
    quote_order_quantity: str
    prevention: str
    working_time: int | UnsetType = UNSET
    expiry_reason: str | UnsetType = UNSET
    trailing_delta: int | UnsetType = UNSET
    trailing_time: int | UnsetType = UNSET
    match_id: int | UnsetType = UNSET
    prevented_quantity: str | UnsetType = UNSET
    last_prevented_quantity: str | UnsetType = UNSET
    trade_group: int | UnsetType = UNSET
    counter_order_id: int | UnsetType = UNSET
    counter_symbol: str | UnsetType = UNSET
    transferred_quantity: str | UnsetType = UNSET
    transferred_price: str | UnsetType = UNSET
    transferred_quote: str | UnsetType = UNSET


def execution_report(
    listings: Listings,
    changed: OrderChanged,
    time_us: int,
    execution_id: int,
    unit: int,
    prevented: SelfTradePrevented | None = None,
) -> bytes:
    """Return the report on one change of an order at `time_us`; `prevented` is what an EXEC_TRADE_PREVENTION is of."""
    order = changed.order
    listing = listings.by_id[order.market]
    is_trade = changed.execution == EXEC_TRADE
    commission, commission_asset = _commission(listings, changed) if is_trade else ("0", None)
    terms = order.terms or _NO_TERMS
    working_us = working_us_of(order)
    name, original = order.client_order_id, ""
    if changed.execution == EXEC_REPLACED:
        original = changed.cancel_id
    elif changed.cancel_id:  # a cancellation carries its own name, and that of the order as the original
        name, original = changed.cancel_id, name
    report = ExecutionReport(
        event="executionReport",
        event_time=time_us // unit,
        symbol=listing.symbol,
        client_order_id=name,
        side=SIDE_NAMES[order.side],
        order_type=TYPE_NAMES[order.order_type],
        time_in_force=TIF_NAMES[order.time_in_force],
        quantity=listing.quantity_text(order.lots),
        price=listing.price_text(order.price),
        stop_price=listing.price_text(terms.stop_price),
        iceberg_quantity=listing.quantity_text(terms.iceberg_lots),
        order_list_id=list_id_of(order),
        original_client_order_id=original,
        execution=EXECUTION_NAMES[changed.execution],
        status=STATUS_NAMES[order.status],
        reject_reason=REJECT_REASONS.get(changed.reason, "NONE"),
        order_id=order.order_id,
        last_quantity=listing.quantity_text(changed.last_lots),
        filled_quantity=listing.quantity_text(order.executed_lots),
        last_price=listing.price_text(changed.last_price),
        commission=commission,
        commission_asset=commission_asset,
        transaction_time=time_us // unit,
        trade_id=changed.trade_id if is_trade else -1,
        execution_id=execution_id,
        is_on_book=is_open(order),
        is_maker=changed.is_maker,
        ignored=False,
        created=order.created_us // unit,
        filled_quote=listing.quote_text(order.executed_quote),
        last_quote=_last_quote(listing, changed),
        quote_order_quantity=listing.quote_text(order.quote_amount),
        working_time=working_us // unit if working_us else UNSET,
        prevention=STP_NAMES[order.stp],
        expiry_reason=UNSET if order.expiry == NOT_EXPIRED else EXPIRY_NAMES[order.expiry],
        trailing_delta=terms.trailing_delta or UNSET,
        trailing_time=terms.trailing_us // unit if terms.trailing_us else UNSET,
        match_id=terms.prevented_match_id or UNSET,
        prevented_quantity=listing.quantity_text(terms.prevented_lots) if terms.prevented_match_id else UNSET,
    )
    if prevented is not None:
        _add_prevention(report, listing, order, prevented)
    return encode(report)


_NO_TERMS: Final = OrderTerms()


def _add_prevention(report: ExecutionReport, listing: Listing, order: Order, prevented: SelfTradePrevented) -> None:
    """Tell what a self-trade that was prevented did to this one of its two orders."""
    is_taker = order.order_id == prevented.taker_order_id
    lots = prevented.taker_lots if is_taker else prevented.maker_lots
    report.last_prevented_quantity = listing.quantity_text(lots)
    report.trade_group = prevented.trade_group
    report.counter_order_id = prevented.maker_order_id if is_taker else prevented.taker_order_id
    report.counter_symbol = listing.symbol
    if prevented.transferred:
        report.transferred_quantity = listing.quantity_text(prevented.transferred)
        report.transferred_price = listing.price_text(prevented.price)
        quote = prevented.price * prevented.transferred * listing.spec.quote_units
        report.transferred_quote = listing.quote_text(quote)


def list_status(listings: Listings, changed: ListChanged, time_us: int, unit: int) -> bytes:
    """Return the report on one change of a list of orders at `time_us`."""
    placed = changed.order_list
    symbol = listings.by_id[placed.market].symbol
    return encode(
        ListStatus(
            "listStatus",
            time_us // unit,
            symbol,
            placed.list_id,
            CONTINGENCY_NAMES[placed.kind],
            LIST_CHANGE_NAMES[changed.change],
            LIST_STATUS_NAMES[placed.status],
            "NONE",
            placed.client_list_id,
            time_us // unit,
            [ListedOrderName(symbol, order_id, client_id) for order_id, client_id in placed.orders],
        )
    )


def _commission(listings: Listings, changed: OrderChanged) -> tuple[str, str]:
    asset = changed.fee_asset
    return listings.amount_text(asset, changed.fee), listings.assets[asset].name


def _last_quote(listing: Listing, changed: OrderChanged) -> str:
    return listing.quote_text(changed.last_price * changed.last_lots * listing.spec.quote_units)


def account_position(listings: Listings, changes: list[BalanceChanged], time_us: int, unit: int) -> bytes:
    """Return what an account has, after a command, of the assets that it touched."""
    time = time_us // unit
    return encode(
        AccountPosition(
            "outboundAccountPosition",
            time,
            time,
            [
                PositionBalance(
                    listings.assets[change.asset].name,
                    listings.amount_text(change.asset, change.free),
                    listings.amount_text(change.asset, change.held),
                )
                for change in changes
            ],
        )
    )


def balance_update(listings: Listings, asset: int, amount: int, time_us: int, unit: int) -> bytes:
    """Return the report on a deposit or withdrawal, or on the fee of one."""
    return encode(
        BalanceUpdate(
            "balanceUpdate",
            time_us // unit,
            listings.assets[asset].name,
            listings.amount_text(asset, amount),
            time_us // unit,
        )
    )


def stream_terminated(time_us: int, unit: int) -> bytes:
    """Return the last event of a subscription that has ended."""
    return encode(Notice("eventStreamTerminated", time_us // unit))


def server_shutdown(time_us: int, unit: int) -> bytes:
    """Return the event that announces the end of this server: connect again, elsewhere."""
    return encode(Notice("serverShutdown", time_us // unit))


# ---- who hears what --------------------------------------------------------------------------------------------------


class UserStreams:
    """Who listens for which account, and the way from the engine's feed to them."""

    def __init__(self, listings: Listings) -> None:
        """Start with nobody listening."""
        self.is_following = False
        """Whether every event from now on will reach its listeners."""
        self._listings = listings
        # Tuples, since a listener may leave while it is being told something.
        self._listeners: dict[int, tuple[Listener, ...]] = {}
        self._unlisted: set[tuple[str, int]] = set()
        """Markets and assets that were met and are not in the catalogue; each is logged once."""

    def add(self, account: int, listener: Listener) -> None:
        """Have `listener` hear what happens to `account` from now on."""
        self._listeners[account] = (*self._listeners.get(account, ()), listener)

    def remove(self, account: int, listener: Listener) -> None:
        """Stop that."""
        left = tuple(each for each in self._listeners.get(account, ()) if each is not listener)
        if left:
            self._listeners[account] = left
        else:
            self._listeners.pop(account, None)

    async def follow(self, engine: Engine, engine_address: str) -> None:
        """Publish what happens from now on, for ever.

        Where "now" is, `engine` tells: however late the feed comes up after that, it begins there and skips nothing.
        """
        sequence = await _sequence(engine)
        self.is_following = True
        async for batch in follow_feed(engine_address, sequence + 1, self._decode):
            for happened in batch:
                if happened.events:
                    self.publish(happened)

    def _decode(self, payload: bytes) -> list[Happened]:
        return decode_feed_of(payload, self._listeners)

    def publish(self, happened: Happened) -> None:
        """Tell the listeners of every account that one command touched: its orders first, then its balances."""
        listings, time_us = self._listings, happened.time_us
        positions: dict[int, list[BalanceChanged]] = {}
        prevented: dict[tuple[int, int], SelfTradePrevented] = {}
        for index, event in enumerate(happened.events):
            if isinstance(event, OrderChanged):
                self._publish_order(event, happened.sequence << INDEX_BITS | index, time_us, prevented)
            elif isinstance(event, BalanceChanged):
                if self._audience(event.account, None, event.asset):
                    positions.setdefault(event.account, []).append(event)
            elif isinstance(event, SelfTradePrevented):
                prevented[event.market, event.match_id] = event
            else:
                self._publish_other(event, time_us)
        for account, changes in positions.items():
            for listener in self._listeners.get(account, ()):
                listener.hear(account_position(listings, changes, time_us, listener.unit))

    def _publish_order(
        self,
        changed: OrderChanged,
        execution_id: int,
        time_us: int,
        prevented: dict[tuple[int, int], SelfTradePrevented],
    ) -> None:
        order = changed.order
        asset = changed.fee_asset if changed.execution == EXEC_TRADE else None
        match = None
        if changed.execution == EXEC_TRADE_PREVENTION and order.terms is not None:
            match = prevented.get((order.market, order.terms.prevented_match_id))
        for listener in self._audience(order.account, order.market, asset):
            listener.hear(execution_report(self._listings, changed, time_us, execution_id, listener.unit, match))

    def _publish_other(self, event: Event, time_us: int) -> None:
        """Tell of a change of a list, and of what came in or went out."""
        listings = self._listings
        if isinstance(event, ListChanged):
            for listener in self._audience(event.order_list.account, event.order_list.market, None):
                listener.hear(list_status(listings, event, time_us, listener.unit))
        elif isinstance(event, Transferred | FeeCharged):
            amount = -event.fee if isinstance(event, FeeCharged) else event.amount
            for listener in self._audience(event.account, None, event.asset):
                listener.hear(balance_update(listings, event.asset, amount, time_us, listener.unit))

    def _audience(self, account: int, market: int | None, asset: int | None) -> tuple[Listener, ...]:
        """Return who hears an event about `account`: nobody if it is about what the catalogue does not list."""
        listeners = self._listeners.get(account, ())
        if not listeners:
            return ()
        for kind, number, listed in (("market", market, self._listings.by_id), ("asset", asset, self._listings.assets)):
            if number is not None and number not in listed:
                if (kind, number) not in self._unlisted:
                    self._unlisted.add((kind, number))
                    logger.error("events of %s %d are skipped: the catalogue does not list it", kind, number)
                return ()
        return listeners


async def _sequence(engine: Engine) -> int:
    """Return how far the engine is, once it answers."""
    while True:
        try:
            return (await engine.ask(AskAccount(_NOBODY))).sequence
        except EngineError:
            await asyncio.sleep(_ASK_AGAIN_S)
