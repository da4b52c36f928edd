"""The service against an engine that speaks the contract and a database that comes and goes."""

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from psycopg.conninfo import make_conninfo

from local.stand_ins import free_port
from runtime.ledger import handler_migrator
from runtime.ledger import main as service
from runtime.ledger.history import History, open_history
from runtime.ledger.main import COMMANDS_PER_COMMIT, Ledger, MigratorUnavailableError, bring_schema_forward, gathered
from runtime.ledger.migrate import SCHEMA_VERSION, MigrationError
from runtime.ledger.projection import DisagreementError, LedgerError
from runtime.ledger.quotes import QuoteRow, Quotes
from runtime.ledger.store import write
from runtime.shared.frames import frame, read_frame
from runtime.shared.messages import (
    FEED,
    TRADING,
    AccountState,
    Answered,
    Ask,
    AskMarket,
    BalanceChanged,
    Happened,
    LevelChanged,
    MarketState,
    Welcome,
    decode_from_client,
    decode_hello,
    encode,
)
from tests.runtime.ledger.feeds import ANA, BUDI, PRICE_MONTHS, Database, funded_feed, order

TIMEOUT_S = 20


class FakeEngine:
    """Answers questions and feeds what `happened` says, a few commands to a frame; `cut` breaks every link."""

    def __init__(self, happened: list[Happened]) -> None:
        self.happened = happened
        self.writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._greet, "127.0.0.1", 0)
        async with server:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self.cut()

    def cut(self) -> None:
        for writer in self.writers:
            writer.close()
        self.writers.clear()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(OSError, EOFError):
            hello = decode_hello(await read_frame(reader))
            writer.write(frame(encode([Welcome("main", 1, len(self.happened))])))
            if hello.kind == FEED:
                await self._feed(writer, hello.sequence)
            while True:
                for message in decode_from_client(await read_frame(reader)):
                    assert isinstance(message, Ask)
                    writer.write(frame(encode([Answered(message.id, len(self.happened), self._answer(message))])))

    def _answer(self, asked: Ask) -> AccountState | MarketState:
        if not isinstance(asked.question, AskMarket):
            return AccountState(0, "house:external", 0, [], 0)
        market, updates = asked.question.market, 0
        levels: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for event in (event for happened in self.happened for event in happened.events):
            if isinstance(event, LevelChanged) and event.market == market:
                levels[event.side][event.price] = event.lots
                updates = event.update_id
        bids, asks = ([(price, lots) for price, lots in side.items() if lots] for side in levels)
        return MarketState(market, TRADING, updates, 0, 0, bids, asks)

    async def _feed(self, writer: asyncio.StreamWriter, sequence: int) -> None:
        following = max(sequence, 1)
        while not writer.is_closing():
            batch = self.happened[following - 1 : following + 6]
            if batch:
                writer.write(frame(encode(batch)))
                await writer.drain()
                following += len(batch)
            else:
                await asyncio.sleep(0.01)


