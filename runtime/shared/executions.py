"""Executions of a state machine: begun once under a name, and told once what they wait for."""

import json
import os
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import boto3
from botocore.exceptions import ClientError

_BEGUN: Final = "ExecutionAlreadyExists"
_OVER: Final = frozenset({"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"})


def begin(name: str, given: Mapping[str, Any]) -> None:
    """Start an execution of FLOW_ARN called `name`, unless there was one: who asks twice finds it there."""
    try:
        _states().start_execution(stateMachineArn=os.environ["FLOW_ARN"], name=name, input=json.dumps(given))
    except ClientError as error:
        if error.response["Error"]["Code"] != _BEGUN:
            raise


def tell(token: str, answer: Any) -> bool:  # noqa: ANN401 - JSON
    """Let the step that waits with `token` go on with `answer`; return False if nobody waits with it any more."""
    try:
        _states().send_task_success(taskToken=token, output=json.dumps(answer))
    except ClientError as error:
        if error.response["Error"]["Code"] not in _OVER:
            raise
        return False
    return True


@cache
def _states() -> Any:  # noqa: ANN401 - boto3's
    return boto3.client("stepfunctions")
