"""The stream protocol as clients see it, with market data and transport in the test's hand."""

import asyncio
from typing import Any

import pytest

from runtime.gateway.streams import (
    BEHIND_S_MAX,
    BUFFER_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    STREAMS_MAX,
    StreamHub,
    text_frame,
)
from runtime.shared.market_messages import Follow, Followed, Reset, Unfollow
from tests.runtime.gateway.stream_ends import Client, Clock, FakeMarketData, texts, with_hub
from tests.runtime.market_data.wire import until

TRADE = "btcusdt@trade"
DEPTH = "btcusdt@depth@100ms"
BOOK = "btcusdt@bookTicker"
ARRAY = "!miniTicker@arr"


def test_subscribe_listen_unsubscribe() -> None:
    async def scenario(hub: StreamHub, market_data: FakeMarketData) -> None:
        client = Client(hub, "/ws/7")
        client.ask("SUBSCRIBE", [TRADE, DEPTH, TRADE], 1)
        await until(lambda: client.received)
        assert client.take() == [{"result": None, "id": 1}]
        client.ask("LIST_SUBSCRIPTIONS", request_id=2)
        assert client.take() == [{"result": [TRADE, DEPTH], "id": 2}]
        market_data.publish(TRADE, {"e": "trade", "t": 1})
        await until(lambda: client.received)
        assert client.take() == [{"e": "trade", "t": 1}]
        client.ask("UNSUBSCRIBE", [TRADE, "nosuch"], "three")
        assert client.take() == [{"result": None, "id": "three"}]
        market_data.publish(TRADE, {"e": "trade", "t": 2})
        market_data.publish(DEPTH, {"u": 1})
        await until(lambda: client.received)
        assert client.take() == [{"u": 1}]
        await until(lambda: len(market_data.heard) == 2)
        assert market_data.heard == [Follow([TRADE, DEPTH]), Unfollow([TRADE])]

    with_hub(scenario)


@pytest.mark.parametrize(
    ("path", "query", "streams", "is_combined"),
    [
        ("/ws", "", [], False),
        ("/ws/", "", [], False),
        ("/ws/0", "", [], False),
        ("/stream", "", [], True),
        ("/ws/btcusdt@trade", "", [TRADE], False),
        ("/ws/btcusdt%40trade", "", [TRADE], False),
        ("/ws/btcusdt@trade/btcusdt@bookTicker", "", [TRADE, BOOK], False),
        ("/stream", "streams=btcusdt@trade/btcusdt@bookTicker", [TRADE, BOOK], True),
        (
            "/stream",
            "streams=btcusdt%40trade%2F!miniTicker%40arr&timeUnit=MILLISECOND",
            [TRADE, "!miniTicker@arr"],
            True,
        ),
    ],
)
def test_paths(path: str, query: str, streams: list[str], is_combined: bool) -> None:  # noqa: FBT001 - a parameter of the test
    async def scenario(hub: StreamHub, market_data: FakeMarketData) -> None:
        client = Client(hub, path, query)
        client.ask("LIST_SUBSCRIPTIONS", request_id=1)
        client.ask("GET_PROPERTY", ["combined"], 2)
        assert client.take() == [{"result": streams, "id": 1}, {"result": is_combined, "id": 2}]
        if streams:
            await until(lambda: market_data.heard)
            await asyncio.sleep(0.02)  # confirmed
            market_data.publish(TRADE, {"t": 1})
            await until(lambda: client.received)
            assert client.take() == [{"stream": TRADE, "data": {"t": 1}} if is_combined else {"t": 1}]

    with_hub(scenario)