class Functions:
    """Lambda with the one function, for an owner at `conninfo`; `failures` are what its first calls answer instead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, conninfo: str, *failures: dict[str, str]) -> None:
        self.failures = list(failures)
        self.versions: list[int] = []
        monkeypatch.setitem(os.environ, "DATABASE_URL", "url")
        monkeypatch.setitem(os.environ, "DATABASE_OWNER_SECRET_ARN", "arn")
        monkeypatch.setattr(handler_migrator, "owner_conninfo", self._owner)
        monkeypatch.setattr(service.boto3, "client", lambda _name, **_options: self)
        self._conninfo = conninfo

    def _owner(self, url: str, arn: str) -> str:
        assert (url, arn) == ("url", "arn")
        return self._conninfo

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - as boto3 names them
        assert FunctionName == "migrator"
        if self.failures:
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(self.failures.pop(0)).encode())}
        self.versions.append(handler_migrator.bring_forward(json.loads(Payload), LambdaContext())["version"])
        return {}


@asynccontextmanager
async def _running(
    monkeypatch: pytest.MonkeyPatch, conninfo: str, address: str, *failures: dict[str, str]
) -> AsyncIterator[tuple[Ledger, asyncio.Task[None], History]]:
    writer = make_conninfo(conninfo, user="ledger_writer")
    functions = Functions(monkeypatch, conninfo, *failures)
    monkeypatch.setattr(service, "database_conninfo", lambda _url: writer)
    ledger = Ledger(address, "url", "migrator", PRICE_MONTHS)
    task = asyncio.create_task(ledger.run())
    history = await open_history(conninfo)
    yield ledger, task, history
    assert functions.versions in ([], [SCHEMA_VERSION]), "once is enough"
    await history.close()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, LedgerError, MigrationError):
        await task


def _trading() -> list[Happened]:
    feed = funded_feed()
    for number in range(400):
        feed.do(order((ANA, BUDI)[number % 2], number // 2 % 2, 6_000_000, 100 + number % 9, f"c{number}"))
    return feed.happened


def test_it_goes_on_exactly_where_it_stood_when_engine_and_database_break(
    monkeypatch: pytest.MonkeyPatch, conninfo: str
) -> None:
    feed = _trading()
    monkeypatch.setattr(service, "COMMIT_INTERVAL_S", 0.001)
    monkeypatch.setattr(service, "COMMANDS_PER_COMMIT", 10)

    async def scenario() -> None:
        engine = FakeEngine(feed[:150])
        async with engine.serve() as address, _running(monkeypatch, conninfo, address) as (ledger, task, history):
            await history.wait_for(60, TIMEOUT_S)
            engine.cut()
            await history.wait_for(150, TIMEOUT_S)
            database = await Database.open(conninfo)
            for more in (250, 411):
                engine.happened = feed[:more]
                await database.connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND datname = current_database()"
                )
                await history.wait_for(more, TIMEOUT_S)
            assert ledger.position == 411
            assert not task.done()
            assert await history.disagreements() == []
            assert await history.conservation() == {1: 0, 2: 0, 3: 0, 4: 0}
            assert len(await database.all("SELECT 1 FROM orders")) == 400
            assert await database.all("SELECT * FROM quotes ORDER BY second_us, market") == Quotes(0).follow(feed)
            await database.connection.close()

    asyncio.run(scenario())


def test_what_the_database_did_not_take_is_quoted_when_it_does(monkeypatch: pytest.MonkeyPatch, conninfo: str) -> None:
    feed = _trading()[:60]
    monkeypatch.setattr(service, "_BACKOFF_MIN_S", 0.01)
    monkeypatch.setattr(service, "COMMIT_INTERVAL_S", 0.001)
    monkeypatch.setattr(service, "COMMANDS_PER_COMMIT", 10)
    refused = [psycopg.OperationalError("gone")] * 3
    written: list[QuoteRow] = []

    async def refuse(*given: Any) -> None:
        if refused:
            raise refused.pop()
        await write(*given)
        written.extend(given[3].quotes)

    monkeypatch.setattr(service, "write", refuse)

    async def scenario() -> None:
        async with FakeEngine(feed).serve() as address, _running(monkeypatch, conninfo, address) as (_, _, history):
            await history.wait_for(60, TIMEOUT_S)
            database = await Database.open(conninfo)
            assert await database.all("SELECT * FROM quotes ORDER BY second_us, market") == Quotes(0).follow(feed)
            assert sorted(written) == sorted(Quotes(0).follow(feed)), "each once"
            await database.connection.close()

    asyncio.run(scenario())


def test_a_ledger_that_starts_behind_goes_on_with_the_engines_books(
    monkeypatch: pytest.MonkeyPatch, conninfo: str
) -> None:
    feed = _trading()
    told = Quotes(0).follow(feed[:120])

    async def scenario() -> None:
        database = await Database.open(conninfo)
        async with database.connection:
            await database.take(feed[:60])
            engine = FakeEngine(feed[:90])
            async with engine.serve() as address, _running(monkeypatch, conninfo, address) as (_, _, history):
                await history.wait_for(90, TIMEOUT_S)
                engine.happened = feed[:120]
                await history.wait_for(120, TIMEOUT_S)
            stored = await database.all("SELECT * FROM quotes ORDER BY second_us, market")
        unknown = [row for row in told if feed[59].time_us < row.second_us < feed[89].time_us // 1_000_000 * 1_000_000]
        assert len(unknown) > 5
        assert [row for row in stored if row in unknown] == []
        now = feed[89].time_us // 1_000_000 * 1_000_000
        assert [row for row in stored if row[1] != now] == [
            row for row in told if row not in unknown and row.second_us != now
        ]
        last = {row.market: row[2:] for row in told if row.second_us <= now}
        assert {row[0]: row[2:] for row in stored if row[1] == now and any(row[2:])} == last

    asyncio.run(scenario())


def test_a_migrator_that_fails_is_asked_again_unless_it_says_never(
    monkeypatch: pytest.MonkeyPatch, conninfo: str
) -> None:
    slow = {"errorType": "Sandbox.Timedout", "errorMessage": "timed out"}
    never = {"errorType": "MigrationError", "errorMessage": "the database is at version 9, this code knows 4"}
    monkeypatch.setattr(service, "_BACKOFF_MIN_S", 0.01)

    async def scenario(*failures: dict[str, str]) -> None:
        async with (
            FakeEngine(_trading()[:20]).serve() as address,
            _running(monkeypatch, conninfo, address, *failures) as (_, task, history),
        ):
            if never in failures:
                with pytest.raises(MigrationError, match="at version 9"):
                    await asyncio.wait_for(task, TIMEOUT_S)
            else:
                await history.wait_for(20, TIMEOUT_S)

    asyncio.run(scenario(slow, slow))
    asyncio.run(scenario(never))
    Functions(monkeypatch, conninfo, slow)
    with pytest.raises(MigratorUnavailableError, match="the migrator failed: timed out"):
        bring_schema_forward("migrator")


def test_how_long_a_database_takes_nothing_is_told(monkeypatch: pytest.MonkeyPatch, conninfo: str) -> None:
    feed = _trading()
    now_s = 1_000.0
    monkeypatch.setattr(service, "time", SimpleNamespace(monotonic=lambda: now_s))

    async def scenario() -> None:
        nonlocal now_s
        engine = FakeEngine(feed[:150])
        async with engine.serve() as address, _running(monkeypatch, conninfo, address) as (ledger, _, history):
            await history.wait_for(150, TIMEOUT_S)
            now_s += 99
            assert ledger.pulse() == {"ledger_stopped_s": 0}, "there is nothing to write"
            database = await Database.open(conninfo)
            async with database.connection.transaction():
                await database.connection.execute("LOCK TABLE positions")
                engine.happened = feed[:160]
                await asyncio.sleep(0.5)
                now_s += 42.5
                assert ledger.pulse() == {"ledger_stopped_s": 42}
            await history.wait_for(160, TIMEOUT_S)
            assert ledger.pulse() == {"ledger_stopped_s": 0}
            await database.connection.close()

    asyncio.run(scenario())


def test_a_disagreement_ends_it_with_nothing_written_past_it(monkeypatch: pytest.MonkeyPatch, conninfo: str) -> None:
    feed = _trading()[:50]
    feed[30] = Happened(31, 0, [*feed[30].events, BalanceChanged(ANA, 1, 1, 1)])

    async def scenario() -> None:
        async with (
            FakeEngine(feed).serve() as address,
            _running(monkeypatch, conninfo, address) as (_, task, history),
        ):
            with pytest.raises(DisagreementError, match=f"account {ANA} "):
                await asyncio.wait_for(task, TIMEOUT_S)
            assert await history.position() <= 30

    asyncio.run(scenario())


def test_an_engine_that_is_behind_has_another_history(monkeypatch: pytest.MonkeyPatch, conninfo: str) -> None:
    feed = _trading()

    async def scenario() -> None:
        database = await Database.open(conninfo)
        async with database.connection:
            await database.take(feed[:20])
        async with (
            FakeEngine(feed[:5]).serve() as address,
            _running(monkeypatch, conninfo, address) as (_, task, _history),
        ):
            with pytest.raises(LedgerError, match="at sequence 5, the ledger already at 20"):
                await asyncio.wait_for(task, TIMEOUT_S)

    asyncio.run(scenario())


def test_health_says_where_it_stands(monkeypatch: pytest.MonkeyPatch, conninfo: str) -> None:
    async def scenario() -> None:
        async with (
            FakeEngine(_trading()[:25]).serve() as address,
            _running(monkeypatch, conninfo, address) as (ledger, _, history),
            await asyncio.start_server(ledger.answer, "127.0.0.1", 0) as server,
        ):
            await history.wait_for(25, TIMEOUT_S)
            host, port = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(host, port)
            assert await reader.read() == b"ok 25\n"
            writer.close()

    asyncio.run(scenario())


def test_frames_that_wait_are_committed_together_and_none_is_lost() -> None:
    async def frames() -> AsyncIterator[list[Happened]]:
        for number in count(1):
            if number > 3 * COMMANDS_PER_COMMIT:
                await asyncio.Event().wait()
            yield [Happened(number, 0, [])]

    async def scenario() -> list[list[Happened]]:
        got: list[list[Happened]] = []
        async with contextlib.aclosing(gathered(frames())) as batches:
            async for batch in batches:
                got.append(batch)
                if batch[-1].sequence == 3 * COMMANDS_PER_COMMIT:
                    break
        return got

    got = asyncio.run(scenario())
    assert [happened.sequence for batch in got for happened in batch] == list(range(1, 3 * COMMANDS_PER_COMMIT + 1))
    assert len(got) <= 5


def test_a_missing_variable_is_one_clear_line_and_sigterm_a_clean_end() -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "SERVICE": "ledger",
        "LISTEN_PORT": "1",
        "CATALOGUE_PARAMETER": "/x",
        "ENGINE_ADDRESS": "127.0.0.1:1",
    }
    command = [sys.executable, "-m", "runtime.ledger.main"]
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    missing = ("DATABASE_URL", "MIGRATOR_FUNCTION", "PRICE_MONTHS")
    assert refused.stderr.splitlines() == [f"environment variable {name} is missing" for name in missing]
    assert refused.returncode == 2

    environment |= {
        "LISTEN_PORT": str(free_port()),
        "DATABASE_URL": "postgresql://ledger_writer@127.0.0.1:1/bursa",
        "MIGRATOR_FUNCTION": "migrator",
        "PRICE_MONTHS": "24",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
    }
    running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert "the database cannot be written" in running.stdout.readline()
    running.send_signal(signal.SIGTERM)
    output, _ = running.communicate(timeout=20)
    assert "stopped at sequence -1" in output
    assert running.returncode == 0
