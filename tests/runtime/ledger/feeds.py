"""Feeds made by the real engine, and a ledger in a real database to take them."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from psycopg import AsyncConnection

from config.markets import CATALOGUE
from runtime.engine.engine import Engine
from runtime.ledger.migrate import migrate, read_migrations
from runtime.ledger.projection import Rows, Scale, project
from runtime.ledger.quotes import Quotes
from runtime.ledger.store import read_standing, write
from runtime.shared.messages import (
    BUY,
    GTC,
    IOC,
    LIMIT,
    LIMIT_MAKER,
    MARKET,
    RULES_NEWEST,
    SELL,
    STP_EXPIRE_MAKER,
    STP_NONE,
    CancelAll,
    Command,
    Configure,
    Deposit,
    Happened,
    OpenAccount,
    PlaceOrder,
    Reply,
)

ANA = 1000
BUDI = 1001
START_US = 1_700_000_000_000_000
STEP_US = 7_000_000
"""From one command to the next: several commands to a minute, several minutes to a test."""
PRICE_MONTHS = 24


class Feed:
    """What the engine says happened, command by command."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.happened: list[Happened] = []

    def do(self, command: Command) -> Reply:
        sequence = len(self.happened) + 1
        time_us = START_US + sequence * STEP_US
        reply, events = self.engine.apply(sequence, time_us, command)
        self.happened.append(Happened(sequence, time_us, events))
        return reply

    def balances(self) -> dict[tuple[int, int], tuple[int, int]]:
        """(account, asset) → (free, held), as the engine has them."""
        return {
            (account.account, holding.asset): (holding.free, holding.held)
            for account in self.engine.accounts.accounts.values()
            for holding in account.holdings.values()
        }


def funded_feed() -> Feed:
    """An engine with the catalogue and two funded accounts."""
    feed = Feed()
    feed.do(
        Configure([asset.id for asset in CATALOGUE.assets], CATALOGUE.specs(), CATALOGUE.tier_specs(), RULES_NEWEST)
    )
    for account, name in ((ANA, "ana"), (BUDI, "budi")):
        feed.do(OpenAccount(name, 1))
        for asset in CATALOGUE.assets:
            feed.do(Deposit(account, asset.id, 10**15, f"{name}-{asset.name}"))
    return feed


def order(account: int, side: int, price: int, lots: int, client_order_id: str = "", **other: Any) -> PlaceOrder:
    """A good-till-cancelled limit order in BTCUSDT unless said otherwise."""
    fields: dict[str, Any] = {"market": 1, "order_type": LIMIT, "time_in_force": GTC, "quote_amount": 0} | other
    return PlaceOrder(
        account=account, side=side, price=price, lots=lots, client_order_id=client_order_id or "x", **fields
    )


@st.composite
def commands(draw: st.DrawFn) -> list[Command]:
    """Orders that often match, some with their own account, some refused; cancellations and deposits."""
    made: list[Command] = []
    for number in range(draw(st.integers(1, 40))):
        account = draw(st.sampled_from((ANA, BUDI)))
        kind = draw(st.integers(0, 9))
        if kind == 0:
            made.append(CancelAll(account, 1))
        elif kind == 1:
            made.append(Deposit(account, draw(st.integers(1, 5)), draw(st.integers(0, 1000)), f"d{number % 7}"))
        else:
            order_type = draw(st.sampled_from((LIMIT, LIMIT, LIMIT, LIMIT_MAKER, MARKET)))
            made.append(
                order(
                    account,
                    draw(st.sampled_from((BUY, SELL))),
                    0 if order_type == MARKET else 6_000_000 + 100 * draw(st.integers(-3, 3)),
                    draw(st.integers(50, 500)),
                    f"c{number}",
                    market=draw(st.sampled_from((1, 1, 2))),
                    order_type=order_type,
                    time_in_force=draw(st.sampled_from((GTC, GTC, IOC))) if order_type == LIMIT else GTC,
                    stp=draw(st.sampled_from((STP_NONE, STP_EXPIRE_MAKER))),
                )
            )
    return made


def batches(happened: Sequence[Happened], sizes: Sequence[int]) -> list[list[Happened]]:
    """Cut a feed into batches of `sizes`, the last taking the rest."""
    cut: list[list[Happened]] = []
    start = 0
    for size in sizes:
        cut.append(list(happened[start : start + size]))
        start += size
    cut.append(list(happened[start:]))
    return [batch for batch in cut if batch]


class Database:
    """A ledger in a real database, written batch by batch."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.position = 0
        self.markets: dict[int, Scale] = {}
        self.quotes = Quotes(0)

    @classmethod
    async def open(cls, conninfo: str) -> "Database":
        connection = await AsyncConnection.connect(conninfo, autocommit=True)
        await migrate(connection, read_migrations())
        database = cls(connection)
        database.position, database.markets = await read_standing(connection, "main")
        return database

    async def take(self, batch: list[Happened]) -> Rows:
        rows = project(batch, self.position, self.markets)
        rows.quotes = self.quotes.follow(batch)
        await write(self.connection, "main", self.position, rows, PRICE_MONTHS)
        self.quotes.written()
        self.position = rows.sequence
        self.markets |= rows.markets
        return rows

    async def all(self, query: str) -> list[tuple[Any, ...]]:
        cursor = await self.connection.execute(query.encode())
        return await cursor.fetchall()
