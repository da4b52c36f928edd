"""The replicated state machine: the engine plus the memory of replies that makes a repeated command harmless.

A replica is fed the journal and nothing else. Leader, standby, recovery and tests all drive this one class.
"""

from hashlib import sha256
from typing import Final

import msgspec

from runtime.engine.accounts import Account
from runtime.engine.audit import check_conservation
from runtime.engine.book import SIDES, BookOrder
from runtime.engine.engine import Engine
from runtime.engine.market import ListOfOrders, Market
from runtime.engine.sessions import Applied, Session, apply_batch, apply_one
from runtime.shared.messages import (
    FEE_FROM_RECEIVED,
    LIST_EXECUTING,
    NO_GROUP,
    PENDING_NEW,
    RULES_1,
    Entry,
    Happened,
    HoldState,
    MarketSpec,
    Message,
    Order,
    OrderList,
    PlaceOrder,
    Replied,
    TierSpec,
    encode,
)

SNAPSHOT_FORMAT: Final = 2
"""Format 1 had nothing of what RULES_2 added; it is read as one in which there is none of it."""


class SessionState(Message):
    """A session in a snapshot."""

    name: str
    last: int
    replies: list[Replied]


class AccountSnapshot(Message):
    """An account in a snapshot; holdings are (asset, free, held)."""

    account: int
    name: str
    tier: int
    updated_us: int
    holdings: list[tuple[int, int, int]]
    trade_group: int = NO_GROUP
    fee_asset: int = FEE_FROM_RECEIVED


class MarketSnapshot(Message):
    """A market in a snapshot; orders are bids then asks, best first, oldest first.

    `shown` are the icebergs among them: (order id, lots that show). `waiting` are open orders that are not on the book,
    oldest first; of these `trailing` are (order id, the extreme that it follows), `due` those to be entered next.
    """

    spec: MarketSpec
    status: int
    update_id: int
    last_trade_id: int
    last_price: int
    orders: list[Order]
    shown: list[tuple[int, int]] = msgspec.field(default_factory=list)
    waiting: list[Order] = msgspec.field(default_factory=list)
    trailing: list[tuple[int, int]] = msgspec.field(default_factory=list)
    due: list[int] = msgspec.field(default_factory=list)
    last_match_id: int = 0
    reference_price: int = 0
    reference_us: int = 0
    window_price: int = 0
    window_us: int = 0
    until_us: int = 0
    auction_price: int = 0


class ListSnapshot(Message):
    """An open list in a snapshot; `ended` are those of its orders that are not open."""

    order_list: OrderList
    hold: int
    is_waiting: bool
    ended: list[Order]


class Snapshot(Message):
    """The whole state after `sequence`, in a canonical order: equal states give equal bytes."""

    format: int
    sequence: int
    time_us: int
    next_order_id: int
    next_account: int
    assets: list[int]
    tiers: list[TierSpec]
    transfers: list[str]
    accounts: list[AccountSnapshot]
    markets: list[MarketSnapshot]
    sessions: list[SessionState]
    rules: int = RULES_1
    holds: list[HoldState] = msgspec.field(default_factory=list)
    next_list_id: int = 1
    lists: list[ListSnapshot] = msgspec.field(default_factory=list)


_decode_snapshot: Final = msgspec.msgpack.Decoder(Snapshot).decode


class SnapshotError(ValueError):
    """Bytes that are not a snapshot of a format known here."""


