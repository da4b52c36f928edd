"""`python -m runtime.accounts`: open accounts, give out API keys, credit deposits."""

import argparse
import asyncio
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.accounts.keys import (
    PERMISSIONS,
    USUAL,
    ApiKey,
    KeyRefusedError,
    KeyStore,
    new_ed25519_pair,
    new_hmac_key,
    new_public_key,
    store_api_key,
)
from runtime.accounts.operations import CommandRefusedError, ask_totals, deposit, open_account
from runtime.ledger.history import AccountName, HistoryUnavailableError, open_history
from runtime.shared.business_events import AccountOpened, BusinessEvent, EventPublisher, NotPublishedError
from runtime.shared.catalogue import Catalogue, CatalogueError
from runtime.shared.engine_link import EngineError, EngineLink
from runtime.shared.messages import EXTERNAL_ACCOUNT, AskAccount
from runtime.shared.money import MoneyError, format_decimal, parse_decimal
from runtime.shared.settings import (
    ADDRESSES_PATTERN,
    DATABASE_URL_PATTERN,
    database_login,
    read_catalogue_parameter,
    read_settings,
)

CONNECT_TIMEOUT_S: Final = 10.0
_NOTES: Final = """
environment:
  ENGINE_ADDRESS       host:port of the engine
  CATALOGUE_PARAMETER  SSM parameter with assets, markets and tiers
  DATABASE_URL         database of the ledger, where names are looked up (key, deposit)
  API_KEY_TABLE        DynamoDB table of API keys (key)
  API_KEY_KMS_KEY      KMS key that encrypts HMAC secrets (key)
  EVENT_BUS            EventBridge bus that hears of opened accounts (open; optional)
"""


class ToolError(Exception):
    """Something the operator can put right; its text is all they need to see."""


