"""Controls as they are stored: an item for each that was asked for, and one for each setting: what is wanted of it.

The engine's commands have no reference, so that one that is sent twice has its effect twice. Therefore a control takes
its settings once, by one transaction that gives each a new turn, and whoever tells the engine always tells the newest
turn: a step that comes late repeats what is wanted now, never what was wanted then.

Errors:
    UnknownControlError  there is no control of this id
    StatusError          it has gone another way meanwhile, or its settings have; nothing was changed
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from runtime.controls.rules import LIMITS, OPEN, STATUS, WITHDRAWALS, Control
from runtime.shared.request_table import TAKEN as FAILED
from runtime.shared.request_table import RequestTable, StatusError, typed

ASKED: Final = "asked"
TAKEN: Final = "taken"
DONE: Final = "done"
ASKED_FIELDS: Final = ("id", "kind", "symbol", "value", "reason", "asked_by")
"""What was asked for; approvals are of exactly this, and of the turns that were seen then."""
SETTINGS_MAX: Final = 99
"""A transaction of DynamoDB has 100 steps, and one is the control's own."""


class UnknownControlError(LookupError):
    """There is no control of this id."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of one setting."""

    setting: str
    turn: int
    """Counts the controls that took the setting; 0: none has."""
    value: str
    control: str
    is_told: bool
    """Whether the engine, or the register of withdrawals, was told of this turn."""


class Register(RequestTable):
    """The table."""

    noun = "control"
    approvable = ASKED

    def found(self, name: str) -> dict[str, Any]:
        """Return as `control`."""
        return self.control(name)

    def control(self, name: str) -> dict[str, Any]:
        """Return a control's attributes. Raises UnknownControlError."""
        found = self.item(name)
        if "kind" not in found:
            raise UnknownControlError(f"no control {name!r}")
        return found

    def add(self, fields: Mapping[str, Any], settings: Iterable[str], now_s: int) -> bool:
        """Store a new control; return False for an id that is taken by the very same one. Raises StatusError else."""
        asked = {name: fields[name] for name in ASKED_FIELDS}
        wanted = [self.wanted(setting) for setting in settings]
        seen = {each.setting: each.turn for each in wanted}
        if asked["kind"] == LIMITS:  # limits that were moved before stay moved, and are signed for once more
            asked["value"] = json.dumps(json.loads(wanted[0].value) | json.loads(asked["value"]), sort_keys=True)
        item = asked | {"status": ASKED, "asked_at_s": now_s, "seen": json.dumps(seen, sort_keys=True)}
        try:
            self._client.put_item(
                TableName=self._name,
                Item={name: typed(value) for name, value in item.items()},
                ConditionExpression="attribute_not_exists(id)",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != FAILED:
                raise
            there = self.item(str(asked["id"]))
            if {name: there.get(name) for name in ASKED_FIELDS} != asked:
                raise StatusError(f"another control has the id {asked['id']}") from None
            return False
        return True

    def take(self, name: str, origins: tuple[str, ...] = ()) -> None:
        """Give each setting of a control a new turn, all or none; taken before, it is taken.

        Without `origins` the settings must be as they were when it was asked for. With them it was asked for alone, and
        each setting must have one of these values. Raises StatusError.
        """
        found = self.control(name)
        seen: dict[str, int] = json.loads(found["seen"])
        if len(seen) > SETTINGS_MAX:
            raise StatusError(f"control {name} changes {len(seen)} settings at once; at most {SETTINGS_MAX} can be")
        steps = [self._moved(name, (ASKED,), TAKEN, {})]
        steps += [self._turned(setting, turn, found, origins) for setting, turn in seen.items()]
        failed = self._transact([{"Update": each} for each in steps])
        if not failed:
            return
        if failed[0]:
            if (status := self.control(name)["status"]) not in {TAKEN, DONE}:
                raise StatusError(f"control {name} is {status}, which does not lead to {TAKEN}")
            return
        moved = ", ".join(setting for setting, is_failed in zip(seen, failed[1:], strict=True) if is_failed)
        if origins:
            raise StatusError(f"{moved}: {found['value']} would open what is halted, and that needs approvals")
        raise StatusError(f"{moved}: changed since control {name} was asked for; look again, and ask for another")

    def _turned(self, setting: str, seen: int, found: Mapping[str, Any], origins: tuple[str, ...]) -> dict[str, Any]:
        """Return the update that gives a setting its next turn."""
        values: dict[str, str | int] = {":one": 1, ":none": 0, ":value": found["value"], ":control": found["id"]}
        condition = "attribute_not_exists(turn)"
        if origins:
            from_values = {f":from{number}": origin for number, origin in enumerate(origins)}
            values |= from_values
            condition += f" OR #value IN ({', '.join(from_values)})"
        elif seen:
            values[":seen"] = seen
            condition = "turn = :seen"
        return {
            "TableName": self._name,
            "Key": {"id": {"S": setting}},
            "UpdateExpression": "SET turn = if_not_exists(turn, :none) + :one, #value = :value, #control = :control",
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {"#value": "value", "#control": "control"},
            "ExpressionAttributeValues": {name: typed(value) for name, value in values.items()},
        }

    def wanted(self, setting: str) -> Wanted:
        """Return what is wanted of a setting; one that nobody has changed is open, or has no limits of its own."""
        found = self.item(setting)
        kind = setting.partition("#")[0]
        untouched = {STATUS: "trading", WITHDRAWALS: OPEN}.get(kind, "{}")
        turn = int(found.get("turn", 0))
        return Wanted(
            setting, turn, found.get("value", untouched), found.get("control", ""), found.get("told", 0) == turn
        )

    def tell(self, wanted: Wanted) -> bool:
        """Note that a turn was told; return False when there is a newer one, which must be told as well."""
        if not wanted.turn:
            return True
        try:
            self._client.update_item(
                TableName=self._name,
                Key={"id": {"S": wanted.setting}},
                UpdateExpression="SET told = :turn",
                ConditionExpression="turn = :turn",
                ExpressionAttributeValues={":turn": typed(wanted.turn)},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != FAILED:
                raise
            return False
        return True


def control_in(found: Mapping[str, Any]) -> Control:
    """Return what a control's attributes ask for."""
    return Control(found["kind"], found["symbol"], found["value"])


def asked_text(found: Mapping[str, Any]) -> bytes:
    """Return what was asked for and what was seen then, as the bytes that approvals are of."""
    return json.dumps([found[name] for name in (*ASKED_FIELDS, "seen")], separators=(",", ":")).encode()
