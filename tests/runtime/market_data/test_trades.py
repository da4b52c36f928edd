"""Aggregates tell every trade once, and only neighbours of one command, price and side together."""

import itertools

from hypothesis import given

from runtime.market_data.trades import Tape, Trade, aggregate
from tests.runtime.market_data.events import deal, engine_run, tapes


@given(tapes())
def test_aggregates_partition_the_trades(trades: list[Trade]) -> None:
    told = aggregate(trades)
    by_id = {one.trade_id: one for one in trades}
    ids = [number for one in told for number in range(one.first_id, one.last_id + 1)]
    assert ids == list(by_id)
    for one in told:
        inside = [by_id[number] for number in range(one.first_id, one.last_id + 1)]
        assert {(t.sequence, t.price, t.buyer_is_maker, t.time_ms) for t in inside} == {
            (inside[0].sequence, one.price, one.buyer_is_maker, one.time_ms)
        }
        assert one.lots == sum(t.lots for t in inside)
    for one, following in itertools.pairwise(told):  # no two that belong together are apart
        last, first = by_id[one.last_id], by_id[following.first_id]
        assert (last.sequence, last.price, last.buyer_is_maker) != (first.sequence, first.price, first.buyer_is_maker)


def test_one_taker_order_through_two_prices_is_two_aggregates() -> None:
    trades = [deal(1, 100, 2, sequence=7), deal(2, 100, 3, sequence=7), deal(3, 101, 1, sequence=7)]
    again = deal(4, 101, 1, sequence=8)
    assert [(a.first_id, a.last_id, a.price, a.lots) for a in aggregate([*trades, again])] == [
        (1, 2, 100, 5),
        (3, 3, 101, 1),
        (4, 4, 101, 1),
    ]


def test_the_engines_commands_do_make_aggregates() -> None:
    trades = engine_run().trades(1)
    assert len(aggregate(trades)) < len(trades)


def test_a_refilled_tape_does_not_pretend_to_know_an_aggregates_beginning() -> None:
    cut = [deal(2, 100, 3, sequence=7), deal(3, 101, 1, sequence=7)]
    tape = Tape()
    tape.refill(cut)
    assert [one.first_id for one in tape.aggregates] == [3]
    whole = Tape()
    whole.refill([deal(1, 100, 2, sequence=7), *cut])
    assert [one.first_id for one in whole.aggregates] == [1, 3]


def test_the_tape_is_bounded() -> None:
    tape = Tape(kept=3)
    for number in range(1, 10):
        tape.add([deal(number, 100, 1, sequence=number)])
    assert [one.trade_id for one in tape.trades] == [7, 8, 9]
    assert [one.first_id for one in tape.aggregates] == [7, 8, 9]
    assert tape.last == tape.trades[-1]
