"""Assets, markets and account tiers: written once in `config/`, checked there and again wherever they are read."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from runtime.shared.messages import MarketSpec, TierSpec
from runtime.shared.money import MoneyError, format_decimal, parse_decimal

PRICE_SCALE: Final = 8
"""Decimals of a price on the wire, as Binance clients expect."""
DECIMALS_MAX: Final = 18
LOTS_LIMIT: Final = 2**53
"""Exclusive bound of any order quantity in lots: exact in every client's number type."""
TICKS_LIMIT: Final = 2**53
"""Exclusive bound of any price in ticks."""
AMOUNT_LIMIT: Final = 2**62
"""Exclusive bound of any amount in smallest units: what fits the integers of msgpack and of a compiled engine."""
PPM: Final = 1_000_000
US: Final = 1_000_000
"""Microseconds in a second."""


class CatalogueError(ValueError):
    """The catalogue cannot be used; the message names the entry, the field, the value and what is allowed."""


def _decimal(text: str) -> str:
    try:
        parse_decimal(text, DECIMALS_MAX)
    except MoneyError as error:
        raise ValueError(str(error)) from None
    return text


DecimalText = Annotated[str, AfterValidator(_decimal)]
"""A plain decimal number with at most DECIMALS_MAX decimals."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Asset(_Frozen):
    """Something that is held and traded. `decimals` is the scale of its smallest unit in the ledger."""

    id: int = Field(ge=0, le=65_535)
    name: str = Field(pattern=r"^[A-Z0-9]{2,10}$")
    title: str
    decimals: int = Field(ge=0, le=DECIMALS_MAX)
    is_fiat: bool = False


class Market(_Frozen):
    """One order book. Prices move in `tick` of the quote asset, quantities in `lot` of the base asset."""

    id: int = Field(ge=0, le=65_535)
    base: str
    quote: str
    tick: DecimalText
    lot: DecimalText
    min_quantity: DecimalText
    max_quantity: DecimalText
    max_market_quantity: DecimalText
    min_price: DecimalText
    max_price: DecimalText
    min_notional: DecimalText
    max_notional: DecimalText
    band_down_ppm: int = Field(default=200_000, ge=1, lt=PPM)
    """Lowest price accepted, as a share of the reference price; Binance's `bidMultiplierDown`, `askMultiplierDown`."""
    band_up_ppm: int = Field(default=5_000_000, gt=PPM, le=100 * PPM)
    """Highest price accepted, as a share of the reference price."""
    open_orders_max: int = Field(default=200, ge=1, le=200)
    """MAX_NUM_ORDERS of an account in this market; a tier may multiply it."""
    algo_orders_max: int = Field(default=20, ge=0, le=200)
    """MAX_NUM_ALGO_ORDERS: how many of them may have a trigger; 0: there are no stop orders."""
    iceberg_parts_max: int = Field(default=100, ge=0, le=1000)
    """ICEBERG_PARTS; 0: there are no icebergs."""
    iceberg_orders_max: int = Field(default=20, ge=0, le=200)
    lists_max: int = Field(default=20, ge=0, le=200)
    amends_max: int = Field(default=10, ge=0, le=1000)
    max_position: DecimalText = "0"
    """Most of the base asset that an account may have and be buying; 0: no bound."""
    trailing_min_bips: int = Field(default=10, ge=1, lt=10_000)
    trailing_max_bips: int = Field(default=2_000, ge=1, lt=10_000)
    reference_age_s: int = Field(default=60, ge=1, le=3_600)
    """After that a reference price is stale, and price bands refer to the last trade again."""
    interruption_ppm: int = Field(default=100_000, ge=0, lt=PPM)
    """How far prices may move within `interruption_window_s` before an auction interrupts trading; 0: without end."""
    interruption_window_s: int = Field(default=60, ge=1, le=86_400)
    auction_s: int = Field(default=30, ge=1, le=86_400)

    @cached_property
    def symbol(self) -> str:
        """Name on the wire, such as BTCUSDT."""
        return self.base + self.quote

    @cached_property
    def tick_units(self) -> int:
        """One tick in units of 10**-PRICE_SCALE."""
        return parse_decimal(self.tick, PRICE_SCALE)

    def ticks(self, price: str) -> int:
        """Return `price` in ticks. Raises ValueError for one that is not a multiple of the tick."""
        units = parse_decimal(price, PRICE_SCALE)
        if units % self.tick_units:
            msg = f"must be a multiple of the tick {self.tick}, was {price}"
            raise ValueError(msg)
        return units // self.tick_units

    def price_text(self, ticks: int) -> str:
        """Return a price in ticks as the wire shows it, with PRICE_SCALE decimals."""
        return format_decimal(ticks * self.tick_units, PRICE_SCALE)


