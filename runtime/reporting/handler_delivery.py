"""Lambda: `offer` tells recipients of reports that were filed, `fetched` writes down that one of them has one."""

import json
import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import boto3
import msgspec
from aws_lambda_powertools.utilities.typing import LambdaContext

from runtime.reporting.delivery import LATE, Recipient, Register, offer_missing
from runtime.reporting.delivery import fetched as delivery_of
from runtime.reporting.filing import Cabinet
from runtime.shared.functions import logger, tracer


@tracer.capture_lambda_handler(capture_response=False)
def offer(event: Mapping[str, Any], _context: LambdaContext) -> list[str]:
    """Offer what is missing at the `time` of the event, whichever that is; return the names of what was offered.

    Writes down how many deliveries are late: an alarm reads that.
    """
    recipients = msgspec.json.decode(os.environ["RECIPIENTS"], type=list[Recipient])
    register = _register()
    sqs = boto3.client("sqs")

    def send(queue_url: str, text: str) -> None:
        sqs.send_message(QueueUrl=queue_url, MessageBody=text)

    now_s = _seconds(event["time"])
    cabinet = Cabinet(boto3.resource("s3").Bucket(os.environ["REPORT_BUCKET"]))
    offered = offer_missing(recipients, cabinet, register, send, now_s * 1_000_000)
    late = [f"{each.name} {name}" for each in recipients for name in register.late(each.name, now_s)]
    if late:
        logger.warning("deliveries are late", deliveries=late[:100])
    logger.info("offered", count=len(offered), extra={LATE: len(late)})
    return [f"{each.recipient} {each.report} {each.day}" for each in offered]


@tracer.capture_lambda_handler(capture_response=False)
def fetched(event: Mapping[str, Any], _context: LambdaContext) -> str:
    """Register what the trail tells of: a recipient's role has read an object. Return its name, empty for a manifest.

    A record of the trail, wrapped in `detail`, can be handed in by hand as well.
    """
    detail = event["detail"]
    by = detail["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"]
    recipient = json.loads(os.environ["RECIPIENT_BY_ROLE"])[by]
    delivery = delivery_of(recipient, detail["requestParameters"]["key"])
    if delivery is None:
        return ""
    _register().fetch(delivery, _seconds(detail["eventTime"]))
    logger.info("fetched", recipient=recipient, report=delivery.report, day=delivery.day.isoformat())
    return f"{delivery.recipient} {delivery.report} {delivery.day}"


def _register() -> Register:
    return Register(boto3.resource("dynamodb").Table(os.environ["DELIVERY_TABLE"]))


def _seconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp())
