"""The deterministic heart: one command in, one reply and its events out.

No clock, no randomness, no input or output, no floats, no iteration over sets: the same commands give the same state,
whoever replays them. Accounts hold funds before the book matches and settle after it; the two never see inside each
other. Every reply can be derived from the commands alone, so the journal keeps commands and nothing else. Matching
rules have a version of their own, which is sequenced: newer code plays older commands as they were played.

This file holds what operators do: accounts, funds, markets, auctions. What orders do is in `trading`.
"""

from typing import Final

from runtime.engine.auction import equilibrium
from runtime.engine.book import BookOrder
from runtime.engine.market import Market, Spec
from runtime.engine.rules import is_text
from runtime.engine.trading import NEVER_US, PPM, Trading
from runtime.engine.triggers import BASIS_POINTS
from runtime.shared.messages import (
    ALL_MARKETS,
    AUCTION,
    BAD_AMOUNT,
    BAD_CATALOGUE,
    BAD_NAME,
    BAD_PRICE,
    BUY,
    CANCEL_ONLY,
    DUPLICATE_TRANSFER,
    EXEC_TRADE_PREVENTION,
    EXPIRED_IN_MATCH,
    EXTERNAL_ACCOUNT,
    FEE_ACCOUNT,
    FEE_FROM_RECEIVED,
    FILLED,
    HALT,
    HELD,
    INSUFFICIENT_BALANCE,
    KEEP,
    NO_GROUP,
    NOT_SUPPORTED,
    RELEASED,
    ROUNDING_ACCOUNT,
    RULES_2,
    RULES_NEWEST,
    SELL,
    SETTLED,
    STP_DECREMENT,
    STP_EXPIRE_BOTH,
    STP_EXPIRE_MAKER,
    STP_EXPIRE_TAKER,
    STP_NONE,
    STP_TRANSFER,
    SUSPENSE_ACCOUNT,
    TRADING,
    UNKNOWN_ACCOUNT,
    UNKNOWN_ASSET,
    UNKNOWN_HOLD,
    UNKNOWN_MARKET,
    UNKNOWN_TIER,
    AccountChanged,
    AccountOpened,
    AccountOptionsChanged,
    AmendOrder,
    CancelAll,
    CancelList,
    CancelOrder,
    Command,
    Configure,
    Configured,
    Deposit,
    Done,
    Event,
    FeeCharged,
    HoldChanged,
    HoldFunds,
    HoldState,
    MarketSpec,
    MarketStatusChanged,
    OpenAccount,
    OrderChanged,
    PassTime,
    PlaceList,
    PlaceOrder,
    ReferencePriceChanged,
    Rejected,
    ReleaseHold,
    ReplaceOrder,
    Reply,
    SelfTradePrevented,
    SetAccountOptions,
    SetMarketStatus,
    SetReferencePrice,
    SettleHold,
    TierSpec,
    Transferred,
)

AMOUNT_LIMIT: Final = 2**62
"""Exclusive bound of what any account may hold of an asset, in units."""
FEE_PPM_MAX: Final = 50_000
ID_MAX: Final = 65_535
NAME_LENGTH_MAX: Final = 64
REFERENCE_LENGTH_MAX: Final = 128
HOUSE: Final = (
    (EXTERNAL_ACCOUNT, "house:external"),
    (FEE_ACCOUNT, "house:fees"),
    (ROUNDING_ACCOUNT, "house:rounding"),
    (SUSPENSE_ACCOUNT, "house:suspense"),
)
_STATUSES: Final = (TRADING, HALT, CANCEL_ONLY, AUCTION)


