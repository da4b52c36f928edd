"""Answers to an account about itself: balances, fees, limits."""

from runtime.gateway import views
from runtime.gateway.answers_market import market_filters
from runtime.gateway.dispatch import Call, Exchange
from runtime.gateway.errors import REJECTED_API_KEY
from runtime.gateway.listings import Listing
from runtime.shared.catalogue import Tier
from runtime.shared.messages import AccountState, AskAccount
from runtime.shared.money import format_decimal


async def account(exchange: Exchange, call: Call) -> bytes:
    """Answer balances, commissions and permissions."""
    state = await _state(exchange, call)
    return views.account(
        exchange.listings,
        state,
        _tier(exchange, state),
        call.owner.permissions,
        call.unit,
        omit_zero=call.values["omitZeroBalances"],
    )


async def order_counts(exchange: Exchange, call: Call) -> bytes:
    """Answer how many unfilled orders the account has placed in each interval."""
    key = call.owner
    counts = exchange.limiter.order_counts(key.account)
    return views.encode(
        [
            rate.members | {"count": count}
            for rate, count in zip(exchange.limiter.order_rates(key.tier), counts, strict=True)
        ]
    )


async def coins(exchange: Exchange, call: Call) -> bytes:
    """Answer every asset and what the account has of it. There are no networks until chains are connected."""
    state = await _state(exchange, call)
    held = {balance.asset: balance for balance in state.balances}
    rows = []
    for number, asset in exchange.listings.assets.items():
        balance = held.get(number)
        free, locked = (balance.free, balance.held) if balance else (0, 0)
        rows.append(
            {
                "coin": asset.name,
                "name": asset.title,
                "depositAllEnable": False,
                "withdrawAllEnable": False,
                "free": exchange.listings.amount_text(number, free),
                "locked": exchange.listings.amount_text(number, locked),
                "freeze": "0",
                "withdrawing": "0",
                "ipoing": "0",
                "ipoable": "0",
                "storage": "0",
                "isLegalMoney": asset.is_fiat,
                "trading": True,
                "networkList": [],
            }
        )
    return views.encode(rows)


async def trade_fees(exchange: Exchange, call: Call) -> bytes:
    """Answer the account's commission rates, of one market or of all."""
    tier = _tier(exchange, await _state(exchange, call))
    chosen: Listing | None = call.values.get("symbol")
    listings = [chosen] if chosen else exchange.listings.by_id.values()
    return views.encode(
        [
            {
                "symbol": listing.symbol,
                "makerCommission": _rate(tier.maker_ppm),
                "takerCommission": _rate(tier.taker_ppm),
            }
            for listing in listings
        ]
    )


async def commission(exchange: Exchange, call: Call) -> bytes:
    """Answer what the account pays in one market."""
    tier = _tier(exchange, await _state(exchange, call))
    return views.encode({"symbol": call.values["symbol"].symbol} | views.commission_rates(tier))


async def filters(exchange: Exchange, call: Call) -> bytes:
    """Answer the limits that one market has for this account; its tier may allow more open orders than others have."""
    tier = _tier(exchange, await _state(exchange, call))
    listing: Listing = call.values["symbol"]
    found = [each for each in market_filters(listing) if each["filterType"].startswith("MAX_")]
    for each in found:
        if "maxNumOrders" in each:
            each["maxNumOrders"] *= tier.open_orders_factor
    return views.encode({"exchangeFilters": [], "symbolFilters": found, "assetFilters": []})


async def no_margin(_exchange: Exchange, _call: Call) -> bytes:
    """Answer that there are no margin markets."""
    return b"[]"


async def _state(exchange: Exchange, call: Call) -> AccountState:
    answer = (await exchange.engine.ask(AskAccount(call.owner.account))).answer
    if not isinstance(answer, AccountState):
        raise REJECTED_API_KEY.error()
    return answer


def _tier(exchange: Exchange, state: AccountState) -> Tier:
    """Return the tier whose fees the engine charges the account."""
    return exchange.listings.catalogue.tier_by_id[state.tier]


def _rate(ppm: int) -> str:
    return format_decimal(ppm, 6).rstrip("0").rstrip(".") or "0"