class Tier(_Frozen):
    """What an account pays and how fast it may trade. Fees are parts per million of the amount received."""

    id: int = Field(ge=0, le=255)
    name: str = Field(pattern=r"^[a-z][a-z0-9_]{1,30}$")
    maker_ppm: int = Field(ge=-50_000, le=50_000)
    """Below 0 it is a rebate, paid out of the taker's fee."""
    taker_ppm: int = Field(ge=0, le=50_000)
    orders_per_10s: int = Field(ge=1, le=10_000_000)
    orders_per_day: int = Field(ge=1, le=1_000_000_000)
    open_orders_factor: int = Field(default=1, ge=1, le=100)
    """Multiplies each market's `open_orders_max`."""


Named = TypeVar("Named", Asset, Tier)


class Catalogue(_Frozen):
    """Everything tradable, and the tiers of those who trade. Ids are permanent: never reuse or change one."""

    format: Literal[1] = 1
    assets: tuple[Asset, ...] = Field(min_length=2)
    markets: tuple[Market, ...] = Field(min_length=1)
    tiers: tuple[Tier, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for kind, names in (
            ("assets", [asset.name for asset in self.assets]),
            ("markets", [market.symbol for market in self.markets]),
            ("tiers", [tier.name for tier in self.tiers]),
        ):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                msg = f"{kind}: {', '.join(twice)} listed twice; each may be listed once"
                raise ValueError(msg)
            ids: list[int] = [entry.id for entry in getattr(self, kind)]
            if len(set(ids)) != len(ids):
                msg = f"{kind}: ids {ids} are not unique; each entry needs an id of its own"
                raise ValueError(msg)
        for market in self.markets:
            self._check_market(market)
        rebate, fee = -min(tier.maker_ppm for tier in self.tiers), min(tier.taker_ppm for tier in self.tiers)
        if fee < rebate:
            msg = f"tiers: no taker_ppm may be below the highest rebate {rebate}, was {fee}"
            raise ValueError(msg)
        return self

    def _check_market(self, market: Market) -> None:
        """Refuse a market whose numbers do not fit its assets, each other, or the engine's integers."""
        names = [asset.name for asset in self.assets]
        for field, name in (("base", market.base), ("quote", market.quote)):
            if name not in names:
                raise _refusal(market, field, ", ".join(names))
        if market.base == market.quote:
            raise _refusal(market, "quote", f"an asset other than the base {market.base}")
        base, quote = self.asset(market.base), self.asset(market.quote)
        _check_steps(market, base, quote)
        for low, high in _RANGES:
            least, most = _scaled(getattr(market, low)), _scaled(getattr(market, high))
            if not 0 < least <= most:
                raise _refusal(market, low, f"more than zero and at most {high} {getattr(market, high)}")
        if market.trailing_min_bips > market.trailing_max_bips:
            raise _refusal(market, "trailing_min_bips", f"at most trailing_max_bips {market.trailing_max_bips}")
        if market.ticks(market.max_price) >= TICKS_LIMIT:
            raise _refusal(market, "max_price", f"fewer than {TICKS_LIMIT} ticks of {market.tick}")
        if _scaled(market.max_quantity) // _scaled(market.lot) >= LOTS_LIMIT:
            raise _refusal(market, "max_quantity", f"fewer than {LOTS_LIMIT} lots of {market.lot}")
        if parse_decimal(market.max_notional, quote.decimals) >= AMOUNT_LIMIT:
            most_text = format_decimal(AMOUNT_LIMIT - 1, quote.decimals)
            raise _refusal(market, "max_notional", f"at most {most_text} {quote.name}")

    def asset(self, name: str) -> Asset:
        """Return the asset called `name`. Raises CatalogueError for an unknown one."""
        return _named(self.assets, "asset", name)

    @cached_property
    def market_by_symbol(self) -> dict[str, Market]:
        """Markets by their name on the wire."""
        return {market.symbol: market for market in self.markets}

    @cached_property
    def market_by_id(self) -> dict[int, Market]:
        """Markets by id."""
        return {market.id: market for market in self.markets}

    @cached_property
    def asset_by_id(self) -> dict[int, Asset]:
        """Assets by id."""
        return {asset.id: asset for asset in self.assets}

    def tier(self, name: str) -> Tier:
        """Return the tier called `name`. Raises CatalogueError for an unknown one."""
        return _named(self.tiers, "tier", name)

    @cached_property
    def tier_by_id(self) -> dict[int, Tier]:
        """Tiers by id."""
        return {tier.id: tier for tier in self.tiers}

    def spec(self, market: Market) -> MarketSpec:
        """Return `market` in the integers that the engine works with."""
        base, quote = self.asset(market.base), self.asset(market.quote)
        lot_units = parse_decimal(market.lot, base.decimals)
        return MarketSpec(
            id=market.id,
            base=base.id,
            quote=quote.id,
            lot_units=lot_units,
            quote_units=market.tick_units * lot_units * 10**quote.decimals // 10 ** (PRICE_SCALE + base.decimals),
            min_ticks=market.ticks(market.min_price),
            max_ticks=market.ticks(market.max_price),
            min_lots=parse_decimal(market.min_quantity, base.decimals) // lot_units,
            max_lots=parse_decimal(market.max_quantity, base.decimals) // lot_units,
            max_market_lots=parse_decimal(market.max_market_quantity, base.decimals) // lot_units,
            min_notional=parse_decimal(market.min_notional, quote.decimals),
            max_notional=parse_decimal(market.max_notional, quote.decimals),
            band_down_ppm=market.band_down_ppm,
            band_up_ppm=market.band_up_ppm,
            open_orders_max=market.open_orders_max,
            algo_orders_max=market.algo_orders_max,
            iceberg_parts_max=market.iceberg_parts_max,
            iceberg_orders_max=market.iceberg_orders_max,
            lists_max=market.lists_max,
            amends_max=market.amends_max,
            max_position=parse_decimal(market.max_position, base.decimals),
            trailing_min=market.trailing_min_bips,
            trailing_max=market.trailing_max_bips,
            reference_age_us=market.reference_age_s * US,
            interruption_ppm=market.interruption_ppm,
            interruption_window_us=market.interruption_window_s * US,
            auction_us=market.auction_s * US,
        )

    def specs(self) -> list[MarketSpec]:
        """Return every market for the engine, by id."""
        return [self.spec(market) for market in sorted(self.markets, key=lambda market: market.id)]

    def tier_specs(self) -> list[TierSpec]:
        """Return every tier for the engine, by id."""
        return [
            TierSpec(
                id=tier.id,
                maker_ppm=tier.maker_ppm,
                taker_ppm=tier.taker_ppm,
                open_orders_factor=tier.open_orders_factor,
            )
            for tier in sorted(self.tiers, key=lambda tier: tier.id)
        ]

    def to_json(self) -> str:
        """Return the text that the catalogue parameter holds."""
        return self.model_dump_json(exclude_defaults=True)


_RANGES: Final = (
    ("min_price", "max_price"),
    ("min_quantity", "max_quantity"),
    ("min_quantity", "max_market_quantity"),
    ("min_notional", "max_notional"),
)


def _scaled(text: str) -> int:
    """Return a checked DecimalText in units that every asset and price fits."""
    return parse_decimal(text, DECIMALS_MAX)


def _refusal(market: Market, field: str, allowed: str) -> ValueError:
    return ValueError(f"markets[{market.symbol}].{field}: was {getattr(market, field)}, allowed: {allowed}")


def _check_steps(market: Market, base: Asset, quote: Asset) -> None:
    """Refuse numbers that are not multiples of the steps they move in."""
    units = {
        "tick": (10 ** (DECIMALS_MAX - PRICE_SCALE), f"a positive multiple of 10**-{PRICE_SCALE}"),
        "lot": (10 ** (DECIMALS_MAX - base.decimals), f"a positive multiple of 10**-{base.decimals} {base.name}"),
    }
    for field in ("min_price", "max_price"):
        units[field] = _scaled(market.tick), f"a multiple of the tick {market.tick}"
    for field in ("min_quantity", "max_quantity", "max_market_quantity"):
        units[field] = _scaled(market.lot), f"a multiple of the lot {market.lot}"
    for field in ("min_notional", "max_notional"):
        units[field] = 10 ** (DECIMALS_MAX - quote.decimals), f"a multiple of 10**-{quote.decimals} {quote.name}"
    if _scaled(market.max_position) % 10 ** (DECIMALS_MAX - base.decimals):
        raise _refusal(market, "max_position", f"a multiple of 10**-{base.decimals} {base.name}, or 0")
    for field, (unit, allowed) in units.items():
        value = _scaled(getattr(market, field))
        if value == 0 or value % unit:
            raise _refusal(market, field, allowed)
    if _scaled(market.tick) * _scaled(market.lot) % 10 ** (2 * DECIMALS_MAX - quote.decimals):
        allowed = f"a tick that times the lot {market.lot} is a multiple of 10**-{quote.decimals} {quote.name}"
        raise _refusal(market, "tick", allowed)


def _named(entries: tuple[Named, ...], kind: str, name: str) -> Named:
    for entry in entries:
        if entry.name == name:
            return entry
    msg = f"unknown {kind} {name!r}; known: {', '.join(entry.name for entry in entries)}"
    raise CatalogueError(msg)


def read_catalogue(text: str | bytes, source: str) -> Catalogue:
    """Parse the JSON of the catalogue parameter. Raises CatalogueError naming `source` and the first bad field."""
    try:
        return Catalogue.model_validate_json(text)
    except ValidationError as error:
        msg = f"{source}: {first_problem(error)}"
        raise CatalogueError(msg) from None


def first_problem(error: ValidationError) -> str:
    """Return pydantic's first complaint as one line: field, what is allowed, value given."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    what = problem["msg"].removeprefix("Value error, ")
    if not where:  # a rule across fields, which already names its field and value
        return what
    given = problem["input"]
    shown = "" if isinstance(given, dict | list) else f", was {given!r}"
    return f"{where}: {what}" + ("" if "was" in what else shown)
