"""The price feed against venues on loopback and the real engine: through losses, nonsense, silence, into the bands."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from picows import WSMsgType

from config.markets import CATALOGUE
from local.simulated_venues import SimulatedVenue
from runtime.engine.follower import Follower
from runtime.engine.leader import Leader
from runtime.engine.server import Server
from runtime.price_feed import feed as feed_module
from runtime.price_feed.feed import PARTS_MAX, Feed
from runtime.price_feed.main import FeedSettings, prices_of, venues_of
from runtime.price_feed.reference import TOO_FEW, MarketPrice, Rules
from runtime.price_feed.venues import MESSAGE_BYTES_MAX, VENUES, Quote
from runtime.shared import messages as m
from runtime.shared.business_events import NotPublishedError, ReferencePriceStopped
from runtime.shared.catalogue import DECIMALS_MAX, CatalogueError
from runtime.shared.engine_link import EngineLink, EngineUnavailableError

MARKET = CATALOGUE.market_by_symbol["BTCUSDT"]
PAIR = "BTC", "USDT"
PRICE = "60000.00"
TICKS = 6_000_000
STALE_US = 500_000


async def until(holds: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
    assert holds(), what


class World:
    """Three venues, a feed that follows them, and what it told."""

    def __init__(self) -> None:
        self.venues = [SimulatedVenue(venue.name) for venue in VENUES]
        self.told: list[m.SetReferencePrice] = []
        self.events: list[ReferencePriceStopped] = []
        self.bus_is_down = False
        self.engine_is_down = False
        self.hangs: threading.Event | None = None
        self.price = MarketPrice(MARKET, Rules(stale_us=STALE_US, every_us=100_000))

    def quote(self, bid: str, *, but: int = -1) -> None:
        for number, venue in enumerate(self.venues):
            if number != but:
                venue.quote(PAIR, bid, bid)

    async def send(self, command: m.SetReferencePrice) -> m.Reply:
        if self.engine_is_down:
            raise EngineUnavailableError("down")
        self.told.append(command)
        return m.Done()

    async def last_price(self, _market: int) -> int:
        if self.engine_is_down:
            raise EngineUnavailableError("down")
        return TICKS * 11 // 10

    def publish(self, event: ReferencePriceStopped) -> None:
        if self.hangs:
            self.hangs.wait(20)
        if self.bus_is_down:
            raise NotPublishedError("down")
        self.events.append(event)

    @property
    def ticks(self) -> int:
        return self.told[-1].price if self.told else 0


@contextlib.asynccontextmanager
async def following(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[World, Feed]]:
    monkeypatch.setattr(feed_module, "TELL_S", 0.02)
    monkeypatch.setattr(feed_module, "PAUSE_MIN_S", 0.02)
    monkeypatch.setattr(feed_module, "PAUSE_MAX_S", 0.05)
    world = World()
    for venue in world.venues:
        await venue.start()
    urls = {venue.name: f"ws://127.0.0.1:{venue.port}/" for venue in world.venues}
    feed = Feed(
        [world.price],
        [replace(venue, url=urls[venue.name]) for venue in VENUES],
        send=world.send,
        last_price=world.last_price,
        publish=world.publish,
    )
    running = asyncio.create_task(feed.forever())
    try:
        await until(lambda: len(world.events) == 1, "no price yet is told once")
        yield world, feed
        assert not running.done(), "the feed ended"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        for venue in world.venues:
            venue.stop()


async def quoted(world: World, bid: str, holds: Callable[[], bool], *, but: int = -1) -> None:
    """Quote again and again until it `holds`."""
    async with asyncio.timeout(10):
        while not holds():
            world.quote(bid, but=but)
            await asyncio.sleep(0.02)


def test_what_venues_agree_on_is_told_and_a_lost_venue_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with following(monkeypatch) as (world, feed):
            await quoted(world, PRICE, lambda: world.ticks == TICKS)
            assert (await feed.pulse())["venues_connected"] == 3
            world.venues[0].stop()
            await quoted(world, "61000.00", lambda: world.ticks == 6_100_000, but=0)
            assert len(world.events) == 1, "two that agree are enough"
            await until(lambda: "coinbase" not in feed._connected, "the loss is seen")
            await world.venues[0].start(world.venues[0].port)
            await until(lambda: "coinbase" in feed._connected, "found again")
            await quoted(world, PRICE, lambda: world.ticks == TICKS)

    asyncio.run(scenario())


def test_a_price_that_ends_is_taken_away_once_and_told_once_the_bus_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with following(monkeypatch) as (world, feed):
            await quoted(world, PRICE, lambda: world.ticks == TICKS)
            world.bus_is_down = True
            await until(lambda: world.ticks == 0, "silence ends the price")
            assert await feed.pulse() == {"venues_connected": 3, "prices_stopped": 1}
            count = len(world.told)
            await asyncio.sleep(0.2)
            assert (len(world.told), len(world.events)) == (count, 1)
            world.bus_is_down = False
            await until(lambda: len(world.events) == 2, "kept for the bus")
            assert (world.events[1].symbol, world.events[1].reason) == ("BTCUSDT", TOO_FEW)

    asyncio.run(scenario())


def test_nonsense_of_a_venue_and_an_engine_that_is_down_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with following(monkeypatch) as (world, feed):
            await quoted(world, PRICE, lambda: world.ticks == TICKS)
            for message in (b"{", b"[]", b'{"type":"ticker"}', b"\xff\xfe", b"9" * 100_000, b"[" * 100_000):
                world.venues[0].send(message)
            world.venues[1].send(b" " * (MESSAGE_BYTES_MAX + 1))
            await until(lambda: "kraken" not in feed._connected, "too long a message is hung up on")
            world.engine_is_down = True
            await quoted(world, "62000.00", lambda: world.price.ticks == 6_200_000)
            assert "apart_ppm" not in await feed.pulse()
            world.engine_is_down = False
            await quoted(world, "62000.00", lambda: world.ticks == 6_200_000)
            assert (await feed.pulse())["apart_ppm"] == (6_600_000 - 6_200_000) * 1_000_000 // 6_200_000
            await until(lambda: "kraken" in feed._connected, "found again")

    asyncio.run(scenario())


def test_a_bus_that_hangs_holds_up_no_price(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with following(monkeypatch) as (world, _):
            await quoted(world, PRICE, lambda: world.ticks == TICKS)
            hanging = threading.Event()
            world.hangs = hanging
            await until(lambda: world.ticks == 0, "silence ends the price, and the bus is told")
            count = len(world.told)
            await quoted(world, PRICE, lambda: len(world.told) > count + 5)
            assert (world.ticks, len(world.events)) == (TICKS, 1)
            hanging.set()
            await quoted(world, PRICE, lambda: len(world.events) == 2)

    asyncio.run(scenario())


def test_a_message_of_endless_frames_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with following(monkeypatch) as (world, feed):
            await until(lambda: len(feed._connected) == 3, "all venues are there")
            (client,) = world.venues[1]._clients
            client.send(WSMsgType.TEXT, b"{", fin=False)
            for _ in range(PARTS_MAX + 1):
                client.send(WSMsgType.CONTINUATION, b"", fin=False)
            await until(lambda: "kraken" not in feed._connected, "hung up")

    asyncio.run(scenario())


def test_bands_of_the_engine_follow_what_venues_pay(tmp_path: Path) -> None:
    def order(price: int, name: str) -> m.PlaceOrder:
        return m.PlaceOrder(m.FIRST_USER_ACCOUNT, MARKET.id, m.BUY, m.LIMIT, m.GTC, price, 1_000, 0, name)

    async def scenario() -> None:
        follower = Follower.of_files(tmp_path, "main")
        follower.start()
        leader = Leader(follower)
        leader.take_over()
        leader.configure(CATALOGUE)
        server = Server(leader)
        await server.start("127.0.0.1", 0)
        assert server._listener
        link = EngineLink(f"127.0.0.1:{server._listener.sockets[0].getsockname()[1]}")
        await link.start()
        await link.wait_connected(10)
        await link.send(m.OpenAccount("alice", 1))
        await link.send(m.Deposit(m.FIRST_USER_ACCOUNT, CATALOGUE.asset(MARKET.quote).id, 10**15, "first"))
        far = TICKS * 6 + 1
        assert isinstance((await link.send(order(far, "before"))).reply, m.OrderPlaced), "nothing to refer to yet"
        price = MarketPrice(MARKET, Rules())
        for venue in VENUES:
            quote = Quote(venue.symbol(*PAIR), 60_000 * 10**DECIMALS_MAX, 60_000 * 10**DECIMALS_MAX)
            price.see(venue, quote, time.time_ns() // 1000)
        world = World()

        async def send(command: m.SetReferencePrice) -> m.Reply:
            return (await link.send(command)).reply

        await Feed([price], [], send=send, last_price=world.last_price, publish=world.publish).tell()
        assert (await link.send(order(far, "after"))).reply == m.Rejected(m.PRICE_BAND)
        assert isinstance((await link.send(order(TICKS, "fair"))).reply, m.OrderPlaced)
        await link.stop()
        await server.stop()
        leader.close()

    asyncio.run(scenario())


def settings(**changed: object) -> FeedSettings:
    given: dict[str, object] = {
        "service": "price_feed",
        "listen_port": 7004,
        "catalogue_parameter": "/bursa/dev/catalogue",
        "engine_address": "engine.bursa:7001",
        "event_bus": "bus",
        "reference_symbols": ("BTCUSDT", "ETHUSDT"),
        "venue_urls": {venue.name: venue.url for venue in VENUES},
    }
    return FeedSettings(**{**given, **changed})  # type: ignore[arg-type]


def test_settings_name_markets_and_venues_that_exist() -> None:
    assert [price.market.symbol for price in prices_of(settings(), CATALOGUE)] == ["BTCUSDT", "ETHUSDT"]
    assert venues_of(settings()) == list(VENUES)
    with pytest.raises(CatalogueError, match="DOGEUSDT must be among BTCUSDT"):
        prices_of(settings(reference_symbols=("DOGEUSDT",)), CATALOGUE)
    with pytest.raises(ValueError, match="the venues known are bitstamp, coinbase, kraken"):
        settings(venue_urls={"mtgox": "wss://mtgox.example:443/"})
    with pytest.raises(ValueError, match=r"begins with wss://, was 'ws://ws\.kraken\.com/'"):
        settings(venue_urls={"kraken": "ws://ws.kraken.com/"})
