"""What functions share: batches that report what failed, work done once, events that are read as they were written."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from pydantic import ValidationError

from runtime.shared import functions
from runtime.shared.business_events import (
    EVENTS,
    AccountOpened,
    EventError,
    EventPublisher,
    KycDecided,
    NotPublishedError,
    read_event,
)


class Context:
    """The part of Lambda's context that matters here."""

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


CONTEXT: Any = Context()
OPENED = AccountOpened(event_id="account/7", at_us=1, account_id=7, tier="standard")


@pytest.fixture
def memory() -> Iterator[Any]:
    """The idempotency table, as the template declares it."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_DEFAULT_REGION", "ap-southeast-3")
        patch.setenv("IDEMPOTENCY_TABLE", "memory")
        table = boto3.resource("dynamodb").create_table(
            TableName="memory",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        functions._memory.cache_clear()
        yield table
        functions._memory.cache_clear()


def test_work_is_done_once_for_a_key_and_its_answer_kept(memory: Any) -> None:
    done: list[str] = []

    def work() -> dict[str, int]:
        done.append("x")
        return {"count": len(done)}

    assert [functions.once(CONTEXT, "notice", "a", work) for _ in range(3)] == [{"count": 1}] * 3
    assert functions.once(CONTEXT, "other", "a", work) == {"count": 2}
    assert functions.once(CONTEXT, "notice", "b", work) == {"count": 3}
    assert memory.scan()["Count"] == 3


def test_work_that_failed_is_tried_again(memory: Any) -> None:
    def fail() -> None:
        raise RuntimeError("not now")

    with pytest.raises(RuntimeError, match="not now"):
        functions.once(CONTEXT, "notice", "a", fail)
    assert functions.once(CONTEXT, "notice", "a", lambda: "done") == "done"
    assert memory.scan()["Count"] == 1


def kinesis(*numbers: str) -> dict[str, Any]:
    return {"Records": [{"kinesis": {"sequenceNumber": number}} for number in numbers]}


def test_a_stream_stops_at_the_first_record_that_fails() -> None:
    seen: list[str] = []

    def handle(record: Any) -> None:
        seen.append(record["kinesis"]["sequenceNumber"])
        if seen[-1] == "2":
            raise ValueError("bad")

    assert functions.each_record(kinesis("1", "2", "3"), handle) == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert seen == ["1", "2"]
    assert functions.each_record(kinesis("4"), handle) == {"batchItemFailures": []}


def test_a_queue_goes_on_after_a_message_that_fails() -> None:
    def handle(record: Any) -> None:
        if record.body == "bad":
            raise ValueError("bad")

    event = {"Records": [{"messageId": str(at), "body": body} for at, body in enumerate(["good", "bad", "good"])]}
    assert functions.each_message(event, handle) == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    failed = functions.each_message({"Records": [{"messageId": "9", "body": "bad"}]}, handle)
    assert failed == {"batchItemFailures": [{"itemIdentifier": "9"}]}


def envelope(event: Any) -> dict[str, Any]:
    return {"source": event.source, "detail-type": event.detail_type, "detail": json.loads(event.model_dump_json())}


def test_an_event_is_read_as_it_was_written() -> None:
    assert read_event(envelope(OPENED)) == OPENED
    newer = envelope(OPENED)
    newer["detail"]["added_later"] = 1
    assert read_event(newer) == OPENED


def test_events_have_names_of_their_own() -> None:
    names = [(event.source, event.detail_type) for event in EVENTS]
    assert len(names) == len(set(names))
    assert all(source.startswith("bursa.") for source, _ in names)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"source": "bursa.nobody"}, "no event 'account.opened' from 'bursa.nobody' in the catalogue"),
        ({"detail": {}}, "account.opened: event_id: Field required"),
        ({"detail": {"event_id": "x", "at_us": 1, "account_id": -1, "tier": "t"}}, "account.opened: account_id: "),
        ({"detail": None}, "account.opened: detail: "),
    ],
)
def test_what_is_not_in_the_catalogue_is_refused_by_name(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(EventError, match=complaint):
        read_event(envelope(OPENED) | change)


def test_an_event_cannot_be_changed_or_made_wrong() -> None:
    with pytest.raises(ValidationError):
        OPENED.account_id = 8  # type: ignore[misc]
    with pytest.raises(ValidationError):
        KycDecided(event_id="k", at_us=1, application_id="a", decision="perhaps")  # type: ignore[arg-type]


def test_a_publisher_puts_the_event_on_its_bus_and_says_when_it_was_not_taken() -> None:
    class Bus:
        def __init__(self, failed: int) -> None:
            self.failed, self.entries = failed, []

        def put_events(self, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803 - boto3's name
            self.entries += Entries
            return {"FailedEntryCount": self.failed, "Entries": [{"ErrorCode": "Throttled"}]}

    bus = Bus(0)
    EventPublisher("main", bus).publish(OPENED)
    (entry,) = bus.entries
    assert (entry["EventBusName"], entry["Source"], entry["DetailType"]) == ("main", "bursa.accounts", "account.opened")
    assert json.loads(entry["Detail"])["account_id"] == 7
    with pytest.raises(NotPublishedError, match=r"account\.opened account/7: Throttled"):
        EventPublisher("main", Bus(1)).publish(OPENED)
