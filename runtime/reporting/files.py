"""A report as it is filed: a CSV and a manifest that proves what it holds. Pure.

The layouts are ours. The supervisor's own (SEOJK 20/SEOJK.07/2024) are not confirmed to us, and manifests say so; a
confirmed layout becomes a new layout version, and files that were filed stay as they are.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import Struct

MANIFEST_SCHEMA: Final = "bursa.report.1"
LAYOUT: Final = "bursa-1, unconfirmed by the supervisor"


def key_of(name: str, day: date) -> str:
    """Return the name of a report in the bucket, without its ending."""
    return f"{name}/{day.year:04d}/{name}-{day.isoformat()}"


def manifest_of(key: str) -> str:
    """Return the name of the manifest of the report that is called `key` in the bucket."""
    return f"{key}.manifest.json"


class Manifest(Struct, frozen=True):
    """What belongs to a report file: its checksum, its counts, and where the ledger stood."""

    schema: str
    report: str
    layout: str
    day: str
    file: str
    sha256: str
    rows: int
    totals: dict[str, int]
    """Control totals by name, in the units of the file."""
    ledger_sequence: int
    """Everything up to here is in it."""


class Report(Struct, frozen=True):
    """A file and its manifest, ready to be stored."""

    name: str
    day: date
    content: bytes
    totals: Mapping[str, int]
    rows: int

    @property
    def key(self) -> str:
        """Name of the file in the bucket, without its ending."""
        return key_of(self.name, self.day)

    def manifest(self, ledger_sequence: int) -> bytes:
        """Return the manifest as JSON."""
        manifest = Manifest(
            schema=MANIFEST_SCHEMA,
            report=self.name,
            layout=LAYOUT,
            day=self.day.isoformat(),
            file=f"{self.key}.csv",
            sha256=sha256(self.content).hexdigest(),
            rows=self.rows,
            totals=dict(sorted(self.totals.items())),
            ledger_sequence=ledger_sequence,
        )
        return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


def report(
    name: str, day: date, columns: Sequence[str], rows: Iterable[Sequence[Any]], totals: Mapping[str, int]
) -> Report:
    """Return the report called `name` of one business day: RFC 4180, UTF-8, a header line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    count = 0
    for row in rows:
        writer.writerow(row)
        count += 1
    return Report(name, day, text.getvalue().encode(), totals, count)
