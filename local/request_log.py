"""The memory of the embedded AWS: requests that changed data, in order, durable before they are answered.

moto forgets everything on exit. What services keep in DynamoDB, S3 and Secrets Manager must outlive even `kill -9`, so
every request that changed such data is appended here, and performed again at the next start, after the deployment has
made the same tables, buckets and secrets. Each record carries the seed its random ids were drawn with, so version ids
come back the same; time stamps inside moto do not.

File: records of length (4 bytes, big endian), CRC-32 (4 bytes), msgpack. A torn last record is cut off; damage anywhere
else is an error, since what follows it was once acknowledged.
"""

import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote

import msgspec

from local.paths import sync_folder

LOG_BYTES_MAX: Final = 4 * 2**30
"""Past this, changes are refused until a restart has compacted the log."""
_HEADER_BYTES: Final = 8
_RECORD_BYTES_MAX: Final = 128 * 2**20

_DYNAMODB: Final = frozenset(
    {
        "BatchExecuteStatement",
        "BatchWriteItem",
        "DeleteItem",
        "ExecuteStatement",
        "ExecuteTransaction",
        "PutItem",
        "TransactWriteItems",
        "UpdateItem",
    }
)
_SECRETS: Final = frozenset({"PutSecretValue", "UpdateSecret", "UpdateSecretVersionStage"})
_UPLOAD_ID: Final = re.compile(rb"<UploadId>([^<]+)</UploadId>")


class DamagedLogError(OSError):
    """A record in the middle of the log cannot be read."""


class LogFullError(OSError):
    """The log has reached LOG_BYTES_MAX."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request that changed data. `headers` are WSGI names; the signature is left out, as moto checks none."""

    service: str
    region: str
    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = {}
    body: bytes = b""
    seed: bytes = b""
    upload: str = ""
    """The multipart upload this request began, continued or ended."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


def changes_data(service: str, target: str, method: str, path: str, query: str) -> bool:
    """Return whether a request, if it succeeds, changes data that has to outlive the process."""
    action = target.rpartition(".")[2]
    match service:
        case "dynamodb":
            return action in _DYNAMODB and target.startswith("DynamoDB_")
        case "secretsmanager":
            return action in _SECRETS
        case "s3" if method in {"PUT", "POST", "DELETE"}:
            _bucket, _slash, key = path.lstrip("/").partition("/")
            return bool(key) or (method == "POST" and "delete" in parse_qs(query, keep_blank_values=True))
    return False


def is_lease(service: str, body: bytes) -> bool:
    """Return whether a request to DynamoDB is about a lease: it names a process that lives now, and is not kept.

    It is renewed twice a second; and whoever led when this cloud ended does not live any more.
    """
    return service == "dynamodb" and b'"lease_of"' in body


def upload_id(record_query: str, answer: bytes) -> str:
    """Return the multipart upload that a request names, or that its answer has just opened; otherwise an empty text."""
    query = parse_qs(record_query, keep_blank_values=True)
    if "uploadId" in query:
        return query["uploadId"][0]
    if "uploads" in query and (found := _UPLOAD_ID.search(answer)):
        return found[1].decode()
    return ""


class RequestLog:
    """An append-only file of records. One writer: the launcher holds the lock of its folder."""

    def __init__(self, path: Path) -> None:
        """Open `path`, creating it if need be, and cut off what a crash left unfinished."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b", buffering=0)
        path.chmod(0o600)
        self._size = sum(_HEADER_BYTES + len(payload) for payload in self._payloads())
        self._file.truncate(self._size)
        os.fsync(self._file.fileno())
        sync_folder(path.parent)

    def close(self) -> None:
        """Close the file; everything in it is durable already."""
        self._file.close()

    @property
    def size_bytes(self) -> int:
        """Length of the log."""
        return self._size

    def read(self) -> Iterator[Record]:
        """Yield every whole record from the start. Raises DamagedLogError."""
        for payload in self._payloads():
            yield _decode(payload)

    def _payloads(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            left = os.fstat(file.fileno()).st_size
            while left:
                place = file.tell()
                header = file.read(_HEADER_BYTES)
                size, checksum = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")
                payload = file.read(min(size, _RECORD_BYTES_MAX))
                if not size or len(payload) != size or zlib.crc32(payload) != checksum:
                    if _HEADER_BYTES + size < left and any(header):
                        raise DamagedLogError(f"{self._path}: the record at byte {place} is damaged, more follows it")
                    return
                yield payload
                left -= _HEADER_BYTES + size

    def append(self, record: Record) -> None:
        """Add `record`; it is durable when this returns. Raises LogFullError, or OSError of a failing disk."""
        framed = _framed(record)
        if self._size + len(framed) > LOG_BYTES_MAX:
            raise LogFullError(f"{self._path} has reached {LOG_BYTES_MAX} bytes; `make down` and `make up` compact it")
        self._file.write(framed)
        os.fdatasync(self._file.fileno())
        self._size += len(framed)

    def replace(self, records: Iterable[Record]) -> None:
        """Put `records` in the place of everything logged so far, in one step."""
        fresh = self._path.with_suffix(".compacted")
        size = 0
        with fresh.open("wb") as file:
            fresh.chmod(0o600)
            for record in records:
                size += file.write(_framed(record))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        sync_folder(self._path.parent)
        self._file.close()
        self._file = self._path.open("a+b", buffering=0)
        self._size = size


def without_superseded(records: Iterable[Record], versioned: Mapping[str, bool]) -> list[Record]:
    """Return the S3 records that still matter: what a later plain PUT or DELETE of the same object undid is left out.

    Objects of a versioned bucket keep every version, and so every record. So do objects that something was copied from.
    """
    ordered = list(records)
    sources = {_copy_source(record) for record in ordered}
    ended = {record.upload: place for place, record in enumerate(ordered) if record.upload}
    settled_at: dict[str, int] = {}
    kept: list[Record] = []
    for place in range(len(ordered) - 1, -1, -1):
        record = ordered[place]
        name = record.path.lstrip("/")
        bucket, _slash, key = name.partition("/")
        if not key or versioned.get(bucket, True) or name in sources:
            kept.append(record)
            continue
        settled = settled_at.get(name)
        if settled is None or ended.get(record.upload, place) > settled:
            is_last_word = settled is None and not record.query and record.method in {"PUT", "DELETE"}
            if is_last_word:
                settled_at[name] = place
            if not (is_last_word and record.method == "DELETE"):
                kept.append(record)
    return kept[::-1]


def _copy_source(record: Record) -> str:
    return unquote(record.headers.get("HTTP_X_AMZ_COPY_SOURCE", "")).lstrip("/").partition("?")[0]


def _framed(record: Record) -> bytes:
    payload = _encode(record)
    return len(payload).to_bytes(4, "big") + zlib.crc32(payload).to_bytes(4, "big") + payload
