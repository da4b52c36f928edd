"""Limits: counts in clock intervals, refusals that turn into bans, and sharing between gateways."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.markets import CATALOGUE
from runtime.gateway.errors import ApiError
from runtime.gateway.limit_models import LimitSettings
from runtime.gateway.limit_sharing import share_counts
from runtime.gateway.limits import (
    BAN_FIRST_S,
    KEYS_MAX,
    Counter,
    Key,
    Limiter,
    client_network,
)

MINUTE = 1_700_000_040.0
"""The beginning of a minute, of 10 seconds and not of a day."""
ANA = "198.51.100.7"


class Clock:
    def __init__(self) -> None:
        self.now_s = MINUTE

    def __call__(self) -> float:
        return self.now_s


def limiter(clock: Clock, **settings: int) -> Limiter:
    return Limiter(LimitSettings(**settings), CATALOGUE, clock_s=clock)


def refused(limits: Limiter, address: str = ANA, weight: int = 1) -> ApiError:
    with pytest.raises(ApiError) as caught:
        limits.charge(address, weight)
    return caught.value


def test_weight_is_counted_per_address_and_clock_minute() -> None:
    clock = Clock()
    limits = limiter(clock, weight_per_minute=10)
    limits.charge(ANA, 6)
    limits.charge("198.51.100.8", 10)
    assert limits.used_weight(ANA) == 6
    clock.now_s += 59.9
    limits.charge(ANA, 4)
    error = refused(limits)
    assert (error.code, error.status) == (-1003, 429)
    assert error.text == (
        "Too much request weight used; current limit is 10 request weight per 1 MINUTE. "
        "Please use WebSocket Streams for live updates to avoid polling the API."
    )
    assert error.retry_at_us == (MINUTE + 60) * 1_000_000
    clock.now_s += 0.1
    limits.charge(ANA, 1)
    assert limits.used_weight(ANA) == 1


def test_what_is_free_when_it_succeeds_is_given_back_in_its_own_minute() -> None:
    clock = Clock()
    limits = limiter(clock, weight_per_minute=10)
    limits.charge(ANA, 3)
    minute = limits.weights.number
    limits.charge(ANA, 7)
    assert refused(limits).status == 429
    assert limits.refund(ANA, 7, minute) == 4
    clock.now_s += 60
    limits.charge(ANA, 5)
    assert limits.refund(ANA, 3, minute) == 5


def test_there_is_no_credit() -> None:
    counter = Counter("orders", 10)
    counter.roll(MINUTE)
    counter.add(1000, 1)
    counter.roll(MINUTE + 10)
    assert [counter.add(1000, -1), counter.add(1000, 1)] == [0, 1]


def test_who_does_not_stop_is_banned_and_longer_each_time() -> None:
    clock = Clock()
    limits = limiter(clock, weight_per_minute=1, refusals_before_ban=3)
    limits.charge(ANA, 1)
    assert [refused(limits).status for _ in range(5)] == [429, 429, 429, 418, 418]
    banned = refused(limits)
    until_ms = int((MINUTE + BAN_FIRST_S) * 1000)
    assert banned.text == (
        f"Way too much request weight used; IP banned until {until_ms}. "
        "Please use WebSocket Streams for live updates to avoid bans."
    )
    assert not limits.connect(ANA)
    assert limits.connect("198.51.100.8")
    clock.now_s += BAN_FIRST_S
    limits.charge(ANA, 1)
    assert [refused(limits).status for _ in range(4)] == [429, 429, 429, 418]
    clock.now_s += 2 * BAN_FIRST_S - 1
    assert refused(limits).status == 418
    clock.now_s += 1
    limits.charge(ANA, 1)


def test_refusals_of_another_minute_do_not_add_up() -> None:
    clock = Clock()
    limits = limiter(clock, weight_per_minute=1, refusals_before_ban=3)
    for _ in range(5):
        limits.charge(ANA, 1)
        assert [refused(limits).status for _ in range(3)] == [429, 429, 429]
        clock.now_s += 60


def test_orders_are_counted_per_account_and_tier() -> None:
    clock = Clock()
    limits = limiter(clock)
    for _ in range(100):
        limits.count_order(1000, "standard")
    with pytest.raises(ApiError) as caught:
        limits.count_order(1000, "standard")
    error = caught.value
    assert (error.code, error.status) == (-1015, 429)
    assert error.text == "Too many new orders; current limit is 100 orders per 10 SECOND."
    assert error.retry_at_us == (MINUTE + 10) * 1_000_000
    limits.count_order(1001, "standard")
    limits.count_order(1000, "market_maker")
    assert limits.order_counts(1000) == (101, 101)
    clock.now_s += 10
    limits.count_order(1000, "standard")
    limits.forget_order(1000)
    assert limits.order_counts(1000) == (0, 101)


def test_an_order_that_a_day_has_no_room_for_counts_nowhere() -> None:
    limits = limiter(Clock())
    limits.count_order(1000, "standard")
    most = limits.tier("standard").orders_per_day
    limits.orders_day.add(1000, most - 2)
    assert limits.count_order(1000, "standard") == (2, most)
    with pytest.raises(ApiError) as caught:
        limits.count_order(1000, "standard")
    assert caught.value.text == f"Too many new orders; current limit is {most} orders per 1 DAY."
    assert limits.order_counts(1000) == (2, most)


def test_a_tier_that_is_gone_is_the_slowest() -> None:
    assert limiter(Clock()).tier("platinum").name == "standard"


def test_connections() -> None:
    limits = limiter(Clock(), connects_per_5_minutes=2)
    assert [limits.connect(ANA) for _ in range(3)] == [True, True, False]


def test_addresses_of_one_line_count_as_one() -> None:
    assert client_network("2001:db8::1") == client_network("2001:db8::ffff:1") == "2001:db8::/64"
    assert client_network("::ffff:198.51.100.7") == ANA
    assert client_network("127.0.0.1") != client_network("127.0.0.2")
    assert client_network("what") == "what"


def test_memory_is_bounded() -> None:
    counter = Counter("weight", 60)
    for number in range(KEYS_MAX + 500):
        counter.add(str(number), 1)
    assert counter.total("0") == 1
    assert counter.total("a newcomer") == 500


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-3, 9))))
def test_a_count_is_never_negative_and_what_is_shared_adds_up(steps: list[tuple[int, int]]) -> None:
    counter = Counter("weight", 60)
    shared: dict[Key, int] = {}
    for number, count in steps:
        assert counter.add(str(number), count) >= 0
        if count == 0:
            for key, change in counter.take_unshared(2).items():
                shared[key] = shared.get(key, 0) + change
    for key, change in counter.take_unshared(9).items():
        shared[key] = shared.get(key, 0) + change
    assert {key: counter.total(key) for key in shared} == shared


class Store:
    """Counts as Valkey keeps them."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.is_down = False
        self.calls = 0

    async def add(self, counts: list[tuple[str, int, int]]) -> list[int]:
        self.calls += 1
        if self.is_down:
            raise ConnectionError("down")
        for key, count, _ in counts:
            self.counts[key] = self.counts.get(key, 0) + count
        return [self.counts[key] for key, _, _ in counts]

    async def close(self) -> None:
        pass


