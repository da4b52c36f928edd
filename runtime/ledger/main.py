"""The ledger service: follows the engine's event feed into PostgreSQL, each command exactly once.

It keeps nothing of its own: where it stands is a row, written with the rows it accounts for. A database that goes away
is waited for; a feed that contradicts the ledger ends the process. It may add to the database, and not change its
schema: a function does that for it.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

import boto3
import psycopg
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from psycopg import AsyncConnection
from pydantic import Field

from runtime.ledger.history import GROUP
from runtime.ledger.migrate import MigrationError
from runtime.ledger.projection import LedgerError, Scale, project
from runtime.ledger.quotes import Quotes
from runtime.ledger.store import PositionMovedError, Standing, read_standing, write
from runtime.shared import log, shell
from runtime.shared.engine_link import EngineLink, EngineUnavailableError, follow_feed
from runtime.shared.messages import (
    EXTERNAL_ACCOUNT,
    Answered,
    AskAccount,
    AskMarket,
    Happened,
    MarketState,
    Question,
)
from runtime.shared.pulse import beat
from runtime.shared.settings import (
    ADDRESSES_PATTERN,
    DATABASE_URL_PATTERN,
    ServiceSettings,
    database_conninfo,
    read_settings,
)
from runtime.shared.tasks import end
from runtime.shared.telemetry import Telemetry

logger = logging.getLogger(__name__)

COMMIT_INTERVAL_S: Final = 0.05
"""Least time from one commit to the next: what arrives meanwhile is committed together."""
COMMANDS_PER_COMMIT: Final = 2_000
"""A batch takes no further frame once it has as many commands."""
MIGRATION_TIMEOUT_S: Final = 905
"""How long a migration is waited for: what a function may take at most, and a little."""
_BACKOFF_MIN_S: Final = 0.1
_BACKOFF_MAX_S: Final = 5.0


class LedgerSettings(ServiceSettings):
    """Environment of the ledger."""

    engine_address: str = Field(pattern=ADDRESSES_PATTERN)
    database_url: str = Field(pattern=DATABASE_URL_PATTERN)
    """Of the user that writes: it can add rows, and change those of projections, but delete none."""
    migrator_function: str = Field(min_length=1)
    """Brings the schema forward, as the owner of the database."""
    price_months: int = Field(ge=6, le=120)
    """How long candles and quotes stay."""


class MigratorUnavailableError(ConnectionError):
    """The migrator did not do its work; it may the next time."""


class Ledger:
    """The projection, running. `position` is the last sequence committed, -1 before that is known."""

    def __init__(self, engine_address: str, database_url: str, migrator: str, price_months: int) -> None:
        """Prepare; `run` does the work."""
        self.position = -1
        self._waiting_since_s = 0.0
        """When the database was first waited for, on the monotonic clock; 0 when nothing waits for it."""
        self._engine_address = engine_address
        self._database_url = database_url
        self._migrator = migrator
        self._price_months = price_months
        self._is_migrated = False
        self._quotes: Quotes | None = None

    def pulse(self) -> dict[str, int]:
        """Return for how long the database has not taken what it should, in whole seconds."""
        return {"ledger_stopped_s": int(time.monotonic() - self._waiting_since_s) if self._waiting_since_s else 0}

    async def run(self) -> None:
        """Follow the feed for ever.

        Raises LedgerError when feed and ledger contradict each other, MigrationError when code and schema do.
        """
        backoff_s = _BACKOFF_MIN_S
        while True:
            before = self.position
            try:
                await self._follow()
            except (
                psycopg.OperationalError,
                BotoCoreError,
                ClientError,
                MigratorUnavailableError,
                PositionMovedError,
            ) as error:
                logger.warning("the database cannot be written: %s; next try in %.1f s", error, backoff_s)
            await asyncio.sleep(backoff_s)
            backoff_s = _BACKOFF_MIN_S if self.position > before else min(backoff_s * 2, _BACKOFF_MAX_S)

    async def _follow(self) -> None:
        """Follow the feed until the database goes away."""
        self._waiting_since_s = self._waiting_since_s or time.monotonic()
        if not self._is_migrated:
            await asyncio.to_thread(bring_schema_forward, self._migrator)
            self._is_migrated = True
        conninfo = await asyncio.to_thread(database_conninfo, self._database_url)
        async with await AsyncConnection.connect(conninfo, autocommit=True) as connection:
            standing = await read_standing(connection, GROUP)
            quotes = await read_quotes(self._engine_address, standing)
            if self._quotes is None or self._quotes.sequence < standing.sequence:
                self._quotes = quotes
            self.position = standing.sequence
            self._waiting_since_s = 0.0
            logger.info("at sequence %d, with %d markets", standing.sequence, len(standing.markets))
            feed = follow_feed(self._engine_address, standing.sequence + 1)
            async with contextlib.aclosing(gathered(feed)) as batches:
                await self._apply(connection, standing.markets, self._quotes, batches)

    async def _apply(
        self,
        connection: AsyncConnection,
        markets: dict[int, Scale],
        quotes: Quotes,
        batches: AsyncIterator[list[Happened]],
    ) -> None:
        async for batch in batches:
            rows = project(batch, self.position, markets)
            rows.quotes = quotes.follow(batch)
            self._waiting_since_s = time.monotonic()
            await write(connection, GROUP, self.position, rows, self._price_months)
            self._waiting_since_s = 0.0
            quotes.written()
            markets |= rows.markets
            self.position = rows.sequence

    async def answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Tell a health check how far the ledger has come, in one line."""
        text = "starting" if self.position < 0 else f"ok {self.position}"
        with contextlib.suppress(OSError):
            writer.write(f"{text}\n".encode())
            await writer.drain()
        writer.close()


