"""The numbers of a market, a ledger and an hour's withdrawals, against slower ways to the same."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from runtime.business_metrics.measures import (
    LedgerSum,
    Outflow,
    Traded,
    depth,
    ledger_case,
    market_measure,
    spread_ppm,
    unbalanced,
)
from runtime.shared.messages import AUCTION, CANCEL_ONLY, HALT, TRADING, MarketState

Levels = list[tuple[int, int]]


def state(bids: Levels, asks: Levels, status: int = TRADING) -> MarketState:
    return MarketState(1, status, 7, 3, 100, bids, asks)


@st.composite
def books(draw: st.DrawFn) -> tuple[Levels, Levels]:
    """Both sides, best first, which do not cross; either may be empty."""
    prices = draw(st.lists(st.integers(1, 2**53 - 1), unique=True, max_size=12).map(sorted))
    cut = draw(st.integers(0, len(prices)))
    lots = st.integers(1, 2**53 - 1)
    return [(each, draw(lots)) for each in reversed(prices[:cut])], [(each, draw(lots)) for each in prices[cut:]]


@given(books())
def test_spread_and_depth_are_those_of_exact_fractions(book: tuple[Levels, Levels]) -> None:
    bids, asks = book
    measured = market_measure("BTCUSDT", 10, state(bids, asks), Traded(trades=2, turnover=5))
    assert (measured.trades, measured.volume) == (2, 50)
    if not bids or not asks:
        assert (measured.spread_ppm, measured.bid_depth, measured.ask_depth) == (None, 0, 0)
        return
    middle = Fraction(bids[0][0] + asks[0][0], 2)
    exact = (asks[0][0] - bids[0][0]) / middle * 1_000_000
    assert measured.spread_ppm is not None
    assert 0 <= measured.spread_ppm - exact < 1
    near = [sum(p * q for p, q in side if abs(p - middle) <= middle / 100) for side in (bids, asks)]
    assert [measured.bid_depth, measured.ask_depth] == [10 * each for each in near]


def test_a_known_book() -> None:
    # 99.95 and 100.05: 10 basis points around 100, and the depth ends at 99 and 101.
    book = state([(9_995, 3), (9_900, 5), (9_899, 7)], [(10_005, 2), (10_100, 4), (10_101, 6)])
    assert spread_ppm(9_995, 10_005) == 1_000
    assert depth(book) == (9_995 * 3 + 9_900 * 5, 10_005 * 2 + 10_100 * 4)


def test_a_market_is_wide_past_the_bound_and_when_a_side_is_empty_but_not_while_it_is_closed() -> None:
    def wide(bids: Levels, asks: Levels, status: int = TRADING) -> bool:
        return market_measure("BTCUSDT", 1, state(bids, asks, status), Traded()).is_wide(10)

    assert not wide([(9_995, 1)], [(10_005, 1)]), "at the bound"
    assert wide([(9_995, 1)], [(10_006, 1)])
    assert wide([], [(10_005, 1)])
    assert wide([(9_995, 1)], [])
    assert not any(wide([], [], status) for status in (HALT, CANCEL_ONLY, AUCTION))
    assert not market_measure("BTCUSDT", 1, state([], [], HALT), Traded()).is_trading


@given(st.lists(st.tuples(st.integers(-(2**70), 2**70), st.integers(-(2**70), 2**70)), max_size=6))
def test_either_sum_that_is_not_zero_is_wrong_and_two_errors_do_not_hide_each_other(
    given: list[tuple[int, int]],
) -> None:
    sums = [LedgerSum(asset=f"A{n}", balances=one, postings=two) for n, (one, two) in enumerate(given)]
    assert [each.asset for each in unbalanced(sums)] == [f"A{n}" for n, both in enumerate(given) if both != (0, 0)]


def test_a_case_of_the_ledger_is_one_within_an_hour_and_tells_exact_amounts() -> None:
    wrong = [LedgerSum(asset="USDT", balances=2**80 + 1, postings=-1)]
    first, later, next_hour = (ledger_case(wrong, 7_200 + second) for second in (0, 3_599, 3_600))
    assert (first.kind, first.severity) == ("ledger-sum", "critical")
    assert first.case_id == first.event_id == later.case_id != next_hour.case_id
    assert str(2**80 + 1) in first.evidence
    many = [LedgerSum(asset=f"A{number:04d}", balances=10**30, postings=0) for number in range(100)]
    assert len(ledger_case(many, 0).evidence) == 1024


@given(st.integers(0, 2**62), st.integers(1, 2**62))
def test_the_share_of_the_limit_is_never_told_too_low(units: int, units_max: int) -> None:
    share = Outflow(asset="ETH", units=units, units_max=units_max).share_ppm
    assert 0 <= share - Fraction(units * 1_000_000, units_max) < 1