@pytest.mark.parametrize(
    ("path", "query", "reason"),
    [
        ("/ws/nosuch@trade", "", "unknown stream 'nosuch@trade'"),
        ("/ws/BTCUSDT@trade", "", "unknown stream 'BTCUSDT@trade'"),
        ("/stream", "streams=btcusdt@kline_1m@+08:00", "unknown stream 'btcusdt@kline_1m@ 08:00'"),
        ("/stream", "streams=!ticker@arr", "unknown stream '!ticker@arr'"),
        ("/ws", "timeUnit=MICROSECOND", "timeUnit"),
        ("/other", "", "no such path"),
        ("/ws/" + "/".join(f"{'x' * 200}" for _ in range(3)), "", "unknown stream 'xxx"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(path: str, query: str, reason: str) -> None:
    async def scenario(hub: StreamHub, _market_data: FakeMarketData) -> None:
        client = Client(hub, path, query)
        assert client.closed
        assert client.closed[0] == 1008
        assert reason in client.closed[1]
        client.ask("LIST_SUBSCRIPTIONS")
        assert client.received == []

    with_hub(scenario)


def test_wrapping_is_built_once_and_shared_and_can_be_switched() -> None:
    async def scenario(hub: StreamHub, market_data: FakeMarketData) -> None:
        raw, other = Client(hub, f"/ws/{TRADE}"), Client(hub, f"/ws/{TRADE}")
        combined, also = Client(hub, "/stream", f"streams={TRADE}"), Client(hub, "/stream", f"streams={TRADE}")
        await asyncio.sleep(0.02)
        market_data.publish(TRADE, {"t": 1})
        await until(lambda: also.received)
        assert raw.writes[0] is other.writes[0]
        assert combined.writes[0] is also.writes[0]
        assert raw.raw[0] == b'{"t":1}'
        assert combined.raw[0] == b'{"stream":"btcusdt@trade","data":{"t":1}}'
        raw.ask("SET_PROPERTY", ["combined", True], 5)
        combined.ask("SET_PROPERTY", ["combined", False], 6)
        assert raw.take()[-1] == {"result": None, "id": 5}
        combined.take()
        market_data.publish(TRADE, {"t": 2})
        await until(lambda: combined.received)
        assert raw.take() == [{"stream": TRADE, "data": {"t": 2}}]
        assert combined.take() == [{"t": 2}]

    with_hub(scenario)


@pytest.mark.parametrize("request_id", [0, 1, -1, 2**63 - 1, -(2**63), None, "", "a", "479c6068-049e-4c9b"])
def test_ids_come_back_as_they_were(request_id: Any) -> None:
    async def scenario(hub: StreamHub, _market_data: FakeMarketData) -> None:
        client = Client(hub)
        client.ask("LIST_SUBSCRIPTIONS", request_id=request_id)
        assert client.take() == [{"result": [], "id": request_id}]

    with_hub(scenario)


METHODS = "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"


@pytest.mark.parametrize(
    ("message", "code", "text", "request_id"),
    [
        (b"", 3, "Invalid JSON: expected value at line 1 column 1", None),
        (b'{\n"method": }', 3, "Invalid JSON: expected value at line 2 column 11", None),
        (b"\xff\xfe", 3, "Invalid JSON: expected value", None),
        (b"[]", 2, "Invalid request: expected an object", None),
        (b'"SUBSCRIBE"', 2, "Invalid request: expected an object", None),
        (b'{"id":1}', 2, "Invalid request: missing field `method`", 1),
        (b'{"method":"BUY","id":1}', 2, f"Invalid request: unknown variant `BUY`, expected one of {METHODS}", 1),
        (b'{"method":[1],"id":1}', 2, f"Invalid request: unknown variant `[1]`, expected one of {METHODS}", 1),
        (b'{"method":"LIST_SUBSCRIPTIONS"}', 2, "Invalid request: request ID must be an unsigned integer", None),
        (b'{"method":"LIST_SUBSCRIPTIONS","id":1.5}', 2, "Invalid request: request ID must be", None),
        (b'{"method":"LIST_SUBSCRIPTIONS","id":true}', 2, "Invalid request: request ID must be", None),
        (b'{"method":"LIST_SUBSCRIPTIONS","id":9223372036854775808}', 2, "Invalid request: request ID must be", None),
        (b'{"method":"LIST_SUBSCRIPTIONS","id":"%s"}' % (b"x" * 37), 2, "Invalid request: request ID must be", None),
        (b'{"method":"SUBSCRIBE","id":1}', 2, "Invalid request: `params` must be an array of stream names", 1),
        (b'{"method":"SUBSCRIBE","params":[1],"id":1}', 2, "Invalid request: `params` must be an array", 1),
        (b'{"method":"SUBSCRIBE","params":["x@trade"],"id":1}', 2, "Invalid request: unknown stream 'x@trade'", 1),
        (b'{"method":"SUBSCRIBE","params":["!ticker@arr"],"id":1}', 2, "Invalid request: unknown stream", 1),
        (b'{"method":"SET_PROPERTY","id":1}', 2, "Invalid request: property name must be a string", 1),
        (
            b'{"method":"SET_PROPERTY","params":[1,true],"id":1}',
            2,
            "Invalid request: property name must be a string",
            1,
        ),
        (b'{"method":"SET_PROPERTY","params":["fast",true],"id":1}', 0, "Unknown property", 1),
        (b'{"method":"GET_PROPERTY","params":["fast"],"id":1}', 0, "Unknown property", 1),
        (b'{"method":"SET_PROPERTY","params":["combined"],"id":1}', 1, "Invalid value type: expected Boolean", 1),
        (b'{"method":"SET_PROPERTY","params":["combined",1],"id":1}', 1, "Invalid value type: expected Boolean", 1),
        (b'{"method":"GET_PROPERTY","params":["combined",1],"id":1}', 2, "Invalid request: too many parameters", 1),
    ],
)
def test_a_bad_request_is_answered_and_changes_nothing(message: bytes, code: int, text: str, request_id: Any) -> None:
    async def scenario(hub: StreamHub, market_data: FakeMarketData) -> None:
        client = Client(hub)
        client.link.on_message(message)
        (reply,) = client.take()
        assert set(reply) == {"error", "id"}
        assert reply["id"] == request_id
        assert reply["error"]["code"] == code
        assert reply["error"]["msg"].startswith(text)
        client.ask("LIST_SUBSCRIPTIONS", request_id=9)
        assert client.take() == [{"result": [], "id": 9}]
        assert market_data.heard == []

    with_hub(scenario)


def test_one_unknown_name_among_known_ones_refuses_them_all() -> None:
    async def scenario(hub: StreamHub, _market_data: FakeMarketData) -> None:
        client = Client(hub)
        client.ask("SUBSCRIBE", [TRADE, "btcusdt@nothing"])
        assert client.take()[0]["error"]["code"] == 2
        client.ask("LIST_SUBSCRIPTIONS")
        assert client.take() == [{"result": [], "id": 1}]

    with_hub(scenario)


def test_subscribed_means_that_nothing_can_be_missed_any_more() -> None:
    """The reply waits for market data: a snapshot asked for after it cannot be older than the first event."""

    async def scenario(hub: StreamHub, market_data: FakeMarketData) -> None:
        market_data.is_mute = True
        client = Client(hub)
        client.ask("SUBSCRIBE", [TRADE, DEPTH], 1)
        client.ask("SUBSCRIBE", [TRADE], 2)
        await until(lambda: market_data.heard)
        market_data.publish(TRADE, {"t": 0})  # of an earlier following, as far as the hub knows
        market_data.say(Followed([TRADE]))
        await until(lambda: client.received)
        assert client.take() == [{"result": None, "id": 2}]
        market_data.say(Followed([DEPTH]))
        await until(lambda: client.received)
        assert client.take() == [{"result": None, "id": 1}]
        client.ask("SUBSCRIBE", [TRADE, DEPTH], 3)  # again: nothing to wait for
        assert client.take() == [{"result": None, "id": 3}]

    with_hub(scenario)


def test_a_stream_left_before_it_was_confirmed() -> None:
    """Its confirmation must not pass for that of a later Follow, so the hub waits for it before it unfollows."""

    async def scenario(hub: StreamHub, market_data: FakeMarketData) -> None:
        market_data.is_mute = True
        client = Client(hub)
        client.ask("SUBSCRIBE", [DEPTH], 1)
        client.ask("UNSUBSCRIBE", [DEPTH], 2)
        assert client.take() == [{"result": None, "id": 1}, {"result": None, "id": 2}]
        await until(lambda: market_data.heard)
        assert market_data.heard == [Follow([DEPTH])]
        market_data.say(Followed([DEPTH]))
        await until(lambda: len(market_data.heard) == 2)
        assert market_data.heard[1] == Unfollow([DEPTH])
        client.ask("SUBSCRIBE", [DEPTH], 3)
        market_data.publish(DEPTH, {"u": 1})
        await until(lambda: len(market_data.heard) == 3)
        assert client.take() == []
        market_data.say(Followed([DEPTH]))
        market_data.publish(DEPTH, {"u": 2})
        await until(lambda: len(client.received) == 2)
        assert client.take() == [{"result": None, "id": 3}, {"u": 2}]

    with_hub(scenario)


def test_who_comes_later_is_told_the_present_state_but_no_past_change() -> None:
    async def scenario(hub: StreamHub, market_data: FakeMarketData) -> None:
        first = Client(hub, f"/ws/{BOOK}/{TRADE}/{DEPTH}")
        await asyncio.sleep(0.02)
        for stream in (BOOK, TRADE, DEPTH):
            market_data.publish(stream, {"of": stream})
        await until(lambda: len(first.received) == 3)
        later = Client(hub, "/stream")
        later.ask("SUBSCRIBE", [BOOK, TRADE, DEPTH], 1)
        assert later.take() == [{"result": None, "id": 1}, {"stream": BOOK, "data": {"of": BOOK}}]
        assert Client(hub, f"/ws/{BOOK}").take() == [{"of": BOOK}]

    with_hub(scenario)


def test_too_many_messages_close_the_connection() -> None:
    clock = Clock()
    clock.step_s = 0.0

    async def scenario(hub: StreamHub, _market_data: FakeMarketData) -> None:
        client = Client(hub)
        for _ in range(5):
            client.ask("LIST_SUBSCRIPTIONS")
        clock.now_s = 1.0  # the first five are a second old
        for _ in range(5):
            client.ask("LIST_SUBSCRIPTIONS")
        assert len(client.take()) == 10
        clock.now_s = 1.9
        client.link.on_message(b"rubbish counts, too")
        assert client.received == []
        assert client.closed == (1008, "more than 5 messages per second")

    with_hub(scenario, clock)


def test_limits_of_size_and_number() -> None:
    async def scenario(hub: StreamHub, _market_data: FakeMarketData) -> None:
        client = Client(hub)
        client.ask("SUBSCRIBE", [TRADE] * (STREAMS_MAX + 1))  # one stream, however often it is named
        await until(lambda: client.received)
        assert client.take() == [{"result": None, "id": 1}]
        client.link.on_message(b" " * (MESSAGE_BYTES_MAX + 1))
        assert client.closed
        assert client.closed[0] == 1009

    with_hub(scenario)


def test_more_than_1024_streams_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.gateway.streams.STREAMS_MAX", 2)

    async def scenario(hub: StreamHub, _market_data: FakeMarketData) -> None:
        client = Client(hub, f"/ws/{TRADE}")
        client.ask("SUBSCRIBE", [BOOK, DEPTH])
        assert client.take() == [{"error": {"code": 2, "msg": "Invalid request: too many parameters"}, "id": 1}]
        client.ask("SUBSCRIBE", [BOOK, TRADE])
        await until(lambda: client.received)
        assert client.take() == [{"result": None, "id": 1}]
        refused = Client(hub, f"/ws/{TRADE}/{BOOK}/{DEPTH}")
        assert refused.closed == (1008, "at most 2 streams, were 3")

    with_hub(scenario)


def test_a_slow_client_is_disconnected_and_the_others_are_not() -> None:
    async def scenario(hub: StreamHub, market_data: FakeMarketData) -> None:
        slow, quick = Client(hub, f"/ws/{TRADE}"), Client(hub, f"/ws/{TRADE}")
        await asyncio.sleep(0.02)
        slow.unread = BUFFER_BYTES_MAX + 1
        slow.link.on_full()
        market_data.publish(TRADE, {"t": 1})
        market_data.publish(TRADE, {"t": 2})
        await until(lambda: len(quick.received) == 2)
        assert slow.received == []
        assert slow.closed
        assert slow.closed[0] == 1008
        assert "too slow" in slow.closed[1]
        assert quick.closed is None

    with_hub(scenario)


def test_a_client_that_is_behind_keeps_every_change_and_only_the_newest_state() -> None:
    async def scenario(hub: StreamHub, market_data: FakeMarketData) -> None:
        slow, quick = (Client(hub, "/stream", f"streams={TRADE}/{BOOK}") for _ in range(2))
        await asyncio.sleep(0.02)
        slow.link.on_full()
        for number in range(3):
            market_data.publish(TRADE, {"t": number})
            market_data.publish(BOOK, {"u": number})
        await until(lambda: len(quick.received) == 6)
        assert [each["data"] for each in slow.take()] == [{"t": 0}, {"t": 1}, {"t": 2}]
        slow.link.on_room()
        assert slow.take() == [{"stream": BOOK, "data": {"u": 2}}]
        market_data.publish(BOOK, {"u": 3})
        await until(lambda: slow.received)
        assert slow.take() == [{"stream": BOOK, "data": {"u": 3}}]
        assert slow.closed is None

    with_hub(scenario)


def test_a_client_that_stays_behind_is_disconnected() -> None:
    async def scenario(hub: StreamHub, market_data: FakeMarketData) -> None:
        clock.step_s = 0
        slow = Client(hub, f"/ws/{BOOK}")
        await asyncio.sleep(0.02)
        slow.link.on_full()
        for wait_s, is_closed in ((BEHIND_S_MAX, False), (0.1, True)):
            clock.now_s += wait_s
            market_data.publish(BOOK, {"u": wait_s})
            await asyncio.sleep(0.03)
            assert bool(slow.closed) == is_closed
        assert slow.closed == (1008, "too slow: behind for more than 30 s")

    clock = Clock()
    with_hub(scenario, clock)


def test_what_happens_together_goes_out_together() -> None:
    async def scenario(hub: StreamHub, market_data: FakeMarketData) -> None:
        client = Client(hub, f"/ws/{TRADE}/{BOOK}")
        await asyncio.sleep(0.05)
        market_data.publish(TRADE, {"t": 0})
        await until(lambda: client.received)
        assert len(client.writes) == 1  # after a quiet moment at once
        for number in range(1, 51):
            market_data.publish(TRADE, {"t": number})
            market_data.publish(BOOK, {"u": number})
        await until(lambda: len(client.received) == 101)
        assert [each["t"] for each in client.received if "t" in each] == list(range(51))
        assert [each["u"] for each in client.received if "u" in each] == list(range(1, 51))
        assert len(client.writes) < 10

    with_hub(scenario)


def test_an_answer_comes_after_what_was_gathered_before_it() -> None:
    async def scenario(hub: StreamHub, market_data: FakeMarketData) -> None:
        client, late = Client(hub, f"/ws/{TRADE}"), Client(hub)
        await asyncio.sleep(0.05)
        for number in range(3):
            market_data.publish(TRADE, {"t": number})
        await until(lambda: client.received)
        late.ask("SUBSCRIBE", [TRADE], 1)
        client.ask("UNSUBSCRIBE", [TRADE], 2)
        assert client.take() == [{"t": 0}, {"t": 1}, {"t": 2}, {"result": None, "id": 2}]
        assert late.take() == [{"result": None, "id": 1}]
        await asyncio.sleep(0.03)
        assert client.received == late.received == []

    with_hub(scenario)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_are_as_the_protocol_has_them(size: int) -> None:
    payload = b"x" * size
    assert texts(text_frame(payload) * 2) == [payload, payload]


def test_a_reset_disconnects_those_whom_it_concerns() -> None:
    async def scenario(hub: StreamHub, market_data: FakeMarketData) -> None:
        concerned, other, idle = Client(hub, f"/ws/{DEPTH}"), Client(hub, f"/ws/{TRADE}"), Client(hub)
        await until(lambda: len(market_data.heard) == 2)
        await asyncio.sleep(0.02)
        market_data.say(Reset([DEPTH], "the gateway fell behind"))
        await until(lambda: concerned.closed)
        assert concerned.closed == (1012, "events were missed, please reconnect")
        assert other.closed is idle.closed is None
        await until(lambda: len(market_data.heard) == 3)
        assert market_data.heard[2] == Unfollow([DEPTH])
        again = Client(hub, f"/ws/{DEPTH}")
        await until(lambda: len(market_data.heard) == 4)
        await asyncio.sleep(0.02)
        market_data.publish(DEPTH, {"u": 9})
        await until(lambda: again.received)

    with_hub(scenario)


def test_when_market_data_goes_streams_end_and_when_it_is_back_they_can_begin() -> None:
    async def scenario(hub: StreamHub, market_data: FakeMarketData) -> None:
        listening, idle = Client(hub, f"/ws/{TRADE}"), Client(hub)
        market_data.is_mute = True
        waiting = Client(hub)
        waiting.ask("SUBSCRIBE", [DEPTH])
        await until(lambda: len(market_data.heard) == 2)
        market_data.deafen()
        market_data.cut()
        await until(lambda: listening.closed)
        assert not hub.connected
        assert listening.closed == waiting.closed == (1012, "market data restarted, please reconnect")
        assert idle.closed is None
        assert Client(hub, f"/ws/{TRADE}").closed == (1013, "market data is not available at the moment")
        idle.ask("SUBSCRIBE", [TRADE])
        assert idle.closed == (1013, "market data is not available at the moment")
        market_data.is_mute = False
        await market_data.listen(int(market_data.address.rpartition(":")[2]))
        await until(lambda: hub.connected)
        client = Client(hub)
        client.ask("SUBSCRIBE", [TRADE])
        await until(lambda: client.received)
        market_data.publish(TRADE, {"t": 1})
        await until(lambda: len(client.received) == 2)
        assert client.take()[1] == {"t": 1}

    with_hub(scenario)


def test_a_client_that_left_is_forgotten() -> None:
    async def scenario(hub: StreamHub, market_data: FakeMarketData) -> None:
        client = Client(hub, f"/ws/{TRADE}/{BOOK}")
        await until(lambda: market_data.heard)
        await asyncio.sleep(0.02)
        client.link.on_close()
        client.link.on_close()
        await until(lambda: len(market_data.heard) == 2)
        assert market_data.heard[1] == Unfollow([TRADE, BOOK])
        market_data.publish(TRADE, {"t": 1})
        await asyncio.sleep(0.02)
        assert client.received == []

    with_hub(scenario)
