"""Who may lead: one item of a table, changed only by conditional writes, with an epoch that only rises.

Nobody compares wall clocks. The holder raises a counter again and again; a claimant takes the lease once it has seen
the same counter for EXPIRY_S on its own steady clock. The holder believes in its lease for EXPIRY_S from the moment it
sent the last renewal that succeeded, which is before anyone can have seen its counter: so it stops believing first, as
long as the two clocks run at about the same rate.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

logger = logging.getLogger(__name__)

EXPIRY_S: Final = 2.0
"""How long a counter must stand still before another may take the lease."""
RENEW_S: Final = 0.4
CALL_TIMEOUT_S: Final = 1.0
KEY: Final = "lease_of"
"""Partition key of the table: the market group."""


class LeaseLostError(RuntimeError):
    """Another process has taken the lease: this one must stop, and acknowledge nothing more."""


class Held(msgspec.Struct, frozen=True):
    """The lease of a group as it stands in the table."""

    owner: str
    """Name of one life of one process; empty once it was released."""
    epoch: int
    beat: int


class LeaseStore(Protocol):
    """Where the lease of one group lies. Raises LeaseStoreError when it cannot be reached."""

    def read(self) -> Held | None:
        """Return the lease, read consistently; None if there never was one."""

    def swap(self, expected: Held | None, new: Held) -> bool:
        """Replace `expected` by `new`; return False, and change nothing, when something else stands there."""


class LeaseStoreError(RuntimeError):
    """The table does not answer; whether a write took effect is not known."""


class Lease:
    """One process's part in the lease of a group. Not thread-safe: one call at a time."""

    def __init__(
        self,
        store: LeaseStore,
        owner: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        expiry_s: float = EXPIRY_S,
    ) -> None:
        """Take part as `owner`, a name that no other life of any process has. `clock` is steady, in seconds."""
        self.owner = owner
        self._store = store
        self._clock = clock
        self._expiry_s = expiry_s
        self._mine: Held | None = None
        self._valid_until = -1.0
        self._seen: Held | None = None
        self._seen_since = 0.0

    @property
    def epoch(self) -> int:
        """The epoch under which the lease is, or was last, held here; 0 if it never was."""
        return self._mine.epoch if self._mine else 0

    @property
    def is_valid(self) -> bool:
        """Whether nobody else can have taken the lease by now."""
        return self._mine is not None and self._clock() < self._valid_until

    def try_acquire(self) -> bool:
        """Take the lease if it is free or its holder has stood still for long. Raises LeaseStoreError."""
        held = self._store.read()
        if held is not None and held.owner == self.owner:  # an earlier attempt whose answer was lost
            self._mine = held
            return self._renewed()
        if not self._is_free(held):
            return False
        began = self._clock()
        new = Held(self.owner, (held.epoch if held else 0) + 1, 0)
        if not self._store.swap(held, new):
            return False
        self._mine = new
        self._valid_until = began + self._expiry_s
        return True

    def _is_free(self, held: Held | None) -> bool:
        if held is None or not held.owner:
            return True
        if held != self._seen:
            self._seen = held
            self._seen_since = self._clock()
            return False
        return self._clock() - self._seen_since > self._expiry_s

    def renew(self) -> None:
        """Raise the counter. Raises LeaseLostError when another holds the lease, or LeaseStoreError."""
        if not self._renewed():
            held = self._store.read()
            if held is None or held.owner != self.owner:
                raise LeaseLostError(f"the lease is held by {held.owner if held else 'nobody'!r} now")
            self._mine = held  # a renewal took effect whose answer was lost
            if not self._renewed():
                raise LeaseLostError("the lease changes under our hands")

    def _renewed(self) -> bool:
        assert self._mine
        began = self._clock()
        new = Held(self.owner, self._mine.epoch, self._mine.beat + 1)
        if not self._store.swap(self._mine, new):
            return False
        self._mine = new
        self._valid_until = began + self._expiry_s
        return True

    def release(self) -> None:
        """Give the lease back, so that the next one need not wait. Never raises: what is not released expires."""
        mine, self._mine = self._mine, None
        if mine is None:
            return
        try:
            self._store.swap(mine, Held("", mine.epoch, mine.beat + 1))
        except LeaseStoreError as error:
            logger.warning("the lease was not released, it expires: %s", error)


class DynamoLeaseStore:
    """The lease as an item of a DynamoDB table."""

    def __init__(self, table: str, group: str, client: Any = None) -> None:  # noqa: ANN401 - boto3 makes clients
        """Use the item of `group` in `table`."""
        self._table = table
        self._key = {KEY: {"S": group}}
        self._client = client or boto3.client(
            "dynamodb",
            config=Config(
                connect_timeout=CALL_TIMEOUT_S, read_timeout=CALL_TIMEOUT_S, retries={"total_max_attempts": 2}
            ),
        )

    def read(self) -> Held | None:
        """Return the lease, read consistently."""
        try:
            item = self._client.get_item(TableName=self._table, Key=self._key, ConsistentRead=True).get("Item")
        except (BotoCoreError, ClientError) as error:
            raise LeaseStoreError(str(error)) from None
        return Held(item["owner"]["S"], int(item["epoch"]["N"]), int(item["beat"]["N"])) if item else None

    def swap(self, expected: Held | None, new: Held) -> bool:
        """Replace `expected` by `new` in one conditional write."""
        names = {"#owner": "owner", "#epoch": "epoch", "#beat": "beat"}
        values = _values("new", new)
        condition = "attribute_not_exists(#owner)"
        if expected:
            values |= _values("old", expected)
            condition = "#owner = :old_owner AND #epoch = :old_epoch AND #beat = :old_beat"
        try:
            self._client.update_item(
                TableName=self._table,
                Key=self._key,
                UpdateExpression="SET #owner = :new_owner, #epoch = :new_epoch, #beat = :new_beat",
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise LeaseStoreError(str(error)) from None
        except BotoCoreError as error:
            raise LeaseStoreError(str(error)) from None
        return True


def _values(prefix: str, held: Held) -> dict[str, dict[str, str]]:
    return {
        f":{prefix}_owner": {"S": held.owner},
        f":{prefix}_epoch": {"N": str(held.epoch)},
        f":{prefix}_beat": {"N": str(held.beat)},
    }


class MemoryLeaseStore:
    """The lease in memory, for tests and simulations."""

    def __init__(self) -> None:
        """Start without one."""
        self.held: Held | None = None

    def read(self) -> Held | None:
        """Return the lease."""
        return self.held

    def swap(self, expected: Held | None, new: Held) -> bool:
        """Replace `expected` by `new`."""
        if self.held != expected:
            return False
        self.held = new
        return True
