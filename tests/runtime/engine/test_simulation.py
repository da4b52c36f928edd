"""The whole group as pure objects under one seed: lease, journal, leader, standbys, a client, and all that fails.

Messages are dropped, repeated, reordered and delayed; members crash, freeze and are cut off from the lease; wall clocks
jump; steady clocks run at slightly different rates. A failing seed is printed, and replays.
"""

from __future__ import annotations

import contextlib
import random

import pytest

from runtime.engine.event_log import LogError
from runtime.engine.follower import Follower
from runtime.engine.leader import Leader, Sealed
from runtime.engine.lease import EXPIRY_S, Held, Lease, LeaseLostError, LeaseStoreError, MemoryLeaseStore
from runtime.engine.memory_log import MemoryLog, MemoryTopic
from runtime.engine.object_store import MemoryStore
from runtime.engine.replica import Replica
from runtime.engine.snapshots import Snapshots
from runtime.shared import messages as m
from tests.runtime.engine.flows import opening, random_commands
from tests.soak import seeds

COMMANDS = 60
MEMBERS = 3
TICK_S = 0.1


class ReachedStore:
    """The lease as one member reaches it: not at all, or with an answer that is lost."""

    def __init__(self, store: MemoryLeaseStore, draw: random.Random) -> None:
        self.store = store
        self.draw = draw
        self.is_cut_off = False

    def read(self) -> Held | None:
        if self.is_cut_off:
            raise LeaseStoreError("cut off")
        return self.store.read()

    def swap(self, expected: Held | None, new: Held) -> bool:
        if self.is_cut_off:
            raise LeaseStoreError("cut off")
        done = self.store.swap(expected, new)
        if self.draw.random() < 0.05:
            raise LeaseStoreError("the answer was lost")
        return done


class Member:
    """What `runtime.engine.member` and `server` do, without sockets and threads."""

    def __init__(self, world: World, number: int, life: int) -> None:
        self.world = world
        self.rate = world.draw.uniform(0.99, 1.01)
        self.store = ReachedStore(world.leases, world.draw)
        self.lease = Lease(self.store, f"m{number}-{life}", clock=lambda: world.now_s * self.rate)
        self.follower = Follower(
            "main",
            MemoryLog(world.journal, "main"),
            MemoryLog(world.events, "main"),
            Snapshots(world.snapshots, "main"),
            clock=world.wall_us,
        )
        self.follower.start()
        self.leader: Leader | None = None
        self.inbox: list[m.Entry] = []
        self.durable: list[Sealed] = []
        """Written, and not applied: one batch, or two when the next is written first."""
        self.renewed_s = 0.0

    def tick(self) -> None:
        """Do one round. Raises what ends the process."""
        if self.leader is None:
            self.follower.catch_up()
            try:
                if not self.lease.try_acquire():
                    return
            except LeaseStoreError:
                return
            leader = Leader(self.follower, self.lease.owner)
            leader.take_over(self.lease.epoch)
            self.leader = leader
            self.world.epochs += 1
        if self.world.now_s - self.renewed_s > EXPIRY_S / 5:
            self.renewed_s = self.world.now_s
            with contextlib.suppress(LeaseStoreError):
                self.lease.renew()
        self._commit(self.leader)

    def _commit(self, leader: Leader) -> None:
        if len(self.durable) <= 1 and (batch := self._take(leader)):
            sealed = leader.seal(batch)
            leader.make_durable(sealed)
            self.durable.append(sealed)
            if self.world.draw.random() < 0.3:
                return  # frozen between the two, for a while
        if not self.durable or (self.world.asks_the_lease and not self.lease.is_valid):
            return
        self.world.replies += leader.apply(self.durable.pop(0))
        if not self.durable and self.world.draw.random() < 0.2 and (taken := leader.snapshot()):
            Snapshots(self.world.snapshots, "main").save(*taken)

    def _take(self, leader: Leader) -> list[m.Entry]:
        """Return what may be sequenced: repetitions, and the next of the session."""
        known = leader.replica.sessions.get("client")
        written = [entry.n for sealed in self.durable for entry in sealed.entries]
        expected = max([known.last if known else 0, *written]) + 1
        batch: list[m.Entry] = []
        for entry in self.inbox:
            if entry.n <= expected:
                expected += entry.n == expected
                batch.append(entry)
        self.inbox = []
        return batch