class Replica:
    """Engine and sessions, advanced by one journal entry at a time."""

    def __init__(self) -> None:
        """Start before the first command."""
        self.engine: Engine = Engine()
        self.sessions: dict[str, Session] = {}

    @property
    def sequence(self) -> int:
        """The last sequence applied."""
        return self.engine.sequence

    def apply(self, time_us: int, entry: Entry) -> tuple[Replied, Happened]:
        """Apply `entry` as the next sequence; a repeated one changes nothing and gets its first reply again."""
        return apply_one(self.engine, self.sessions, time_us, entry)

    def apply_batch(self, time_us: int, entries: list[Entry], published: int = 0) -> Applied:
        """Apply `entries` as the next sequences; the events of those up to `published` are not made."""
        return apply_batch(self.engine, self.sessions, time_us, entries, published)

    # ---- snapshots ---------------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """Return the state in canonical bytes. Raises ConservationError for one that must not be kept."""
        engine = self.engine
        check_conservation(engine)
        accounts = engine.accounts
        state = Snapshot(
            SNAPSHOT_FORMAT,
            engine.sequence,
            engine.time_us,
            engine.next_order_id,
            accounts.next_account,
            sorted(engine.assets),
            [engine.tiers[tier] for tier in sorted(engine.tiers)],
            list(engine.transfers),
            [_account_snapshot(accounts.accounts[number]) for number in sorted(accounts.accounts)],
            [_market_snapshot(engine, engine.markets[number]) for number in sorted(engine.markets)],
            [
                SessionState(name, session.last, list(session.replies.values()))
                for name, session in self.sessions.items()
            ],
            engine.rules,
            list(engine.holds.values()),
            engine.next_list_id,
            [_list_snapshot(placed) for placed in engine.lists.values()],
        )
        return encode(state)

    def state_hash(self) -> str:
        """Return the SHA-256 of the snapshot: equal on every replica that applied the same entries."""
        return sha256(self.snapshot()).hexdigest()

    @classmethod
    def restore(cls, data: bytes) -> "Replica":
        """Return the replica that `snapshot` described. Raises SnapshotError."""
        try:
            state = _decode_snapshot(data)
        except msgspec.MsgspecError as error:
            raise SnapshotError(f"not a snapshot: {error}") from None
        if not 1 <= state.format <= SNAPSHOT_FORMAT:
            raise SnapshotError(f"snapshot of format {state.format}; this engine reads 1 to {SNAPSHOT_FORMAT}")
        replica = cls()
        engine = replica.engine
        engine.sequence = state.sequence
        engine.time_us = state.time_us
        engine.next_order_id = state.next_order_id
        engine.assets = dict.fromkeys(state.assets)
        engine.tiers = {tier.id: tier for tier in state.tiers}
        engine.transfers = dict.fromkeys(state.transfers)
        engine.accounts.next_account = state.next_account
        for account in state.accounts:
            _restore_account(engine, account)
        for market in state.markets:
            _restore_market(engine, market)
        engine.rules = state.rules
        engine.holds = {hold.reference: hold for hold in state.holds}
        engine.next_list_id = state.next_list_id
        for placed in state.lists:
            _restore_list(engine, placed)
        engine.expect_auctions()
        for session in state.sessions:
            remembered = replica.sessions[session.name] = Session()
            remembered.last = session.last
            remembered.replies = {replied.n: replied for replied in session.replies}
            remembered.pruned = session.replies[0].n - 1 if session.replies else session.last
        return replica


def _account_snapshot(account: Account) -> AccountSnapshot:
    holdings = [account.holdings[asset] for asset in sorted(account.holdings)]
    return AccountSnapshot(
        account.account,
        account.name,
        account.tier,
        account.updated_us,
        [(holding.asset, holding.free, holding.held) for holding in holdings],
        account.trade_group,
        account.fee_asset,
    )


def _market_snapshot(engine: Engine, market: Market) -> MarketSnapshot:
    orders = [order for side in SIDES for order in market.book.resting(side)]
    triggers = market.triggers
    pending = [
        order
        for placed in engine.lists.values()
        if placed.market == market.spec.id
        for order in placed.orders
        if order.status == PENDING_NEW
    ]
    stops = [trigger.order for trigger in triggers.waiting.values()]
    due = [order for order in triggers.due.values() if order.status != PENDING_NEW]
    trailing = [trigger for trigger in triggers.waiting.values() if trigger.is_trailing]
    return MarketSnapshot(
        market.spec.message,
        market.status,
        market.update_id,
        market.last_trade_id,
        market.last_price,
        [order.view() for order in orders],
        [(order.order_id, order.remaining) for order in orders if order.reserve],
        [order.view() for order in sorted((*pending, *stops, *due), key=_order_id)],
        sorted((trigger.order.order_id, trigger.extreme) for trigger in trailing),
        list(triggers.due),
        market.last_match_id,
        market.reference_price,
        market.reference_us,
        market.window_price,
        market.window_us,
        market.until_us,
        market.auction_price,
    )


