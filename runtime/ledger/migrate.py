"""Brings the schema forward: numbered SQL files, each applied once, in order, never changed afterwards."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from psycopg import AsyncConnection

logger = logging.getLogger(__name__)

MIGRATIONS: Final = Path(__file__).parent / "migrations"
SCHEMA_VERSION: Final = 7
"""The version that this code reads and writes; readers wait until the ledger service has brought it about."""
_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_LOCK: Final = 0x62757273  # "burs": any number will do as long as every migrator takes the same
_HISTORY: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class MigrationError(RuntimeError):
    """The files and the database do not agree on history; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step forward."""

    version: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Checksum of the text, to notice a change after the fact."""
        return sha256(self.sql.encode()).hexdigest()


def read_migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """Return the migrations in `folder` in order. Raises MigrationError for a bad name, a gap or a version twice."""
    migrations: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"a migration is called NNNN_name.sql in lower case, was {path.name!r}")
        migrations.append(Migration(int(match[1]), path.stem, path.read_text(encoding="utf-8")))
    versions = [migration.version for migration in migrations]
    if versions != list(range(1, len(versions) + 1)):
        raise MigrationError(f"migrations are numbered 1, 2, 3 and so on without a gap, were {versions}")
    return migrations


async def migrate(connection: AsyncConnection, migrations: Sequence[Migration]) -> int:
    """Apply what is missing, all or nothing, and return the version reached.

    Safe to run from many processes at once: an advisory lock lets one through. Raises MigrationError when an applied
    migration is missing from `migrations` or differs from it.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        await connection.execute(_HISTORY)
        cursor = await connection.execute("SELECT version, name, sha256 FROM schema_migrations ORDER BY version")
        applied = await cursor.fetchall()
        for (version, name, checksum), migration in zip(applied, migrations, strict=False):
            if (version, name, checksum) != (migration.version, migration.name, migration.sha256):
                raise MigrationError(
                    f"migration {name} was applied as {checksum[:12]}, the file {migration.name} is now "
                    f"{migration.sha256[:12]}: an applied migration never changes, write a new one"
                )
        if len(applied) > len(migrations):
            raise MigrationError(
                f"the database is at version {applied[-1][0]}, this code knows {len(migrations)}: deploy newer code"
            )
        for migration in migrations[len(applied) :]:
            await connection.execute(migration.sql.encode())
            await connection.execute(
                "INSERT INTO schema_migrations (version, name, sha256) VALUES (%s, %s, %s)",
                (migration.version, migration.name, migration.sha256),
            )
            logger.info("applied migration %s", migration.name)
    return len(migrations)
