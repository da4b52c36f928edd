"""Where days lie: raw objects in one bucket, days in another, and the catalogue, which says which run of a day counts.

A run of a day is a folder of its own, named by what it was made of. It is written as a whole before the catalogue is
told, in one call, to look there. A crash in between leaves the day as it was, and the next night writes the same
objects again. Nothing is ever deleted or changed here: the job has no right to.
"""

import hashlib
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, Final, Protocol

from runtime.curation.day import (
    Columns,
    Day,
    Input,
    Manifest,
    Part,
    ShrunkDayError,
    arrived_around,
    may_hold,
    missing_days,
    read_manifest,
    run_of,
    shrinks,
)

RAW: Final = "trades/arrived="
CURATED: Final = "curated/trades/"
ASIDE: Final = "curated/aside/"
MANIFEST: Final = "_manifest.json"
"""Athena reads no object whose name begins with an underscore."""
INPUTS_MAX: Final = 50_000
"""Raw objects of a day; Firehose writes one every five minutes and 64 MiB."""


class BadFileError(Exception):
    """An object that is no file of records, or breaks off."""


class Format(Protocol):
    """How raw records are read and days written."""

    suffix: str

    def read(self, data: bytes) -> Iterator[object]:
        """Yield each record. Raises BadFileError where the file cannot be read, or no further."""

    def write(self, columns: Columns) -> bytes:
        """Return one part of a day: the same bytes for the same columns."""


