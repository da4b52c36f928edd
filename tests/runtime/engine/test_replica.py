"""The same journal gives the same state; a repeated command gives its first reply; a snapshot is the state."""

import os
import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.engine.replica import Replica
from runtime.shared import messages as m
from tests.runtime.engine.flows import entries, opening, random_commands

DIGEST = """
import sys
from runtime.engine.replica import Replica
from tests.runtime.engine.flows import entries, opening, random_commands
replica = Replica()
for time_us, entry in enumerate(entries(iter([*opening(), *random_commands(7, 1500)]))):
    replica.apply(time_us, entry)
print(replica.state_hash())
"""


def test_state_hash_does_not_depend_on_the_hash_seed() -> None:
    hashes = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(hashes) == 1


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 400))
def test_snapshot_plus_tail_equals_the_whole(seed: int, cut: int) -> None:
    stream = list(entries(iter([*opening(), *random_commands(seed, 400)])))
    whole = Replica()
    restored: Replica | None = None
    replies = []
    for number, entry in enumerate(stream):
        if number == cut:
            restored = Replica.restore(whole.snapshot())
            assert restored.state_hash() == whole.state_hash()
        replies.append(whole.apply(number, entry))
        if restored:
            assert restored.apply(number, entry) == replies[-1]
    assert restored
    assert restored.state_hash() == whole.state_hash()


def test_a_repeated_command_gets_its_first_reply_even_a_reject() -> None:
    replica = Replica()
    for entry in entries(opening()):
        replica.apply(1, entry)
    order = m.PlaceOrder(1000, 1, m.BUY, m.LIMIT, m.GTC, 6_000_000, 1_000, 0, "a", 0)
    first, _ = replica.apply(2, m.Entry("other", 1, 0, order))
    refused, _ = replica.apply(3, m.Entry("other", 2, 0, order))
    assert isinstance(refused.reply, m.Rejected)
    replica.apply(4, m.Entry("third", 1, 0, m.CancelAll(1000, 1)))
    for n, reply in ((1, first), (2, refused)):
        again, happened = replica.apply(5, m.Entry("other", n, 0, order))
        assert again == reply
        assert happened.events == []
    replica.apply(6, m.Entry("other", 3, 2, m.CancelAll(1000, 1)))
    pruned, _ = replica.apply(7, m.Entry("other", 1, 2, order))
    assert pruned.reply == m.Rejected(m.ALREADY_PRUNED)


def test_a_command_sequenced_after_its_sender_gave_up_has_no_effect() -> None:
    replica = Replica()
    for entry in entries(opening()):
        replica.apply(1, entry)
    order = m.PlaceOrder(1000, 1, m.BUY, m.LIMIT, m.GTC, 6_000_000, 1_000, 0, "a", 0)
    late, happened = replica.apply(51, m.Entry("late", 1, 0, order, expires_us=50))
    assert late.reply == m.Rejected(m.TOO_LATE)
    assert happened.events == []
    again, _ = replica.apply(52, m.Entry("late", 1, 0, order))
    assert again == late
    in_time, _ = replica.apply(53, m.Entry("late", 2, 0, order, expires_us=53))
    assert isinstance(in_time.reply, m.OrderPlaced)


def test_absurd_numbers_cost_nothing() -> None:
    replica = Replica()
    for n, acknowledged in ((2**40, 0), (2**40 + 1, 2**40), (2**60, 2**60)):
        replica.apply(1, m.Entry("s", n, acknowledged, m.CancelAll(1, 1)))
    assert replica.sequence == 3
