"""Random but valid-looking command streams, and a naive book to hold against the fast one."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec

from config.markets import CATALOGUE
from runtime.engine.replica import Replica
from runtime.shared import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterator

SPECS = CATALOGUE.specs()
CONFIGURE = m.Configure([asset.id for asset in CATALOGUE.assets], SPECS, CATALOGUE.tier_specs(), m.RULES_NEWEST)
MIDDLE = {1: 6_000_000, 2: 300_000, 3: 950_000, 4: 480_000}


def opening(users: int = 4) -> Iterator[m.Command]:
    """Configure, open accounts and fund them."""
    yield CONFIGURE
    for user in range(users):
        yield m.OpenAccount(f"user{user}", 1 + user % 3)
    for user in range(users):
        for asset in CATALOGUE.assets:
            yield m.Deposit(1000 + user, asset.id, 10**6 * 10**asset.decimals, f"deposit-{user}-{asset.id}")


def random_commands(seed: int, count: int, users: int = 4) -> Iterator[m.Command]:
    """Orders of every kind around a middle, changes of orders that may exist, nonsense now and then."""
    draw = random.Random(seed)
    flow = Flow(draw, users)
    for number in range(count):
        yield flow.command(number)


class Flow:
    """Draws commands; knows what it has asked for, not what became of it."""

    def __init__(self, draw: random.Random, users: int) -> None:
        self.draw = draw
        self.users = users
        self.recent: list[m.PlaceOrder] = []
        self.lists = 0
        self.holds = [""]
        self.kinds = (
            (0.42, self.place),
            (0.60, self.cancel),
            (0.68, self.stop),
            (0.72, self.iceberg),
            (0.77, self.replace),
            (0.82, self.amend),
            (0.88, self.place_list),
            (0.90, lambda *_: m.CancelList(self.account(), 1, draw.randint(1, self.lists + 1), "", "c")),
            (0.92, lambda *_: m.CancelAll(self.account(), self.market())),
            (0.945, self.transfer),
            (0.955, self.options),
            (0.97, lambda *_: m.SetReferencePrice(1, draw.choice((0, MIDDLE[1], MIDDLE[1] + 50)))),
            (0.975, self.status),
            (1.00, lambda *_: m.SetMarketStatus(self.market(), m.TRADING)),
        )

    def account(self) -> int:
        return 1000 + self.draw.randrange(self.users)

    def market(self) -> int:
        return self.draw.choice((1, 1, 1, 2, 3, 4))

    def command(self, number: int) -> m.Command:
        chance = self.draw.random()
        command = next(make for share, make in self.kinds if chance < share)(number)
        placed = {m.PlaceOrder: lambda: [command], m.ReplaceOrder: lambda: [command.place]}
        self.recent += placed.get(type(command), lambda: getattr(command, "orders", []))()
        del self.recent[:-60]
        return command

    def place(self, number: int) -> m.PlaceOrder:
        return _order(self.draw, self.account(), self.market(), number)

    def cancel(self, _: int) -> m.CancelOrder:
        draw = self.draw
        if not self.recent or draw.random() < 0.1:
            return m.CancelOrder(self.account(), self.market(), draw.randint(0, 100), "", "c")
        order = draw.choice(self.recent)
        return m.CancelOrder(order.account, order.market, 0, order.client_order_id, "c", draw.choice((0, 0, 0, 1, 2)))

    def stop(self, number: int) -> m.PlaceOrder:
        draw, market = self.draw, self.market()
        order_type = draw.choice((m.STOP_LOSS, m.STOP_LOSS_LIMIT, m.TAKE_PROFIT, m.TAKE_PROFIT_LIMIT))
        has_limit = order_type in (m.STOP_LOSS_LIMIT, m.TAKE_PROFIT_LIMIT)
        trailing = draw.choice((0, 0, 10, 11, 25))
        stop = 0 if trailing and draw.random() < 0.5 else self.near(market)
        return m.PlaceOrder(
            self.account(),
            market,
            draw.randrange(2),
            order_type,
            draw.choice((m.GTC, m.GTC, m.IOC, m.FOK)) if has_limit else m.GTC,
            self.near(market) if has_limit else 0,
            draw.randint(1, 3000) * 10,
            0,
            f"s{number}",
            draw.randrange(6),
            stop,
            trailing,
        )

    def near(self, market: int) -> int:
        return MIDDLE[market] + self.draw.randint(-20, 20)

    def iceberg(self, number: int) -> m.PlaceOrder:
        order = self.place(number)
        if order.order_type == m.MARKET:
            return order
        iceberg = max(10, order.lots // self.draw.randint(1, 12))
        return msgspec.structs.replace(order, time_in_force=m.GTC, iceberg_lots=iceberg)

    def replace(self, number: int) -> m.ReplaceOrder:
        place = self.place(number)
        cancel = self.cancel(number)
        if self.draw.random() < 0.9:
            place = msgspec.structs.replace(place, account=cancel.account, market=cancel.market)
        return m.ReplaceOrder(cancel, place, self.draw.randrange(2))

    def amend(self, number: int) -> m.AmendOrder:
        cancel = self.cancel(number)
        name = self.draw.choice(("", "", f"a{number}"))
        order_id, client_id, lots = cancel.order_id, cancel.client_order_id, self.draw.randint(1, 2000) * 10
        return m.AmendOrder(cancel.account, cancel.market, order_id, client_id, lots, name)

    def place_list(self, number: int) -> m.PlaceList:
        draw = self.draw
        self.lists += 1
        account, market, kind = self.account(), self.market(), draw.randrange(3)
        side, lots, stp = draw.randrange(2), draw.randint(1, 3000) * 10, draw.randrange(6)
        above, below = MIDDLE[market] + draw.randint(1, 15), MIDDLE[market] - draw.randint(1, 15)
        stop_type = draw.choice((m.STOP_LOSS, m.STOP_LOSS_LIMIT))
        profit_type = draw.choice((m.LIMIT_MAKER, m.LIMIT_MAKER, m.TAKE_PROFIT, m.TAKE_PROFIT_LIMIT))

        def leg(order_type: int, price: int, name: str) -> m.PlaceOrder:
            has_limit = order_type not in (m.STOP_LOSS, m.TAKE_PROFIT)
            limit = 0 if not has_limit else price if order_type == m.LIMIT_MAKER else self.near(market)
            stop = price if order_type >= m.STOP_LOSS else 0
            return m.PlaceOrder(account, market, side, order_type, m.GTC, limit, lots, 0, f"{name}{number}", stp, stop)

        types = (stop_type, profit_type) if side == m.BUY else (profit_type, stop_type)
        pair = [leg(types[0], above, "u"), leg(types[1], below, "d")]
        works = m.PlaceOrder(
            account,
            market,
            1 - side,
            m.LIMIT,
            m.GTC,
            self.near(market),
            draw.randint(1, 3000) * 10,
            0,
            f"w{number}",
            stp,
        )
        orders = {m.OCO: pair, m.OTO: [works, draw.choice((pair[0], pair[1], _market_order(works, number)))]}
        return m.PlaceList(account, market, kind, f"l{number}", orders.get(kind, [works, *pair]))

    def transfer(self, number: int) -> m.Command:
        draw = self.draw
        reference = draw.choice(self.holds)
        amount = draw.choice((0, 1, 10**9))
        self.holds = [*self.holds[-20:], f"h{number}"]
        return draw.choice(
            (
                m.Deposit(self.account(), draw.randint(1, 5), amount, f"r{draw.randint(0, 200)}"),
                m.HoldFunds(self.account(), draw.randint(1, 5), amount, f"h{number}"),
                m.HoldFunds(self.account(), draw.randint(1, 4), 10**9, f"h{number}"),
                m.HoldFunds(self.account(), draw.randint(1, 4), amount, reference),
                m.SettleHold(reference, draw.choice((0, 5))),
                m.ReleaseHold(reference),
            )
        )

    def options(self, _: int) -> m.SetAccountOptions:
        draw = self.draw
        return m.SetAccountOptions(self.account(), draw.choice((-2, -1, 7, 7, 8)), draw.choice((-2, -1, 1, 3, 9)))

    def status(self, _: int) -> m.SetMarketStatus:
        market = self.draw.choice((1, 2, 3, 4, m.ALL_MARKETS))
        return m.SetMarketStatus(market, self.draw.choice((m.TRADING, m.AUCTION, m.AUCTION, m.HALT, m.CANCEL_ONLY)))


def _market_order(like: m.PlaceOrder, number: int) -> m.PlaceOrder:
    return m.PlaceOrder(
        like.account, like.market, 1 - like.side, m.MARKET, m.IOC, 0, like.lots, 0, f"m{number}", like.stp
    )


def _order(draw: random.Random, account: int, market: int, number: int) -> m.PlaceOrder:
    side = draw.randrange(2)
    order_type = draw.choice((m.LIMIT,) * 6 + (m.MARKET, m.MARKET, m.LIMIT_MAKER))
    away = int(draw.expovariate(1 / 15)) - 6
    price = MIDDLE[market] + (away if side else -away)
    lots = draw.randint(1, 5000) * 10
    stp = draw.randrange(6)
    client = f"c{number}" if draw.random() < 0.95 else f"c{draw.randint(0, 5)}"
    if order_type == m.MARKET:
        if draw.random() < 0.4:
            amount = price * lots * next(spec.quote_units for spec in SPECS if spec.id == market) + draw.randint(0, 99)
            return m.PlaceOrder(account, market, side, m.MARKET, m.IOC, 0, 0, amount, client, stp)
        return m.PlaceOrder(account, market, side, m.MARKET, m.IOC, 0, lots, 0, client, stp)
    tif = m.GTC if order_type == m.LIMIT_MAKER else draw.choice((m.GTC, m.GTC, m.GTC, m.IOC, m.FOK))
    if draw.random() < 0.01:
        price = draw.choice((0, -5, 10**9, 2**60))
    if draw.random() < 0.01:
        lots = draw.choice((0, -5, 2**55))
    return m.PlaceOrder(account, market, side, order_type, tif, price, lots, 0, client, stp)


def entries(commands: Iterator[m.Command], session: str = "s") -> Iterator[m.Entry]:
    for n, command in enumerate(commands, 1):
        yield m.Entry(session, n, n - 1, command)


def totals(replica: Replica) -> dict[int, int]:
    """Sum of every holding of every account by asset."""
    sums: dict[int, int] = {}
    for account in replica.engine.accounts.accounts.values():
        for asset, holding in account.holdings.items():
            sums[asset] = sums.get(asset, 0) + holding.free + holding.held
    return sums


class NaiveBook:
    """Price-time matching by scanning a flat list: slow and obvious."""

    def __init__(self) -> None:
        self.orders: list[list[int]] = []  # id, side, price, remaining, account
        self.trades: list[tuple[int, int, int, int]] = []

    def add(self, order_id: int, side: int, price: int, lots: int, account: int, stp: int) -> int:
        while lots:
            sign = 1 if side == m.BUY else -1
            crossing = [o for o in self.orders if o[1] != side and (price == 0 or sign * (price - o[2]) >= 0)]
            if not crossing:
                break
            best = min(crossing, key=lambda o: (sign * o[2], self.orders.index(o)))
            if best[4] == account and stp != m.STP_NONE:
                if stp in (m.STP_EXPIRE_MAKER, m.STP_EXPIRE_BOTH):
                    self.orders.remove(best)
                if stp in (m.STP_EXPIRE_TAKER, m.STP_EXPIRE_BOTH):
                    return 0
                continue
            filled = min(lots, best[3])
            self.trades.append((best[0], order_id, best[2], filled))
            lots -= filled
            best[3] -= filled
            if not best[3]:
                self.orders.remove(best)
        if lots and price:
            self.orders.append([order_id, side, price, lots, account])
        return lots

    def cancel(self, order_id: int) -> None:
        self.orders = [order for order in self.orders if order[0] != order_id]

    def levels(self, side: int) -> list[tuple[int, int]]:
        sums: dict[int, int] = {}
        for order in self.orders:
            if order[1] == side:
                sums[order[2]] = sums.get(order[2], 0) + order[3]
        return sorted(sums.items(), reverse=side == m.BUY)
