"""What each event means in the ledger: orders as they stand, trades, and double-entry postings. Pure.

Errors:
    LedgerError            the feed and the ledger cannot both be right; a person must look, the ledger must not go on
    ├── FeedGapError       the feed repeats, skips or goes back
    └── DisagreementError  the engine's balances are not what the postings add up to, or a market changed its scale
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from runtime.ledger.quotes import QuoteRow
from runtime.shared.messages import (
    BUY,
    EXEC_REPLACED,
    EXTERNAL_ACCOUNT,
    FEE_ACCOUNT,
    AccountChanged,
    BalanceChanged,
    Configured,
    FeeCharged,
    Happened,
    ListChanged,
    MarketSpec,
    Order,
    OrderChanged,
    OrderList,
    SelfTradePrevented,
    Traded,
    Transferred,
)

MINUTE_US: Final = 60_000_000
TRADE: Final = 1
FEE: Final = 2
TRANSFER: Final = 3
"""Kinds of posting."""


class LedgerError(RuntimeError):
    """Base of what makes the ledger stop."""


class FeedGapError(LedgerError):
    """A sequence other than the next."""


class DisagreementError(LedgerError):
    """The engine and the ledger disagree; the message names the sequence, the account and both figures."""


class Scale(NamedTuple):
    """What settling a trade needs of a market: assets, and their units in one lot (at a price of one tick)."""

    base: int
    quote: int
    lot_units: int
    quote_units: int


class AccountRow(NamedTuple):
    """A row of `accounts`."""

    account: int
    name: str
    tier: int
    opened_us: int


class TradeRow(NamedTuple):
    """A row of `trades`."""

    market: int
    trade_id: int
    price: int
    lots: int
    buyer_is_maker: bool
    buy_order_id: int
    sell_order_id: int
    buyer: int
    seller: int
    buyer_fee: int
    seller_fee: int
    time_us: int
    sequence: int
    buyer_fee_asset: int
    seller_fee_asset: int


class CandleRow(NamedTuple):
    """A row of `candles`, or what a batch adds to one: a minute of a market. Sums may exceed 64 bits."""

    market: int
    minute_us: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    turnover: int
    taker_buy_volume: int
    taker_buy_turnover: int
    trades: int
    first_id: int
    last_id: int


class PreventedMatchRow(NamedTuple):
    """A row of `prevented_matches`."""

    market: int
    match_id: int
    taker_order_id: int
    maker_order_id: int
    taker: int
    maker: int
    trade_group: int
    mode: int
    price: int
    taker_lots: int
    maker_lots: int
    transferred: int
    time_us: int


class AmendmentRow(NamedTuple):
    """A row of `order_amendments`. `old_lots` is 0 where only the ledger's own row of the order can tell."""

    order_id: int
    sequence: int
    event: int
    account: int
    market: int
    old_client_order_id: str
    new_client_order_id: str
    old_lots: int
    new_lots: int
    time_us: int


class Posting(NamedTuple):
    """A row of `postings`: one line of the entry (sequence, event)."""

    sequence: int
    event: int
    line: int
    account: int
    asset: int
    amount: int
    kind: int
    time_us: int


class TransferRow(NamedTuple):
    """A row of `transfers`."""

    sequence: int
    event: int
    account: int
    asset: int
    amount: int
    reference: str
    time_us: int


class BalanceRow(NamedTuple):
    """A row of `balances`, and what free + held must have been before the batch for its postings to add up."""

    account: int
    asset: int
    free: int
    held: int
    sequence: int
    before: int


@dataclass(slots=True)
class Rows:
    """What one batch writes, in one transaction."""

    sequence: int
    time_us: int = 0
    markets: dict[int, Scale] = field(default_factory=dict)
    accounts: dict[int, AccountRow] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    trades: list[TradeRow] = field(default_factory=list)
    postings: list[Posting] = field(default_factory=list)
    transfers: list[TransferRow] = field(default_factory=list)
    balances: dict[tuple[int, int], BalanceRow] = field(default_factory=dict)
    order_lists: dict[int, OrderList] = field(default_factory=dict)
    prevented_matches: list[PreventedMatchRow] = field(default_factory=list)
    order_amendments: list[AmendmentRow] = field(default_factory=list)
    quotes: list[QuoteRow] = field(default_factory=list)
    """Not of `project`, which knows no books."""


