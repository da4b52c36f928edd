"""Files the reports of each day that has ended: from the ledger into a bucket that keeps them unchangeable.

It looks back over the last days and files what is missing, so a run that failed, or never happened, is made good by
the next. The manifest is written last: a report without one was not filed.

Errors:
    NotFinalError  the ledger has not come to the end of the day yet; the next run tries again
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

import psycopg
from botocore.exceptions import ClientError

from runtime.reporting.day import Day, DayTrade, GroupTransfer, Sums, reports
from runtime.reporting.files import Report, key_of, manifest_of
from runtime.shared.business_day import bounds_us, day_of
from runtime.shared.business_events import EventPublisher, ReportFiled
from runtime.shared.catalogue import Catalogue
from runtime.shared.messages import FEE_ACCOUNT

logger = logging.getLogger(__name__)

DAYS_BACK: Final = 7
QUIET_US: Final = 3600 * 1_000_000
"""A ledger that says nothing for an hour after midnight has nothing more to say of the day."""
_TRADE: Final = 1
_FEE: Final = 2

Cases = Callable[[int, int], Iterator[Mapping[str, Any]]]
"""Gives the cases decided to be reported from one moment up to another."""


class NotFinalError(RuntimeError):
    """A day cannot be reported yet."""


class Filed(NamedTuple):
    """A report that is in the bucket now."""

    name: str
    day: date


class Cabinet:
    """The bucket of reports."""

    def __init__(self, bucket: Any) -> None:  # noqa: ANN401 - boto3's resource
        """Keep reports in `bucket` (S3)."""
        self._bucket = bucket

    def has(self, day: date) -> bool:
        """Tell whether every report of `day` is filed: the last manifest is."""
        return self.holds(key_of(_LAST, day))

    def holds(self, key: str) -> bool:
        """Tell whether the report of that key is filed: its manifest, which is written last, is there."""
        name = manifest_of(key)
        return any(entry.key == name for entry in self._bucket.objects.filter(Prefix=name))

    def file(self, report: Report, ledger_sequence: int) -> str:
        """Store a report, then its manifest, each once; return where. What an earlier run stored stays."""
        self._put(f"{report.key}.csv", report.content, "text/csv; charset=utf-8")
        self._put(manifest_of(report.key), report.manifest(ledger_sequence), "application/json")
        return self.place(f"{report.key}.csv")

    def place(self, name: str) -> str:
        """Return where the object of that name is."""
        return f"s3://{self._bucket.name}/{name}"

    def manifest(self, key: str) -> bytes | None:
        """Return the manifest of the report of that key, or None while it is not filed."""
        if not self.holds(key):
            return None
        content: bytes = self._bucket.Object(manifest_of(key)).get()["Body"].read()
        return content

    def _put(self, key: str, body: bytes, kind: str) -> None:
        try:
            self._bucket.put_object(Key=key, Body=body, ContentType=kind, IfNoneMatch="*", ChecksumAlgorithm="SHA256")
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"PreconditionFailed", "ConditionalRequestConflict"}:
                raise
            logger.info("%s is filed already", key)


def file_missing(
    connection: psycopg.Connection,
    catalogue: Catalogue,
    cases: Cases,
    cabinet: Cabinet,
    publisher: EventPublisher,
    now_us: int,
) -> list[Filed]:
    """File the reports of every day that has ended and has none, oldest first; return what was filed.

    Raises NotFinalError, or OutOfBalanceError, for the first day that cannot be reported; days before it are filed.
    """
    today = day_of(now_us)
    filed = []
    for back in range(DAYS_BACK, 0, -1):
        day = today - timedelta(days=back)
        if cabinet.has(day):
            continue
        sequence = refuse_unfinished(connection, day, now_us)
        for report in reports(read_day(connection, day, cases), catalogue):
            where = cabinet.file(report, sequence)
            publisher.publish(
                ReportFiled(
                    event_id=f"report-{report.name}-{day}",
                    at_us=now_us,
                    report=report.name,
                    period=day.isoformat(),
                    location=where,
                )
            )
            filed.append(Filed(report.name, day))
    return filed


def read_day(connection: psycopg.Connection, day: date, cases: Cases) -> Day:
    """Return what the ledger holds of `day`, all as of one moment."""
    start_us, end_us = bounds_us(day)
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        trades = [DayTrade(*row) for row in connection.execute(_TRADES, (start_us, end_us)).fetchall()]
        transfers = [GroupTransfer(*row) for row in connection.execute(_TRANSFERS, (start_us, end_us)).fetchall()]
        posted = Sums({}, {})
        for asset, moved, fees in connection.execute(
            _POSTED, {"start": start_us, "end": end_us, "trade": _TRADE, "fee": _FEE, "house": FEE_ACCOUNT}
        ).fetchall():
            posted = Sums({**posted.moved, asset: int(moved)}, {**posted.fees, asset: int(fees)})
    return Day(day, trades, transfers, posted, list(cases(start_us, end_us)))


def refuse_unfinished(connection: psycopg.Connection, day: date, now_us: int) -> int:
    """Return how far the ledger has come. Raises NotFinalError while something of `day` may still be on its way."""
    end_us = bounds_us(day)[1]
    row = connection.execute("SELECT sequence, time_us FROM positions ORDER BY time_us DESC LIMIT 1").fetchone()
    sequence, time_us = row or (0, 0)
    if time_us < end_us and now_us < end_us + QUIET_US:
        raise NotFinalError(f"{day} is not over in the ledger, which is at sequence {sequence}")
    return int(sequence)


_LAST: Final = "suspicious-transactions"
"""The report that is filed last."""
_TRADES: Final = b"""
SELECT market, trade_id, price, lots, buyer_is_maker, buy_order_id, sell_order_id, buyer, seller, buyer_fee, seller_fee,
       time_us, sequence, buyer_fee_asset, seller_fee_asset
FROM trades WHERE time_us >= %s AND time_us < %s ORDER BY sequence, market, trade_id
"""
_TRANSFERS: Final = b"""
SELECT market, price, transferred FROM prevented_matches WHERE time_us >= %s AND time_us < %s AND transferred > 0
"""
_POSTED: Final = b"""
SELECT asset, coalesce(sum(amount) FILTER (WHERE kind = %(trade)s AND amount > 0), 0),
       coalesce(sum(amount) FILTER (WHERE kind = %(fee)s AND account = %(house)s), 0)
FROM postings WHERE time_us >= %(start)s AND time_us < %(end)s AND kind IN (%(trade)s, %(fee)s) GROUP BY asset
"""
