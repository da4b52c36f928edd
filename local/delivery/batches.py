"""What a function's answer says of each record of its batch. Pure."""

from collections.abc import Sequence
from typing import Final

from local.resolve import Json

REPORTS_FAILURES: Final = "ReportBatchItemFailures"


def failed(answer: Json, ids: Sequence[str], *, reports: bool) -> list[int]:
    """Return the places of the records that failed, given a function that returned `answer`.

    A function that does not report failures has handled everything. As in AWS, an answer that cannot be understood, or
    that names a record which was not sent, fails the whole batch.
    """
    everything = list(range(len(ids)))
    if not reports or answer is None or answer == {}:
        return []
    if not isinstance(answer, dict) or not isinstance(answer.get("batchItemFailures", []), list | None):
        return everything
    named = []
    for failure in answer.get("batchItemFailures") or []:
        item = failure.get("itemIdentifier") if isinstance(failure, dict) else None
        if item not in ids:
            return everything
        named.append(ids.index(item))
    return sorted(set(named))
