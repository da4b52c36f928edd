"""What orders do: enter, match, settle, wait, end. Accounts hold funds before the book matches and settle after it.

Orders in a pair (OCO) hold funds together, as much as the dearer of them needs, until one of them executes or ends. An
order that waits for another one to be filled (OTO) holds nothing until it is placed.
"""

from collections import deque
from typing import Final, cast

import msgspec
from msgspec.structs import astuple

from runtime.engine.accounts import Account, Accounts, Holding
from runtime.engine.book import FILLS_MAX, NOBODY, NOTHING_TAKEN, BookOrder, Prevention, Taken
from runtime.engine.market import ListOfOrders, Market, Spec
from runtime.engine.rules import CLIENT_ID_LENGTH_MAX, is_text, reaches, refuse_list, refuse_order
from runtime.engine.triggers import BASIS_POINTS
from runtime.shared.messages import (
    AUCTION,
    BAD_QUANTITY,
    BAD_RELATION,
    BUY,
    CANCEL_ANY,
    CANCEL_ONLY_NEW,
    CANCEL_RESTRICTED,
    CANCELED,
    CLIENT_ID_MISMATCH,
    DUPLICATE_ORDER,
    EXEC_CANCELED,
    EXEC_EXPIRED,
    EXEC_NEW,
    EXEC_REJECTED,
    EXEC_REPLACED,
    EXEC_TRADE,
    EXEC_TRADE_PREVENTION,
    EXPIRED,
    EXPIRED_IN_MATCH,
    FEE_ACCOUNT,
    FEE_FROM_RECEIVED,
    FILLED,
    FOK,
    GTC,
    HALT,
    INSUFFICIENT_BALANCE,
    INSUFFICIENT_LIQUIDITY,
    LIMIT_MAKER,
    LIST_ALL_DONE,
    LIST_ENDED,
    LIST_EXECUTING,
    LIST_STARTED,
    LIST_UPDATED,
    MARKET_CLOSED,
    NEW,
    NO_GROUP,
    NOT_SUPPORTED,
    OCO,
    OTO,
    PARTIALLY_FILLED,
    PENDING_NEW,
    POSITION_LIMIT,
    QUANTITY_INCREASE,
    REJECTED,
    RULES_1,
    RULES_2,
    SELL,
    STOP_LOSS,
    STOP_ON_FAILURE,
    STP_DECREMENT,
    STP_EXPIRE_BOTH,
    STP_EXPIRE_MAKER,
    STP_EXPIRE_TAKER,
    STP_TRANSFER,
    TOO_MANY_ALGO_ORDERS,
    TOO_MANY_AMENDS,
    TOO_MANY_ICEBERGS,
    TOO_MANY_LISTS,
    TOO_MANY_ORDERS,
    TRADING,
    UNFILLED_FOK_ORDER_EXPIRED,
    UNFILLED_IOC_QUANTITY_EXPIRED,
    UNFUNDED,
    UNKNOWN_ACCOUNT,
    UNKNOWN_LIST,
    UNKNOWN_MARKET,
    UNKNOWN_ORDER,
    WOULD_MATCH,
    WOULD_TRIGGER,
    AmendOrder,
    CancelAll,
    CancelList,
    CancelOrder,
    Event,
    Fill,
    LevelChanged,
    ListChanged,
    ListPlaced,
    MarketStatusChanged,
    Order,
    OrderAmended,
    OrderChanged,
    OrderPlaced,
    OrderReplaced,
    OrdersCanceled,
    OrderTerms,
    PlaceList,
    PlaceOrder,
    Rejected,
    ReplaceOrder,
    Reply,
    SelfTradePrevented,
    TierSpec,
    Traded,
)

PPM: Final = 1_000_000
EVENTS_MAX: Final = 20_000
"""Once a command has caused so many events, triggered orders wait for the next command in their market."""
EVENTS_OF_TRADE: Final = 3
"""The trade, and what it made of either order."""
NEVER_US: Final = 2**63 - 1
_Cancel = tuple[int, int, int, str, str, int]
"""Fields of CancelOrder."""


