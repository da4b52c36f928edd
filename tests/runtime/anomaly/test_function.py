"""The function: records of the stream in, findings in the queue out, nothing twice, and a model that may be silent."""

import base64
import io
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from moto import mock_aws

from runtime.anomaly import handler
from runtime.anomaly.scorer import LEARNED
from runtime.shared.functions import metrics
from runtime.shared.trade_records import TradeRecord, encode_batch
from runtime.surveillance.findings import Finding, decode_finding
from tests.runtime.anomaly.test_scores import at, ordinary

CONTEXT: Any = SimpleNamespace(function_name="f", memory_limit_in_mb=1, invoked_function_arn="a", aws_request_id="r")


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Everything that the function is given; yield the queue's address."""
    with mock_aws():
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("dynamodb").create_table(
            TableName="minutes",
            KeySchema=[{"AttributeName": "market", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "market", "AttributeType": "N"}],
            BillingMode="PAY_PER_REQUEST",
        )
        url = boto3.client("sqs").create_queue(QueueName="findings")["QueueUrl"]
        for name, value in (("MEMORY_TABLE", "minutes"), ("FINDING_QUEUE", url), ("ENDPOINT", "")):
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(metrics.provider, "namespace", "Test")
        caches = (handler._memories, handler._queue, handler._models)
        for cached in caches:
            cached.cache_clear()
        yield url
        for cached in caches:
            cached.cache_clear()


def delivery(trades: list[TradeRecord], by: int = 300) -> dict[str, Any]:
    return {
        "Records": [
            {
                "kinesis": {
                    "sequenceNumber": str(start),
                    "data": base64.b64encode(encode_batch("main", trades[start : start + by])).decode(),
                }
            }
            for start in range(0, len(trades), by)
        ]
    }


def told(url: str) -> list[Finding]:
    found = []
    while messages := boto3.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += [decode_finding(message["Body"]) for message in messages]
    return found


def with_burst() -> list[TradeRecord]:
    """A history, a minute unlike it, and one trade of the minute after."""
    day = ordinary(LEARNED + 1)
    first, minute = len(day) + 1, LEARNED + 1
    burst = [at(first + n, minute, 100_000 + 300 * n, 4_000) for n in range(20)]
    return [*day, *burst, at(first + 20, minute + 1)]


def test_a_minute_that_stands_out_is_told_in_the_queue_and_no_delivery_tells_it_again(queue: str) -> None:
    event = delivery(with_burst())
    assert handler.follow(event, CONTEXT) == {"batchItemFailures": []}
    (finding,) = told(queue)
    assert (finding.kind, finding.figures["lots"]) == ("anomaly", 80_000)
    assert handler.follow(event, CONTEXT) == {"batchItemFailures": []}
    assert told(queue) == []


def test_a_record_that_was_cut_off_is_told_again_under_the_same_name(
    queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    *before, last = delivery(with_burst())["Records"]
    handler.follow({"Records": before}, CONTEXT)
    memories = handler._memories()
    with monkeypatch.context() as patch:
        patch.setattr(memories, "save", lambda *_: (_ for _ in ()).throw(ConnectionError("the table is away")))
        failed = handler.follow({"Records": [last]}, CONTEXT)
    assert failed == {"batchItemFailures": [{"itemIdentifier": last["kinesis"]["sequenceNumber"]}]}
    (first,) = told(queue)
    handler.follow({"Records": [last]}, CONTEXT)
    (second,) = told(queue)
    assert first.finding_id == second.finding_id


def test_a_record_of_another_schema_is_reported_and_what_comes_after_waits(queue: str) -> None:
    event = delivery([at(1, 0), at(2, 0), at(3, 0)], by=1)
    data = base64.b64decode(event["Records"][1]["kinesis"]["data"]).replace(b"bursa.trades.1", b"bursa.trades.9")
    event["Records"][1]["kinesis"]["data"] = base64.b64encode(data).decode()
    assert handler.follow(event, CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert handler._memories().load(1).last_trade_id == 1
    assert told(queue) == []


class Model:
    """An endpoint that gives `answer`, or fails."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []

    def invoke_endpoint(self, *, EndpointName: str, ContentType: str, Body: bytes) -> Any:  # noqa: N803 - boto3's
        assert (EndpointName, ContentType) == ("model", "application/json")
        self.asked.append(json.loads(Body))
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"Body": io.BytesIO(self.answer)}


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        (b'{"value": 50000, "feature": "span"}', 2),  # two minutes ended after what is usual was learned
        (b'{"value": 1, "feature": "span"}', 0),
        (b'{"value": -1, "feature": "span"}', 1),  # no score: the baseline's own counts
        (b'{"value": 1, "feature": "gossip"}', 1),
        (b"busy", 1),
        (EndpointConnectionError(endpoint_url="https://model"), 1),
    ],
)
def test_the_models_score_counts_and_a_silent_model_costs_nothing(
    queue: str, monkeypatch: pytest.MonkeyPatch, answer: Any, count: int
) -> None:
    model = Model(answer)
    monkeypatch.setenv("ENDPOINT", "model")
    monkeypatch.setattr(handler, "_models", lambda: model)
    assert handler.follow(delivery(with_burst()), CONTEXT) == {"batchItemFailures": []}
    assert [(asked["market"], len(asked["features"])) for asked in model.asked] == [(1, 5), (1, 5)]
    assert len(told(queue)) == count
