"""Closures and hand-overs as they are stored: one item each, beside an item for each account that leaves or has left.

Errors:
    UnknownRequestError  there is no request of this id
    StatusError          the request has gone another way meanwhile, or the account has another one; nothing was changed
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import boto3
from botocore.exceptions import ClientError

CLOSURE: Final = "closure"
HAND_OVER: Final = "hand-over"
CUSTOMER: Final = "customer"
OPERATOR: Final = "operator"

ASKED: Final = "asked"
FROZEN: Final = "frozen"
EMPTY: Final = "empty"
STATED: Final = "stated"
CONFIRMED: Final = "confirmed"
CLOSED: Final = "closed"
REFUSED: Final = "refused"
EXPORTED: Final = "exported"
SETTLING: Final = (FROZEN, EMPTY, STATED, CONFIRMED)
"""Frozen for good: from here on nothing leads back."""
ASKED_FIELDS: Final = ("id", "kind", "account", "asked_by", "initiator", "details")
"""What was asked for; approvals are of exactly this."""
_TAKEN: Final = "ConditionalCheckFailedException"
_CANCELED: Final = "TransactionCanceledException"
_FAILED: Final = "ConditionalCheckFailed"


class UnknownRequestError(LookupError):
    """There is no request of this id."""


class StatusError(RuntimeError):
    """The request is not where this step begins."""


class Register:
    """The table. Every change is one conditional write, so a step that comes twice has its effect once."""

    def __init__(self, table: str, *, client: Any = None) -> None:  # noqa: ANN401 - boto3's
        """Use the table of this name."""
        self._name = table
        self._client = client or boto3.client("dynamodb")

    def item(self, name: str) -> dict[str, Any]:
        """Return an item's attributes, empty for one that is not there."""
        key = {"id": {"S": name}}
        found = self._client.get_item(TableName=self._name, Key=key, ConsistentRead=True).get("Item", {})
        return {field: _plain(value) for field, value in found.items()}

    def request(self, name: str) -> dict[str, Any]:
        """Return a request's attributes. Raises UnknownRequestError."""
        found = self.item(name)
        if "kind" not in found:
            raise UnknownRequestError(f"no request {name!r}")
        return found

    def request_of(self, account: int) -> str | None:
        """Return the id of the closure that an account is in or has been through; None for one that stays."""
        found: str | None = self.item(account_key(account)).get("request")
        return found

    def add(self, fields: Mapping[str, Any], now_s: int) -> bool:
        """Store a new request; return False for an id that is taken by the very same one.

        Raises StatusError for an id that is taken by another, or an account that has another closure.
        """
        asked = {name: fields[name] for name in ASKED_FIELDS}
        item = asked | {"status": ASKED, "asked_at_s": now_s, "attempt": 1}
        puts = [item]
        if asked["kind"] == CLOSURE:
            puts.append({"id": account_key(asked["account"]), "request": asked["id"]})
        try:
            self._client.transact_write_items(
                TransactItems=[
                    {
                        "Put": {
                            "TableName": self._name,
                            "Item": {name: _typed(value) for name, value in each.items()},
                            # An account whose closure was refused has its item still, without a request.
                            "ConditionExpression": "attribute_not_exists(#free)",
                            "ExpressionAttributeNames": {"#free": "request" if "request" in each else "id"},
                        }
                    }
                    for each in puts
                ]
            )
        except ClientError as error:
            if not _failed(error):
                raise
            there = self.item(str(asked["id"]))
            if {name: there.get(name) for name in ASKED_FIELDS} == asked:
                return False
            if there:
                raise StatusError(f"another request has the id {asked['id']}") from None
            other = self.request_of(asked["account"])
            raise StatusError(f"account {asked['account']} has the closure {other}") from None
        return True

    def move(self, name: str, origins: Iterable[str], status: str, **changes: Any) -> None:  # noqa: ANN401 - values
        """Take a request from one of `origins` to `status`; done before, it is done. Raises StatusError."""
        try:
            self._client.update_item(**self._moved(name, origins, status, changes))
        except ClientError as error:
            if error.response["Error"]["Code"] != _TAKEN:
                raise
            found = self.request(name)["status"]
            if found != status:
                raise StatusError(f"request {name} is {found}, which does not lead to {status}") from None

    def close(self, name: str, account: int, **changes: Any) -> None:  # noqa: ANN401 - values
        """End a closure and start the account's retention clock with the same `changes`, both or neither."""
        clock = {"id": clock_key(account), "account": account, **changes}
        put = {"TableName": self._name, "Item": {field: _typed(value) for field, value in clock.items()}}
        moved = self._moved(name, (CONFIRMED,), CLOSED, changes)
        try:
            self._client.transact_write_items(TransactItems=[{"Update": moved}, {"Put": put}])
        except ClientError as error:
            if not _failed(error):
                raise
            found = self.request(name)["status"]
            if found != CLOSED:
                raise StatusError(f"request {name} is {found}, which does not lead to {CLOSED}") from None

    def refuse(self, name: str) -> None:
        """End a request that nothing was done for; its account may then be closed by another one."""
        found = self.request(name)
        moved = self._moved(name, (ASKED, REFUSED), REFUSED, {})
        steps: list[dict[str, Any]] = [{"Update": moved}]
        if found["kind"] == CLOSURE and self.request_of(found["account"]) == name:
            steps.append(
                {
                    "Update": {
                        "TableName": self._name,
                        "Key": {"id": {"S": account_key(found["account"])}},
                        "UpdateExpression": "REMOVE #request",
                        "ConditionExpression": "#request = :name",
                        "ExpressionAttributeNames": {"#request": "request"},
                        "ExpressionAttributeValues": {":name": _typed(name)},
                    }
                }
            )
        try:
            self._client.transact_write_items(TransactItems=steps)
        except ClientError as error:
            if not _failed(error):
                raise
            raise StatusError(f"request {name} is {self.request(name)['status']} and cannot be refused") from None

    def try_again(self, name: str, attempt: int) -> None:
        """Let the next asking start an execution of its own, after that of `attempt` ended undecided."""
        try:
            self._client.update_item(
                TableName=self._name,
                Key={"id": {"S": name}},
                UpdateExpression="SET attempt = :next",
                ConditionExpression="attempt = :this",
                ExpressionAttributeValues={":this": _typed(attempt), ":next": _typed(attempt + 1)},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != _TAKEN:
                raise

    def approve(self, name: str, approver: str, approval: str) -> int:
        """Add an approver's word to a request that waits for it; return how many there are. Raises StatusError."""
        try:
            self._client.update_item(
                TableName=self._name,
                Key={"id": {"S": name}},
                UpdateExpression="SET #approval = :approval",
                ConditionExpression="#status = :asked",
                ExpressionAttributeNames={"#approval": f"approval#{approver}", "#status": "status"},
                ExpressionAttributeValues={":approval": _typed(approval), ":asked": _typed(ASKED)},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != _TAKEN:
                raise
            raise StatusError(f"request {name} waits for no approval") from None
        return len(approvals_of(self.request(name)))

    def clocks(self) -> list[dict[str, Any]]:
        """Return every retention clock, by account."""
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._name,
            ConsistentRead=True,
            FilterExpression="attribute_exists(files_until)",
        )
        found = [{name: _plain(value) for name, value in item.items()} for page in pages for item in page["Items"]]
        return sorted((each for each in found if each["id"] == clock_key(each["account"])), key=lambda each: each["id"])

    def told(self, account: int, what: str) -> None:
        """Note that somebody was told that files, or books, of an account may go."""
        self._client.update_item(
            TableName=self._name,
            Key={"id": {"S": clock_key(account)}},
            UpdateExpression="SET #told = :yes",
            ConditionExpression="attribute_exists(id)",
            ExpressionAttributeNames={"#told": f"told_{what}"},
            ExpressionAttributeValues={":yes": _typed(1)},
        )

    def _moved(self, name: str, origins: Iterable[str], status: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        values = {":status": _typed(status)}
        values |= {f":o{number}": _typed(origin) for number, origin in enumerate(origins)}
        allowed = ", ".join(each for each in values if each.startswith(":o"))
        names = {"#status": "status"}
        sets = ["#status = :status"]
        for number, (field, value) in enumerate(changes.items()):
            names[f"#f{number}"], values[f":f{number}"] = field, _typed(value)
            sets.append(f"#f{number} = :f{number}")
        return {
            "TableName": self._name,
            "Key": {"id": {"S": name}},
            "UpdateExpression": "SET " + ", ".join(sets),
            "ConditionExpression": f"#status IN ({allowed})",
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
        }


def asked_text(found: Mapping[str, Any]) -> bytes:
    """Return what was asked for as canonical JSON."""
    asked = {name: found[name] for name in ASKED_FIELDS}
    return json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()


def approvals_of(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the approvals of a request, by approver."""
    return {name.partition("#")[2]: value for name, value in found.items() if name.startswith("approval#")}


def account_key(account: int) -> str:
    """Return the id of the item that tells which closure an account has."""
    return f"account#{account}"


def clock_key(account: int) -> str:
    """Return the id of an account's retention clock."""
    return f"clock#{account}"


def _failed(error: ClientError) -> bool:
    """Tell whether a transaction's condition failed; a conflict with another one is no answer, and comes again."""
    if error.response["Error"]["Code"] != _CANCELED:
        return False
    return any(reason["Code"] == _FAILED for reason in error.response["CancellationReasons"])


def _typed(value: str | int) -> dict[str, str]:
    return {"N": str(value)} if isinstance(value, int) else {"S": value}


def _plain(value: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a number or a text
    return int(value["N"]) if "N" in value else value.get("S")
