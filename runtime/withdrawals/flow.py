"""The steps of a withdrawal, as a state machine in Amazon States Language. `${Name}` stands for a function's ARN.

    check → take a place in the wallet's order → [two approvals] → hold the funds
        → sign → send → wait until it is final → settle

What is refused before the funds are held changes nothing; what the signer refuses, or the chain carries out in vain,
frees them again. Whatever cannot be carried out after retries ends as undecided, with the funds held: a signature may
exist, so only a person decides. An execution holds the withdrawal's id and the outcome of each step, never who
receives. It begins where the withdrawal stands, so that another execution takes up what one has left.
"""

from typing import Any, Final

APPROVAL_WAIT_S: Final = 3600
"""Shorter than a transaction may hold up the later ones of its wallet."""
SIGNATURE_PAUSE_S: Final = 2
CHAIN_PAUSE_S: Final = 10
"""Between two questions to the nodes. With the clerk's CHAIN_WAIT_S it bounds the length of an execution's history."""
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
_ID: Final = {"withdrawal_id.$": "$.withdrawal_id"}


def _step(function: str, step: str, **rest: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": f"${{{function}}}", "Payload": {"step": step, **_ID}},
        "ResultSelector": {"value.$": "$.Payload"},
        "ResultPath": "$.last",
        "Retry": _RETRY,
        "Catch": _ELSE,
        **rest,
    }


def _choice(default: str, **outcomes: str) -> dict[str, Any]:
    choices = [
        {"Variable": "$.last.value", "StringEquals": outcome, "Next": state} for outcome, state in outcomes.items()
    ]
    return {"Type": "Choice", "Choices": choices, "Default": default}


FLOW: Final[dict[str, Any]] = {
    "Comment": "From request to transaction",
    "StartAt": "Locate",
    "States": {
        "Locate": _step("Clerk", "locate", Next="WhereTo"),
        "WhereTo": _choice(
            "Undecided",
            asked="Check",
            checked="Prepare",
            prepared="Prepare",
            held="Sign",
            signing="AwaitSignature",
            signed="Send",
            sent="Await",
            final="Settle",
            settled="Settled",
            declined="Release",
            failed="Release",
            released="Refuse",
            refused="Refused",
        ),
        "Check": _step("Clerk", "check", Next="IsAllowed"),
        "IsAllowed": _choice("Refuse", allowed="Prepare"),
        "Prepare": _step("Clerk", "prepare", Next="NeedsApproval"),
        "NeedsApproval": _choice("AwaitApproval", refused="Refuse", **{"no-approval": "Hold"}),
        "AwaitApproval": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
            "Parameters": {
                "FunctionName": "${Clerk}",
                "Payload": {"step": "await-approval", **_ID, "token.$": "$$.Task.Token"},
            },
            "TimeoutSeconds": APPROVAL_WAIT_S,
            "ResultPath": "$.approval",
            "Retry": _RETRY,
            "Catch": [
                {"ErrorEquals": ["States.Timeout"], "ResultPath": "$.problem", "Next": "NotApproved"},
                *_ELSE,
            ],
            "Next": "Hold",
        },
        "NotApproved": _step("Clerk", "not-approved", Next="Refuse"),
        "Hold": {
            **_step("Teller", "hold", Next="IsHeld"),
            # Nothing is held and no signature exists yet: it ends, rather than keep its place in the wallet's order.
            "Retry": [{"ErrorEquals": ["NotApprovedError"], "MaxAttempts": 0}, *_RETRY],
            "Catch": [{"ErrorEquals": ["NotApprovedError"], "ResultPath": "$.problem", "Next": "NotApproved"}, *_ELSE],
        },
        "IsHeld": _choice("Refuse", held="Sign"),
        "Sign": _step("Clerk", "sign", Next="AwaitSignature"),
        "AwaitSignature": _step("Clerk", "read-signature", Next="IsSigned"),
        "IsSigned": _choice("Undecided", signed="Send", declined="Release", waiting="Pause"),
        "Pause": {"Type": "Wait", "Seconds": SIGNATURE_PAUSE_S, "Next": "AwaitSignature"},
        "Send": _step("Clerk", "send", Next="IsSent"),
        "IsSent": _choice("Undecided", sent="Await", waiting="PauseToSend"),
        "PauseToSend": {"Type": "Wait", "Seconds": CHAIN_PAUSE_S, "Next": "Send"},
        "Await": _step("Clerk", "await", Next="IsFinal"),
        "IsFinal": _choice("Undecided", final="Settle", failed="Release", waiting="PauseToAwait"),
        "PauseToAwait": {"Type": "Wait", "Seconds": CHAIN_PAUSE_S, "Next": "Await"},
        "Settle": _step("Teller", "settle", Next="Settled"),
        "Settled": {"Type": "Succeed"},
        "Release": _step("Teller", "release", Next="Refuse"),
        "Refuse": _step("Clerk", "refuse", Next="Refused"),
        "Refused": {"Type": "Succeed"},
        "Undecided": {
            **_step("Clerk", "undecided", Next="NotDecided"),
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.problem", "Next": "NotDecided"}],
        },
        "NotDecided": {"Type": "Fail", "Error": "Undecided", "Cause": "A person has to look at this withdrawal"},
    },
}
