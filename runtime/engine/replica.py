"""The replicated state machine: the engine plus the memory of replies that makes a repeated command harmless.

A replica is fed the journal and nothing else. Leader, standby, recovery and tests all drive this one class.
"""

from hashlib import sha256
from typing import Final

import msgspec

from runtime.engine.accounts import Account
from runtime.engine.book import SIDES, BookOrder
from runtime.engine.engine import Engine, Market
from runtime.shared.messages import (
    ALREADY_PRUNED,
    TOO_LATE,
    Command,
    Event,
    Happened,
    MarketSpec,
    Message,
    Order,
    PlaceOrder,
    Rejected,
    Replied,
    Reply,
    TierSpec,
    encode,
)

SNAPSHOT_FORMAT: Final = 1
REPLIES_MAX: Final = 8_192
"""Replies remembered per session: twice what a client may have in flight."""
SESSIONS_MAX: Final = 1_024
"""Sessions remembered; the one idle longest is forgotten first."""


class Entry(Message):
    """A sequenced command as the journal holds it: who sent it under which number, and what was acknowledged."""

    session: str
    n: int
    acknowledged: int
    command: Command
    expires_us: int = 0


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


class MarketSnapshot(Message):
    """A market in a snapshot; orders are bids then asks, best first, oldest first."""

    spec: MarketSpec
    status: int
    update_id: int
    last_trade_id: int
    last_price: int
    orders: list[Order]


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


_decode_snapshot: Final = msgspec.msgpack.Decoder(Snapshot).decode


class SnapshotError(ValueError):
    """Bytes that are not a snapshot of a format known here."""


class Session:
    """Replies that one client may still ask for again."""

    __slots__ = ("last", "pruned", "replies")

    def __init__(self) -> None:
        """Nothing received yet."""
        self.last: int = 0
        self.pruned: int = 0
        self.replies: dict[int, Replied] = {}

    def prune(self, through: int) -> None:
        """Forget replies up to number `through`."""
        through = min(through, self.last)
        if through - self.pruned > len(self.replies):
            self.replies = {n: replied for n, replied in self.replies.items() if n > through}
        else:
            for n in range(self.pruned + 1, through + 1):
                self.replies.pop(n, None)
        self.pruned = max(self.pruned, through)

    def remember(self, replied: Replied) -> None:
        """Keep the reply to the newest command."""
        self.last = replied.n
        self.replies[replied.n] = replied
        if len(self.replies) > REPLIES_MAX:
            self.prune(next(iter(self.replies)))


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
        sequence = self.engine.sequence + 1
        session = self._session(entry.session)
        session.prune(entry.acknowledged)
        if entry.n <= session.last:
            self.engine.skip(sequence, time_us)
            first = session.replies.get(entry.n)
            return first or Replied(entry.n, sequence, time_us, Rejected(ALREADY_PRUNED)), Happened(
                sequence, time_us, []
            )
        reply: Reply = Rejected(TOO_LATE)
        events: list[Event] = []
        if entry.expires_us and time_us > entry.expires_us:
            self.engine.skip(sequence, time_us)
        else:
            reply, events = self.engine.apply(sequence, time_us, entry.command)
        replied = Replied(entry.n, sequence, time_us, reply)
        session.remember(replied)
        return replied, Happened(sequence, time_us, events)

    def _session(self, name: str) -> Session:
        """Return the session, as the one used last; forget the one idle longest when there are too many."""
        session = self.sessions.pop(name, None) or Session()
        self.sessions[name] = session
        if len(self.sessions) > SESSIONS_MAX:
            del self.sessions[next(iter(self.sessions))]
        return session

    # ---- snapshots ---------------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """Return the state in canonical bytes."""
        engine = self.engine
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
            [_market_snapshot(engine.markets[number]) for number in sorted(engine.markets)],
            [
                SessionState(name, session.last, list(session.replies.values()))
                for name, session in self.sessions.items()
            ],
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
        if state.format != SNAPSHOT_FORMAT:
            raise SnapshotError(f"snapshot of format {state.format}; this engine reads {SNAPSHOT_FORMAT}")
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
    )


def _market_snapshot(market: Market) -> MarketSnapshot:
    orders = [order.view() for side in SIDES for order in market.book.resting(side)]
    return MarketSnapshot(market.spec, market.status, market.update_id, market.last_trade_id, market.last_price, orders)


def _restore_account(engine: Engine, state: AccountSnapshot) -> None:
    account = engine.accounts.open(state.account, state.name, state.tier)
    account.updated_us = state.updated_us
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
    for order in state.orders:
        market.book.rest(_restored_order(order))
    for order in sorted(state.orders, key=lambda order: order.order_id):  # oldest first, as they were placed
        account = engine.accounts.accounts[order.account]
        account.open_orders.setdefault(order.market, {})[order.order_id] = None
        account.clients[order.client_order_id] = (order.market, order.order_id)


def _restored_order(state: Order) -> BookOrder:
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
    order.executed_lots = state.executed_lots
    order.executed_quote = state.executed_quote
    order.remaining = state.lots - state.executed_lots
    order.status = state.status
    order.expiry = state.expiry
    order.updated_us = state.updated_us
    return order