def bring_schema_forward(function: str) -> None:
    """Have `function` apply what the schema lacks; the first migration makes the user that this process signs in as.

    Raises MigrationError when that will never work, else MigratorUnavailableError; botocore's errors pass through.
    """
    patient = Config(read_timeout=MIGRATION_TIMEOUT_S, tcp_keepalive=True, retries={"total_max_attempts": 1})
    answer = boto3.client("lambda", config=patient).invoke(FunctionName=function, Payload=b"{}")
    if "FunctionError" not in answer:
        return
    failure = json.load(answer["Payload"])
    if failure.get("errorType") == MigrationError.__name__:
        raise MigrationError(failure["errorMessage"])
    raise MigratorUnavailableError(f"the migrator failed: {failure.get('errorMessage', failure)}")


async def read_quotes(engine_address: str, standing: Standing) -> Quotes:
    """Wait for the engine and return the books it has, for the feed from `standing` on.

    Raises LedgerError if it is behind the ledger: then its history is another one.
    """
    link = EngineLink(engine_address)
    await link.start()
    try:
        sequence = (await _ask_patiently(link, AskAccount(EXTERNAL_ACCOUNT))).sequence
        books = [await _ask_patiently(link, AskMarket(market)) for market in standing.markets]
    finally:
        await link.stop()
    if sequence < standing.sequence:
        raise LedgerError(
            f"the engine at {engine_address} is at sequence {sequence}, the ledger already at {standing.sequence}: "
            "they do not belong together; restore the engine's journal, or start with an empty database"
        )
    states = [book.answer for book in books if isinstance(book.answer, MarketState)]
    return Quotes(standing.sequence, states, max((book.sequence for book in books), default=0))


async def _ask_patiently(link: EngineLink, question: Question) -> Answered:
    while True:
        try:
            return await link.ask(question)
        except EngineUnavailableError as error:
            logger.info("waiting for the engine: %s", error)


async def gathered(feed: AsyncIterator[list[Happened]]) -> AsyncGenerator[list[Happened], None]:
    """Yield what `feed` brings, frames taken together: one batch per COMMIT_INTERVAL_S at most while it trickles."""
    loop = asyncio.get_running_loop()
    commit_at = loop.time()
    coming = asyncio.ensure_future(anext(feed))
    try:
        while True:
            batch = await coming
            coming = asyncio.ensure_future(anext(feed))
            while len(batch) < COMMANDS_PER_COMMIT:
                arrived, _ = await asyncio.wait((coming,), timeout=max(0.0, commit_at - loop.time()))
                if not arrived:
                    break
                batch = batch + coming.result()
                coming = asyncio.ensure_future(anext(feed))
            commit_at = loop.time() + COMMIT_INTERVAL_S
            yield batch
    finally:
        await end(coming)


async def main(stopping: asyncio.Event) -> None:
    """Run until told to stop, or until the ledger must not go on."""
    settings = read_settings(LedgerSettings)
    log.configure(settings.service)
    ledger = Ledger(settings.engine_address, settings.database_url, settings.migrator_function, settings.price_months)
    server = await asyncio.start_server(ledger.answer, settings.listen_host, settings.listen_port)
    running = asyncio.create_task(ledger.run())
    pulse = asyncio.create_task(beat(ledger.pulse, Telemetry(settings.service, settings.otlp_address)))
    told = asyncio.create_task(stopping.wait())
    async with server:
        await asyncio.wait((running, told), return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    pulse.cancel()
    await end(running)
    logger.info("stopped at sequence %d", ledger.position)


if __name__ == "__main__":
    shell.run(main)