class Engine(Trading):
    """The whole state of one market group."""

    def __init__(self) -> None:
        """Start with the house accounts and nothing to trade."""
        super().__init__()
        self.assets: dict[int, None] = {}
        self.transfers: dict[str, None] = {}
        self.holds: dict[str, HoldState] = {}
        """Funds held for withdrawals, by reference."""
        for account, name in HOUSE:
            self.accounts.open(account, name, 0)

    def apply(self, sequence: int, time_us: int, command: Command) -> tuple[Reply, list[Event]]:
        """Carry out `command`, the next in sequence, at `time_us`; return its reply and what happened.

        A command that is refused changes nothing but the sequence; but auctions whose time has come are ended first.
        Unless the engine `is_telling`, what happened is not complete: the events that most commands cause are counted,
        not made.
        """
        self.skip(sequence, time_us)
        self._untold = 0
        if time_us >= self.auction_due_us:
            self._end_auctions()
        reply = self._dispatch(command)
        events = self._events
        self.accounts.collect_changes(time_us, events if self.is_telling else None)
        self._events = []
        return reply, events

    def skip(self, sequence: int, time_us: int) -> None:
        """Advance to `sequence` without a command."""
        if sequence != self.sequence + 1:
            msg = f"sequence {sequence} cannot follow {self.sequence}"
            raise ValueError(msg)
        self.sequence = sequence
        self.time_us = time_us

    def _dispatch(self, command: Command) -> Reply:
        if isinstance(command, PlaceOrder):
            return self._place(command)
        if isinstance(command, CancelOrder):
            return self._cancel(command)
        if isinstance(command, ReplaceOrder):
            return self._replace(command)
        if isinstance(command, CancelAll):
            return self._cancel_all(command)
        if isinstance(command, AmendOrder):
            return self._amend(command)
        if isinstance(command, PlaceList):
            return self._place_list(command)
        if isinstance(command, CancelList):
            return self._cancel_list(command)
        if isinstance(command, SetReferencePrice):
            return self._set_reference_price(command)
        return self._administer(command)

    def _administer(self, command: Command) -> Reply:
        if isinstance(command, Deposit):
            return self._deposit(command)
        if isinstance(command, HoldFunds):
            return self._hold_funds(command)
        if isinstance(command, SettleHold):
            return self._settle_hold(command)
        if isinstance(command, ReleaseHold):
            return self._release_hold(command)
        if isinstance(command, OpenAccount):
            return self._open_account(command)
        if isinstance(command, SetAccountOptions):
            return self._set_options(command)
        if isinstance(command, Configure):
            return self._configure(command)
        if isinstance(command, PassTime):
            return Done()
        assert isinstance(command, SetMarketStatus)
        return self._set_status(command)

    # ---- funds ---------------------------------------------------------------------------------------------------

    def _deposit(self, command: Deposit) -> Reply:
        account = self.accounts.accounts.get(command.account)
        if account is None or not account.tier:
            return Rejected(UNKNOWN_ACCOUNT)
        if command.asset not in self.assets:
            return Rejected(UNKNOWN_ASSET)
        if not is_text(command.reference, REFERENCE_LENGTH_MAX):
            return Rejected(BAD_NAME, f"a reference has 1 to {REFERENCE_LENGTH_MAX} printable characters")
        if command.reference in self.transfers:
            return Rejected(DUPLICATE_TRANSFER)
        external = self.accounts.accounts[EXTERNAL_ACCOUNT]
        if command.amount <= 0 or command.amount - external.free(command.asset) >= AMOUNT_LIMIT:
            return Rejected(BAD_AMOUNT, f"more than 0, in all less than {AMOUNT_LIMIT} units")
        self.transfers[command.reference] = None
        self.accounts.credit(account.holding(command.asset), command.amount, self.sequence)
        self.accounts.credit(external.holding(command.asset), -command.amount, self.sequence)
        self._events.append(Transferred(command.account, command.asset, command.amount, command.reference))
        return Done()

    def _hold_funds(self, command: HoldFunds) -> Reply:
        account = self.accounts.accounts.get(command.account)
        if account is None or not account.tier:
            return Rejected(UNKNOWN_ACCOUNT)
        if command.asset not in self.assets:
            return Rejected(UNKNOWN_ASSET)
        if not is_text(command.reference, REFERENCE_LENGTH_MAX):
            return Rejected(BAD_NAME, f"a reference has 1 to {REFERENCE_LENGTH_MAX} printable characters")
        if command.reference in self.transfers:
            return Rejected(DUPLICATE_TRANSFER)
        if command.amount <= 0:
            return Rejected(BAD_AMOUNT, "more than 0")
        if not self.accounts.hold(account.holding(command.asset), command.amount, self.sequence):
            return Rejected(INSUFFICIENT_BALANCE)
        self.transfers[command.reference] = None
        self.holds[command.reference] = HoldState(command.account, command.asset, command.amount, command.reference)
        self._events.append(HoldChanged(command.account, command.asset, command.amount, command.reference, HELD))
        return Done()

    def _settle_hold(self, command: SettleHold) -> Reply:
        hold = self.holds.get(command.reference)
        if hold is None:
            return Rejected(UNKNOWN_HOLD)
        if not 0 <= command.fee < hold.amount:
            return Rejected(BAD_AMOUNT, f"a fee is 0 to less than the {hold.amount} units held")
        del self.holds[command.reference]
        accounts, sequence = self.accounts, self.sequence
        sent = hold.amount - command.fee
        accounts.spend(accounts.accounts[hold.account].holding(hold.asset), hold.amount, sequence)
        accounts.credit(accounts.accounts[EXTERNAL_ACCOUNT].holding(hold.asset), sent, sequence)
        self._events.append(HoldChanged(hold.account, hold.asset, hold.amount, hold.reference, SETTLED))
        self._events.append(Transferred(hold.account, hold.asset, -sent, hold.reference))
        if command.fee:
            accounts.credit(accounts.accounts[FEE_ACCOUNT].holding(hold.asset), command.fee, sequence)
            self._events.append(FeeCharged(hold.account, hold.asset, command.fee, hold.reference))
        return Done()

    def _release_hold(self, command: ReleaseHold) -> Reply:
        hold = self.holds.pop(command.reference, None)
        if hold is None:
            return Rejected(UNKNOWN_HOLD)
        holding = self.accounts.accounts[hold.account].holding(hold.asset)
        self.accounts.release(holding, hold.amount, self.sequence)
        self._events.append(HoldChanged(hold.account, hold.asset, hold.amount, hold.reference, RELEASED))
        return Done()

    # ---- accounts and configuration ------------------------------------------------------------------------------

    def _open_account(self, command: OpenAccount) -> Reply:
        if not is_text(command.name, NAME_LENGTH_MAX) or command.name.startswith("house:"):
            return Rejected(BAD_NAME, f"1 to {NAME_LENGTH_MAX} printable characters, not starting with house:")
        if command.tier not in self.tiers:
            return Rejected(UNKNOWN_TIER, f"known: {sorted(self.tiers)}")
        known = self.accounts.ids.get(command.name)
        if known is None:
            account = self.accounts.open(self.accounts.next_account, command.name, command.tier)
            self.accounts.next_account += 1
        else:
            account = self.accounts.accounts[known]
            if account.tier == command.tier:
                return AccountOpened(known)
            account.tier = command.tier
        self._events.append(AccountChanged(account.account, account.name, account.tier))
        return AccountOpened(account.account)

    def _set_options(self, command: SetAccountOptions) -> Reply:
        account = self.accounts.accounts.get(command.account)
        if account is None or not account.tier:
            return Rejected(UNKNOWN_ACCOUNT)
        if command.trade_group != KEEP and not NO_GROUP <= command.trade_group < AMOUNT_LIMIT:
            return Rejected(NOT_SUPPORTED, f"trade group {command.trade_group}; {NO_GROUP} for none, or 0 and more")
        if command.fee_asset not in (KEEP, FEE_FROM_RECEIVED) and command.fee_asset not in self.assets:
            return Rejected(UNKNOWN_ASSET)
        if command.trade_group != KEEP:
            account.trade_group = command.trade_group
            for own in account.open_orders.values():
                for order in own.orders.values():
                    order.owner = account.owner
        if command.fee_asset != KEEP:
            account.fee_asset = command.fee_asset
        self._events.append(AccountOptionsChanged(account.account, account.trade_group, account.fee_asset))
        return Done()

    def _configure(self, command: Configure) -> Reply:
        problem = self._configuration_problem(command)
        if problem:
            return Rejected(BAD_CATALOGUE, problem)
        for asset in command.assets:
            self.assets[asset] = None
        for tier in command.tiers:
            self.tiers[tier.id] = tier
        for spec in command.markets:
            market = self.markets.get(spec.id)
            if market is None:
                self.markets[spec.id] = Market(spec)
            else:
                market.spec = Spec(spec)
        self.rules = command.rules
        self._events.append(Configured(command.assets, command.markets, command.tiers, command.rules))
        return Done()

    def _configuration_problem(self, command: Configure) -> str:
        if not self.rules <= command.rules <= RULES_NEWEST:
            return f"rules {command.rules}: {self.rules} are in force, this engine knows up to {RULES_NEWEST}"
        if not all(0 <= asset <= ID_MAX for asset in command.assets):
            return f"assets: ids are 0 to {ID_MAX}"
        for spec in command.markets:
            if not _is_sound(spec):
                return f"market {spec.id}: its numbers are not positive, not ordered, or too large"
            for asset in (spec.base, spec.quote):
                if asset not in command.assets and asset not in self.assets:
                    return f"market {spec.id}: unknown asset {asset}"
            known = self.markets.get(spec.id)
            if known and _scale(known.spec.message) != _scale(spec):
                return f"market {spec.id}: assets, lot and tick of a known market cannot change"
        return self._tier_problem(command.tiers)

    def _tier_problem(self, changed: list[TierSpec]) -> str:
        for tier in changed:
            if not 1 <= tier.id <= ID_MAX or tier.open_orders_factor < 1:
                return f"tier {tier.id}: ids are 1 to {ID_MAX}, the factor of open orders at least 1"
            if not (-FEE_PPM_MAX <= tier.maker_ppm <= FEE_PPM_MAX and 0 <= tier.taker_ppm <= FEE_PPM_MAX):
                return f"tier {tier.id}: fees are 0 to {FEE_PPM_MAX} ppm, for a maker also as much below 0"
        tiers = {**self.tiers, **{tier.id: tier for tier in changed}}.values()
        rebate = -min((tier.maker_ppm for tier in tiers), default=0)
        if any(tier.taker_ppm < rebate for tier in tiers):
            return f"tiers: a maker gets {rebate} ppm back, so no taker may pay less"
        return ""

    def _set_status(self, command: SetMarketStatus) -> Reply:
        is_all = command.market == ALL_MARKETS and self.rules >= RULES_2
        chosen = sorted(self.markets) if is_all else [command.market]
        if any(number not in self.markets for number in chosen):
            return Rejected(UNKNOWN_MARKET)
        known = _STATUSES if self.rules >= RULES_2 else _STATUSES[:3]
        if command.status not in known:
            return Rejected(NOT_SUPPORTED, f"status {command.status}; known: {', '.join(map(str, known))}")
        for number in chosen:
            self._change_status(self.markets[number], command.status)
        self.expect_auctions()
        return Done()

    def _set_reference_price(self, command: SetReferencePrice) -> Reply:
        market = self.markets.get(command.market)
        if market is None:
            return Rejected(UNKNOWN_MARKET)
        if command.price and not market.spec.min_ticks <= command.price <= market.spec.max_ticks:
            return Rejected(BAD_PRICE, f"{market.spec.min_ticks} to {market.spec.max_ticks} ticks, or 0")
        is_new = market.reference_price != command.price
        market.reference_price = command.price
        market.reference_us = self.time_us
        if is_new:
            self._events.append(ReferencePriceChanged(command.market, command.price))
        return Done()

    # ---- auctions ------------------------------------------------------------------------------------------------

    def _change_status(self, market: Market, status: int) -> None:
        """Set a status. A book that crosses matches at one price before it trades on."""
        if status == AUCTION:
            self._begin_auction(market)
            return
        if status == TRADING and (market.status == AUCTION or market.book.is_crossed()):
            market.status = AUCTION
            market.until_us = self.time_us
            self._end_auction(market)
            return
        market.status = status
        market.until_us = market.auction_price = 0
        self._events.append(MarketStatusChanged(market.spec.id, status))

    def _end_auctions(self) -> None:
        for number in sorted(self.markets):
            market = self.markets[number]
            if market.status == AUCTION and market.until_us <= self.time_us:
                self._end_auction(market)
        self.expect_auctions()

    def expect_auctions(self) -> None:
        """Note when the next auction ends."""
        self.auction_due_us = min(
            (market.until_us for market in self.markets.values() if market.status == AUCTION), default=NEVER_US
        )

    def _end_auction(self, market: Market) -> None:
        """Match what crosses at the one price, then trade on; what one command cannot match is left to the next."""
        book = market.book
        if not market.auction_price:
            reference = market.reference(self.time_us)
            market.auction_price, _ = equilibrium(book.supply(BUY), book.supply(SELL), reference)
        touched: dict[tuple[int, int], None] = {}
        is_done = False
        while not is_done and self._has_room():
            bid, ask = book.front(BUY), book.front(SELL)
            if bid is None or ask is None or bid.price < market.auction_price or ask.price > market.auction_price:
                is_done = True
            else:
                touched[BUY, bid.price] = touched[SELL, ask.price] = None
                self._match_in_auction(bid, ask, market)
        for side, price in touched:
            self._level_changed(market, side, price, book.lots_at(side, price))
        if not is_done:
            market.until_us = self.time_us
            return
        market.status = TRADING
        market.until_us = market.auction_price = market.window_us = market.window_price = 0
        self._events.append(MarketStatusChanged(market.spec.id, TRADING))
        self._follow_up(market)

    def _match_in_auction(self, bid: BookOrder, ask: BookOrder, market: Market) -> None:
        """Let the two orders at the front trade at the auction's price; the older one counts as the maker."""
        maker, taker = (bid, ask) if bid.order_id < ask.order_id else (ask, bid)
        account = self.accounts.accounts[taker.account]
        if maker.owner == taker.owner and taker.stp != STP_NONE:
            self._prevent_in_auction(taker, maker, market)
            return
        if taker.terms is not None and taker.terms.list_id:
            self._starts(taker, market)
        lots = min(bid.remaining, ask.remaining)
        market.book.serve(bid, lots)
        market.book.serve(ask, lots)
        if taker.side == BUY:
            account.open_orders[market.spec.id].buying -= lots
        self._settle(taker, account, maker, lots, market.auction_price, market)
        if taker.status == FILLED:
            self._close(taker, account)

    def _prevent_in_auction(self, taker: BookOrder, maker: BookOrder, market: Market) -> None:
        """Do what the newer order's mode says. Both are on the book, so TRANSFER is DECREMENT here."""
        mode = taker.stp
        open_lots = [order.remaining + order.reserve for order in (taker, maker)]
        is_decrement = mode in (STP_DECREMENT, STP_TRANSFER)
        if is_decrement:
            taker_lots = maker_lots = min(open_lots)
        else:
            taker_lots = open_lots[0] if mode in (STP_EXPIRE_TAKER, STP_EXPIRE_BOTH) else 0
            maker_lots = open_lots[1] if mode in (STP_EXPIRE_MAKER, STP_EXPIRE_BOTH) else 0
        market.last_match_id += 1
        group = self.accounts.accounts[taker.account].trade_group
        self._events.append(
            SelfTradePrevented(
                market.spec.id,
                market.last_match_id,
                taker.order_id,
                maker.order_id,
                taker.account,
                maker.account,
                group,
                mode,
                market.auction_price,
                taker_lots,
                maker_lots,
                0,
                taker.side,
            )
        )
        for order, lots in ((taker, taker_lots), (maker, maker_lots)):
            if lots:
                self._take_off(order, lots, market)

    def _take_off(self, order: BookOrder, lots: int, market: Market) -> None:
        """Take lots off a resting order, which ends if those were its last."""
        if order.terms is not None and order.terms.list_id:
            self._starts(order, market)
        is_last = lots == order.remaining + order.reserve
        if not is_last:
            self._free(order, lots, market)
            if order.side == BUY:
                self.accounts.accounts[order.account].open_orders[order.market].buying -= lots
            market.book.reduce(order, lots)
            order.updated_us = self.time_us
        order.prevented += lots
        self._note_prevention(order, market)
        if is_last:
            self._end(order, market, EXPIRED_IN_MATCH, EXEC_TRADE_PREVENTION)
        else:
            self._events.append(OrderChanged(EXEC_TRADE_PREVENTION, order.view()))