def project(batch: Sequence[Happened], position: int, markets: Mapping[int, Scale]) -> Rows:
    """Return the rows for `batch`, which must follow `position` without a gap; `markets` are those known so far.

    Every balance that the engine reports is compared with the postings of its command. Raises LedgerError.
    """
    rows = Rows(position)
    for happened in batch:
        if happened.sequence != rows.sequence + 1:
            raise FeedGapError(f"the ledger is at sequence {rows.sequence}, the feed goes on with {happened.sequence}")
        rows.sequence = happened.sequence
        rows.time_us = happened.time_us
        posted = len(rows.postings)
        reported: list[BalanceChanged] = []
        for index, event in enumerate(happened.events):
            if isinstance(event, OrderChanged):
                _project_order(rows, index, event)
            elif isinstance(event, BalanceChanged):
                reported.append(event)
            elif isinstance(event, Traded | SelfTradePrevented | Transferred | FeeCharged):
                _project_money(rows, index, event, markets)
            elif isinstance(event, ListChanged):
                rows.order_lists[event.order_list.list_id] = event.order_list
            elif isinstance(event, AccountChanged):
                rows.accounts[event.account] = AccountRow(event.account, event.name, event.tier, happened.time_us)
            elif isinstance(event, Configured):
                _learn(rows, markets, event.markets)
        _reconcile(rows, rows.postings[posted:], reported)
    return rows


def _project_order(rows: Rows, index: int, event: OrderChanged) -> None:
    """Note an order as it is now, and what was changed of it while it kept its place."""
    order = event.order
    before = rows.orders.get(order.order_id)
    if event.execution == EXEC_REPLACED:
        rows.order_amendments.append(
            AmendmentRow(
                order_id=order.order_id,
                sequence=rows.sequence,
                event=index,
                account=order.account,
                market=order.market,
                old_client_order_id=event.cancel_id,
                new_client_order_id=order.client_order_id,
                old_lots=before.lots if before else 0,
                new_lots=order.lots,
                time_us=rows.time_us,
            )
        )
    rows.orders[order.order_id] = order


def _project_money(
    rows: Rows, index: int, event: Traded | SelfTradePrevented | Transferred | FeeCharged, markets: Mapping[int, Scale]
) -> None:
    """Note an event that moves money, with its entry."""
    sequence, time_us = rows.sequence, rows.time_us
    if isinstance(event, Traded):
        rows.trades.append(_trade(event, rows))
        _post(rows, index, _settlement(event, rows.markets.get(event.market) or markets[event.market]))
    elif isinstance(event, SelfTradePrevented):
        rows.prevented_matches.append(_prevented_match(event, time_us))
        _post(rows, index, _group_transfer(event, rows.markets.get(event.market) or markets[event.market]))
    elif isinstance(event, Transferred):
        rows.transfers.append(
            TransferRow(sequence, index, event.account, event.asset, event.amount, event.reference, time_us)
        )
        _post(rows, index, _transfer(event))
    else:
        _post(
            rows,
            index,
            [(event.account, event.asset, -event.fee, FEE), (FEE_ACCOUNT, event.asset, event.fee, FEE)],
        )


def _prevented_match(event: SelfTradePrevented, time_us: int) -> PreventedMatchRow:
    return PreventedMatchRow(
        market=event.market,
        match_id=event.match_id,
        taker_order_id=event.taker_order_id,
        maker_order_id=event.maker_order_id,
        taker=event.taker,
        maker=event.maker,
        trade_group=event.trade_group,
        mode=event.mode,
        price=event.price,
        taker_lots=event.taker_lots,
        maker_lots=event.maker_lots,
        transferred=event.transferred,
        time_us=time_us,
    )


def _trade(traded: Traded, rows: Rows) -> TradeRow:
    return TradeRow(
        market=traded.market,
        trade_id=traded.trade_id,
        price=traded.price,
        lots=traded.lots,
        buyer_is_maker=traded.buyer_is_maker,
        buy_order_id=traded.buy_order_id,
        sell_order_id=traded.sell_order_id,
        buyer=traded.buyer,
        seller=traded.seller,
        buyer_fee=traded.buyer_fee,
        seller_fee=traded.seller_fee,
        time_us=rows.time_us,
        sequence=rows.sequence,
        buyer_fee_asset=traded.buyer_fee_asset,
        seller_fee_asset=traded.seller_fee_asset,
    )


Line = tuple[int, int, int, int]
"""Account, asset, amount, kind."""


def _settlement(traded: Traded, scale: Scale) -> list[Line]:
    """Return the entry of a trade: base for quote at full amounts, then each side's fee, in what it received or chose.

    A rebate is a fee below 0.
    """
    base = traded.lots * scale.lot_units
    quote = traded.price * traded.lots * scale.quote_units
    buyer_asset = scale.base if traded.buyer_fee_asset < 0 else traded.buyer_fee_asset
    seller_asset = scale.quote if traded.seller_fee_asset < 0 else traded.seller_fee_asset
    return [
        (traded.seller, scale.base, -base, TRADE),
        (traded.buyer, scale.base, base, TRADE),
        (traded.buyer, scale.quote, -quote, TRADE),
        (traded.seller, scale.quote, quote, TRADE),
        (traded.buyer, buyer_asset, -traded.buyer_fee, FEE),
        (FEE_ACCOUNT, buyer_asset, traded.buyer_fee, FEE),
        (traded.seller, seller_asset, -traded.seller_fee, FEE),
        (FEE_ACCOUNT, seller_asset, traded.seller_fee, FEE),
    ]


