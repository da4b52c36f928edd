"""A customer hears once of what happened; nobody else's event, and no personal data, gets through."""

import io
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from aws_lambda_powertools import Logger
from moto import mock_aws

from runtime.notifications import handler
from runtime.notifications.notices import TOLD, notice_for
from runtime.shared import functions
from runtime.shared.business_events import AccountOpened, KycDecided, WithdrawalRequested


class Context:
    """The part of Lambda's context that matters here."""

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


CONTEXT: Any = Context()
OPENED = AccountOpened(event_id="account/7", at_us=1, account_id=7, tier="standard")
WANTED = WithdrawalRequested(event_id="w/1", at_us=1, withdrawal_id="w1", account_id=7, asset="BTC", amount="12345")


@pytest.fixture
def inbox() -> Iterator[Any]:
    """A queue that hears the customers' topic."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_DEFAULT_REGION", "ap-southeast-3")
        patch.setenv("IDEMPOTENCY_TABLE", "memory")
        boto3.client("dynamodb").create_table(
            TableName="memory",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        topic = boto3.client("sns").create_topic(Name="notices")["TopicArn"]
        patch.setenv("NOTICE_TOPIC_ARN", topic)
        queue = boto3.resource("sqs").create_queue(QueueName="inbox")
        boto3.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.attributes["QueueArn"])
        functions._memory.cache_clear()
        handler._topic.cache_clear()
        yield queue
        functions._memory.cache_clear()
        handler._topic.cache_clear()


def envelope(event: Any) -> dict[str, Any]:
    return {"source": event.source, "detail-type": event.detail_type, "detail": json.loads(event.model_dump_json())}


def received(queue: Any) -> list[dict[str, Any]]:
    return [json.loads(message.body) for message in queue.receive_messages(MaxNumberOfMessages=10)]


def test_an_event_delivered_twice_is_told_once(inbox: Any) -> None:
    handler.handle(envelope(OPENED), CONTEXT)
    handler.handle(envelope(OPENED), CONTEXT)
    handler.handle(envelope(WANTED), CONTEXT)
    messages = received(inbox)
    assert [message["MessageAttributes"]["kind"]["Value"] for message in messages] == [
        "account.opened",
        "withdrawal.requested",
    ]
    assert {message["MessageAttributes"]["account_id"]["Value"] for message in messages} == {"7"}


def test_a_topic_that_refuses_leads_to_another_attempt(inbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = handler.os.environ["NOTICE_TOPIC_ARN"]
    monkeypatch.setenv("NOTICE_TOPIC_ARN", topic + "-gone")
    with pytest.raises(Exception, match="NotFound"):
        handler.handle(envelope(OPENED), CONTEXT)
    monkeypatch.setenv("NOTICE_TOPIC_ARN", topic)
    handler.handle(envelope(OPENED), CONTEXT)
    assert len(received(inbox)) == 1


def test_a_notice_holds_no_amount_and_fits_its_topic() -> None:
    assert "12345" not in str(notice_for(WANTED))
    for kind in TOLD:
        notice = notice_for(kind.model_construct(account_id=7))
        assert notice.subject.isascii()
        assert len(notice.subject) < 100  # what SNS takes


def test_an_event_that_concerns_no_account_is_no_notice() -> None:
    with pytest.raises(KeyError):
        notice_for(KycDecided(event_id="k", at_us=1, application_id="a", decision="refused"))


@pytest.mark.usefixtures("inbox")
def test_the_log_holds_ids_only(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = io.StringIO()
    monkeypatch.setattr(handler, "logger", Logger(service="notifications", stream=lines))
    handler.handle(envelope(WANTED), CONTEXT)
    assert "w/1" in lines.getvalue()
    assert "12345" not in lines.getvalue()
