"""A decision is written once, the sanctions list must be fresh, and a changed password stops withdrawals."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws
from pydantic import ValidationError

from runtime.onboarding import handler
from runtime.onboarding.applications import LIST_KEY, Application, Applications, StaleListError, UnknownApplicationError
from runtime.onboarding.decisions import WITHDRAWAL_LOCK_US, Decision
from runtime.onboarding.steps import Desk, UnknownStepError

NAME = "a" * 32
APPROVED = Decision(decision="approved", tier="standard")
REFUSED = Decision(decision="refused", reasons=("under-age",))
APPLICATION = Application(
    application_id=NAME,
    user="u",
    full_name="Budi",
    birth_date="1990-05-17",  # type: ignore[arg-type]
    country="ID",
)


@pytest.fixture
def applications() -> Iterator[Applications]:
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_DEFAULT_REGION", "ap-southeast-3")
        for table, attribute, kind in (("applications", "application_id", "S"), ("locks", "account_id", "N")):
            boto3.client("dynamodb").create_table(
                TableName=table,
                KeySchema=[{"AttributeName": attribute, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": attribute, "AttributeType": kind}],
                BillingMode="PAY_PER_REQUEST",
            )
        boto3.client("s3").create_bucket(
            Bucket="kyc", CreateBucketConfiguration={"LocationConstraint": "ap-southeast-3"}
        )
        made = Applications("applications", "kyc")
        made.add(APPLICATION)
        yield made


def test_the_first_decision_counts(applications: Applications) -> None:
    assert applications.decided(NAME, REFUSED) == REFUSED
    assert applications.decided(NAME, APPROVED) == REFUSED


def test_an_application_is_not_overwritten(applications: Applications) -> None:
    applications.add(APPLICATION.model_copy(update={"full_name": "Another"}))
    assert applications.read(NAME).full_name == "Budi"


def test_what_is_not_there_is_named_and_not_made(applications: Applications) -> None:
    with pytest.raises(UnknownApplicationError, match="no application 'nobody'"):
        applications.read("nobody")
    with pytest.raises(Exception, match="ConditionalCheckFailed"):
        applications.wait("nobody", "token")


def test_a_missing_or_old_list_clears_nobody(applications: Applications) -> None:
    with pytest.raises(StaleListError, match="there is no"):
        applications.sanctions_list(datetime.now(UTC))
    boto3.client("s3").put_object(Bucket="kyc", Key=LIST_KEY, Body=json.dumps([{"name": "Mallory"}]))
    assert [person.name for person in applications.sanctions_list(datetime.now(UTC))] == ["Mallory"]
    with pytest.raises(StaleListError, match="8 days old, at most 7"):
        applications.sanctions_list(datetime.now(UTC) + timedelta(days=8, minutes=1))


def test_an_application_without_a_decision_counts_as_refused(applications: Applications) -> None:
    desk = Desk(applications=applications, events=None, now=datetime.now(UTC))  # type: ignore[arg-type]
    assert desk.decision(NAME).decision == "refused"
    with pytest.raises(UnknownStepError, match="no step 'open-sesame'"):
        desk.do({"step": "open-sesame", "application_id": NAME})


def test_an_error_never_shows_what_the_applicant_gave() -> None:
    with pytest.raises(ValidationError) as error:
        Application.model_validate({"application_id": NAME, "full_name": "Budi", "country": "Budistan"})
    assert "country" in str(error.value)
    assert "Budi" not in str(error.value)


def trigger(source: str, account: str | None) -> dict[str, Any]:
    attributes = {"custom:account_id": account} if account else {}
    return {"triggerSource": source, "request": {"userAttributes": attributes}}


@pytest.mark.usefixtures("applications")
def test_a_replaced_password_stops_withdrawals_for_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[Any] = []
    monkeypatch.setenv("LOCK_TABLE", "locks")
    monkeypatch.setattr(handler, "_events", type("Bus", (), {"publish": lambda _, event: published.append(event)}))
    handler._dynamodb.cache_clear()
    context: Any = None
    forgotten = trigger("PostConfirmation_ConfirmForgotPassword", "7")
    assert handler.credentials_changed(forgotten, context) == forgotten
    handler.credentials_changed(trigger("PostConfirmation_ConfirmSignUp", "8"), context)
    handler.credentials_changed(trigger("PostConfirmation_ConfirmForgotPassword", None), context)
    (item,) = boto3.client("dynamodb").scan(TableName="locks")["Items"]
    (event,) = published
    assert (item["account_id"]["N"], event.account_id) == ("7", 7)
    assert int(item["locked_until_us"]["N"]) == event.locked_until_us == event.at_us + WITHDRAWAL_LOCK_US
    handler._dynamodb.cache_clear()