def _group_transfer(event: SelfTradePrevented, scale: Scale) -> list[Line]:
    """Return the entry of what changed hands between two accounts of one group instead of being traded."""
    base = event.transferred * scale.lot_units
    quote = event.price * event.transferred * scale.quote_units
    buyer, seller = (event.taker, event.maker) if event.taker_side == BUY else (event.maker, event.taker)
    return [
        (seller, scale.base, -base, TRADE),
        (buyer, scale.base, base, TRADE),
        (buyer, scale.quote, -quote, TRADE),
        (seller, scale.quote, quote, TRADE),
    ]


def _transfer(transferred: Transferred) -> list[Line]:
    """Return the entry of a deposit (of a withdrawal, when negative): what comes in, comes from outside."""
    return [
        (EXTERNAL_ACCOUNT, transferred.asset, -transferred.amount, TRANSFER),
        (transferred.account, transferred.asset, transferred.amount, TRANSFER),
    ]


def _post(rows: Rows, index: int, lines: list[Line]) -> None:
    """Add an entry; lines of nothing are left out."""
    rows.postings.extend(
        Posting(rows.sequence, index, number, account, asset, amount, kind, rows.time_us)
        for number, (account, asset, amount, kind) in enumerate(lines)
        if amount
    )


def _learn(rows: Rows, markets: Mapping[int, Scale], specs: Sequence[MarketSpec]) -> None:
    """Note the scales of markets. A known one cannot change: earlier trades would read differently."""
    for spec in specs:
        scale = Scale(spec.base, spec.quote, spec.lot_units, spec.quote_units)
        known = rows.markets.get(spec.id) or markets.get(spec.id)
        if known is None:
            rows.markets[spec.id] = scale
        elif known != scale:
            raise DisagreementError(f"sequence {rows.sequence}: market {spec.id} is {known}, cannot become {scale}")


def _reconcile(rows: Rows, postings: Sequence[Posting], reported: Sequence[BalanceChanged]) -> None:
    """Compare what one command posted with the balances it reports, and note the balances."""
    moved: dict[tuple[int, int], int] = {}
    for posting in postings:
        key = posting.account, posting.asset
        moved[key] = moved.get(key, 0) + posting.amount
    for balance in reported:
        key = balance.account, balance.asset
        total = balance.free + balance.held
        change = moved.pop(key, 0)
        earlier = rows.balances.get(key)
        if earlier is not None and earlier.free + earlier.held + change != total:
            raise DisagreementError(
                f"sequence {rows.sequence}: account {balance.account} holds {total} of asset {balance.asset} in the "
                f"engine, {earlier.free + earlier.held + change} by its postings"
            )
        before = total - change if earlier is None else earlier.before
        rows.balances[key] = BalanceRow(*key, balance.free, balance.held, rows.sequence, before)
    for (account, asset), amount in moved.items():
        if amount:
            raise DisagreementError(
                f"sequence {rows.sequence}: postings move {amount} of asset {asset} for account {account}, "
                "the engine reports no change of that balance"
            )


def candles(trades: Sequence[TradeRow]) -> list[CandleRow]:
    """Return the candles of `trades`, which are in the engine's order: one for each market and minute."""
    found: dict[tuple[int, int], CandleRow] = {}
    for trade in trades:
        minute_us = trade.time_us // MINUTE_US * MINUTE_US
        turnover = trade.price * trade.lots
        bought = (0, 0) if trade.buyer_is_maker else (trade.lots, turnover)
        key = trade.market, minute_us
        if (past := found.get(key)) is None:
            prices = (trade.price,) * 4
            found[key] = CandleRow(*key, *prices, trade.lots, turnover, *bought, 1, trade.trade_id, trade.trade_id)
            continue
        found[key] = past._replace(
            high=max(past.high, trade.price),
            low=min(past.low, trade.price),
            close=trade.price,
            volume=past.volume + trade.lots,
            turnover=past.turnover + turnover,
            taker_buy_volume=past.taker_buy_volume + bought[0],
            taker_buy_turnover=past.taker_buy_turnover + bought[1],
            trades=past.trades + 1,
            last_id=trade.trade_id,
        )
    return list(found.values())
