"""Every kind of order by scanning flat lists: slow, obvious, without money; to be held against the engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.shared import messages as m

STOPS = (m.STOP_LOSS, m.STOP_LOSS_LIMIT)
WAITING = "waiting"
PENDING = "pending"
WORKING = "working"
DONE = "done"


@dataclass(eq=False)
class NaiveOrder:
    """An order and where it is: WAITING for a price, PENDING on another order, WORKING, or DONE."""

    order_id: int
    command: m.PlaceOrder
    owner: int
    left: int = 0
    shown: int = 0
    executed: int = 0
    prevented: int = 0
    extreme: int = 0
    trails: bool = False
    where: str = WORKING
    status: int = m.NEW
    list: NaiveList | None = None

    def __post_init__(self) -> None:
        self.left = self.command.lots

    @property
    def crosses_from(self) -> int:
        """1 for a buy, -1 for a sale: prices times this compare alike for both."""
        return 1 if self.command.side == m.BUY else -1

    def trigger(self) -> tuple[bool, int] | None:
        """Whether a rising price reaches it, and which; None when it follows a price that there has not been."""
        is_buy = self.command.side == m.BUY
        if not self.trails:
            return is_buy == (self.command.order_type in STOPS), self.command.stop_price
        if not self.extreme:
            return None
        delta = self.command.trailing_delta
        if is_buy:
            return True, -(-self.extreme * (10_000 + delta) // 10_000)
        return False, self.extreme * (10_000 - delta) // 10_000

    def is_reached(self, price: int) -> bool:
        trigger = self.trigger()
        return trigger is not None and (price >= trigger[1] if trigger[0] else price <= trigger[1])

    def end(self, status: int) -> None:
        self.where, self.status, self.left, self.shown = DONE, status, 0, 0


@dataclass(eq=False)
class NaiveList:
    """Orders that belong together."""

    kind: int
    orders: list[NaiveOrder]
    is_waiting: bool = False
    is_paired: bool = False


@dataclass
class NaiveExchange:
    """One market."""

    owners: dict[int, int]
    last: int = 0
    next_id: int = 1
    orders: dict[int, NaiveOrder] = field(default_factory=dict)
    book: list[NaiveOrder] = field(default_factory=list)
    """In the order of time priority."""
    due: list[NaiveOrder] = field(default_factory=list)
    ended: list[NaiveOrder] = field(default_factory=list)
    trades: list[tuple[int, int, int, int]] = field(default_factory=list)
    preventions: list[tuple[int, int, int, int]] = field(default_factory=list)

    def make(self, command: m.PlaceOrder) -> NaiveOrder:
        order = NaiveOrder(self.next_id, command, self.owners[command.account])
        self.orders[self.next_id] = order
        self.next_id += 1
        return order

    # ---- what clients do

    def place(self, command: m.PlaceOrder) -> None:
        order = self.make(command)
        if command.order_type >= m.STOP_LOSS:
            self.wait(order)
        else:
            self.enter(order)
        self.settle_down()

    def place_list(self, command: m.PlaceList) -> None:
        orders = [self.make(each) for each in command.orders]
        placed = NaiveList(command.kind, orders)
        for order in orders:
            order.list = placed
        if command.kind == m.OCO:
            self.open_pair(placed, orders)
        else:
            placed.is_waiting = True
            for order in orders[1:]:
                order.where, order.status = PENDING, m.PENDING_NEW
            self.enter(orders[0])
        self.settle_down()

    def cancel(self, order_id: int) -> None:
        order = self.orders[order_id]
        orders = [order]
        if order.list:
            order.list.is_waiting = order.list.is_paired = False
            orders = order.list.orders
        for each in orders:
            if each.where != DONE:
                self.take_off(each, m.CANCELED)
        self.settle_down()

    def amend(self, order_id: int, lots: int) -> None:
        order = self.orders[order_id]
        less = order.executed + order.prevented + order.left - lots
        hidden = order.left - order.shown if order in self.book else 0
        order.left -= less
        if order in self.book:
            order.shown -= max(0, less - hidden)

    # ---- matching

    def crossing(self, order: NaiveOrder) -> list[NaiveOrder]:
        """Resting orders that `order` may take, the best first, the oldest first among those."""
        sign, limit = order.crosses_from, order.command.price
        found = [
            each
            for each in self.book
            if each.command.side != order.command.side and (not limit or sign * (limit - each.command.price) >= 0)
        ]
        return sorted(found, key=lambda each: sign * each.command.price)  # stable: time decides among equals

    def is_self_trade(self, taker: NaiveOrder, maker: NaiveOrder) -> bool:
        return taker.owner == maker.owner and taker.command.stp != m.STP_NONE

    def can_fill(self, order: NaiveOrder) -> bool:
        wanted = order.left
        for maker in self.crossing(order):
            if self.is_self_trade(order, maker):
                if order.command.stp != m.STP_EXPIRE_MAKER:
                    return False
                continue
            wanted -= maker.left
            if wanted <= 0:
                return True
        return False

    def enter(self, order: NaiveOrder) -> None:
        order.where = WORKING
        command = order.command
        is_prevented = False
        if command.time_in_force != m.FOK or self.can_fill(order):
            while order.left and not is_prevented and (makers := self.crossing(order)):
                if self.is_self_trade(order, makers[0]):
                    is_prevented = self.prevent(order, makers[0])
                else:
                    self.trade(order, makers[0])
        if order.where == DONE:
            return
        if order.left and command.price and command.time_in_force == m.GTC and not is_prevented:
            order.shown = min(order.left, command.iceberg_lots or order.left)
            self.book.append(order)
        else:
            order.end(m.EXPIRED_IN_MATCH if is_prevented else m.EXPIRED)
            self.ended.append(order)

    def trade(self, taker: NaiveOrder, maker: NaiveOrder) -> None:
        self.starts(maker)
        lots, price = min(taker.left, maker.shown), maker.command.price
        self.trades.append((maker.order_id, taker.order_id, price, lots))
        maker.shown -= lots
        for order in (maker, taker):
            order.left -= lots
            order.executed += lots
            order.status = m.PARTIALLY_FILLED
            if not order.left:
                order.end(m.FILLED)
                self.ended.append(order)
        if not maker.shown:
            self.book.remove(maker)
            if maker.left:
                maker.shown = min(maker.left, maker.command.iceberg_lots)
                self.book.append(maker)
        if price != self.last:
            self.last = price
            self.print(price)

    def prevent(self, taker: NaiveOrder, maker: NaiveOrder) -> bool:
        """Return whether the taker ends by it."""
        self.starts(maker)
        mode = taker.command.stp
        if mode in (m.STP_DECREMENT, m.STP_TRANSFER):
            taker_lots = maker_lots = min(taker.left, maker.left)
        else:
            taker_lots = taker.left if mode in (m.STP_EXPIRE_TAKER, m.STP_EXPIRE_BOTH) else 0
            maker_lots = maker.left if mode in (m.STP_EXPIRE_MAKER, m.STP_EXPIRE_BOTH) else 0
        self.preventions.append((taker.order_id, maker.order_id, taker_lots, maker_lots))
        hidden = maker.left - maker.shown
        for order, lots in ((taker, taker_lots), (maker, maker_lots)):
            order.left -= lots
            order.prevented += lots
        maker.shown -= max(0, maker_lots - hidden)
        if not maker.left:
            self.book.remove(maker)
            maker.end(m.EXPIRED_IN_MATCH)
            self.ended.append(maker)
        return not taker.left

    # ---- triggers

    def wait(self, order: NaiveOrder) -> None:
        order.where = WAITING
        if not order.command.stop_price:
            order.trails, order.extreme = True, self.last

    def print(self, price: int) -> None:
        """Move what trails, then fire what the price reaches: falling ones first, among them those reached first."""
        waiting = [order for order in self.orders.values() if order.where == WAITING and order not in self.due]
        for order in waiting:
            if order.trails:
                better = min if order.command.side == m.BUY else max
                order.extreme = better(order.extreme, price) if order.extreme else price
        fired = [order for order in waiting if order.is_reached(price)]

        def first(order: NaiveOrder) -> tuple[bool, int, int]:
            is_rising, trigger = order.trigger() or (False, 0)
            return is_rising, trigger if is_rising else -trigger, order.order_id

        for order in sorted(fired, key=first):
            if order.command.trailing_delta and not order.trails:
                order.trails, order.extreme = True, price
            else:
                self.due.append(order)

    def settle_down(self) -> None:
        while self.ended or self.due:
            if self.ended:
                self.follow(self.ended.pop(0))
            else:
                order = self.due.pop(0)
                if order.where == PENDING:
                    self.place_pending(order)
                else:
                    self.starts(order)
                    self.enter(order)

    # ---- lists

    def starts(self, order: NaiveOrder) -> None:
        if order.list and order.list.is_paired:
            order.list.is_paired = False
            (other,) = (each for each in order.list.orders[-2:] if each is not order)
            self.take_off(other, m.EXPIRED)

    def take_off(self, order: NaiveOrder, status: int) -> None:
        for place in (self.book, self.due):
            if order in place:
                place.remove(order)
        order.end(status)
        self.ended.append(order)

    def open_pair(self, placed: NaiveList, orders: list[NaiveOrder]) -> None:
        placed.is_paired = True
        for order in orders:
            if order.command.order_type >= m.STOP_LOSS:
                self.wait(order)
            else:
                order.where, order.shown = WORKING, order.left
                self.book.append(order)

    def follow(self, order: NaiveOrder) -> None:
        placed = order.list
        if placed and placed.is_waiting and order is placed.orders[0]:
            placed.is_waiting = False
            if order.status == m.FILLED:
                self.due.append(placed.orders[1])
            else:
                for pending in placed.orders[1:]:
                    self.take_off(pending, m.CANCELED if order.status == m.CANCELED else m.EXPIRED)

    def place_pending(self, first: NaiveOrder) -> None:
        assert first.list
        orders = first.list.orders[1:]
        if any(self.cannot_start(order) for order in orders):
            for order in orders:
                self.take_off(order, m.REJECTED)
            return
        for order in orders:
            order.status = m.NEW
        if len(orders) > 1:
            self.open_pair(first.list, orders)
        elif first.command.order_type >= m.STOP_LOSS:
            self.wait(first)
        else:
            self.enter(first)

    def cannot_start(self, order: NaiveOrder) -> bool:
        command = order.command
        if command.order_type == m.LIMIT_MAKER:
            return bool(self.crossing(order))
        return (
            command.order_type >= m.STOP_LOSS and bool(command.stop_price and self.last) and order.is_reached(self.last)
        )

    # ---- what there is

    def open_orders(self) -> dict[int, tuple[int, int, int, int]]:
        """Status, executed and prevented lots, and lots left of every open order."""
        return {
            order.order_id: (order.status, order.executed, order.prevented, order.left)
            for order in self.orders.values()
            if order.where != DONE
        }

    def levels(self, side: int) -> list[tuple[int, int]]:
        sums: dict[int, int] = {}
        for order in self.book:
            if order.command.side == side:
                sums[order.command.price] = sums.get(order.command.price, 0) + order.shown
        return sorted(sums.items(), reverse=side == m.BUY)
