"""Our book against true order flow: LOBSTER files in the folder BURSA_LOBSTER, or files of the same form made here."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from runtime.shared.messages import BUY, SELL
from tests.runtime.engine.lobster import LobsterError, replay

DEPTH = 4


class Venue:
    """A naive venue that writes LOBSTER files: one list of orders, scanned."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.orders: list[list[int]] = []  # id, side, price, lots
        self.messages: list[str] = []
        self.books: list[str] = []
        self.next = 1000

    def levels(self, side: int) -> list[tuple[int, int]]:
        sums: dict[int, int] = {}
        for _, its, price, lots in self.orders:
            if its == side:
                sums[price] = sums.get(price, 0) + lots
        return sorted(sums.items(), reverse=side == BUY)

    def visible(self, side: int, price: int) -> bool:
        levels = self.levels(side)[:DEPTH]
        return len(levels) < DEPTH or (price >= levels[-1][0] if side == BUY else price <= levels[-1][0])

    def tell(self, kind: int, order: list[int], lots: int, *, seen: bool) -> None:
        """Write a message and the book after it, unless both are out of view."""
        if not seen:
            return
        number, side, price, _ = order
        self.messages.append(
            f"34200.{len(self.messages):09d},{kind},{number},{lots},{price},{1 if side == BUY else -1}"
        )
        bids, asks = self.levels(BUY)[:DEPTH], self.levels(SELL)[:DEPTH]
        bids += [(-9_999_999_999, 0)] * (DEPTH - len(bids))
        asks += [(9_999_999_999, 0)] * (DEPTH - len(asks))
        row = [str(number) for ask, bid in zip(asks, bids, strict=True) for number in (*ask, *bid)]
        self.books.append(",".join(row))

    def step(self, *, warm: bool = False) -> None:
        kind = self.draw.random()
        if kind < 0.5 or len(self.orders) < 20:
            side = self.draw.choice((BUY, SELL))
            price = 1_000_000 + 100 * (self.draw.randint(1, 12) if side == SELL else -self.draw.randint(1, 12))
            order = [self.next, side, price, self.draw.randint(1, 9) * 10]
            self.next += 1
            self.orders.append(order)
            self.tell(1, order, order[3], seen=not warm and self.visible(side, price))
        elif kind < 0.8:
            order = self.draw.choice(self.orders)
            seen = not warm and self.visible(order[1], order[2])
            lots = order[3] if self.draw.random() < 0.6 or order[3] < 20 else 10
            order[3] -= lots
            if not order[3]:
                self.orders.remove(order)
            self.tell(2 if order[3] else 3, order, lots, seen=seen)
        else:
            side = self.draw.choice((BUY, SELL))
            mine = [order for order in self.orders if order[1] == side]
            if not mine:
                return
            order = min(mine, key=lambda each: each[2] if side == SELL else -each[2])
            lots = min(order[3], self.draw.randint(1, 9) * 10)
            order[3] -= lots
            if not order[3]:
                self.orders.remove(order)
            self.tell(4, order, lots, seen=not warm)

    def write(self, folder: Path) -> tuple[Path, Path]:
        paths = folder / "messages.csv", folder / "book.csv"
        for path, rows in zip(paths, (self.messages, self.books), strict=True):
            path.write_text("\n".join(rows) + "\n")
        return paths


def recorded(folder: Path, seed: int, steps: int = 1500) -> tuple[Path, Path]:
    venue = Venue(seed)
    for _ in range(200):
        venue.step(warm=True)
    for _ in range(steps):
        venue.step()
    return venue.write(folder)


@pytest.mark.parametrize("seed", range(10))
def test_our_book_is_the_reference_after_every_message(tmp_path: Path, seed: int) -> None:
    run = replay(*recorded(tmp_path, seed))
    assert run.executions > 100


def test_a_book_that_is_not_the_reference_is_told_by_its_line(tmp_path: Path) -> None:
    paths = recorded(tmp_path, 1, 200)
    rows = paths[1].read_text().splitlines()
    cells = rows[60].split(",")
    cells[1] = str(int(cells[1]) + 10)
    paths[1].write_text("\n".join([*rows[:60], ",".join(cells), *rows[61:]]) + "\n")
    with pytest.raises(LobsterError, match="line 61"):
        replay(*paths)


def test_an_execution_out_of_turn_is_told_by_its_line(tmp_path: Path) -> None:
    top = "1000100,20,999900,10"
    (tmp_path / "m").write_text("1,1,1,10,999900,1\n2,1,2,10,1000100,-1\n3,1,3,10,1000100,-1\n4,4,3,10,1000100,-1\n")
    (tmp_path / "b").write_text(f"9999999999,0,999900,10\n1000100,10,999900,10\n{top}\n1000100,10,999900,10\n")
    with pytest.raises(LobsterError, match=r"line 4.*serves"):
        replay(tmp_path / "m", tmp_path / "b")


@pytest.mark.skipif("BURSA_LOBSTER" not in os.environ, reason="BURSA_LOBSTER names no folder of LOBSTER files")
def test_our_book_is_the_reference_on_lobster_files() -> None:
    folder = Path(os.environ["BURSA_LOBSTER"])
    pairs = sorted(folder.glob("*_message_*.csv"))
    assert pairs, f"{folder}: no files *_message_*.csv"
    for path in pairs:
        run = replay(path, path.with_name(path.name.replace("_message_", "_orderbook_")))
        print(f"{path.name}: {run.executions} executions")
