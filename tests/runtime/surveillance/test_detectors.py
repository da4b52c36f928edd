"""Each detector finds what it is for, leaves alone what only looks like it, and finds the same again."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.shared.messages import BUY, SELL
from runtime.shared.trade_records import TradeRecord
from runtime.surveillance.findings import LAYERING, PUMP, SPOOFING, VOLUME_SPIKE, WASH_TRADE
from runtime.surveillance.orders import OrderLimits, TakenBack, layering, spoofing
from runtime.surveillance.trades import BUCKETS_KEPT, Limits, Observed, Watch, observe

START_US = 1_790_000_010_000_000
SECOND = 1_000_000
LIMITS = Limits()
ORDERS = OrderLimits()
OWNERS = {1000: "anna", 1001: "anna", 1002: "ben"}


def trade(trade_id: int, second: float, price: int = 100_000, lots: int = 10, **other: Any) -> TradeRecord:
    fields: dict[str, Any] = {"buyer": 2000, "seller": 2001, "market": 1, "symbol": "BTCUSDT"} | other
    return TradeRecord(
        trade_id=trade_id,
        price_ticks=price,
        lots=lots,
        buyer_is_maker=False,
        buy_order_id=0,
        sell_order_id=0,
        buyer_fee=0,
        seller_fee=0,
        time_us=START_US + int(second * SECOND),
        sequence=trade_id,
        **fields,
    )


def watched(trades: Sequence[TradeRecord], watch: Watch | None = None) -> list[Observed]:
    watch = watch or Watch(1)
    seen = [observe(watch, each, OWNERS, LIMITS) for each in trades]
    return [each for each in seen if each is not None]


def kinds(observed: Sequence[Observed]) -> list[str]:
    return [finding.kind for each in observed for finding in each.findings]


@pytest.mark.parametrize(
    ("buyer", "seller", "count"),
    [(1000, 1000, 1), (1000, 1001, 1), (1001, 1002, 0), (1002, 3000, 0), (3000, 3001, 0)],
)
def test_a_wash_trade_has_one_owner_on_both_sides(buyer: int, seller: int, count: int) -> None:
    (seen,) = watched([trade(1, 0, buyer=buyer, seller=seller)])
    assert kinds([seen]) == [WASH_TRADE] * count
    if count:
        assert seen.findings[0].accounts == tuple(sorted({buyer, seller}))
        assert seen.findings[0].trades == (1,)


def test_all_wash_trades_of_the_same_owners_on_one_day_are_one_case() -> None:
    day_s = 24 * 3600
    findings = [
        each.findings[0]
        for each in watched(
            [
                trade(1, 0, buyer=1000, seller=1001),
                trade(2, 60, buyer=1001, seller=1000),
                trade(3, 61, buyer=1000, seller=1000),
                trade(4, day_s, buyer=1000, seller=1001),
            ]
        )
    ]
    assert findings[0].case_id == findings[1].case_id
    assert len({finding.case_id for finding in findings}) == 3
    assert len({finding.finding_id for finding in findings}) == 4


def test_a_trade_that_comes_again_is_passed_over_and_a_missing_one_is_noticed() -> None:
    trades = [trade(7, 0, buyer=1000, seller=1000), trade(8, 1), trade(7, 0, buyer=1000, seller=1000), trade(11, 2)]
    seen = watched(trades)
    assert kinds(seen) == [WASH_TRADE]
    assert [each.missing for each in seen] == [0, 0, 2]


def test_a_move_of_five_percent_in_five_minutes_is_told_once() -> None:
    steps = [trade(n, n, 100_000 + n * 500) for n in range(1, 21)]
    moves = [move for each in watched(steps) for move in each.moves]
    assert [(move.from_ticks, move.to_ticks, move.trade_id) for move in moves] == [(100_500, 106_000, 12)]
    falling = [trade(1, 0, 100_000), trade(2, 1, 95_001), trade(3, 2, 95_000), trade(4, 3, 94_000)]
    moves = [move for each in watched(falling) for move in each.moves]
    assert [(move.from_ticks, move.to_ticks) for move in moves] == [(100_000, 95_000)]


def test_the_same_move_over_a_longer_time_is_none() -> None:
    slow = [trade(n, n * 60, 100_000 + n * 500) for n in range(1, 21)]
    assert [move for each in watched(slow) for move in each.moves] == []


def test_a_spike_is_ten_times_the_usual_volume_told_once_a_bucket() -> None:
    calm = [trade(n, n * 30, lots=10) for n in range(1, 26)]
    spike = [trade(26, 26 * 30, lots=99), trade(27, 26 * 30 + 1, lots=1), trade(28, 26 * 30 + 2, lots=500)]
    seen = watched(calm + spike)
    assert kinds(seen) == [VOLUME_SPIKE]
    assert seen[26].findings[0].figures == {"lots": 100, "usual_lots": 10, "factor": 10}
    assert kinds(watched(calm[:10] + spike)) == [], "too little is known to call anything unusual"


@pytest.mark.parametrize(("buyer", "count"), [(1000, 1), (None, 0)])
def test_a_pump_is_a_rise_that_one_owner_bought(buyer: int | None, count: int) -> None:
    rise = [trade(n, n * 10, 100_000 + n * 2_100, buyer=buyer or 3000 + n) for n in range(1, 8)]
    assert PUMP not in kinds(watched(rise[:-2])), "not yet up by 10 %"
    assert (PUMP in kinds(watched(rise))) == count


@given(
    st.lists(
        st.tuples(st.integers(0, 90), st.integers(90_000, 110_000), st.integers(1, 100), st.integers(1000, 1004)),
        min_size=1,
        max_size=150,
    ),
    st.data(),
)
def test_a_watch_that_is_stored_and_read_back_anywhere_finds_the_same(steps: list[Any], data: st.DataObject) -> None:
    second, trades = 0, []
    for trade_id, (pause, price, lots, buyer) in enumerate(steps, start=1):
        second += pause
        trades.append(trade(trade_id, second, price, lots, buyer=buyer, seller=1002))
    whole = watched(trades)
    cut = data.draw(st.integers(0, len(trades)))
    watch = Watch(1)
    first = watched(trades[:cut], watch)
    watch = msgspec.msgpack.decode(msgspec.msgpack.encode(watch), type=Watch)
    again = data.draw(st.integers(0, cut))
    assert first + watched(trades[again:], watch) == whole
    assert len(watch.buckets) <= BUCKETS_KEPT


def taken_back(order_id: int, lots: int, created: float, canceled: float, **other: Any) -> TakenBack:
    fields: dict[str, Any] = {"account": 1000, "side": BUY, "price": 99_000} | other
    return TakenBack(
        order_id=order_id,
        lots=lots,
        created_us=START_US + int(created * SECOND),
        canceled_us=START_US + int(canceled * SECOND),
        **fields,
    )


SMALL = [taken_back(n, 10, n, n + 5, account=3000) for n in range(1, 6)]


@pytest.mark.parametrize(
    ("order", "dealing", "count"),
    [
        (taken_back(9, 50, 10, 40), {"seller": 1001}, 1),  # a linked account sold into it
        (taken_back(9, 50, 10, 40), {"seller": 3000}, 0),  # somebody else did
        (taken_back(9, 50, 10, 40), {"buyer": 1001}, 0),  # the same side
        (taken_back(9, 49, 10, 40), {"seller": 1000}, 0),  # not large
        (taken_back(9, 50, 10, 71), {"seller": 1000}, 0),  # stood long enough to be meant
        (taken_back(9, 50, 21, 40), {"seller": 1000}, 0),  # entered after the trade
        (taken_back(9, 50, 10, 40, side=SELL, price=101_000), {"buyer": 1000}, 1),
    ],
)
def test_spoofing_is_a_large_order_taken_back_after_trading_against_it(
    order: TakenBack, dealing: dict[str, int], count: int
) -> None:
    found = list(spoofing([*SMALL, order], [trade(1, 20, **dealing)], OWNERS, ORDERS))
    assert [finding.kind for finding in found] == [SPOOFING] * count
    if count:
        assert found[0].orders == (9,)
        assert found[0].trades == (1,)


@pytest.mark.parametrize(
    ("ladder", "count"),
    [
        ([taken_back(n, 10, n, 30, price=99_000 - n) for n in range(4)], 1),
        ([taken_back(n, 10, n, 30, price=99_000 - n) for n in range(3)], 0),
        ([taken_back(n, 10, n, 30, price=99_000) for n in range(4)], 0),  # one price
        ([taken_back(n, 10, n * 10, n * 10 + 5, price=99_000 - n) for n in range(4)], 0),  # never all at once
        ([taken_back(n, 10, n, 30, price=99_000 - n, account=1000 + n % 2) for n in range(4)], 1),  # linked
        ([taken_back(n, 10, n, 30, price=99_000 - n, account=3000 + n) for n in range(4)], 0),
        (
            [taken_back(n, 10, n, 30, price=99_000 - n) for n in range(4)]
            + [taken_back(9 + n, 10, n, 30, side=SELL, price=101_000 + n) for n in range(4)],
            0,
        ),  # quotes on both sides
    ],
)
def test_layering_is_a_ladder_taken_back_after_trading_against_it(ladder: list[TakenBack], count: int) -> None:
    found = list(layering(ladder, [trade(1, 20, seller=1001)], OWNERS, ORDERS))
    assert [finding.kind for finding in found] == [LAYERING] * count


def test_nothing_to_compare_with_finds_nothing() -> None:
    assert list(spoofing([], [trade(1, 1)], {}, ORDERS)) == []
    assert list(spoofing(SMALL, [], {}, ORDERS)) == []
    assert list(layering([], [], {}, ORDERS)) == []
