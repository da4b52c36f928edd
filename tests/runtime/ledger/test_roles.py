"""Who may do what in the database: the rights of each user, tried one by one."""

import asyncio

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from runtime.ledger.migrate import migrate, read_migrations
from runtime.ledger.store import read_standing
from tests.runtime.ledger.feeds import ANA, BUDI, Database, funded_feed, order

TABLES = (
    "accounts",
    "balances",
    "candles",
    "markets",
    "orders",
    "positions",
    "postings",
    "quotes",
    "trades",
    "transfers",
)
PROJECTIONS = {"accounts", "balances", "candles", "markets", "orders", "positions", "quotes"}


@pytest.fixture
def ledger(conninfo: str) -> str:
    """A database with some trading in it, written by the writer and nobody else."""

    async def fill() -> None:
        feed = funded_feed()
        feed.do(order(ANA, 1, 6_000_000, 1_000, "a"))
        feed.do(order(BUDI, 0, 6_000_000, 400, "b"))
        async with await AsyncConnection.connect(conninfo, autocommit=True) as owner:
            await migrate(owner, read_migrations())
        writer = make_conninfo(conninfo, user="ledger_writer")
        async with await AsyncConnection.connect(writer, autocommit=True) as connection:
            database = Database(connection)
            database.position, database.markets = await read_standing(connection, "main")
            await database.take(feed.happened)

    asyncio.run(fill())
    return conninfo


def allowed(conninfo: str, user: str, statement: str) -> bool:
    with psycopg.connect(make_conninfo(conninfo, user=user)) as connection:
        try:
            connection.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege:
            return False
        except (psycopg.IntegrityError, psycopg.errors.RaiseException):
            return True  # allowed to try, and stopped by a constraint
        finally:
            connection.rollback()
        return True


@pytest.mark.parametrize("user", ["ledger_writer", "ledger_reader", "regulator"])
def test_nobody_deletes_and_only_the_writer_writes(ledger: str, user: str) -> None:
    columns = {
        "candles": "trades",
        "markets": "market",
        "positions": "sequence",
        "postings": "sequence",
        "quotes": "bid",
        "trades": "sequence",
    }
    for name in TABLES:
        table, column = f"public.{name}", columns.get(name, "account")
        for verb in ("DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}", "ALTER TABLE {} DISABLE TRIGGER USER"):
            assert not allowed(ledger, user, verb.format(table)), (table, verb)
        may_update = user == "ledger_writer" and name in PROJECTIONS
        assert allowed(ledger, user, f"UPDATE {table} SET {column} = {column}") is may_update, table
        assert allowed(ledger, user, f"INSERT INTO {table} SELECT * FROM {table}") is (user == "ledger_writer")
        assert allowed(ledger, user, f"SELECT * FROM {table}") is (user != "regulator"), table


def test_history_of_the_schema_is_the_owners(ledger: str) -> None:
    assert not allowed(ledger, "ledger_writer", "INSERT INTO schema_migrations VALUES (99, 'x', 'x')")
    assert allowed(ledger, "ledger_reader", "SELECT * FROM schema_migrations")
    assert not allowed(ledger, "regulator", "SELECT * FROM schema_migrations")


def test_the_regulator_reads_all_that_was_done_and_no_name(ledger: str) -> None:
    with psycopg.connect(make_conninfo(ledger, user="regulator")) as connection:
        for view in ("orders", "trades", "postings", "transfers", "balances", "markets", "quotes"):
            ours = connection.execute(f"SELECT count(*) FROM regulator.{view}".encode()).fetchone()
            with psycopg.connect(ledger) as owner:
                assert ours == owner.execute(f"SELECT count(*) FROM {view}".encode()).fetchone()
            assert ours
            assert ours[0] > 0
        cursor = connection.execute("SELECT * FROM regulator.accounts")
        assert [column.name for column in cursor.description or ()] == ["account", "tier", "opened_us"]
        assert [row[0] for row in cursor.fetchall()] == [ANA, BUDI]
    for view in ("orders", "trades", "accounts"):
        assert not allowed(ledger, "regulator", f"DELETE FROM regulator.{view}")


def test_what_the_predecessor_had_lies_apart(ledger: str) -> None:
    with psycopg.connect(make_conninfo(ledger, user="importer"), autocommit=True) as importer:
        importer.execute("CREATE TABLE predecessor.users (id bigint PRIMARY KEY)")
        importer.execute("INSERT INTO predecessor.users VALUES (1)")
    for name in TABLES:
        for verb in ("SELECT * FROM {}", "INSERT INTO {} SELECT * FROM {}", "DELETE FROM {}"):
            assert not allowed(ledger, "importer", verb.format(f"public.{name}", f"public.{name}")), (name, verb)
    assert not allowed(ledger, "importer", "SELECT * FROM regulator.trades")
    assert not allowed(ledger, "importer", "CREATE TABLE public.users (id bigint)")
    for user in ("ledger_writer", "ledger_reader", "regulator"):
        assert not allowed(ledger, user, "SELECT * FROM predecessor.users"), user


def test_a_table_to_come_is_readable_and_growing_but_not_changed(ledger: str) -> None:
    with psycopg.connect(ledger, autocommit=True) as owner:
        owner.execute("CREATE TABLE notes (note text)")
    assert allowed(ledger, "ledger_reader", "SELECT * FROM notes")
    assert allowed(ledger, "ledger_writer", "INSERT INTO notes VALUES ('x')")
    assert not allowed(ledger, "ledger_writer", "UPDATE notes SET note = 'y'")
    assert not allowed(ledger, "regulator", "SELECT * FROM notes")
