"""The log of changes: what is durable, what a crash may leave, what compaction may drop."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.request_log import (
    DamagedLogError,
    LogFullError,
    Record,
    RequestLog,
    changes_data,
    upload_id,
    without_superseded,
)


def put(key: str, body: bytes = b"", **given_fields: str) -> Record:
    return Record(service="s3", region="r", method="PUT", path=f"/bucket/{key}", body=body, **given_fields)


def delete(key: str, query: str = "") -> Record:
    return Record(service="s3", region="r", method="DELETE", path=f"/bucket/{key}", query=query)


def test_records_come_back_in_order(tmp_path: Path) -> None:
    log = RequestLog(tmp_path / "log")
    records = [put("a", b"1"), delete("a"), put("b", b"\x00" * 1000)]
    for record in records:
        log.append(record)
    log.close()
    again = RequestLog(tmp_path / "log")
    assert list(again.read()) == records
    assert again.size_bytes == (tmp_path / "log").stat().st_size
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("cut", [1, 5, 9, 20])
def test_a_torn_last_record_is_cut_off_and_the_log_goes_on(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "log"
    log = RequestLog(path)
    log.append(put("a"))
    log.append(put("b", b"x" * 50))
    log.close()
    path.write_bytes(path.read_bytes()[:-cut])
    again = RequestLog(path)
    again.append(put("c"))
    assert [record.path for record in again.read()] == ["/bucket/a", "/bucket/c"]


def test_zeros_that_a_power_cut_left_are_a_torn_tail(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = RequestLog(path)
    log.append(put("a"))
    log.close()
    path.write_bytes(path.read_bytes() + bytes(4096))
    assert [record.path for record in RequestLog(path).read()] == ["/bucket/a"]


def test_damage_in_the_middle_is_an_error_because_what_follows_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = RequestLog(path)
    log.append(put("a", b"x" * 50))
    log.append(put("b"))
    log.close()
    content = bytearray(path.read_bytes())
    content[30] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedLogError, match="byte 0"):
        RequestLog(path)


def test_a_full_log_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = RequestLog(tmp_path / "log")
    monkeypatch.setattr("local.request_log.LOG_BYTES_MAX", 100)
    with pytest.raises(LogFullError, match="compact"):
        log.append(put("a", b"x" * 200))
    assert list(log.read()) == []


def test_replacing_keeps_the_new_records_and_appends_after_them(tmp_path: Path) -> None:
    log = RequestLog(tmp_path / "log")
    for number in range(5):
        log.append(put("a", b"%d" % number))
    log.replace([put("a", b"4")])
    log.append(put("b"))
    assert [record.path for record in log.read()] == ["/bucket/a", "/bucket/b"]
    assert log.size_bytes == (tmp_path / "log").stat().st_size


@pytest.mark.parametrize(
    ("service", "target", "method", "path", "query", "changes"),
    [
        ("dynamodb", "DynamoDB_20120810.PutItem", "POST", "/", "", True),
        ("dynamodb", "DynamoDB_20120810.TransactWriteItems", "POST", "/", "", True),
        ("dynamodb", "DynamoDB_20120810.GetItem", "POST", "/", "", False),
        ("dynamodb", "DynamoDB_20120810.CreateTable", "POST", "/", "", False),
        ("dynamodb", "DynamoDBStreams_20120810.GetRecords", "POST", "/", "", False),
        ("secretsmanager", "secretsmanager.PutSecretValue", "POST", "/", "", True),
        ("secretsmanager", "secretsmanager.GetSecretValue", "POST", "/", "", False),
        ("s3", "", "PUT", "/bucket/key", "", True),
        ("s3", "", "PUT", "/bucket/key", "partNumber=1&uploadId=u", True),
        ("s3", "", "POST", "/bucket/key", "uploads", True),
        ("s3", "", "POST", "/bucket", "delete", True),
        ("s3", "", "DELETE", "/bucket/a/b", "versionId=1", True),
        ("s3", "", "GET", "/bucket/key", "", False),
        ("s3", "", "PUT", "/bucket", "versioning", False),
        ("s3", "", "PUT", "/bucket/", "", False),
        ("kinesis", "Kinesis_20131202.PutRecord", "POST", "/", "", False),
    ],
)
def test_what_changes_data(service: str, target: str, method: str, path: str, query: str, changes: bool) -> None:  # noqa: FBT001
    assert changes_data(service, target, method, path, query) is changes


def test_the_id_of_an_upload_is_in_the_query_or_in_the_answer() -> None:
    assert upload_id("uploads", b"<x><UploadId>u1</UploadId></x>") == "u1"
    assert upload_id("uploadId=u2&partNumber=1", b"") == "u2"
    assert upload_id("", b"<UploadId>no</UploadId>") == ""


PLAIN = {"bucket": False}


def test_a_later_write_of_the_whole_object_makes_earlier_ones_pointless() -> None:
    records = [put("a", b"1"), put("b", b"1"), put("a", b"2", query="tagging"), put("a", b"3")]
    assert without_superseded(records, PLAIN) == [records[1], records[3]]


def test_a_deleted_object_leaves_nothing() -> None:
    assert without_superseded([put("a"), delete("a")], PLAIN) == []
    assert without_superseded([put("a"), delete("a"), put("a", b"2")], PLAIN) == [put("a", b"2")]


def test_versions_and_sources_of_copies_are_kept() -> None:
    records = [put("a", b"1"), put("a", b"2")]
    assert without_superseded(records, {"bucket": True}) == records
    assert without_superseded(records, {}) == records, "an unknown bucket may be versioned"
    copied = [put("a", b"1"), put("b", headers={"HTTP_X_AMZ_COPY_SOURCE": "/bucket/a"}), put("a", b"2")]  # type: ignore[arg-type]
    assert without_superseded(copied, PLAIN) == copied


def test_an_upload_that_ends_after_a_write_is_kept_and_one_that_ended_before_is_not() -> None:
    begin, part, end = (put("a", query=query, upload="u") for query in ("uploads", "partNumber=1", "end"))
    write = put("a", b"whole")
    assert without_superseded([begin, part, end, write], PLAIN) == [write]
    assert without_superseded([begin, part, write, end], PLAIN) == [begin, part, write, end]


def outcome(records: list[Record]) -> dict[str, bytes]:
    objects: dict[str, bytes] = {}
    for record in records:
        if record.method == "PUT":
            objects[record.path] = record.body
        else:
            objects.pop(record.path, None)
    return objects


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=20))
def test_compaction_changes_no_outcome_and_leaves_one_record_an_object(steps: list[tuple[str, int]]) -> None:
    records = [put(key, b"%d" % n) if n else delete(key) for key, n in steps]
    compact = without_superseded(records, PLAIN)
    assert outcome(compact) == outcome(records)
    assert len(compact) == len(outcome(records))
