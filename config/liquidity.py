"""What market makers promised: at most how wide, at least how deep, and for how much of the time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from config.checks import Checked, between

Problem = tuple[str, str, object]
"""Path of a value, what is allowed, what was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotePromise(Checked):
    """One partner in one market."""

    partner: str
    """One of `partners.market_makers` or `partners.peered`."""
    symbol: str
    tier: str
    """Of the partner's accounts: its fees and order rates are those of this tier of the catalogue."""
    spread_bips_max: Annotated[int, between(1, 5_000)]
    """Between its best bid and ask, in basis points of the price in the middle."""
    depth_min: Annotated[int, between(1, 10**15)]
    """On each side within 1 % of the middle, in whole units of the quote asset."""
    uptime_percent_min: Annotated[int, between(1, 100)]
    """Of each day (Jakarta)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidityConfig(Checked):
    """The liquidity programme: who takes part in it."""

    promises: tuple[QuotePromise, ...]

    def problems(self, *, partners: set[str], symbols: set[str], tiers: set[str]) -> Iterator[Problem]:
        """Yield what the bounds of single values cannot say; the sets are what a promise may name."""
        seen = set()
        for at, promise in enumerate(self.promises):
            where = f"liquidity.promises.{at}"
            for name, known in (("partner", partners), ("symbol", symbols), ("tier", tiers)):
                given = getattr(promise, name)
                if given not in known:
                    yield f"{where}.{name}", f"must be one of {', '.join(sorted(known)) or 'none yet'}", given
            if (promise.partner, promise.symbol) in seen:
                yield where, "must be the partner's one promise for the market", promise.symbol
            seen.add((promise.partner, promise.symbol))
