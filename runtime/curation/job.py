"""The nightly job, as Glue runs it: makes yesterday, and what is missing before it.

Glue hands the job's own arguments over on the command line, between others of its own. An operator who wants one day
looked at again starts the job with `--day 2026-11-30`.
"""

import argparse
import json
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import boto3

from runtime.curation.day import DAYS_MADE, SET_ASIDE, Manifest
from runtime.curation.lake import Lake


class Log:
    """Lines in a log group of ours, whose name, key and retention do not depend on how Glue names its own."""

    def __init__(self, logs: Any, group: str, stream: str) -> None:  # noqa: ANN401 - boto3's client
        """Write into `stream` of `group`, which is created."""
        self._logs, self._where = logs, {"logGroupName": group, "logStreamName": stream}
        logs.create_log_stream(**self._where)

    def write(self, **line: object) -> None:
        """Write one line of JSON."""
        event = {"timestamp": time.time_ns() // 1_000_000, "message": json.dumps(line, sort_keys=True)}
        self._logs.put_log_events(**self._where, logEvents=[event])


def work(lake: Lake, log: Log, *, today: date, first: date, day: date | None = None) -> None:
    """Make what is to be made, tell of each day, and end with one line that an alarm waits for."""
    days: Iterator[Manifest] = iter([lake.make(day)[0]]) if day else lake.make_missing(today, first)
    made = aside = 0
    for manifest in days:
        made, aside = made + 1, aside + manifest.set_aside
        log.write(
            message="day made",
            day=manifest.day.isoformat(),
            run=manifest.run,
            rows=manifest.rows,
            duplicates=manifest.duplicates,
            ids_missing=manifest.missing,
            set_aside=manifest.set_aside,
            inputs=len(manifest.inputs),
        )
    if lake.strays:
        log.write(message="trades of before the first day", first_day=first.isoformat(), sources=sorted(lake.strays))
    log.write(**{"message": "night over", DAYS_MADE: made, SET_ASIDE: aside + len(lake.strays)})


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """Return the job's own arguments among those that Glue gives."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("raw", "curated", "database", "table", "log_group"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--first_day", required=True, type=date.fromisoformat)
    parser.add_argument("--day", type=date.fromisoformat)
    return parser.parse_known_args(given)[0]


def main(given: Sequence[str]) -> None:
    """Run one night. Whatever fails is told in our log group and fails the job, which tells the operators."""
    from runtime.curation.parquet import Parquet  # noqa: PLC0415 - only the job's environment has its library

    told, now = arguments(given), datetime.now(UTC)
    log = Log(boto3.client("logs"), told.log_group, f"{now:%Y-%m-%d/%H%M%S}-{now.microsecond:06}")
    try:
        lake = Lake(
            s3=boto3.client("s3"),
            glue=boto3.client("glue"),
            files=Parquet(),
            raw=told.raw,
            curated=told.curated,
            database=told.database,
            table=told.table,
        )
        work(lake, log, today=now.date(), first=told.first_day, day=told.day)
    except Exception:
        log.write(message="night failed", error=traceback.format_exc())
        raise


if __name__ == "__main__":
    main(sys.argv[1:])
