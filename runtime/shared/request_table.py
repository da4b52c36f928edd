"""Requests as items of one table: each change is one conditional write, so a step that comes twice has its effect once.

What is asked for, and which statuses there are, is for those who keep requests: withdrawals, closures.

Errors:
    StatusError  the request has gone another way meanwhile; nothing was changed
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

import boto3
from botocore.exceptions import ClientError

TAKEN: Final = "ConditionalCheckFailedException"
"""The code of a write whose condition failed."""
_CANCELED: Final = "TransactionCanceledException"
_FAILED: Final = "ConditionalCheckFailed"


class StatusError(RuntimeError):
    """The request is not where this step begins."""


class RequestTable(ABC):
    """The table. `noun` is what errors call a request, `approvable` the status in which it waits for approvals."""

    noun: ClassVar[str]
    approvable: ClassVar[str]

    def __init__(self, table: str, *, client: Any = None) -> None:  # noqa: ANN401 - boto3's
        """Use the table of this name."""
        self._name = table
        self._client = client or boto3.client("dynamodb")

    @abstractmethod
    def found(self, name: str) -> dict[str, Any]:
        """Return a request's attributes. Raises LookupError for one that is not there."""

    def item(self, name: str) -> dict[str, Any]:
        """Return an item's attributes, empty for one that is not there."""
        key = {"id": {"S": name}}
        found = self._client.get_item(TableName=self._name, Key=key, ConsistentRead=True).get("Item", {})
        return {field: plain(value) for field, value in found.items()}

    def move(self, name: str, origins: Iterable[str], status: str, **changes: Any) -> None:  # noqa: ANN401 - values
        """Take a request from one of `origins` to `status`; done before, it is done. Raises StatusError."""
        try:
            self._client.update_item(**self._moved(name, origins, status, changes))
        except ClientError as error:
            if error.response["Error"]["Code"] != TAKEN:
                raise
            self._must_be(name, status)

    def approve(self, name: str, approver: str, approval: str) -> int:
        """Add an approver's word to a request that waits for it; return how many there are. Raises StatusError."""
        try:
            self._client.update_item(
                TableName=self._name,
                Key={"id": {"S": name}},
                UpdateExpression="SET #approval = :approval",
                ConditionExpression="#status = :approvable",
                ExpressionAttributeNames={"#approval": f"approval#{approver}", "#status": "status"},
                ExpressionAttributeValues={":approval": typed(approval), ":approvable": typed(self.approvable)},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != TAKEN:
                raise
            raise StatusError(f"{self.noun} {name} waits for no approval") from None
        return len(approvals_of(self.found(name)))

    def _must_be(self, name: str, status: str) -> None:
        """Raise StatusError unless a request has `status` by now."""
        found = self.found(name)["status"]
        if found != status:
            raise StatusError(f"{self.noun} {name} is {found}, which does not lead to {status}") from None

    def _moved(self, name: str, origins: Iterable[str], status: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the update that takes a request from one of `origins` to `status`."""
        values = {":status": typed(status)}
        values |= {f":o{number}": typed(origin) for number, origin in enumerate(origins)}
        allowed = ", ".join(each for each in values if each.startswith(":o"))
        names = {"#status": "status"}
        sets = ["#status = :status"]
        for number, (field, value) in enumerate(changes.items()):
            names[f"#f{number}"], values[f":f{number}"] = field, typed(value)
            sets.append(f"#f{number} = :f{number}")
        return {
            "TableName": self._name,
            "Key": {"id": {"S": name}},
            "UpdateExpression": "SET " + ", ".join(sets),
            "ConditionExpression": f"#status IN ({allowed})",
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
        }

    def _transact(self, steps: list[dict[str, Any]]) -> list[bool]:
        """Write all or nothing; return for each whether its condition failed, empty when all was written."""
        try:
            self._client.transact_write_items(TransactItems=steps)
        except ClientError as error:
            if error.response["Error"]["Code"] != _CANCELED:
                raise
            codes = [reason["Code"] for reason in error.response["CancellationReasons"]]
            if _FAILED not in codes:
                raise  # a conflict with another transaction: the step comes again
            return [code == _FAILED for code in codes]
        return []


def approvals_of(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the approvals of a request, by approver."""
    return {name.partition("#")[2]: value for name, value in found.items() if name.startswith("approval#")}


def typed(value: str | int) -> dict[str, str]:
    """Return a value as DynamoDB takes it."""
    return {"N": str(value)} if isinstance(value, int) else {"S": value}


def plain(value: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a number or a text
    """Return a value that DynamoDB gave."""
    return int(value["N"]) if "N" in value else value.get("S")
