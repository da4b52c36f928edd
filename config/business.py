"""From where on trading counts as bad for customers."""

from dataclasses import dataclass
from typing import Annotated

from config.checks import Checked, between


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessConfig(Checked):
    """Bounds of business metrics. What is always wrong, such as a ledger that does not add up, has none."""

    spread_bips_max: Annotated[int, between(1, 5_000)]
    """Basis points between the best prices of a market, of the price in the middle; past them it counts as wide."""
    trades_minute_min: Annotated[int, between(0, 1_000_000)]
    """Trades of all markets in a minute; fewer for a quarter of an hour tell somebody. 0 where few trade."""
