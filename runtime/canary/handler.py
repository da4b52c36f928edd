"""Lambda: every minute a walk, and two numbers of it in the log, which become metrics."""

import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import boto3
from aws_lambda_powertools.utilities.typing import LambdaContext

from runtime.canary.walk import FAILED, ORDER_MS, Client, WalkError, walk
from runtime.shared.functions import logger, tracer


@tracer.capture_lambda_handler(capture_response=False)
def handle(event: Mapping[str, Any], context: LambdaContext) -> None:
    """Walk once. A walk that fails is a number and a line, not an error: the next one starts in a minute.

    Environment: EXCHANGE_URL; SYMBOL; SIGNING_KEY, the RSA key in KMS whose public half belongs to the canary's API
    key; API_KEY_PARAMETER, which holds that API key.
    """
    # A delivery that comes twice is the same order, and the second is told so.
    name = str(event.get("id") or context.aws_request_id)[:24]
    client = Client(os.environ["EXCHANGE_URL"], _api_key(), _sign_with(os.environ["SIGNING_KEY"]))
    try:
        steps = walk(client, os.environ["SYMBOL"], name)
    except WalkError as error:
        logger.error("the canary failed", step=error.step, reason=str(error), extra={FAILED: 1})
        return
    logger.info("the canary is well", cancel_ms=steps.cancel_ms, extra={FAILED: 0, ORDER_MS: steps.order_ms})


def _api_key() -> str:
    """Read each time: an operator may have entered another."""
    answer = _aws("ssm").get_parameter(Name=os.environ["API_KEY_PARAMETER"])
    return str(answer["Parameter"]["Value"])


def _sign_with(key: str) -> Callable[[bytes], bytes]:
    """Return what signs with a key that never leaves KMS, as clients with RSA keys do."""

    def sign(payload: bytes) -> bytes:
        answer = _aws("kms").sign(
            KeyId=key, Message=payload, MessageType="RAW", SigningAlgorithm="RSASSA_PKCS1_V1_5_SHA_256"
        )
        return bytes(answer["Signature"])

    return sign


@cache
def _aws(service: str) -> Any:  # noqa: ANN401 - boto3's client
    return boto3.client(service)