class World:
    def __init__(self, seed: int, *, fences: bool = True, asks_the_lease: bool = True) -> None:
        self.draw = random.Random(seed)
        self.asks_the_lease = asks_the_lease
        self.now_s = 1000.0
        self.offset_us = 0
        self.leases = MemoryLeaseStore()
        self.journal, self.events = MemoryTopic(fences=fences), MemoryTopic(fences=fences)
        self.snapshots = MemoryStore()
        self.epochs = self.deaths = self.lives = 0
        self.stream = [
            m.Entry("client", n, 0, command)
            for n, command in enumerate([*opening(2), *random_commands(seed, COMMANDS, 2)], 1)
        ]
        self.answered: dict[int, m.Replied] = {}
        self.replies: list[m.Replied] = []
        self.frozen: dict[int, float] = {}
        self.members = [self._born(number) for number in range(MEMBERS)]

    def wall_us(self) -> int:
        return max(1, int(self.now_s * 1_000_000) + self.offset_us)

    def _born(self, number: int) -> Member:
        self.lives += 1
        return Member(self, number, self.lives)

    def step(self, *, bad: bool) -> None:
        self.now_s += TICK_S
        if bad:
            self._misfortune()
        unanswered = [entry for entry in self.stream if entry.n not in self.answered]
        for entry in unanswered[:5]:
            for member in self.members:
                if not bad or self.draw.random() < 0.5:
                    member.inbox.append(entry)
        for number, member in enumerate(self.members):
            if self.frozen.get(number, 0) > self.now_s:
                continue
            if bad:
                self.draw.shuffle(member.inbox)
            try:
                member.tick()
            except (LogError, LeaseLostError):
                self.deaths += 1
                self.members[number] = self._born(number)
        self._deliver(bad=bad)

    def _misfortune(self) -> None:
        number = self.draw.randrange(MEMBERS)
        fate = self.draw.random()
        if fate < 0.01:
            self.members[number] = self._born(number)  # kill -9
            self.deaths += 1
        elif fate < 0.03:
            self.frozen[number] = self.now_s + self.draw.uniform(0, 3 * EXPIRY_S)
        elif fate < 0.05:
            self.members[number].store.is_cut_off = True
        elif fate < 0.09:
            self.members[number].store.is_cut_off = False
        elif fate < 0.11:
            self.offset_us = self.draw.randint(-(10**9), 10**9)

    def _deliver(self, *, bad: bool) -> None:
        if bad:
            self.draw.shuffle(self.replies)
        kept: list[m.Replied] = []
        for replied in self.replies:
            if bad and self.draw.random() < 0.3:
                if self.draw.random() < 0.5:
                    kept.append(replied)  # later
                continue  # or never
            first = self.answered.setdefault(replied.n, replied)
            assert replied == first, f"command {replied.n} was answered twice, and differently"
        self.replies = kept

    def run(self) -> None:
        for _ in range(300):
            self.step(bad=True)
        for member in self.members:
            member.store.is_cut_off = False
        self.frozen.clear()
        for _ in range(400):
            if len(self.answered) == len(self.stream):
                break
            self.step(bad=False)
        assert set(self.answered) == {entry.n for entry in self.stream}, "not all is answered in the end"
        self.check()

    def check(self) -> None:
        """Hold what any reader makes of the log against what was answered, and against a quiet replica."""
        reader = Follower("main", MemoryLog(self.journal, "main"), MemoryLog(self.events, "main"))
        reader.start()
        remembered = reader.replica.sessions["client"].replies
        assert all(remembered[n] == replied for n, replied in self.answered.items()), "an answer is not in the journal"
        quiet = Replica()
        for entry in self.stream:
            quiet.apply(self.answered[entry.n].time_us, entry)  # rules may look at the time
        assert standing(reader.replica) == standing(quiet), "lost or doubled"


def standing(replica: Replica) -> object:
    engine = replica.engine
    accounts = {
        number: sorted((h.asset, h.free, h.held) for h in account.holdings.values() if h.free or h.held)
        for number, account in engine.accounts.accounts.items()
    }
    return accounts, {
        n: sorted((o.order_id, o.remaining) for o in mk.book.orders.values()) for n, mk in engine.markets.items()
    }


def run(seed: int, **options: bool) -> World:
    world = World(seed, **options)
    try:
        world.run()
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    return world


def test_nothing_is_lost_doubled_or_answered_differently() -> None:
    worlds = [run(seed) for seed in range(25)]
    assert sum(world.epochs for world in worlds) > 3 * len(worlds)
    assert sum(world.deaths for world in worlds) > 3 * len(worlds)


def test_without_fencing_and_without_asking_the_lease_the_simulation_finds_the_loss() -> None:
    found = 0
    for seed in range(25):
        try:
            run(seed, fences=False, asks_the_lease=False)
        except AssertionError:
            found += 1
    assert found > 1


@pytest.mark.soak
def test_many_simulated_lives() -> None:
    for seed in seeds(0.02):
        run(seed)
