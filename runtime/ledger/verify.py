"""Checks the archive of postings, and the ledger against it: `python -m runtime.ledger.verify`.

Exits with 0 when every hash agrees and the ledger still holds every archived posting as it was; else with 1 and the
name of the first row that does not.
"""

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing

import boto3
import psycopg
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.ledger.chain import ChainError, Segment, compare, follow
from runtime.ledger.export import Archive, postings_through
from runtime.ledger.history import GROUP
from runtime.ledger.projection import Posting
from runtime.shared.settings import DATABASE_URL_PATTERN, database_conninfo, read_settings

logger = logging.getLogger(__name__)


class VerifySettings(BaseSettings):
    """Environment of the verifier."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    ledger_bucket: str = Field(min_length=1)
    database_url: str = Field(pattern=DATABASE_URL_PATTERN)


def verify(connection: psycopg.Connection, archive: Archive) -> str:
    """Return what was found sound, in one line. Raises ChainError."""
    last = archive.last()
    if last is None:
        return "the archive is empty"
    with closing(postings_through(connection, last.last_sequence)) as ledger:
        count = compare(_postings(follow(archive.segments())), ledger)
    return f"{count} postings in {last.number} segments, up to sequence {last.last_sequence}, head {last.head}"


def _postings(segments: Iterable[Segment]) -> Iterator[Posting]:
    for segment in segments:
        yield from segment.postings


def main() -> None:
    """Verify; say the outcome."""
    settings = read_settings(VerifySettings)
    archive = Archive(boto3.client("s3"), settings.ledger_bucket, GROUP)
    try:
        with psycopg.connect(database_conninfo(settings.database_url)) as connection:
            sys.stdout.write(verify(connection, archive) + "\n")
    except ChainError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
