"""Lambda: `statements` files those of the month that has ended; `portfolio` answers what one account holds now."""

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import boto3
import psycopg
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, ConfigDict, Field

from runtime.portfolio.statement import file_statements, portfolio_of
from runtime.reporting.filing import Cabinet
from runtime.shared.functions import logger, metrics, tracer
from runtime.shared.settings import database_conninfo, read_catalogue_parameter


class PortfolioQuestion(BaseModel):
    """Whose portfolio, and the asset to value it in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: int = Field(ge=1000, lt=2**63)
    currency: str = Field(pattern=r"^[A-Z0-9]{2,12}$")


@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def statements(event: Mapping[str, Any], _context: LambdaContext) -> list[str]:
    """File the statements of the month before the `time` of the schedule's event, where they are missing."""
    with psycopg.connect(database_conninfo(os.environ["DATABASE_URL"]), autocommit=True) as connection:
        filed = file_statements(
            connection,
            read_catalogue_parameter(os.environ["CATALOGUE_PARAMETER"]),
            Cabinet(boto3.resource("s3").Bucket(os.environ["REPORT_BUCKET"])),
            int(datetime.fromisoformat(event["time"]).timestamp()) * 1_000_000,
        )
    metrics.add_metric("StatementsFiled", "Count", len(filed))
    logger.info("filed", count=len(filed))
    return filed


@tracer.capture_lambda_handler(capture_response=False)
def portfolio(event: Mapping[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Return holdings, costs, results and allocation of one account. The event is a `PortfolioQuestion`."""
    question = PortfolioQuestion.model_validate(event)
    with psycopg.connect(database_conninfo(os.environ["DATABASE_URL"]), autocommit=True) as connection:
        catalogue = read_catalogue_parameter(os.environ["CATALOGUE_PARAMETER"])
        answer = portfolio_of(connection, catalogue, question.account, question.currency)
    logger.info("told", account=question.account)
    return answer
