"""A batch applied by one call leaves, byte for byte, what its entries would have left one by one."""

from collections.abc import Iterator
from itertools import chain
from typing import Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.engine.replica import Replica
from runtime.engine.sessions import REPLIES_MAX, SESSIONS_MAX
from runtime.shared import messages as m
from tests.runtime.engine.flows import CONFIGURE, entries, opening, random_commands

PRICE: Final = 1_000_000
NOTHING: Final = m.CancelAll(1, 1)
decode_happened: Final = msgspec.msgpack.Decoder(m.Happened).decode


# ---- the memory of replies -------------------------------------------------------------------------------------------


class PlainSession:
    """What a session remembers, without any shortcut."""

    def __init__(self) -> None:
        self.last = 0
        self.replies: dict[int, m.Replied] = {}


class Plain:
    """One entry at a time: look the session up, prune it, tell a repetition, apply, remember."""

    def __init__(self) -> None:
        self.replica = Replica()
        self.sessions: dict[str, PlainSession] = {}

    def apply(self, time_us: int, entry: m.Entry) -> tuple[m.Replied, m.Happened]:
        engine, sequence = self.replica.engine, self.replica.engine.sequence + 1
        session = self.sessions[entry.session] = self.sessions.pop(entry.session, None) or PlainSession()
        if len(self.sessions) > SESSIONS_MAX:
            del self.sessions[next(iter(self.sessions))]
        for n in list(session.replies):
            if n > min(entry.acknowledged, session.last):
                break
            del session.replies[n]
        if entry.n <= session.last:
            engine.skip(sequence, time_us)
            pruned = m.Replied(entry.n, sequence, time_us, m.Rejected(m.ALREADY_PRUNED))
            return session.replies.get(entry.n, pruned), m.Happened(sequence, time_us, [])
        reply, events = engine.apply(sequence, time_us, entry.command)
        replied = session.replies[entry.n] = m.Replied(entry.n, sequence, time_us, reply)
        session.last = entry.n
        if len(session.replies) > REPLIES_MAX:
            del session.replies[next(iter(session.replies))]
        return replied, m.Happened(sequence, time_us, events)

    def snapshot(self) -> bytes:
        self.replica.sessions = self.sessions  # type: ignore[assignment] - of the same shape, as far as it is read
        return self.replica.snapshot()


NAMES = st.sampled_from(("a", "b", "c"))
FEW = (
    st.tuples(st.just("new"), NAMES, st.sampled_from((1, 1, 2, 3, 7, 40)), st.integers(0, 20)),
    st.tuples(st.just("again"), NAMES, st.integers(0, 12), st.integers(0, 12)),
    st.tuples(st.just("absurd"), NAMES, st.integers(1, 2**40), st.integers(0, 2**41)),
)
MANY = (
    st.tuples(st.just("new"), NAMES, st.just(REPLIES_MAX + 10), st.just(REPLIES_MAX + 20)),
    st.tuples(st.just("crowd"), NAMES, st.sampled_from((1, SESSIONS_MAX - 1, SESSIONS_MAX + 1)), st.just(0)),
)


def sent(steps: list[tuple[str, str, int, int]]) -> Iterator[m.Entry]:
    """Yield what the steps make sessions send; numbers that no link would let through are among it."""
    last = dict.fromkeys("abc", 0)
    for number, (kind, name, count, lag) in enumerate(steps):
        if kind == "crowd":
            yield from (m.Entry(f"{number}-{each}", 1, 0, NOTHING) for each in range(count))
        elif kind == "again":
            yield m.Entry(name, max(1, last[name] - count), max(0, last[name] - lag), NOTHING)
        elif kind == "absurd":
            yield m.Entry(name, last[name] + count, lag, NOTHING)
            last[name] += count
        else:
            for _ in range(count):
                last[name] += 1
                yield m.Entry(name, last[name], max(0, last[name] - 1 - lag), NOTHING)


