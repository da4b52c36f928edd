"""Executions: begun once under a name; whoever answers too late is told so; other errors are not swallowed."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from runtime.shared import executions

MACHINE = {"StartAt": "Wait", "States": {"Wait": {"Type": "Pass", "End": True}}}


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    executions._states.cache_clear()
    with mock_aws():
        client = boto3.client("stepfunctions")
        role = "arn:aws:iam::123456789012:role/flow"
        arn = client.create_state_machine(name="flow", definition=json.dumps(MACHINE), roleArn=role)["stateMachineArn"]
        monkeypatch.setenv("FLOW_ARN", arn)
        yield client
    executions._states.cache_clear()


def test_who_asks_twice_begins_once(states: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for _twice in range(2):
        executions.begin("request-1", {"id": "request-1"})
    arn = states.list_state_machines()["stateMachines"][0]["stateMachineArn"]
    (only,) = states.list_executions(stateMachineArn=arn)["executions"]
    assert json.loads(states.describe_execution(executionArn=only["executionArn"])["input"]) == {"id": "request-1"}
    monkeypatch.setenv("FLOW_ARN", f"{arn}-other")
    with pytest.raises(ClientError, match="StateMachineDoesNotExist"):
        executions.begin("request-2", {})


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken", "InvalidOutput", None])
def test_who_answers_too_late_hears_it(code: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def send_task_success(self, **given: str) -> None:
            assert given == {"taskToken": "token", "output": '"approved"'}
            if code:
                raise ClientError({"Error": {"Code": code, "Message": ""}}, "SendTaskSuccess")

    monkeypatch.setattr(executions, "_states", Client)
    if code == "InvalidOutput":
        with pytest.raises(ClientError):
            executions.tell("token", "approved")
    else:
        assert executions.tell("token", "approved") == (code is None)
