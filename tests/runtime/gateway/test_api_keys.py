"""API keys: cached, refreshed without anyone waiting, revoked within the promised time, and never guessed for free."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from runtime.gateway import api_keys
from runtime.gateway.api_keys import FRESH_S, STALE_S, UNKNOWN_S, ApiKeys
from runtime.gateway.errors import ApiError
from tests.runtime.gateway.world import LocalKeys, Trader


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def with_keys(scenario: Callable[[ApiKeys, LocalKeys, Clock], Awaitable[Any]]) -> None:
    source, clock = LocalKeys(), Clock()
    keys = ApiKeys(source, clock_s=clock)
    asyncio.run(asyncio.wait_for(scenario(keys, source, clock), 10))  # type: ignore[arg-type]
    keys.close()


async def settled() -> None:
    await asyncio.sleep(0.05)


def test_a_key_is_read_once_and_then_cached() -> None:
    async def scenario(keys: ApiKeys, source: LocalKeys, _: Clock) -> None:
        ana = Trader("ana", 1000, "HMAC", source, ip_list={"10.0.0.0/8", "192.0.2.1"})
        assert keys.cached(ana.api_key) is None
        found = await asyncio.gather(*(keys.get(ana.api_key) for _ in range(20)))
        assert source.fetched == [ana.api_key]
        key = found[0]
        assert key is not None
        assert (key.account, key.kind, key.tier) == (1000, "HMAC", "standard")
        assert key.verify(b"payload", ana.sign(b"payload"))
        assert key.may("TRADE", "192.0.2.1")
        assert not key.may("TRADE", "192.0.2.2")
        assert keys.cached(ana.api_key) is key

    with_keys(scenario)


def test_a_key_is_refreshed_in_the_background_and_opened_once() -> None:
    async def scenario(keys: ApiKeys, source: LocalKeys, clock: Clock) -> None:
        ana = Trader("ana", 1000, "HMAC", source)
        await keys.get(ana.api_key)
        clock.now_s += FRESH_S + 1
        assert keys.cached(ana.api_key) is not None
        assert keys.cached(ana.api_key) is not None
        await settled()
        assert (len(source.fetched), len(source.opened)) == (2, 1)
        clock.now_s += FRESH_S - 1
        assert keys.cached(ana.api_key) is not None
        await settled()
        assert len(source.fetched) == 2

    with_keys(scenario)


def test_a_revoked_key_stops_working_in_time() -> None:
    async def scenario(keys: ApiKeys, source: LocalKeys, clock: Clock) -> None:
        ana = Trader("ana", 1000, "ED25519", source)
        assert await keys.get(ana.api_key)
        source.items[ana.api_key]["enabled"] = False
        clock.now_s += FRESH_S + 1
        keys.cached(ana.api_key)
        await settled()
        assert keys.cached(ana.api_key) is None
        assert await keys.get(ana.api_key) is None

    with_keys(scenario)


def test_a_key_that_cannot_be_refreshed_is_not_used_for_ever() -> None:
    async def scenario(keys: ApiKeys, source: LocalKeys, clock: Clock) -> None:
        ana = Trader("ana", 1000, "RSA", source)
        assert await keys.get(ana.api_key)

        def fail(_: str) -> None:
            raise EndpointConnectionError(endpoint_url="https://dynamodb")

        source.fetch = fail  # type: ignore[method-assign, assignment]
        clock.now_s += FRESH_S + 1
        assert keys.cached(ana.api_key) is not None
        await settled()
        clock.now_s += STALE_S
        with pytest.raises(ApiError) as caught:
            await keys.get(ana.api_key)
        assert caught.value.code == -1001

    with_keys(scenario)


def test_unknown_keys_cost_the_table_one_read_and_malformed_ones_none() -> None:
    async def scenario(keys: ApiKeys, source: LocalKeys, clock: Clock) -> None:
        name = "n" * 64
        assert [await keys.get(name) for _ in range(5)] == [None] * 5
        assert len(source.fetched) == 1
        clock.now_s += UNKNOWN_S + 1
        Trader("n", 1, "HMAC", source).api_key  # noqa: B018 - stored under another name
        source.items[name] = next(iter(source.items.values()))
        assert await keys.get(name) is not None
        for malformed in ("", "short", "with blank" * 5, "é" * 64, "x" * 129):
            with pytest.raises(ApiError) as caught:
                await keys.get(malformed)
            assert caught.value.code == -2014
        assert len(source.fetched) == 2

    with_keys(scenario)


@pytest.mark.parametrize(
    "change", [{"kind": "DSA"}, {"public_key": "no key"}, {"ip_list": {"nowhere"}}, {"permissions": None}]
)
def test_a_row_that_makes_no_sense_is_no_key(change: dict[str, Any]) -> None:
    async def scenario(keys: ApiKeys, source: LocalKeys, _: Clock) -> None:
        ana = Trader("ana", 1000, "ED25519", source)
        source.items[ana.api_key] |= change
        assert await keys.get(ana.api_key) is None

    with_keys(scenario)


def test_a_flood_of_unknown_keys_is_refused_and_delays_no_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "READING_MAX", 8)

    async def scenario(keys: ApiKeys, source: LocalKeys, clock: Clock) -> None:
        ana = Trader("ana", 1000, "HMAC", source)
        await keys.get(ana.api_key)
        fetch, is_over = source.fetch, threading.Event()

        def slow(api_key: str) -> Any:
            if api_key != ana.api_key:
                is_over.wait(5)
            return fetch(api_key)

        source.fetch = slow  # type: ignore[method-assign]
        flood = [asyncio.create_task(keys.get(f"{number:064}")) for number in range(9)]
        try:
            await asyncio.sleep(0)
            with pytest.raises(ApiError) as caught:
                await flood[8]
            assert caught.value.code == -1008
            clock.now_s += STALE_S + 1  # ana waits for this one
            assert await asyncio.wait_for(keys.get(ana.api_key), 1)
        finally:
            is_over.set()
        assert await asyncio.gather(*flood[:8]) == [None] * 8
        assert await keys.get("n" * 64) is None

    with_keys(scenario)


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "KEYS_MAX", 3)
    monkeypatch.setattr(api_keys, "UNKNOWN_MAX", 3)

    async def scenario(keys: ApiKeys, source: LocalKeys, _: Clock) -> None:
        traders = [Trader(f"t{number}", number, "HMAC", source) for number in range(9)]
        for trader in traders:
            await keys.get(trader.api_key)
            await keys.get("unknown" + trader.api_key)
        assert [keys.cached(trader.api_key) is not None for trader in traders] == [False] * 6 + [True] * 3
        assert len(keys._unknown) == 3

    with_keys(scenario)
