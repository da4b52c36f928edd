"""Lets the tasks of a state machine call as the machine's role. moto makes every such call as nobody in particular."""

import threading
from collections.abc import Callable
from typing import Any, Final

import boto3
from moto.backends import get_backend
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service import StateTaskService
from moto.stepfunctions.parser.asl.component.state.exec.state_task.state_task_lambda import StateTaskLambda
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.utils import boto_client

from local.callers import Caller

_EVALUATE: Final = "_eval_execution"
_of_thread = threading.local()
_key_of: Callable[[Caller], str] | None = None


class _Boto3:
    """In the place of boto3 in the one module of moto that makes clients for tasks."""

    @staticmethod
    def client(**options: Any) -> Any:  # noqa: ANN401 - passed on
        """Return a client with the key of the role whose task this thread runs."""
        role = getattr(_of_thread, "role", "")
        if role and _key_of is not None:
            options["aws_access_key_id"] = _key_of(Caller(role=role))
        return boto3.client(**options)


def call_as_roles(key_of: Callable[[Caller], str]) -> None:
    """Let tasks call by the keys that `key_of` gives. There is one moto in a process, so the last word counts."""
    global _key_of  # noqa: PLW0603 - as moto itself
    if _key_of is None:
        # moto offers no other place to tell whose task it runs.
        vars(boto_client)["boto3"] = _Boto3
        for kind in (StateTaskService, StateTaskLambda):
            setattr(kind, _EVALUATE, _as_role(getattr(kind, _EVALUATE)))
    _key_of = key_of


def _as_role(evaluate: Callable[[Any, Environment], None]) -> Callable[[Any, Environment], None]:
    def evaluate_as_role(task: Any, env: Environment) -> None:  # noqa: ANN401 - a task of moto
        _of_thread.role = str(env.aws_execution_details.role_arn)
        try:
            evaluate(task, env)
        finally:
            _of_thread.role = ""

    return evaluate_as_role


def machine_of(token: str) -> str:
    """Return the ARN of the state machine that waits for a task's token; empty when none does."""
    for backend in get_backend("stepfunctions")[DEFAULT_ACCOUNT_ID].values():
        for machine in list(backend.state_machines):
            for execution in list(machine.executions):
                worker = getattr(execution, "exec_worker", None)
                if worker is not None and worker.env.callback_pool_manager.get(token) is not None:
                    return str(machine.arn)
    return ""
