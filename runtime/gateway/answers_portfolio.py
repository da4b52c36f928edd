"""Answers about what an account holds, what that cost, what it earned, and how it is spread."""

import asyncio
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from runtime.gateway import views
from runtime.gateway.dispatch import Call, Exchange
from runtime.gateway.errors import NOT_SUPPORTED
from runtime.gateway.listings import Listing, Listings
from runtime.portfolio.holdings import Holding, Line, Portfolio, Share, allocation
from runtime.shared.catalogue import Asset
from runtime.shared.money import format_decimal

LINES_MAX: Final = 30_000
"""Postings of an account that are folded for one answer: some ten thousand trades, and a tenth of a second."""
SHARE_PLACES: Final = 6


class HoldingCost(Struct, rename="camel", omit_defaults=True):
    """The part of an asset that was bought for one currency; amounts but `quantity` are in that currency.

    `realized` is what its sales for that currency earned so far; `unrealized` is what selling the rest at the last
    price would earn, without a fee. It is left out where no market joins the two, or none has traded.
    """

    currency: str
    quantity: str
    cost: str
    realized: str
    unrealized: str = ""


class PortfolioHolding(Struct, rename="camel", omit_defaults=True):
    """One asset of an account. `uncosted` came by transfer or for a fee, so nobody knows what it cost.

    `value` is in the currency that was asked for, and `share` its part of all values, 1 being the whole; both are left
    out of what has no price in that currency, and of what is worth nothing.
    """

    asset: str
    quantity: str
    uncosted: str
    costs: list[HoldingCost]
    value: str = ""
    share: str = ""


class PortfolioView(Struct, rename="camel"):
    """What an account holds, valued by the last trades. `without_price` names what `value` leaves out."""

    currency: str
    value: str
    holdings: list[PortfolioHolding]
    without_price: list[str]


async def holdings(exchange: Exchange, call: Call) -> bytes:
    """Answer what the account holds, at average cost; -1020 for one with more than 30,000 postings.

    Such an account has its statement of each month.
    """
    currency: Asset = call.values["currency"]
    postings = await exchange.history.postings(call.owner.account, LINES_MAX)
    if postings is None:
        raise NOT_SUPPORTED.error()
    prices = await exchange.history.last_prices()
    # Beside the loop: other requests go on while it is counted.
    return await asyncio.to_thread(_told, exchange.listings, postings, prices, currency)


def _told(
    listings: Listings, postings: list[tuple[int, int, int, int, int]], prices: Mapping[int, int], currency: Asset
) -> bytes:
    portfolio = Portfolio(listings.catalogue)
    portfolio.take(Line(*row) for row in postings)
    quantities = {asset: holding.quantity for asset, holding in portfolio.holdings.items()}
    shares = {
        share.asset: share for share in allocation(quantities, prices, currency.name, listings.catalogue) if share.value
    }
    rows = [
        _holding(listings, asset, holding, prices, currency, shares.get(asset))
        for asset, holding in sorted(portfolio.holdings.items())
    ]
    return views.encode(
        PortfolioView(
            currency=currency.name,
            value=listings.amount_text(currency.id, sum(share.value for share in shares.values())),
            holdings=rows,
            without_price=[row.asset for row in rows if quantities[_id(listings, row.asset)] and not row.value],
        )
    )


def _id(listings: Listings, name: str) -> int:
    return listings.catalogue.asset(name).id


def _holding(
    listings: Listings,
    asset: int,
    holding: Holding,
    prices: Mapping[int, int],
    currency: Asset,
    share: Share | None,
) -> PortfolioHolding:
    row = PortfolioHolding(
        asset=listings.assets[asset].name,
        quantity=listings.amount_text(asset, holding.quantity),
        uncosted=listings.amount_text(asset, holding.uncosted),
        costs=[],
    )
    if share:
        row.value = listings.amount_text(currency.id, share.value)
        row.share = format_decimal(share.share_ppm, SHARE_PLACES)
    markets = {(listing.base.id, listing.quote.id): listing for listing in listings.by_id.values()}
    for payer, pool in sorted(holding.pools.items()):
        cost = HoldingCost(
            currency=listings.assets[payer].name,
            quantity=listings.amount_text(asset, pool.quantity),
            cost=listings.amount_text(payer, pool.cost),
            realized=listings.amount_text(payer, pool.realized),
        )
        listing = markets.get((asset, payer))
        if listing and listing.id in prices:
            cost.unrealized = listings.amount_text(payer, _worth(listing, pool.quantity, prices) - pool.cost)
        row.costs.append(cost)
    return row


def _worth(listing: Listing, quantity: int, prices: Mapping[int, int]) -> int:
    """Return what units of the base asset are worth at the last price, in units of the quote asset, rounded down."""
    return quantity * prices[listing.id] * listing.spec.quote_units // listing.spec.lot_units
