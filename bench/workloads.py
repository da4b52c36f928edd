"""Two seeded order flows for a bare book, shallow (W1) and deep (W2): the same bytes on every Python."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from runtime.engine.book import OrderBook
from runtime.shared.messages import BUY, GTC, LIMIT, SELL, STP_NONE, PlaceOrder


@dataclass(frozen=True)
class Workload:
    """Parameters of a flow: `drift` operations per step of the middle, `mean` distance and `offset` of prices."""

    name: str
    seed: int
    operations: int
    prefill: int
    drift: int
    mean: int
    offset: int
    file_sha256: str
    tape_sha256: str
    book_sha256: str


W1: Final = Workload(
    "w1",
    seed=20240607,
    operations=200_000,
    prefill=0,
    drift=50,
    mean=20,
    offset=-5,
    file_sha256="d02860503d874705e7f8b204e56567cd737d08e1e2d1fab313eab9adaacc7b93",
    tape_sha256="ece23c186e13ac009a9df58ddf1334c57b0d01edd702c05d7b33344fd644590a",
    book_sha256="99b505a67c87a31a25c468b677efd6ac89a1484f5ea050f182f991d8e441025f",
)
W2: Final = Workload(
    "w2",
    seed=77,
    operations=200_000,
    prefill=20_000,
    drift=100,
    mean=60,
    offset=-12,
    file_sha256="6df3f65fdd8ff425ac7dd9b14a40d74901446980317d77c8c2de3e8f1071027a",
    tape_sha256="1cf21bee7ca43f09886c80ddf82fa833c3989089198f8bce2f02915f7e457e39",
    book_sha256="8a514d2329b488fa448517219cd0750216f3e6163b1a711865162b49a506f6c6",
)

MIDDLE: Final = 100_000
CANCEL_SHARE: Final = 0.4
LOTS_MAX: Final = 100
PREFILL_MEAN: Final = 200
PREFILL_OFFSET: Final = 2


class Tape:
    """A bare book under a workload, with the tape of its trades."""

    def __init__(self) -> None:
        """Start empty."""
        self.book = OrderBook()
        self.trades: list[tuple[int, int, int, int]] = []

    def add(self, order_id: int, side: int, price: int, lots: int) -> int:
        """Match, rest the remainder, return it."""
        command = PlaceOrder(0, 0, side, LIMIT, GTC, price, lots, 0, "", STP_NONE)
        for maker, filled in self.book.add(order_id, command, 0).fills:
            self.trades.append((maker.order_id, order_id, maker.price, filled))
            lots -= filled
        return lots

    def cancel(self, order_id: int) -> None:
        """Take an order off."""
        self.book.remove(self.book.orders[order_id])

    def tape_lines(self) -> Iterator[str]:
        """Yield the trades as text."""
        for maker, taker, price, lots in self.trades:
            yield f"{maker},{taker},{price},{lots}\n"

    def book_lines(self) -> Iterator[str]:
        """Yield what rests, bids then asks, best first."""
        for side in (BUY, SELL):
            for order in self.book.resting(side):
                yield f"{side},{order.price},{order.order_id},{order.remaining}\n"


class Flow:
    """Draws a workload's operations against a book of its own, since cancels must hit live orders."""

    def __init__(self, workload: Workload) -> None:
        """Seed it."""
        self.tape = Tape()
        self._workload = workload
        self._random = random.Random(workload.seed)
        self._live: list[int] = []
        self._middle = MIDDLE
        self._order_id = 0

    def lines(self) -> Iterator[str]:
        """Yield `A,id,side,price,lots` and `C,id,0,0,0` lines."""
        draw, workload = self._random, self._workload
        for _ in range(workload.prefill):
            yield self._add(PREFILL_MEAN, PREFILL_OFFSET)
        for number in range(workload.operations):
            if number % workload.drift == 0:
                self._middle += draw.choice((-1, 0, 1))
            if self.tape.book.orders and draw.random() < CANCEL_SHARE:
                yield self._cancel()
            else:
                yield self._add(workload.mean, workload.offset)

    def _add(self, mean: int, offset: int) -> str:
        self._order_id += 1
        side = self._random.getrandbits(1)
        distance = int(self._random.expovariate(1 / mean)) + offset
        price = self._middle + distance if side else self._middle - distance
        lots = self._random.randint(1, LOTS_MAX)
        if self.tape.add(self._order_id, side, price, lots):
            self._live.append(self._order_id)
        return f"A,{self._order_id},{side},{price},{lots}\n"

    def _cancel(self) -> str:
        live = self._live
        while True:  # swap with the last and drop, until the drawn order still rests
            at = self._random.randrange(len(live))
            order_id, live[at] = live[at], live[-1]
            live.pop()
            if order_id in self.tape.book.orders:
                self.tape.cancel(order_id)
                return f"C,{order_id},0,0,0\n"
