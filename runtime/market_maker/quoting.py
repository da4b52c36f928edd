"""What to quote and what to take: integers in, integers out; chance enters as a seed. Pure.

Prices are in ticks and quantities in lots of the instrument; shares are in parts per million.

The ladder lies on a grid of cells, one price in each, a step apart. While the mid stays in its cell the wanted orders
stay the same; when it moves on by one cell, one order at each end of each side changes. So a busy book costs few
requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple
from zlib import crc32

from runtime.shared.money import format_decimal, parse_decimal

SCALE: Final = 18
"""Decimals in which decimal strings are read: more than any tick or lot has."""
PPM: Final = 1_000_000
BID: Final = "BUY"
ASK: Final = "SELL"
LEVEL_NOTIONALS_MAX: Final = 5_000
"""Most that one quote is worth, in the smallest order's worth."""
TAKE_NOTIONALS_MAX: Final = 40
"""Most that one taken order is worth, in the smallest order's worth."""


class NotQuotableError(ValueError):
    """The exchange's description of a symbol lacks what quoting needs; the message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """A symbol as `exchangeInfo` describes it, in ticks and lots."""

    symbol: str
    base: str
    quote: str
    tick: int
    """One tick in units of 10**-SCALE of the quote asset."""
    lot: int
    """One lot in units of 10**-SCALE of the base asset."""
    min_ticks: int
    max_ticks: int
    min_lots: int
    max_lots: int
    min_notional: int
    """Least worth of an order in units of 10**-SCALE of the quote asset."""

    @classmethod
    def read(cls, description: Mapping[str, Any]) -> "Instrument":
        """Read one entry of `symbols`. Raises NotQuotableError."""
        try:
            filters = {entry["filterType"]: entry for entry in description["filters"]}
            price, size = filters["PRICE_FILTER"], filters["LOT_SIZE"]
            notional = filters.get("NOTIONAL") or filters["MIN_NOTIONAL"]
            tick, lot = parse_decimal(price["tickSize"], SCALE), parse_decimal(size["stepSize"], SCALE)
            if not tick or not lot:
                raise NotQuotableError(f"{description['symbol']}: tickSize and stepSize must be more than zero")
            return cls(
                symbol=description["symbol"],
                base=description["baseAsset"],
                quote=description["quoteAsset"],
                tick=tick,
                lot=lot,
                min_ticks=max(1, parse_decimal(price["minPrice"], SCALE) // tick),
                max_ticks=parse_decimal(price["maxPrice"], SCALE) // tick,
                min_lots=max(1, parse_decimal(size["minQty"], SCALE) // lot),
                max_lots=parse_decimal(size["maxQty"], SCALE) // lot,
                min_notional=parse_decimal(notional["minNotional"], SCALE),
            )
        except KeyError as error:
            raise NotQuotableError(f"{description.get('symbol')}: exchangeInfo has no {error.args[0]}") from None

    def ticks(self, price: str) -> int:
        """Return `price` in ticks, rounded down."""
        return parse_decimal(price, SCALE) // self.tick

    def mid(self, best_bid: str, best_ask: str) -> int:
        """Return the middle of two prices in ticks, rounded down."""
        return (self.ticks(best_bid) + self.ticks(best_ask)) // 2

    def price_text(self, ticks: int) -> str:
        """Return a price as a decimal string, with the decimals of the tick."""
        return format_decimal(ticks * self.tick, SCALE, _places(self.tick))

    def quantity_text(self, lots: int) -> str:
        """Return a quantity as a decimal string, with the decimals of the lot."""
        return format_decimal(lots * self.lot, SCALE, _places(self.lot))

    def lots_worth(self, worth: int, ticks: int) -> int:
        """Return how many lots `worth` (in units of 10**-SCALE of the quote asset) buys at `ticks`, rounded down."""
        return worth * 10**SCALE // (ticks * self.tick * self.lot)

    def least_lots(self, ticks: int) -> int:
        """Return the smallest order allowed at `ticks`, with a tenth to spare for a price that moves."""
        return max(self.min_lots, self.lots_worth(self.min_notional * 11 // 10, ticks) + 1)


def _places(units: int) -> int:
    """Return how many decimals `units` of 10**-SCALE need."""
    places = SCALE
    while places and units % 10 == 0:
        units //= 10
        places -= 1
    return places


class Quote(NamedTuple):
    """An order to rest: side, price in ticks."""

    side: str
    price: int


def ladder(instrument: Instrument, *, mid: int, step: int, levels: int, seed: int) -> list[Quote]:
    """Return up to `levels` bids below and asks above `mid`, best first, in cells of `step` ticks.

    Each price lies somewhere in its cell, as `seed` has it, so that the book does not look ruled.
    """
    cell = mid // step
    quotes: list[Quote] = []
    for distance in range(1, levels + 1):
        for side, there in ((BID, cell - distance), (ASK, cell + distance)):
            price = there * step + _noise(seed, there) % step
            if instrument.min_ticks <= price <= instrument.max_ticks:
                quotes.append(Quote(side, price))
    return quotes


def _noise(*parts: int) -> int:
    """Return 32 bits that depend on nothing but `parts`."""
    return crc32(repr(parts).encode())


def outside(quotes: list[Quote], *, best_bid: int, best_ask: int) -> list[Quote]:
    """Leave out quotes that would match what others show (0: nothing there)."""
    return [
        quote
        for quote in quotes
        if (quote.side == BID and (not best_ask or quote.price < best_ask))
        or (quote.side == ASK and quote.price > best_bid)
    ]


def quote_lots(instrument: Instrument, quote: Quote, *, budget: int, seed: int, turn: int) -> int:
    """Return the size of a quote: half to one and a half times what `budget` (worth of one level) allows, or 0.

    The budget is in units of 10**-SCALE of the quote asset; 0 means that it does not reach for the smallest order.
    """
    worth = min(budget, instrument.min_notional * LEVEL_NOTIONALS_MAX)
    lots = instrument.lots_worth(worth, quote.price) * (500 + _noise(seed, quote.price, turn) % 1_001) // 1_000
    least = instrument.least_lots(quote.price)
    if lots < least and instrument.lots_worth(worth, quote.price) < least:
        return 0
    return min(max(lots, least), instrument.max_lots)


class Changes(NamedTuple):
    """What turns the resting orders into the wanted ones: cancel all, or these ids; then place."""

    cancel_all: bool
    cancel: list[str]
    place: list[Quote]


def changes(resting: Mapping[str, Quote], wanted: list[Quote], *, most: int) -> Changes:
    """Return at most `most` changes: first away with what is stale, then what is nearest to the mid.

    More stale orders than that are cancelled by one request, and the best quotes follow at once: the book is not bare
    until the next turn. Since everything stale goes first, nothing new can match one's own other side.
    """
    stale = [name for name, quote in resting.items() if quote not in wanted]
    if len(stale) > most:
        return Changes(cancel_all=True, cancel=[], place=wanted[:most])
    present = set(resting.values())
    place = [quote for quote in wanted if quote not in present]
    return Changes(cancel_all=False, cancel=stale, place=place[: most - len(stale)])


def skew(holding: int, target: int, *, limit: int, shift_max: int) -> int:
    """Return by how many ticks to move the mid so that what there is too much of gets sold, and the other way round.

    0 at `target`, `shift_max` down or up once `holding` is `limit` or more above or below it.
    """
    if limit <= 0:
        return 0
    return shift_max * max(-limit, min(limit, target - holding)) // limit


class Walk:
    """A price that wanders: steps of at most `volatility_ppm`, pulled gently back to where it began."""

    PULL: Final = 2_000
    """The higher, the weaker the pull."""
    BAND_PPM: Final = 200_000
    """How far from its anchor it may go."""

    def __init__(self, *, anchor: int, mid: int, volatility_ppm: int, random: Random) -> None:
        """Begin at `mid`, pulled to `anchor` (both in ticks)."""
        self._anchor = anchor * PPM
        self._mid = mid * PPM  # millionths of a tick: small prices move, too
        self._volatility_ppm = volatility_ppm
        self._random = random
        self.move_to(mid)

    @property
    def mid(self) -> int:
        """The price now, in ticks."""
        return self._mid // PPM

    def step(self) -> int:
        """Move on, and return the new mid."""
        chance = self._mid * self._random.randint(-self._volatility_ppm, self._volatility_ppm) // PPM
        self._set(self._mid + chance + (self._anchor - self._mid) // self.PULL)
        return self.mid

    def move_to(self, mid: int) -> None:
        """Go on from `mid`, or from the edge of the band if that is beyond it."""
        self._set(mid * PPM)

    def _set(self, value: int) -> None:
        band = self._anchor * self.BAND_PPM // PPM
        self._mid = max(PPM, self._anchor - band, min(self._anchor + band, value))


class Take(NamedTuple):
    """An order that matches at once, or not at all."""

    side: str
    price: int
    lots: int


def take(instrument: Instrument, *, best_bid: int, best_ask: int, buy_ppm: int, random: Random) -> Take | None:
    """Return a small order against the best price, buying with a chance of `buy_ppm`; None if that side is empty."""
    is_buy = random.randint(1, PPM) <= buy_ppm
    price = best_ask if is_buy else best_bid
    if not price:
        return None
    least = instrument.least_lots(price)
    most = max(least, instrument.lots_worth(instrument.min_notional * TAKE_NOTIONALS_MAX, price))
    lots = min(random.randint(least, most), random.randint(least, most), instrument.max_lots)  # small ones are likelier
    return Take(BID if is_buy else ASK, price, lots)
