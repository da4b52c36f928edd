"""Lambda: `file` files the reports of each day that has ended; `customer_records` answers the supervisor."""

import os
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any

import boto3
import psycopg
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, ConfigDict, Field

from runtime.reporting.customer import customer_records as read_customer
from runtime.reporting.filing import Cabinet, file_missing
from runtime.shared.business_events import EventPublisher
from runtime.shared.case_states import cases_reported
from runtime.shared.functions import logger, metrics, tracer
from runtime.shared.settings import database_conninfo, read_catalogue_parameter


class CustomerQuestion(BaseModel):
    """Whose records, and of which business day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: int = Field(ge=1000, lt=2**63)
    day: date


@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def file(event: Mapping[str, Any], _context: LambdaContext) -> list[str]:
    """File what is missing at the `time` of the schedule's event; return the names of what was filed."""
    table = boto3.resource("dynamodb").Table(os.environ["CASE_TABLE"])

    def cases(start_us: int, end_us: int) -> Iterator[Mapping[str, Any]]:
        return cases_reported(table, start_us, end_us)

    with psycopg.connect(database_conninfo(os.environ["DATABASE_URL"]), autocommit=True) as connection:
        filed = file_missing(
            connection,
            read_catalogue_parameter(os.environ["CATALOGUE_PARAMETER"]),
            cases,
            Cabinet(boto3.resource("s3").Bucket(os.environ["REPORT_BUCKET"])),
            EventPublisher(os.environ["EVENT_BUS"]),
            int(datetime.fromisoformat(event["time"]).timestamp()) * 1_000_000,
        )
    metrics.add_metric("ReportsFiled", "Count", len(filed))
    logger.info("filed", count=len(filed))
    return [f"{each.name} {each.day}" for each in filed]


@tracer.capture_lambda_handler(capture_response=False)
def customer_records(event: Mapping[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Return one customer's orders and trades of one business day. The event is a `CustomerQuestion`."""
    question = CustomerQuestion.model_validate(event)
    with psycopg.connect(database_conninfo(os.environ["DATABASE_URL"]), autocommit=True) as connection:
        catalogue = read_catalogue_parameter(os.environ["CATALOGUE_PARAMETER"])
        answer = read_customer(connection, catalogue, question.account, question.day)
    logger.info("told", account=question.account, day=question.day.isoformat())
    return answer
