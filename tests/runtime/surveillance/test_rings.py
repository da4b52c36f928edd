"""A ring is found wherever it is planted, as often as it goes round, and ordinary trading is left alone."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.shared.trade_records import TradeRecord
from runtime.surveillance.findings import RING, Finding
from runtime.surveillance.rings import PASSES_KEPT, PPM, RingLimits
from runtime.surveillance.trades import Limits, Watch, observe
from tests.runtime.surveillance.test_detectors import trade

LIMITS = RingLimits()
MAKER, TAKERS = 900, range(500, 520)


def rings(trades: Sequence[TradeRecord], owners: dict[int, str] | None = None) -> list[Finding]:
    watch, found = Watch(1), []
    for each in trades:
        seen = observe(watch, each, owners or {}, Limits())
        assert seen is not None
        assert len(watch.passes) <= PASSES_KEPT
        found += [finding for finding in seen.findings if finding.kind == RING]
    return found


def passed(deals: Sequence[tuple[int, int, int]], every_s: float = 10) -> list[TradeRecord]:
    """Return a trade for each of `deals`: seller, buyer, lots."""
    return [
        trade(n, n * every_s, seller=seller, buyer=buyer, lots=lots)
        for n, (seller, buyer, lots) in enumerate(deals, start=1)
    ]


def test_a_ring_is_told_once_a_round_from_the_second_on() -> None:
    around = [(10, 11, 100), (11, 12, 100), (12, 10, 100)]
    found = rings(passed(around * 4))
    assert [finding.figures["rounds"] for finding in found] == [2, 3, 4]
    assert {finding.accounts for finding in found} == {(10, 11, 12)}
    assert [finding.trades for finding in found] == [(4, 5, 6), (7, 8, 9), (10, 11, 12)]
    assert found[0].figures == {"owners": 3, "rounds": 2, "lots": 600, "least_lots": 200, "most_lots": 200}
    assert len({finding.case_id for finding in found}) == 1
    assert len({finding.finding_id for finding in found}) == 3


def test_a_trade_beside_the_ring_does_not_tell_it_again() -> None:
    around = [(10, 11, 100), (11, 12, 100), (12, 10, 100)]
    assert len(rings(passed([*around, *around, (10, MAKER, 1), (MAKER, 10, 1)]))) == 1


@given(
    members=st.lists(st.integers(10, 60), min_size=3, max_size=6, unique=True),
    sizes=st.lists(st.integers(80, 100), min_size=6, max_size=6),
    noise=st.lists(st.tuples(st.sampled_from(TAKERS), st.booleans(), st.integers(1, 500)), max_size=60),
    rounds=st.integers(2, 4),
    data=st.data(),
)
def test_a_planted_ring_is_found_among_ordinary_trades(
    members: list[int], sizes: list[int], noise: list[tuple[int, bool, int]], rounds: int, data: st.DataObject
) -> None:
    around = list(zip(members, [*members[1:], members[0]], sizes, strict=False)) * rounds
    ordinary = [(MAKER, taker, lots) if buys else (taker, MAKER, lots) for taker, buys, lots in noise]
    deals: list[tuple[int, int, int]] = []
    while around or ordinary:
        take = around if not ordinary or (around and data.draw(st.booleans())) else ordinary
        deals.append(take.pop(0))
    found = rings(passed(deals, every_s=1))
    assert [finding.figures["rounds"] for finding in found] == list(range(2, rounds + 1))
    assert {finding.accounts for finding in found} == {tuple(sorted(members))}


@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3)).filter(lambda d: d[0] != d[1]), max_size=40
    )
)
def test_the_walk_finds_what_a_search_through_every_order_of_owners_finds(deals: list[tuple[int, int, int]]) -> None:
    watch = Watch(1)
    for at, each in enumerate(passed(deals, every_s=1), start=1):
        seen = observe(watch, each, {}, Limits())
        assert seen is not None
        found = [tuple(finding.accounts) for finding in seen.findings if finding.kind == RING]
        assert found == searched(deals[:at])


def searched(deals: Sequence[tuple[int, int, int]]) -> list[tuple[int, ...]]:
    """Return the rings that the last deal closed, by trying every one there could be."""
    lots: Any = defaultdict(int)
    count: Any = defaultdict(int)
    sold: Any = defaultdict(int)
    bought: Any = defaultdict(int)
    for seller, buyer, size in deals:
        lots[seller, buyer] += size
        count[seller, buyer] += 1
        sold[seller] += size
        bought[buyer] += size
    last = deals[-1][:2]
    found = []
    for length in range(LIMITS.owners_min, LIMITS.owners_max + 1):
        for order in itertools.permutations(sorted(set(sold) & set(bought)), length):
            pairs = list(zip(order, [*order[1:], order[0]], strict=True))
            if pairs[0] != last or not all(pair in lots for pair in pairs):
                continue
            mostly = all(2 * lots[a, b] > sold[a] and 2 * lots[a, b] > bought[b] for a, b in pairs)
            sizes = [lots[pair] for pair in pairs]
            evenly = min(sizes) * PPM >= max(sizes) * LIMITS.even_ppm
            closed = count[last] >= LIMITS.rounds and min(count[pair] for pair in pairs) == count[last]
            if mostly and evenly and closed:
                found.append(tuple(sorted(order)))
    return found


@pytest.mark.parametrize(
    ("deals", "why"),
    [
        ([(10, 11, 100), (11, 10, 100)] * 5, "to and fro"),
        ([(10, 11, 100), (11, 12, 100), (12, 10, 100)], "once round"),
        ([(10, 11, 100), (11, 12, 100), (12, 10, 79)] * 3, "too uneven"),
        ([(10, MAKER, 100), (10, 11, 100), (11, 12, 100), (12, 10, 100)] * 3, "sold as much elsewhere"),
        ([(MAKER, 11, 100), (10, 11, 100), (11, 12, 100), (12, 10, 100)] * 3, "bought as much elsewhere"),
        ([(10, 11, 100), (11, 12, 100), (12, 13, 100)] * 3, "not closed"),
        ([(n, n + 1, 100) for n in range(10, 16)] * 3 + [(16, 10, 100)] * 3, "more owners than the limit"),
    ],
)
def test_what_only_looks_like_a_ring_is_left_alone(deals: list[tuple[int, int, int]], why: str) -> None:
    assert rings(passed(deals)) == [], why


def test_a_ring_is_of_owners_whatever_accounts_they_use() -> None:
    owners = {10: "anna", 20: "anna", 11: "ben", 12: "citra"}
    deals = [(10, 11, 100), (11, 12, 100), (12, 20, 100)]
    (found,) = rings(passed(deals * 2), owners)
    assert found.accounts == (10, 11, 12, 20)
    assert found.figures["owners"] == 3
    same = {10: "anna", 11: "anna", 12: "ben"}
    assert rings(passed(deals * 3), same | {20: "ben"}) == [], "two owners are no ring"


def test_what_lies_before_the_window_counts_no_more() -> None:
    slow = [(10, 11, 100), (11, 12, 100), (12, 10, 100)]
    assert rings(passed(slow * 2, every_s=1500)) == []
    assert rings(passed(slow * 2, every_s=500)) != []


def test_a_memory_that_is_full_forgets_the_oldest() -> None:
    crowd = [(1000 + n, 3000 + n, 1) for n in range(PASSES_KEPT)]
    around = [(10, 11, 100), (11, 12, 100), (12, 10, 100)]
    assert rings(passed([*around, *crowd, *around], every_s=0.1)) == []
    assert len(rings(passed([*crowd, *around, *around], every_s=0.1))) == 1


@given(st.lists(st.tuples(st.integers(10, 13), st.integers(10, 13), st.integers(1, 2)), max_size=60), st.data())
def test_a_memory_that_is_stored_and_read_back_finds_the_same(deals: list[Any], data: st.DataObject) -> None:
    trades = passed(deals, every_s=20)
    whole = Watch(1)
    expected = [observe(whole, each, {}, Limits()) for each in trades]
    cut = data.draw(st.integers(0, len(trades)))
    watch = Watch(1)
    first = [observe(watch, each, {}, Limits()) for each in trades[:cut]]
    watch = msgspec.msgpack.decode(msgspec.msgpack.encode(watch), type=Watch)
    assert first + [observe(watch, each, {}, Limits()) for each in trades[cut:]] == expected


def test_a_watch_that_an_older_release_stored_is_read() -> None:
    stored = msgspec.msgpack.encode({"market": 3, "last_trade_id": 7, "buckets": [], "noticed_us": 0, "spiked_us": 0})
    assert msgspec.msgpack.decode(stored, type=Watch).passes == []


@pytest.mark.parametrize("wrong", [{"share_ppm": 499_999}, {"share_ppm": PPM}, {"owners_min": 2}, {"owners_max": 2}])
def test_limits_that_make_a_ring_ambiguous_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        RingLimits(**wrong)
