"""Lambda: `file` files the reports of each day that has ended; `customer_records` and `view` answer the supervisor."""

import os
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Annotated, Any, Self

import boto3
import psycopg
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, ConfigDict, Field, model_validator

from runtime.reporting.customer import customer_records as read_customer
from runtime.reporting.filing import Cabinet, file_missing
from runtime.reporting.views import VIEWS, read_page
from runtime.shared.business_events import EventPublisher
from runtime.shared.case_states import cases_reported
from runtime.shared.functions import logger, metrics, tracer
from runtime.shared.settings import database_conninfo, read_catalogue_parameter


class CustomerQuestion(BaseModel):
    """Whose records, and of which business day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: int = Field(ge=1000, lt=2**63)
    day: date


class ViewQuestion(BaseModel):
    """Which view, and after which row: the `next` of the page before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    view: str
    after: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] = ()

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.view not in VIEWS:
            raise ValueError(f"view must be one of {', '.join(VIEWS)}, was {self.view!r}")
        if len(self.after) not in {0, len(VIEWS[self.view])}:
            raise ValueError(f"after must name {', '.join(VIEWS[self.view])} of {self.view}, was {list(self.after)}")
        return self


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


@tracer.capture_lambda_handler(capture_response=False)
def view(event: Mapping[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Return a page of one of the views made for the supervisor. The event is a `ViewQuestion`."""
    question = ViewQuestion.model_validate(event)
    with psycopg.connect(database_conninfo(os.environ["DATABASE_URL"]), autocommit=True) as connection:
        page = read_page(connection, question.view, question.after)
    logger.info("told", view=question.view, after=list(question.after), rows=len(page["rows"]))
    return page
