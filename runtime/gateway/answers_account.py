"""Answers to an account about itself: balances, fees, limits."""

import msgspec
from msgspec import Struct

from runtime.gateway import views
from runtime.gateway.answers_market import Filter, market_filters
from runtime.gateway.dispatch import Call, Exchange
from runtime.gateway.errors import REJECTED_API_KEY
from runtime.gateway.limit_models import RateLimit
from runtime.gateway.listings import Listing
from runtime.gateway.wallet import NETWORKS
from runtime.shared.catalogue import Asset, Tier
from runtime.shared.messages import AccountState, AskAccount
from runtime.shared.money import format_decimal


class OrderCount(RateLimit, rename="camel"):
    """A limit on new orders, and how many of an account count against it."""

    count: int


class Network(Struct, rename="camel", kw_only=True):
    """A chain on which an asset comes in or goes out."""

    coin: str
    network: str
    name: str
    is_default: bool
    deposit_enable: bool
    withdraw_enable: bool
    deposit_desc: str = ""
    withdraw_desc: str = ""
    special_tips: str = ""
    withdraw_fee: str
    withdraw_min: str
    withdraw_max: str
    withdraw_integer_multiple: str
    min_confirm: int
    un_lock_confirm: int
    address_regex: str = ""
    memo_regex: str = ""
    reset_address_status: bool = False
    same_address: bool = False
    busy: bool = False


class Coin(Struct, rename="camel", kw_only=True):
    """An asset, and what an account has of it. Only `free` and `locked` are ever more than nothing here."""

    coin: str
    name: str
    deposit_all_enable: bool
    withdraw_all_enable: bool
    free: str
    locked: str
    freeze: str = "0"
    withdrawing: str = "0"
    ipoing: str = "0"
    ipoable: str = "0"
    storage: str = "0"
    is_legal_money: bool
    trading: bool = True
    network_list: list[Network] = []


class TradeFee(Struct, rename="camel"):
    """What an account pays in one market."""

    symbol: str
    maker_commission: str
    taker_commission: str


class AccountFilters(Struct, rename="camel"):
    """The limits of one account in one market."""

    exchange_filters: list[Filter]
    symbol_filters: list[Filter]
    asset_filters: list[Filter]


async def account(exchange: Exchange, call: Call) -> bytes:
    """Answer balances, commissions and permissions."""
    state = await _state(exchange, call)
    return views.encode(
        views.account(
            exchange.listings,
            state,
            _tier(exchange, state),
            call.owner.permissions,
            call.unit,
            omit_zero=call.values["omitZeroBalances"],
        )
    )


async def order_counts(exchange: Exchange, call: Call) -> bytes:
    """Answer how many unfilled orders the account has placed in each interval."""
    key = call.owner
    counts = exchange.limiter.order_counts(key.account)
    return views.encode(
        [
            OrderCount(count=count, **msgspec.structs.asdict(rate.members))
            for rate, count in zip(exchange.limiter.order_rates(key.tier), counts, strict=True)
        ]
    )


async def coins(exchange: Exchange, call: Call) -> bytes:
    """Answer every asset, what the account has of it, and the chains on which it comes in and goes out."""
    state = await _state(exchange, call)
    held = {balance.asset: balance for balance in state.balances}
    rows = []
    for number, asset in exchange.listings.assets.items():
        balance = held.get(number)
        free, locked = (balance.free, balance.held) if balance else (0, 0)
        networks = _networks(exchange, asset)
        rows.append(
            Coin(
                coin=asset.name,
                name=asset.title,
                deposit_all_enable=any(each.deposit_enable for each in networks),
                withdraw_all_enable=any(each.withdraw_enable for each in networks),
                free=exchange.listings.amount_text(number, free),
                locked=exchange.listings.amount_text(number, locked),
                is_legal_money=asset.is_fiat,
                network_list=networks,
            )
        )
    return views.encode(rows)


def _networks(exchange: Exchange, asset: Asset) -> list[Network]:
    """Return the chains of an asset, those where it can be deposited first."""
    wallet = exchange.wallet
    if wallet is None:
        return []
    comes = {chain.name: each for chain in wallet.chains for each in chain.assets if each.name == asset.name}
    leaves = {rule.chain: rule for rule in wallet.rules if rule.asset == asset.name}

    def text(units: int) -> str:
        return exchange.listings.amount_text(asset.id, units)

    found: list[Network] = []
    for chain in dict.fromkeys((*comes, *leaves)):
        rule = leaves.get(chain)
        confirmations = comes[chain].confirmations if chain in comes else 0
        found.append(
            Network(
                coin=asset.name,
                network=NETWORKS[chain],
                name=chain.title(),
                is_default=not found,
                deposit_enable=chain in comes,
                withdraw_enable=rule is not None,
                withdraw_fee=text(rule.fee if rule else 0),
                withdraw_min=text(rule.minimum if rule else 0),
                withdraw_max=text(rule.transaction_max if rule else 0),
                withdraw_integer_multiple=text(1),
                min_confirm=confirmations,
                un_lock_confirm=confirmations,
            )
        )
    return found


async def trade_fees(exchange: Exchange, call: Call) -> bytes:
    """Answer the account's commission rates, of one market or of all."""
    tier = _tier(exchange, await _state(exchange, call))
    chosen: Listing | None = call.values.get("symbol")
    listings = [chosen] if chosen else exchange.listings.by_id.values()
    return views.encode(
        [TradeFee(listing.symbol, _rate(tier.maker_ppm), _rate(tier.taker_ppm)) for listing in listings]
    )


async def commission(exchange: Exchange, call: Call) -> bytes:
    """Answer what the account pays in one market."""
    tier = _tier(exchange, await _state(exchange, call))
    return views.encode(views.account_commission(call.values["symbol"].symbol, tier))


async def filters(exchange: Exchange, call: Call) -> bytes:
    """Answer the limits that one market has for this account; its tier may allow more open orders than others have."""
    tier = _tier(exchange, await _state(exchange, call))
    listing: Listing = call.values["symbol"]
    found = [each for each in market_filters(listing) if str(each["filterType"]).startswith("MAX_")]
    for each in found:
        if "maxNumOrders" in each:
            each["maxNumOrders"] *= tier.open_orders_factor
    return views.encode(AccountFilters([], found, []))


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
