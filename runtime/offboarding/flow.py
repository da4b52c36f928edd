"""The steps of a closure, as a state machine in Amazon States Language. `${Name}` stands for a function's ARN.

    [two approvals] → freeze → cancel orders, wait until nothing is left → final statement → look once more → close

Nothing is taken from the customer: while something is left, the account waits, and what can be paid out to the
addresses given with the request is asked for as an ordinary withdrawal. What waits too long, or fails after retries,
ends as undecided, with the account frozen: a person looks at it, and the same request then goes on where it stood.
An execution holds the closure's id and the outcome of each step, never whose it is.
"""

from typing import Any, Final

APPROVAL_WAIT_S: Final = 24 * 3600
RUN_S_MAX: Final = 364 * 24 * 3600
"""A standard execution can last a year."""
_RETRY: Final = [
    {
        "ErrorEquals": ["States.TaskFailed"],
        "IntervalSeconds": 2,
        "BackoffRate": 2,
        "MaxAttempts": 6,
        "MaxDelaySeconds": 60,
    }
]
_ELSE: Final = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.problem", "Next": "Undecided"}]
_ID: Final = {"closure_id.$": "$.closure_id", "attempt.$": "$.attempt"}
_HAND_OVER: Final = {"hand_over_id.$": "$.hand_over_id", "attempt.$": "$.attempt"}


def _step(function: str, step: str, names: dict[str, str] = _ID, **rest: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": f"${{{function}}}", "Payload": {"step": step, **names}},
        "ResultSelector": {"outcome.$": "$.Payload.outcome", "wait_s.$": "$.Payload.wait_s"},
        "ResultPath": "$.last",
        "Retry": _RETRY,
        "Catch": _ELSE,
        **rest,
    }


def _approval(function: str, names: dict[str, str], *, late: str, then: str) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "Parameters": {
            "FunctionName": f"${{{function}}}",
            "Payload": {"step": "await-approval", **names, "token.$": "$$.Task.Token"},
        },
        "TimeoutSeconds": APPROVAL_WAIT_S,
        "ResultPath": "$.approval",
        "Retry": _RETRY,
        "Catch": [{"ErrorEquals": ["States.Timeout"], "ResultPath": "$.problem", "Next": late}, *_ELSE],
        "Next": then,
    }


def _choice(default: str, **outcomes: str) -> dict[str, Any]:
    choices = [
        {"Variable": "$.last.outcome", "StringEquals": outcome.replace("_", "-"), "Next": state}
        for outcome, state in outcomes.items()
    ]
    return {"Type": "Choice", "Choices": choices, "Default": default}


def _pause(following: str) -> dict[str, Any]:
    return {"Type": "Wait", "SecondsPath": "$.last.wait_s", "Next": following}


FLOW: Final[dict[str, Any]] = {
    "Comment": "From request to closed account",
    "StartAt": "Look",
    "TimeoutSeconds": RUN_S_MAX,
    "States": {
        "Look": _step("Broker", "look", Next="IsKnown"),
        "IsKnown": _choice("Refuse", known="Begin"),
        "Begin": _step("Clerk", "begin", Next="NeedsApproval"),
        "NeedsApproval": _choice("Refuse", approval="AwaitApproval", no_approval="Freeze", closed="Close"),
        "AwaitApproval": _approval("Clerk", _ID, late="NotApproved", then="Freeze"),
        "NotApproved": _step("Clerk", "not-approved", Next="Refuse"),
        "Freeze": _step("Clerk", "freeze", Next="Settle"),
        "Settle": _step("Broker", "settle", Next="IsEmpty"),
        "IsEmpty": _choice("Undecided", empty="State", waiting="PayOut"),
        "PayOut": _step("Clerk", "pay-out", Next="Pause"),
        "Pause": _pause("Settle"),
        "State": _step("Writer", "state", Next="IsStated"),
        "IsStated": _choice("Undecided", stated="Confirm", behind="PauseForLedger"),
        "PauseForLedger": _pause("State"),
        "Confirm": _step("Broker", "confirm", Next="IsStillEmpty"),
        "IsStillEmpty": _choice("Undecided", empty="Close", waiting="PayOut"),
        "Close": _step("Clerk", "close", Next="Closed"),
        "Closed": {"Type": "Succeed"},
        "Refuse": _step("Clerk", "refuse", Next="Refused"),
        "Refused": {"Type": "Succeed"},
        "Undecided": {
            **_step("Clerk", "undecided", Next="NotDecided"),
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.problem", "Next": "NotDecided"}],
        },
        "NotDecided": {"Type": "Fail", "Error": "Undecided", "Cause": "A person has to look at this closure"},
    },
}
HAND_OVER_FLOW: Final[dict[str, Any]] = {
    "Comment": "From request to files for another trader",
    "StartAt": "AwaitApproval",
    "States": {
        "AwaitApproval": _approval("Exporter", _HAND_OVER, late="Refuse", then="Export"),
        "Export": _step("Exporter", "export", _HAND_OVER, Next="Exported"),
        "Exported": {"Type": "Succeed"},
        "Refuse": _step("Exporter", "refuse", _HAND_OVER, Next="Refused"),
        "Refused": {"Type": "Succeed"},
        "Undecided": {
            **_step("Exporter", "undecided", _HAND_OVER, Next="NotDecided"),
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.problem", "Next": "NotDecided"}],
        },
        "NotDecided": {"Type": "Fail", "Error": "Undecided", "Cause": "A person has to look at this hand-over"},
    },
}
"""The hand-over of all accounts to another trader, by two approvals."""
