"""The deterministic heart: one command in, one reply and its events out.

No clock, no randomness, no input or output, no floats, no iteration over sets: the same commands give the same state,
whoever replays them. Accounts hold funds before the book matches and settle after it; the two never see inside each
other. Every reply can be derived from the commands alone, so the journal keeps commands and nothing else.
"""

from typing import Final

from runtime.engine.accounts import Account, Accounts, Holding
from runtime.engine.book import FILLS_MAX, BookOrder, OrderBook, Taken
from runtime.engine.rules import CLIENT_ID_LENGTH_MAX, refuse_order
from runtime.shared.messages import (
    BAD_AMOUNT,
    BAD_CATALOGUE,
    BAD_NAME,
    BUY,
    CANCEL_ANY,
    CANCEL_ONLY,
    CANCEL_ONLY_NEW,
    CANCEL_RESTRICTED,
    CANCELED,
    CLIENT_ID_MISMATCH,
    DUPLICATE_ORDER,
    DUPLICATE_TRANSFER,
    EXEC_CANCELED,
    EXEC_EXPIRED,
    EXEC_NEW,
    EXEC_TRADE,
    EXEC_TRADE_PREVENTION,
    EXPIRED,
    EXPIRED_IN_MATCH,
    EXTERNAL_ACCOUNT,
    FEE_ACCOUNT,
    FILLED,
    FOK,
    GTC,
    HALT,
    INSUFFICIENT_BALANCE,
    INSUFFICIENT_LIQUIDITY,
    LIMIT_MAKER,
    MARKET,
    MARKET_CLOSED,
    NEW,
    NOT_SUPPORTED,
    PARTIALLY_FILLED,
    ROUNDING_ACCOUNT,
    SELL,
    STP_NONE,
    SUSPENSE_ACCOUNT,
    TOO_MANY_ORDERS,
    TRADING,
    UNFILLED_FOK_ORDER_EXPIRED,
    UNFILLED_IOC_QUANTITY_EXPIRED,
    UNKNOWN_ACCOUNT,
    UNKNOWN_ASSET,
    UNKNOWN_MARKET,
    UNKNOWN_ORDER,
    UNKNOWN_TIER,
    WOULD_MATCH,
    AccountChanged,
    AccountOpened,
    CancelAll,
    CancelOrder,
    Command,
    Configure,
    Configured,
    Deposit,
    Done,
    Event,
    Fill,
    LevelChanged,
    MarketSpec,
    MarketStatusChanged,
    OpenAccount,
    OrderChanged,
    OrderPlaced,
    OrdersCanceled,
    PlaceOrder,
    Rejected,
    Reply,
    SetMarketStatus,
    TierSpec,
    Traded,
    Transferred,
)

PPM: Final = 1_000_000
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


class Market:
    """One market: its book, its rules and its counters."""

    __slots__ = ("book", "last_price", "last_trade_id", "spec", "status", "update_id")

    def __init__(self, spec: MarketSpec) -> None:
        """Open the market for trading, with an empty book."""
        self.spec: MarketSpec = spec
        self.book: OrderBook = OrderBook()
        self.status: int = TRADING
        self.update_id: int = 0
        self.last_trade_id: int = 0
        self.last_price: int = 0
        """Price of the last trade in ticks, 0 before the first: the reference of the price band."""