async def exchange_counts(store: Store, *limiters: Limiter) -> None:
    tasks = [asyncio.create_task(share_counts(each, store)) for each in limiters]
    calls = store.calls
    for _ in range(500):
        await asyncio.sleep(0.01)
        if store.calls >= calls + len(limiters):
            break
    for task in tasks:
        task.cancel()


def test_gateways_see_what_others_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.gateway.limit_sharing.SHARE_INTERVAL_S", 0.001)
    clock, store = Clock(), Store()
    one, two = limiter(clock, weight_per_minute=10), limiter(clock, weight_per_minute=10)
    one.charge(ANA, 6)
    two.charge(ANA, 1)
    asyncio.run(exchange_counts(store, one, two))
    one.charge(ANA, 1)
    asyncio.run(exchange_counts(store, one))
    assert one.used_weight(ANA) == 8
    two.charge(ANA, 1)
    asyncio.run(exchange_counts(store, two))
    assert two.used_weight(ANA) == 9
    assert refused(two, weight=2).status == 429


def test_without_valkey_each_gateway_counts_alone_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.gateway.limit_sharing.SHARE_INTERVAL_S", 0.001)
    monkeypatch.setattr("runtime.gateway.limit_sharing.SHARE_RETRY_S", 0.001)
    clock, store = Clock(), Store()
    one = limiter(clock, weight_per_minute=10)
    store.is_down = True
    one.charge(ANA, 6)
    asyncio.run(exchange_counts(store, one))
    assert (one.used_weight(ANA), one.is_alone) == (6, True)
    assert refused(one, weight=5).status == 429, "limits hold without it"
    store.is_down = False
    asyncio.run(exchange_counts(store, one))
    assert not one.is_alone
    assert list(store.counts.values()) == [11]
