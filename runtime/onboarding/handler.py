"""Lambda: the beginning, the steps and the answers of an application, and the lock after credentials changed."""

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import boto3
from aws_lambda_powertools.utilities.typing import LambdaContext

from runtime.onboarding.applications import Applications, UnknownApplicationError
from runtime.onboarding.decisions import WITHDRAWAL_LOCK_US
from runtime.onboarding.steps import Desk
from runtime.shared import executions
from runtime.shared.business_events import (
    ApplicationReceived,
    CredentialsChanged,
    EventPublisher,
    PartnerAnswered,
    read_event,
)
from runtime.shared.functions import logger, tracer


@tracer.capture_lambda_handler(capture_response=False)
def do_step(request: dict[str, Any], _context: LambdaContext) -> Any:  # noqa: ANN401 - JSON
    """Carry out one step of the state machine."""
    answer = _desk().do(request)
    logger.info("step done", step=request["step"], application_id=request["application_id"])
    return answer


@tracer.capture_lambda_handler(capture_response=False)
def hear(envelope: Mapping[str, Any], _context: LambdaContext) -> None:
    """Start the state machine of an application that was received, or hand it the KYC partner's answer."""
    event = read_event(envelope)
    match event:
        case ApplicationReceived():
            # Under the application's own name: a second delivery finds it there.
            executions.begin(event.application_id, {"application_id": event.application_id})
        case PartnerAnswered(partner="kyc"):
            _answer(event)
        case _:
            logger.warning("not for onboarding", event_id=event.event_id, detail_type=event.detail_type)


def _answer(event: PartnerAnswered) -> None:
    """Let the execution that waits go on. An answer that nobody waits for any more changes nothing."""
    try:
        token = _applications().token(event.subject)
    except UnknownApplicationError:
        logger.warning("an answer about no application", event_id=event.event_id)
        return
    if token is None:
        # The answer was faster than the note of whom to tell: it comes again.
        raise RuntimeError(f"application {event.subject} does not wait for the KYC partner yet")
    if not executions.tell(token, {"outcome": event.outcome}):
        logger.info("nobody waits for this answer any more", event_id=event.event_id)


@tracer.capture_lambda_handler(capture_response=False)
def credentials_changed(trigger: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Cognito: after a forgotten password was replaced, let withdrawals of that customer wait. Raises if it cannot."""
    account = trigger["request"]["userAttributes"].get("custom:account_id")
    if trigger["triggerSource"] == "PostConfirmation_ConfirmForgotPassword" and account:
        now_us = time.time_ns() // 1_000
        until_us = now_us + WITHDRAWAL_LOCK_US
        _dynamodb().update_item(
            TableName=os.environ["LOCK_TABLE"],
            Key={"account_id": {"N": str(int(account))}},
            # A lock is only ever made longer.
            UpdateExpression="SET locked_until_us = :until",
            ConditionExpression="attribute_not_exists(locked_until_us) OR locked_until_us < :until",
            ExpressionAttributeValues={":until": {"N": str(until_us)}},
        )
        _events().publish(
            CredentialsChanged(
                event_id=f"credentials/{account}/{now_us}",
                at_us=now_us,
                account_id=int(account),
                what="password",
                locked_until_us=until_us,
            )
        )
    return trigger


def _desk() -> Desk:
    return Desk(applications=_applications(), events=_events(), now=datetime.now(UTC))


@cache
def _applications() -> Applications:
    return Applications(os.environ["APPLICATION_TABLE"], os.environ["KYC_BUCKET"])


@cache
def _events() -> EventPublisher:
    return EventPublisher(os.environ["EVENT_BUS"])


@cache
def _dynamodb() -> Any:  # noqa: ANN401 - boto3's
    return boto3.client("dynamodb")
