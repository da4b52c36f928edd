"""The steps of an import, as a state machine in Amazon States Language. `${Name}` stands for a function's ARN.

    what is asked for → dry run: read, add up, compare, write the report → end

A dry run posts nothing, whatever it finds. Posting, and the shadow run of a cut-over, are not built: asked for, the
execution fails and says so, before it has read a file.
"""

from typing import Any, Final

DRY_RUN: Final = "dry-run"
NOT_BUILT: Final = {
    "post": "Posting what was imported is not built: use a dry run, whose report shows what would be posted",
    "shadow-run": "The shadow run, which mirrors live commands and compares fills and balances, is not built",
}
_RETRY: Final = [
    {
        "ErrorEquals": ["States.TaskFailed"],
        "IntervalSeconds": 2,
        "BackoffRate": 2,
        "MaxAttempts": 4,
        "MaxDelaySeconds": 60,
    }
]


def _end(what: str) -> str:
    return "".join(part.title() for part in what.split("-")) + "NotBuilt"


FLOW: Final[dict[str, Any]] = {
    "Comment": "From files of the predecessor to a report of differences",
    "StartAt": "WhatIsAsked",
    "States": {
        "WhatIsAsked": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.what", "StringEquals": DRY_RUN, "Next": "DryRun"},
                *({"Variable": "$.what", "StringEquals": what, "Next": _end(what)} for what in NOT_BUILT),
            ],
            "Default": "Unknown",
        },
        "DryRun": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {
                "FunctionName": "${Importer}",
                "Payload": {"run_id.$": "$.run_id", "folder.$": "$.folder"},
            },
            "ResultSelector": {"outcome.$": "$.Payload.outcome", "report.$": "$.Payload.report"},
            "ResultPath": "$.last",
            "Retry": _RETRY,
            "Next": "IsZero",
        },
        "IsZero": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.last.outcome", "StringEquals": "zero", "Next": "Zero"}],
            "Default": "Differs",
        },
        "Zero": {"Type": "Succeed", "Comment": "Nothing differs"},
        "Differs": {"Type": "Fail", "Error": "Differs", "Cause": "The report in the landing bucket names what differs"},
        "Unknown": {
            "Type": "Fail",
            "Error": "Unknown",
            "Cause": f"what must be one of {', '.join((DRY_RUN, *NOT_BUILT))}",
        },
        **{_end(what): {"Type": "Fail", "Error": "NotBuilt", "Cause": cause} for what, cause in NOT_BUILT.items()},
    },
}
