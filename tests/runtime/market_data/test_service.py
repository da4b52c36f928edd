"""What followers are told, and when: by the engine's events and a clock in the test's hand."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.market_data.book_builder import GapError
from runtime.market_data.links import OUTPUT_BYTES_MAX, GatewayLink
from runtime.market_data.payloads import depth_body
from runtime.market_data.service import SETTLE_MS, MarketData
from runtime.market_data.trades import aggregate
from runtime.shared.market_messages import Followed, Published, Reset
from runtime.shared.messages import BUY, SELL, Happened, LevelChanged, Traded
from tests.runtime.market_data.events import SEEDED, START_MS, EngineRun, empty_views, engine_run, levels
from tests.runtime.market_data.wire import DepthClient, FakeTransport

BTC = 1


class Floor:
    """Market data with one gateway, a clock, and an engine that says what the test wants."""

    def __init__(self) -> None:
        self.now_ms = START_MS
        """On the second."""
        self.market_data = MarketData(empty_views())
        self.market_data.on_tick(self.now_ms)  # the clock has been running before
        self.transport = FakeTransport()
        self.link = GatewayLink(self.transport, "gateway")
        self.market_data.join(self.link)
        self.sequence = 0
        self.update_id = 0
        self.trade_id = 0

    def follow(self, *streams: str) -> None:
        self.market_data.follow(self.link, list(streams), self.now_ms)

    def happen(self, *events: Any) -> None:
        self.sequence += 1
        self.market_data.on_feed([Happened(self.sequence, self.now_ms * 1000, list(events))])
        self.market_data.publish_live(self.now_ms)

    def level(self, side: int, price: int, lots: int) -> LevelChanged:
        self.update_id += 1
        return LevelChanged(BTC, self.update_id, side, price, lots)

    def trade(self, price: int, lots: int) -> Traded:
        self.trade_id += 1
        return Traded(BTC, self.trade_id, price, lots, False, 1, 2, 3, 4, 5, 6)  # noqa: FBT003 - buyer_is_maker

    def wait(self, milliseconds: int) -> None:
        for _ in range(milliseconds // 100):
            self.now_ms += 100
            self.market_data.on_tick(self.now_ms)

    def told(self, stream: str) -> list[Any]:
        events = self.transport.events(stream)
        self.transport.take()
        return events


@pytest.fixture
def floor() -> Floor:
    return Floor()


class Crowd:
    """Clients of two depth streams over one gateway, each with a snapshot taken at some time after it joined."""

    def __init__(self) -> None:
        self.market_data = MarketData(empty_views())
        self.clients: dict[str, list[DepthClient]] = {"btcusdt@depth@100ms": [], "btcusdt@depth": []}
        self._waiting: list[DepthClient] = []
        self._transport = FakeTransport()
        self._link = GatewayLink(self._transport, "gateway")

    def join(self, stream: str, now_ms: int) -> None:
        if stream not in self._link.streams:
            self.market_data.follow(self._link, [stream], now_ms)
        self.clients[stream].append(DepthClient())
        self._waiting.append(self.clients[stream][-1])

    def serve_snapshot(self) -> None:
        if self._waiting:
            market = self.market_data.markets["BTCUSDT"]
            self._waiting.pop().snapshot(json.loads(depth_body(market.instrument, market.book.depth(5000))))

    def listen(self) -> None:
        for message in self._transport.take():
            if isinstance(message, Published):
                for client in self.clients[message.stream]:
                    client.take(json.loads(message.payload))


@SEEDED
@given(st.integers(0, 10**6))
def test_a_client_that_joins_at_any_time_has_the_engines_book(seed: int) -> None:
    run = EngineRun(seed, 250, pause_ms_max=150)
    draw = random.Random(seed)
    crowd = Crowd()
    at, now_ms = 0, START_MS
    while at < len(run.happened):
        if draw.random() < 0.1:
            crowd.join(draw.choice(list(crowd.clients)), now_ms)
        if draw.random() < 0.3:
            crowd.serve_snapshot()
        batch = run.happened[at : at + draw.randint(1, 6)]
        at += len(batch)
        crowd.market_data.on_feed(batch)
        crowd.market_data.publish_live(now_ms)
        if draw.random() < 0.5:
            now_ms += 100
            crowd.market_data.on_tick(now_ms)
        crowd.listen()
    crowd.join("btcusdt@depth", now_ms)
    for _ in range(at):
        crowd.serve_snapshot()
    crowd.market_data.on_tick(run.happened[-1].time_us // 1000 + 10_000)
    crowd.listen()
    instrument = crowd.market_data.markets["BTCUSDT"].instrument
    expected = tuple([list(pair) for pair in instrument.levels(levels(run.engine, BTC, side))] for side in (BUY, SELL))
    for client in (*crowd.clients["btcusdt@depth"], *crowd.clients["btcusdt@depth@100ms"]):
        assert client.book() == expected


def test_depth_goes_out_every_100_ms_and_every_second(floor: Floor) -> None:
    floor.wait(500)
    floor.follow("btcusdt@depth@100ms", "btcusdt@depth", "btcusdt@depth@1000ms")
    assert floor.transport.take() == [Followed(["btcusdt@depth@100ms", "btcusdt@depth", "btcusdt@depth@1000ms"])]
    floor.happen(floor.level(BUY, 100, 1))
    floor.happen(floor.level(BUY, 100, 2), floor.level(SELL, 101, 1))
    assert floor.transport.take() == []
    floor.wait(100)
    (fast,) = floor.transport.events("btcusdt@depth@100ms")
    assert (fast["U"], fast["u"], fast["E"]) == (1, 3, floor.now_ms)
    assert fast["b"] == [["1.00000000", "0.00002000"]]
    floor.wait(100)
    assert len(floor.transport.events("btcusdt@depth@100ms")) == 1  # nothing new, nothing told
    floor.happen(floor.level(BUY, 100, 0))
    floor.wait(1500)
    messages = floor.transport.messages
    (slow,) = floor.transport.events("btcusdt@depth")
    assert (slow["U"], slow["u"], slow["b"]) == (1, 4, [["1.00000000", "0.00000000"]])
    payloads = [m.payload for m in messages if isinstance(m, Published) and m.stream != "btcusdt@depth@100ms"]
    assert payloads[0] == payloads[1]


def test_partial_depth_and_best_prices(floor: Floor) -> None:
    floor.happen(*(floor.level(BUY, 100 - number, 1) for number in range(30)))
    floor.wait(1000)
    floor.follow("btcusdt@depth5@100ms", "btcusdt@depth20", "btcusdt@bookTicker")
    assert len(floor.transport.events("btcusdt@depth5@100ms")[0]["bids"]) == 5  # at once: a state needs no change
    assert len(floor.transport.events("btcusdt@depth20")[0]["bids"]) == 20
    assert floor.told("btcusdt@bookTicker")[0]["b"] == "1.00000000"
    floor.wait(2000)
    assert floor.transport.take() == []
    floor.happen(floor.level(BUY, 50, 1))
    assert floor.told("btcusdt@bookTicker") == []  # not the best
    floor.happen(floor.level(BUY, 101, 1))
    (best,) = floor.told("btcusdt@bookTicker")
    assert best == {
        "u": 32,
        "s": "BTCUSDT",
        "b": "1.01000000",
        "B": "0.00001000",
        "a": "0.00000000",
        "A": "0.00000000",
    }
    floor.wait(100)
    assert floor.told("btcusdt@depth5@100ms")[0]["lastUpdateId"] == 32


def test_best_prices_that_go_and_return_between_two_followers(floor: Floor) -> None:
    """The second follower was told a state that no longer holds once the first state is back."""
    floor.happen(floor.level(BUY, 100, 1))
    floor.follow("btcusdt@depth5@100ms")
    other = FakeTransport()
    link = GatewayLink(other, "other")
    floor.market_data.join(link)
    floor.happen(floor.level(BUY, 101, 1))
    floor.market_data.follow(link, ["btcusdt@depth5@100ms"], floor.now_ms)
    assert other.events("btcusdt@depth5@100ms")[-1]["lastUpdateId"] == 2
    floor.wait(100)
    assert floor.transport.events("btcusdt@depth5@100ms")[-1]["lastUpdateId"] == 2


def test_trades_are_told_at_once_with_the_engines_time(floor: Floor) -> None:
    floor.follow("btcusdt@trade", "btcusdt@aggTrade", "ethusdt@trade")
    floor.transport.take()
    floor.happen(floor.trade(100, 1), floor.trade(100, 2), floor.trade(101, 1))
    trades, told = floor.transport.events("btcusdt@trade"), floor.told("btcusdt@aggTrade")
    assert [trade["t"] for trade in trades] == [1, 2, 3]
    assert {trade["E"] for trade in trades} == {trade["T"] for trade in trades} == {START_MS}
    assert [(one["a"], one["f"], one["l"], one["q"]) for one in told] == [
        (1, 1, 2, "0.00003000"),
        (3, 3, 3, "0.00001000"),
    ]


def test_all_trades_and_aggregates_of_a_run_are_told_once_in_order() -> None:
    run = engine_run()
    floor = Floor()
    floor.follow("btcusdt@trade", "btcusdt@aggTrade")
    for start in range(0, len(run.happened), 7):
        floor.market_data.on_feed(run.happened[start : start + 7])
        floor.market_data.publish_live(floor.now_ms)
    trades = run.trades(BTC)
    assert [trade["t"] for trade in floor.transport.events("btcusdt@trade")] == [t.trade_id for t in trades]
    told = [(one["f"], one["l"]) for one in floor.transport.events("btcusdt@aggTrade")]
    assert told == [(one.first_id, one.last_id) for one in aggregate(trades)]


def test_candles_close_by_time_also_without_trades(floor: Floor) -> None:
    floor.now_ms = START_MS - START_MS % 60_000 + 58_000
    floor.market_data.on_tick(floor.now_ms)
    floor.follow("btcusdt@kline_1s", "btcusdt@kline_1m")
    assert floor.transport.take() == [Followed(["btcusdt@kline_1s", "btcusdt@kline_1m"])]  # there is no candle yet
    floor.happen(floor.trade(100, 5))
    floor.wait(4000)
    minute = floor.transport.events("btcusdt@kline_1m")
    second = floor.told("btcusdt@kline_1s")
    closed = [event["k"] for event in second if event["k"]["x"]]
    assert [(k["n"], k["f"], k["c"]) for k in closed] == [(1, 1, "1.00000000")] + [(0, -1, "1.00000000")] * 2
    assert [k["t"] for k in closed] == [START_MS - START_MS % 60_000 + 58_000 + n * 1000 for n in range(3)]
    (final,) = [event["k"] for event in minute if event["k"]["x"]]
    assert (final["n"], final["v"], final["T"]) == (1, "0.00005000", START_MS - START_MS % 60_000 + 59_999)
    assert minute[-1]["k"]["t"] == final["T"] + 1  # the next one is shown as open
    assert not minute[-1]["k"]["x"]
    assert floor.now_ms - second[-1]["E"] < 1000
    open_again = [event["k"]["t"] for event in second if not event["k"]["x"]]
    assert open_again == sorted(set(open_again))


def test_a_candle_waits_for_trades_that_may_still_come(floor: Floor) -> None:
    floor.follow("btcusdt@kline_1s")
    floor.happen(floor.trade(100, 5))
    floor.wait(1000 - START_MS % 1000 + SETTLE_MS - 100)
    assert not any(event["k"]["x"] for event in floor.told("btcusdt@kline_1s"))
    floor.wait(200)
    assert any(event["k"]["x"] for event in floor.told("btcusdt@kline_1s"))


def test_a_late_trade_corrects_its_closed_candle(floor: Floor) -> None:
    floor.follow("btcusdt@kline_1s")
    floor.happen(floor.trade(100, 5))
    floor.wait(2000)
    floor.transport.take()
    floor.sequence += 1
    floor.market_data.on_feed([Happened(floor.sequence, START_MS * 1000, [floor.trade(105, 5)])])
    floor.wait(1000)
    closed = [event["k"] for event in floor.told("btcusdt@kline_1s") if event["k"]["x"]]
    assert (closed[0]["t"], closed[0]["c"], closed[0]["n"]) == (START_MS, "1.05000000", 2)
    assert {k["c"] for k in closed} == {"1.05000000"}


def test_tickers_once_a_second_while_something_changes(floor: Floor) -> None:
    names = ("btcusdt@ticker", "btcusdt@miniTicker", "btcusdt@avgPrice", "btcusdt@ticker_1h", "!miniTicker@arr")
    floor.follow(*names)
    first = {name: floor.transport.events(name) for name in names}
    assert all(len(events) == 1 for events in first.values())
    assert [entry["s"] for entry in first["!miniTicker@arr"][0]] == ["BTCUSDT", "ETHUSDT", "BTCIDR", "ETHIDR"]
    floor.transport.take()
    floor.happen(floor.trade(100, 5), floor.level(BUY, 99, 2))
    floor.happen(floor.trade(110, 5))
    floor.wait(1000)
    second = {name: floor.transport.events(name) for name in names}
    assert all(len(events) == 1 for events in second.values())
    ticker = second["btcusdt@ticker"][0]
    assert (ticker["c"], ticker["P"], ticker["w"], ticker["b"]) == ("1.10000000", "10.000", "1.05000000", "0.99000000")
    assert [entry["s"] for entry in second["!miniTicker@arr"][0]] == ["BTCUSDT"]
    assert second["btcusdt@avgPrice"][0]["w"] == "1.05000000"
    floor.transport.take()
    floor.wait(3000)
    assert floor.transport.take() == []


def test_a_payload_is_encoded_once_for_all_gateways(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    other = FakeTransport()
    link = GatewayLink(other, "other")
    floor.market_data.join(link)
    floor.follow("btcusdt@trade")
    floor.market_data.follow(link, ["btcusdt@trade"], floor.now_ms)
    made: list[str] = []
    encode = "runtime.market_data.service.payloads.trade_event"
    monkeypatch.setattr(encode, lambda *_: made.append("trade") or b"{}")  # type: ignore[func-returns-value]
    floor.happen(floor.trade(100, 1))
    assert made == ["trade"]
    assert other.take()[-1:] == floor.transport.take()[-1:] == [Published("btcusdt@trade", b"{}")]


def test_what_nobody_follows_is_not_told(floor: Floor) -> None:
    floor.follow("btcusdt@trade", "btcusdt@kline_1s", "btcusdt@depth@100ms")
    floor.market_data.unfollow(floor.link, ["btcusdt@trade", "btcusdt@kline_1s", "btcusdt@depth@100ms"])
    floor.transport.take()
    floor.happen(floor.trade(100, 1), floor.level(BUY, 99, 1))
    floor.wait(2000)
    assert floor.transport.take() == []
    floor.follow("btcusdt@trade")
    floor.market_data.leave(floor.link)
    floor.transport.take()
    floor.happen(floor.trade(100, 1))
    assert floor.transport.take() == []


def test_unknown_streams_are_left_out(floor: Floor) -> None:
    floor.follow("btcusdt@trade", "nosuch@trade", "btcusdt@kline_7m", "BTCUSDT@trade")
    assert floor.transport.take() == [Followed(["btcusdt@trade"])]


def test_a_gateway_that_does_not_read_is_reset_once_it_does(floor: Floor) -> None:
    floor.follow("btcusdt@trade", "btcusdt@depth@100ms")
    floor.transport.take()
    floor.transport.unread = OUTPUT_BYTES_MAX + 1
    floor.happen(floor.trade(100, 1))
    floor.happen(floor.trade(100, 1))
    floor.wait(200)
    assert floor.transport.take() == []
    floor.transport.unread = 0
    floor.happen(floor.trade(100, 1))
    assert floor.transport.take() == []  # not before it is told that it missed something
    floor.wait(100)
    (reset,) = floor.transport.take()
    assert isinstance(reset, Reset)
    assert reset.streams == ["btcusdt@trade", "btcusdt@depth@100ms"]
    floor.happen(floor.trade(100, 1))
    assert [trade["t"] for trade in floor.told("btcusdt@trade")] == [4]


def test_a_missing_trade_is_never_passed_over(floor: Floor) -> None:
    floor.happen(floor.trade(100, 1))
    floor.trade_id += 1
    with pytest.raises(GapError, match="BTCUSDT: trade 3 came where 2 had to"):
        floor.happen(floor.trade(100, 1))


def test_trade_records_carry_both_sides(floor: Floor) -> None:
    records = floor.market_data.on_feed([Happened(1, START_MS * 1000, [floor.trade(100, 7)])])
    assert [(r.symbol, r.trade_id, r.price_ticks, r.lots, r.buyer, r.seller, r.sequence) for r in records] == [
        ("BTCUSDT", 1, 100, 7, 3, 4, 1)
    ]
