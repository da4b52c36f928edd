"""Random but valid-looking command streams, and a naive book to hold against the fast one."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from config.markets import CATALOGUE
from runtime.engine.replica import Entry, Replica
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
    """Orders of every kind around a middle, cancels of orders that may exist, nonsense now and then."""
    draw = random.Random(seed)
    next_order = 1
    for number in range(count):
        account = 1000 + draw.randrange(users)
        market = draw.choice((1, 1, 1, 2, 3, 4))
        kind = draw.random()
        if kind < 0.25:
            yield m.CancelOrder(account, market, draw.randint(max(1, next_order - 60), next_order), "", "c")
        elif kind < 0.27:
            yield m.CancelAll(account, market)
        elif kind < 0.29:
            yield m.Deposit(account, draw.randint(1, 5), draw.choice((0, 1, 10**9)), f"r{draw.randint(0, 200)}")
        elif kind < 0.295:
            yield m.SetMarketStatus(market, draw.choice((m.TRADING, m.TRADING, m.HALT, m.CANCEL_ONLY)))
        elif kind < 0.30:
            yield m.SetMarketStatus(market, m.TRADING)
        else:
            yield _order(draw, account, market, number)
            next_order += 1


def _order(draw: random.Random, account: int, market: int, number: int) -> m.PlaceOrder:
    side = draw.randrange(2)
    order_type = draw.choice((m.LIMIT,) * 6 + (m.MARKET, m.MARKET, m.LIMIT_MAKER))
    away = int(draw.expovariate(1 / 15)) - 6
    price = MIDDLE[market] + (away if side else -away)
    lots = draw.randint(1, 5000) * 10
    stp = draw.choice((m.STP_NONE, m.STP_EXPIRE_MAKER, m.STP_EXPIRE_TAKER, m.STP_EXPIRE_BOTH))
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


def entries(commands: Iterator[m.Command], session: str = "s") -> Iterator[Entry]:
    for n, command in enumerate(commands, 1):
        yield Entry(session, n, n - 1, command)


def totals(replica: Replica) -> dict[int, int]:
    """Sum of every holding of every account by asset."""
    sums: dict[int, int] = {}
    for account in replica.engine.accounts.accounts.values():
        for asset, holding in account.holdings.items():
            sums[asset] = sums.get(asset, 0) + holding.free + holding.held
    return sums


def held_by_orders(replica: Replica) -> dict[tuple[int, int], int]:
    """What open orders must hold by account and asset, computed from the orders alone."""
    held: dict[tuple[int, int], int] = {}
    for market in replica.engine.markets.values():
        for order in market.book.orders.values():
            spec = market.spec
            if order.side == m.BUY:
                key, amount = (order.account, spec.quote), order.remaining * order.price * spec.quote_units
            else:
                key, amount = (order.account, spec.base), order.remaining * spec.lot_units
            held[key] = held.get(key, 0) + amount
    return held


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
