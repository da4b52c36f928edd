"""From streams to buckets, as Firehose does: records of a shard gather for a while, then lie in one object."""

import gzip
import logging
import re
import time
import uuid
from datetime import UTC, datetime
from typing import Final

from local.callers import Caller
from local.cloud import Cloud
from local.delivery import peek
from local.delivery.functions import label
from local.delivery.mappings import Source
from local.deploy import Deployment, Resource

RECORDS_MAX: Final = 500
WINDOW_S_MAX: Final = 5.0
"""Firehose gathers for minutes; a person at a screen waits less."""
_TIMESTAMP: Final = re.compile(r"!\{timestamp:([^}]+)\}")
_OTHER: Final = re.compile(r"!\{(?!timestamp:)([^}]+)\}")
_JAVA: Final = (("yyyy", "%Y"), ("MM", "%m"), ("dd", "%d"), ("HH", "%H"), ("mm", "%M"), ("ss", "%S"))
logger = logging.getLogger(__name__)


class LakeError(ValueError):
    """A delivery stream asks for something that is not carried out here."""


def declared(deployment: Deployment, cloud: Cloud) -> list[Source]:
    """Return a source for each shard that a delivery stream follows."""
    return [
        ShardToBucket(stream, shard, cloud)
        for stream in deployment.of_type("AWS::KinesisFirehose::DeliveryStream")
        if "KinesisStreamSourceConfiguration" in stream.wanted.properties
        for shard in peek.shards(_source_arn(stream))
    ]


def _source_arn(stream: Resource) -> str:
    return str(stream.wanted.properties["KinesisStreamSourceConfiguration"]["KinesisStreamARN"])


class ShardToBucket:
    """One shard that a delivery stream follows."""

    def __init__(self, stream: Resource, shard: str, cloud: Cloud) -> None:
        """Read and write as the roles that the delivery stream names. Raises LakeError."""
        given = stream.wanted.properties
        source = given["KinesisStreamSourceConfiguration"]
        bucket = given["ExtendedS3DestinationConfiguration"]
        self.label = f"{label(stream)} {shard[-4:]}"
        self._arn = source["KinesisStreamARN"]
        self._shard = shard
        self._kinesis = cloud.client("kinesis", self._arn.split(":")[3], Caller(role=source["RoleARN"]))
        self._s3 = cloud.client("s3", stream.wanted.region, Caller(role=bucket["RoleARN"]))
        self._bucket = bucket["BucketARN"].rpartition(":")[2]
        self._prefix = bucket.get("Prefix", "")
        if unknown := _OTHER.search(self._prefix):
            raise LakeError(f"{stream.wanted.path}: no rule for {unknown[0]} in the prefix {self._prefix!r}")
        self._name = stream.placed.ref
        self._is_zipped = bucket.get("CompressionFormat") == "GZIP"
        self._window_s = min(float(bucket.get("BufferingHints", {}).get("IntervalInSeconds", 300)), WINDOW_S_MAX)
        self._delimiter = b"\n" if _appends_delimiter(bucket) else b""
        self._read_to = 0
        self._since = 0.0

    def has_work(self) -> bool:
        """Return whether records have gathered for long enough."""
        count = peek.last_number(self._arn, self._shard) - self._read_to
        if count <= 0:
            self._since = 0.0
            return False
        self._since = self._since or time.monotonic()
        return count >= RECORDS_MAX or time.monotonic() - self._since >= self._window_s

    def step(self) -> None:
        """Write what has gathered."""
        where = {"ShardIteratorType": "TRIM_HORIZON"}
        if self._read_to:
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": str(self._read_to)}
        name = self._arn.rpartition("/")[2]  # an iterator that moto makes of an ARN leads nowhere
        iterator = self._kinesis.get_shard_iterator(StreamName=name, ShardId=self._shard, **where)["ShardIterator"]
        records = self._kinesis.get_records(ShardIterator=iterator, Limit=RECORDS_MAX)["Records"]
        if not records:
            return
        content = b"".join(record["Data"] + self._delimiter for record in records)
        self._s3.put_object(
            Bucket=self._bucket,
            Key=object_key(self._prefix, self._name, datetime.now(UTC)) + ".gz" * self._is_zipped,
            Body=gzip.compress(content) if self._is_zipped else content,
        )
        self._read_to = int(records[-1]["SequenceNumber"])
        self._since = 0.0


def object_key(prefix: str, name: str, moment: datetime) -> str:
    """Return the key of an object written at `moment`; a prefix without a time gets one, as Firehose adds it."""
    folder = _TIMESTAMP.sub(lambda found: moment.strftime(_strftime(found[1])), prefix)
    if folder == prefix:
        folder = f"{prefix}{moment:%Y/%m/%d/%H/}"
    return f"{folder}{name}-1-{moment:%Y-%m-%d-%H-%M-%S}-{uuid.uuid4()}"


def _strftime(java: str) -> str:
    for ours, theirs in _JAVA:
        java = java.replace(ours, theirs)
    return java.replace("'", "")


def _appends_delimiter(bucket: dict[str, object]) -> bool:
    return "AppendDelimiterToRecord" in str(bucket.get("ProcessingConfiguration", ""))
