"""Opens and funds the accounts that make a local exchange lively, and writes down how to trade with them.

Keys are made once and kept in the state folder, so they work again after every restart; opening, funding and storing
are the same as an operator would do, and safe to repeat.
"""

import asyncio
import json
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from local.ceremony import CHAIN, DESTINATIONS
from local.paths import write_private
from runtime.accounts.keys import (
    ED25519,
    RSA,
    WITHDRAW,
    ApiKey,
    HmacKey,
    KeyStore,
    PublicKey,
    new_ed25519_pair,
    new_hmac_key,
    new_public_key,
    store_api_key,
)
from runtime.accounts.operations import deposit, open_account
from runtime.shared.catalogue import Catalogue
from runtime.shared.engine_link import EngineLink
from runtime.shared.money import parse_decimal
from runtime.withdrawals.register import Register, address_key

CONNECT_TIMEOUT_S: Final = 30.0
LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
"""Where a demo key that withdraws may be used from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account to open, its tier and what it is credited, once, as decimals by asset."""

    name: str
    tier: str
    funds: Mapping[str, str]
    is_public: bool = False
    """Whether its keys are shown to whoever uses the machine, in the demo file."""
    withdraws_to: str = ""
    """The one address of its book, on Ethereum. With one, it has a key that withdraws, from this machine alone."""


CANARY: Final = "canary"
_TRADER: Final = {"BTC": "25", "ETH": "400", "USDT": "2000000", "IDR": "30000000000"}
_HOUSE: Final = {"BTC": "10000000", "ETH": "100000000", "USDT": "1000000000", "IDR": "1000000000000000"}
ACCOUNTS: Final = (
    Account(name="alice", tier="professional", funds=_TRADER, is_public=True, withdraws_to=DESTINATIONS[0]),
    Account(name="bob", tier="professional", funds=_TRADER, is_public=True, withdraws_to=DESTINATIONS[1]),
    Account(name="maker", tier="market_maker", funds=_HOUSE),
    Account(name="taker", tier="professional", funds=_HOUSE),
    Account(name=CANARY, tier="standard", funds=_TRADER),
    *(Account(name=f"replay-{number}", tier="market_maker", funds=_HOUSE) for number in range(1, 5)),
)


@dataclass(frozen=True, slots=True)
class Keys:
    """The API keys of one account, with their secret halves: two that trade, and one that withdraws."""

    api_key: str
    secret_key: str = field(repr=False)
    ed25519_api_key: str
    ed25519_private_key_pem: str = field(repr=False)
    ed25519_public_key_pem: str
    withdraw_api_key: str
    withdraw_secret_key: str = field(repr=False)

    @classmethod
    def new(cls) -> "Keys":
        """Return fresh random keys."""
        hmac, withdrawing = new_hmac_key(), new_hmac_key()
        private_pem, public_pem = new_ed25519_pair()
        named = new_public_key(public_pem)
        return cls(
            hmac.api_key,
            hmac.secret_key,
            named.api_key,
            private_pem,
            named.public_key_pem,
            withdrawing.api_key,
            withdrawing.secret_key,
        )


def kept_keys(path: Path) -> dict[str, Keys]:
    """Return the keys of every account: those kept in `path`, and new ones, now kept too, for accounts not in it."""
    stored = json.loads(path.read_bytes()) if path.exists() else {}
    # A file of before there was a key that withdraws gets one.
    kept = {name: Keys(**asdict(Keys.new()) | entry) for name, entry in stored.items()}
    keys = {account.name: kept.get(account.name) or Keys.new() for account in ACCOUNTS}
    if {name: asdict(entry) for name, entry in (kept | keys).items()} != stored:
        text = json.dumps({name: asdict(entry) for name, entry in (kept | keys).items()}, indent=2)
        write_private(path, text.encode())
    return keys


async def seed(
    engine_address: str, catalogue: Catalogue, store: KeyStore, keys: Mapping[str, Keys]
) -> tuple[int, dict[str, int]]:
    """Open and fund every account and store its keys; return how many deposits were credited now, and ids by name.

    Raises what the accounts tool raises.
    """
    link = EngineLink(engine_address)
    await link.start()
    try:
        await link.wait_connected(CONNECT_TIMEOUT_S)
        opened = [await _open(link, account, catalogue, store, keys[account.name]) for account in ACCOUNTS]
        names = (account.name for account in ACCOUNTS)
        return sum(credited for credited, _ in opened), dict(zip(names, (number for _, number in opened), strict=True))
    finally:
        await link.stop()


