"""Deposits and withdrawals as the gateway reaches them: two tables to read, addresses to issue, one function to ask.

A gateway moves nothing itself. A withdrawal is taken by a function that only adds; everything after that is decided
elsewhere. An address counts only if the watcher of its chain works out the same one for the account.

Errors:
    WalletUnavailableError  AWS does not answer; what was asked may have been done
    WalletRefusedError      another withdrawal has this name
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

import boto3
from boto3.dynamodb.types import TypeDeserializer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from runtime.chain.addresses import deposit_address
from runtime.chain.store import Addresses

NETWORKS: Final = {"ethereum": "ETH", "bitcoin": "BTC"}
"""How clients call a chain."""
BY_ACCOUNT: Final = "by-account"
"""The index of both tables."""
PAGES_MAX: Final = 20
"""Pages of one answer; DynamoDB ends a page at 1 MiB."""
_THREADS: Final = 4
_CONNECT_TIMEOUT_S: Final = 3
_READ_TIMEOUT_S: Final = 20
_NAME_TAKEN: Final = "StatusError"


class WalletUnavailableError(ConnectionError):
    """AWS does not answer, or a function failed."""


class WalletRefusedError(ValueError):
    """Another withdrawal has this name."""


class ChainAsset(Struct, frozen=True):
    """An asset that can be sent to us on a chain."""

    name: str
    confirmations: int


class DepositChain(Struct, frozen=True):
    """A chain on which deposits are watched."""

    name: str
    extended_public_key: str
    assets: list[ChainAsset]

    @property
    def network(self) -> str:
        """What clients call it."""
        return NETWORKS[self.name]


class WithdrawalRule(Struct, frozen=True):
    """What may leave of an asset on a chain, in units. Only what clients are told; the clerk knows the whole rule."""

    asset: str
    chain: str
    minimum: int
    transaction_max: int
    fee: int


Found = TypeVar("Found")
Row = dict[str, Any]
"""Attributes of an item as plain values: whole numbers and texts."""


class Wallet(Protocol):
    """What the gateway needs of deposits and withdrawals. Its methods raise WalletUnavailableError."""

    @property
    def chains(self) -> list[DepositChain]:
        """Where deposits are watched."""

    @property
    def rules(self) -> list[WithdrawalRule]:
        """What may leave."""

    async def address(self, account: int, chain: DepositChain) -> str:
        """Return the account's address on a chain, from now on watched."""

    async def deposits(
        self, account: int, span_us: tuple[int, int], wants: Callable[[Row], bool], most: int
    ) -> list[Row]:
        """Return the newest deposits whose state changed in the span, both ends included."""

    async def withdrawals(
        self, account: int, span_us: tuple[int, int], wants: Callable[[Row], bool], most: int
    ) -> list[Row]:
        """Return the newest withdrawals asked for in the span, both ends included."""

    async def withdraw(self, asked: Mapping[str, Any]) -> None:
        """Hand in a request. Raises WalletRefusedError, too."""


class AwsWallet:
    """The tables and the function; the calls block, so they run in threads of their own."""

    def __init__(
        self,
        *,
        deposit_table: str,
        address_table: str,
        withdrawal_table: str,
        withdrawal_function: str,
        chains: list[DepositChain],
        rules: list[WithdrawalRule],
    ) -> None:
        """Use these tables and this function."""
        config = Config(
            connect_timeout=_CONNECT_TIMEOUT_S,
            read_timeout=_READ_TIMEOUT_S,
            retries={"total_max_attempts": 2, "mode": "standard"},
            max_pool_connections=_THREADS,
        )
        self.chains = chains
        self.rules = rules
        self._dynamodb = boto3.client("dynamodb", config=config)
        self._lambda = boto3.client("lambda", config=config)
        self._deposits, self._withdrawals = deposit_table, withdrawal_table
        self._function = withdrawal_function
        self._addresses = Addresses(address_table, self._dynamodb)
        self._deserialize = TypeDeserializer().deserialize
        self._threads = ThreadPoolExecutor(_THREADS, "wallet")

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def address(self, account: int, chain: DepositChain) -> str:
        """Return the account's address on a chain, from now on watched."""
        address = deposit_address(chain.name, chain.extended_public_key, account)
        await self._done(lambda: self._addresses.issue(chain.name, address, account))
        return address

    async def deposits(
        self, account: int, span_us: tuple[int, int], wants: Callable[[Row], bool], most: int
    ) -> list[Row]:
        """Return the newest deposits whose state changed in the span, both ends included."""
        return await self._done(lambda: self._found(self._deposits, "changed_us", account, span_us, wants, most))

    async def withdrawals(
        self, account: int, span_us: tuple[int, int], wants: Callable[[Row], bool], most: int
    ) -> list[Row]:
        """Return the newest withdrawals asked for in the span, both ends included."""
        span_s = -(-span_us[0] // 1_000_000), span_us[1] // 1_000_000
        return await self._done(lambda: self._found(self._withdrawals, "asked_at_s", account, span_s, wants, most))

    async def withdraw(self, asked: Mapping[str, Any]) -> None:
        """Hand in a request. Raises WalletRefusedError, too."""
        await self._done(lambda: self._invoke(asked))

    async def _done(self, work: Callable[[], Found]) -> Found:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (BotoCoreError, ClientError) as error:
            raise WalletUnavailableError(f"{type(error).__name__}: {error}") from error

    def _found(
        self, table: str, sort: str, account: int, span: tuple[int, int], wants: Callable[[Row], bool], most: int
    ) -> list[Row]:
        found: list[Row] = []
        query: dict[str, Any] = {
            "TableName": table,
            "IndexName": BY_ACCOUNT,
            "KeyConditionExpression": "#account = :account AND #sort BETWEEN :first AND :last",
            "ExpressionAttributeNames": {"#account": "account", "#sort": sort},
            "ExpressionAttributeValues": {
                name: {"N": str(number)}
                for name, number in zip((":account", ":first", ":last"), (account, *span), strict=True)
            },
            "ScanIndexForward": False,
        }
        for _ in range(PAGES_MAX):
            page = self._dynamodb.query(**query)
            rows = ({name: _plain(self._deserialize(value)) for name, value in item.items()} for item in page["Items"])
            found += [row for row in rows if wants(row)]
            if len(found) >= most or "LastEvaluatedKey" not in page:
                break
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        return found[:most]

    def _invoke(self, asked: Mapping[str, Any]) -> None:
        answer = self._lambda.invoke(FunctionName=self._function, Payload=json.dumps(asked).encode())
        if "FunctionError" not in answer:
            return
        kind = json.load(answer["Payload"]).get("errorType", "")
        if kind == _NAME_TAKEN:
            raise WalletRefusedError(f"another withdrawal is called {asked['withdrawal_id']}")
        raise WalletUnavailableError(f"the function that takes withdrawals failed: {kind}")


def _plain(value: Any) -> Any:  # noqa: ANN401 - a number or a text
    return value if isinstance(value, str) else int(value)
