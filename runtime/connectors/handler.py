"""Lambda behind the balancer: a partner's signed webhook becomes one event on the bus, however often it is sent."""

import base64
import json
import os
import time
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final

import boto3
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyAlreadyInProgressError
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.connectors.signatures import SignatureError, verify
from runtime.shared.business_events import EventPublisher, Identifier, PartnerAnswered
from runtime.shared.functions import logger, once, tracer

PATH: Final = "/hooks/"
PARTNERS: Final = ("kyc", "bank", "screening")
SIGNATURE: Final = "x-bursa-signature"
_STAGES: Final = ("AWSCURRENT", "AWSPREVIOUS")
_NO_SUCH: Final = "ResourceNotFoundException"


class Delivery(BaseModel):
    """What partners send: an id of the delivery, what it is about, and how that ended."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Annotated[Identifier, Field(max_length=64)]
    subject: Identifier
    outcome: Identifier


@tracer.capture_lambda_handler(capture_response=False)
def hook(request: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one webhook: 202 once its event is on the bus, 4xx for what never will be, 503 for what should come again.

    A delivery id counts once per partner: a replay within a day is answered as the first was and changes nothing, and a
    later one fails by the age of its signature.
    """
    partner = str(request.get("path", "")).removeprefix(PATH)
    if partner not in PARTNERS or request.get("httpMethod") != "POST":
        return _answer(404, "no such hook")
    body = request.get("body") or ""
    raw = base64.b64decode(body) if request.get("isBase64Encoded") else body.encode()
    headers = {name.lower(): value for name, value in (request.get("headers") or {}).items()}
    try:
        verify(headers.get(SIGNATURE, ""), raw, secrets=_secrets(partner), now_s=int(time.time()))
        delivery = Delivery.model_validate_json(raw)
    except SignatureError as error:
        logger.warning("webhook refused", partner=partner, why=str(error))
        return _answer(401, str(error))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        return _answer(400, f"{'.'.join(map(str, problem['loc'])) or 'body'}: {problem['msg']}")
    try:
        once(context, f"hook-{partner}", delivery.id, lambda: _publish(partner, delivery))
    except IdempotencyAlreadyInProgressError:
        return _answer(503, "this delivery is being handled")
    logger.info("webhook taken", partner=partner, delivery=delivery.id)
    return _answer(202, "taken")


def _publish(partner: str, delivery: Delivery) -> None:
    _events().publish(
        PartnerAnswered.model_validate(
            {
                "event_id": f"hook/{partner}/{delivery.id}",
                "at_us": time.time_ns() // 1_000,
                "partner": partner,
                "subject": delivery.subject,
                "outcome": delivery.outcome,
            }
        )
    )


def _secrets(partner: str) -> list[str]:
    """Return the webhook secrets in force: the current one, and the one before until the next change."""
    found = []
    for stage in _STAGES:
        try:
            stored = _secret_store().get_secret_value(
                SecretId=os.environ[f"{partner.upper()}_SECRET_ARN"], VersionStage=stage
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != _NO_SUCH:
                raise
            continue
        found.append(str(json.loads(stored["SecretString"])["webhook_secret"]))
    return found


def _answer(status: int, text: str) -> dict[str, Any]:
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"message": text}),
        "isBase64Encoded": False,
    }


@cache
def _secret_store() -> Any:  # noqa: ANN401 - boto3's
    return boto3.client("secretsmanager")


@cache
def _events() -> EventPublisher:
    return EventPublisher(os.environ["EVENT_BUS"])