class Engine:
    """The whole state of one market group."""

    def __init__(self) -> None:
        """Start with the house accounts and nothing to trade."""
        self.accounts: Accounts = Accounts()
        self.markets: dict[int, Market] = {}
        self.assets: dict[int, None] = {}
        self.tiers: dict[int, TierSpec] = {}
        self.transfers: dict[str, None] = {}
        self.next_order_id: int = 1
        self.sequence: int = 0
        self.time_us: int = 0
        self._events: list[Event] = []
        for account, name in HOUSE:
            self.accounts.open(account, name, 0)

    def apply(self, sequence: int, time_us: int, command: Command) -> tuple[Reply, list[Event]]:
        """Carry out `command`, the next in sequence, at `time_us`; return its reply and what happened.

        A command that is refused changes nothing but the sequence.
        """
        self.skip(sequence, time_us)
        reply = self._dispatch(command)
        events = self._events
        events.extend(self.accounts.collect_changes(time_us))
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
        if isinstance(command, CancelAll):
            return self._cancel_all(command)
        if isinstance(command, Deposit):
            return self._deposit(command)
        if isinstance(command, OpenAccount):
            return self._open_account(command)
        if isinstance(command, Configure):
            return self._configure(command)
        return self._set_status(command)

    # ---- orders ------------------------------------------------------------------------------------------------

    def _place(self, command: PlaceOrder) -> Reply:
        account = self.accounts.accounts.get(command.account)
        if account is None or not account.tier:
            return Rejected(UNKNOWN_ACCOUNT)
        market = self.markets.get(command.market)
        if market is None:
            return Rejected(UNKNOWN_MARKET)
        if market.status != TRADING:
            return Rejected(MARKET_CLOSED)
        spec = market.spec
        refused = refuse_order(command, spec, market.last_price)
        if refused is not None:
            return refused
        if command.client_order_id in account.clients:
            return Rejected(DUPLICATE_ORDER)
        open_max = spec.open_orders_max * self.tiers[account.tier].open_orders_factor
        if len(account.open_orders.get(command.market, ())) >= open_max:
            return Rejected(TOO_MANY_ORDERS, str(open_max))
        book = market.book
        if command.order_type == LIMIT_MAKER and book.crosses(command.side, command.price):
            return Rejected(WOULD_MATCH)
        order = BookOrder(self.next_order_id, command, self.time_us)
        given = spec.quote if order.side == BUY else spec.base
        hold = self._requirement(order, account, market, account.free(given))
        if hold > account.free(given):
            return Rejected(INSUFFICIENT_BALANCE)
        source = account.holding(given)
        self.accounts.hold(source, hold, self.sequence)
        self.next_order_id += 1
        self._events.append(OrderChanged(EXEC_NEW, order.view()))
        fills: list[Fill] = []
        taken = Taken()
        if order.time_in_force != FOK or book.can_fill(order):
            taken = book.take(order)
            fills = self._settle_all(order, account, taken, market)
        self._finish(order, account, market, taken, source, hold)
        return OrderPlaced(order.view(), fills)

    def _own_lots(self, account: Account, market: Market, command: BookOrder) -> dict[int, int]:
        """Return the account's own resting lots by price on the side that `command` takes from."""
        side = 1 - command.side
        own: dict[int, int] = {}
        for order_id in account.open_orders.get(market.spec.id, ()):
            order = market.book.orders[order_id]
            if order.side == side:
                own[order.price] = own.get(order.price, 0) + order.remaining
        return own

    def _requirement(self, order: BookOrder, account: Account, market: Market, free: int) -> int:
        """Return what the order must hold, in units of the asset it gives, and set the lots of one by amount.

        A limit order holds its full price. A market order holds what the book would cost it now; nothing can come
        between, since this command is alone. One by amount wants as many lots as the amount buys, or where the book
        runs out first, the most that a market order may have. The book is walked no further than `free` units reach:
        a sum above `free` is more than that, not exact.
        """
        spec = market.spec
        if order.order_type != MARKET:
            return order.lots * (order.price * spec.quote_units if order.side == BUY else spec.lot_units)
        if not order.quote_amount and order.side == SELL:
            return order.lots * spec.lot_units
        if order.quote_amount > free and order.side == BUY:
            return order.quote_amount
        own = self._own_lots(account, market, order) if order.stp != STP_NONE else {}
        reachable = market.book.reachable
        if not order.quote_amount:
            lots, cost, is_short = reachable(BUY, 0, order.lots, free // spec.quote_units, own)
            is_affordable = lots == order.lots or is_short
            return cost * spec.quote_units if is_affordable else free + 1
        budget = order.quote_amount // spec.quote_units
        lots_max = spec.max_market_lots if order.side == BUY else min(spec.max_market_lots, free // spec.lot_units + 1)
        lots, _, is_short = reachable(order.side, 0, lots_max, budget, own)
        order.lots = order.remaining = spec.max_market_lots if is_short else lots
        return order.quote_amount if order.side == BUY else lots * spec.lot_units

    def _settle_all(self, order: BookOrder, account: Account, taken: Taken, market: Market) -> list[Fill]:
        fills = [self._settle(order, account, maker, lots, market) for maker, lots in taken.fills]
        for maker in taken.expired:
            self._close_maker(maker, market)
            self._free_remainder(maker, market)
            maker.status = EXPIRED_IN_MATCH
            maker.updated_us = self.time_us
            self._events.append(OrderChanged(EXEC_TRADE_PREVENTION, maker.view()))
        for price, lots in taken.touched:
            self._level_changed(market, 1 - order.side, price, lots)
        return fills

    def _settle(self, taker: BookOrder, account: Account, maker: BookOrder, lots: int, market: Market) -> Fill:
        """Exchange base for quote between the two, at the maker's price, less fees; both sides were held before."""
        spec = market.spec
        accounts = self.accounts
        sequence = self.sequence
        other = accounts.accounts[maker.account]
        price = maker.price
        base_amount = lots * spec.lot_units
        quote_amount = price * lots * spec.quote_units
        taker_ppm = self.tiers[account.tier].taker_ppm
        maker_ppm = self.tiers[other.tier].maker_ppm
        if taker.side == BUY:
            buy, sell, buyer, seller, buyer_ppm, seller_ppm = taker, maker, account, other, taker_ppm, maker_ppm
        else:
            buy, sell, buyer, seller, buyer_ppm, seller_ppm = maker, taker, other, account, maker_ppm, taker_ppm
        buyer_fee = base_amount * buyer_ppm // PPM  # rounded down: in favour of the customer
        seller_fee = quote_amount * seller_ppm // PPM
        paying = buyer.holding(spec.quote)
        accounts.spend(paying, quote_amount, sequence)
        if buy.order_type != MARKET and buy.price != price:  # held at its limit, bought cheaper
            accounts.release(paying, (buy.price - price) * lots * spec.quote_units, sequence)
        accounts.credit(buyer.holding(spec.base), base_amount - buyer_fee, sequence)
        accounts.spend(seller.holding(spec.base), base_amount, sequence)
        accounts.credit(seller.holding(spec.quote), quote_amount - seller_fee, sequence)
        house = accounts.accounts[FEE_ACCOUNT]
        if buyer_fee:
            accounts.credit(house.holding(spec.base), buyer_fee, sequence)
        if seller_fee:
            accounts.credit(house.holding(spec.quote), seller_fee, sequence)
        market.last_trade_id += 1
        market.last_price = price
        trade_id = market.last_trade_id
        maker_is_buyer = maker is buy
        for order in (maker, taker):
            order.executed_lots += lots
            order.executed_quote += quote_amount
            order.status = FILLED if order.executed_lots == order.lots else PARTIALLY_FILLED
            order.updated_us = self.time_us
        if not maker.remaining:
            self._close_maker(maker, market)
        self._events.append(
            Traded(
                spec.id,
                trade_id,
                price,
                lots,
                maker_is_buyer,
                buy.order_id,
                sell.order_id,
                buy.account,
                sell.account,
                buyer_fee,
                seller_fee,
            )
        )
        maker_fee, maker_asset = (buyer_fee, spec.base) if maker_is_buyer else (seller_fee, spec.quote)
        taker_fee, taker_asset = (seller_fee, spec.quote) if maker_is_buyer else (buyer_fee, spec.base)
        self._events.append(
            OrderChanged(EXEC_TRADE, maker.view(), trade_id, price, lots, maker_fee, maker_asset, is_maker=True)
        )
        self._events.append(OrderChanged(EXEC_TRADE, taker.view(), trade_id, price, lots, taker_fee, taker_asset))
        return Fill(trade_id, price, lots, taker_fee, taker_asset)

    def _finish(
        self, order: BookOrder, account: Account, market: Market, taken: Taken, source: Holding, hold: int
    ) -> None:
        """Rest the remainder of a good-till-canceled limit order; expire any other and free what it still holds."""
        is_market = order.order_type == MARKET
        is_whole = not taken.prevented and len(taken.fills) < FILLS_MAX
        if order.remaining and not is_market and order.time_in_force == GTC and is_whole:
            lots = market.book.rest(order)
            account.open_orders.setdefault(order.market, {})[order.order_id] = None
            account.clients[order.client_order_id] = (order.market, order.order_id)
            self._level_changed(market, order.side, order.price, lots)
            return
        if is_market:
            spent = order.executed_quote if order.side == BUY else order.executed_lots * market.spec.lot_units
            if hold != spent:
                self.accounts.release(source, hold - spent, self.sequence)
        elif order.remaining:
            self._free_remainder(order, market)
        if order.executed_lots and not order.remaining:
            return
        order.remaining = 0
        if order.quote_amount:
            order.lots = order.executed_lots  # it never asked for lots: what it got is what it wanted
        if taken.prevented:
            order.status = EXPIRED_IN_MATCH
            self._events.append(OrderChanged(EXEC_TRADE_PREVENTION, order.view()))
            return
        order.status = EXPIRED
        if order.time_in_force == FOK:
            order.expiry = UNFILLED_FOK_ORDER_EXPIRED
        else:
            order.expiry = INSUFFICIENT_LIQUIDITY if is_market else UNFILLED_IOC_QUANTITY_EXPIRED
        self._events.append(OrderChanged(EXEC_EXPIRED, order.view()))

    def _free_remainder(self, order: BookOrder, market: Market) -> None:
        """Release what a limit order's remaining lots hold."""
        spec = market.spec
        account = self.accounts.accounts[order.account]
        if order.side == BUY:
            amount = order.remaining * order.price * spec.quote_units
            self.accounts.release(account.holding(spec.quote), amount, self.sequence)
        else:
            self.accounts.release(account.holding(spec.base), order.remaining * spec.lot_units, self.sequence)

    def _close_maker(self, order: BookOrder, market: Market) -> None:
        """Forget an order that left the book, in its owner's account."""
        account = self.accounts.accounts[order.account]
        del account.open_orders[market.spec.id][order.order_id]
        del account.clients[order.client_order_id]

    def _level_changed(self, market: Market, side: int, price: int, lots: int) -> None:
        market.update_id += 1
        self._events.append(LevelChanged(market.spec.id, market.update_id, side, price, lots))

    # ---- cancellations -------------------------------------------------------------------------------------------

    def _cancel(self, command: CancelOrder) -> Reply:
        account = self.accounts.accounts.get(command.account)
        if account is None:
            return Rejected(UNKNOWN_ACCOUNT)
        market = self.markets.get(command.market)
        if market is None:
            return Rejected(UNKNOWN_MARKET)
        if market.status == HALT:
            return Rejected(MARKET_CLOSED)
        if command.cancel_id and not _is_text(command.cancel_id, CLIENT_ID_LENGTH_MAX):
            return Rejected(NOT_SUPPORTED, "cancel id")
        order_id = command.order_id
        if not order_id:
            order_id = account.clients.get(command.client_order_id, (0, 0))[1]
        order = market.book.orders.get(order_id)
        if order is None or order.account != command.account:
            return Rejected(UNKNOWN_ORDER)
        if command.client_order_id and order.client_order_id != command.client_order_id:
            return Rejected(CLIENT_ID_MISMATCH)
        if command.restriction != CANCEL_ANY:
            wanted = NEW if command.restriction == CANCEL_ONLY_NEW else PARTIALLY_FILLED
            if order.status != wanted:
                return Rejected(CANCEL_RESTRICTED)
        return OrdersCanceled([self._cancel_order(order, market, command.cancel_id).order])

    def _cancel_all(self, command: CancelAll) -> Reply:
        account = self.accounts.accounts.get(command.account)
        if account is None:
            return Rejected(UNKNOWN_ACCOUNT)
        market = self.markets.get(command.market)
        if market is None:
            return Rejected(UNKNOWN_MARKET)
        if market.status == HALT:
            return Rejected(MARKET_CLOSED)
        if command.cancel_id and not _is_text(command.cancel_id, CLIENT_ID_LENGTH_MAX):
            return Rejected(NOT_SUPPORTED, "cancel id")
        order_ids = list(account.open_orders.get(command.market, ()))
        if not order_ids:
            return Rejected(UNKNOWN_ORDER)
        orders = [market.book.orders[order_id] for order_id in order_ids]
        return OrdersCanceled([self._cancel_order(order, market, command.cancel_id).order for order in orders])

    def _cancel_order(self, order: BookOrder, market: Market, cancel_id: str) -> OrderChanged:
        self._free_remainder(order, market)
        lots = market.book.remove(order)
        self._close_maker(order, market)
        order.status = CANCELED
        order.updated_us = self.time_us
        changed = OrderChanged(EXEC_CANCELED, order.view(), cancel_id=cancel_id)
        self._events.append(changed)
        self._level_changed(market, order.side, order.price, lots)
        return changed

    # ---- accounts and configuration ------------------------------------------------------------------------------

    def _deposit(self, command: Deposit) -> Reply:
        account = self.accounts.accounts.get(command.account)
        if account is None or not account.tier:
            return Rejected(UNKNOWN_ACCOUNT)
        if command.asset not in self.assets:
            return Rejected(UNKNOWN_ASSET)
        if not _is_text(command.reference, REFERENCE_LENGTH_MAX):
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

    def _open_account(self, command: OpenAccount) -> Reply:
        if not _is_text(command.name, NAME_LENGTH_MAX) or command.name.startswith("house:"):
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
                market.spec = spec
        self._events.append(Configured(command.assets, command.markets, command.tiers))
        return Done()

    def _configuration_problem(self, command: Configure) -> str:
        for tier in command.tiers:
            if not 1 <= tier.id <= ID_MAX or tier.open_orders_factor < 1:
                return f"tier {tier.id}: ids are 1 to {ID_MAX}, the factor of open orders at least 1"
            if not (0 <= tier.maker_ppm <= FEE_PPM_MAX and 0 <= tier.taker_ppm <= FEE_PPM_MAX):
                return f"tier {tier.id}: fees are 0 to {FEE_PPM_MAX} ppm"
        if not all(0 <= asset <= ID_MAX for asset in command.assets):
            return f"assets: ids are 0 to {ID_MAX}"
        for spec in command.markets:
            if not _is_sound(spec):
                return f"market {spec.id}: its numbers are not positive, not ordered, or too large"
            for asset in (spec.base, spec.quote):
                if asset not in command.assets and asset not in self.assets:
                    return f"market {spec.id}: unknown asset {asset}"
            known = self.markets.get(spec.id)
            if known and _scale(known.spec) != _scale(spec):
                return f"market {spec.id}: assets, lot and tick of a known market cannot change"
        return ""

    def _set_status(self, command: SetMarketStatus) -> Reply:
        market = self.markets.get(command.market)
        if market is None:
            return Rejected(UNKNOWN_MARKET)
        if command.status not in (TRADING, HALT, CANCEL_ONLY):
            return Rejected(NOT_SUPPORTED, f"status {command.status}; known: {TRADING}, {HALT}, {CANCEL_ONLY}")
        market.status = command.status
        self._events.append(MarketStatusChanged(command.market, command.status))
        return Done()


def _is_text(text: str, length_max: int) -> bool:
    """Tell whether any store can hold `text`: not empty, bounded, without control characters."""
    return 1 <= len(text) <= length_max and text.isprintable()


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
    )


def _scale(spec: MarketSpec) -> tuple[int, int, int, int]:
    return spec.base, spec.quote, spec.lot_units, spec.quote_units
