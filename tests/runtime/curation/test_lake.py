"""The nightly job on moto's S3 and catalogue: idempotent, whole days only, nothing lost by a crash or by lateness."""

import ast
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from runtime.curation import job, lake
from runtime.curation.day import DAYS_MADE, SET_ASIDE, Columns, Manifest, ShrunkDayError
from runtime.curation.lake import BadFileError, Lake
from tests.runtime.curation.test_day import DAY, START_US, US_OF_DAY, batch, trade

TODAY, FIRST = DAY + timedelta(days=1), DAY
TABLE = {"DatabaseName": "bursa", "TableName": "trades_by_day"}


class Lines:
    """Records as lines of JSON, as the lake holds them on one machine."""

    suffix = ".json"

    def read(self, data: bytes) -> Iterator[object]:
        for line in data.splitlines():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise BadFileError(str(error)) from error

    def write(self, columns: Columns) -> bytes:
        return json.dumps(columns).encode()


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-southeast-3")
    with mock_aws():
        s3, glue = boto3.client("s3"), boto3.client("glue")
        where = {"CreateBucketConfiguration": {"LocationConstraint": "ap-southeast-3"}}
        s3.create_bucket(Bucket="raw", **where)
        s3.create_bucket(Bucket="curated", ObjectLockEnabledForBucket=True, **where)
        glue.create_database(DatabaseInput={"Name": "bursa"})
        glue.create_table(
            DatabaseName="bursa",
            TableInput={
                "Name": "trades_by_day",
                "PartitionKeys": [{"Name": "day", "Type": "date"}],
                "StorageDescriptor": {"Location": "s3://curated/curated/trades/", "Columns": []},
            },
        )
        yield


@pytest.fixture
def made() -> Callable[[], Lake]:
    def build() -> Lake:
        return Lake(
            s3=boto3.client("s3"),
            glue=boto3.client("glue"),
            files=Lines(),
            raw="raw",
            curated="curated",
            database="bursa",
            table="trades_by_day",
        )

    return build


def arrive(key: str, *records: object, day: date = DAY) -> str:
    path = f"trades/arrived={day}/{key}"
    boto3.client("s3").put_object(Bucket="raw", Key=path, Body="\n".join(map(json.dumps, records)).encode())
    return path


def objects(prefix: str = "") -> dict[str, bytes]:
    s3 = boto3.client("s3")
    listed = s3.list_objects_v2(Bucket="curated", Prefix=prefix).get("Contents", [])
    return {each["Key"]: s3.get_object(Bucket="curated", Key=each["Key"])["Body"].read() for each in listed}


def location(day: date = DAY) -> str:
    found = boto3.client("glue").get_partition(**TABLE, PartitionValues=[day.isoformat()])
    return str(found["Partition"]["StorageDescriptor"]["Location"])


def ids(manifest: Manifest) -> list[tuple[int, int]]:
    """Read the day as the catalogue shows it."""
    folder = location(manifest.day).removeprefix("s3://curated/")
    parts = {key: json.loads(data) for key, data in objects(folder).items() if not key.endswith(lake.MANIFEST)}
    assert sorted(parts) == [part.key for part in manifest.parts]
    return [(part["market"][0], each) for part in parts.values() for each in part["trade_id"]]


def test_yesterday_is_made_of_what_arrived_and_nothing_twice(made: Callable[[], Lake]) -> None:
    arrive("1", batch(trade(1), trade(2)), batch(trade(2), trade(1, 5)))
    arrive("2", batch(trade(3)), batch(trade(3)))
    (manifest,) = made().make_missing(TODAY, FIRST)
    assert ids(manifest) == [(0, 1), (0, 2), (0, 3), (5, 1)]
    assert (manifest.rows, manifest.duplicates, manifest.set_aside) == (4, 2, 0)
    assert [(part.first_trade_id, part.last_trade_id) for part in manifest.parts] == [(1, 3), (1, 1)]


def test_another_night_of_the_same_changes_nothing(made: Callable[[], Lake]) -> None:
    arrive("1", batch(trade(1)))
    list(made().make_missing(TODAY, FIRST))
    before = objects()
    assert list(made().make_missing(TODAY, FIRST)) == []
    again, _ = made().make(DAY)
    assert again.rows == 1
    assert objects() == before
    versions = boto3.client("s3").list_object_versions(Bucket="curated")["Versions"]
    assert len(versions) == len(before)


