"""Statements of real trades: equal to the ledger, once each, refused while the month is open or the books differ."""

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from typing import Any

import psycopg
import pytest

from config.markets import CATALOGUE
from runtime.portfolio.statement import Month, file_statements, final_statement, portfolio_of
from runtime.reporting.day import OutOfBalanceError
from runtime.reporting.filing import Cabinet, NotFinalError
from runtime.shared.business_day import bounds_us, day_of
from runtime.shared.catalogue import CatalogueError
from runtime.shared.messages import BUY, SELL
from runtime.shared.money import parse_decimal
from tests.runtime.ledger.feeds import ANA, BUDI, START_US, Database, funded_feed, order

DAY = day_of(START_US)
NEXT = (DAY.replace(day=1) + timedelta(days=32)).replace(day=1)
AFTER_US = bounds_us(NEXT)[0] + 2 * 3600 * 1_000_000


@pytest.fixture
def ledger(conninfo: str) -> Iterator[psycopg.Connection]:
    async def fill() -> None:
        database = await Database.open(conninfo)
        async with database.connection:
            feed = funded_feed()
            for number in range(40):
                side = (BUY, SELL)[number % 2 ^ number // 8 % 2]
                account = (ANA, BUDI)[number % 2]
                feed.do(order(account, side, 6_000_000 + number, 97 + number, f"c{number}"))
            await database.take(feed.happened)

    asyncio.run(fill())
    with psycopg.connect(conninfo, autocommit=True) as connection:
        yield connection


def filed(ledger: psycopg.Connection, bucket: Any, now_us: int = AFTER_US) -> list[str]:
    return file_statements(ledger, CATALOGUE, Cabinet(bucket), now_us)


def read(bucket: Any, key: str) -> list[dict[str, str]]:
    text = bucket.Object(f"{key}.csv").get()["Body"].read()
    manifest = json.loads(bucket.Object(f"{key}.manifest.json").get()["Body"].read())
    assert manifest["sha256"] == sha256(text).hexdigest()
    return list(csv.DictReader(io.StringIO(text.decode())))


def balances(ledger: psycopg.Connection, account: int) -> dict[str, int]:
    rows = ledger.execute("SELECT asset, free + held FROM balances WHERE account = %s", (account,)).fetchall()
    return {CATALOGUE.asset_by_id[asset].name: int(amount) for asset, amount in rows}


def test_a_statement_equals_the_ledger_and_the_next_one_carries_on(ledger: psycopg.Connection, bucket: Any) -> None:
    keys = filed(ledger, bucket)
    last = NEXT - timedelta(days=1)
    assert keys == [f"statement-{account}/{last.year}/statement-{account}-{last}" for account in (ANA, BUDI)]
    for account, key in zip((ANA, BUDI), keys, strict=True):
        moved = [row for row in read(bucket, key) if row["kind"] == "movement"]
        units = {row["asset"]: {name: _units(row, name) for name in list(row)[2:9]} for row in moved}
        assert {asset: row["closing"] for asset, row in units.items()} == balances(ledger, account)
        for each in units.values():
            came = each["opening"] + each["transfers_in"] + each["trades_in"]
            assert each["closing"] == came - each["transfers_out"] - each["trades_out"] - each["fees"]
        assert units["BTC"]["opening"] == 0 < units["BTC"]["trades_in"]
        (cost,) = [row for row in read(bucket, key) if row["kind"] == "cost"]
        assert (cost["asset"], cost["currency"]) == ("BTC", "USDT")
    index = read(bucket, f"statements/{last.year}/statements-{last}")
    assert [row["file"] for row in index] == [f"{key}.csv" for key in keys]
    assert filed(ledger, bucket) == [], "a month is filed once"
    ((later, *_),) = [filed(ledger, bucket, AFTER_US + 31 * 86_400_000_000)]
    for row in read(bucket, later):
        if row["kind"] == "movement":
            assert row["opening"] == row["closing"]
            assert {row[name] for name in ("transfers_in", "trades_in", "fees")} <= {"0", "0.00", "0.00000000"}


def _units(row: dict[str, str], name: str) -> int:
    return parse_decimal(row[name], CATALOGUE.asset(row["asset"]).decimals)


def test_a_month_that_is_not_over_in_the_ledger_waits(ledger: psycopg.Connection, bucket: Any) -> None:
    with pytest.raises(NotFinalError, match="is not over in the ledger"):
        filed(ledger, bucket, bounds_us(NEXT)[0] + 1)
    assert list(bucket.objects.all()) == []


def test_a_month_without_its_index_is_filed_again_and_changes_nothing(ledger: psycopg.Connection, bucket: Any) -> None:
    keys = filed(ledger, bucket)
    versions = len(list(bucket.object_versions.all()))
    bucket.object_versions.filter(Prefix="statements/").delete()
    assert filed(ledger, bucket) == keys
    assert len(list(bucket.object_versions.all())) == versions


def test_the_month_before_a_moment_is_jakartas() -> None:
    start_us = bounds_us(NEXT)[0]
    assert Month.before(start_us).last == NEXT - timedelta(days=1)
    assert Month.before(start_us - 1).last == DAY.replace(day=1) - timedelta(days=1)
    assert Month.before(start_us).end_us == start_us


def test_the_portfolio_is_valued_by_the_last_trade(ledger: psycopg.Connection) -> None:
    told = portfolio_of(ledger, CATALOGUE, ANA, "USDT")
    assert {each["asset"] for each in told["allocation"]} == {"BTC", "USDT"}
    assert told["without_price"] == ["ETH", "IDR"]
    ((price,),) = ledger.execute("SELECT price FROM trades WHERE market = 1 ORDER BY trade_id DESC LIMIT 1").fetchall()
    spec = CATALOGUE.spec(CATALOGUE.market_by_id[1])
    held = balances(ledger, ANA)
    value = held["BTC"] * price * spec.quote_units // spec.lot_units + held["USDT"]
    assert parse_decimal(told["value"], 8) == value
    with pytest.raises(CatalogueError, match="unknown asset 'EUR'"):
        portfolio_of(ledger, CATALOGUE, ANA, "EUR")


def test_an_entry_that_no_market_explains_stops_the_statement(ledger: psycopg.Connection, bucket: Any) -> None:
    ledger.execute(
        "INSERT INTO postings SELECT 999999, 0, line, account, asset, amount, 1, %s FROM"
        " (VALUES (0, 1000, 3, 5), (1, 0, 3, -5)) AS wrong (line, account, asset, amount)",
        (START_US + 10**9,),
    )
    with pytest.raises(OutOfBalanceError, match=r"account 1000: entry .* trades assets"):
        filed(ledger, bucket)


def test_a_final_statement_of_an_account_that_holds_something_is_refused(ledger: psycopg.Connection) -> None:
    with pytest.raises(OutOfBalanceError, match=f"account {ANA} is to be closed, and the ledger holds"):
        final_statement(ledger, CATALOGUE, ANA, 10**6, DAY)
    before = final_statement(ledger, CATALOGUE, ANA, 0, DAY)
    assert (before.rows, before.name) == (0, f"final-statement-{ANA}-0")
