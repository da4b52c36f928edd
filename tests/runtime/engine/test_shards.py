"""Account shards and books over a bad network, with crashes: every asset adds up, nothing is held for ever."""

from __future__ import annotations

import random

import pytest

from tests.runtime.engine.shards import (
    BASE,
    BUY,
    QUOTE,
    SELL,
    AccountShard,
    BookShard,
    Cancel,
    Envelope,
    Network,
    Place,
    Shard,
)
from tests.soak import seeds

MARKETS = {0: "book-0", 1: "book-1"}
OWNERS = 8


def opening(number: int, shards: int) -> dict[int, dict[str, int]]:
    return {owner: {BASE: 500, QUOTE: 50_000} for owner in range(OWNERS) if owner % shards == number}


class World:
    """Shards, a network that does what it likes, and clients."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.count = self.draw.randint(1, 3)
        self.shards: dict[str, Shard] = {name: self.born(name) for name in self.names()}
        self.network = Network()
        self.orders = 0
        self.crashes = 0

    def names(self) -> list[str]:
        return [*(f"accounts-{n}" for n in range(self.count)), *MARKETS.values()]

    def born(self, name: str) -> Shard:
        if name.startswith("book"):
            return BookShard(name)
        return AccountShard(name, opening(int(name[-1]), self.count), MARKETS)

    def accounts(self) -> list[AccountShard]:
        return [shard for shard in self.shards.values() if isinstance(shard, AccountShard)]

    def step(self) -> None:
        draw = self.draw.random()
        if draw < 0.25:
            self.order()
        elif draw < 0.32 and self.orders:
            order = self.draw.randrange(self.orders) + 1
            self.draw.choice(self.accounts()).cancel(order)
        elif draw < 0.34:
            self.crash(self.draw.choice(list(self.shards)))
        else:
            self.carry(bad=True)

    def order(self) -> None:
        self.orders += 1
        owner = self.draw.randrange(OWNERS)
        shard = self.shards[f"accounts-{owner % self.count}"]
        assert isinstance(shard, AccountShard)
        side, price = self.draw.choice((BUY, SELL)), 100 + self.draw.randint(-5, 5)
        shard.place(Place(self.orders, owner, side, price, self.draw.randint(1, 40)))

    def crash(self, name: str) -> None:
        """Lose everything but the journal, and derive the rest from it again."""
        old = self.shards[name]
        new = self.born(name)
        for entry in old.journal:
            if isinstance(entry, Envelope):
                assert new.accept(entry)
            elif isinstance(entry, Place):
                assert isinstance(new, AccountShard)
                new.place(entry)
            else:
                assert isinstance(entry, Cancel)
                assert isinstance(new, AccountShard)
                new.cancel(entry.order)
        self.shards[name] = new  # what others have acknowledged is sent again, and is taken as a repetition
        self.crashes += 1

    def carry(self, *, bad: bool) -> None:
        """Send again what is unacknowledged, and deliver some of what is under way."""
        waiting = [envelope for shard in self.shards.values() for envelope in shard.unacknowledged.values()]
        self.network.envelopes += self.draw.sample(waiting, min(len(waiting), 3)) if bad else waiting
        under_way = self.network.envelopes
        if bad:
            self.draw.shuffle(under_way)
        for _ in range(min(len(under_way), 3) if bad else len(under_way)):
            envelope = under_way.pop(0)
            if bad and self.draw.random() < 0.2:
                continue  # dropped
            if bad and self.draw.random() < 0.2:
                under_way.append(envelope)  # repeated later
            if self.shards[envelope.receiver].accept(envelope) and not (bad and self.draw.random() < 0.2):
                self.shards[envelope.sender].acknowledge(envelope.receiver, envelope.number)
        self.check()

    def check(self) -> None:
        for shard in self.accounts():
            for account, assets in shard.free.items():
                assert all(amount >= 0 for amount in assets.values()), account
                assert all(amount >= 0 for amount in shard.held[account].values()), account

    def settle(self) -> None:
        """Let the network be good until nothing is under way."""
        for _ in range(10_000):
            if not any(shard.unacknowledged for shard in self.shards.values()):
                return
            self.carry(bad=False)
        raise AssertionError("messages are under way for ever")

    def check_totals(self) -> None:
        for asset, each in ((BASE, 500), (QUOTE, 50_000)):
            total = sum(s.free[a][asset] + s.held[a][asset] for s in self.accounts() for a in s.free)
            assert total == each * OWNERS, asset
        books = [shard for shard in self.shards.values() if isinstance(shard, BookShard)]
        standing = {order.order: order.lots for book in books for order in book.resting}
        held = {number: order.held_lots for shard in self.accounts() for number, order in shard.orders.items()}
        assert held == standing


def run(seed: int) -> World:
    world = World(seed)
    try:
        for _ in range(600):
            world.step()
        world.settle()
        world.check_totals()
        for name in world.names():
            before = world.shards[name].state()  # type: ignore[attr-defined]
            world.crash(name)
            world.settle()
            assert world.shards[name].state() == before  # type: ignore[attr-defined]
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    return world


@pytest.mark.parametrize("seed", range(40))
def test_every_asset_adds_up_whatever_the_network_does(seed: int) -> None:
    world = run(seed)
    assert world.crashes > 3
    assert sum(book.traded_lots for book in world.shards.values() if isinstance(book, BookShard)) > 50


@pytest.mark.soak
def test_many_seeds_of_shards() -> None:
    for seed in seeds(0.01):
        run(seed)
