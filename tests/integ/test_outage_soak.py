"""A store is away under trading: orders go on, what degrades says so, and afterwards nothing is missing anywhere.

Valkey, PostgreSQL (for Aurora) and Kinesis go one after the other. In the end the journal is replayed, and ledger and
trade stream are held against what it makes.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import time
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import msgspec
import psycopg
import pytest

from config.markets import CATALOGUE
from local.control import read_status
from local.outages import Outages
from local.supervisor import State
from runtime.engine.file_log import FileLog
from runtime.engine.journal import entries_of
from runtime.engine.replica import Replica, Snapshot
from runtime.market_maker.client import RefusedError
from runtime.rebuild import __main__ as rebuild
from runtime.shared.engine_link import EngineLink
from runtime.shared.messages import AskTotals, Traded
from tests.integ.exchange import Exchange, own_exchange, wait_for
from tests.integ.test_depth_soak import MINUTE_S, SYMBOL, TOO_MUCH_WEIGHT, UNSURE_CODES, Trading

pytestmark = pytest.mark.soak

SECONDS = float(os.environ.get("BURSA_OUTAGE_SECONDS", "15"))
"""How long each store is away; in full it is 60."""
LOOKS_MAX_S = 60.0
"""A busy machine may need so much longer to look at everything meanwhile."""
PACE_S = 0.1
"""Each of the 32 lanes pauses so long between commands."""
PAUSE_MAX_S = 3.0
"""Longest time without an acknowledged command."""
ANSWER_MAX_S = 8.0
"""A route that needs what is away says so in this time."""
CATCH_UP_MAX_S = 60.0
PULSE_S = 10.0
PROBE_MAX_S = 20.0
"""A busy machine may need so long to ask for more than a minute's weight."""
PROBER = "127.0.0.99"
"""Who asks too much: an address of its own, so that nobody else is refused for it."""


@dataclass
class Outage:
    """What was seen of one."""

    store: str
    commands: int = 0
    slowest_s: float = 0.0
    longest_pause_s: float = 0.0
    caught_up_s: float = 0.0


class Monitor:
    """Watches that orders go on."""

    def __init__(self, trading: Trading) -> None:
        self._trading = trading
        self._done = -1
        self._since = 0.0
        self.longest_s = 0.0

    async def run(self) -> None:
        while True:
            now = time.monotonic()
            if self._trading.done != self._done:
                self._done, self._since = self._trading.done, now
            self.longest_s = max(self.longest_s, now - self._since)
            await asyncio.sleep(0.05)


def status_says(exchange: Exchange, store: str) -> None:
    told = exchange.command("status")
    assert told.returncode == 1, told.stdout
    assert f"{store} is out on purpose" in told.stdout
    assert "degraded" in told.stdout


def get(exchange: Exchange, path: str, address: str = "127.0.0.1") -> tuple[int, Any]:
    """Ask the REST API from `address`."""
    host = urlsplit(exchange.demo["rest_url"])
    connection = HTTPConnection(host.hostname or "", host.port, timeout=10, source_address=(address, 0))
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def public_routes_answer(exchange: Exchange) -> None:
    for path in (f"depth?symbol={SYMBOL}&limit=5", f"ticker/24hr?symbol={SYMBOL}", f"trades?symbol={SYMBOL}", "time"):
        status, body = get(exchange, f"/api/v3/{path}")
        assert status == 200, (path, body)


def limits_hold_without_sharing(exchange: Exchange) -> None:
    """Ask for more than a minute's weight: the gateway refuses by what it has counted itself."""
    left_s = MINUTE_S - time.time() % MINUTE_S
    if left_s < PROBE_MAX_S:  # all of them have to be of one minute
        time.sleep(left_s)
    answers = [get(exchange, f"/api/v3/depth?symbol={SYMBOL}&limit=5000", PROBER) for _ in range(25)]
    assert [status for status, _ in answers] == [200] * 24 + [429]
    assert answers[-1][1]["code"] == TOO_MUCH_WEIGHT
    assert get(exchange, "/api/v3/ping")[0] == 200, "others are not refused"


async def history_says_that_it_is_away(exchange: Exchange) -> None:
    session = await exchange.session()
    for method in ("allOrders", "myTrades"):
        began = time.monotonic()
        with pytest.raises(RefusedError) as caught:
            await asyncio.wait_for(session.call(method, symbol=SYMBOL), ANSWER_MAX_S)
        assert caught.value.code in UNSURE_CODES, caught.value
        assert caught.value.text
        assert time.monotonic() - began < ANSWER_MAX_S
    await session.call("account.status")  # balances and open orders are the engine's
    await session.call("openOrders.status", symbol=SYMBOL)
    session.close()


async def history_answers(exchange: Exchange) -> None:
    session = await exchange.session()
    await session.call("allOrders", symbol=SYMBOL)
    session.close()


