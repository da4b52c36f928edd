"""Event source mappings: from a queue, a Kinesis stream or a table's stream to a function, as the template declares."""

import base64
import json
import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from moto.events.models import EventPattern

from local.callers import Caller
from local.cloud import Cloud
from local.delivery import batches, peek
from local.delivery.functions import Function, function_name
from local.delivery.runner import Outcome, Runner, ThrottledError
from local.delivery.targets import DeliveryError, Targets
from local.deploy import Deployment, Resource
from local.resolve import Json

SLOT_WAIT_S: Final = 30.0
RECEIVED_MAX: Final = 10
"""Messages that one request receives."""
BACKOFF_FIRST_S: Final = 0.2
BACKOFF_MAX_S: Final = 10.0
logger = logging.getLogger(__name__)


class MappingError(ValueError):
    """A mapping asks for something that is not carried out here."""


class Source(Protocol):
    """Something that may have work. The dispatcher never runs one source twice at a time."""

    label: str

    def has_work(self) -> bool:
        """Return whether `step` would do something now. Looks only, and quickly."""

    def step(self) -> None:
        """Do one piece of work."""


@dataclass(slots=True)
class Settings:
    """One mapping, as the template declares it."""

    function: Function
    arn: str
    size: int
    window_s: float
    reports: bool
    bisects: bool
    retries_max: int
    age_s_max: float
    on_failure: str
    filters: list[EventPattern]
    from_start: bool

    @property
    def region(self) -> str:
        """The region of the source."""
        return self.arn.split(":")[3]


def declared(
    deployment: Deployment,
    functions: Mapping[tuple[str, str], Function],
    runner: Runner,
    targets: Targets,
    cloud: Cloud,
) -> list[Source]:
    """Return a source for each queue and shard that an enabled mapping names. Raises MappingError."""
    sources: list[Source] = []
    for mapping in deployment.of_type("AWS::Lambda::EventSourceMapping"):
        if mapping.wanted.properties.get("Enabled") is False:
            continue
        settings = _settings(mapping, functions)
        if ":sqs:" in settings.arn:
            sources.append(Queue(settings, runner, cloud))
        else:
            shards = peek.shards(settings.arn)
            sources += [Shard(settings, shard, runner, targets, cloud) for shard in shards]
    return sources


def _settings(mapping: Resource, functions: Mapping[tuple[str, str], Function]) -> Settings:
    given = mapping.wanted.properties
    arn = given["EventSourceArn"]
    service = arn.split(":")[2]
    if service not in {"sqs", "kinesis", "dynamodb"}:
        raise MappingError(f"{mapping.wanted.path}: events of {service} are not delivered here")
    if given.get("TumblingWindowInSeconds"):
        raise MappingError(f"{mapping.wanted.path}: tumbling windows are not carried out here")
    if given.get("StartingPosition") == "AT_TIMESTAMP":
        raise MappingError(f"{mapping.wanted.path}: a mapping starts at TRIM_HORIZON or LATEST here, not at a time")
    age = given.get("MaximumRecordAgeInSeconds", -1)
    retries = given.get("MaximumRetryAttempts", -1)
    filters = [json.loads(each["Pattern"]) for each in given.get("FilterCriteria", {}).get("Filters", [])]
    return Settings(
        function=functions[mapping.wanted.region, function_name(given["FunctionName"])],
        arn=arn,
        size=int(given.get("BatchSize", 10 if service == "sqs" else 100)),
        window_s=float(given.get("MaximumBatchingWindowInSeconds", 0)),
        reports=batches.REPORTS_FAILURES in given.get("FunctionResponseTypes", []),
        bisects=bool(given.get("BisectBatchOnFunctionError")),
        retries_max=retries if retries >= 0 else 10_000,
        age_s_max=float(age) if age >= 0 else float("inf"),
        on_failure=given.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination", ""),
        filters=[EventPattern(json.dumps(pattern), pattern) for pattern in filters],
        from_start=given.get("StartingPosition") != "LATEST",
    )