class Trading:
    """Accounts, markets and orders; `Engine` adds administration."""

    def __init__(self) -> None:
        """Start with nothing to trade."""
        self.accounts: Accounts = Accounts()
        self.markets: dict[int, Market] = {}
        self.tiers: dict[int, TierSpec] = {}
        self.lists: dict[int, ListOfOrders] = {}
        """Open lists, oldest first."""
        self.next_order_id: int = 1
        self.next_list_id: int = 1
        self.rules: int = RULES_1
        self.sequence: int = 0
        self.time_us: int = 0
        self.auction_due_us: int = NEVER_US
        """When the next auction ends."""
        self.is_telling: bool = True
        """Whether anyone is told of what happens; nobody is of what is replayed and published already."""
        self._events: list[Event] = []
        self._untold: int = 0
        """Events of the command that were not made, as nobody is told."""
        self._ended: deque[BookOrder] = deque()
        """Orders of lists that ended, for their lists to follow."""

    # ---- placing -------------------------------------------------------------------------------------------------

    def _place(self, command: PlaceOrder) -> OrderPlaced | Rejected:
        order = BookOrder(self.next_order_id, command, self.time_us)
        account = self.accounts.accounts.get(order.account)
        if account is None or not account.tier:
            return Rejected(UNKNOWN_ACCOUNT)
        market = self.markets.get(order.market)
        if market is None:
            return Rejected(UNKNOWN_MARKET)
        refused = self._refuse(command, order, account, market)
        if refused is not None:
            return refused
        self._set_terms(order, command, account, market)
        given = market.spec.quote if order.side == BUY else market.spec.base
        is_waiting = order.order_type >= STOP_LOSS
        free = account.free(given)
        hold = self.needed(order, market) if is_waiting else self._requirement(order, account, market, free)
        if hold > free:
            return Rejected(INSUFFICIENT_BALANCE)
        source = account.holding(given)
        self.accounts.hold(source, hold, self.sequence)
        self.next_order_id += 1
        fills: list[Fill] = []
        if is_waiting:
            self._register(order, account)
            self._wait(order, market)
            view = order.view()
        else:
            view = order.view()
            if self.is_telling:
                self._events.append(OrderChanged(EXEC_NEW, view))
            else:
                self._untold += 1
            fills = self._match(order, account, market, source, hold)
            if order.level is None or fills or order.prevented:  # else it rests as it came
                view = order.view()
        placed = OrderPlaced(view, fills)
        if self._ended or market.triggers.due:
            self._follow_up(market)
        return placed

    def _refuse(self, command: PlaceOrder, order: BookOrder, account: Account, market: Market) -> Rejected | None:
        """Return why an order cannot be taken, its funds aside."""
        status = market.status
        spec = market.spec
        if status != TRADING and (
            status != AUCTION or (order.order_type < STOP_LOSS and (not order.price or order.time_in_force != GTC))
        ):
            return Rejected(MARKET_CLOSED)
        refused = refuse_order(command, order, spec, market.reference(self.time_us), market.last_price, self.rules)
        if refused is not None:
            return refused
        if order.client_order_id in account.clients:
            return Rejected(DUPLICATE_ORDER)
        refused = self._refuse_count(command, order, account, market, 1)
        if refused is not None:
            return refused
        stop_price = command.stop_price if order.order_type >= STOP_LOSS else 0
        return self._refuse_now(order.order_type, order.side, order.price, stop_price, market)

    def _refuse_now(self, order_type: int, side: int, price: int, stop_price: int, market: Market) -> Rejected | None:
        """Return why an order of a type cannot start to work, or to wait, at this moment."""
        if order_type == LIMIT_MAKER and market.book.crosses(side, price):
            return Rejected(WOULD_MATCH)
        if stop_price and order_type >= STOP_LOSS and reaches(order_type, side, stop_price, market.last_price):
            return Rejected(WOULD_TRIGGER)
        return None

    def _refuse_count(
        self, command: PlaceOrder, order: BookOrder, account: Account, market: Market, count: int
    ) -> Rejected | None:
        """Return which bound on open orders, of their number or their lots, the account would break by one more."""
        spec = market.spec
        own = account.open_orders.get(spec.id)
        open_max = spec.open_orders_max * self.tiers[account.tier].open_orders_factor
        if own is not None:
            if len(own.orders) + count > open_max:
                return Rejected(TOO_MANY_ORDERS, str(open_max))
            if order.order_type >= STOP_LOSS and own.algos >= spec.algo_orders_max:
                return Rejected(TOO_MANY_ALGO_ORDERS, str(spec.algo_orders_max))
            if order.is_special and command.iceberg_lots and own.icebergs >= spec.iceberg_orders_max:
                return Rejected(TOO_MANY_ICEBERGS, str(spec.iceberg_orders_max))
        if spec.max_position and order.side == BUY:
            holding = account.holding(spec.base)
            lots = order.lots + (own.buying if own else 0)
            if holding.free + holding.held + lots * spec.lot_units > spec.max_position:
                return Rejected(POSITION_LIMIT)
        return None

    def _set_terms(self, order: BookOrder, command: PlaceOrder, account: Account, market: Market) -> None:
        """Give a new order what only some orders have: a group of owners, a trigger, a hidden part."""
        if account.trade_group != NO_GROUP:
            order.owner = account.owner
        is_waiting = order.order_type >= STOP_LOSS
        if is_waiting or (order.is_special and command.iceberg_lots):
            order.terms = OrderTerms(
                stop_price=command.stop_price,
                trailing_delta=command.trailing_delta,
                iceberg_lots=command.iceberg_lots,
                working_us=0 if is_waiting else self.time_us,
                hold_price=_hold_price(command, market.last_price),
            )

    def _register(self, order: BookOrder, account: Account) -> None:
        account.own_orders(order.market).add(order)
        account.clients[order.client_order_id] = order

    def _wait(self, order: BookOrder, market: Market) -> None:
        """Have an order, whose funds are held, wait for its trigger."""
        terms = order.terms
        assert terms is not None
        if not terms.stop_price:
            order.terms = msgspec.structs.replace(terms, trailing_us=self.time_us)
            market.triggers.add(order, market.last_price, is_trailing=True)
        else:
            market.triggers.add(order)
        self._events.append(OrderChanged(EXEC_NEW, order.view()))

    def needed(self, order: BookOrder, market: Market) -> int:
        """Return what an order holds for its open lots, in units of the asset it gives, while it rests or waits.

        Lots that have met a taker count until they are settled.
        """
        lots = order.lots - order.executed_lots - order.prevented
        if order.side == SELL:
            return lots * market.spec.lot_units
        price = order.price
        if not price and order.terms is not None:
            price = order.terms.hold_price
        return lots * price * market.spec.quote_units

    def _requirement(self, order: BookOrder, account: Account, market: Market, free: int) -> int:
        """Return what an order that enters now must hold, and set the lots of one by amount.

        A limit order holds its full price. A market order holds what the book would cost it now; nothing can come
        between, since this command is alone. One by amount wants as many lots as the amount buys, or where the book
        runs out first, the most that a market order may have. The book is walked no further than `free` units reach:
        a sum above `free` is more than that, not exact.
        """
        spec = market.spec
        if order.price:
            return order.lots * (order.price * spec.quote_units if order.side == BUY else spec.lot_units)
        if not order.quote_amount and order.side == SELL:
            return order.remaining * spec.lot_units
        if order.quote_amount > free and order.side == BUY:
            return order.quote_amount
        owner = self._skipped(order, account)
        reachable = market.book.reachable
        if not order.quote_amount:
            lots, cost, is_short = reachable(BUY, order.remaining, free // spec.quote_units, owner)
            is_affordable = lots == order.remaining or is_short
            return cost * spec.quote_units if is_affordable else free + 1
        budget = order.quote_amount // spec.quote_units
        lots_max = spec.max_market_lots if order.side == BUY else min(spec.max_market_lots, free // spec.lot_units + 1)
        lots, _, is_short = reachable(order.side, lots_max, budget, owner)
        order.lots = order.remaining = spec.max_market_lots if is_short else lots
        return order.quote_amount if order.side == BUY else lots * spec.lot_units

    def _skipped(self, order: BookOrder, account: Account) -> int:
        """Return whose orders a taker passes over for nothing: its own, where the maker of a self-trade expires."""
        if order.stp not in (STP_EXPIRE_TAKER, STP_EXPIRE_MAKER, STP_EXPIRE_BOTH):
            return NOBODY  # it takes them, or they take from it: either way they count
        own = account.open_orders.get(order.market)
        has_own = account.trade_group != NO_GROUP or (own is not None and own.orders)
        return order.owner if has_own else NOBODY

    # ---- matching ------------------------------------------------------------------------------------------------

    def _match(self, order: BookOrder, account: Account, market: Market, source: Holding, hold: int) -> list[Fill]:
        """Match an order whose funds are held, then rest or end it."""
        taken = NOTHING_TAKEN
        fills: list[Fill] = []
        is_interrupted = False
        book = market.book
        if market.status == TRADING:
            bound = market.bound(order.side, self.time_us)
            if order.time_in_force != FOK or book.can_fill(order, bound):
                taken = book.take(order, bound)
                if taken is not NOTHING_TAKEN:
                    fills = self._settle_all(order, account, taken, market)
                if bound and order.remaining and not taken.prevented and len(taken.fills) < FILLS_MAX:
                    best = book.best(1 - order.side)
                    is_interrupted = bool(best) and (not order.price or book.crosses(order.side, order.price))
        self._finish(order, account, market, taken, source, hold)
        if is_interrupted:
            self._begin_auction(market)
        return fills

    def _begin_auction(self, market: Market) -> None:
        market.status = AUCTION
        market.until_us = self.time_us + market.spec.auction_us
        market.auction_price = 0
        self.auction_due_us = min(self.auction_due_us, market.until_us)
        self._events.append(MarketStatusChanged(market.spec.id, AUCTION, market.until_us))

    def _settle_all(self, order: BookOrder, account: Account, taken: Taken, market: Market) -> list[Fill]:
        if taken.preventions:  # what prevention took off the taker before its last fill
            for prevention in taken.preventions[: -1 if taken.prevented else None]:
                order.prevented += prevention.taker_lots
        fills = [self._settle(order, account, maker, lots, maker.price, market) for maker, lots in taken.fills]
        for prevention in taken.preventions:
            is_last = taken.prevented and prevention is taken.preventions[-1]
            self._prevent(order, account, prevention, market, is_last=is_last)
        for price, lots in taken.touched:
            self._level_changed(market, 1 - order.side, price, lots)
        return fills

    def _settle(
        self, taker: BookOrder, account: Account, maker: BookOrder, lots: int, price: int, market: Market
    ) -> Fill:
        """Exchange base for quote between the two at `price`, less fees; both sides were held before."""
        spec = market.spec
        accounts = self.accounts
        sequence = self.sequence
        other = accounts.accounts[maker.account]
        if maker.terms is not None and maker.terms.list_id:
            self._starts(maker, market)
        base_amount = lots * spec.lot_units
        quote_amount = price * lots * spec.quote_units
        taker_ppm = self.tiers[account.tier].taker_ppm
        maker_ppm = self.tiers[other.tier].maker_ppm
        if taker.side == BUY:
            buy, sell, buyer, seller, buyer_ppm, seller_ppm = taker, maker, account, other, taker_ppm, maker_ppm
        else:
            buy, sell, buyer, seller, buyer_ppm, seller_ppm = maker, taker, other, account, maker_ppm, taker_ppm
            buyer.open_orders[spec.id].buying -= lots
        paying = buyer.holding(spec.quote)
        accounts.spend(paying, quote_amount, sequence)
        if buy.price and buy.price != price:  # held at its limit, bought cheaper
            accounts.release(paying, (buy.price - price) * lots * spec.quote_units, sequence)
        if maker_ppm >= 0 and account.fee_asset == other.fee_asset == FEE_FROM_RECEIVED:
            buyer_fee = base_amount * buyer_ppm // PPM  # rounded down: in favour of the customer
            seller_fee = quote_amount * seller_ppm // PPM
            buyer_asset = seller_asset = FEE_FROM_RECEIVED
            accounts.credit(buyer.holding(spec.base), base_amount - buyer_fee, sequence)
            accounts.spend(seller.holding(spec.base), base_amount, sequence)
            accounts.credit(seller.holding(spec.quote), quote_amount - seller_fee, sequence)
            self._collect(spec.base, buyer_fee, spec.quote, seller_fee)
        else:
            accounts.credit(buyer.holding(spec.base), base_amount, sequence)
            accounts.spend(seller.holding(spec.base), base_amount, sequence)
            accounts.credit(seller.holding(spec.quote), quote_amount, sequence)
            amounts = {spec.base: base_amount, spec.quote: quote_amount}
            received = (spec.base, spec.quote) if taker is buy else (spec.quote, spec.base)
            fees = self._charge_both(account, taker_ppm, other, maker_ppm, amounts, received)
            (taker_fee, taker_asset), (maker_fee, maker_asset) = fees
            buyer_fee, buyer_asset = (taker_fee, taker_asset) if taker is buy else (maker_fee, maker_asset)
            seller_fee, seller_asset = (maker_fee, maker_asset) if taker is buy else (taker_fee, taker_asset)
        market.last_trade_id += 1
        self._execute(maker, lots, quote_amount)
        self._execute(taker, lots, quote_amount)
        if maker.status == FILLED:
            self._close(maker, other)
        if self.is_telling:
            self._tell_trade(
                Traded(
                    spec.id,
                    market.last_trade_id,
                    price,
                    lots,
                    maker is buy,
                    buy.order_id,
                    sell.order_id,
                    buy.account,
                    sell.account,
                    buyer_fee,
                    seller_fee,
                    buyer_asset,
                    seller_asset,
                ),
                maker,
                taker,
                spec,
            )
        else:
            self._untold += EVENTS_OF_TRADE
        if price != market.last_price:
            self._on_price(market, price)
        if taker is buy:
            return Fill(market.last_trade_id, price, lots, buyer_fee, spec.base if buyer_asset < 0 else buyer_asset)
        return Fill(market.last_trade_id, price, lots, seller_fee, spec.quote if seller_asset < 0 else seller_asset)

    def _execute(self, order: BookOrder, lots: int, quote_amount: int) -> None:
        order.executed_lots += lots
        order.executed_quote += quote_amount
        order.status = FILLED if order.executed_lots + order.prevented == order.lots else PARTIALLY_FILLED
        order.updated_us = self.time_us

    def _collect(self, base: int, base_fee: int, quote: int, quote_fee: int) -> None:
        """Credit the house with the fees of a trade."""
        house = self.accounts.accounts[FEE_ACCOUNT]
        if base_fee:
            self.accounts.credit(house.holding(base), base_fee, self.sequence)
        if quote_fee:
            self.accounts.credit(house.holding(quote), quote_fee, self.sequence)

    def _tell_trade(self, traded: Traded, maker: BookOrder, taker: BookOrder, spec: Spec) -> None:
        """Tell of a trade, to everyone and to the owners of the two orders."""
        events = self._events
        trade_id, price, lots = traded.trade_id, traded.price, traded.lots
        buyer_asset, seller_asset = traded.buyer_fee_asset, traded.seller_fee_asset
        if buyer_asset < 0:
            buyer_asset, seller_asset = spec.base, spec.quote
        if traded.buyer_is_maker:
            maker_fee, maker_asset, fee, asset = traded.buyer_fee, buyer_asset, traded.seller_fee, seller_asset
        else:
            maker_fee, maker_asset, fee, asset = traded.seller_fee, seller_asset, traded.buyer_fee, buyer_asset
        events.append(traded)
        events.append(
            OrderChanged(EXEC_TRADE, maker.view(), trade_id, price, lots, maker_fee, maker_asset, True)  # noqa: FBT003
        )
        events.append(OrderChanged(EXEC_TRADE, taker.view(), trade_id, price, lots, fee, asset))

    def _charge_both(
        self,
        taker: Account,
        taker_ppm: int,
        maker: Account,
        maker_ppm: int,
        amounts: dict[int, int],
        received: tuple[int, int],
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """Settle the fees of a trade that is paid already; return (fee, asset) of the taker and of the maker.

        `amounts` are what changed hands, by asset, `received` which asset went to the taker and which to the maker. A
        rebate is a fee below 0. It is paid, rounded down, out of the fee that the taker has just paid, in its asset:
        no tier's rebate is above any tier's taker fee, so the house never pays more than it got.
        """
        asset, fee = self._charge(taker, taker_ppm, amounts, received[0])
        if maker_ppm >= 0:
            maker_asset, maker_fee = self._charge(maker, maker_ppm, amounts, received[1])
            return (fee, asset), (maker_fee, maker_asset)
        rebate = amounts[asset] * -maker_ppm // PPM
        self._pay(self.accounts.accounts[FEE_ACCOUNT], maker, asset, rebate)
        return (fee, asset), (-rebate, asset)

    def _charge(self, account: Account, ppm: int, amounts: dict[int, int], received: int) -> tuple[int, int]:
        """Take a fee from the account to the house; return its asset and amount.

        It is paid in the asset that the account chose, where this market trades it and as much of it is free, else out
        of what the trade has just brought.
        """
        asset = account.fee_asset if account.fee_asset in amounts else received
        fee = amounts[asset] * ppm // PPM
        if fee > account.free(asset):
            asset = received
            fee = amounts[asset] * ppm // PPM
        self._pay(account, self.accounts.accounts[FEE_ACCOUNT], asset, fee)
        return asset, fee

    def _pay(self, payer: Account, payee: Account, asset: int, amount: int) -> None:
        if amount:
            self.accounts.credit(payer.holding(asset), -amount, self.sequence)
            self.accounts.credit(payee.holding(asset), amount, self.sequence)

    def _finish(
        self, order: BookOrder, account: Account, market: Market, taken: Taken, source: Holding, hold: int
    ) -> None:
        """Rest the remainder of a good-till-canceled limit order; expire any other and free what it still holds."""
        is_whole = not taken.prevented and len(taken.fills) < FILLS_MAX
        own = account.own_orders(order.market)
        is_registered = order.terms is not None and order.order_id in own.orders
        if order.remaining and order.price and order.time_in_force == GTC and is_whole:
            if not is_registered:
                self._register(order, account)
            elif order.side == BUY:
                own.buying += order.remaining
            lots = market.book.rest(order)
            self._level_changed(market, order.side, order.price, lots)
            return
        if not order.price:
            spent = self._spent(order, taken, market.spec)
            if hold != spent:
                self.accounts.release(source, hold - spent, self.sequence)
        elif order.remaining:
            self._free(order, order.remaining, market)
        if is_registered:
            self._close(order, account)
        if order.status != FILLED:
            self._expire(order, taken)

    def _spent(self, order: BookOrder, taken: Taken, spec: Spec) -> int:
        """Return what a market order gave away, in units."""
        spent = order.executed_quote if order.side == BUY else order.executed_lots * spec.lot_units
        for prevention in taken.preventions:
            each = prevention.price * spec.quote_units if order.side == BUY else spec.lot_units
            spent += prevention.transferred * each
        return spent

    def _expire(self, order: BookOrder, taken: Taken) -> None:
        """End an order that entered and may not rest."""
        order.remaining = 0
        if order.quote_amount:
            order.lots = order.executed_lots + order.prevented  # it never asked for lots: it wanted what it got
        if taken.prevented:
            order.status = EXPIRED_IN_MATCH
            self._events.append(OrderChanged(EXEC_TRADE_PREVENTION, order.view()))
            return
        order.status = EXPIRED
        if order.time_in_force == FOK:
            order.expiry = UNFILLED_FOK_ORDER_EXPIRED
        else:
            order.expiry = UNFILLED_IOC_QUANTITY_EXPIRED if order.price else INSUFFICIENT_LIQUIDITY
        self._events.append(OrderChanged(EXEC_EXPIRED, order.view()))

    # ---- self-trades that are prevented --------------------------------------------------------------------------

    def _prevent(
        self, taker: BookOrder, account: Account, prevention: Prevention, market: Market, *, is_last: bool
    ) -> None:
        """Free what a prevented self-trade took off its two orders; `is_last`: it ends the taker."""
        maker, price = prevention.maker, prevention.price
        if maker.terms is not None and maker.terms.list_id:
            self._starts(maker, market)
        if self.rules >= RULES_2:
            self._tell_prevention(taker, account, prevention, market)
        if prevention.transferred:
            self._transfer(taker, maker, prevention.transferred, price, market)
        else:
            self._free(maker, prevention.maker_lots, market)
            if taker.price and taker.stp in (STP_DECREMENT, STP_TRANSFER):
                self._free(taker, prevention.taker_lots, market)
        if prevention.maker_lots:
            self._take_off_maker(maker, prevention.maker_lots, market)
        if is_last and self.rules >= RULES_2:
            taker.prevented += prevention.taker_lots
        if prevention.taker_lots:
            self._note_prevention(taker, market)
            if not is_last:
                self._events.append(OrderChanged(EXEC_TRADE_PREVENTION, taker.view()))

    def _take_off_maker(self, maker: BookOrder, lots: int, market: Market) -> None:
        """Follow the book, which has taken lots off a resting order, and the whole order off if those were its last."""
        owner = self.accounts.accounts[maker.account]
        if maker.side == BUY:
            owner.open_orders[maker.market].buying -= lots
        maker.prevented += lots
        if maker.level is None:
            maker.remaining = maker.reserve = 0
            self._close(maker, owner)
            maker.status = EXPIRED_IN_MATCH
        maker.updated_us = self.time_us
        self._note_prevention(maker, market)
        self._events.append(OrderChanged(EXEC_TRADE_PREVENTION, maker.view()))

    def _tell_prevention(self, taker: BookOrder, account: Account, prevention: Prevention, market: Market) -> None:
        market.last_match_id += 1
        self._events.append(
            SelfTradePrevented(
                market.spec.id,
                market.last_match_id,
                taker.order_id,
                prevention.maker.order_id,
                taker.account,
                prevention.maker.account,
                account.trade_group,
                taker.stp,
                prevention.price,
                prevention.taker_lots,
                prevention.maker_lots,
                prevention.transferred,
                taker.side,
            )
        )

    def _note_prevention(self, order: BookOrder, market: Market) -> None:
        """Have the order say what prevention took off it, and when it last did."""
        if self.rules >= RULES_2:
            terms = order.terms or OrderTerms(working_us=order.created_us)
            order.terms = msgspec.structs.replace(
                terms, prevented_lots=order.prevented, prevented_match_id=market.last_match_id
            )

    def _transfer(self, taker: BookOrder, maker: BookOrder, lots: int, price: int, market: Market) -> None:
        """Let lots change hands between two accounts of one group, without a trade and without fees."""
        spec, accounts = market.spec, self.accounts
        buy, sell = (taker, maker) if taker.side == BUY else (maker, taker)
        buyer, seller = accounts.accounts[buy.account], accounts.accounts[sell.account]
        base_amount, quote_amount = lots * spec.lot_units, price * lots * spec.quote_units
        paying = buyer.holding(spec.quote)
        accounts.spend(paying, quote_amount, self.sequence)
        if buy.price and buy.price != price:
            accounts.release(paying, (buy.price - price) * lots * spec.quote_units, self.sequence)
        accounts.credit(buyer.holding(spec.base), base_amount, self.sequence)
        accounts.spend(seller.holding(spec.base), base_amount, self.sequence)
        accounts.credit(seller.holding(spec.quote), quote_amount, self.sequence)

    # ---- orders end ----------------------------------------------------------------------------------------------

    def _free(self, order: BookOrder, lots: int, market: Market) -> None:
        """Release what `lots` of a limit order, or of one that waits, hold."""
        if not lots:
            return
        spec = market.spec
        account = self.accounts.accounts[order.account]
        if order.side == SELL:
            self.accounts.release(account.holding(spec.base), lots * spec.lot_units, self.sequence)
            return
        price = order.price
        if not price and order.terms is not None:
            price = order.terms.hold_price
        self.accounts.release(account.holding(spec.quote), lots * price * spec.quote_units, self.sequence)

    def _close(self, order: BookOrder, account: Account) -> None:
        """Forget an order that is no longer open, in its owner's account; its list hears of it."""
        account.open_orders[order.market].drop(order)
        del account.clients[order.client_order_id]
        if order.terms is not None and order.terms.list_id:
            self._ended.append(order)

    def _has_room(self) -> bool:
        """Tell whether the command may still cause more; told or not, its events count."""
        return len(self._events) + self._untold < EVENTS_MAX

    def _level_changed(self, market: Market, side: int, price: int, lots: int) -> None:
        market.update_id += 1
        if self.is_telling:
            self._events.append(LevelChanged(market.spec.id, market.update_id, side, price, lots))
        else:
            self._untold += 1

    def _end(
        self, order: BookOrder, market: Market, status: int, execution: int, *, cancel_id: str = "", reason: int = 0
    ) -> Order:
        """End an open order, wherever it is: on the book, waiting for a trigger, or for another order."""
        account = self.accounts.accounts[order.account]
        lots = order.remaining + order.reserve
        if order.status != PENDING_NEW:
            self._free(order, lots, market)
        if order.side == BUY:
            account.open_orders[order.market].buying -= lots
        is_on_book = order.level is not None
        left = market.book.remove(order) if is_on_book else 0
        if not is_on_book and (order.order_id in market.triggers.waiting or order.order_id in market.triggers.due):
            market.triggers.remove(order)
        order.remaining = order.reserve = 0
        self._close(order, account)
        order.status = status
        order.updated_us = self.time_us
        view = order.view()
        if self.is_telling:
            # By position: compiled code would match the names for each message anew.
            self._events.append(OrderChanged(execution, view, 0, 0, 0, 0, 0, False, cancel_id, reason))  # noqa: FBT003
        else:
            self._untold += 1
        if is_on_book:
            self._level_changed(market, order.side, order.price, left)
        return view

    # ---- triggers ------------------------------------------------------------------------------------------------

    def _on_price(self, market: Market, price: int) -> None:
        """Note the price of a trade that is not the last one's, and what it triggers."""
        market.last_price = price
        triggers = market.triggers
        if not triggers.waiting:
            return
        triggers.on_price(price)
        for order in triggers.activated:
            assert order.terms is not None
            order.terms = msgspec.structs.replace(order.terms, trailing_us=self.time_us)
        triggers.activated.clear()

    def _follow_up(self, market: Market) -> None:
        """Let lists follow the orders that ended, and enter the orders that are due, as far as one command may."""
        due = market.triggers.due
        while True:
            if self._ended:
                self._follow(self._ended.popleft(), market)
            elif due and market.status == TRADING and self._has_room():
                order = next(iter(due.values()))
                del due[order.order_id]
                if order.status == PENDING_NEW:
                    self._place_pending(order, market)
                else:
                    self._trigger(order, market)
            else:
                return

    def _trigger(self, order: BookOrder, market: Market) -> None:
        """Enter an order whose trigger was reached. One without a limit holds what the book costs now, or expires."""
        terms = order.terms
        assert terms is not None
        if terms.list_id:
            self._starts(order, market)
        order.terms = msgspec.structs.replace(terms, working_us=self.time_us)
        order.updated_us = self.time_us
        account = self.accounts.accounts[order.account]
        source = account.holding(market.spec.quote if order.side == BUY else market.spec.base)
        hold = self.needed(order, market)
        if not order.price:
            self.accounts.release(source, hold, self.sequence)
            hold = self._requirement(order, account, market, source.free)
            if hold > source.free:
                self.accounts.hold(source, self.needed(order, market), self.sequence)
                order.expiry = UNFUNDED
                self._end(order, market, EXPIRED, EXEC_EXPIRED)
                return
            self.accounts.hold(source, hold, self.sequence)
        if order.side == BUY:
            account.open_orders[order.market].buying -= order.remaining
        self._events.append(OrderChanged(EXEC_NEW, order.view()))
        self._match(order, account, market, source, hold)

    # ---- lists ---------------------------------------------------------------------------------------------------

    def _place_list(self, command: PlaceList) -> Reply:
        account = self.accounts.accounts.get(command.account)
        if account is None or not account.tier:
            return Rejected(UNKNOWN_ACCOUNT)
        market = self.markets.get(command.market)
        if market is None:
            return Rejected(UNKNOWN_MARKET)
        refused = self._refuse_list(command, account, market)
        if refused is not None:
            return refused
        placed = ListOfOrders(
            self.next_list_id, command.account, command.market, command.kind, command.client_list_id, self.time_us
        )
        for place in command.orders:
            order = BookOrder(self.next_order_id, place, self.time_us)
            self._set_terms(order, place, account, market)
            order.terms = msgspec.structs.replace(
                order.terms or OrderTerms(working_us=self.time_us), list_id=placed.list_id
            )
            order.order_id += len(placed.orders)
            placed.orders.append(order)
        works = placed.orders[0]
        given = market.spec.quote if works.side == BUY else market.spec.base
        holds = [self.needed(order, market) for order in placed.orders]
        hold = max(holds) if command.kind == OCO else holds[0]
        if hold > account.free(given):
            return Rejected(INSUFFICIENT_BALANCE)
        self.next_order_id += len(placed.orders)
        self.next_list_id += 1
        self.lists[placed.list_id] = placed
        account.lists[placed.client_id] = placed.list_id
        account.own_orders(command.market).lists += 1
        self._tell_list(placed, LIST_STARTED, LIST_EXECUTING)
        fills = self._start_list(placed, account, market, hold)
        reply = ListPlaced(
            placed.view(LIST_EXECUTING, self.time_us),
            [OrderPlaced(order.view(), fills if order is works else []) for order in placed.orders],
        )
        if self._ended or market.triggers.due:
            self._follow_up(market)
        return reply

    def _refuse_list(self, command: PlaceList, account: Account, market: Market) -> Rejected | None:
        """Return why a list cannot be taken, its funds aside."""
        spec = market.spec
        reference = market.reference(self.time_us)
        refused = refuse_list(command, spec, reference, market.last_price, self.rules)
        if refused is not None:
            return refused
        if command.client_list_id in account.lists or any(
            order.client_order_id in account.clients for order in command.orders
        ):
            return Rejected(DUPLICATE_ORDER)
        own = account.open_orders.get(spec.id)
        if own is not None and own.lists >= spec.lists_max:
            return Rejected(TOO_MANY_LISTS, str(spec.lists_max))
        working = command.orders if command.kind == OCO else command.orders[:1]
        if market.status != TRADING and (market.status != AUCTION or working[0].time_in_force != GTC):
            return Rejected(MARKET_CLOSED)
        for order in command.orders:
            refused = self._refuse_count(order, BookOrder(0, order, 0), account, market, len(command.orders))
            if refused is not None:
                return refused
        for order in working:
            refused = self._refuse_now(order.order_type, order.side, order.price, order.stop_price, market)
            if refused is not None:
                is_pair = command.kind == OCO and refused.reason == WOULD_TRIGGER
                return Rejected(BAD_RELATION) if is_pair else refused
        return None

    def _start_list(self, placed: ListOfOrders, account: Account, market: Market, hold: int) -> list[Fill]:
        """Put the orders of a new list to work, or to wait; return the fills of the first."""
        orders = placed.orders
        source = account.holding(market.spec.quote if orders[0].side == BUY else market.spec.base)
        self.accounts.hold(source, hold, self.sequence)
        for order in orders:
            self._register(order, account)
        if placed.kind == OCO:
            placed.hold = hold
            self._open_pair(orders, market)
            return []
        placed.is_waiting = True
        for order in orders[1:]:
            order.status = PENDING_NEW
            assert order.terms is not None
            order.terms = msgspec.structs.replace(order.terms, working_us=0)
        self._events.extend(OrderChanged(EXEC_NEW, order.view()) for order in orders)
        works = orders[0]
        if works.side == BUY:
            account.own_orders(market.spec.id).buying -= works.remaining
        return self._match(works, account, market, source, hold)

    def _open_pair(self, orders: list[BookOrder], market: Market) -> None:
        """Put the two orders of an OCO, whose funds are held, where they belong."""
        for order in orders:
            if order.order_type >= STOP_LOSS:
                self._wait(order, market)
            else:
                self._events.append(OrderChanged(EXEC_NEW, order.view()))
                self._level_changed(market, order.side, order.price, market.book.rest(order))

    def _tell_list(self, placed: ListOfOrders, change: int, status: int) -> None:
        self._events.append(ListChanged(change, placed.view(status, self.time_us)))

    def _starts(self, order: BookOrder, market: Market) -> None:
        """Have the other order of a pair expire before this one executes, which holds its own funds from here on."""
        assert order.terms is not None
        placed = self.lists.get(order.terms.list_id)
        if placed is None or not placed.hold:
            return
        (other,) = (each for each in placed.orders[-2:] if each is not order)
        self._unpair(placed, order, market)
        self._end(other, market, EXPIRED, EXEC_EXPIRED)

    def _unpair(self, placed: ListOfOrders, survivor: BookOrder, market: Market) -> None:
        """Turn the funds that a pair holds together into those that its two orders hold singly.

        The other order is about to end and to free its own: so the pair's hold, which is no less than either, becomes
        the sum of both for that moment.
        """
        (other,) = (each for each in placed.orders[-2:] if each is not survivor)
        account = self.accounts.accounts[placed.account]
        source = account.holding(market.spec.quote if survivor.side == BUY else market.spec.base)
        single = self.needed(survivor, market) + self.needed(other, market)
        self.accounts.touch(source, self.sequence)
        source.free += placed.hold - single
        source.held -= placed.hold - single
        placed.hold = 0

    def _follow(self, order: BookOrder, market: Market) -> None:
        """Let the list of an order that has ended follow it."""
        assert order.terms is not None
        placed = self.lists.get(order.terms.list_id)
        if placed is None:
            return
        if placed.is_waiting and order is placed.orders[0]:
            placed.is_waiting = False
            first = placed.orders[1]
            if order.status == FILLED:
                market.triggers.due[first.order_id] = first
                return
            canceled = order.status == CANCELED
            for pending in placed.orders[1:]:
                self._end(
                    pending, market, CANCELED if canceled else EXPIRED, EXEC_CANCELED if canceled else EXEC_EXPIRED
                )
        if any(each.is_open for each in placed.orders):
            return
        del self.lists[placed.list_id]
        account = self.accounts.accounts[placed.account]
        del account.lists[placed.client_id]
        account.open_orders[placed.market].lists -= 1
        self._tell_list(placed, LIST_ENDED, LIST_ALL_DONE)

    def _place_pending(self, first: BookOrder, market: Market) -> None:
        """Place what waited for an order that is filled now, one order or a pair; reject it when that cannot be."""
        assert first.terms is not None
        placed = self.lists[first.terms.list_id]
        account = self.accounts.accounts[placed.account]
        orders = placed.orders[1:]
        source = account.holding(market.spec.quote if first.side == BUY else market.spec.base)
        is_entering = placed.kind == OTO and first.order_type < STOP_LOSS
        reason = self._pending_problem(orders, market)
        if is_entering:
            hold = self._requirement(first, account, market, source.free)
        else:
            hold = max(self.needed(order, market) for order in orders)
        if hold > source.free:
            reason = reason or INSUFFICIENT_BALANCE
        if reason:
            for order in orders:
                self._end(order, market, REJECTED, EXEC_REJECTED, reason=reason)
            return
        self.accounts.hold(source, hold, self.sequence)
        for order in orders:
            order.status = NEW
            order.updated_us = self.time_us
            if order.order_type < STOP_LOSS:
                assert order.terms is not None
                order.terms = msgspec.structs.replace(order.terms, working_us=self.time_us)
        self._tell_list(placed, LIST_UPDATED, LIST_EXECUTING)
        if is_entering:
            if first.side == BUY:
                account.open_orders[placed.market].buying -= first.remaining
            self._events.append(OrderChanged(EXEC_NEW, first.view()))
            self._match(first, account, market, source, hold)
        elif placed.kind == OTO:
            self._wait(first, market)
        else:
            placed.hold = hold
            self._open_pair(orders, market)

    def _pending_problem(self, orders: list[BookOrder], market: Market) -> int:
        """Return why orders that waited cannot start now, 0 when they can, their funds aside."""
        for order in orders:
            terms = order.terms
            assert terms is not None
            refused = self._refuse_now(order.order_type, order.side, order.price, terms.stop_price, market)
            if refused is not None:
                return refused.reason
        return 0

    # ---- cancellations -------------------------------------------------------------------------------------------

    def _cancel(self, command: CancelOrder) -> OrdersCanceled | Rejected:
        account_id, market_id, order_id, client_order_id, cancel_id, restriction = cast(_Cancel, astuple(command))
        found = self._find(account_id, market_id, order_id, client_order_id)
        if isinstance(found, Rejected):
            return found
        market, order = found
        if cancel_id and not is_text(cancel_id, CLIENT_ID_LENGTH_MAX):
            return Rejected(NOT_SUPPORTED, "cancel id")
        if restriction != CANCEL_ANY:
            wanted = NEW if restriction == CANCEL_ONLY_NEW else PARTIALLY_FILLED
            if order.status != wanted:
                return Rejected(CANCEL_RESTRICTED)
        canceled = OrdersCanceled([], [])
        self._cancel_order(order, market, cancel_id, canceled)
        if self._ended or market.triggers.due:
            self._follow_up(market)
        return canceled

    def _find(
        self, account_id: int, market_id: int, order_id: int, client_order_id: str
    ) -> tuple[Market, BookOrder] | Rejected:
        """Return an open order that may be changed now, by id, or if that is 0 by client id."""
        account = self.accounts.accounts.get(account_id)
        if account is None:
            return Rejected(UNKNOWN_ACCOUNT)
        market = self.markets.get(market_id)
        if market is None:
            return Rejected(UNKNOWN_MARKET)
        if market.status == HALT:
            return Rejected(MARKET_CLOSED)
        order = account.open_order(market_id, order_id, client_order_id)
        if order is None:
            return Rejected(UNKNOWN_ORDER)
        if client_order_id and order.client_order_id != client_order_id:
            return Rejected(CLIENT_ID_MISMATCH)
        return market, order

    def _cancel_order(self, order: BookOrder, market: Market, cancel_id: str, canceled: OrdersCanceled) -> None:
        """Cancel an order, and the whole list it belongs to, into `canceled`."""
        placed = self.lists.get(order.terms.list_id) if order.terms is not None else None
        orders = [order]
        if placed is not None:
            orders += [each for each in placed.orders if each is not order and each.is_open]
            canceled.lists.append(placed.view(LIST_ALL_DONE, self.time_us))
            placed.is_waiting = False
            if placed.hold:
                self._unpair(placed, order, market)
        canceled.orders.extend(self._end(each, market, CANCELED, EXEC_CANCELED, cancel_id=cancel_id) for each in orders)

    def _cancel_all(self, command: CancelAll) -> Reply:
        account = self.accounts.accounts.get(command.account)
        if account is None:
            return Rejected(UNKNOWN_ACCOUNT)
        market = self.markets.get(command.market)
        if market is None:
            return Rejected(UNKNOWN_MARKET)
        if market.status == HALT:
            return Rejected(MARKET_CLOSED)
        if command.cancel_id and not is_text(command.cancel_id, CLIENT_ID_LENGTH_MAX):
            return Rejected(NOT_SUPPORTED, "cancel id")
        own = account.open_orders.get(command.market)
        if own is None or not own.orders:
            return Rejected(UNKNOWN_ORDER)
        canceled = OrdersCanceled([], [])
        for order in list(own.orders.values()):
            if order.order_id in own.orders:  # not canceled with its list already
                self._cancel_order(order, market, command.cancel_id, canceled)
        if self._ended or market.triggers.due:
            self._follow_up(market)
        return canceled

    def _cancel_list(self, command: CancelList) -> Reply:
        account = self.accounts.accounts.get(command.account)
        if account is None:
            return Rejected(UNKNOWN_ACCOUNT)
        list_id = command.list_id or account.lists.get(command.client_list_id, 0)
        placed = self.lists.get(list_id)
        if placed is None or (placed.account, placed.market) != (command.account, command.market):
            return Rejected(UNKNOWN_LIST)
        if command.client_list_id and placed.client_id != command.client_list_id:
            return Rejected(UNKNOWN_LIST)
        order_id = next(order.order_id for order in placed.orders if order.is_open)
        return self._cancel(CancelOrder(command.account, command.market, order_id, "", command.cancel_id))

    # ---- changes -------------------------------------------------------------------------------------------------

    def _replace(self, command: ReplaceOrder) -> Reply:
        canceled = self._cancel(command.cancel)
        if isinstance(canceled, Rejected) and command.mode == STOP_ON_FAILURE:
            return OrderReplaced(canceled, None)
        return OrderReplaced(canceled, self._place(command.place))

    def _amend(self, command: AmendOrder) -> Reply:
        found = self._find(command.account, command.market, command.order_id, command.client_order_id)
        if isinstance(found, Rejected):
            return found
        market, order = found
        account = self.accounts.accounts[command.account]
        refused = self._refuse_amend(command, order, account, market)
        if refused is not None:
            return refused
        terms = order.terms or OrderTerms(working_us=order.created_us)
        name = command.new_client_order_id or order.client_order_id
        less = order.lots - command.lots
        self._free(order, less, market)
        if order.side == BUY:
            account.open_orders[order.market].buying -= less
        is_on_book = order.level is not None
        left = 0
        if is_on_book:
            left = market.book.reduce(order, less)
        else:
            order.remaining -= less
        old_name = order.client_order_id
        del account.clients[old_name]
        account.clients[name] = order
        order.client_order_id = name
        order.lots = command.lots
        order.terms = msgspec.structs.replace(terms, amends=terms.amends + 1)
        order.updated_us = self.time_us
        view = order.view()
        self._events.append(OrderChanged(EXEC_REPLACED, view, cancel_id=old_name))
        if is_on_book:
            self._level_changed(market, order.side, order.price, left)
        return OrderAmended(view, old_name)

    def _refuse_amend(self, command: AmendOrder, order: BookOrder, account: Account, market: Market) -> Rejected | None:
        terms = order.terms or OrderTerms()
        name = command.new_client_order_id
        if name and not is_text(name, CLIENT_ID_LENGTH_MAX):
            return Rejected(NOT_SUPPORTED, "new client order id")
        if terms.list_id:
            return Rejected(NOT_SUPPORTED, "an order of a list")
        if command.lots >= order.lots:
            return Rejected(QUANTITY_INCREASE)
        if command.lots < market.spec.min_lots or command.lots <= order.executed_lots + order.prevented:
            return Rejected(BAD_QUANTITY)
        if terms.amends >= market.spec.amends_max:
            return Rejected(TOO_MANY_AMENDS, str(market.spec.amends_max))
        if name and name != order.client_order_id and name in account.clients:
            return Rejected(DUPLICATE_ORDER)
        return None


def _hold_price(command: PlaceOrder, last_price: int) -> int:
    """Return the price at which a buy without a limit holds funds while it waits; 0 where nothing hangs on it."""
    if command.side == SELL or command.price or command.order_type < STOP_LOSS:
        return 0
    if command.stop_price:
        return command.stop_price
    return -(-last_price * (BASIS_POINTS + command.trailing_delta) // BASIS_POINTS)