async def while_away(exchange: Exchange, store: str) -> None:
    """Check what works without `store`, and what says that it does not."""
    looks = [
        asyncio.to_thread(status_says, exchange, store),
        asyncio.to_thread(public_routes_answer, exchange),
        history_says_that_it_is_away(exchange) if store == "postgres" else history_answers(exchange),
    ]
    if store == "valkey":
        looks.append(asyncio.to_thread(limits_hold_without_sharing, exchange))
    await asyncio.gather(*looks)


async def one_outage(exchange: Exchange, store: str, trading: Trading) -> Outage:
    seen, began = Outage(store), time.monotonic()
    before, trading.slowest_s = trading.done, 0.0
    monitor = Monitor(trading)
    watching = asyncio.create_task(monitor.run())
    outages = Outages(exchange.layout.outages)
    outages.begin(store, SECONDS + LOOKS_MAX_S)
    if store != "kinesis":  # which answers nothing from this moment on; the others have to be ended
        await asyncio.to_thread(wait_for, lambda: exchange.process(store).state == State.STOPPED)
    await while_away(exchange, store)
    await asyncio.sleep(began + SECONDS - time.monotonic())
    assert outages.is_out(store), "it ended before everything was looked at"
    outages.begin(store, 0)
    seen.commands = trading.done - before
    await asyncio.to_thread(exchange.wait_healthy)
    seen.caught_up_s = await caught_up(exchange, store)
    watching.cancel()
    seen.slowest_s, seen.longest_pause_s = trading.slowest_s, monitor.longest_s
    return seen


async def caught_up(exchange: Exchange, store: str) -> float:
    """Return how long after its outage what needs `store` was as if nothing had been, in seconds."""
    began = time.monotonic()
    service, field = {
        "valkey": ("ws", "limits_alone"),
        "postgres": ("ledger", "ledger_stopped_s"),
        "kinesis": ("market_data", "trades_stuck_s"),
    }[store]
    while pulses(exchange, service)[-1][field] != 0:
        assert time.monotonic() - began < CATCH_UP_MAX_S, f"{store} is back, and {service} does not go on"
        await asyncio.sleep(0.2)
    if store == "postgres":
        session = await exchange.session()
        while True:  # it reads only what the ledger has reached
            try:
                await session.call("allOrders", symbol=SYMBOL)
                break
            except RefusedError as error:
                if error.code not in UNSURE_CODES:
                    raise
                assert time.monotonic() - began < CATCH_UP_MAX_S
                await asyncio.sleep(0.2)
        session.close()
    return time.monotonic() - began


def pulses(exchange: Exchange, service: str) -> list[dict[str, Any]]:
    """Return what a service told of itself, line by line."""
    (log,) = exchange.layout.logs.glob(f"{service}*.log")
    lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
    return [line for line in lines if line["message"] == "pulse"]


def no_service_fell(exchange: Exchange) -> None:
    status = read_status(exchange.layout)
    assert status
    fallen = {each.name: each.restarts for each in status.processes if each.restarts}
    assert fallen == {"postgres": 1, "valkey": 1}, "only what was away was started again"


def metrics_told(exchange: Exchange) -> dict[str, int]:
    """Return the worst that the pulses told, which metrics are made of."""
    worst = {
        "rest": "limits_alone",
        "ws": "limits_alone",
        "ledger": "ledger_stopped_s",
        "market_data": "trades_stuck_s",
    }
    told = {
        f"{service} {field}": max(each[field] for each in pulses(exchange, service)) for service, field in worst.items()
    }
    told["trades_waiting"] = max(each["trades_waiting"] for each in pulses(exchange, "market_data"))
    told["trades_given_up"] = max(each["trades_given_up"] for each in pulses(exchange, "market_data"))
    assert told["rest limits_alone"] == told["ws limits_alone"] == 1
    assert told["ledger ledger_stopped_s"] >= SECONDS - PULSE_S - 1  # whole seconds are told, at the last pulse
    assert told["market_data trades_stuck_s"] > max(0, SECONDS - 2 * PULSE_S)
    assert told["trades_waiting"] > 0
    assert told["trades_given_up"] == 0
    return told


# ---- what the journal says -------------------------------------------------------------------------------------------


def ledger_of(exchange: Exchange) -> psycopg.Connection:
    lines = (exchange.layout.state / "pgpass").read_text().splitlines()
    (login,) = [line.split(":") for line in lines if ":ledger_reader:" in line]
    host, port, _, user, password = login
    return psycopg.connect(host=host, port=port, user=user, password=password, dbname="bursa", sslmode="disable")