def hold_against_plain(steps: list[tuple[str, str, int, int]], size: int) -> None:
    plain, replica = Plain(), Replica()
    stream = list(sent(steps))
    for at in range(0, len(stream), size):
        batch = stream[at : at + size]
        expected = [plain.apply(at, entry) for entry in batch]
        applied = replica.apply_batch(at, batch)
        assert applied.replies == [replied for replied, _ in expected]
        assert [decode_happened(each) for each in applied.happened] == [happened for _, happened in expected]
        assert replica.snapshot() == plain.snapshot()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(*FEW), max_size=12), st.sampled_from((1, 2, 5, 64, 1_000)))
def test_a_batch_remembers_what_its_entries_would_have_one_by_one(
    steps: list[tuple[str, str, int, int]], size: int
) -> None:
    hold_against_plain(steps, size)


@settings(max_examples=4, deadline=None)
@given(st.lists(st.one_of(*MANY, *FEW), min_size=1, max_size=5), st.sampled_from((5_000, 100_000)))
def test_a_batch_forgets_what_its_entries_would_have_one_by_one(
    steps: list[tuple[str, str, int, int]], size: int
) -> None:
    hold_against_plain([("new", "a", REPLIES_MAX + 10, REPLIES_MAX + 20), *steps, ("crowd", "", SESSIONS_MAX, 0)], size)


def test_what_is_acknowledged_within_a_batch_is_forgotten_within_it() -> None:
    work = [m.Entry("a", 1, 0, NOTHING), m.Entry("a", 2, 1, NOTHING), m.Entry("a", 1, 0, NOTHING)]
    replies = Replica().apply_batch(1, work).replies
    assert [replied.reply for replied in replies[:2]] == [m.Rejected(m.UNKNOWN_MARKET)] * 2
    assert replies[2].reply == m.Rejected(m.ALREADY_PRUNED)


# ---- events that nobody is told of -----------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(0, 450))
def test_replaying_what_is_published_differs_in_nothing_but_the_events_told(
    seed: int, size: int, published: int
) -> None:
    stream = list(entries(chain(opening(), random_commands(seed, 400))))
    one_by_one, replica = Replica(), Replica()
    for at in range(0, len(stream), size):
        batch = stream[at : at + size]
        expected = [one_by_one.apply(at, entry) for entry in batch]
        applied = replica.apply_batch(at, batch, published)
        assert applied.replies == [replied for replied, _ in expected]
        told = [happened for _, happened in expected if happened.sequence > published]
        assert [decode_happened(each) for each in applied.happened] == told
    assert replica.snapshot() == one_by_one.snapshot()


@pytest.mark.parametrize("published", [0, 10**9])
def test_events_that_nobody_is_told_of_bound_a_command_as_others_do(published: int) -> None:
    """More fills than one command may cause events of: what they trigger waits for the next command."""
    makers = 6_700
    (market, *others) = CONFIGURE.markets
    roomy = msgspec.structs.replace(market, open_orders_max=makers)
    replica = Replica()

    def send(*commands: m.Command) -> list[m.Reply]:
        first = replica.sequence + 1
        work = [m.Entry("s", n, n - 1, command) for n, command in enumerate(commands, first)]
        return [replied.reply for replied in replica.apply_batch(1, work, published).replies]

    send(*opening(), msgspec.structs.replace(CONFIGURE, markets=[roomy, *others]))
    send(*(m.PlaceOrder(1000, 1, m.SELL, m.LIMIT, m.GTC, PRICE, 50, 0, f"{number}") for number in range(makers)))
    (waits,) = send(m.PlaceOrder(1001, 1, m.BUY, m.STOP_LOSS_LIMIT, m.GTC, PRICE - 1, 100, 0, "stop", stop_price=PRICE))
    assert isinstance(waits, m.OrderPlaced)
    (swept,) = send(m.PlaceOrder(1002, 1, m.BUY, m.LIMIT, m.GTC, PRICE, 50 * makers, 0, "all"))
    assert isinstance(swept, m.OrderPlaced)
    assert len(swept.fills) == makers
    triggers = replica.engine.markets[1].triggers
    assert list(triggers.due) == [waits.order.order_id]
    send(m.PlaceOrder(1002, 1, m.BUY, m.LIMIT, m.GTC, PRICE - 2, 100, 0, "next"))
    assert not triggers.due
    assert [order.order_id for order in replica.engine.markets[1].book.resting(m.BUY)][:1] == [waits.order.order_id]
