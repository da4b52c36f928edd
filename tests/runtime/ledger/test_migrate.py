"""The schema moves forward only, once, whoever asks."""

import asyncio
from pathlib import Path

import pytest
from psycopg import AsyncConnection

from runtime.ledger.migrate import SCHEMA_VERSION, Migration, MigrationError, migrate, read_migrations

ONE = Migration(1, "0001_one", "CREATE TABLE one (x integer)")
TWO = Migration(2, "0002_two", "CREATE TABLE two (x integer)")


async def _migrate(conninfo: str, migrations: list[Migration]) -> int:
    async with await AsyncConnection.connect(conninfo, autocommit=True) as connection:
        return await migrate(connection, migrations)


async def _tables(conninfo: str) -> set[str]:
    async with await AsyncConnection.connect(conninfo) as connection:
        cursor = await connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {name for (name,) in await cursor.fetchall()}


def test_the_files_in_the_repository_bring_about_the_version_that_readers_wait_for() -> None:
    assert len(read_migrations()) == SCHEMA_VERSION


def test_many_migrators_at_once_apply_each_step_once(conninfo: str) -> None:
    async def scenario() -> None:
        reached = await asyncio.gather(*(_migrate(conninfo, [ONE, TWO]) for _ in range(6)))
        assert reached == [2] * 6
        assert await _tables(conninfo) == {"one", "two", "schema_migrations"}

    asyncio.run(scenario())


def test_a_database_is_brought_forward_and_again_changes_nothing(conninfo: str) -> None:
    assert asyncio.run(_migrate(conninfo, [ONE])) == 1
    assert asyncio.run(_migrate(conninfo, [ONE, TWO])) == 2
    assert asyncio.run(_migrate(conninfo, [ONE, TWO])) == 2


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ([Migration(1, "0001_one", "CREATE TABLE one (x bigint)"), TWO], "never changes"),
        ([Migration(1, "0001_uno", ONE.sql), TWO], "never changes"),
        ([ONE], "deploy newer code"),
    ],
)
def test_changed_history_is_refused(conninfo: str, then: list[Migration], message: str) -> None:
    asyncio.run(_migrate(conninfo, [ONE, TWO]))
    with pytest.raises(MigrationError, match=message):
        asyncio.run(_migrate(conninfo, then))


def test_a_step_that_fails_leaves_nothing_behind(conninfo: str) -> None:
    broken = Migration(2, "0002_broken", "CREATE TABLE two (x integer); SELECT 1 / 0")
    with pytest.raises(Exception, match="division by zero"):
        asyncio.run(_migrate(conninfo, [ONE, broken]))
    assert asyncio.run(_tables(conninfo)) == set()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1_one.sql"], "NNNN_name.sql"),
        (["0001_one.sql", "0003_three.sql"], r"\[1, 3\]"),
        (["0001_a.sql", "0001_b.sql"], "1, 1"),
    ],
)
def test_files_out_of_order_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationError, match=message):
        read_migrations(tmp_path)
