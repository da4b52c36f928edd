"""LOBSTER files: true order flow, and the book that it must lead to. https://lobsterdata.com describes the format.

A message file has lines `time,type,order id,size,price,direction`, prices in ten-thousandths, direction 1 for buy.
The book file beside it has, for each message, `ask price,ask size,bid price,bid size` of each level after it. Both
show only so many levels: what lies deeper, or was placed before the file begins, is known by its size, as a nameless
order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.engine.book import BookOrder, OrderBook
from runtime.shared.messages import BUY, GTC, LIMIT, SELL, PlaceOrder

NEW, EXECUTED = 1, 4
"""Types that change the visible book; between them are partial and whole deletions. The others do not show."""
_NO_LEVEL = 9_999_999_999
Levels = list[tuple[int, int]]


@dataclass(frozen=True)
class Line:
    """One message."""

    kind: int
    order: int
    lots: int
    price: int
    side: int


class LobsterError(AssertionError):
    """Our book is not the reference; the message names the line."""


def messages(path: Path) -> Iterator[Line]:
    """Yield the messages of a file."""
    with path.open() as file:
        for row in file:
            _, kind, order, size, price, direction, *_ = row.split(",")
            yield Line(int(kind), int(order), int(size), int(price), BUY if int(direction) == 1 else SELL)


def books(path: Path) -> Iterator[tuple[Levels, Levels]]:
    """Yield bids and asks after each message, best first."""
    with path.open() as file:
        for row in file:
            numbers = [int(each) for each in row.split(",")]
            levels = [tuple(numbers[at : at + 4]) for at in range(0, len(numbers), 4)]
            yield (
                [(price, lots) for _, _, price, lots in levels if abs(price) != _NO_LEVEL],
                [(price, lots) for price, lots, _, _ in levels if abs(price) != _NO_LEVEL],
            )


class Replay:
    """Feeds messages to our book and holds it against the reference after each."""

    def __init__(self, bids: Levels, asks: Levels) -> None:
        """Begin with the reference after the first message."""
        self.book = OrderBook()
        self.executions = 0
        self._named: dict[int, BookOrder] = {}
        self._nameless: dict[tuple[int, int], BookOrder] = {}
        self._next = 0
        self._worst = {BUY: 0, SELL: 0}
        self._learn(BUY, bids)
        self._learn(SELL, asks)

    def apply(self, number: int, line: Line, bids: Levels, asks: Levels) -> None:
        """Apply one message. Raises LobsterError when the book is not the reference after it."""
        if line.kind <= EXECUTED and not self._is_deeper(line.side, line.price):
            self._do(number, line)
        for side, reference in ((BUY, bids), (SELL, asks)):
            self._learn(side, reference)
            ours = self.book.levels(side)
            if ours != reference:
                raise LobsterError(f"line {number}: {line}: the book holds {ours}, the reference {reference}")

    def _is_deeper(self, side: int, price: int) -> bool:
        worst = self._worst[side]
        return worst != 0 and (price < worst if side == BUY else price > worst)

    def _do(self, number: int, line: Line) -> None:
        if line.kind == NEW:
            if self.book.crosses(line.side, line.price):
                raise LobsterError(f"line {number}: {line} would cross")
            self._named[line.order] = self._rest(line.side, line.price, line.lots)
            return
        order = self._named.get(line.order)
        if order is None or order.level is None:  # never seen, or out of view for a time
            order = self._nameless.get((line.side, line.price))
        if order is None or order.level is None:
            raise LobsterError(f"line {number}: {line}: no such order")
        if line.kind == EXECUTED:
            front = self.book.front(line.side)
            if front is not order:
                raise LobsterError(f"line {number}: {line}: our book serves {front and front.order_id} first")
            self.executions += 1
            self.book.serve(order, line.lots)
        elif line.lots == order.remaining:
            self.book.remove(order)
        else:
            self.book.reduce(order, line.lots)

    def _rest(self, side: int, price: int, lots: int) -> BookOrder:
        self._next += 1
        command = PlaceOrder(1, 1, side, LIMIT, GTC, price, lots, 0, f"l{self._next}", 0)
        order = BookOrder(self._next, command, 0)
        self.book.rest(order)
        return order

    def _learn(self, side: int, reference: Levels) -> None:
        """Take over levels that have come into view, and forget those that have left it."""
        known = {price for price, _ in self.book.levels(side)}
        for price, lots in reference:
            if price not in known and (self._is_deeper(side, price) or not self._worst[side]):
                self._nameless[side, price] = self._rest(side, price, lots)
        self._worst[side] = reference[-1][0] if reference else 0
        for order in self.book.resting(side):
            if self._is_deeper(side, order.price):
                self.book.remove(order)


def replay(message_path: Path, book_path: Path) -> Replay:
    """Feed a whole file to our book. Raises LobsterError at the first line after which it is not the reference."""
    lines, references = messages(message_path), books(book_path)
    next(lines)
    run = Replay(*next(references))
    for number, (line, (bids, asks)) in enumerate(zip(lines, references, strict=True), 2):
        run.apply(number, line, bids, asks)
    return run
