"""Deposits under every reorganization: credited once, and never turned back in silence."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.chain import deposits
from runtime.chain.deposits import (
    Block,
    Change,
    Credited,
    Frozen,
    Orphaned,
    Pending,
    ReorganizedTooDeepError,
    Restored,
    Transfer,
    Watcher,
)

DEPTH = 3


def transfer(place: str, amount: int = 5) -> Transfer:
    return Transfer(place=place, asset="ETH", address="0xaa", amount=amount)


def block(name: str, parent: str, height: int, *places: str) -> Block:
    return Block(height=height, hash=name, parent=parent, transfers=tuple(transfer(place) for place in places))


def watcher() -> Watcher:
    return Watcher(lambda _transfer: DEPTH)


def kinds(changes: Sequence[Change]) -> list[str]:
    return [f"{type(change).__name__} {change.transfer.place}" for change in changes]


MAIN = [block("a", "0", 0), block("b", "a", 1, "t1"), block("c", "b", 2), block("d", "c", 3), block("e", "d", 4)]


def test_a_deposit_waits_for_its_blocks_and_is_credited_once() -> None:
    seen = watcher()
    assert [kinds(seen.advance([each])) for each in MAIN] == [[], ["Pending t1"], [], ["Credited t1"], []]
    assert seen.advance(MAIN) == []


def test_a_block_that_leaves_takes_a_pending_deposit_with_it_and_may_bring_it_back() -> None:
    seen = watcher()
    seen.advance(MAIN[:3])
    other = [block("b2", "a", 1), block("c2", "b2", 2, "t1"), block("d2", "c2", 3)]
    assert kinds(seen.advance(other)) == ["Orphaned t1", "Pending t1"]
    assert kinds(seen.advance([block("e2", "d2", 4)])) == ["Credited t1"]


def test_a_credited_deposit_that_leaves_the_chain_is_frozen_and_told() -> None:
    seen = watcher()
    seen.advance(MAIN[:4])
    other = [block("b2", "a", 1), block("c2", "b2", 2), block("d2", "c2", 3)]
    assert kinds(seen.advance(other)) == ["Frozen t1"]
    again = [block("e2", "d2", 4, "t1"), block("f2", "e2", 5), block("g2", "f2", 6)]
    assert kinds(seen.advance(again)) == ["Restored t1"]


def test_another_amount_under_the_same_place_does_not_lift_the_freeze() -> None:
    seen = watcher()
    seen.advance(MAIN[:4])
    seen.advance([block("b2", "a", 1), block("c2", "b2", 2), block("d2", "c2", 3)])
    fake = Block(height=4, hash="e2", parent="d2", transfers=(transfer("t1", 1),))
    assert seen.advance([fake, block("f2", "e2", 5), block("g2", "f2", 6)]) == []


def test_blocks_that_join_nowhere_stop_the_watcher(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watcher()
    seen.advance(MAIN)
    assert not seen.fork_of([block("z", "y", 4)])
    assert seen.fork_of([block("z", "d", 4)])
    with pytest.raises(ReorganizedTooDeepError, match="joins none of 5 headers"):
        seen.advance([block("z", "y", 4)])
    with pytest.raises(ValueError, match="has height 9, its parent 4"):
        seen.advance([block("z", "e", 9)])
    assert seen.tip == MAIN[-1]
    monkeypatch.setattr(deposits, "DEPTH_MAX", 3)
    seen.advance([block("f", "e", 5)])
    with pytest.raises(ReorganizedTooDeepError):
        seen.advance([block("b3", "a", 1)])


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60))
def test_whatever_the_chain_does_every_deposit_is_accounted_for(seed: int, steps: int) -> None:
    random_ = random.Random(seed)
    seen = watcher()
    chain = [block("g", "", 0)]
    seen.advance(chain)
    state: dict[str, str] = {}
    credited: list[str] = []
    places = [f"t{number}" for number in range(6)]
    for number in range(steps):
        fork = random_.randrange(max(0, len(chain) - 5), len(chain))
        chain = chain[: fork + 1]
        for step in range(random_.randint(1, 6)):
            present = {t.place for each in chain for t in each.transfers}
            new = [place for place in places if place not in present and random_.random() < 0.2]
            chain.append(block(f"{number}.{step}", chain[-1].hash, len(chain), *new))
        for change in seen.advance(chain[fork + 1 :]):
            place, before = change.transfer.place, state.get(change.transfer.place, "Orphaned")
            after = type(change).__name__
            allowed = {
                "Pending": ("Orphaned",),
                "Credited": ("Pending",),
                "Orphaned": ("Pending",),
                "Frozen": ("Credited", "Restored"),
                "Restored": ("Frozen",),
            }
            assert before in allowed[after], f"{place}: {before}, then {after}"
            state[place] = after
            credited += [place] if after == "Credited" else []
        assert len(credited) == len(set(credited))
        tip = len(chain) - 1
        for place in places:
            at = [each.height for each in chain for t in each.transfers if t.place == place]
            now = state.get(place, "Orphaned")
            if not at:
                assert now in ("Orphaned", "Frozen"), f"{place} is {now} and in no block"
            elif tip - at[0] + 1 >= DEPTH:
                assert now in ("Credited", "Restored"), f"{place} is {now} and deep enough"
    assert {Pending, Credited, Orphaned, Frozen, Restored}
