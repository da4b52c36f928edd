"""What an account holds, what that cost on average, and what sales realized: folded from its postings. Pure.

Cost is kept apart for each currency that paid it, as no official rate joins them: a `Pool` is the part of an asset that
was bought for one currency. Whatever came by transfer, or for another asset, has no cost. A sale takes from the pool of
its own currency first, then from what has no cost, then from other pools; only the first part realizes a result. A
transfer out and a fee in a third asset take from what has no cost first.

A fee in the asset received makes the rest dearer; a fee in the currency received lessens the proceeds. All amounts are
integers in the smallest unit of their asset. Cost leaves a pool in proportion, rounded down, and all of it with the
last unit, so none is lost over time.
"""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Final, NamedTuple

from msgspec import Struct

from runtime.shared.catalogue import Catalogue

TRADE: Final = 1
FEE: Final = 2
TRANSFER: Final = 3
PPM: Final = 1_000_000


class LedgerError(ValueError):
    """Postings that no history of an account can have."""


class Line(NamedTuple):
    """One posting of the account: kind is TRADE, FEE or TRANSFER; amount is what the account gained."""

    sequence: int
    event: int
    asset: int
    amount: int
    kind: int


class Pool(Struct):
    """What of an asset was bought for one currency, and what its sales for that currency realized so far."""

    quantity: int = 0
    cost: int = 0
    realized: int = 0


class Holding(Struct):
    """One asset of the account: `quantity` is all of it, `pools` by currency what of it has a cost."""

    quantity: int = 0
    pools: dict[int, Pool] = {}
    transfers_in: int = 0
    transfers_out: int = 0
    trades_in: int = 0
    trades_out: int = 0
    fees: int = 0
    """Paid; below 0 where rebates were more."""

    @property
    def uncosted(self) -> int:
        """What has no cost."""
        return self.quantity - sum(pool.quantity for pool in self.pools.values())

    def pool(self, currency: int) -> Pool:
        """Return the pool of `currency`, empty at first."""
        return self.pools.setdefault(currency, Pool())

    def take(self, amount: int, currency: int | None = None) -> tuple[int, int]:
        """Take `amount` out; return how much of it was in the pool of `currency`, and its cost."""
        uncosted = self.uncosted
        matched, cost = (0, 0) if currency is None or currency not in self.pools else self._draw(currency, amount)
        rest = max(amount - matched - uncosted, 0)
        for other in sorted(self.pools):
            rest -= self._draw(other, rest)[0]
        self.quantity -= amount
        return matched, cost

    def _draw(self, currency: int, amount: int) -> tuple[int, int]:
        pool = self.pools[currency]
        quantity = min(pool.quantity, amount)
        cost = pool.cost * quantity // pool.quantity if quantity else 0
        pool.quantity -= quantity
        pool.cost -= cost
        return quantity, cost


class Portfolio:
    """Holdings of one account by asset id, as of the last posting taken."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Begin with nothing."""
        self._markets = {
            (catalogue.asset(market.base).id, catalogue.asset(market.quote).id) for market in catalogue.markets
        }
        self.holdings: dict[int, Holding] = {}

    def holding(self, asset: int) -> Holding:
        """Return what there is of `asset`."""
        return self.holdings.setdefault(asset, Holding())

    def take(self, lines: Iterable[Line]) -> None:
        """Take postings in the order of the ledger. Raises LedgerError for an entry that is no trade nor transfer."""
        for place, entry in groupby(lines, key=lambda line: (line.sequence, line.event)):
            self._entry(place, list(entry))

    def _entry(self, place: tuple[int, int], entry: list[Line]) -> None:
        for line in entry:
            self._count(line)
        traded = _sums(line for line in entry if line.kind == TRADE)
        fees = _sums(line for line in entry if line.kind == FEE)
        if traded:
            base, quote = self._sides(place, traded)
            self._trade(base, quote, traded, fees)
        for asset, amount in fees.items():
            if asset not in traded:
                self._move(asset, amount)
        for line in entry:
            if line.kind == TRANSFER:
                self._move(line.asset, line.amount)

    def _sides(self, place: tuple[int, int], traded: Mapping[int, int]) -> tuple[int, int]:
        found = [(base, quote) for base in traded for quote in traded if (base, quote) in self._markets]
        if len(traded) != 2 or len(found) != 1:  # noqa: PLR2004 - a trade has two sides
            raise LedgerError(f"entry {place} trades assets {sorted(traded)}, which no market joins")
        return found[0]

    def _trade(self, base: int, quote: int, traded: Mapping[int, int], fees: Mapping[int, int]) -> None:
        base_net = traded[base] + fees.get(base, 0)
        quote_net = traded[quote] + fees.get(quote, 0)
        if traded[base] > 0:
            holding, pool = self.holding(base), self.holding(base).pool(quote)
            if base_net > 0:
                holding.quantity += base_net
                pool.quantity += base_net
                pool.cost -= quote_net
            else:  # the fee took all that was bought
                holding.take(-base_net)
                pool.realized += quote_net
        else:
            sold = -base_net
            matched, cost = self.holding(base).take(sold, quote)
            self.holding(base).pool(quote).realized += quote_net * matched // sold - cost if sold else 0
        self._move(quote, quote_net)

    def _move(self, asset: int, amount: int) -> None:
        holding = self.holding(asset)
        if amount >= 0:
            holding.quantity += amount
        else:
            holding.take(-amount)

    def _count(self, line: Line) -> None:
        holding = self.holding(line.asset)
        if line.kind == FEE:
            holding.fees -= line.amount
        elif line.kind == TRADE:
            holding.trades_in += max(line.amount, 0)
            holding.trades_out += max(-line.amount, 0)
        else:
            holding.transfers_in += max(line.amount, 0)
            holding.transfers_out += max(-line.amount, 0)


class Share(NamedTuple):
    """What one asset is worth, in the smallest unit of the currency asked for, and its share in parts per million."""

    asset: int
    value: int
    share_ppm: int


def allocation(
    quantities: Mapping[int, int], prices: Mapping[int, int], currency: str, catalogue: Catalogue
) -> list[Share]:
    """Return what each asset that has a price in `currency` is worth, and shares that add up to one whole.

    `prices` are the last prices in ticks by market id. What has no market with `currency`, or no price, is left out.
    """
    known = {catalogue.asset(currency).id: quantities.get(catalogue.asset(currency).id, 0)}
    for market in catalogue.markets:
        base = catalogue.asset(market.base).id
        if market.quote == currency and market.id in prices and base in quantities:
            spec = catalogue.spec(market)
            known[base] = quantities[base] * prices[market.id] * spec.quote_units // spec.lot_units
    values = {asset: value for asset, value in sorted(known.items()) if value > 0}
    total = sum(values.values())
    shares = {asset: value * PPM // total for asset, value in values.items()}
    missing = PPM - sum(shares.values())
    for asset in sorted(values, key=lambda each: (-(values[each] * PPM % total), each))[:missing]:
        shares[asset] += 1
    return [Share(asset, value, shares[asset]) for asset, value in values.items()]


def _sums(lines: Iterable[Line]) -> dict[int, int]:
    sums: dict[int, int] = {}
    for line in lines:
        sums[line.asset] = sums.get(line.asset, 0) + line.amount
    return sums
