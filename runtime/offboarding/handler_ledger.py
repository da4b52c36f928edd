"""Lambda: the function of off-boarding that reads the ledger, for final statements."""

import os
import time
from functools import cache
from typing import Any

import boto3
import psycopg
from aws_lambda_powertools.utilities.typing import LambdaContext

from runtime.offboarding.register import Register
from runtime.offboarding.writer import Writer
from runtime.reporting.filing import Cabinet
from runtime.shared.functions import logger, tracer
from runtime.shared.settings import database_conninfo, read_catalogue_parameter


@tracer.capture_lambda_handler(capture_response=False)
def do_step(request: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Carry out the step that writes a final statement."""
    step, name = str(request["step"]), str(request["closure_id"])
    with psycopg.connect(database_conninfo(os.environ["DATABASE_URL"]), autocommit=True) as connection:
        writer = Writer(
            register=_register(),
            connection=connection,
            catalogue=read_catalogue_parameter(os.environ["CATALOGUE_PARAMETER"]),
            cabinet=Cabinet(boto3.resource("s3").Bucket(os.environ["TRANSFER_BUCKET"])),
            now_s=int(time.time()),
        )
        done = writer.do(step, name)
    logger.info("step done", step=step, closure_id=name, outcome=done["outcome"])
    return done


@cache
def _register() -> Register:
    return Register(os.environ["OFFBOARDING_TABLE"])
