"""A minute is measured: a true ledger in a real database, the true engine core, the register's own counters."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import boto3
import psycopg
import pytest
from moto import mock_aws

from config.environments import DEV
from config.markets import CATALOGUE
from runtime.business_metrics.handler import tell_of_markets, tell_of_money
from runtime.business_metrics.measures import CLOSED, FEW, SHARE, TRADES, UNBALANCED, WIDE, LedgerSum, Outflow, Traded
from runtime.business_metrics.sources import MINUTE_S, Books, read_books, read_markets, read_outflows
from runtime.engine.questions import answer
from runtime.shared import messages as m
from runtime.shared.business_events import BusinessEvent
from runtime.shared.catalogue import US
from runtime.withdrawals.register import Register
from runtime.withdrawals.rules import Request, Rule
from tests.runtime.ledger.feeds import ANA, BUDI, START_US, STEP_US, Database, Feed, funded_feed, order

BTCUSDT = CATALOGUE.market_by_symbol["BTCUSDT"]
NOW_S = 1_800_000_000


class Core:
    """The engine's core behind the link's question."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed

    async def ask(self, question: m.Question) -> m.Answered:
        replica: Any = SimpleNamespace(engine=self.feed.engine)
        return m.Answered(1, len(self.feed.happened), answer(replica, question))


class Ledger:
    """What the ledger has written of a feed."""

    def __init__(self, conninfo: str) -> None:
        self.conninfo = conninfo

    def write(self, feed: Feed) -> None:
        async def run() -> None:
            database = await Database.open(self.conninfo)
            async with database.connection:
                await database.take(feed.happened[database.position :])

        asyncio.run(run())

    def read(self, now_s: int) -> Books:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            return read_books(connection, CATALOGUE, now_s)

    def do(self, statement: str) -> None:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(statement.encode())


@pytest.fixture
def ledger(conninfo: str) -> Ledger:
    return Ledger(conninfo)


def trade(feed: Feed, lots: int) -> int:
    """Have one trade at 60,000; return its time in seconds."""
    feed.do(order(ANA, m.SELL, 6_000_000, lots, f"s{len(feed.happened)}"))
    feed.do(order(BUDI, m.BUY, 6_000_000, lots, f"b{len(feed.happened)}"))
    return (START_US + len(feed.happened) * STEP_US) // US


def test_a_ledger_that_is_right_sums_to_zero_and_one_unit_more_shows(ledger: Ledger) -> None:
    feed = funded_feed()
    at_s = trade(feed, 100)
    ledger.write(feed)
    right = ledger.read(at_s)
    assert [each.asset for each in right.sums] == ["BTC", "ETH", "USDT", "IDR"]
    assert all(each.is_balanced for each in right.sums)
    ledger.do(f"UPDATE balances SET held = held + 1 WHERE account = {ANA} AND asset = 2")
    assert [(each.asset, each.balances, each.postings) for each in ledger.read(at_s).sums if not each.is_balanced] == [
        ("ETH", 1, 0)
    ]


def test_a_posting_that_the_trigger_did_not_see_shows(ledger: Ledger) -> None:
    feed = funded_feed()
    at_s = trade(feed, 100)
    ledger.write(feed)
    ledger.do("ALTER TABLE postings DISABLE TRIGGER balanced")
    ledger.do(f"INSERT INTO postings VALUES (999, 0, 0, {ANA}, 3, 7, 1, {at_s * US})")
    assert [(each.asset, each.postings) for each in ledger.read(at_s).sums if not each.is_balanced] == [("USDT", 7)]


def test_an_asset_that_left_the_catalogue_is_still_added_up(ledger: Ledger) -> None:
    ledger.write(funded_feed())
    ledger.do(f"INSERT INTO balances VALUES ({ANA}, 77, 5, 0, 1)")
    assert [each for each in ledger.read(NOW_S).sums if not each.is_balanced] == [
        LedgerSum(asset="ASSET77", balances=5, postings=0)
    ]


