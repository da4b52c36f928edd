"""Lambda: a business event becomes a notice on the customers' topic, once."""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import boto3
from aws_lambda_powertools.utilities.typing import LambdaContext

from runtime.notifications.notices import Notice, notice_for
from runtime.shared.business_events import read_event
from runtime.shared.functions import logger, once, tracer


@tracer.capture_lambda_handler(capture_response=False)
def handle(envelope: Mapping[str, Any], context: LambdaContext) -> None:
    """Tell the customer whom the event in `envelope` concerns. Raises, and so is retried, unless the topic took it."""
    event = read_event(envelope)
    notice = notice_for(event)
    message_id = once(context, "notice", f"{event.detail_type}/{event.event_id}", lambda: _publish(notice))
    logger.info("told", kind=notice.kind, account_id=notice.account_id, event_id=event.event_id, message_id=message_id)


def _publish(notice: Notice) -> str:
    answer = _topic().publish(
        TopicArn=os.environ["NOTICE_TOPIC_ARN"],
        Subject=notice.subject,
        Message=notice.text,
        MessageAttributes={
            "account_id": {"DataType": "Number", "StringValue": str(notice.account_id)},
            "kind": {"DataType": "String", "StringValue": notice.kind},
        },
    )
    return str(answer["MessageId"])


@cache
def _topic() -> Any:  # noqa: ANN401 - boto3's client
    return boto3.client("sns")
