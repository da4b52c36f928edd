"""Whole lives of an exchange: down and up, power cut and up, and a recorded feed played through it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from local.control import birth, read_status
from local.paths import PROJECT
from tests.integ.exchange import Exchange, own_exchange, processes_of, run, wait_for
from tests.integ.test_recovery import patiently

pytestmark = pytest.mark.soak


async def what_alice_sees(exchange: Exchange) -> dict[str, Any]:
    session = await exchange.session()
    account = await patiently(session, "account.status")
    seen = {
        "balances": account["balances"],
        "open": await patiently(session, "openOrders.status"),
        "orders": await patiently(session, "allOrders", symbol="BTCUSDT"),
        "trades": await patiently(session, "myTrades", symbol="BTCUSDT"),
    }
    session.close()
    return seen


async def trade(exchange: Exchange) -> None:
    session = await exchange.session()
    for _ in range(100):  # the maker comes back once a replay has ended
        best = await session.request("ticker.book", {"symbol": "BTCUSDT"})
        if all(float(best[name]) > 0 for name in ("bidQty", "askQty")):
            break
        await asyncio.sleep(0.2)
    for side in ("BUY", "SELL", "BUY"):
        await session.call("order.place", symbol="BTCUSDT", side=side, type="MARKET", quantity="0.01")
    for symbol, price in (("BTCUSDT", "30000"), ("ETHIDR", "20000000")):
        order = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": price}
        await session.call("order.place", symbol=symbol, **order)
    session.close()


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """One exchange, whose first life the tests of this file share."""
    with own_exchange(tmp_path_factory.mktemp("lives")) as started:
        yield started


@pytest.mark.skipif("BURSA_FEED" not in os.environ, reason="BURSA_FEED names no recorded feed")
def test_a_recorded_feed_plays_through(exchange: Exchange) -> None:
    played = subprocess.run(
        [sys.executable, "-m", "local.replay", "--feed", os.environ["BURSA_FEED"], "--symbol", "BTCUSDT"],
        cwd=PROJECT,
        env={**os.environ, "LOCAL_DIR": str(exchange.layout.root)},
        capture_output=True,
        text=True,
        check=False,
    )
    print(played.stdout[-4000:], played.stderr[-2000:])
    assert played.returncode == 0
    for log in exchange.layout.logs.glob("*.log"):
        assert '"level": "ERROR"' not in log.read_text(errors="replace"), log.name


def test_down_and_power_cut_keep_balances_orders_and_trades(exchange: Exchange) -> None:
    before: dict[str, Any] = {}

    async def first_life() -> None:
        await trade(exchange)
        before.update(await what_alice_sees(exchange))
        assert len(before["trades"]) >= 3
        assert len(before["open"]) == 2

    async def next_life() -> None:
        assert await what_alice_sees(exchange) == before

    run(first_life)
    lives = processes_of(exchange)
    assert exchange.command("down").returncode == 0
    wait_for(lambda: all(birth(pid) != born for pid, born in lives.items()), timeout_s=5)  # none is left behind
    assert exchange.command("status").returncode == 1
    root = exchange.layout.root
    with own_exchange(root) as exchange:  # noqa: PLR1704 - the same exchange, in its next life
        run(next_life)
        lives = processes_of(exchange)
        status = read_status(exchange.layout)
        assert status
        os.kill(status.pid, signal.SIGKILL)
        wait_for(lambda: all(birth(pid) != born for pid, born in lives.items()))
    with own_exchange(root) as exchange:
        run(next_life)
