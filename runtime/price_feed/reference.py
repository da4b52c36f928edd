"""The price that venues agree on. Pure: times and quotes come in, commands to the engine and business events go out.

The reference is the median of all fresh mids. A median is not moved by how far off a venue is, only by how many are: of
three or more fresh venues one that lies never takes it out of the range of the others. Venues far from the median do
not count towards the minimum, so two that differ stop the price rather than have it half wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from runtime.price_feed.venues import Quote, Venue
from runtime.shared.business_events import ReferencePriceStopped
from runtime.shared.catalogue import DECIMALS_MAX, PPM, PRICE_SCALE, Market
from runtime.shared.messages import SetReferencePrice

TOO_FEW: Final = "too-few-fresh-sources"
DISAGREE: Final = "sources-disagree"
OUT_OF_RANGE: Final = "outside-the-prices-of-the-market"


class Rules(BaseModel):
    """When venues are believed."""

    model_config = ConfigDict(frozen=True)

    stale_us: Annotated[int, Field(ge=100_000, le=60_000_000)] = 10_000_000
    """A quote older than this, in microseconds since it came in, is not used."""
    sources_min: Annotated[int, Field(ge=2, le=16)] = 2
    """Fresh venues that must agree."""
    agree_ppm: Annotated[int, Field(ge=1, lt=PPM)] = 10_000
    """How far from the median, as a share of it, a venue still agrees."""
    every_us: Annotated[int, Field(ge=100_000, le=60_000_000)] = 1_000_000
    """A market's price is told at most this often."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """What venues pay, in ticks, and those that are far from it."""

    ticks: int
    outliers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoPrice:
    """There is no price to believe in, and why."""

    reason: str
    outliers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sighting:
    """A quote, and when it came in (microseconds since 1970)."""

    quote: Quote
    at_us: int


def agree(sightings: Mapping[str, Sighting], market: Market, now_us: int, rules: Rules) -> Agreed | NoPrice:
    """Return what the venues, by name, agree that `market` is worth at `now_us`."""
    # Twice the mid is an integer where the mid may not be.
    fresh = {
        venue: sighting.quote.bid + sighting.quote.ask
        for venue, sighting in sightings.items()
        if 0 <= now_us - sighting.at_us <= rules.stale_us
    }
    if len(fresh) < rules.sources_min:
        return NoPrice(TOO_FEW)
    ordered = sorted(fresh.values())
    middle = ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]  # four times the median of the mids
    outliers = tuple(
        sorted(venue for venue, doubled in fresh.items() if abs(2 * doubled - middle) * PPM > middle * rules.agree_ppm)
    )
    if len(fresh) - len(outliers) < rules.sources_min:
        return NoPrice(DISAGREE, outliers)
    divisor = 4 * market.tick_units * 10 ** (DECIMALS_MAX - PRICE_SCALE)
    ticks = (middle + divisor // 2) // divisor
    if not market.ticks(market.min_price) <= ticks <= market.ticks(market.max_price):
        return NoPrice(OUT_OF_RANGE, outliers)
    return Agreed(ticks, outliers)


class MarketPrice:
    """The reference price of one market as it goes: what was seen, what was told."""

    def __init__(self, market: Market, rules: Rules) -> None:
        """Begin without a quote; until venues agree nothing is told, except once that they do not."""
        self.market = market
        self._rules = rules
        self._sightings: dict[str, Sighting] = {}
        self.ticks = 0
        """What venues agree on, as it was told last; 0: nothing."""
        self._told_us: int | None = None
        self._stopped = ""

    def see(self, venue: Venue, quote: Quote, now_us: int) -> None:
        """Take in what `venue` pays now. Quotes of other markets are not ours."""
        if quote.symbol == venue.symbol(self.market.base, self.market.quote):
            self._sightings[venue.name] = Sighting(quote, now_us)

    def forget(self, venue: Venue) -> None:
        """Note that the connection to `venue` is lost: what it said last may not hold a moment later."""
        self._sightings.pop(venue.name, None)

    def tell(self, now_us: int) -> tuple[SetReferencePrice | None, ReferencePriceStopped | None]:
        """Return what the engine and the bus have to hear now; nothing more often than the rules allow.

        The same price is told again, since in the engine it grows old. A price that ends is taken away from the engine
        at once and announced once, until there is one again.
        """
        outcome = agree(self._sightings, self.market, now_us, self._rules)
        if isinstance(outcome, NoPrice):
            return self._stop(outcome.reason, now_us)
        if self._told_us is not None and 0 <= now_us - self._told_us < self._rules.every_us:
            return None, None
        self._told_us, self._stopped, self.ticks = now_us, "", outcome.ticks
        return SetReferencePrice(self.market.id, outcome.ticks), None

    def apart_ppm(self, last_ticks: int) -> int | None:
        """Return how far a last trade is from the reference, as a share of that; None without either of them."""
        if not self.ticks or not last_ticks:
            return None
        return abs(last_ticks - self.ticks) * PPM // self.ticks

    def _stop(self, reason: str, now_us: int) -> tuple[SetReferencePrice | None, ReferencePriceStopped | None]:
        if self._stopped:
            return None, None
        self._stopped, self.ticks = reason, 0
        event = ReferencePriceStopped(
            event_id=f"reference-price/{self.market.symbol}/{now_us}",
            at_us=now_us,
            symbol=self.market.symbol,
            reason=reason,
        )
        return SetReferencePrice(self.market.id, 0), event