def test_an_empty_day_is_a_day_all_the_same(made: Callable[[], Lake]) -> None:
    (manifest,) = made().make_missing(TODAY, FIRST)
    assert (manifest.rows, manifest.parts) == (0, ())
    assert list(made().make_missing(TODAY, FIRST)) == []


@pytest.mark.parametrize("call", ["put_object", "create_partition"])
def test_a_crash_midway_shows_nobody_half_a_day(
    made: Callable[[], Lake], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    arrive("1", batch(trade(1), trade(1, 5)))
    broken, written = made(), 0
    client = broken._s3 if call == "put_object" else broken._glue
    real = getattr(client, call)

    def fail(**given: Any) -> Any:
        nonlocal written
        written += 1
        if call == "create_partition" or written == 2:
            raise ConnectionError
        return real(**given)

    monkeypatch.setattr(client, call, fail)
    with pytest.raises(ConnectionError):
        list(broken.make_missing(TODAY, FIRST))
    assert boto3.client("glue").get_partitions(**TABLE)["Partitions"] == []
    (manifest,) = made().make_missing(TODAY, FIRST)
    assert ids(manifest) == [(0, 1), (5, 1)]


def test_a_crash_while_a_day_is_replaced_leaves_the_day_before(
    made: Callable[[], Lake], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive("1", batch(trade(1)))
    (first,) = made().make_missing(TODAY, FIRST)
    was = location()
    arrive("2", batch(trade(2)))
    broken = made()

    def fail(**_given: Any) -> Any:
        raise ConnectionError

    monkeypatch.setattr(broken._glue, "update_partition", fail)
    with pytest.raises(ConnectionError):
        broken.make(DAY)
    assert location() == was
    assert ids(first) == [(0, 1)]
    assert ids(made().make(DAY)[0]) == [(0, 1), (0, 2)]


def test_a_trade_that_came_a_day_late_joins_its_day(made: Callable[[], Lake]) -> None:
    arrive("1", batch(trade(1)))
    list(made().make_missing(TODAY, FIRST))
    late = arrive("9", batch(trade(2), trade(3, time_us=START_US + US_OF_DAY)), day=TODAY)
    today, yesterday = made().make_missing(TODAY + timedelta(days=1), FIRST)
    assert (today.day, ids(today)) == (TODAY, [(0, 3)])
    assert (yesterday.day, ids(yesterday)) == (DAY, [(0, 1), (0, 2)])
    assert late in [each.key for each in yesterday.inputs]
    assert list(made().make_missing(TODAY + timedelta(days=1), FIRST)) == []


def test_a_trade_that_came_weeks_late_still_joins_its_day(made: Callable[[], Lake]) -> None:
    arrive("1", batch(trade(1)))
    list(made().make_missing(TODAY, FIRST))
    after = DAY + timedelta(days=20)
    arrive("9", batch(trade(2)), day=after)
    *_, remade = made().make_missing(after + timedelta(days=1), FIRST)
    assert (remade.day, ids(remade)) == (DAY, [(0, 1), (0, 2)])
    assert made().make(DAY)[0].rows == 2  # looking again drops no input that a listing does not find


def test_nights_that_failed_are_made_up_for(made: Callable[[], Lake]) -> None:
    days = [made_day.day for made_day in made().make_missing(TODAY + timedelta(days=2), FIRST)]
    assert days == [DAY, DAY + timedelta(days=1), DAY + timedelta(days=2)]


def test_what_cannot_be_read_is_told_and_set_aside(made: Callable[[], Lake]) -> None:
    arrive("1", batch(trade(1)), batch(trade(2, lots=0)))
    boto3.client("s3").put_object(Bucket="raw", Key=f"trades/arrived={DAY}/2", Body=b'{"broken')
    (manifest,) = made().make_missing(TODAY, FIRST)
    assert (manifest.rows, manifest.set_aside) == (1, 2)
    ((key, data),) = objects("curated/aside/").items()
    assert key.startswith(f"curated/aside/day={DAY}/run=")
    trade_line, file_line = map(json.loads, data.splitlines())
    assert trade_line["what"]["trade_id"] == 2
    assert (file_line["number"], file_line["source"]) == (-1, f"trades/arrived={DAY}/2")


def test_a_raw_object_that_is_gone_fails_the_night_and_leaves_the_day(made: Callable[[], Lake]) -> None:
    key = arrive("1", batch(trade(1)))
    (manifest,) = made().make_missing(TODAY, FIRST)
    boto3.client("s3").delete_object(Bucket="raw", Key=key)
    arrive("2", batch(trade(2)))
    with pytest.raises(boto3.client("s3").exceptions.NoSuchKey):
        made().make(DAY)
    assert ids(manifest) == [(0, 1)]


def test_a_day_is_never_made_smaller(made: Callable[[], Lake], monkeypatch: pytest.MonkeyPatch) -> None:
    arrive("1", batch(trade(1)))
    (manifest,) = made().make_missing(TODAY, FIRST)
    arrive("2", batch(trade(2)))
    broken = made()
    monkeypatch.setattr(broken, "_gather", lambda _day, _each: None)
    with pytest.raises(ShrunkDayError, match="must have at least its 1 trades, was made with 0"):
        broken.make(DAY)
    assert ids(manifest) == [(0, 1)]


class Said:
    def __init__(self) -> None:
        self.lines: list[dict[str, object]] = []

    def write(self, **line: object) -> None:
        self.lines.append(line)


def test_a_night_ends_with_the_line_that_the_alarm_waits_for(made: Callable[[], Lake]) -> None:
    log: Any = Said()
    arrive("1", batch(trade(1), trade(2, lots=0)), batch(trade(1, time_us=START_US - 1)))
    job.work(made(), log, today=TODAY, first=FIRST)
    day, strays, over = log.lines
    assert (day["day"], day["rows"], day["set_aside"]) == (DAY.isoformat(), 1, 1)
    assert strays["sources"] == [f"trades/arrived={DAY}/1"]
    assert over == {"message": "night over", DAYS_MADE: 1, SET_ASIDE: 2}
    log.lines.clear()
    job.work(made(), log, today=TODAY, first=FIRST)
    assert log.lines == [{"message": "night over", DAYS_MADE: 0, SET_ASIDE: 0}]


def test_the_log_is_one_stream_of_json_lines() -> None:
    logs = boto3.client("logs")
    logs.create_log_group(logGroupName="days")
    job.Log(logs, "days", "one").write(message="night over", lake_set_aside=0)
    (event,) = logs.get_log_events(logGroupName="days", logStreamName="one")["events"]
    assert json.loads(event["message"]) == {"message": "night over", "lake_set_aside": 0}


def test_the_jobs_own_arguments_are_found_among_glues() -> None:
    given = (
        "--JOB_ID j --raw r --curated c --database d --table t --log_group l --first_day 2026-11-01 --enable-metrics"
    )
    told = job.arguments(given.split())
    assert (told.raw, told.log_group, told.first_day, told.day) == ("r", "l", date(2026, 11, 1), None)
    assert job.arguments([*given.split(), "--day", "2026-11-30"]).day == date(2026, 11, 30)


@pytest.mark.skipif(
    not importlib.util.find_spec("pyarrow"), reason="Parquet's library is in the job's environment only"
)
def test_parquet_keeps_every_column_and_tells_a_broken_file() -> None:
    import pyarrow as pa  # noqa: PLC0415 - not everywhere
    from pyarrow import parquet as files  # noqa: PLC0415 - not everywhere

    from runtime.curation.day import COLUMNS, Day  # noqa: PLC0415
    from runtime.curation.parquet import Parquet  # noqa: PLC0415

    out = pa.BufferOutputStream()
    files.write_table(pa.Table.from_pylist([batch(trade(2)), batch(trade(1), trade(2))]), out)
    data = out.getvalue().to_pybytes()
    day = Day(DAY)
    for number, record in enumerate(Parquet().read(data)):
        day.add("a", number, record)
    assert (day.rows, day.duplicates, day.aside) == (2, 1, [])
    ((_, columns),) = day.markets()
    written = Parquet().write(columns)
    assert written == Parquet().write(columns)
    back = files.read_table(pa.BufferReader(written))
    assert back.to_pydict() == columns
    assert back.column_names == list(COLUMNS)
    for broken in (b"", b"no parquet", data[:-20], data[: len(data) // 2]):
        with pytest.raises(BadFileError, match="no Parquet"):
            list(Parquet().read(broken))


def test_the_job_imports_only_what_its_environment_has() -> None:
    known = {*sys.stdlib_module_names, "boto3", "pyarrow", "runtime.curation"}
    for path in Path(lake.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert {name.split(".")[0], ".".join(name.split(".")[:2])} & known, f"{path.name}: {name}"