class _Window:
    """Lets a batch gather for as long as its mapping says."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._since = 0.0

    def is_due(self, count: int) -> bool:
        """Return whether `count` waiting records are to be handed on now."""
        if count == 0:
            self._since = 0.0
            return False
        now = time.monotonic()
        self._since = self._since or now
        return count >= self._settings.size or now - self._since >= self._settings.window_s


class Queue:
    """A queue and its function."""

    def __init__(self, settings: Settings, runner: Runner, cloud: Cloud) -> None:
        """Receive as the function's role."""
        self.label = f"{settings.arn.rpartition(':')[2]} > {settings.function.label}"
        self._settings = settings
        self._runner = runner
        self._sqs = cloud.client("sqs", settings.region, Caller(role=settings.function.role))
        self._url = f"{cloud.url}/{cloud.account}/{settings.arn.rpartition(':')[2]}"
        self._window = _Window(settings)

    def has_work(self) -> bool:
        """Return whether a batch is due."""
        return self._window.is_due(peek.waiting(self._settings.arn))

    def step(self) -> None:
        """Hand one batch on; delete what was handled, leave the rest to become visible again."""
        messages = self._received()
        records = [_queue_record(message, self._settings.arn) for message in messages]
        wanted = [place for place, record in enumerate(records) if _passes(self._settings, record, "body")]
        dropped = [messages[place] for place in set(range(len(messages))) - set(wanted)]
        self._delete(dropped)
        if not wanted:
            return
        batch = [records[place] for place in wanted]
        try:
            outcome = self._runner.invoke(self._settings.function, {"Records": batch}, wait_s=SLOT_WAIT_S)
        except ThrottledError:
            return
        if not outcome.is_success:
            return
        ids = [record["messageId"] for record in batch]
        failed = set(batches.failed(outcome.value, ids, reports=self._settings.reports))
        self._delete([messages[place] for number, place in enumerate(wanted) if number not in failed])

    def _received(self) -> list[Json]:
        messages: list[Json] = []
        while len(messages) < self._settings.size:
            told = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=min(RECEIVED_MAX, self._settings.size - len(messages)),
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            ).get("Messages", [])
            messages += told
            if not told:
                break
        return messages

    def _delete(self, messages: list[Json]) -> None:
        for first in range(0, len(messages), RECEIVED_MAX):
            entries = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages[first : first + RECEIVED_MAX])
            ]
            self._sqs.delete_message_batch(QueueUrl=self._url, Entries=entries)


@dataclass(slots=True)
class _Batch:
    records: list[dict[str, Any]]
    retries: int = 0


class Shard:
    """One shard of a stream and its function: in order, one batch at a time, a failing one bounded."""

    def __init__(self, settings: Settings, shard: str, runner: Runner, targets: Targets, cloud: Cloud) -> None:
        """Begin where the mapping says."""
        self.label = f"{settings.arn.partition('/')[2]} {shard[-4:]} > {settings.function.label}"
        self._settings = settings
        self._shard = shard
        self._runner = runner
        self._targets = targets
        self._is_table = ":dynamodb:" in settings.arn
        service = "dynamodbstreams" if self._is_table else "kinesis"
        self._client = cloud.client(service, settings.region, Caller(role=settings.function.role))
        self._iterator = ""
        self._read_to = 0 if settings.from_start else peek.last_number(settings.arn, shard)
        self._batches: deque[_Batch] = deque()
        self._not_before = 0.0
        self._window = _Window(settings)

    def has_work(self) -> bool:
        """Return whether a batch is due, or one is to be tried again."""
        if self._batches:
            return time.monotonic() >= self._not_before
        return self._window.is_due(max(0, peek.last_number(self._settings.arn, self._shard) - self._read_to))

    def step(self) -> None:
        """Hand one batch on, new or once more."""
        if not self._batches:
            records = self._read()
            wanted = [record for record in records if _passes(self._settings, record, "data")]
            if not wanted:
                return
            self._batches.append(_Batch(wanted))
        batch = self._batches[0]
        try:
            outcome = self._runner.invoke(self._settings.function, {"Records": batch.records}, wait_s=SLOT_WAIT_S)
        except ThrottledError:
            self._not_before = time.monotonic() + BACKOFF_FIRST_S
            return
        self._settle(batch, outcome)

    def _settle(self, batch: _Batch, outcome: Outcome) -> None:
        self._batches.popleft()
        settings = self._settings
        rest = batch.records
        if outcome.is_success:
            ids = [_sequence_number(record) for record in batch.records]
            failed = batches.failed(outcome.value, ids, reports=settings.reports)
            if not failed:
                return
            rest = batch.records[failed[0] :]  # what comes before the first failure is done
        is_whole = len(rest) == len(batch.records)
        if settings.bisects and is_whole and len(rest) > 1:
            middle = len(rest) // 2  # cutting in two is no retry
            self._batches.extendleft([_Batch(rest[middle:], batch.retries), _Batch(rest[:middle], batch.retries)])
        elif batch.retries >= settings.retries_max or _age_s(rest[0]) > settings.age_s_max:
            self._give_up(_Batch(rest, batch.retries))
        else:
            self._batches.appendleft(_Batch(rest, batch.retries + 1 if is_whole else 0))
        self._not_before = time.monotonic() + min(BACKOFF_FIRST_S * 2**batch.retries, BACKOFF_MAX_S)

    def _give_up(self, batch: _Batch) -> None:
        """Go on behind a batch that cannot be handled; tell where it lies."""
        settings = self._settings
        is_old = _age_s(batch.records[0]) > settings.age_s_max
        logger.warning("%s: gave up %d records", self.label, len(batch.records))
        if not settings.on_failure:
            return
        times = [_arrival(record) for record in batch.records]
        record = {
            "requestContext": {
                "functionArn": settings.function.arn,
                "condition": "RecordAgeExceeded" if is_old else "RetryAttemptsExhausted",
                "approximateInvokeCount": batch.retries + 1,
            },
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            "version": "1.0",
            "timestamp": _iso(time.time()),
            "DDBStreamBatchInfo" if self._is_table else "KinesisBatchInfo": {
                "shardId": self._shard,
                "startSequenceNumber": _sequence_number(batch.records[0]),
                "endSequenceNumber": _sequence_number(batch.records[-1]),
                "approximateArrivalOfFirstRecord": _iso(times[0]),
                "approximateArrivalOfLastRecord": _iso(times[-1]),
                "batchSize": len(batch.records),
                "streamArn": settings.arn,
            },
        }
        try:
            self._targets.deliver(settings.on_failure, json.dumps(record), Caller(role=settings.function.role))
        except DeliveryError as error:
            logger.error("%s: %s does not take a failed batch: %s", self.label, settings.on_failure, error)  # noqa: TRY400 - expected

    def _read(self) -> list[dict[str, Any]]:
        if not self._iterator:
            where = {"ShardIteratorType": "TRIM_HORIZON"}
            if self._read_to:
                where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER"}
                where["SequenceNumber" if self._is_table else "StartingSequenceNumber"] = str(self._read_to)
            # By name: an iterator that moto makes of an ARN leads nowhere.
            name = {"StreamName": self._settings.arn.rpartition("/")[2]}
            stream = {"StreamArn": self._settings.arn} if self._is_table else name
            self._iterator = self._client.get_shard_iterator(ShardId=self._shard, **stream, **where)["ShardIterator"]
        iterator, self._iterator = self._iterator, ""  # taken anew after an error
        told = self._client.get_records(ShardIterator=iterator, Limit=self._settings.size)
        form = _table_record if self._is_table else _stream_record
        records = [form(record, self._settings, self._shard) for record in told["Records"]]
        if records:
            self._read_to = int(_sequence_number(records[-1]))
        else:
            self._read_to = peek.last_number(self._settings.arn, self._shard)
        self._iterator = told.get("NextShardIterator", "")
        return records


