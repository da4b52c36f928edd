"""The steps of an application, as a state machine in Amazon States Language. `${Name}` stands for a function's ARN.

    ask the KYC partner and wait → screen against sanctions → decide → open the account, or refuse

Whatever cannot be carried out, after retries, ends as undecided: a person looks at it, and no account is opened.
An execution holds the application's id and the outcome of each check, never what the applicant gave.
"""

from typing import Any, Final

KYC_WAIT_S: Final = 3 * 24 * 3600
"""How long the partner may take; applicants upload their documents to it meanwhile."""
_RETRY: Final = [
    {
        "ErrorEquals": ["States.TaskFailed"],
        "IntervalSeconds": 2,
        "BackoffRate": 2,
        "MaxAttempts": 4,
        "MaxDelaySeconds": 60,
    }
]
_ELSE: Final = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.problem", "Next": "Undecided"}]
_ID: Final = {"application_id.$": "$.application_id"}


def _step(function: str, step: str, more: dict[str, str], **rest: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": f"${{{function}}}", "Payload": {"step": step, **_ID, **more}},
        "ResultSelector": {"value.$": "$.Payload"},
        "Retry": _RETRY,
        "Catch": _ELSE,
        **rest,
    }


FLOW: Final[dict[str, Any]] = {
    "Comment": "From application to account",
    "StartAt": "AskKyc",
    "States": {
        "AskKyc": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
            "Parameters": {
                "FunctionName": "${Steps}",
                "Payload": {"step": "ask-kyc", **_ID, "token.$": "$$.Task.Token"},
            },
            "TimeoutSeconds": KYC_WAIT_S,
            "ResultPath": "$.kyc",
            "Retry": _RETRY,
            "Catch": _ELSE,
            "Next": "Screen",
        },
        "Screen": _step("Steps", "screen", {}, ResultPath="$.sanctions", Next="Decide"),
        "Decide": _step(
            "Steps",
            "decide",
            {"kyc.$": "$.kyc.outcome", "sanctions.$": "$.sanctions.value"},
            ResultPath="$.decision",
            Next="IsApproved",
        ),
        "IsApproved": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.decision.value.decision", "StringEquals": "approved", "Next": "OpenAccount"}],
            "Default": "Refuse",
        },
        "OpenAccount": _step("Opener", "open-account", {}, ResultPath="$.account", Next="Opened"),
        "Opened": {"Type": "Succeed"},
        "Refuse": _step("Steps", "refuse", {}, ResultPath="$.refused", Next="Refused"),
        "Refused": {"Type": "Succeed"},
        "Undecided": {
            **_step("Steps", "undecided", {}, ResultPath="$.case", Next="NotDecided"),
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.problem", "Next": "NotDecided"}],
        },
        "NotDecided": {"Type": "Fail", "Error": "Undecided", "Cause": "A person has to look at this application"},
    },
}