class Lake:
    """Makes days. `s3` and `glue` are boto3's clients."""

    def __init__(
        self,
        *,
        s3: Any,  # noqa: ANN401 - boto3's client
        glue: Any,  # noqa: ANN401 - boto3's client
        files: Format,
        raw: str,
        curated: str,
        database: str,
        table: str,
    ) -> None:
        """Work on the buckets `raw` and `curated`, and on one table of the catalogue."""
        self._s3, self._glue, self._files = s3, glue, files
        self._raw, self._curated = raw, curated
        self._table = {"DatabaseName": database, "TableName": table}
        self.strays: set[str] = set()
        """Raw objects with trades of before the first day, which belong nowhere."""

    def make_missing(self, today: date, first: date) -> Iterator[Manifest]:
        """Make every day of late that is not there, and those again of which something came late; yield each."""
        late: dict[date, set[str]] = {}
        for day in missing_days(today, self._made(today), first):
            manifest, earlier = self.make(day)
            yield manifest
            for past, keys in earlier.items():
                late.setdefault(past, set()).update(keys)
        for day, keys in sorted(late.items()):
            if day < first:
                self.strays |= keys
                continue
            current = self.current(day)
            if current is None or not keys <= {each.key for each in current.inputs}:
                yield self.make(day, also=keys)[0]

    def make(self, day: date, *, also: set[str] | None = None) -> tuple[Manifest, dict[date, set[str]]]:
        """Make `day` of what there is for it, and of the raw objects `also`; a day's inputs only ever grow.

        Return its manifest, and the earlier days of which raw objects hold trades. A day that is made of the same
        already stays as it is. Raises ShrunkDayError rather than losing a trade that was there.
        """
        current = self.current(day)
        inputs = {each.key: each for each in (current.inputs if current else ())}
        inputs |= {each.key: each for each in self._found(day)}
        inputs |= {key: self._input(key) for key in (also or set()) - inputs.keys()}
        if len(inputs) > INPUTS_MAX:
            raise ValueError(f"a day must have at most {INPUTS_MAX} raw objects, {day} has {len(inputs)}")
        run = run_of(inputs.values())
        if current and current.run == run:
            return current, {}
        gathered = Day(day)
        for each in sorted(inputs.values()):
            self._gather(gathered, each)
        return self._publish(gathered, run, tuple(sorted(inputs.values())), current), gathered.earlier

    def current(self, day: date) -> Manifest | None:
        """Return the manifest of the run that counts; None for a day that was never made."""
        try:
            found = self._glue.get_partition(**self._table, PartitionValues=[day.isoformat()])
        except self._glue.exceptions.EntityNotFoundException:
            return None
        folder = str(found["Partition"]["StorageDescriptor"]["Location"]).removeprefix(f"s3://{self._curated}/")
        got = self._s3.get_object(Bucket=self._curated, Key=f"{folder}{MANIFEST}")
        return read_manifest(got["Body"].read())

    def _made(self, today: date) -> Iterator[date]:
        pages = self._glue.get_paginator("get_partitions").paginate(**self._table, ExcludeColumnSchema=True)
        for page in pages:
            for each in page["Partitions"]:
                day = date.fromisoformat(each["Values"][0])
                if today - timedelta(days=31) <= day:
                    yield day

    def _found(self, day: date) -> Iterator[Input]:
        for folder in arrived_around(day):
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._raw, Prefix=f"{RAW}{folder}/")
            for page in pages:
                for each in page.get("Contents", ()):
                    if may_hold(day, folder, each["LastModified"]):
                        yield Input(each["Key"], each["ETag"].strip('"'), each["Size"])

    def _input(self, key: str) -> Input:
        told = self._s3.head_object(Bucket=self._raw, Key=key)
        return Input(key, told["ETag"].strip('"'), told["ContentLength"])

    def _gather(self, day: Day, each: Input) -> None:
        # A raw object that is gone fails the night: the day stays as it is.
        data = self._s3.get_object(Bucket=self._raw, Key=each.key, IfMatch=each.etag)["Body"].read()
        try:
            for number, record in enumerate(self._files.read(data)):
                day.add(each.key, number, record)
        except BadFileError as error:
            day.refuse(each.key, str(error))

    def _publish(self, day: Day, run: str, inputs: tuple[Input, ...], current: Manifest | None) -> Manifest:
        folder = f"{CURATED}day={day.date}/run={run[:16]}/"
        parts = tuple(self._write(folder, number, columns) for number, columns in day.markets())
        manifest = Manifest(day.date, run, inputs, parts, day.duplicates, len(day.aside))
        if shrinks(manifest, current):
            assert current is not None
            raise ShrunkDayError(
                f"{day.date} must have at least its {current.rows} trades, was made with {manifest.rows}"
            )
        if day.aside:
            lines = "".join(f"{each.line()}\n" for each in day.aside)
            key = f"{ASIDE}day={day.date}/run={run[:16]}/records.jsonl"
            self._put(key, lines.encode(), "application/x-ndjson")
        self._put(f"{folder}{MANIFEST}", manifest.to_json(), "application/json")
        self._point(day.date, folder, known=current is not None)
        return manifest

    def _write(self, folder: str, number: int, columns: Columns) -> Part:
        data = self._files.write(columns)
        key = f"{folder}market-{number:05}{self._files.suffix}"
        self._put(key, data, "application/octet-stream")
        ids = columns["trade_id"]
        return Part(number, columns["symbol"][0], key, len(ids), ids[0], ids[-1], hashlib.sha256(data).hexdigest())

    def _put(self, key: str, data: bytes, kind: str) -> None:
        # S3 checks what arrives against the checksum; a bucket with a lock takes nothing without one.
        self._s3.put_object(Bucket=self._curated, Key=key, Body=data, ContentType=kind, ChecksumAlgorithm="SHA256")

    def _point(self, day: date, folder: str, *, known: bool) -> None:
        """Tell the catalogue where the day lies: one call, so nobody ever sees half of it."""
        table = self._glue.get_table(DatabaseName=self._table["DatabaseName"], Name=self._table["TableName"])["Table"]
        given = {
            "Values": [day.isoformat()],
            "StorageDescriptor": table["StorageDescriptor"] | {"Location": f"s3://{self._curated}/{folder}"},
        }
        if known:
            self._glue.update_partition(**self._table, PartitionValueList=[day.isoformat()], PartitionInput=given)
        else:
            self._glue.create_partition(**self._table, PartitionInput=given)
