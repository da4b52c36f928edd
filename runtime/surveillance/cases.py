"""Cases: each is opened once, told of once, keeps its evidence for good, and ends with a decision of a person.

open ──► reported    the supervisor is told: the next suspicious-transaction file has it
     └─► dismissed   it was explained
"""

import json
from typing import Any, Literal

import msgspec
from botocore.exceptions import ClientError

from runtime.shared.business_events import CaseOpened, EventPublisher
from runtime.shared.case_states import OPEN
from runtime.surveillance.findings import SEVERITY, Finding

Decision = Literal["reported", "dismissed"]


class CaseError(ValueError):
    """A decision that cannot be taken; the message says why."""


class CaseBook:
    """The table of cases, the bucket of their evidence, and the bus that hears of new ones."""

    def __init__(self, table: Any, evidence: Any, publisher: EventPublisher) -> None:  # noqa: ANN401 - boto3's resources
        """Keep cases in `table` (DynamoDB), evidence in the bucket `evidence` (S3)."""
        self._table = table
        self._evidence = evidence
        self._publisher = publisher

    def report(self, finding: Finding) -> bool:
        """Add `finding` to its case; return whether that made a case. The same finding again changes nothing.

        Evidence first, then the case, then the bus: whatever is cut off is taken up again by the next delivery, and
        only if it was cut off right after the bus was told is it told twice, under the same event id.
        """
        case_id = finding.case_id
        self._keep(f"cases/{case_id}/{finding.finding_id}.json", msgspec.json.encode(finding))
        item = {
            "case_id": case_id,
            "kind": finding.kind,
            "market": finding.market,
            "symbol": finding.symbol,
            "accounts": list(finding.accounts),
            "severity": SEVERITY[finding.kind],
            "opened_us": finding.last_us,
            "state": OPEN,
            "is_announced": False,
        }
        try:
            self._table.put_item(
                Item=item,
                ConditionExpression="attribute_not_exists(case_id)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if _refused_item(error).get("is_announced", {}).get("BOOL"):
                return False
        self._publisher.publish(
            CaseOpened(
                event_id=f"case-{case_id}",
                at_us=finding.last_us,
                case_id=case_id,
                kind=finding.kind,
                severity=SEVERITY[finding.kind],
                account_ids=finding.accounts,
                symbol=finding.symbol,
                evidence=f"s3://{self._evidence.name}/cases/{case_id}/",
            )
        )
        self._table.update_item(
            Key={"case_id": case_id},
            UpdateExpression="SET is_announced = :yes",
            ExpressionAttributeValues={":yes": True},
        )
        return True

    def decide(self, case_id: str, decision: Decision, *, by: str, reason: str, at_us: int) -> None:
        """End an open case. Raises CaseError for one that is not there, or was decided already."""
        values = {":open": OPEN, ":decision": decision, ":by": by, ":reason": reason, ":at": at_us}
        try:
            self._table.update_item(
                Key={"case_id": case_id},
                ConditionExpression="#state = :open",
                UpdateExpression="SET #state = :decision, decided_by = :by, reason = :reason, decided_us = :at",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues=values,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            state = _refused_item(error).get("state", {}).get("S")
            problem = f"was {state} already" if state else "does not exist"
            raise CaseError(f"case {case_id} {problem}; only an open case is decided") from None
        record = {"decision": decision, "by": by, "reason": reason, "at_us": at_us}
        self._keep(f"cases/{case_id}/decision.json", json.dumps(record).encode())

    def _keep(self, key: str, body: bytes) -> None:
        """Write an object once; what is there already is the same."""
        try:
            self._evidence.put_object(Key=key, Body=body, ContentType="application/json", IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"PreconditionFailed", "ConditionalRequestConflict"}:
                raise


def _refused_item(error: ClientError) -> dict[str, Any]:
    """Return the item on which a condition failed, in DynamoDB's notation. Raises any other error again."""
    if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
        raise error
    response: Any = error.response
    item: dict[str, Any] = response.get("Item", {})
    return item
