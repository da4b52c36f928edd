"""Where snapshots and copies of the journal lie: names in order, whole objects, which nobody changes or deletes."""

import os
from pathlib import Path
from typing import Any, Final, Protocol

from botocore.exceptions import ClientError

_EXISTS: Final = ("PreconditionFailed", "ConditionalRequestConflict")
"""What S3 answers when there is an object of that name, or another one is being put."""


class ObjectStore(Protocol):
    """Objects by name. Raises OSError or botocore's errors."""

    def names(self, prefix: str) -> list[str]:
        """Return the names that begin with `prefix`, in order."""

    def read(self, name: str) -> bytes:
        """Return the object called `name`."""

    def write(self, name: str, data: bytes) -> None:
        """Store an object; it is there whole, and durable, or not at all."""

    def add(self, name: str, data: bytes) -> bool:
        """Store an object unless there is one of that name; tell whether it was stored."""


class FolderStore:
    """Objects as files."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, created with the first object."""
        self._folder = folder

    def names(self, prefix: str) -> list[str]:
        """Return the names that begin with `prefix`, in order."""
        files = (path for path in self._folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        names = (path.relative_to(self._folder).as_posix() for path in files)
        return sorted(name for name in names if name.startswith(prefix))

    def read(self, name: str) -> bytes:
        """Return the file called `name`."""
        return (self._folder / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Write beside, sync, then give it its name."""
        path = self._folder / name
        self._beside(path, data).replace(path)
        self._sync(path.parent)

    def add(self, name: str, data: bytes) -> bool:
        """Write beside, sync, then give it its name unless that is taken."""
        path = self._folder / name
        fresh = self._beside(path, data)
        try:
            path.hardlink_to(fresh)
        except FileExistsError:
            return False
        finally:
            fresh.unlink()
        self._sync(path.parent)
        return True

    def _beside(self, path: Path, data: bytes) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return fresh

    def _sync(self, path: Path) -> None:
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class S3Store:
    """Objects in a bucket, under its key."""

    def __init__(self, bucket: str, client: Any) -> None:  # noqa: ANN401 - boto3 makes clients at run time
        """Use `bucket` through a boto3 client of S3."""
        self._bucket = bucket
        self._client = client

    def names(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`, in order."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        return sorted(each["Key"] for page in pages for each in page.get("Contents", []))

    def read(self, name: str) -> bytes:
        """Return the object called `name`."""
        body: bytes = self._client.get_object(Bucket=self._bucket, Key=name)["Body"].read()
        return body

    def write(self, name: str, data: bytes) -> None:
        """Put an object."""
        self._client.put_object(Bucket=self._bucket, Key=name, Body=data)

    def add(self, name: str, data: bytes) -> bool:
        """Put an object on the condition that there is none."""
        try:
            self._client.put_object(Bucket=self._bucket, Key=name, Body=data, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] in _EXISTS:
                return False
            raise
        return True


class MemoryStore:
    """Objects in memory, for tests and simulations."""

    def __init__(self) -> None:
        """Start empty."""
        self.objects: dict[str, bytes] = {}

    def names(self, prefix: str) -> list[str]:
        """Return the names that begin with `prefix`, in order."""
        return sorted(name for name in self.objects if name.startswith(prefix))

    def read(self, name: str) -> bytes:
        """Return the object called `name`."""
        return self.objects[name]

    def write(self, name: str, data: bytes) -> None:
        """Keep an object."""
        self.objects[name] = data

    def add(self, name: str, data: bytes) -> bool:
        """Keep an object unless there is one of that name."""
        return self.objects.setdefault(name, data) is data
