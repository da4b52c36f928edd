"""The fast book against a naive one, and the published workloads."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.workloads import W1, W2, Flow, Workload
from runtime.engine.book import NO_BUDGET, BookOrder, OrderBook
from runtime.shared.messages import BUY, GTC, LIMIT, MARKET, SELL, PlaceOrder
from tests.runtime.engine.flows import NaiveBook

ADD = st.tuples(
    st.just("add"),
    st.sampled_from((BUY, SELL)),
    st.integers(95, 105) | st.just(0),
    st.integers(1, 20),
    st.integers(1, 3),
    st.integers(0, 3),
)
CANCEL = st.tuples(st.just("cancel"), st.integers(1, 60))


@settings(max_examples=400, deadline=None)
@given(st.lists(ADD | CANCEL, max_size=60))
def test_fast_book_equals_naive_book(steps: list[tuple]) -> None:
    fast, naive = OrderBook(), NaiveBook()
    trades: list[tuple[int, int, int, int]] = []
    for number, step in enumerate(steps, 1):
        if step[0] == "cancel":
            order = fast.orders.get(step[1])
            if order:
                fast.remove(order)
            naive.cancel(step[1])
        else:
            _, side, price, lots, account, stp = step
            kind = LIMIT if price else MARKET
            order = BookOrder(number, PlaceOrder(account, 1, side, kind, GTC, price, lots, 0, "", stp), 0)
            taken = fast.take(order)
            trades += [(maker.order_id, number, maker.price, filled) for maker, filled in taken.fills]
            if price and order.remaining and not taken.prevented:
                fast.rest(order)
            naive.add(number, side, price, lots, account, stp)
        assert trades == naive.trades
        for side in (BUY, SELL):
            assert fast.levels(side) == naive.levels(side)
            assert fast.best(side) == next((price for price, _ in naive.levels(side)), 0)
        assert sorted(fast.orders) == sorted(order[0] for order in naive.orders)
        bid, ask = fast.best(BUY), fast.best(SELL)
        assert not (bid and ask and bid >= ask), "crossed"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(ADD.filter(lambda step: step[2]), max_size=30),
    st.sampled_from((BUY, SELL)),
    st.integers(1, 200),
    st.integers(0, 9000),
)
def test_reachable_is_what_a_taker_gets(steps: list[tuple], side: int, lots: int, budget: int) -> None:
    book = OrderBook()
    for number, (_, maker_side, price, quantity, account, _) in enumerate(steps, 1):
        order = BookOrder(number, PlaceOrder(account, 1, maker_side, LIMIT, GTC, price, quantity, 0, "", 0), 0)
        book.take(order)
        if order.remaining:
            book.rest(order)
    got, cost, is_short = book.reachable(side, lots, NO_BUDGET)
    bounded, bounded_cost, _ = book.reachable(side, lots, budget)
    assert bounded_cost <= budget
    assert bounded <= got
    taker = BookOrder(999, PlaceOrder(9, 1, side, MARKET, GTC, 0, lots, 0, "", 0), 0)
    fills = book.take(taker).fills
    assert got == sum(filled for _, filled in fills)
    assert cost == sum(maker.price * filled for maker, filled in fills)
    assert is_short == bool(taker.remaining)


@pytest.mark.parametrize("workload", [W1, W2], ids=["w1", "w2"])
def test_published_workload_gives_the_published_tape_and_book(workload: Workload) -> None:
    flow = Flow(workload)

    def digest(lines: object) -> str:
        return sha256("".join(lines).encode()).hexdigest()  # type: ignore[call-overload]

    assert digest(flow.lines()) == workload.file_sha256
    assert digest(flow.tape.tape_lines()) == workload.tape_sha256
    assert digest(flow.tape.book_lines()) == workload.book_sha256


def test_compaction_keeps_order_and_drops_the_dead() -> None:
    book = OrderBook()
    for number in range(1, 501):
        book.rest(BookOrder(number, PlaceOrder(1, 1, BUY, LIMIT, GTC, 100, 1, 0, "", 0), 0))
    for number in range(1, 500):
        if number % 50:
            book.remove(book.orders[number])
    assert [order.order_id for order in book.resting(BUY)] == [*range(50, 500, 50), 500]
    taker = BookOrder(1000, PlaceOrder(2, 1, SELL, LIMIT, GTC, 100, 3, 0, "", 0), 0)
    assert [maker.order_id for maker, _ in book.take(taker).fills] == [50, 100, 150]
