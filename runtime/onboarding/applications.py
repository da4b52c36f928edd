"""Applications as they are stored: one item each, whose decision is written once and never changed."""

import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Final

import boto3
from botocore.exceptions import ClientError
from pydantic import BaseModel, ConfigDict, Field

from runtime.onboarding.decisions import Applicant, Decision, Listed

LIST_KEY: Final = "sanctions/list.json"
LIST_AGE_DAYS_MAX: Final = 7
_TAKEN: Final = "ConditionalCheckFailedException"


class UnknownApplicationError(LookupError):
    """There is no application of this id."""


class StaleListError(RuntimeError):
    """The sanctions list is missing or too old to say that somebody is not on it."""


class Application(BaseModel):
    """What an applicant gave. Personal data: it never leaves the table but to the checks of its own application."""

    # Errors end up in logs: they name fields, not what the applicant gave.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    application_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    user: Annotated[str, Field(min_length=1, max_length=128)]
    """Subject of the customer in the user pool."""
    full_name: Annotated[str, Field(min_length=1, max_length=200)]
    birth_date: date
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
    disclosure_version: str = ""

    @property
    def applicant(self) -> Applicant:
        """What decisions look at."""
        return Applicant(
            full_name=self.full_name,
            birth_date=self.birth_date,
            country=self.country,
            disclosure_version=self.disclosure_version,
        )


class Applications:
    """The table of applications and the sanctions list they are held against."""

    def __init__(self, table: str, bucket: str, *, dynamodb: Any = None, s3: Any = None) -> None:  # noqa: ANN401 - boto3's
        """Use table and bucket of these names."""
        self._table = (dynamodb or boto3.resource("dynamodb")).Table(table)
        self._bucket = bucket
        self._s3 = s3 or boto3.client("s3")

    def add(self, application: Application) -> None:
        """Store a new application; one that is there already stays as it is."""
        try:
            self._table.put_item(
                Item=application.model_dump(mode="json"), ConditionExpression="attribute_not_exists(application_id)"
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != _TAKEN:
                raise

    def read(self, application_id: str) -> Application:
        """Return an application. Raises UnknownApplicationError."""
        return Application.model_validate(self._item(application_id))

    def wait(self, application_id: str, token: str) -> None:
        """Keep the token of the execution that waits for the KYC partner's answer. The last one counts."""
        self._update(application_id, "SET task_token = :value", token)

    def token(self, application_id: str) -> str | None:
        """Return the token of the execution that waits, or None where none does."""
        token = self._item(application_id).get("task_token")
        return str(token) if token else None

    def decided(self, application_id: str, decision: Decision) -> Decision:
        """Write the decision unless there is one; return the one that counts, which is the first."""
        record = json.dumps({"decision": decision.decision, "tier": decision.tier, "reasons": decision.reasons})
        try:
            self._update(application_id, "SET outcome = :value", record, " AND attribute_not_exists(outcome)")
        except ClientError as error:
            if error.response["Error"]["Code"] != _TAKEN:
                raise
            kept: Mapping[str, Any] = json.loads(str(self._item(application_id)["outcome"]))
            return Decision(decision=kept["decision"], tier=kept["tier"], reasons=tuple(kept["reasons"]))
        return decision

    def opened(self, application_id: str, account_id: int) -> None:
        """Note the account that the application led to."""
        self._update(application_id, "SET account_id = :value", account_id)

    def sanctions_list(self, now: datetime) -> list[Listed]:
        """Return the list in force. Raises StaleListError when there is none or it was not renewed in time."""
        try:
            stored = self._s3.get_object(Bucket=self._bucket, Key=LIST_KEY)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"NoSuchKey", "AccessDenied"}:
                raise
            raise StaleListError(f"there is no {LIST_KEY}") from None
        age_days = (now - stored["LastModified"]).days
        if age_days > LIST_AGE_DAYS_MAX:
            raise StaleListError(f"{LIST_KEY} is {age_days} days old, at most {LIST_AGE_DAYS_MAX} are allowed")
        return [Listed(name=entry["name"], birth_year=entry.get("birth_year")) for entry in json.load(stored["Body"])]

    def _item(self, application_id: str) -> Mapping[str, Any]:
        found = self._table.get_item(Key={"application_id": application_id}, ConsistentRead=True).get("Item")
        if found is None:
            raise UnknownApplicationError(f"no application {application_id!r}")
        item: Mapping[str, Any] = found
        return item

    def _update(self, application_id: str, change: str, value: object, condition: str = "") -> None:
        self._table.update_item(
            Key={"application_id": application_id},
            UpdateExpression=change,
            ConditionExpression="attribute_exists(application_id)" + condition,
            ExpressionAttributeValues={":value": value},
        )