def _queue_record(message: Json, arn: str) -> dict[str, Any]:
    attributes = {
        name: {
            "dataType": value["DataType"],
            **({"stringValue": value["StringValue"]} if "StringValue" in value else {}),
            **({"binaryValue": _base64(value["BinaryValue"])} if "BinaryValue" in value else {}),
        }
        for name, value in message.get("MessageAttributes", {}).items()
    }
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": attributes,
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": arn.split(":")[3],
    }


def _stream_record(record: Json, settings: Settings, shard: str) -> dict[str, Any]:
    number = record["SequenceNumber"]
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record["PartitionKey"],
            "sequenceNumber": number,
            "data": _base64(record["Data"]),
            "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard}:{number}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": settings.function.role,
        "awsRegion": settings.region,
        "eventSourceARN": settings.arn,
    }


def _table_record(record: Json, settings: Settings, _shard: str) -> dict[str, Any]:
    change: dict[str, Any] = _plain(record["dynamodb"])
    return {
        "eventID": record["eventID"],
        "eventName": record["eventName"],
        "eventVersion": record["eventVersion"],
        "eventSource": "aws:dynamodb",
        "awsRegion": settings.region,
        "dynamodb": change,
        "eventSourceARN": settings.arn,
    }


def _plain(value: Json) -> Json:
    """Return a change as JSON holds it: times as seconds, bytes as base64."""
    match value:
        case datetime():
            return value.timestamp()
        case bytes():
            return _base64(value)
        case dict():
            return {key: _plain(inner) for key, inner in value.items()}
        case list():
            return [_plain(inner) for inner in value]
        case set() | frozenset():
            return sorted(_plain(inner) for inner in value)
    return value


def _passes(settings: Settings, record: Mapping[str, Any], payload: str) -> bool:
    """Return whether a record passes the mapping's filters: any of them, or none given."""
    if not settings.filters:
        return True
    seen = dict(record)
    if payload == "body":
        seen["body"] = _decoded(record["body"])
    elif "kinesis" in record:
        seen = {**record["kinesis"], "data": _decoded(base64.b64decode(record["kinesis"]["data"]))}
    return any(pattern.matches_event(seen) for pattern in settings.filters)  # type: ignore[arg-type]


def _decoded(payload: str | bytes) -> Json:
    try:
        return json.loads(payload)
    except ValueError:
        return payload if isinstance(payload, str) else payload.decode(errors="replace")


def _sequence_number(record: Mapping[str, Any]) -> str:
    return str(record["kinesis"]["sequenceNumber"] if "kinesis" in record else record["dynamodb"]["SequenceNumber"])


def _arrival(record: Mapping[str, Any]) -> float:
    if "kinesis" in record:
        return float(record["kinesis"]["approximateArrivalTimestamp"])
    return float(record["dynamodb"]["ApproximateCreationDateTime"])


def _age_s(record: Mapping[str, Any]) -> float:
    return time.time() - _arrival(record)


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
