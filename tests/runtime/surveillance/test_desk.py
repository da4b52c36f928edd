"""From a record of the stream to a case: opened once, told of once, however often it is delivered or cut off."""

import base64
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from runtime.shared.business_events import CaseOpened, PriceNotice
from runtime.shared.case_states import cases_reported
from runtime.shared.functions import metrics
from runtime.shared.market_memory import MemoryMovedError
from runtime.shared.trade_records import TradeRecord, encode_batch
from runtime.surveillance import handler
from runtime.surveillance.cases import CaseError
from runtime.surveillance.findings import encode_finding
from tests.runtime.surveillance.test_detectors import trade, watched

CONTEXT: Any = SimpleNamespace(function_name="f", memory_limit_in_mb=1, invoked_function_arn="a", aws_request_id="r")


class Bus:
    """Hears what is published; fails as often as it is told to."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.failures = 0

    def publish(self, event: Any) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the bus is away")
        self.heard.append(event)

    def cases(self) -> list[CaseOpened]:
        return [event for event in self.heard if isinstance(event, CaseOpened)]


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    """Everything that the function is given, and the bus it speaks to."""
    bus = Bus()
    with mock_aws():
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        for variable, key, kind in (("CASE", "case_id", "S"), ("OWNER", "account", "N"), ("WATCH", "market", "N")):
            monkeypatch.setenv(f"{variable}_TABLE", variable)
            boto3.client("dynamodb").create_table(
                TableName=variable,
                KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind}],
                BillingMode="PAY_PER_REQUEST",
            )
        monkeypatch.setenv("EVIDENCE_BUCKET", "evidence")
        monkeypatch.setenv("EVENT_BUS", "bus")
        monkeypatch.setattr(metrics.provider, "namespace", "Test")
        boto3.client("s3").create_bucket(Bucket="evidence")
        caches = (handler._publisher, handler._cases, handler._owners, handler._follower)
        for cached in caches:
            cached.cache_clear()
        monkeypatch.setattr(handler, "EventPublisher", lambda _name: bus)
        yield bus
        for cached in caches:
            cached.cache_clear()


def link(*accounts: int) -> None:
    for account in accounts:
        boto3.resource("dynamodb").Table("OWNER").put_item(Item={"account": account, "owner": "anna"})


def delivery(*batches: list[TradeRecord]) -> dict[str, Any]:
    return {
        "Records": [
            {"kinesis": {"sequenceNumber": str(n), "data": base64.b64encode(encode_batch("main", batch)).decode()}}
            for n, batch in enumerate(batches)
        ]
    }


def objects() -> list[str]:
    return [entry.key for entry in boto3.resource("s3").Bucket("evidence").objects.all()]


def test_a_wash_trade_delivered_twice_opens_one_case(bus: Bus) -> None:
    link(1000, 1001)
    event = delivery([trade(1, 0), trade(2, 1, buyer=1000, seller=1001)])
    for _ in range(2):
        assert handler.follow(event, CONTEXT) == {"batchItemFailures": []}
    (case,) = bus.cases()
    assert (case.kind, case.severity, case.account_ids, case.symbol) == ("wash-trade", "high", (1000, 1001), "BTCUSDT")
    (key,) = objects()
    assert case.evidence + key.rpartition("/")[2] == f"s3://evidence/{key}"
    finding = json.loads(boto3.resource("s3").Object("evidence", key).get()["Body"].read())
    assert (finding["trades"], finding["figures"]) == ([2], {"price_ticks": 100_000, "lots": 10})


def test_the_next_wash_trade_of_the_day_adds_evidence_and_no_case(bus: Bus) -> None:
    link(1000, 1001)
    handler.follow(delivery([trade(1, 0, buyer=1000, seller=1001)], [trade(2, 9, buyer=1001, seller=1000)]), CONTEXT)
    assert len(bus.cases()) == 1
    assert len(objects()) == 2


def test_accounts_that_are_not_linked_are_strangers(bus: Bus) -> None:
    link(1000)
    handler.follow(delivery([trade(1, 0, buyer=1000, seller=1001)]), CONTEXT)
    assert bus.heard == []
    assert objects() == []


def test_a_bus_that_is_away_loses_no_case_and_nothing_after_it_is_taken(bus: Bus) -> None:
    event = delivery([trade(1, 0, buyer=1000, seller=1000)], [trade(2, 1)])
    bus.failures = 1
    assert handler.follow(event, CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    assert bus.heard == []
    assert handler.follow(event, CONTEXT) == {"batchItemFailures": []}
    assert len(bus.cases()) == 1


def test_a_record_that_cannot_be_read_comes_back_alone(bus: Bus) -> None:
    event = delivery([trade(1, 0)], [trade(2, 1)])
    event["Records"][1]["kinesis"]["data"] = base64.b64encode(b'{"schema":"other"}').decode()
    assert handler.follow(event, CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert bus.heard == []


def test_a_move_is_told_of_on_the_bus(bus: Bus) -> None:
    handler.follow(delivery([trade(1, 0, 100_000), trade(2, 10, 105_000)]), CONTEXT)
    (notice,) = bus.heard
    assert isinstance(notice, PriceNotice)
    assert (notice.from_ticks, notice.to_ticks, notice.window_s) == (100_000, 105_000, 300)


def test_two_invocations_at_once_do_not_overwrite_each_other(bus: Bus) -> None:
    handler.follow(delivery([trade(1, 0)]), CONTEXT)
    watches = handler._follower()._watches
    stale = watches.load(1)
    handler.follow(delivery([trade(2, 1)]), CONTEXT)
    stale.last_trade_id = 3
    with pytest.raises(MemoryMovedError, match="market 1 is no longer at trade 1"):
        watches.save(stale, 1)
    assert bus.heard == []


def test_a_case_is_decided_once_by_a_person_with_a_reason(bus: Bus) -> None:
    handler.follow(delivery([trade(1, 0, buyer=1000, seller=1000)]), CONTEXT)
    (case,) = bus.cases()
    decision = {"case_id": case.case_id, "decision": "reported", "by": "reviewer-7", "reason": "the same person twice"}
    assert handler.review(decision, CONTEXT)["state"] == "reported"
    with pytest.raises(CaseError, match="was reported already; only an open case is decided"):
        handler.review(decision | {"decision": "dismissed"}, CONTEXT)
    with pytest.raises(CaseError, match="does not exist"):
        handler.review(decision | {"case_id": "none"}, CONTEXT)
    with pytest.raises(ValueError, match="reason"):
        handler.review(decision | {"reason": "no"}, CONTEXT)
    table = boto3.resource("dynamodb").Table("CASE")
    assert [item["case_id"] for item in cases_reported(table, 0, 2**62)] == [case.case_id]
    assert f"cases/{case.case_id}/decision.json" in objects()


def test_a_ring_of_accounts_becomes_one_case(bus: Bus) -> None:
    around = [(3000, 3001), (3001, 3002), (3002, 3000)] * 3
    trades = [trade(n, n, seller=seller, buyer=buyer) for n, (seller, buyer) in enumerate(around, start=1)]
    handler.follow(delivery(trades[:4]), CONTEXT)
    assert bus.cases() == []
    handler.follow(delivery(trades[4:], trades[:4]), CONTEXT)
    (case,) = bus.cases()
    assert (case.kind, case.severity, case.account_ids) == ("account-ring", "high", (3000, 3001, 3002))


def found(*texts: str) -> dict[str, Any]:
    return {"Records": [{"messageId": str(n), "body": text, "attributes": {}} for n, text in enumerate(texts)]}


def test_a_finding_of_the_queue_opens_one_case_and_a_bad_one_comes_again_alone(bus: Bus) -> None:
    """A message of the queue that is delivered twice, and one that is no finding, in one batch."""
    (seen,) = watched([trade(2, 1, buyer=1000, seller=1001)])
    text = encode_finding(seen.findings[0])
    for _ in range(2):
        assert handler.record(found(text, "{}", text), CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    (case,) = bus.cases()
    assert (case.kind, case.account_ids, case.case_id) == ("wash-trade", (1000, 1001), seen.findings[0].case_id)
    assert len(objects()) == 1


def test_the_function_and_another_detector_open_the_same_case(bus: Bus) -> None:
    link(1000, 1001)
    one = trade(1, 0, buyer=1000, seller=1001)
    handler.follow(delivery([one]), CONTEXT)
    (seen,) = watched([one])
    handler.record(found(encode_finding(seen.findings[0])), CONTEXT)
    assert len(bus.cases()) == len(objects()) == 1


def test_a_finding_whose_case_could_not_be_told_comes_again(bus: Bus) -> None:
    (seen,) = watched([trade(2, 1, buyer=1000, seller=1001)])
    event = found(encode_finding(seen.findings[0]))
    bus.failures = 1
    assert handler.record(event, CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    assert handler.record(event, CONTEXT) == {"batchItemFailures": []}
    assert len(bus.cases()) == 1