def _order_id(order: BookOrder | Order) -> int:
    return order.order_id


def _list_snapshot(placed: ListOfOrders) -> ListSnapshot:
    return ListSnapshot(
        placed.view(LIST_EXECUTING, placed.created_us),
        placed.hold,
        placed.is_waiting,
        [order.view() for order in placed.orders if not order.is_open],
    )


def _restore_account(engine: Engine, state: AccountSnapshot) -> None:
    account = engine.accounts.open(state.account, state.name, state.tier)
    account.updated_us = state.updated_us
    account.trade_group = state.trade_group
    account.fee_asset = state.fee_asset
    for asset, free, held in state.holdings:
        holding = account.holding(asset)
        holding.free = free
        holding.held = held


def _restore_market(engine: Engine, state: MarketSnapshot) -> None:
    market = engine.markets[state.spec.id] = Market(state.spec)
    market.status = state.status
    market.update_id = state.update_id
    market.last_trade_id = state.last_trade_id
    market.last_price = state.last_price
    market.last_match_id = state.last_match_id
    market.reference_price = state.reference_price
    market.reference_us = state.reference_us
    market.window_price = state.window_price
    market.window_us = state.window_us
    market.until_us = state.until_us
    market.auction_price = state.auction_price
    shown = dict(state.shown)
    restored: dict[int, BookOrder] = {}
    for view in state.orders:
        order = restored[view.order_id] = _restored_order(engine, view)
        if order.order_id in shown:
            order.reserve = order.remaining - shown[order.order_id]
            order.remaining = shown[order.order_id]
        market.book.rest(order)
    trailing = dict(state.trailing)
    for view in state.waiting:
        order = restored[view.order_id] = _restored_order(engine, view)
        if order.order_id in trailing:
            market.triggers.add(order, trailing[order.order_id], is_trailing=True)
        elif order.order_id not in state.due and order.status != PENDING_NEW:
            market.triggers.add(order)
    market.triggers.due = {order_id: restored[order_id] for order_id in state.due}
    for order in sorted(restored.values(), key=_order_id):  # oldest first, as they were placed
        account = engine.accounts.accounts[order.account]
        account.own_orders(order.market).add(order)
        account.clients[order.client_order_id] = order


def _restored_order(engine: Engine, state: Order) -> BookOrder:
    command = PlaceOrder(
        state.account,
        state.market,
        state.side,
        state.order_type,
        state.time_in_force,
        state.price,
        state.lots,
        state.quote_amount,
        state.client_order_id,
        state.stp,
    )
    order = BookOrder(state.order_id, command, state.created_us)
    order.owner = engine.accounts.accounts[state.account].owner
    order.executed_lots = state.executed_lots
    order.executed_quote = state.executed_quote
    order.terms = state.terms
    order.prevented = state.terms.prevented_lots if state.terms is not None else 0
    order.remaining = state.lots - state.executed_lots - order.prevented
    order.status = state.status
    order.expiry = state.expiry
    order.updated_us = state.updated_us
    return order


def _restore_list(engine: Engine, state: ListSnapshot) -> None:
    view = state.order_list
    placed = ListOfOrders(view.list_id, view.account, view.market, view.kind, view.client_list_id, view.created_us)
    placed.hold = state.hold
    placed.is_waiting = state.is_waiting
    account = engine.accounts.accounts[view.account]
    own = account.own_orders(view.market)
    ended = {order.order_id: order for order in state.ended}
    for order_id, _ in view.orders:
        order = own.orders.get(order_id)
        placed.orders.append(_restored_order(engine, ended[order_id]) if order is None else order)
    engine.lists[placed.list_id] = placed
    account.lists[placed.client_id] = placed.list_id
    own.lists += 1
