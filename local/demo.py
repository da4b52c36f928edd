"""Opens and funds the accounts that make a local exchange lively, and writes down how to trade with them.

Keys are made once and kept in the state folder, so they work again after every restart; opening, funding and storing
are the same as an operator would do, and safe to repeat.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from local.paths import write_private
from runtime.accounts.keys import (
    ED25519,
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

CONNECT_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account to open, its tier and what it is credited, once, as decimals by asset."""

    name: str
    tier: str
    funds: Mapping[str, str]
    is_public: bool = False
    """Whether its keys are shown to whoever uses the machine, in the demo file."""


_TRADER: Final = {"BTC": "25", "ETH": "400", "USDT": "2000000", "IDR": "30000000000"}
_HOUSE: Final = {"BTC": "10000000", "ETH": "100000000", "USDT": "1000000000", "IDR": "1000000000000000"}
ACCOUNTS: Final = (
    Account(name="alice", tier="professional", funds=_TRADER, is_public=True),
    Account(name="bob", tier="professional", funds=_TRADER, is_public=True),
    Account(name="maker", tier="market_maker", funds=_HOUSE),
    Account(name="taker", tier="professional", funds=_HOUSE),
    *(Account(name=f"replay-{number}", tier="market_maker", funds=_HOUSE) for number in range(1, 5)),
)


@dataclass(frozen=True, slots=True)
class Keys:
    """The two API keys of one account, with their secret halves."""

    api_key: str
    secret_key: str = field(repr=False)
    ed25519_api_key: str
    ed25519_private_key_pem: str = field(repr=False)
    ed25519_public_key_pem: str

    @classmethod
    def new(cls) -> "Keys":
        """Return fresh random keys."""
        hmac = new_hmac_key()
        private_pem, public_pem = new_ed25519_pair()
        named = new_public_key(public_pem)
        return cls(hmac.api_key, hmac.secret_key, named.api_key, private_pem, named.public_key_pem)


def kept_keys(path: Path) -> dict[str, Keys]:
    """Return the keys of every account: those kept in `path`, and new ones, now kept too, for accounts not in it."""
    kept = {name: Keys(**entry) for name, entry in json.loads(path.read_bytes()).items()} if path.exists() else {}
    keys = {account.name: kept.get(account.name) or Keys.new() for account in ACCOUNTS}
    if keys != kept:
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
    for key in (hmac, ed25519):
        name = {"api_key": {"S": key.api_key}}
        if "Item" in store.dynamodb.get_item(TableName=store.table, Key=name, ConsistentRead=True):
            continue  # stored by an earlier run
        store_api_key(
            store, key, account=number, tier=account.tier, label=account.name, created_us=time.time_ns() // 1_000
        )


def write_demo(
    path: Path,
    urls: Mapping[str, str],
    keys: Mapping[str, Keys],
    catalogue: Catalogue,
    addresses: Mapping[str, Mapping[str, str]],
) -> None:
    """Write the contract of a running exchange: where it is, and who may trade."""
    accounts: list[dict[str, Any]] = [
        {**_shown(account.name, keys[account.name]), "deposit_addresses": addresses.get(account.name, {})}
        for account in ACCOUNTS
        if account.is_public
    ]
    demo: dict[str, Any] = {**urls, "accounts": accounts, "symbols": list(catalogue.market_by_symbol)}
    write_private(path, json.dumps(demo, indent=2).encode())


def _shown(name: str, keys: Keys) -> dict[str, str]:
    shown = asdict(keys)
    del shown["ed25519_public_key_pem"]
    return {"name": name, **shown}