def _is_sound(spec: MarketSpec) -> bool:
    """Tell whether no order that passes the rules of `spec` can break arithmetic."""
    return (
        0 <= spec.id <= ID_MAX
        and spec.base != spec.quote
        and spec.lot_units > 0
        and spec.quote_units > 0
        and 0 < spec.min_ticks <= spec.max_ticks
        and 0 < spec.min_lots <= spec.max_lots
        and spec.min_lots <= spec.max_market_lots
        and 0 < spec.min_notional <= spec.max_notional < AMOUNT_LIMIT
        and 0 < spec.band_down_ppm < PPM < spec.band_up_ppm
        and spec.open_orders_max > 0
        and _is_sound_beside(spec)
    )


def _is_sound_beside(spec: MarketSpec) -> bool:
    """Tell the same of what came with triggers, icebergs, lists and auctions."""
    return (
        min(spec.algo_orders_max, spec.iceberg_parts_max, spec.iceberg_orders_max, spec.lists_max, spec.amends_max) >= 0
        and 0 <= spec.max_position < AMOUNT_LIMIT
        and 0 <= spec.trailing_min <= spec.trailing_max < BASIS_POINTS
        and spec.reference_age_us >= 0
        and 0 <= spec.interruption_ppm < PPM
        and (not spec.interruption_ppm or min(spec.interruption_window_us, spec.auction_us) > 0)
    )


def _scale(spec: MarketSpec) -> tuple[int, int, int, int]:
    return spec.base, spec.quote, spec.lot_units, spec.quote_units
