"""The public book equals the engine's, and differences rebuild it without a gap."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.market_data.book_builder import Best, BookBuilder, Diff, GapError
from runtime.shared.messages import BUY, SELL, LevelChanged, MarketState
from tests.runtime.market_data.events import SEEDED, EngineRun, empty_state, levels


class Client:
    """What a client does by the documented rules: buffer, snapshot, drop, apply, never miss."""

    def __init__(self, snapshot: Any) -> None:
        self.last_id = snapshot.update_id
        self.sides = dict(snapshot.bids), dict(snapshot.asks)
        self.is_first = True

    def take(self, diff: Diff) -> None:
        if diff.last_id <= self.last_id:
            return
        if self.is_first:
            assert diff.first_id <= self.last_id + 1 <= diff.last_id
        else:
            assert diff.first_id == self.last_id + 1
        self.is_first = False
        for side, changed in zip(self.sides, (diff.bids, diff.asks), strict=True):
            for price, lots in changed.items():
                if lots:
                    side[price] = lots
                else:
                    side.pop(price, None)
        self.last_id = diff.last_id

    def book(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        return sorted(self.sides[0].items(), reverse=True), sorted(self.sides[1].items())


@SEEDED
@given(st.integers(0, 10**6))
def test_book_from_any_snapshot_equals_the_engines_and_diffs_rebuild_it(seed: int) -> None:
    draw = random.Random(seed)
    run = EngineRun(seed, 300)
    changes = run.level_changes(1)
    book = BookBuilder(empty_state(1))
    fast: list[Diff] = []
    slow: list[Diff] = []
    clients: list[tuple[Client, Client, int, int]] = []
    for change in changes:
        assert book.apply(change)
        if draw.random() < 0.1:
            snapshot = book.depth(10**6)
            clients.append((Client(snapshot), Client(snapshot), len(fast), len(slow)))
        if draw.random() < 0.2 and (diff := book.take_fast()):
            fast.append(diff)
            if draw.random() < 0.3 and (diff := book.take_slow()):
                slow.append(diff)
    fast += filter(None, [book.take_fast()])
    slow += filter(None, [book.take_slow()])
    engine_book = levels(run.engine, 1, BUY), levels(run.engine, 1, SELL)
    depth = book.depth(10**6)
    assert (depth.bids, depth.asks) == engine_book
    assert depth.update_id == run.engine.markets[1].update_id
    for diffs in (fast, slow):  # contiguous from the first id to the last
        assert [diff.first_id for diff in diffs] == [1, *(diff.last_id + 1 for diff in diffs)][:-1]
        assert all(diff.first_id <= diff.last_id for diff in diffs)
    for fast_client, slow_client, fast_from, slow_from in clients:
        for diff in fast[fast_from:]:
            fast_client.take(diff)
        for diff in slow[slow_from:]:
            slow_client.take(diff)
        assert fast_client.book() == slow_client.book() == engine_book


@SEEDED
@given(st.integers(0, 10**6), st.integers(0, 400))
def test_events_that_the_snapshot_has_are_skipped(seed: int, behind: int) -> None:
    changes = EngineRun(seed, 200).level_changes(1)
    whole = BookBuilder(empty_state(1))
    for change in changes:
        whole.apply(change)
    at = max(0, len(changes) - behind)
    half = BookBuilder(empty_state(1))
    for change in changes[:at]:
        half.apply(change)
    depth = half.depth(10**6)
    late = BookBuilder(MarketState(1, 0, depth.update_id, 0, 0, depth.bids, depth.asks))
    assert [late.apply(change) for change in changes] == [False] * at + [True] * (len(changes) - at)
    assert late.depth(10**6) == whole.depth(10**6)
    diff = late.take_fast()
    assert diff is None if at == len(changes) else diff and diff.first_id == at + 1


def test_a_missing_update_is_never_passed_over() -> None:
    book = BookBuilder(empty_state(1))
    book.apply(LevelChanged(1, 1, BUY, 100, 5))
    with pytest.raises(GapError, match="update 3 came where 2 had to"):
        book.apply(LevelChanged(1, 3, BUY, 101, 5))


def test_top_of_the_book_and_limits() -> None:
    book = BookBuilder(MarketState(1, 0, 9, 0, 0, [(100, 1), (99, 2)], [(101, 3), (103, 4)]))
    assert book.best() == Best(100, 1, 101, 3)
    assert book.depth(1) == (9, [(100, 1)], [(101, 3)])
    for number, (side, price) in enumerate(((BUY, 100), (BUY, 99), (SELL, 101)), 10):
        book.apply(LevelChanged(1, number, side, price, 0))
    assert book.best() == Best(0, 0, 103, 4)


def test_a_level_that_was_never_there_may_be_removed() -> None:
    book = BookBuilder(empty_state(1))
    book.apply(LevelChanged(1, 1, SELL, 100, 0))
    assert book.depth(5) == (1, [], [])
    assert book.take_fast() == (1, 1, {}, {100: 0})
