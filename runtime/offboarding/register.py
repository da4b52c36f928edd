"""Closures and hand-overs as they are stored: one item each, beside an item for each account that leaves or has left.

Errors:
    UnknownRequestError  there is no request of this id
    StatusError          the request has gone another way meanwhile, or the account has another one; nothing was changed
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

from runtime.shared.request_table import TAKEN, RequestTable, StatusError, plain, typed

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


class UnknownRequestError(LookupError):
    """There is no request of this id."""


class Register(RequestTable):
    """The table."""

    noun = "request"
    approvable = ASKED

    def found(self, name: str) -> dict[str, Any]:
        """Return as `request`."""
        return self.request(name)

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
        steps = [
            {
                "Put": {
                    "TableName": self._name,
                    "Item": {name: typed(value) for name, value in each.items()},
                    # An account whose closure was refused has its item still, without a request.
                    "ConditionExpression": "attribute_not_exists(#free)",
                    "ExpressionAttributeNames": {"#free": "request" if "request" in each else "id"},
                }
            }
            for each in puts
        ]
        if any(self._transact(steps)):
            there = self.item(str(asked["id"]))
            if {name: there.get(name) for name in ASKED_FIELDS} == asked:
                return False
            if there:
                raise StatusError(f"another request has the id {asked['id']}")
            other = self.request_of(asked["account"])
            raise StatusError(f"account {asked['account']} has the closure {other}")
        return True

    def close(self, name: str, account: int, **changes: Any) -> None:  # noqa: ANN401 - values
        """End a closure and start the account's retention clock with the same `changes`, both or neither."""
        clock = {"id": clock_key(account), "account": account, **changes}
        put = {"TableName": self._name, "Item": {field: typed(value) for field, value in clock.items()}}
        moved = self._moved(name, (CONFIRMED,), CLOSED, changes)
        if any(self._transact([{"Update": moved}, {"Put": put}])):
            self._must_be(name, CLOSED)

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
                        "ExpressionAttributeValues": {":name": typed(name)},
                    }
                }
            )
        if any(self._transact(steps)):
            raise StatusError(f"request {name} is {self.request(name)['status']} and cannot be refused")

    def try_again(self, name: str, attempt: int) -> None:
        """Let the next asking start an execution of its own, after that of `attempt` ended undecided."""
        try:
            self._client.update_item(
                TableName=self._name,
                Key={"id": {"S": name}},
                UpdateExpression="SET attempt = :next",
                ConditionExpression="attempt = :this",
                ExpressionAttributeValues={":this": typed(attempt), ":next": typed(attempt + 1)},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != TAKEN:
                raise

    def clocks(self) -> list[dict[str, Any]]:
        """Return every retention clock, by account."""
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._name,
            ConsistentRead=True,
            FilterExpression="attribute_exists(files_until)",
        )
        found = [{name: plain(value) for name, value in item.items()} for page in pages for item in page["Items"]]
        return sorted((each for each in found if each["id"] == clock_key(each["account"])), key=lambda each: each["id"])

    def told(self, account: int, what: str) -> None:
        """Note that somebody was told that files, or books, of an account may go."""
        self._client.update_item(
            TableName=self._name,
            Key={"id": {"S": clock_key(account)}},
            UpdateExpression="SET #told = :yes",
            ConditionExpression="attribute_exists(id)",
            ExpressionAttributeNames={"#told": f"told_{what}"},
            ExpressionAttributeValues={":yes": typed(1)},
        )


def asked_text(found: Mapping[str, Any]) -> bytes:
    """Return what was asked for as canonical JSON."""
    asked = {name: found[name] for name in ASKED_FIELDS}
    return json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()


def account_key(account: int) -> str:
    """Return the id of the item that tells which closure an account has."""
    return f"account#{account}"


def clock_key(account: int) -> str:
    """Return the id of an account's retention clock."""
    return f"clock#{account}"
