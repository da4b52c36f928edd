"""Lambda: `export` carries the chain of postings on, every hour."""

import os
from collections.abc import Mapping
from typing import Any, Final

import boto3
import psycopg
from aws_lambda_powertools.utilities.typing import LambdaContext

from runtime.ledger.export import Archive
from runtime.ledger.export import export as export_postings
from runtime.shared.functions import logger, metrics, tracer
from runtime.shared.settings import database_conninfo

SEGMENT_MS_MAX: Final = 60_000
"""What one more segment may take; with less time left the next run goes on."""


@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def export(_event: Mapping[str, Any], context: LambdaContext) -> dict[str, int]:
    """Seal what the ledger has added since the last run."""
    archive = Archive(boto3.client("s3"), os.environ["LEDGER_BUCKET"], os.environ["GROUP"])
    with psycopg.connect(database_conninfo(os.environ["DATABASE_URL"]), autocommit=True) as connection:
        exported = export_postings(connection, archive, lambda: context.get_remaining_time_in_millis() > SEGMENT_MS_MAX)
    metrics.add_metric("PostingsExported", "Count", exported)
    logger.info("exported", postings=exported)
    return {"postings": exported}
