"""Properties of the quotes: never crossed, never too many changes, always within what the exchange allows."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.market_maker.quoting import (
    ASK,
    BID,
    LEVEL_NOTIONALS_MAX,
    SCALE,
    Instrument,
    NotQuotableError,
    Quote,
    Walk,
    changes,
    ladder,
    outside,
    quote_lots,
    skew,
    take,
)

DESCRIPTION: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "filters": [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": "0.01000000",
            "maxPrice": "1000000.00000000",
            "tickSize": "0.01000000",
        },
        {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000"},
    ],
}
BTCUSDT = Instrument.read(DESCRIPTION)
MIN_WORTH = 5 * 10**SCALE

mids = st.integers(1, 100_000_000)
steps = st.integers(1, 10_000)
levels = st.integers(1, 20)
seeds = st.integers(0, 2**32)


def _sides(quotes: list[Quote]) -> tuple[list[int], list[int]]:
    return [q.price for q in quotes if q.side == BID], [q.price for q in quotes if q.side == ASK]


@given(mids, steps, levels, seeds)
def test_a_ladder_surrounds_the_mid_best_first_within_the_limits(mid: int, step: int, count: int, seed: int) -> None:
    quotes = ladder(BTCUSDT, mid=mid, step=step, levels=count, seed=seed)
    bids, asks = _sides(quotes)
    assert all(bid < mid for bid in bids)
    assert all(ask > mid for ask in asks)
    assert bids == sorted(set(bids), reverse=True)
    assert asks == sorted(set(asks))
    assert len(bids) <= count
    assert len(asks) <= count
    assert all(BTCUSDT.min_ticks <= price <= BTCUSDT.max_ticks for price in bids + asks)
    if bids and asks and min(bids) > 2 * step:
        assert step < asks[0] - bids[0] < 3 * step


@given(st.integers(1_000, 1_000_000), steps, levels, seeds)
def test_a_mid_that_moves_by_one_cell_changes_one_order_at_each_end(
    cell: int, step: int, count: int, seed: int
) -> None:
    mid = cell * step
    if (cell + count + 2) * step > BTCUSDT.max_ticks:
        return
    quotes = set(ladder(BTCUSDT, mid=mid, step=step, levels=count, seed=seed))
    assert set(ladder(BTCUSDT, mid=mid + step - 1, step=step, levels=count, seed=seed)) == quotes
    moved = set(ladder(BTCUSDT, mid=mid + step, step=step, levels=count, seed=seed))
    assert (len(quotes - moved), len(moved - quotes)) == (2, 2)


@given(st.lists(st.tuples(mids, steps), min_size=1, max_size=8), levels, st.integers(1, 40), seeds)
def test_changes_reach_any_ladder_in_bounded_steps_and_never_cross(
    path: list[tuple[int, int]], count: int, most: int, seed: int
) -> None:
    resting: dict[str, Quote] = {}
    names = iter(range(10**9))
    wanted: list[Quote] = []
    for mid, step in path:  # jumps that no walk would make
        wanted = ladder(BTCUSDT, mid=mid, step=step, levels=count, seed=seed)
        _apply(resting, wanted, most, names)
    for _ in range(2 + 2 * count // most + 1):
        _apply(resting, wanted, most, names)
    assert sorted(resting.values()) == sorted(wanted)


def _apply(resting: dict[str, Quote], wanted: list[Quote], most: int, names: Any) -> None:
    plan = changes(resting, wanted, most=most)
    if plan.cancel_all:
        resting.clear()
        assert plan.place  # the book is not bare until the next turn
    assert len(plan.cancel) + len(plan.place) <= most
    for name in plan.cancel:
        assert resting.pop(name) not in wanted
    for quote in plan.place:
        bids, asks = _sides(list(resting.values()))
        if quote.side == BID:
            assert all(quote.price < ask for ask in asks)
        else:
            assert all(quote.price > bid for bid in bids)
        resting[str(next(names))] = quote
    assert len(set(resting.values())) == len(resting)


@given(mids, steps, seeds, st.integers(0, 10**8), st.integers(0, 10**8))
def test_quotes_never_reach_what_others_show(mid: int, step: int, seed: int, bid: int, ask: int) -> None:
    quotes = ladder(BTCUSDT, mid=mid, step=step, levels=10, seed=seed)
    bids, asks = _sides(outside(quotes, best_bid=bid, best_ask=ask))
    assert all(price < ask for price in bids if ask)
    assert all(price > bid for price in asks)
    assert len(outside(quotes, best_bid=0, best_ask=0)) == len(quotes)


@given(
    st.integers(100, 100_000_000),
    st.integers(0, 10**7).map(lambda whole: whole * 10**SCALE),
    seeds,
    st.integers(0, 100),
)
def test_sizes_are_allowed_and_within_half_again_of_the_budget(price: int, budget: int, seed: int, turn: int) -> None:
    lots = quote_lots(BTCUSDT, Quote(BID, price), budget=budget, seed=seed, turn=turn)
    worth = lots * BTCUSDT.lot * price * BTCUSDT.tick // 10**SCALE
    if not lots:
        assert budget < 2 * MIN_WORTH or BTCUSDT.lots_worth(budget, price) < BTCUSDT.least_lots(price)
        return
    assert worth >= MIN_WORTH
    assert BTCUSDT.min_lots <= lots <= BTCUSDT.max_lots
    assert lots <= max(
        BTCUSDT.least_lots(price), BTCUSDT.lots_worth(min(budget, LEVEL_NOTIONALS_MAX * MIN_WORTH) * 3 // 2, price) + 1
    )


@given(st.integers(0, 10**30), st.integers(0, 10**30), st.integers(0, 10**30), st.integers(0, 10**6))
def test_the_lean_is_bounded_and_against_the_inventory(holding: int, target: int, limit: int, most: int) -> None:
    lean = skew(holding, target, limit=limit, shift_max=most)
    assert -most <= lean <= most
    assert lean <= 0 or holding < target
    assert lean >= 0 or holding > target
    assert skew(holding + 1, target, limit=limit, shift_max=most) <= lean
    if limit:
        assert skew(target, target, limit=limit, shift_max=most) == 0
        assert skew(target + limit, target, limit=limit, shift_max=most) == -most


@given(st.integers(10, 10**8), st.integers(1, 1_000), seeds)
def test_a_walk_stays_in_its_band_and_repeats_with_its_seed(anchor: int, volatility_ppm: int, seed: int) -> None:
    walks = [Walk(anchor=anchor, mid=anchor, volatility_ppm=volatility_ppm, random=Random(seed)) for _ in range(2)]
    for _ in range(200):
        mids = [walk.step() for walk in walks]
        assert mids[0] == mids[1]
        assert anchor * 79 // 100 <= mids[0] <= anchor * 121 // 100
    walks[0].move_to(anchor * 10)
    assert walks[0].mid <= anchor * 12 // 10


def test_a_walk_moves_and_comes_back() -> None:
    walk = Walk(anchor=60_000, mid=60_000, volatility_ppm=60, random=Random(5))  # 600.00 in cents: a coarse grid
    mids = [walk.step() for _ in range(5_000)]
    assert len(set(mids)) > 50
    assert abs(sum(mids) // len(mids) - 60_000) < 600


@given(st.integers(0, 10**8), st.integers(0, 10**8), st.integers(0, 1_000_000), seeds)
def test_a_taken_order_is_small_allowed_and_at_the_best_price(bid: int, ask: int, buy_ppm: int, seed: int) -> None:
    order = take(BTCUSDT, best_bid=bid, best_ask=ask, buy_ppm=buy_ppm, random=Random(seed))
    if order is None:
        assert not (bid and ask)
        return
    assert order.price == (ask if order.side == BID else bid) > 0
    assert BTCUSDT.least_lots(order.price) <= order.lots <= BTCUSDT.max_lots or order.lots == BTCUSDT.max_lots


def test_a_taker_buys_as_often_as_told() -> None:
    random = Random(1)
    for buy_ppm in (0, 250_000, 1_000_000):
        orders = [
            take(BTCUSDT, best_bid=5_999_000, best_ask=6_000_000, buy_ppm=buy_ppm, random=random) for _ in range(2_000)
        ]
        bought = sum(order is not None and order.side == BID for order in orders)
        assert abs(bought - 2_000 * buy_ppm // 1_000_000) < 100


def test_texts_have_the_decimals_of_tick_and_lot() -> None:
    assert BTCUSDT.price_text(6_000_001) == "60000.01"
    assert BTCUSDT.quantity_text(123) == "0.00123"
    assert BTCUSDT.ticks("60000.01000000") == 6_000_001
    whole = Instrument.read(
        DESCRIPTION
        | {
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": "1000", "maxPrice": "100000000000", "tickSize": "1000.0"},
                *DESCRIPTION["filters"][1:],
            ]
        }
    )
    assert whole.price_text(960_000) == "960000000"


@pytest.mark.parametrize("lacking", ["filters", "baseAsset", "symbol"])
def test_a_description_without_what_is_needed_is_named(lacking: str) -> None:
    with pytest.raises(NotQuotableError, match=f"no {lacking}"):
        Instrument.read({name: value for name, value in DESCRIPTION.items() if name != lacking})
    with pytest.raises(NotQuotableError, match="no LOT_SIZE"):
        Instrument.read(DESCRIPTION | {"filters": DESCRIPTION["filters"][:1]})
