"""The engine against a naive exchange, on every kind of order: the same trades, books and open orders."""

from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from runtime.engine.audit import check_conservation
from runtime.engine.replica import Entry, Replica
from runtime.shared import messages as m
from tests.runtime.engine.flows import CONFIGURE
from tests.runtime.engine.naive import NaiveExchange

MIDDLE = 10_000
ACCOUNTS = (1000, 1001, 1002)
GROUP = 7
"""Of the first two accounts."""
STEPS = 100
ROOM = {"open_orders_max": 10_000, "algo_orders_max": 10_000, "lists_max": 10_000, "iceberg_orders_max": 10_000}
SPEC = msgspec.structs.replace(CONFIGURE.markets[0], interruption_ppm=0, amends_max=100, min_notional=1, **ROOM)

accounts = st.sampled_from(ACCOUNTS)
sides = st.sampled_from((m.BUY, m.SELL))
prices = st.integers(MIDDLE - 7, MIDDLE + 7)
lots = st.integers(1, 12)
modes = st.integers(m.STP_NONE, m.STP_TRANSFER)
times = st.sampled_from((m.GTC, m.GTC, m.GTC, m.IOC, m.FOK))


class Differential(RuleBasedStateMachine):
    """One market, three accounts with more money than they can spend."""

    def __init__(self) -> None:
        super().__init__()
        self.replica = Replica()
        self.sent = 0
        for command in (
            m.Configure(CONFIGURE.assets, [SPEC], CONFIGURE.tiers, m.RULES_NEWEST),
            *(m.OpenAccount(f"user{account}", 1) for account in ACCOUNTS),
            *(m.Deposit(account, asset, 2**58, f"{account}-{asset}") for account in ACCOUNTS for asset in (1, 3)),
            *(m.SetAccountOptions(account, GROUP) for account in ACCOUNTS[:2]),
        ):
            assert not isinstance(self.send(command), m.Rejected)
        self.naive = NaiveExchange({1000: -1, 1001: -1, 1002: 1002})
        self.trades: list[tuple[int, int, int, int]] = []
        self.preventions: list[tuple[int, int, int, int]] = []

    def send(self, command: m.Command) -> m.Reply:
        self.sent += 1
        replied, happened = self.replica.apply(self.sent, Entry("s", self.sent, self.sent - 1, command))
        for event in happened.events:
            if isinstance(event, m.Traded):
                pair = event.buy_order_id, event.sell_order_id
                self.trades.append((*(pair if event.buyer_is_maker else pair[::-1]), event.price, event.lots))
            elif isinstance(event, m.SelfTradePrevented):
                self.preventions.append(
                    (event.taker_order_id, event.maker_order_id, event.taker_lots, event.maker_lots)
                )
        return replied.reply

    def order(self, account: int, side: int, order_type: int, price: int, count: int, **more: Any) -> m.PlaceOrder:
        return m.PlaceOrder(
            account,
            1,
            side,
            order_type,
            more.pop("time_in_force", m.GTC),
            price,
            count,
            0,
            f"c{self.sent}{more.pop('name', '')}",
            **more,
        )

    def place(self, order: m.PlaceOrder) -> None:
        if isinstance(self.send(order), m.OrderPlaced):
            self.naive.place(order)

    @rule(account=accounts, side=sides, price=prices, count=lots, time=times, stp=modes)
    def limit(self, account: int, side: int, price: int, count: int, time: int, stp: int) -> None:
        self.place(self.order(account, side, m.LIMIT, price, count, time_in_force=time, stp=stp))

    @rule(account=accounts, side=sides, count=lots, stp=modes)
    def market(self, account: int, side: int, count: int, stp: int) -> None:
        self.place(self.order(account, side, m.MARKET, 0, count, time_in_force=m.IOC, stp=stp))

    @rule(account=accounts, side=sides, price=prices, count=lots, shown=st.integers(1, 5), stp=modes)
    def iceberg(self, account: int, side: int, price: int, count: int, shown: int, stp: int) -> None:
        self.place(self.order(account, side, m.LIMIT, price, count, iceberg_lots=min(shown, count), stp=stp))

    @rule(
        account=accounts,
        side=sides,
        kind=st.integers(m.STOP_LOSS, m.TAKE_PROFIT_LIMIT),
        stop=prices | st.just(0),
        price=prices,
        count=lots,
        delta=st.sampled_from((0, 0, 10, 11, 13)),
        time=times,
        stp=modes,
    )
    def stop(self, kind: int, stop: int, price: int, count: int, delta: int, time: int, **who: int) -> None:
        has_limit = kind in (m.STOP_LOSS_LIMIT, m.TAKE_PROFIT_LIMIT)
        order = self.order(
            who["account"], who["side"], kind, price if has_limit else 0, count, stp=who["stp"], stop_price=stop,
            trailing_delta=delta, time_in_force=time if has_limit else m.GTC,
        )  # fmt: skip
        self.place(order)

    @rule(
        account=accounts,
        side=sides,
        kind=st.sampled_from((m.OCO, m.OTO, m.OTOCO)),
        far=st.tuples(st.integers(1, 6), st.integers(1, 6)),
        types=st.tuples(
            st.sampled_from((m.STOP_LOSS, m.STOP_LOSS_LIMIT)),
            st.sampled_from((m.LIMIT_MAKER, m.TAKE_PROFIT, m.TAKE_PROFIT_LIMIT)),
        ),
        price=prices,
        count=lots,
        single=st.integers(0, 2),
        stp=modes,
    )
    def order_list(
        self, account: int, side: int, kind: int, far: Any, types: Any, price: int, count: int, single: int, stp: int
    ) -> None:
        last = self.naive.last or MIDDLE

        def leg(order_type: int, at: int, name: str) -> m.PlaceOrder:
            has_limit = order_type not in (m.STOP_LOSS, m.TAKE_PROFIT)
            limit = at if order_type == m.LIMIT_MAKER else price if has_limit else 0
            stop = 0 if order_type == m.LIMIT_MAKER else at
            return self.order(account, side, order_type, limit, count, stp=stp, stop_price=stop, name=name)

        above, below = types if side == m.BUY else types[::-1]
        pair = [leg(above, last + far[0], "u"), leg(below, last - far[1], "d")]
        works = self.order(account, 1 - side, m.LIMIT, price, count, stp=stp, name="w")
        alone = [*pair, self.order(account, side, m.LIMIT, price, count, stp=stp, name="p")][single]
        orders = {m.OCO: pair, m.OTO: [works, alone], m.OTOCO: [works, *pair]}[kind]
        command = m.PlaceList(account, 1, kind, f"l{self.sent}", orders)
        if isinstance(self.send(command), m.ListPlaced):
            self.naive.place_list(command)

    def chosen(self, number: int) -> Any:
        found = list(self.naive.open_orders())
        return self.naive.orders[found[number % len(found)]] if found else None

    @rule(number=st.integers(0, 1000))
    def cancel(self, number: int) -> None:
        order = self.chosen(number)
        if order:
            reply = self.send(m.CancelOrder(order.command.account, 1, order.order_id, "", "x"))
            assert isinstance(reply, m.OrdersCanceled)
            self.naive.cancel(order.order_id)

    @rule(number=st.integers(0, 1000), count=lots)
    def amend(self, number: int, count: int) -> None:
        order = self.chosen(number)
        if order and isinstance(
            self.send(m.AmendOrder(order.command.account, 1, order.order_id, "", count)), m.OrderAmended
        ):
            assert not order.list
            self.naive.amend(order.order_id, count)

    @rule(number=st.integers(0, 1000), side=sides, price=prices, count=lots, stp=modes)
    def replace(self, number: int, side: int, price: int, count: int, stp: int) -> None:
        old = self.chosen(number)
        if old:
            order = self.order(old.command.account, side, m.LIMIT, price, count, stp=stp)
            cancel = m.CancelOrder(old.command.account, 1, old.order_id, "", "x")
            reply = self.send(m.ReplaceOrder(cancel, order, m.STOP_ON_FAILURE))
            assert isinstance(reply, m.OrderReplaced)
            self.naive.cancel(old.order_id)
            assert isinstance(reply.placed, m.OrderPlaced)
            self.naive.place(order)

    @rule()
    def restore(self) -> None:
        restored = Replica.restore(self.replica.snapshot())
        assert restored.snapshot() == self.replica.snapshot()
        self.replica = restored

    @invariant()
    def both_are_the_same(self) -> None:
        assert self.trades == self.naive.trades
        assert self.preventions == self.naive.preventions
        engine = self.replica.engine
        found = {
            order.order_id: (order.status, order.executed_lots, order.prevented, order.remaining + order.reserve)
            for account in ACCOUNTS
            for own in engine.accounts.accounts[account].open_orders.values()
            for order in own.orders.values()
        }
        assert found == self.naive.open_orders()
        book = engine.markets[1].book
        for side in (m.BUY, m.SELL):
            assert book.levels(side) == self.naive.levels(side)
            resting = [order.order_id for order in book.resting(side)]
            sign = -1 if side == m.BUY else 1
            queue = sorted(
                (order for order in self.naive.book if order.command.side == side),
                key=lambda order: sign * order.command.price,
            )
            assert resting == [order.order_id for order in queue]
        assert not book.is_crossed()
        check_conservation(engine)


def run(examples: int, *, is_fixed: bool) -> None:
    run_state_machine_as_test(
        Differential,
        settings=settings(
            max_examples=examples,
            derandomize=is_fixed,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to shrink such a long run takes minutes
            print_blob=True,
        ),
    )


def test_the_engine_equals_a_naive_exchange() -> None:
    run(60, is_fixed=True)


@pytest.mark.soak
def test_the_engine_equals_a_naive_exchange_for_50_000_steps() -> None:
    run(500, is_fixed=False)
