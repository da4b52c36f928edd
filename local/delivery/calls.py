"""Asynchronous calls of functions: tried again, and in the end handed to where failures go."""

import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from local.callers import Caller
from local.delivery.functions import Function
from local.delivery.runner import Outcome, Runner, ThrottledError
from local.delivery.targets import DeliveryError, Targets

SLOT_WAIT_S: Final = 30.0
RETRY_AFTER_S: Final = (1.0, 2.0)
"""AWS waits one minute, then two; a person at a screen waits less."""
logger = logging.getLogger(__name__)
Later = Callable[[float, Callable[[], None]], None]
"""Runs something after so many seconds."""


class AsynchronousCalls:
    """Calls whose caller does not wait."""

    def __init__(self, runner: Runner, targets: Targets, later: Later) -> None:
        """Call by `runner`, try again by `later`, and send what is left over to `targets`."""
        self._runner = runner
        self._targets = targets
        self._later = later

    def accept(self, function: Function, event: Any) -> None:  # noqa: ANN401 - any JSON
        """Take an event; it is tried as soon as there is a thread."""
        self._later(0.0, lambda: self._try(function, event, 0, time.monotonic()))

    def _try(self, function: Function, event: Any, retries: int, accepted: float) -> None:  # noqa: ANN401
        try:
            outcome = self._runner.invoke(function, event, wait_s=SLOT_WAIT_S)
        except ThrottledError as error:
            outcome = Outcome("null", {"errorType": "TooManyRequestsException", "errorMessage": str(error)})
        if outcome.is_success:
            if function.on_success:
                self._hand_over(function, function.on_success, event, outcome, "Success", retries)
            return
        pause_s = RETRY_AFTER_S[min(retries, len(RETRY_AFTER_S) - 1)]
        if retries < function.retries_max and time.monotonic() - accepted + pause_s < function.event_age_s_max:
            self._later(pause_s, lambda: self._try(function, event, retries + 1, accepted))
            return
        condition = "RetriesExhausted" if retries >= function.retries_max else "EventAgeExceeded"
        logger.warning("%s failed for the last time: %s", function.label, outcome.error)
        if function.on_failure:
            self._hand_over(function, function.on_failure, event, outcome, condition, retries)
        if function.dead_letters:
            self._bury(function, event)

    def _hand_over(
        self,
        function: Function,
        destination: str,
        event: Any,  # noqa: ANN401
        outcome: Outcome,
        condition: str,
        retries: int,
    ) -> None:
        record = {
            "version": "1.0",
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "requestContext": {
                "functionArn": f"{function.arn}:$LATEST",
                "condition": condition,
                "approximateInvokeCount": retries + 1,
            },
            "requestPayload": event,
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"}
            | ({} if outcome.is_success else {"functionError": "Unhandled"}),
            "responsePayload": outcome.value,
        }
        self._send(function, destination, json.dumps(record))

    def _bury(self, function: Function, event: Any) -> None:  # noqa: ANN401
        self._send(function, function.dead_letters, json.dumps(event))

    def _send(self, function: Function, destination: str, payload: str) -> None:
        try:
            self._targets.deliver(destination, payload, Caller(role=function.role))
        except DeliveryError as error:
            logger.error("%s: %s does not take its failure: %s", function.label, destination, error)  # noqa: TRY400 - expected
