"""Import runs as they are stored: one item each, with what it found. Staging is the landing bucket; this is its index.

Errors:
    RunTakenError  the id belongs to a run of another folder
"""

from typing import Any, Final

import boto3
from botocore.exceptions import ClientError

from runtime.shared.hand_over import Reconciliation

_TAKEN: Final = "ConditionalCheckFailedException"


class RunTakenError(ValueError):
    """The id belongs to a run of another folder."""


class Runs:
    """The table. A run that is asked for again reads the files again and notes what it finds then."""

    def __init__(self, table: str, *, dynamodb: Any = None) -> None:  # noqa: ANN401 - boto3's
        """Use the table of this name."""
        self._table = (dynamodb or boto3.resource("dynamodb")).Table(table)

    def begin(self, run_id: str, folder: str, now_s: int) -> None:
        """Note that a run of `folder` begins. Raises RunTakenError."""
        try:
            self._table.update_item(
                Key={"id": run_id},
                UpdateExpression="SET folder = :folder, began_at_s = if_not_exists(began_at_s, :now)",
                ConditionExpression="attribute_not_exists(id) OR folder = :folder",
                ExpressionAttributeValues={":folder": folder, ":now": now_s},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != _TAKEN:
                raise
            raise RunTakenError(f"run {run_id} is of another folder than {folder}") from None

    def end(self, run_id: str, found: Reconciliation, report: str) -> None:
        """Note what a run found, and where its report lies."""
        self._table.update_item(
            Key={"id": run_id},
            UpdateExpression="SET is_zero = :zero, #rows = :rows, totals = :totals, report = :report",
            ExpressionAttributeNames={"#rows": "rows"},
            ExpressionAttributeValues={
                ":zero": found.is_zero,
                ":rows": found.rows,
                ":totals": found.totals,
                ":report": report,
            },
        )
