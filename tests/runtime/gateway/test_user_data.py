"""What an account hears: every field that strict clients need, in the order of events, and nothing of others."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from msgspec.structs import replace

from runtime.gateway import user_data
from runtime.gateway.user_data import stream_terminated
from runtime.gateway.views import MS, US
from runtime.shared import messages as m
from runtime.shared.engine_link import FeedDecoder
from tests.runtime.gateway.world import BTCUSDT, USDT, World

NAUTILUS = [*"eEscSofqpPFgCxXrilzLTtIwmMOZYQ"]


class Ear:
    def __init__(self, unit: int = MS) -> None:
        self.unit = unit
        self.heard: list[dict[str, object]] = []

    def hear(self, event: bytes) -> None:
        self.heard.append(msgspec.json.decode(event))

    def reports(self) -> list[dict[str, object]]:
        return [event for event in self.heard if event["e"] == "executionReport"]


@pytest.fixture
def world() -> World:
    return World()


def listen(world: World, account: int, unit: int = MS) -> Ear:
    ear = Ear(unit)
    world.users.add(account, ear)
    return ear


def test_a_trade_is_reported_to_both_sides(world: World) -> None:
    buyer, seller = listen(world, world.ana.account), listen(world, world.budi.account)
    world.rest_order(world.budi.account, m.SELL, 6_000_000, 1_000, "ask")
    assert [event["e"] for event in seller.heard] == ["executionReport", "outboundAccountPosition"]
    assert buyer.heard == []
    world.engine.apply(m.PlaceOrder(world.ana.account, BTCUSDT, m.BUY, m.LIMIT, m.GTC, 6_000_100, 1_500, 0, "bid"))
    new, trade = buyer.reports()
    assert [name for name in NAUTILUS if name not in trade or name not in new] == []
    assert trade | {"E": 0, "T": 0, "O": 0, "W": 0, "I": 0} == {
        "e": "executionReport",
        "E": 0,
        "s": "BTCUSDT",
        "c": "bid",
        "S": "BUY",
        "o": "LIMIT",
        "f": "GTC",
        "q": "0.01500000",
        "p": "60001.00000000",
        "P": "0.00000000",
        "F": "0.00000000",
        "g": -1,
        "C": "",
        "x": "TRADE",
        "X": "PARTIALLY_FILLED",
        "r": "NONE",
        "i": 2,
        "l": "0.01000000",
        "z": "0.01000000",
        "L": "60000.00000000",
        "n": "0.00001000",
        "N": "BTC",
        "T": 0,
        "t": 1,
        "I": 0,
        "w": True,
        "m": False,
        "M": False,
        "O": 0,
        "Z": "600.00000000",
        "Y": "600.00000000",
        "Q": "0.00000000",
        "W": 0,
        "V": "EXPIRE_MAKER",
    }
    assert (new["x"], new["X"], new["t"], new["n"], new["N"], new["l"]) == ("NEW", "NEW", -1, "0", None, "0.00000000")
    assert new["I"] != trade["I"]
    sold = seller.reports()[-1]
    assert (sold["X"], sold["w"], sold["m"], sold["n"], sold["N"]) == ("FILLED", False, True, "0.60000000", "USDT")
    position = buyer.heard[-1]
    assert position["B"] == [
        {"a": "USDT", "f": "999099.99500000", "l": "300.00500000"},
        {"a": "BTC", "f": "10.00999000", "l": "0.00000000"},
    ] or position["B"] == [
        {"a": "BTC", "f": "10.00999000", "l": "0.00000000"},
        {"a": "USDT", "f": "999099.99500000", "l": "300.00500000"},
    ]


def test_a_cancellation_carries_both_names(world: World) -> None:
    ear = listen(world, world.ana.account)
    order = world.rest_order(world.ana.account, m.BUY, 5_000_000, 1_000, "mine")
    world.engine.apply(m.CancelOrder(world.ana.account, BTCUSDT, order.order_id, "", "bye"))
    report = ear.reports()[-1]
    assert (report["x"], report["X"], report["c"], report["C"], report["w"]) == (
        "CANCELED",
        "CANCELED",
        "bye",
        "mine",
        False,
    )


def test_why_an_order_expired(world: World) -> None:
    ear = listen(world, world.ana.account)
    world.engine.apply(m.PlaceOrder(world.ana.account, BTCUSDT, m.BUY, m.LIMIT, m.IOC, 5_000_000, 1_000, 0, "ioc"))
    new, expired = ear.reports()
    assert "eR" not in new
    assert (expired["x"], expired["eR"]) == ("EXPIRED", "UNFILLED_IOC_QUANTITY_EXPIRED")


def test_a_deposit(world: World) -> None:
    ear = listen(world, world.ana.account, unit=US)
    world.engine.apply(m.Deposit(world.ana.account, 1, 150_000_000, "another"))
    update, position = ear.heard
    happened = world.engine.history[-1]
    assert update == {"e": "balanceUpdate", "E": happened.time_us, "a": "BTC", "d": "1.50000000", "T": happened.time_us}
    assert (position["u"], position["B"]) == (happened.time_us, [{"a": "BTC", "f": "11.50000000", "l": "0.00000000"}])


def test_listeners_come_and_go_even_while_they_are_told(world: World) -> None:
    class Leaver(Ear):
        def hear(self, event: bytes) -> None:
            super().hear(event)
            world.users.remove(world.ana.account, self)

    leaver, stayer = Leaver(), Ear()
    world.users.add(world.ana.account, leaver)
    world.users.add(world.ana.account, stayer)
    world.rest_order(world.ana.account, m.BUY, 5_000_000, 1_000, "one")
    assert (len(leaver.heard), len(stayer.heard)) == (1, 2)
    world.users.remove(world.ana.account, stayer)
    world.users.remove(world.ana.account, stayer)
    world.rest_order(world.ana.account, m.BUY, 5_000_000, 1_000, "two")
    assert len(stayer.heard) == 2
    assert world.users._listeners == {}


def test_what_the_catalogue_does_not_list_is_skipped_and_logged_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    ear = listen(world, world.ana.account)
    order = world.rest_order(world.ana.account, m.BUY, 5_000_000, 1_000, "mine")
    known = len(ear.heard)
    strange = m.OrderChanged(m.EXEC_NEW, replace(order, market=99))
    fill = m.OrderChanged(m.EXEC_TRADE, order, fee_asset=98)
    events: list[m.Event] = [
        strange,
        fill,
        m.BalanceChanged(world.ana.account, 97, 1, 0),
        m.Transferred(world.ana.account, 97, 1, ""),
    ]
    for sequence in (100, 101):
        world.users.publish(m.Happened(sequence, 1, [*events, m.OrderChanged(m.EXEC_NEW, order)]))
    assert [event["e"] for event in ear.heard[known:]] == ["executionReport"] * 2
    assert len(caplog.records) == 3


def test_following_begins_where_the_engine_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for: list[int] = []

    async def feed(_address: str, sequence: int, _decode: FeedDecoder) -> AsyncIterator[list[m.Happened]]:
        asked_for.append(sequence)
        assert world.users.is_following
        if sequence < 0:
            yield []

    monkeypatch.setattr(user_data, "follow_feed", feed)
    monkeypatch.setattr(user_data, "_ASK_AGAIN_S", 0.001)

    async def scenario() -> None:
        world.engine.is_silent = True
        following = asyncio.create_task(world.users.follow(world.engine, "engine:1"))
        await asyncio.sleep(0.02)
        assert (world.users.is_following, asked_for) == (False, [])
        world.engine.is_silent = False
        await asyncio.wait_for(following, 5)

    asyncio.run(scenario())
    assert asked_for == [world.engine.core.sequence + 1]


def test_of_the_feed_a_listener_hears_its_own_commands_in_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    own, later, strange = Ear(), Ear(), Ear()
    ana, budi = world.ana.account, world.budi.account

    async def feed(_address: str, _sequence: int, decode: FeedDecoder) -> AsyncIterator[list[m.Happened]]:
        def frame_of(first: int, *accounts: int) -> bytes:
            changes = [m.BalanceChanged(account, USDT, first, 0) for account in accounts]
            return m.encode([m.Happened(first + at, 1, [change]) for at, change in enumerate(changes)])

        yield decode(frame_of(100, ana, budi))
        world.users.add(ana, own)
        world.users.add(9_999, strange)
        yield decode(frame_of(200, ana, budi, ana))
        world.users.remove(ana, own)
        world.users.add(budi, later)
        yield decode(frame_of(300, ana, budi))

    monkeypatch.setattr(user_data, "follow_feed", feed)
    asyncio.run(world.users.follow(world.engine, "engine:1"))
    told = [[each["B"][0]["f"] for each in ear.heard] for ear in (own, later, strange)]  # type: ignore[index]
    assert told == [["0.00000200", "0.00000200"], ["0.00000300"], []]


def test_the_end_of_a_subscription() -> None:
    assert msgspec.json.decode(stream_terminated(1_700_000_000_123_456, MS)) == {
        "e": "eventStreamTerminated",
        "E": 1_700_000_000_123,
    }
