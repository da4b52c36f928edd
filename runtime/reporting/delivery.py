"""Delivers filed reports to the bourse and the clearing house, and remembers what was offered and what was fetched.

A recipient fetches a report itself, as a role of ours that may read its reports and nothing else. What it gets from us
is a notice in a queue of its own: which report, where it lies, and the checksum to hold it against. A notice may come
more than once, as when a run breaks off between telling and remembering; a report is registered once.

It looks back over the last days and offers what is missing, so a run that failed, or never happened, is made good by
the next.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec
from botocore.exceptions import ClientError
from msgspec import Struct

from runtime.reporting.files import Manifest, key_of, manifest_of
from runtime.reporting.filing import DAYS_BACK, Cabinet
from runtime.shared.business_day import day_of

logger = logging.getLogger(__name__)

NOTICE_SCHEMA: Final = "bursa.notice.1"
LATE: Final = "deliveries_late"
"""Field of the line that each look writes: how many reports nobody has fetched in time."""
OFFERED_DAYS: Final = DAYS_BACK + 1
"""One day more than filing makes good, so that what is filed last is offered as well."""
_FILE: Final = re.compile(r"([a-z-]+)/\d{4}/\1-(\d{4}-\d{2}-\d{2})\.csv")


class Recipient(Struct, frozen=True):
    """Who gets which reports, and where it is told of them."""

    name: str
    queue_url: str
    reports: tuple[str, ...]
    deliver_within_s: int


class Notice(Struct, frozen=True):
    """What a recipient is told of one report."""

    schema: str
    report: str
    day: str
    location: str
    """Of the file, as s3://bucket/key."""
    manifest: str
    """Of its manifest, in the same form."""
    sha256: str
    """Of the file, as its manifest has it."""


class Delivery(NamedTuple):
    """One report of one day for one recipient."""

    recipient: str
    report: str
    day: date

    @property
    def item_key(self) -> dict[str, str]:
        """Its key in the register; days of a recipient come in order."""
        return {"recipient": self.recipient, "report_day": f"{self.day}/{self.report}"}


Send = Callable[[str, str], None]
"""Puts a text into the queue of that URL."""


class Register:
    """What was offered to whom, and when it was fetched. Every write is one condition, so it can come twice."""

    def __init__(self, table: Any) -> None:  # noqa: ANN401 - boto3's resource
        """Keep deliveries in `table` (DynamoDB)."""
        self._table = table

    def offered(self, recipient: str, first: date) -> set[str]:
        """Return which deliveries of `recipient` since the day `first` are registered, as `day/report`."""
        found = self._items(
            recipient,
            "recipient = :recipient AND report_day >= :first",
            "attribute_exists(offered_at_s)",
            **{":first": first.isoformat()},
        )
        return {str(item["report_day"]) for item in found}

    def late(self, recipient: str, now_s: int) -> list[str]:
        """Return which deliveries of `recipient` nobody had fetched when they were due, as `day/report`."""
        found = self._items(
            recipient,
            "recipient = :recipient",
            "attribute_not_exists(fetched_at_s) AND due_at_s < :now",
            **{":now": now_s},
        )
        return [str(item["report_day"]) for item in found]

    def offer(self, delivery: Delivery, manifest_sha256: str, *, now_s: int, due_at_s: int) -> None:
        """Write down that a report was offered; what an earlier run wrote stays."""
        try:
            self._table.update_item(
                Key=delivery.item_key,
                UpdateExpression="SET offered_at_s = :now, due_at_s = :due, manifest_sha256 = :manifest",
                ConditionExpression="attribute_not_exists(offered_at_s)",
                ExpressionAttributeValues={":now": now_s, ":due": due_at_s, ":manifest": manifest_sha256},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            logger.info("%s is registered already", delivery)

    def fetch(self, delivery: Delivery, at_s: int) -> None:
        """Write down that a report was fetched; the first time counts, be it before the notice."""
        self._table.update_item(
            Key=delivery.item_key,
            UpdateExpression="SET fetched_at_s = if_not_exists(fetched_at_s, :at)",
            ExpressionAttributeValues={":at": at_s},
        )

    def _items(self, recipient: str, key: str, only: str, **values: Any) -> Iterable[Mapping[str, Any]]:  # noqa: ANN401
        question: dict[str, Any] = {
            "KeyConditionExpression": key,
            "FilterExpression": only,
            "ExpressionAttributeValues": {":recipient": recipient, **values},
            "ConsistentRead": True,
        }
        while True:
            page = self._table.query(**question)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            question["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def offer_missing(
    recipients: Iterable[Recipient], cabinet: Cabinet, register: Register, send: Send, now_us: int
) -> list[Delivery]:
    """Tell each recipient of its reports of the last days that it was not told of, oldest first; return them."""
    today = day_of(now_us)
    offered = []
    for recipient in recipients:
        known = register.offered(recipient.name, today - timedelta(days=OFFERED_DAYS))
        for back in range(OFFERED_DAYS, 0, -1):
            for report in recipient.reports:
                delivery = Delivery(recipient.name, report, today - timedelta(days=back))
                if delivery.item_key["report_day"] in known:
                    continue
                key = key_of(report, delivery.day)
                if (manifest := cabinet.manifest(key)) is None:
                    continue
                # Told first: a run that ends here tells again, where the other order could tell never.
                send(recipient.queue_url, _notice(delivery, manifest, key, cabinet))
                now_s = now_us // 1_000_000
                due_at_s = now_s + recipient.deliver_within_s
                register.offer(delivery, sha256(manifest).hexdigest(), now_s=now_s, due_at_s=due_at_s)
                offered.append(delivery)
    return offered


def _notice(delivery: Delivery, manifest: bytes, key: str, cabinet: Cabinet) -> str:
    notice = Notice(
        schema=NOTICE_SCHEMA,
        report=delivery.report,
        day=delivery.day.isoformat(),
        location=cabinet.place(f"{key}.csv"),
        manifest=cabinet.place(manifest_of(key)),
        sha256=msgspec.json.decode(manifest, type=Manifest).sha256,
    )
    return msgspec.json.encode(notice).decode()


def fetched(recipient: str, object_key: str) -> Delivery | None:
    """Return which delivery the reading of an object completes; None for a manifest, or what is no report of a day."""
    found = _FILE.fullmatch(object_key)
    return Delivery(recipient, found[1], date.fromisoformat(found[2])) if found else None
