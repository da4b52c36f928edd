"""Markets and assets as clients see them: symbols and decimal strings outside, ids and integers inside."""

from collections.abc import Callable
from typing import Final

from runtime.gateway.errors import BAD_PRECISION, FILTER_FAILURE
from runtime.shared.catalogue import PRICE_SCALE, Asset, Catalogue, Market
from runtime.shared.messages import MarketSpec
from runtime.shared.money import format_decimal

PLACES: Final = 8
"""Decimals of quantities and amounts on the wire; assets with a finer scale show all of theirs."""


def writer(scale: int, factor: int = 1) -> Callable[[int], str]:
    """Return what writes multiples of `factor` units of 10**-scale as the wire shows them, exactly and quickly."""
    places = max(PLACES, scale)
    one = 10**scale
    padding = "0" * (places - scale)
    zero = format_decimal(0, scale, places)

    def write(number: int) -> str:
        if not number:
            return zero
        if number < 0 or not scale:
            return format_decimal(number * factor, scale, places)
        whole, fraction = divmod(number * factor, one)
        return f"{whole}.{fraction:0{scale}d}{padding}"

    return write


class Listing:
    """One market: converts what clients write into ticks, lots and units, within the static filters, and back."""

    def __init__(self, market: Market, base: Asset, quote: Asset, spec: MarketSpec) -> None:
        """Prepare the conversions of `market`, which trades `base` for `quote`."""
        self.market = market
        self.id = market.id
        self.symbol = market.symbol
        self.base = base
        self.quote = quote
        self.spec = spec
        self.price_text = writer(PRICE_SCALE, market.tick_units)
        """Writes a price in ticks."""
        self.quantity_text = writer(base.decimals, spec.lot_units)
        """Writes a quantity in lots."""
        self.base_text = writer(base.decimals)
        """Writes an amount of the base asset in units."""
        self.quote_text = writer(quote.decimals)
        """Writes an amount of the quote asset in units."""
        self._tick_units = market.tick_units

    def ticks(self, parameter: str, text: str) -> int:
        """Return a price in ticks. Raises -1111 or the failure of PRICE_FILTER."""
        ticks, beside = divmod(_parse(parameter, text, PRICE_SCALE), self._tick_units)
        if beside or not self.spec.min_ticks <= ticks <= self.spec.max_ticks:
            raise FILTER_FAILURE.error("PRICE_FILTER")
        return ticks

    def lots(self, parameter: str, text: str, *, is_market: bool) -> int:
        """Return a quantity in lots. Raises -1111 or the failure of LOT_SIZE or MARKET_LOT_SIZE."""
        lots, beside = divmod(_parse(parameter, text, self.base.decimals), self.spec.lot_units)
        if beside or not self.spec.min_lots <= lots <= self.spec.max_lots:
            raise FILTER_FAILURE.error("LOT_SIZE")
        if is_market and lots > self.spec.max_market_lots:
            raise FILTER_FAILURE.error("MARKET_LOT_SIZE")
        return lots

    def quote_amount(self, parameter: str, text: str) -> int:
        """Return an amount of the quote asset in units. Raises -1111."""
        return _parse(parameter, text, self.quote.decimals)

    def check_notional(self, notional: int) -> None:
        """Refuse an order worth too little or too much, in units of the quote asset."""
        if not self.spec.min_notional <= notional <= self.spec.max_notional:
            raise FILTER_FAILURE.error("NOTIONAL")


def amount_units(parameter: str, text: str, asset: Asset) -> int:
    """Return an amount of an asset in units. Raises -1111."""
    return _parse(parameter, text, asset.decimals)


def _parse(parameter: str, text: str, scale: int) -> int:
    """Return a plain decimal number, as `params.decimal` has let through, in units of 10**-scale. Raises -1111."""
    whole, _, fraction = text.partition(".")
    if len(fraction) > scale:
        fraction = fraction.rstrip("0")
        if len(fraction) > scale:
            raise BAD_PRECISION.error(parameter)
    return int(whole + fraction + "0" * (scale - len(fraction)))


class Listings:
    """Every market and asset of the catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Index the catalogue for look-ups per request."""
        self.catalogue = catalogue
        self.assets = catalogue.asset_by_id
        self.by_id = {
            market.id: Listing(
                market, catalogue.asset(market.base), catalogue.asset(market.quote), catalogue.spec(market)
            )
            for market in catalogue.markets
        }
        self._writers = {number: writer(asset.decimals) for number, asset in self.assets.items()}
        self.by_symbol = {listing.symbol: listing for listing in self.by_id.values()}

    def amount_text(self, asset: int, units: int) -> str:
        """Return units of an asset, named by its id, as the wire shows them."""
        return self._writers[asset](units)
