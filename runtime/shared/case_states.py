"""The states of a surveillance case, and the cases of one state as other services read them."""

from collections.abc import Iterator
from typing import Any, Final

OPEN: Final = "open"
REPORTED: Final = "reported"
DISMISSED: Final = "dismissed"


def cases_reported(table: Any, start_us: int, end_us: int) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - boto3's resource
    """Yield the cases that were decided to be reported within a stretch of time, by id.

    The table is scanned, once a day: it holds as many items as surveillance has opened cases.
    """
    found = []
    arguments: dict[str, Any] = {
        "FilterExpression": "#state = :reported AND decided_us >= :start AND decided_us < :end",
        "ExpressionAttributeNames": {"#state": "state"},
        "ExpressionAttributeValues": {":reported": REPORTED, ":start": start_us, ":end": end_us},
    }
    while True:
        page = table.scan(**arguments)
        found += page["Items"]
        if "LastEvaluatedKey" not in page:
            break
        arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]
    yield from sorted(found, key=lambda item: item["case_id"])
