"""What the watcher remembers: issued addresses, each deposit, and the chain it has followed, in two DynamoDB tables.

The chain is kept as a ring of the last blocks, each written together with the tip that names it, so that whatever ends
the watcher, the next one finds a chain that was true at some time and goes on from there.
"""

import json
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from runtime.chain.deposits import DEPTH_MAX, Block, Transfer

logger = logging.getLogger(__name__)

Status = Literal["pending", "crediting", "credited", "orphaned", "frozen", "dust", "refused"]
BATCH_MAX: Final = 100
"""Items that one BatchGetItem takes."""
ATTEMPTS_MAX: Final = 8
_PAUSE_S: Final = 0.1


class StoreBrokenError(RuntimeError):
    """What is stored contradicts itself; people must look."""


class StoreBusyError(RuntimeError):
    """DynamoDB left some of a batch unread, again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposit:
    """One deposit. `units` is what the account gets: the amount in units of the exchange, rounded down."""

    chain: str
    transfer: Transfer
    status: Status
    block: str
    account: int
    units: int


class Addresses:
    """Which address belongs to which account."""

    def __init__(
        self,
        table: str,
        client: Any,  # noqa: ANN401 - boto3's client
        *,
        address_of: Callable[[int], str] | None = None,
    ) -> None:
        """Use `table` by a DynamoDB client. With `address_of`, an entry counts only if it is the account's address."""
        self._table, self._client = table, client
        self._address_of = address_of

    def issue(self, chain: str, address: str, account: int) -> None:
        """Note that payments to `address` are the account's. Raises ValueError when it is another's already."""
        try:
            self._client.put_item(
                TableName=self._table,
                Item={"address": {"S": f"{chain}/{address}"}, "account": {"N": str(account)}},
                ConditionExpression="attribute_not_exists(address) OR account = :account",
                ExpressionAttributeValues={":account": {"N": str(account)}},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            raise ValueError(f"{address} on {chain} is the address of another account") from None

    def owners(self, chain: str, addresses: Collection[str]) -> dict[str, int]:
        """Return the account of each address that is ours."""
        keys = [{"address": {"S": f"{chain}/{address}"}} for address in addresses]
        found = _read_all(self._client, self._table, keys)
        owners = {item["address"]["S"].partition("/")[2]: int(item["account"]["N"]) for item in found}
        return {address: account for address, account in owners.items() if self._is_true(address, account)}

    def _is_true(self, address: str, account: int) -> bool:
        """Tell whether an entry can be right: whoever writes here cannot give an account a stranger's address."""
        if self._address_of is None or self._address_of(account) == address:
            return True
        logger.error("the table gives an address to account %d that is not the account's", account)
        return False


class Deposits:
    """The deposits of one chain, and the end of the chain itself."""

    def __init__(self, table: str, chain: str, client: Any) -> None:  # noqa: ANN401 - boto3's client
        """Use `table` by a DynamoDB client."""
        self._table, self._chain, self._client = table, chain, client

    def blocks(self) -> list[Block]:
        """Return the chain as it was left, the oldest block first; empty before the first block.

        Raises StoreBrokenError when the blocks that the tip names are not there: to begin anew would skip deposits.
        """
        tip = self._get(f"tip/{self._chain}")
        if tip is None:
            return []
        keys = [{"id": {"S": self._slot(number)}} for number in range(DEPTH_MAX)]
        read = [_block(item["block"]["S"]) for item in _read_all(self._client, self._table, keys)]
        by_hash = {block.hash: block for block in read}
        chain: list[Block] = []
        wanted = tip["hash"]["S"]
        while (block := by_hash.pop(wanted, None)) is not None:
            chain.append(block)
            wanted = block.parent
        if not chain:
            raise StoreBrokenError(f"{self._chain}: the block of tip {wanted} is not stored")
        return chain[::-1]

    def follow(self, block: Block) -> None:
        """Note that the chain ends with `block` now: both at once, as it may take the place of the tip before it."""
        items: tuple[dict[str, str | int], ...] = (
            {"id": self._slot(block.height), "block": json.dumps(asdict(block))},
            {"id": f"tip/{self._chain}", "hash": block.hash, "height": block.height},
        )
        puts = [{"Put": {"TableName": self._table, "Item": _item(values)}} for values in items]
        self._client.transact_write_items(TransactItems=puts)

    def all(self) -> Iterator[Deposit]:
        """Yield every deposit of the chain, in no order. Reads the whole table."""
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._table,
            ConsistentRead=True,
            FilterExpression="begins_with(id, :kind)",
            ExpressionAttributeValues={":kind": {"S": f"deposit/{self._chain}/"}},
        )
        return (read_deposit(item) for page in pages for item in page["Items"])

    def deposit(self, place: str) -> Deposit | None:
        """Return what is known of a deposit."""
        item = self._get(f"deposit/{self._chain}/{place}")
        return read_deposit(item) if item else None

    def put(self, deposit: Deposit, now_us: int) -> None:
        """Write what became of a deposit."""
        transfer = deposit.transfer
        self._put(
            {
                "id": f"deposit/{self._chain}/{transfer.place}",
                "chain": self._chain,
                "status": deposit.status,
                "place": transfer.place,
                "asset": transfer.asset,
                "address": transfer.address,
                "amount": str(transfer.amount),
                "units": str(deposit.units),
                "account": deposit.account,
                "block": deposit.block,
                "changed_us": now_us,
            }
        )

    def _slot(self, height: int) -> str:
        return f"block/{self._chain}/{height % DEPTH_MAX}"

    def _get(self, item_id: str) -> dict[str, Any] | None:
        answer = self._client.get_item(TableName=self._table, Key={"id": {"S": item_id}}, ConsistentRead=True)
        item: dict[str, Any] | None = answer.get("Item")
        return item

    def _put(self, values: Mapping[str, str | int]) -> None:
        self._client.put_item(TableName=self._table, Item=_item(values))


def _item(values: Mapping[str, str | int]) -> dict[str, dict[str, str]]:
    return {name: {"N": str(value)} if isinstance(value, int) else {"S": value} for name, value in values.items()}


def read_deposit(item: Mapping[str, Any]) -> Deposit:
    """Return the deposit of an item."""
    return Deposit(
        chain=item["chain"]["S"],
        transfer=Transfer(
            place=item["place"]["S"],
            asset=item["asset"]["S"],
            address=item["address"]["S"],
            amount=int(item["amount"]["S"]),
        ),
        status=item["status"]["S"],
        block=item["block"]["S"],
        account=int(item["account"]["N"]),
        units=int(item["units"]["S"]),
    )


def _block(text: str) -> Block:
    raw = json.loads(text)
    return Block(**{**raw, "transfers": tuple(Transfer(**each) for each in raw["transfers"])})


def _read_all(client: Any, table: str, keys: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    """Yield the items that exist. Raises StoreBusyError."""
    for start in range(0, len(keys), BATCH_MAX):
        wanted = keys[start : start + BATCH_MAX]
        for attempt in range(ATTEMPTS_MAX):
            answer = client.batch_get_item(RequestItems={table: {"Keys": wanted, "ConsistentRead": True}})
            yield from answer["Responses"].get(table, [])
            wanted = answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
            if not wanted:
                break
            time.sleep(_PAUSE_S * 2**attempt)
        else:
            raise StoreBusyError(f"{len(wanted)} of {len(keys)} items of {table} were not read")