async def _open(
    link: EngineLink, account: Account, catalogue: Catalogue, store: KeyStore, keys: Keys
) -> tuple[int, int]:
    number = await open_account(link, account.name, catalogue.tier(account.tier).id)
    credited = 0
    for name, amount in account.funds.items():
        asset = catalogue.asset(name)
        units = parse_decimal(amount, asset.decimals)
        credited += await deposit(link, number, asset.id, units, f"demo/{account.name}/{name}")
    await asyncio.to_thread(_store, store, keys, number, account)
    return credited, number


def _store(store: KeyStore, keys: Keys, number: int, account: Account) -> None:
    hmac = HmacKey(api_key=keys.api_key, secret_key=keys.secret_key)
    ed25519 = PublicKey(api_key=keys.ed25519_api_key, kind=ED25519, public_key_pem=keys.ed25519_public_key_pem)
    label = account.name
    _store_once(store, hmac, number, account.tier, label)
    _store_once(store, ed25519, number, account.tier, label)
    if account.withdraws_to:
        withdrawing = HmacKey(api_key=keys.withdraw_api_key, secret_key=keys.withdraw_secret_key)
        limits = {"permissions": {"READ", WITHDRAW}, "ip_list": LOOPBACK}
        _store_once(store, withdrawing, number, account.tier, label, **limits)


def _store_once(store: KeyStore, key: ApiKey, account: int, tier: str, label: str, **limits: Collection[str]) -> None:
    name = {"api_key": {"S": key.api_key}}
    if "Item" in store.dynamodb.get_item(TableName=store.table, Key=name, ConsistentRead=True):
        return  # stored by an earlier run
    store_api_key(store, key, account=account, tier=tier, label=label, created_us=time.time_ns() // 1_000, **limits)


def register_canary(store: KeyStore, public_key: bytes, api_key: str, *, account: int) -> None:
    """Let the canary's `account` sign with the key whose DER `public_key` KMS gave; as an operator does, once."""
    pem = load_der_public_key(public_key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    _store_once(store, PublicKey(api_key=api_key, kind=RSA, public_key_pem=pem), account, "standard", CANARY)


def fill_address_books(register: Register, cooldown_s: int, numbers: Mapping[str, int], now_s: int) -> int:
    """Put the address of each account that withdraws into its book, old enough and screened; return how many.

    Customers add addresses by a function, wait for the screening partner and a day. Here nobody could.
    """
    known = [account for account in ACCOUNTS if account.withdraws_to]
    for account in known:
        number = numbers[account.name]
        register.add_address(number, CHAIN, account.withdraws_to, now_s - cooldown_s)
        register.screened(address_key(number, CHAIN, account.withdraws_to), is_clear=True)
    return len(known)


def write_demo(
    path: Path,
    urls: Mapping[str, str],
    keys: Mapping[str, Keys],
    catalogue: Catalogue,
    addresses: Mapping[str, Mapping[str, str]],
) -> None:
    """Write the contract of a running exchange: where it is, and who may trade."""
    accounts: list[dict[str, Any]] = [
        {
            **_shown(account.name, keys[account.name]),
            "deposit_addresses": addresses.get(account.name, {}),
            "withdrawal_addresses": {CHAIN: account.withdraws_to},
        }
        for account in ACCOUNTS
        if account.is_public
    ]
    demo: dict[str, Any] = {**urls, "accounts": accounts, "symbols": list(catalogue.market_by_symbol)}
    write_private(path, json.dumps(demo, indent=2).encode())


def _shown(name: str, keys: Keys) -> dict[str, str]:
    shown = asdict(keys)
    del shown["ed25519_public_key_pem"]
    return {"name": name, **shown}


def credited(catalogue: Catalogue, asset: str) -> int:
    """Return what the accounts are credited of an asset in all, in units of the ledger."""
    decimals = catalogue.asset(asset).decimals
    return sum(parse_decimal(account.funds.get(asset, "0"), decimals) for account in ACCOUNTS)
