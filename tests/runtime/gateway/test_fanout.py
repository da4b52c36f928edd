"""Two thousand subscribers of one gateway process, some of which do not read and some of which do not stay."""

import asyncio
import os
import statistics
import time

import pytest

from bench import fanout
from bench.fanout import Report, Served, allow_files, crowd, one_round, serving
from bench.result import cpu_s
from runtime.gateway.streams import BUFFER_BYTES_MAX, GATHER_S

pytestmark = pytest.mark.soak

CLIENTS = 2_000
STALLED = CHURNING = CLIENTS // 100
SECONDS = float(os.environ.get("BURSA_FANOUT_SECONDS", "20"))
"""The full count is 300. With opening 2,000 connections again and again, 20 make a minute in all."""
TRADES_PER_S = 500
TOGETHER = 100
"""A market's trades come in bursts; these are five a second."""
SLOW_PER_S = 20
ROUNDS = 2
GROWTH_MAX = 1.05
UNREAD_BYTES = 2 * BUFFER_BYTES_MAX
"""More than the gateway keeps for whoever does not read, and sockets with it."""


async def watch(served: Served, rss: list[int]) -> None:
    while True:
        await asyncio.sleep(1)
        rss.append(served.rss_bytes())


async def crowded() -> tuple[float, list[int], Report]:
    """Serve everyone for SECONDS; return deliveries per CPU second, memory each second, and what clients saw."""
    steady = CLIENTS - STALLED - CHURNING
    rss: list[int] = []
    async with (
        serving(f"hub-{GATHER_S * 1000:g}", CLIENTS) as served,
        crowd(served.port, steady, stalled=STALLED, churning=CHURNING) as clients,
    ):
        await served.publish(clients, TRADES_PER_S, fanout.WARM_S, TOGETHER)
        watching = asyncio.create_task(watch(served, rss))
        before_s, before = cpu_s(served.pid), served.published
        await served.publish(clients, TRADES_PER_S, SECONDS, TOGETHER)
        rate = (served.published - before) * steady / (cpu_s(served.pid) - before_s)
        while served.published * fanout.FRAME_BYTES < UNREAD_BYTES:  # a busy machine has published less in SECONDS
            await served.publish(clients, TRADES_PER_S, 1, TOGETHER)
        watching.cancel()
        return rate, rss, await clients.finish(served.published)


async def one_by_one() -> dict[str, float]:
    """Return the deliveries per CPU second to as many clients, of a bare broadcast and of the hub in turn."""
    rates: dict[str, list[float]] = {"bare": [], "hub-0": []}
    for _ in range(ROUNDS):
        for kind, found in rates.items():
            async with serving(kind, CLIENTS) as served, crowd(served.port, CLIENTS) as clients:
                found.append(await one_round(served, clients, SLOW_PER_S))
                (await clients.finish(served.published)).check()
    return {kind: statistics.median(found) for kind, found in rates.items()}


def test_two_thousand_subscribers() -> None:
    allow_files(CLIENTS)
    started = time.monotonic()
    gathered, rss, report = asyncio.run(crowded())
    singly = asyncio.run(one_by_one())
    p50, p99, longest = report.late_ms
    print(
        f"{CLIENTS} subscribers for {SECONDS:g} s ({time.monotonic() - started:.0f} s in all): {report.delivered} "
        f"deliveries, p50/p99/longest {p50:.0f}/{p99:.0f}/{longest:.0f} ms, {report.churned} came and went, "
        f"slow ones: {report.slow_ends}; memory {min(rss) >> 20} to {max(rss) >> 20} MiB, {rss[-1] >> 20} in the end; "
        f"per CPU second: bare {singly['bare']:.0f}, hub {singly['hub-0']:.0f} one by one, {gathered:.0f} gathered"
    )
    report.check()
    assert report.churned > CHURNING, "nobody came and went"
    assert sum(report.slow_ends.values()) == STALLED
    for end in report.slow_ends:
        assert end.startswith(("1008 too slow", "no goodbye: ")), "whoever does not read is not kept"
    half = len(rss) // 2
    assert max(rss[-half // 2 :]) <= max(rss[:half]) * GROWTH_MAX, "memory grows"
    assert singly["hub-0"] >= 0.6 * singly["bare"]
    assert gathered >= 5 * singly["hub-0"]
