"""Accounts sharded by owner and books by market, as pure machines that only exchange messages: a model for ADR 7.

Every shard is a journaled machine: its state is a function of the inputs it has accepted. A message carries a number of
its link (sender, receiver); the receiver takes each number once, in order, and acknowledges; the sender keeps a message
until then. So the network may drop, repeat, reorder and delay, and any shard may crash at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

BASE, QUOTE = "base", "quote"
BUY, SELL = 0, 1


@dataclass(frozen=True)
class Place:
    """Account shard → book: an order whose funds are held."""

    order: int
    account: int
    side: int
    price: int
    lots: int


@dataclass(frozen=True)
class Cancel:
    """Account shard → book: take the order off, if it still stands."""

    order: int


@dataclass(frozen=True)
class Filled:
    """Book → account shard: settle `lots` at `price`; whoever paid holds for `lots` at its own limit."""

    order: int
    price: int
    lots: int


@dataclass(frozen=True)
class Closed:
    """Book → account shard: nothing of the order stands any more; release what `lots` still hold."""

    order: int
    lots: int


Message = Place | Cancel | Filled | Closed


@dataclass(frozen=True)
class Envelope:
    """A message on its link."""

    sender: str
    receiver: str
    number: int
    message: Message


class Shard:
    """What both kinds have in common: numbered links out, numbered links in, a journal."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.journal: list[object] = []
        self.unacknowledged: dict[tuple[str, int], Envelope] = {}
        self._sent: dict[str, int] = {}
        self._received: dict[str, int] = {}

    def send(self, receiver: str, message: Message) -> None:
        number = self._sent[receiver] = self._sent.get(receiver, 0) + 1
        self.unacknowledged[receiver, number] = Envelope(self.name, receiver, number, message)

    def accept(self, envelope: Envelope) -> bool:
        """Take an envelope if it is the next of its link; return whether it may be acknowledged."""
        expected = self._received.get(envelope.sender, 0) + 1
        if envelope.number > expected:
            return False  # out of order: it comes again
        if envelope.number == expected:
            self._received[envelope.sender] = expected
            self.journal.append(envelope)
            self.handle(envelope.sender, envelope.message)
        return True

    def acknowledge(self, receiver: str, number: int) -> None:
        self.unacknowledged.pop((receiver, number), None)

    def handle(self, sender: str, message: Message) -> None:
        raise NotImplementedError


@dataclass
class Standing:
    """An order as its account shard knows it."""

    account: int
    side: int
    price: int
    held_lots: int


class AccountShard(Shard):
    """Holds before it sends, settles what was filled, releases what is closed."""

    def __init__(self, name: str, opening: dict[int, dict[str, int]], market_of: dict[int, str]) -> None:
        super().__init__(name)
        self.free = {account: dict(assets) for account, assets in opening.items()}
        self.held = {account: dict.fromkeys(assets, 0) for account, assets in opening.items()}
        self.orders: dict[int, Standing] = {}
        self._market_of = market_of

    def place(self, order: Place) -> bool:
        """A client's order: hold its funds, or reject it here, where nothing else is asked."""
        self.journal.append(order)
        asset, need = (QUOTE, order.price * order.lots) if order.side == BUY else (BASE, order.lots)
        if self.free[order.account][asset] < need:
            return False
        self.free[order.account][asset] -= need
        self.held[order.account][asset] += need
        self.orders[order.order] = Standing(order.account, order.side, order.price, order.lots)
        self.send(self._market_of[order.order % len(self._market_of)], order)
        return True

    def cancel(self, order: int) -> None:
        """A client's cancel: the book decides whether it comes before the next fill."""
        self.journal.append(Cancel(order))
        if order in self.orders:
            self.send(self._market_of[order % len(self._market_of)], Cancel(order))

    def handle(self, sender: str, message: Message) -> None:
        del sender
        assert isinstance(message, Filled | Closed)
        standing = self.orders[message.order]
        free, held = self.free[standing.account], self.held[standing.account]
        assert 0 < message.lots <= standing.held_lots or isinstance(message, Closed)
        standing.held_lots -= message.lots
        paid = (QUOTE, standing.price * message.lots) if standing.side == BUY else (BASE, message.lots)
        held[paid[0]] -= paid[1]
        if isinstance(message, Closed):
            free[paid[0]] += paid[1]
            assert standing.held_lots == 0
            del self.orders[message.order]
        elif standing.side == BUY:
            free[BASE] += message.lots
            free[QUOTE] += (standing.price - message.price) * message.lots
        else:
            free[QUOTE] += message.price * message.lots

    def state(self) -> object:
        return (self.free, self.held, self.orders, self.unacknowledged, self._sent, self._received)


@dataclass
class Resting:
    """An order on a book."""

    order: int
    shard: str
    side: int
    price: int
    lots: int


class BookShard(Shard):
    """Matches by price, then time; tells each side's account shard what happened."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.resting: list[Resting] = []
        self.traded_lots = 0

    def handle(self, sender: str, message: Message) -> None:
        if isinstance(message, Cancel):
            for order in [order for order in self.resting if order.order == message.order]:
                self.resting.remove(order)
                self.send(order.shard, Closed(order.order, order.lots))
            return
        assert isinstance(message, Place)
        taker = Resting(message.order, sender, message.side, message.price, message.lots)
        for maker in sorted(self._crossing(taker), key=lambda order: order.price * (1 if taker.side == BUY else -1)):
            lots = min(taker.lots, maker.lots)
            for order in (maker, taker):
                order.lots -= lots
                self.send(order.shard, Filled(order.order, maker.price, lots))
            self.traded_lots += lots
            if not maker.lots:
                self.resting.remove(maker)
                self.send(maker.shard, Closed(maker.order, 0))
            if not taker.lots:
                self.send(taker.shard, Closed(taker.order, 0))
                return
        self.resting.append(taker)

    def _crossing(self, taker: Resting) -> Iterator[Resting]:
        sign = 1 if taker.side == BUY else -1
        return (o for o in self.resting if o.side != taker.side and sign * (taker.price - o.price) >= 0)

    def state(self) -> object:
        return (self.resting, self.traded_lots, self.unacknowledged, self._sent, self._received)


@dataclass
class Network:
    """What is under way: envelopes and acknowledgements, in no order."""

    envelopes: list[Envelope] = field(default_factory=list)
    acknowledgements: list[tuple[str, str, int]] = field(default_factory=list)
