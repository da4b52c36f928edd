"""Lambda: `follow` reads the trade stream, `sweep` the ledger every few minutes, `record` what other detectors found.

`review` takes a person's decision.
"""

import base64
import os
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

import boto3
import psycopg
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, ConfigDict, Field

from runtime.shared.business_events import EventPublisher, Identifier
from runtime.shared.functions import BatchAnswer, each_message, each_record, logger, metrics, tracer
from runtime.shared.market_memory import MarketMemory
from runtime.shared.settings import database_conninfo, read_catalogue_parameter
from runtime.shared.trade_records import decode_batch
from runtime.surveillance import desk
from runtime.surveillance.cases import CaseBook, Decision
from runtime.surveillance.desk import Follower
from runtime.surveillance.findings import decode_finding
from runtime.surveillance.owners import Owners
from runtime.surveillance.trades import Watch


class Review(BaseModel):
    """What a reviewer decided about a case."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    case_id: Identifier
    decision: Decision
    by: Identifier
    reason: str = Field(min_length=10, max_length=2000)


@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def follow(event: Mapping[str, Any], _context: LambdaContext) -> BatchAnswer:
    """Observe every trade of a batch of the stream, in order, up to the first record that fails."""
    return each_record(event, _take)


@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def sweep(_event: Mapping[str, Any], _context: LambdaContext) -> None:
    """Look through the orders that were taken back lately."""
    with psycopg.connect(database_conninfo(os.environ["DATABASE_URL"]), autocommit=True) as connection:
        catalogue = read_catalogue_parameter(os.environ["CATALOGUE_PARAMETER"])
        opened = desk.sweep(connection, catalogue, _owners(), _cases())
    logger.info("swept", opened=opened)


@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def record(event: Mapping[str, Any], _context: LambdaContext) -> BatchAnswer:
    """Take each finding of a batch of the queue to its case; one that is none comes again, until it is set aside."""
    return each_message(event, _record)


@tracer.capture_lambda_handler(capture_response=False)
def review(event: Mapping[str, Any], _context: LambdaContext) -> dict[str, str]:
    """Decide an open case. The event is a `Review`; an error tells what is wrong with it."""
    wanted = Review.model_validate(event)
    _cases().decide(wanted.case_id, wanted.decision, by=wanted.by, reason=wanted.reason, at_us=time.time_ns() // 1_000)
    logger.info("decided", case_id=wanted.case_id, decision=wanted.decision, by=wanted.by)
    return {"case_id": wanted.case_id, "state": wanted.decision}


def _take(record: Mapping[str, Any]) -> None:
    batch = decode_batch(base64.b64decode(record["kinesis"]["data"]))
    opened = _follower().take(batch)
    logger.info("observed", trades=len(batch.trades), sequence=batch.last.sequence, opened=opened)


def _record(record: SQSRecord) -> None:
    finding = decode_finding(record.body)
    if _cases().report(finding):
        metrics.add_metric("CasesOpened", "Count", 1)
        logger.info("a case was opened", case_id=finding.case_id, kind=finding.kind, symbol=finding.symbol)


@cache
def _publisher() -> EventPublisher:
    return EventPublisher(os.environ["EVENT_BUS"])


@cache
def _cases() -> CaseBook:
    table = boto3.resource("dynamodb").Table(os.environ["CASE_TABLE"])
    return CaseBook(table, boto3.resource("s3").Bucket(os.environ["EVIDENCE_BUCKET"]), _publisher())


@cache
def _owners() -> Owners:
    return Owners(boto3.resource("dynamodb"), os.environ["OWNER_TABLE"])


@cache
def _follower() -> Follower:
    watches = MarketMemory(boto3.resource("dynamodb").Table(os.environ["WATCH_TABLE"]), Watch, attribute="watch")
    return Follower(watches, _owners(), _cases(), _publisher())
