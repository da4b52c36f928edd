"""Reports of real trades, filed once each, equal to the ledger to the last unit, and refused when they are not."""

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from datetime import date, timedelta
from hashlib import sha256
from typing import Any

import boto3
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.markets import CATALOGUE
from runtime.reporting.customer import customer_records
from runtime.reporting.day import OutOfBalanceError, tax_due
from runtime.reporting.filing import Cabinet, NotFinalError, file_missing
from runtime.shared.business_day import DAY_US, bounds_us, day_of, text_of
from runtime.shared.case_states import cases_reported
from runtime.shared.messages import FEE_ACCOUNT, SELL
from tests.runtime.ledger.feeds import ANA, BUDI, START_US, Database, funded_feed, order

DAY = day_of(START_US)
AFTER_US = bounds_us(DAY)[1] + 2 * 3600 * 1_000_000
ALL = ["trades", "tax", "suspicious-transactions"]


class Bus:
    """Hears what is published."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def publish(self, event: Any) -> None:
        self.heard.append(event)


@pytest.fixture
def ledger(conninfo: str) -> Iterator[psycopg.Connection]:
    async def fill() -> None:
        database = await Database.open(conninfo)
        async with database.connection:
            feed = funded_feed()
            for number in range(60):
                market, price = ((1, 6_000_000), (3, 1_600_001))[number % 2]
                feed.do(
                    order(
                        (ANA, BUDI)[number // 2 % 2], number // 2 % 2, price, 97 + number, f"c{number}", market=market
                    )
                )
            await database.take(feed.happened)

    asyncio.run(fill())
    with psycopg.connect(conninfo, autocommit=True) as connection:
        yield connection


def filed(ledger: psycopg.Connection, bucket: Any, *, now_us: int = AFTER_US, cases: list[Any] | None = None) -> Bus:
    bus = Bus()
    file_missing(ledger, CATALOGUE, lambda *_: iter(cases or []), Cabinet(bucket), bus, now_us)  # type: ignore[arg-type]
    return bus


def content(bucket: Any, name: str, day: date = DAY) -> tuple[dict[str, Any], list[dict[str, str]]]:
    key = f"{name}/{day.year}/{name}-{day}"
    manifest = json.loads(bucket.Object(f"{key}.manifest.json").get()["Body"].read())
    text = bucket.Object(f"{key}.csv").get()["Body"].read()
    assert manifest["sha256"] == sha256(text).hexdigest()
    rows = list(csv.DictReader(io.StringIO(text.decode())))
    assert manifest["rows"] == len(rows)
    return manifest, rows


def one(ledger: psycopg.Connection, query: str, *arguments: Any) -> int:
    row = ledger.execute(query.encode(), arguments).fetchone()
    assert row
    return int(row[0])


def test_the_trade_report_equals_the_ledger(ledger: psycopg.Connection, bucket: Any) -> None:
    bus = filed(ledger, bucket)
    assert [event.report for event in bus.heard if event.period == str(DAY)] == ALL
    manifest, rows = content(bucket, "trades")
    assert len(rows) == one(ledger, "SELECT count(*) FROM trades") > 20
    assert manifest["layout"].endswith("unconfirmed by the supervisor")
    totals = manifest["totals"]
    for symbol, market in (("BTCUSDT", 1), ("BTCIDR", 3)):
        of_market = "FROM trades JOIN markets USING (market) WHERE market = %s"
        assert totals[f"{symbol} trades"] == one(ledger, f"SELECT count(*) {of_market}", market)
        assert totals[f"{symbol} value"] == one(ledger, f"SELECT sum(price * lots * quote_units) {of_market}", market)
    in_quote = "SELECT sum(amount) FROM postings WHERE asset = %s AND kind = 1 AND amount > 0"
    assert totals["BTCUSDT value"] == one(ledger, in_quote, 3)
    house = "SELECT sum(amount) FROM postings WHERE account = %s AND asset = %s"
    for name in ("BTC", "USDT", "IDR"):
        assert totals[f"{name} fees"] == one(ledger, house, FEE_ACCOUNT, CATALOGUE.asset(name).id) > 0
    assert rows[0]["time"] == text_of(one(ledger, "SELECT min(time_us) FROM trades"))
    assert {row["taker_side"] for row in rows} == {"BUY", "SELL"}


def test_the_tax_report_withholds_0_21_percent_of_every_sale(ledger: psycopg.Connection, bucket: Any) -> None:
    filed(ledger, bucket)
    manifest, rows = content(bucket, "tax")
    for row in rows:
        asset = CATALOGUE.asset(row["asset"])
        market = {"USDT": 1, "IDR": 3}[row["asset"]]
        of_seller = "FROM trades JOIN markets USING (market) WHERE market = %s AND seller = %s"
        value = one(ledger, f"SELECT sum(price * lots * quote_units) {of_seller}", market, int(row["seller"]))
        assert int(row["sales"].replace(".", "")) == value
        assert int(row["tax"].replace(".", "")) == value * 21 // 10_000 > 0
        assert row["currency"] == ("IDR" if row["asset"] == "IDR" else "needs a rate")
        assert asset.decimals == len(row["tax"].partition(".")[2])
    assert sum(manifest["totals"][f"{name} sales"] for name in ("USDT", "IDR")) == one(
        ledger, "SELECT sum(price * lots * quote_units) FROM trades JOIN markets USING (market)"
    )


@given(st.lists(st.integers(0, 2**62), max_size=20))
def test_tax_is_never_above_its_rate_and_less_than_one_unit_below(values: list[int]) -> None:
    for value in values:
        assert 0 <= value * 21 - tax_due(value) * 10_000 < 10_000


def test_a_report_is_filed_once_and_what_is_missing_is_made_good(ledger: psycopg.Connection, bucket: Any) -> None:
    first = filed(ledger, bucket)
    assert len(first.heard) == 3 * 7  # the week before, on which nothing happened, was missing as well
    assert filed(ledger, bucket).heard == []
    versions = len(list(bucket.object_versions.all()))
    key = f"suspicious-transactions/{DAY.year}/suspicious-transactions-{DAY}.manifest.json"
    bucket.object_versions.filter(Prefix=key).delete()
    assert [event.report for event in filed(ledger, bucket).heard] == ALL
    assert len(list(bucket.object_versions.all())) == versions, "what was filed is never written again"
    later = filed(ledger, bucket, now_us=AFTER_US + DAY_US)
    assert {event.period for event in later.heard} == {str(DAY + timedelta(days=1))}


def test_a_day_that_is_not_over_in_the_ledger_waits(ledger: psycopg.Connection, bucket: Any) -> None:
    end_us = bounds_us(DAY)[1]
    with pytest.raises(NotFinalError, match=f"{DAY} is not over in the ledger, which is at sequence "):
        filed(ledger, bucket, now_us=end_us + 60_000_000)
    assert not Cabinet(bucket).has(DAY)
    assert Cabinet(bucket).has(DAY - timedelta(days=1)), "days before it were filed"
    ledger.execute("UPDATE positions SET time_us = %s", (end_us,))
    filed(ledger, bucket, now_us=end_us + 60_000_000)
    assert Cabinet(bucket).has(DAY)


def test_nothing_is_filed_that_the_postings_contradict(ledger: psycopg.Connection, bucket: Any) -> None:
    ledger.execute("ALTER TABLE trades DISABLE TRIGGER USER")
    ledger.execute("UPDATE trades SET lots = lots + 1 WHERE trade_id = 3 AND market = 1")
    with pytest.raises(OutOfBalanceError, match=rf"{DAY}: \d+ units of asset 1 were moved by trades, \d+ by postings"):
        filed(ledger, bucket)
    assert not Cabinet(bucket).has(DAY)


def test_cases_that_a_person_decided_to_report_are_in_the_file(ledger: psycopg.Connection, bucket: Any) -> None:
    table = boto3.resource("dynamodb").create_table(
        TableName="cases",
        KeySchema=[{"AttributeName": "case_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "case_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    start_us, end_us = bounds_us(DAY)
    for number, (state, decided_us) in enumerate(
        [("reported", start_us), ("dismissed", start_us), ("reported", end_us), ("reported", end_us - 1)]
    ):
        table.put_item(
            Item={
                "case_id": f"case{number}",
                "kind": "wash-trade",
                "market": 1,
                "accounts": [1000, 1001],
                "opened_us": start_us,
                "state": state,
                "decided_us": decided_us,
                "decided_by": "reviewer-7",
                "reason": "both accounts are one person's",
            }
        )
    cases = list(cases_reported(table, start_us, end_us))
    filed(ledger, bucket, cases=cases)
    _, rows = content(bucket, "suspicious-transactions")
    assert [row["case_id"] for row in rows] == ["case0", "case3"]
    assert rows[0]["accounts"] == "1000 1001"
    assert rows[0]["symbol"] == "BTCUSDT"


def test_a_customers_day_is_theirs_and_whole(ledger: psycopg.Connection) -> None:
    answer = customer_records(ledger, CATALOGUE, ANA, DAY)
    assert len(answer["orders"]) == one(ledger, "SELECT count(*) FROM orders WHERE account = %s", ANA)
    assert len(answer["trades"]) == one(ledger, "SELECT count(*) FROM trades WHERE %s IN (buyer, seller)", ANA)
    assert answer["is_whole"] is True
    sales = one(ledger, "SELECT count(*) FROM orders WHERE account = %s AND side = %s", ANA, SELL)
    assert sum(each["side"] == "SELL" for each in answer["orders"]) == sales
    assert customer_records(ledger, CATALOGUE, ANA, DAY + timedelta(days=1))["orders"] == []


def test_the_business_day_turns_at_midnight_in_jakarta() -> None:
    start_us, end_us = bounds_us(date(2026, 11, 25))
    assert text_of(start_us) == "2026-11-25T00:00:00.000000+07:00"
    assert (day_of(start_us), day_of(end_us - 1), day_of(end_us)) == (
        date(2026, 11, 25),
        date(2026, 11, 25),
        date(2026, 11, 26),
    )
