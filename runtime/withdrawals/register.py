"""Withdrawals as they are stored: one item each, whose status only moves forward, beside address books and counters.

Errors:
    UnknownWithdrawalError   there is no request of this id
    StatusError              the request has gone another way meanwhile; nothing was changed
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

from botocore.exceptions import ClientError

from runtime.shared.request_table import TAKEN, RequestTable, StatusError, typed
from runtime.withdrawals.rules import DAY_S, KnownAddress, Reason, Receiver, Request, Rule

HOUR_S: Final = 3600
SWITCH: Final = "switch#halted"

ASKED: Final = "asked"
CHECKED: Final = "checked"
PREPARED: Final = "prepared"
APPROVED: Final = "approved"
HELD: Final = "held"
SIGNING: Final = "signing"
SIGNED: Final = "signed"
DECLINED: Final = "declined"
RELEASED: Final = "released"
SENT: Final = "sent"
FINAL: Final = "final"
"""As deep in the chain as `confirmations` says: its funds may leave the ledger."""
FAILED: Final = "failed"
"""As deep, and nothing was carried out: its funds are freed again."""
SETTLED: Final = "settled"
REFUSED: Final = "refused"
ENDED: Final = frozenset({SETTLED, REFUSED})
REFUSABLE: Final = (ASKED, CHECKED, PREPARED, RELEASED)
"""From here no funds are held and no signature exists."""


class UnknownWithdrawalError(LookupError):
    """There is no request of this id."""


class LimitError(Exception):
    """One more would be above a limit: `day`, `hour` (of the asset) or `count` (of all)."""

    def __init__(self, which: str) -> None:
        """Name the limit."""
        super().__init__(which)
        self.which = which


class Register(RequestTable):
    """The table."""

    noun = "withdrawal"
    approvable = PREPARED

    def found(self, name: str) -> dict[str, Any]:
        """Return as `withdrawal`."""
        return self.withdrawal(name)

    def withdrawal(self, name: str) -> dict[str, Any]:
        """Return a withdrawal's attributes. Raises UnknownWithdrawalError."""
        found = self.item(name)
        if "status" not in found:
            raise UnknownWithdrawalError(f"no withdrawal {name!r}")
        return found

    def add(self, request: Request, now_s: int) -> bool:
        """Store a new request; return False for an id that is taken by the very same one. Raises StatusError else."""
        receiver = json.dumps(asdict(request.receiver)) if request.receiver else ""
        fields = asdict(request) | {"receiver": receiver, "status": ASKED, "asked_at_s": now_s}
        fields["id"] = fields.pop("request_id")
        try:
            self._client.put_item(
                TableName=self._name,
                Item={name: typed(value) for name, value in fields.items()},
                ConditionExpression="attribute_not_exists(id)",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != TAKEN:
                raise
            if request_of(self.withdrawal(request.request_id)) != request:
                raise StatusError(f"another withdrawal has the id {request.request_id}") from None
            return False
        return True

    def count(self, request: Request, rule: Rule, *, count_max: int, now_s: int) -> None:
        """Take a request from asked to checked and count it. Raises LimitError, and StatusError if it is elsewhere."""
        counters = counters_of(request, now_s)
        amounts = {"day": (request.amount, rule.day_max), "hour": (request.amount, rule.hour_max)}
        amounts["count"] = (1, count_max)
        steps = [self._moved(request.request_id, (ASKED,), CHECKED, {"counters": json.dumps(counters)})]
        for which, (amount, most) in amounts.items():
            steps.append(
                {
                    "TableName": self._name,
                    "Key": {"id": {"S": counters[which]}},
                    "UpdateExpression": "ADD units :amount",
                    "ConditionExpression": "attribute_not_exists(units) OR units <= :room",
                    "ExpressionAttributeValues": {":amount": typed(amount), ":room": typed(most - amount)},
                }
            )
            if amount > most:
                raise LimitError(which)
        failed = self._transact([{"Update": each} for each in steps])
        if failed and failed[0]:
            if self.withdrawal(request.request_id)["status"] == CHECKED:
                return
            raise StatusError(f"withdrawal {request.request_id} is not asked any more")
        for which, is_failed in zip(amounts, failed[1:], strict=False):
            if is_failed:
                raise LimitError(which)

    def final(self, name: str, status: str, mined: Mapping[str, str | int], *, paid: int, network_fee: int) -> None:
        """Take a withdrawal from sent to FINAL or FAILED, with its block, and add to what the wallet has paid out.

        `paid` is in units of the ledger, `network_fee` in the chain's smallest. Raises StatusError if it is elsewhere.
        """
        found = self.withdrawal(name)
        sums = {
            paid_out_key(found["chain"], found["asset"]): paid,
            network_fees_key(found["chain"]): network_fee,
        }
        steps = [self._moved(name, (SENT,), status, mined)]
        steps += [
            {
                "TableName": self._name,
                "Key": {"id": {"S": key}},
                "UpdateExpression": "ADD units :amount",
                "ExpressionAttributeValues": {":amount": typed(amount)},
            }
            for key, amount in sums.items()
        ]
        if any(self._transact([{"Update": each} for each in steps])):
            self._must_be(name, status)

    def refuse(self, name: str, reasons: Iterable[Reason]) -> bool:
        """End a withdrawal as refused and give back what it was counted for; return False if it had ended before."""
        found = self.withdrawal(name)
        if found["status"] == REFUSED:
            return False
        changes = {"reasons": json.dumps([reason.code for reason in reasons]), "words": _words(reasons)}
        steps = [self._moved(name, (found["status"],), REFUSED, changes)]
        if found["status"] not in REFUSABLE:
            raise StatusError(f"withdrawal {name} is {found['status']} and cannot be refused any more")
        for which, counter in json.loads(found.get("counters", "{}")).items():
            steps.append(
                {
                    "TableName": self._name,
                    "Key": {"id": {"S": counter}},
                    "UpdateExpression": "ADD units :amount",
                    "ExpressionAttributeValues": {":amount": typed(-1 if which == "count" else -found["amount"])},
                }
            )
        if any(self._transact([{"Update": each} for each in steps])):
            raise StatusError(f"withdrawal {name} went on while it was refused")
        return True

    def left_today(self, request: Request, now_s: int) -> int:
        """Return what the account withdrew of the asset today (UTC), requests on their way included."""
        return int(self.item(counters_of(request, now_s)["day"]).get("units", 0))

    def address(self, account: int, chain: str, address: str) -> KnownAddress | None:
        """Return an entry of an account's address book."""
        found = self.item(address_key(account, chain, address))
        if not found:
            return None
        return KnownAddress(
            chain=chain, address=address, added_at_s=found["added_at_s"], is_screened=found.get("is_screened") == 1
        )

    def add_address(self, account: int, chain: str, address: str, now_s: int) -> None:
        """Add an address to a book; one that is there keeps its age and its screening."""
        self._client.update_item(
            TableName=self._name,
            Key={"id": {"S": address_key(account, chain, address)}},
            UpdateExpression="SET added_at_s = if_not_exists(added_at_s, :now)",
            ExpressionAttributeValues={":now": typed(now_s)},
        )

    def screened(self, key: str, *, is_clear: bool) -> bool:
        """Note what screening found of an entry, by its key; return False for one that is not there."""
        try:
            self._client.update_item(
                TableName=self._name,
                Key={"id": {"S": key}},
                UpdateExpression="SET is_screened = :clear",
                ConditionExpression="attribute_exists(added_at_s)",
                ExpressionAttributeValues={":clear": typed(int(is_clear))},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != TAKEN:
                raise
            return False
        return True

    def halt(self, reason: str, now_s: int) -> None:
        """Halt every withdrawal until two operators reopen them."""
        fields: dict[str, str | int] = {"id": SWITCH, "reason": reason, "since_s": now_s}
        self._client.put_item(TableName=self._name, Item={name: typed(value) for name, value in fields.items()})

    def reopen(self, asked_at_s: int) -> None:
        """End the halt; ended before, it is ended. Raises StatusError for one that began after `asked_at_s`."""
        try:
            self._client.delete_item(
                TableName=self._name,
                Key={"id": {"S": SWITCH}},
                ConditionExpression="attribute_not_exists(id) OR since_s <= :asked",
                ExpressionAttributeValues={":asked": typed(asked_at_s)},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != TAKEN:
                raise
            raise StatusError("withdrawals were halted again since it was asked to let them out") from None

    @property
    def is_halted(self) -> bool:
        """Whether every withdrawal is refused."""
        return bool(self.item(SWITCH))


def request_of(found: Mapping[str, Any]) -> Request:
    """Return what was asked for, from a withdrawal's attributes."""
    receiver = json.loads(found["receiver"]) if found["receiver"] else None
    fields = {name: found[name] for name in ("account", "asked_by", "asset", "chain", "destination", "amount")}
    return Request(
        request_id=found["id"],
        receiver=Receiver(**receiver) if receiver else None,
        client_id=found.get("client_id", ""),
        **fields,
    )


def address_key(account: int, chain: str, address: str) -> str:
    """Return the id of an entry of an address book."""
    return f"address#{account}#{chain}#{address}"


def paid_out_key(chain: str, asset: str) -> str:
    """Return the id of what has left the wallet to customers since the beginning, in units of the ledger."""
    return f"paid-out#{chain}#{asset}"


def network_fees_key(chain: str) -> str:
    """Return the id of what the network has taken for it, in the smallest units of the chain's coin."""
    return f"network-fees#{chain}"


def hour_key(asset: str, now_s: int) -> str:
    """Return the id of what all customers withdraw of an asset in this hour of the clock."""
    return f"hour#{asset}#{now_s // HOUR_S}"


def counters_of(request: Request, now_s: int) -> dict[str, str]:
    """Return the ids of what a request is counted in: the customer's day, the asset's hour, the hour of all."""
    return {
        "day": f"day#{request.account}#{request.asset}#{now_s // DAY_S}",
        "hour": hour_key(request.asset, now_s),
        "count": f"hour#all#{now_s // HOUR_S}",
    }


def _words(reasons: Iterable[Reason]) -> str:
    return "; ".join(reason.text for reason in reasons)