class AccountsSettings(BaseSettings):
    """Environment of the accounts tool; what only some commands need may be empty."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    engine_address: str = Field(pattern=ADDRESSES_PATTERN)
    catalogue_parameter: str = Field(min_length=1)
    database_url: str = Field(default="", pattern=rf"{DATABASE_URL_PATTERN}|^$")
    api_key_table: str = ""
    api_key_kms_key: str = ""
    event_bus: str = ""

    def need(self, *names: str) -> None:
        """Raise ToolError unless these settings are there."""
        for name in names:
            if not getattr(self, name):
                raise ToolError(f"environment variable {name.upper()} is missing: this command needs it")


class Tool:
    """Carries out one command; each method returns what to print."""

    def __init__(self, settings: AccountsSettings, catalogue: Catalogue, link: EngineLink) -> None:
        """Work through `link`, which is connected."""
        self._settings = settings
        self._catalogue = catalogue
        self._link = link

    async def open(self, arguments: argparse.Namespace) -> str:
        """Open an account, or move it to another tier, and tell the bus."""
        tier = self._catalogue.tier(arguments.tier)
        account = await open_account(self._link, arguments.name, tier.id)
        if self._settings.event_bus:
            opened = AccountOpened(
                event_id=f"account-opened/{account}",
                at_us=time.time_ns() // 1_000,
                account_id=account,
                tier=tier.name,
            )
            await asyncio.to_thread(_publish, self._settings.event_bus, opened)
        return f"account {account}  {arguments.name}  tier {tier.name}"

    async def key(self, arguments: argparse.Namespace) -> str:
        """Create an API key; show it once, as JSON."""
        self._settings.need("api_key_table", "api_key_kms_key", "database_url")
        account = await self._account(arguments.name)
        key, shown = _new_key(arguments)
        store = KeyStore.connect(self._settings.api_key_table, self._settings.api_key_kms_key)
        await asyncio.to_thread(
            store_api_key,
            store,
            key,
            account=account.account,
            tier=self._catalogue.tier_by_id[account.tier].name,
            label=arguments.label or account.name,
            created_us=time.time_ns() // 1_000,
            permissions=arguments.permissions,
            ip_list=arguments.ip,
        )
        return json.dumps({"account": account.name, "kind": key.kind, "api_key": key.api_key, **shown}, indent=2)

    async def deposit(self, arguments: argparse.Namespace) -> str:
        """Credit a deposit."""
        self._settings.need("database_url")
        asset = self._catalogue.asset(arguments.asset)
        try:
            amount = parse_decimal(arguments.amount, asset.decimals)
        except MoneyError as error:
            raise ToolError(f"AMOUNT of {asset.name} {error}") from None
        account = await self._account(arguments.name)
        if not await deposit(self._link, account.account, asset.id, amount, arguments.reference):
            raise ToolError(f"reference {arguments.reference!r} was credited before; nothing changed")
        return f"credited {format_decimal(amount, asset.decimals)} {asset.name} to {account.name}"

    async def totals(self, _arguments: argparse.Namespace) -> str:
        """Show what all accounts hold, and fail unless it sums to zero."""
        totals = await ask_totals(self._link)
        lines = [f"{'asset':<10}{'users':>32}{'house':>26}{'outside':>32}{'sum':>8}"]
        for number, users, house, outside in totals.rows:
            asset = self._catalogue.asset_by_id[number]
            texts = [format_decimal(amount, asset.decimals) for amount in (users, house, outside)]
            total = users + house + outside
            lines.append(f"{asset.name:<10}{texts[0]:>32}{texts[1]:>26}{texts[2]:>32}{total:>8}")
        lines.append(f"{totals.accounts} accounts, {totals.open_orders} open orders, state {totals.state_hash}")
        table = "\n".join(lines)
        if any(users + house + outside for _, users, house, outside in totals.rows):
            raise ToolError(f"a row does not sum to zero: money was made or lost\n{table}")
        return table

    async def _account(self, name: str) -> AccountName:
        """Look `name` up in the ledger, once that holds all the engine has done by now."""
        sequence = (await self._link.ask(AskAccount(EXTERNAL_ACCOUNT))).sequence
        try:
            history = await asyncio.wait_for(
                open_history(database_login(self._settings.database_url), pool_max=1), CONNECT_TIMEOUT_S
            )
        except TimeoutError:
            raise ToolError(f"the ledger's database is not ready within {CONNECT_TIMEOUT_S:g} s") from None
        try:
            await history.wait_for(sequence)
            account = await history.account_named(name)
        finally:
            await history.close()
        if account is None:
            raise ToolError(f"there is no account {name!r}; open it first: python -m runtime.accounts open NAME")
        return account


def _new_key(arguments: argparse.Namespace) -> tuple[ApiKey, dict[str, str]]:
    """Return the key to store, and what its owner must be shown besides its name."""
    if arguments.public_key:
        return new_public_key(arguments.public_key.read_text()), {}
    if arguments.kind == "ed25519":
        private_pem, public_pem = new_ed25519_pair()
        return new_public_key(public_pem), {"private_key_pem": private_pem}
    hmac = new_hmac_key()
    return hmac, {"secret_key": hmac.secret_key}


def _publish(bus: str, event: BusinessEvent) -> None:
    try:
        EventPublisher(bus).publish(event)
    except NotPublishedError as error:
        raise ToolError(f"{error} was not published to {bus}; the same command again publishes it") from None


@asynccontextmanager
async def _engine(address: str) -> AsyncIterator[EngineLink]:
    link = EngineLink(address)
    await link.start()
    try:
        await link.wait_connected(CONNECT_TIMEOUT_S)
        yield link
    finally:
        await link.stop()


def _network(text: str) -> str:
    """Check one entry of an allow-list: an address, or a network such as 10.0.0.0/8."""
    try:
        return str(ip_network(text)) if "/" in text else str(ip_address(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _permissions(text: str) -> frozenset[str]:
    permissions = frozenset(text.upper().split(","))
    if not permissions <= PERMISSIONS:
        raise argparse.ArgumentTypeError(f"some of {','.join(sorted(PERMISSIONS))}, was {text!r}")
    return permissions


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(
        prog="python -m runtime.accounts",
        description=__doc__,
        epilog=_NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True)
    one = commands.add_parser("open", help="open an account, or move it to another tier")
    one.add_argument("name", metavar="NAME", help="1 to 64 characters, unique")
    one.add_argument("--tier", default="standard", help="name of a tier in the catalogue (default: %(default)s)")
    one = commands.add_parser("key", help="create an API key; the secret is printed once and kept nowhere")
    one.add_argument("name", metavar="NAME", help="name of the account")
    one.add_argument("--kind", choices=("hmac", "ed25519"), default="hmac", help="default: %(default)s")
    one.add_argument(
        "--public-key", type=Path, metavar="FILE", help="register this Ed25519 or RSA public key (PEM) instead"
    )
    one.add_argument("--label", help="what the owner calls the key (default: the account's name)")
    one.add_argument(
        "--permissions",
        type=_permissions,
        default=USUAL,
        help="comma-separated: READ, TRADE, WITHDRAW (default: READ,TRADE); WITHDRAW needs --ip",
    )
    one.add_argument(
        "--ip", type=_network, action="append", default=[], help="allow this address or network only; may be repeated"
    )
    one = commands.add_parser("deposit", help="credit a deposit")
    one.add_argument("name", metavar="NAME", help="name of the account")
    one.add_argument("asset", metavar="ASSET", help="such as BTC")
    one.add_argument("amount", metavar="AMOUNT", help="decimal, such as 0.5")
    one.add_argument(
        "--reference", required=True, help="unique for ever; the same again is refused, so a retry is safe"
    )
    commands.add_parser("totals", help="what all accounts hold, per asset; fails unless each row sums to zero")
    return top


async def run(arguments: argparse.Namespace) -> str:
    """Carry out the command and return what to print. Raises ToolError and what the parts raise."""
    settings = read_settings(AccountsSettings)
    catalogue = await asyncio.to_thread(read_catalogue_parameter, settings.catalogue_parameter)
    async with _engine(settings.engine_address) as link:
        command: Callable[[argparse.Namespace], Awaitable[str]] = getattr(
            Tool(settings, catalogue, link), arguments.command
        )
        return await command(arguments)


def main() -> int:
    """Return 0, or 1 after one clear line on standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        text = asyncio.run(run(parser().parse_args()))
    except _REPORTED as error:
        sys.stderr.write(f"error: {error or type(error).__name__}\n")
        return 1
    sys.stdout.write(text + "\n")
    return 0


_REPORTED: Final = (
    ToolError,
    CatalogueError,
    KeyRefusedError,
    CommandRefusedError,
    EngineError,
    HistoryUnavailableError,
    BotoCoreError,
    ClientError,
    OSError,
)

if __name__ == "__main__":
    sys.exit(main())
