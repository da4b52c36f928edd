"""What a reader of the trade stream remembers of each market between invocations, in a DynamoDB table."""

from typing import Any, Generic, Protocol, TypeVar

import msgspec
from botocore.exceptions import ClientError


class Remembered(Protocol):
    """A memory: it belongs to a market, and knows the last trade that it has seen; 0 before the first."""

    market: int
    last_trade_id: int


Memory = TypeVar("Memory", bound=Remembered)


class MemoryMovedError(RuntimeError):
    """Another invocation took trades of the same market; this one must start over."""


class MarketMemory(Generic[Memory]):
    """One item for each market; a writer that started from an older one is refused."""

    def __init__(self, table: Any, kind: type[Memory], *, attribute: str = "memory") -> None:  # noqa: ANN401 - boto3's
        """Keep memories of `kind`, a msgspec struct made of a market, as `attribute` of the items of `table`."""
        self._table = table
        self._kind = kind
        self._attribute = attribute

    def load(self, market: int) -> Memory:
        """Return what is remembered of a market; a fresh memory the first time."""
        item = self._table.get_item(Key={"market": market}, ConsistentRead=True).get("Item")
        if not item:
            return self._kind(market)  # type: ignore[call-arg] # the constructor of a struct
        return msgspec.msgpack.decode(bytes(item[self._attribute]), type=self._kind)

    def save(self, memory: Memory, before: int) -> None:
        """Store a memory that was loaded at trade `before`. Raises MemoryMovedError when it is no longer there."""
        try:
            self._table.put_item(
                Item={
                    "market": memory.market,
                    "last_trade_id": memory.last_trade_id,
                    self._attribute: msgspec.msgpack.encode(memory),
                },
                ConditionExpression="attribute_not_exists(market) OR last_trade_id = :before",
                ExpressionAttributeValues={":before": before},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            raise MemoryMovedError(f"market {memory.market} is no longer at trade {before}") from None