def ledger_equals_journal(exchange: Exchange, at_least: int) -> str:
    """Read the ledger in one moment, and replay the journal up to it."""
    with ledger_of(exchange) as ledger:
        read = lambda query: ledger.execute(query.encode()).fetchall()  # noqa: E731 - short
        while True:
            ledger.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            ((position,),) = read("SELECT sequence FROM positions")
            if position >= at_least:
                break
            ledger.rollback()
            time.sleep(0.1)
        balances = {tuple(row) for row in read("SELECT account, asset, free, held FROM balances")}
        trades = read(
            "SELECT market, trade_id, price, lots, buyer_is_maker, buy_order_id, sell_order_id, buyer, seller,"
            " buyer_fee, seller_fee, buyer_fee_asset, seller_fee_asset, sequence FROM trades"
        )
        ((orders,),) = read("SELECT count(*) FROM orders")
    replica, made = journal_up_to(exchange, position)
    state = msgspec.msgpack.decode(replica.snapshot(), type=Snapshot)
    expected = {(each.account, *holding) for each in state.accounts for holding in each.holdings}
    assert {row for row in balances if row[2] or row[3]} == {row for row in expected if row[2] or row[3]}
    assert sorted(map(tuple, trades)) == sorted(made)
    return f"ledger equals journal at {position:,}: {len(balances)} balances, {len(trades):,} trades, {orders:,} orders"


def journal_up_to(exchange: Exchange, position: int) -> tuple[Replica, list[tuple[Any, ...]]]:
    """Return the state at `position`, and every trade up to it."""
    replica, trades = Replica(), []
    log = FileLog(exchange.layout.state / "journal" / "main", "commands", "main")
    for batch in log.read():
        for entry in entries_of(batch):
            if replica.sequence == position:
                break
            _, happened = replica.apply(batch.time_us, entry)
            trades += [
                (
                    *(each.market, each.trade_id, each.price, each.lots, each.buyer_is_maker, each.buy_order_id),
                    *(each.sell_order_id, each.buyer, each.seller, each.buyer_fee, each.seller_fee),
                    *(each.buyer_fee_asset, each.seller_fee_asset, happened.sequence),
                )
                for each in happened.events
                if isinstance(each, Traded)
            ]
    log.close()
    return replica, trades


def stream_equals_journal(exchange: Exchange, folder: Path, to: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Compare by the tool, as an operator would; retry while the last trades are on their way."""
    catalogue = folder / "catalogue.json"
    catalogue.write_text(CATALOGUE.model_dump_json())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "operator")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "unchecked")
    endpoint, region = exchange.demo["aws_endpoint_url"], "ap-southeast-3"
    kinesis = boto3.client("kinesis", endpoint_url=endpoint, region_name=region)
    (stream,) = [name for name in kinesis.list_streams()["StreamNames"] if "TradesStream" in name]
    where = ["--directory", str(exchange.layout.state / "journal" / "main"), "--catalogue", str(catalogue)]
    asked = ["compare", *where, "--stream", stream, "--region", region, "--endpoint-url", endpoint, "--to", str(to)]
    for _ in range(5):
        out, told = io.StringIO(), io.StringIO()
        code = rebuild.main([*asked, "--first", "1"], out, told)
        if code == 0:
            return f"stream equals journal: {out.getvalue().strip()}"
        time.sleep(2)
    raise AssertionError(out.getvalue() + told.getvalue())


async def scenario(exchange: Exchange, seed: int) -> tuple[list[Outage], Trading, int]:
    trading = Trading(exchange, seed, commands=10**9, pace_s=PACE_S)
    running = asyncio.create_task(trading.run())
    try:
        await asyncio.sleep(2)
        outages = []
        for store in ("valkey", "postgres", "kinesis"):
            outages.append(await one_outage(exchange, store, trading))
            assert not running.done() or running.result() is None
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        trading.close()
    status = read_status(exchange.layout)
    assert status
    link = EngineLink(next(each.address for each in status.processes if each.name.startswith("engine")))
    await link.start()
    await link.wait_connected(30)
    answered = await link.ask(AskTotals())
    await link.stop()
    return outages, trading, answered.sequence


def test_stores_away_under_trading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = int(os.environ.get("BURSA_SEED") or random.SystemRandom().randrange(2**32))
    print(f"seed {seed}, {SECONDS:g} s each")
    with own_exchange(tmp_path / "exchange") as exchange:
        paused = exchange.layout.run / "pause"
        paused.mkdir(exist_ok=True)
        (paused / SYMBOL).write_text(str(os.getpid()))
        wait_for(lambda: exchange.command("status").returncode == 0)
        outages, trading, sequence = asyncio.run(scenario(exchange, seed))
        for each in outages:
            print(each)
        print(f"{trading.done} commands, {trading.unsure} without an answer, refused {trading.refused}")
        print(metrics_told(exchange))
        print(ledger_equals_journal(exchange, sequence))
        print(stream_equals_journal(exchange, tmp_path, sequence, monkeypatch))
        no_service_fell(exchange)
    assert trading.unsure == 0, "every order was answered"
    assert set(trading.refused) <= {-2010, -2011, -1013}
    for each in outages:
        assert each.commands > SECONDS * 10
        assert each.longest_pause_s < PAUSE_MAX_S, each
