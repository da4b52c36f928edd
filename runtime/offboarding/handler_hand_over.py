"""Lambda: the steps of a hand-over, which read the whole ledger."""

import os
import time
from functools import cache
from typing import Any

import boto3
import psycopg
from aws_lambda_powertools.utilities.typing import LambdaContext

from runtime.offboarding.hand_over import Exporter
from runtime.offboarding.register import Register
from runtime.shared.business_events import EventPublisher
from runtime.shared.functions import logger, tracer
from runtime.shared.settings import database_conninfo, read_catalogue_parameter


@tracer.capture_lambda_handler(capture_response=False)
def do_step(request: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Carry out one step of the state machine."""
    exporter = Exporter(
        register=_register(),
        connect=_connected,
        catalogue=read_catalogue_parameter(os.environ["CATALOGUE_PARAMETER"]),
        bucket=boto3.resource("s3").Bucket(os.environ["TRANSFER_BUCKET"]),
        approvers=tuple(os.environ["APPROVERS"].split(",")),
        publish=EventPublisher(os.environ["EVENT_BUS"]).publish,
        now_s=int(time.time()),
    )
    done = exporter.do(request)
    logger.info("step done", step=request["step"], hand_over_id=request["hand_over_id"], outcome=done["outcome"])
    return done


def _connected() -> psycopg.Connection:
    return psycopg.connect(database_conninfo(os.environ["DATABASE_URL"]), autocommit=True)


@cache
def _register() -> Register:
    return Register(os.environ["OFFBOARDING_TABLE"])