def test_trades_count_in_the_minute_they_fell_into_and_in_no_other(ledger: Ledger) -> None:
    feed = funded_feed()
    times = [trade(feed, lots) for lots in range(100, 112)]
    ledger.write(feed)
    minutes = sorted({at_s // MINUTE_S for at_s in times})
    assert len(minutes) > 1
    counted = [ledger.read((minute + 1) * MINUTE_S + 5).traded[BTCUSDT.id] for minute in minutes]
    assert sum(each.trades for each in counted) == len(times)
    for minute, each in zip(minutes, counted, strict=True):
        lots = [lots for lots, at_s in zip(range(100, 112), times, strict=True) if at_s // MINUTE_S == minute]
        assert each == Traded(trades=len(lots), turnover=6_000_000 * sum(lots))
    assert ledger.read((minutes[-1] + 2) * MINUTE_S).traded[BTCUSDT.id] == Traded()


def last_line(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    return vars(caplog.records[-1])


def test_markets_are_told_one_by_one_and_together(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    feed = funded_feed()
    feed.do(m.SetMarketStatus(2, m.HALT))
    feed.do(order(ANA, m.SELL, 6_006_000, 300))
    feed.do(order(BUDI, m.BUY, 6_000_000, 200, "b"))
    states = asyncio.run(read_markets(Core(feed), CATALOGUE))
    assert states.keys() == {1, 2, 3, 4}
    del states[4]  # as one that the engine does not know yet
    traded = {market.id: Traded() for market in CATALOGUE.markets} | {1: Traded(trades=2, turnover=7)}
    tell_of_markets(CATALOGUE, states, traded, bips_max=10, trades_min=2)
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (btc,) = (line for line in metrics if line["Symbol"] == "BTCUSDT")
    summary = last_line(caplog)
    quote_units = CATALOGUE.spec(BTCUSDT).quote_units
    assert btc["Volume"] == [7 * quote_units]
    assert btc["BidDepth"] == [6_000_000 * 200 * quote_units]
    assert (btc["SpreadPpm"], btc["Wide"], btc["Trading"]) == ([1000.0], [0.0], [1.0])
    assert (summary[CLOSED], summary["closed"]) == (2, ["ETHUSDT", "ETHIDR"])
    assert (summary[WIDE], summary["wide"]) == (1, ["BTCIDR"]), "nobody quotes there"
    assert (summary[TRADES], summary[FEW]) == (2, 0)
    tell_of_markets(CATALOGUE, states, traded, bips_max=9, trades_min=3)
    assert last_line(caplog)["wide"] == ["BTCUSDT", "BTCIDR"]
    assert last_line(caplog)[FEW] == 1


def test_a_sum_that_is_not_zero_is_a_number_for_the_alarm_and_a_case(caplog: pytest.LogCaptureFixture) -> None:
    told = list[BusinessEvent]()
    right = LedgerSum(asset="BTC", balances=0, postings=0)
    out = [Outflow(asset="ETH", units=81, units_max=100), Outflow(asset="USDT", units=1, units_max=100)]
    tell_of_money([right], out, publish=told.append, now_s=NOW_S)
    assert not told
    summary = last_line(caplog)
    assert (summary[UNBALANCED], summary[SHARE]) == (0, 810_000)
    tell_of_money([right, LedgerSum(asset="USDT", balances=-3, postings=0)], [], publish=told.append, now_s=NOW_S)
    summary = last_line(caplog)
    assert (summary[UNBALANCED], summary[SHARE]) == (1, 0)
    (case,) = told
    assert '{"USDT": {"balances": "-3", "postings": "0"}}' in case.model_dump()["evidence"]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Iterator[Register]:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("dynamodb", region_name=DEV.region)
        client.create_table(
            TableName="withdrawals",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield Register("withdrawals", client=client)


def test_the_outflow_is_what_the_register_counted_this_hour(register: Register) -> None:
    (given,) = DEV.withdrawals.rules
    rule = Rule(**asdict(given))
    for number in range(3):
        asked = Request(
            request_id=f"withdrawal-{number}",
            account=ANA,
            asked_by="ana",
            asset="ETH",
            chain="ethereum",
            destination="0xabc",
            amount=rule.minimum,
            receiver=None,
        )
        assert register.add(asked, NOW_S)
        register.count(asked, rule, count_max=10, now_s=NOW_S)
    limits = {"ETH": rule.hour_max}
    assert [each.units for each in read_outflows(register, limits, NOW_S)] == [3 * rule.minimum]
    assert [each.units for each in read_outflows(register, limits, NOW_S + 3600)] == [0]
