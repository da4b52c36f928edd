"""A session of the WebSocket API without a socket: requests, logging on, subscriptions, order, limits."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.gateway import ws_api
from runtime.gateway.dispatch import Call
from runtime.gateway.endpoints import METHODS
from runtime.gateway.errors import TIMESTAMP_TOO_OLD, ApiError
from runtime.gateway.limit_models import LimitSettings
from runtime.gateway.views import US
from runtime.gateway.ws_api import (
    GOING_AWAY,
    MESSAGE_BYTES_MAX,
    MESSAGE_TOO_BIG,
    POLICY_VIOLATION,
    ApiSession,
    Options,
    read_options,
)
from runtime.shared import messages as m
from tests.runtime.gateway.world import ADDRESS, BTCUSDT, Trader, World, now_ms

LIMIT = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.01",
    "price": "60000",
}


class Client:
    """The other end of a session."""

    def __init__(self, world: World, options: Options | None = None) -> None:
        self.world = world
        self.received: list[dict[str, Any]] = []
        self.closed: list[tuple[int, str]] = []
        self.unread = 0
        self.session = ApiSession(
            world.exchange,
            world.users,
            options or Options(),
            address=ADDRESS,
            send=lambda message: self.received.append(msgspec.json.decode(message)),
            close=lambda code, reason: self.closed.append((code, reason)),
            buffered=lambda: self.unread,
        )

    def send(self, method: str, request_id: Any = 1, **params: Any) -> None:
        self.session.on_message(msgspec.json.encode({"id": request_id, "method": method, "params": params}))

    async def settled(self) -> None:
        while self.session._tasks:
            await asyncio.wait(set(self.session._tasks))

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self.send(method, "ask", **params)
        await self.settled()
        return next(each for each in reversed(self.received) if each.get("id") == "ask")

    def events(self) -> list[dict[str, Any]]:
        return [each for each in self.received if "event" in each]


def run(
    scenario: Callable[[Client], Awaitable[None]], world: World | None = None, options: Options | None = None
) -> None:
    async def main() -> None:
        await scenario(Client(world or World(), options))

    asyncio.run(asyncio.wait_for(main(), 20))


def timed(**params: Any) -> dict[str, Any]:
    return {"timestamp": now_ms(), **params}


def test_a_request_and_its_answer() -> None:
    async def scenario(client: Client) -> None:
        assert await client.ask("ping") == {
            "id": "ask",
            "status": 200,
            "result": {},
            "rateLimits": [
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 1}
            ],
        }
        assert (await client.ask("v3/time"))["result"]["serverTime"] // 10_000 == now_ms() // 10_000
        assert (await client.ask("depth", symbol="BTCUSDT", limit=5))["result"]["lastUpdateId"] == 7

    run(scenario)


def test_rate_limits_are_shown_or_not_as_asked() -> None:
    async def scenario(client: Client) -> None:
        assert "rateLimits" not in await client.ask("ping", returnRateLimits=False)
        assert "rateLimits" not in await client.ask("ping", returnRateLimits="false")
        assert "rateLimits" not in await client.ask("depth", returnRateLimits=False)
        assert (await client.ask("ping", returnRateLimits="maybe"))["error"]["code"] == -1130
        quiet = Client(client.world, read_options("returnRateLimits=false"))
        assert "rateLimits" not in await quiet.ask("ping")
        assert "rateLimits" in await quiet.ask("ping", returnRateLimits=True)

    run(scenario)


@pytest.mark.parametrize("kind", ["ana", "ana_ed25519", "ana_rsa"])
def test_signed_requests(kind: str) -> None:
    async def scenario(client: Client) -> None:
        trader: Trader = getattr(client.world, kind)
        reply = await client.ask("order.place", **trader.params(**LIMIT))
        assert reply["result"]["status"] == "NEW"
        assert [each["count"] for each in reply["rateLimits"]] == [1, 1, 0]
        order_id = reply["result"]["orderId"]
        assert (await client.ask("order.status", **trader.params(symbol="BTCUSDT", orderId=order_id)))["status"] == 200
        # numbers as JSON numbers, ids as text, a flag that is part of what is signed
        reply = await client.ask(
            "order.cancel", **trader.params(symbol="BTCUSDT", orderId=str(order_id), returnRateLimits=False)
        )
        assert reply["result"]["status"] == "CANCELED"
        numbers = LIMIT | {"quantity": 0.01, "price": 60000.5}
        assert (await client.ask("order.place", **trader.params(**numbers)))["result"]["price"] == "60000.50000000"

    run(scenario)


def test_clients_may_sign_encoded_values() -> None:
    async def scenario(client: Client) -> None:
        trader = client.world.ana
        params = {
            "apiKey": trader.api_key,
            "symbol": "BTCUSDT",
            "orderId": "1",
            "origClientOrderId": "a/b:c",
            "timestamp": now_ms(),
        }
        for shown in ("a/b:c", "a%2Fb%3Ac"):
            payload = "&".join(
                f"{name}={value}" for name, value in sorted((params | {"origClientOrderId": shown}).items())
            )
            reply = await client.ask("order.status", **params, signature=trader.sign(payload.encode()))
            assert reply["error"]["code"] == -2013, shown
        reply = await client.ask("order.status", **params, signature=trader.sign(b"something else"))
        assert reply["error"]["code"] == -1022

    run(scenario)


def test_what_is_wrong_with_a_request() -> None:
    async def scenario(client: Client) -> None:
        ana = client.world.ana
        for method, params, status, code in (
            ("no.such.method", {}, 404, -1020),
            ("sor.order.place", {"x": 1}, 400, -1020),
            ("userDataStream.start", {}, 410, -1016),
            ("ping", {"x": 1}, 400, -1101),
            ("depth", {}, 400, -1102),
            ("account.status", timed(), 400, -1102),
            ("account.status", {"apiKey": ana.api_key}, 400, -1102),
            ("account.status", timed(apiKey=ana.api_key), 400, -1102),
            ("account.status", timed(apiKey=ana.api_key, signature="00"), 400, -1022),
            ("account.status", timed(apiKey="short", signature="00"), 401, -2014),
            ("account.status", timed(apiKey="n" * 64, signature="00"), 401, -2015),
            ("account.status", ana.params(timestamp=now_ms() - 9_000), 400, -1021),
        ):
            reply = await client.ask(method, **params)
            assert (reply["status"], reply["error"]["code"]) == (status, code), method

    run(scenario)


@pytest.mark.parametrize(
    ("text", "request_id", "code"),
    [
        (b"", None, -1135),
        (b"no json", None, -1135),
        (b'{"id":1,"method":"ping","params":{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}}", None, -1135),
        (b'{"id":' + b"[" * 30_000 + b"]" * 30_000 + b',"method":"ping"}', None, -1135),
        (b"\xff\xfe", None, -1135),
        (b"[]", None, -1135),
        (b'{"id":1}', None, -1135),
        (b'{"id":1,"method":"ping","params":[]}', None, -1135),
        (b'{"id":1.5,"method":"ping"}', None, -1100),
        (b'{"id":true,"method":"ping"}', None, -1100),
        (b'{"id":{},"method":"ping"}', None, -1100),
        (b'{"id":9223372036854775808,"method":"ping"}', None, -1100),
        (b'{"id":"' + b"x" * 37 + b'","method":"ping"}', None, -1100),
        (b'{"id":7,"method":"ping","params":{"a":"\xff"}}', None, -1135),
    ],
)
def test_malformed_requests(text: bytes, request_id: object, code: int) -> None:
    async def scenario(client: Client) -> None:
        client.session.on_message(text)
        await client.settled()
        (reply,) = client.received
        assert (reply["id"], reply["status"], reply["error"]["code"]) == (request_id, 400, code)
        assert client.closed == []
        assert client.world.limiter.used_weight(ADDRESS) == 1
        assert (await client.ask("ping"))["status"] == 200

    run(scenario)


@pytest.mark.parametrize("request_id", [None, 0, -(2**63), 2**63 - 1, "", "ü", "x" * 36, 'quote"'])
def test_ids_come_back_as_they_were(request_id: object) -> None:
    async def scenario(client: Client) -> None:
        client.send("ping", request_id)
        await client.settled()
        assert client.received[-1]["id"] == request_id

    run(scenario)


def test_a_request_without_an_id_is_answered() -> None:
    async def scenario(client: Client) -> None:
        client.session.on_message(b'{"method":"ping"}')
        await client.settled()
        assert client.received[-1]["id"] is None

    run(scenario)


def test_a_message_that_is_too_long_ends_the_connection() -> None:
    async def scenario(client: Client) -> None:
        client.session.on_message(b" " * (MESSAGE_BYTES_MAX + 1))
        assert client.received[0]["status"] == 413
        assert client.closed[0][0] == MESSAGE_TOO_BIG

    run(scenario)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda method, params: msgspec.json.encode({"id": 1, "method": method, "params": params}),
            st.sampled_from([*METHODS, *ws_api.SESSION_METHODS]),
            st.dictionaries(
                st.sampled_from(["symbol", "apiKey", "timestamp", "signature", "limit", "returnRateLimits", "x"]),
                st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=9)),
            ),
        ),
    )
)
def test_whatever_comes_is_answered_once_and_the_session_lives(text: bytes) -> None:
    async def scenario(client: Client) -> None:
        client.session.on_message(text)
        await client.settled()
        assert len(client.received) == 1
        assert client.received[0]["status"] != 500, client.received
        assert (await client.ask("ping"))["status"] == 200

    run(scenario)


# ---- limits ----------------------------------------------------------------------------------------------------------


def test_ten_thousand_rapid_requests_end_in_a_ban_and_the_server_goes_on() -> None:
    async def scenario(client: Client) -> None:
        for number in range(10_000):
            client.send("ping", number)
            if number % 500 == 499:
                await client.settled()
        statuses = [each["status"] for each in client.received]
        assert len(statuses) == 10_000
        assert statuses.count(200) == 6_000
        assert statuses.count(429) == 500
        assert statuses.count(418) == 3_500
        limited = next(each for each in client.received if each["status"] == 429)
        assert limited["error"]["code"] == -1003
        assert limited["error"]["data"]["retryAfter"] > limited["error"]["data"]["serverTime"]
        assert client.closed[0][0] == POLICY_VIOLATION
        other = Client(client.world)
        other.session._address = "198.51.100.8"
        assert (await other.ask("ping"))["status"] == 200

    run(scenario)


def test_too_many_requests_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws_api, "IN_FLIGHT_MAX", 10)

    async def scenario(client: Client) -> None:
        for number in range(12):
            client.send("ping", number)
        await client.settled()
        queued = [each for each in client.received if each["status"] == 429]
        assert [each["id"] for each in queued] == [10, 11]
        assert queued[0]["error"] == {"code": -1003, "msg": "Too many requests queued."}

    run(scenario)


def test_a_client_that_does_not_read_is_cut_off() -> None:
    async def scenario(client: Client) -> None:
        await client.ask("userDataStream.subscribe.signature", **client.world.ana.params())
        client.unread = ws_api.SEND_BUFFER_BYTES_MAX + 1
        received = len(client.received)
        client.world.rest_order(client.world.ana.account, m.BUY, 5_000_000, 1_000, "x")
        assert (len(client.received), len(client.closed)) == (received, 1)
        assert client.world.users._listeners == {}

    run(scenario)


def test_connecting_costs_weight_and_a_banned_address_may_not() -> None:
    world = World(LimitSettings(weight_per_minute=3))
    client = Client(world)
    client.session.open()
    assert world.limiter.used_weight(ADDRESS) == 2
    with pytest.raises(ApiError):
        client.session.open()


# ---- the session -----------------------------------------------------------------------------------------------------


def test_logging_on_and_off() -> None:
    async def scenario(client: Client) -> None:
        trader = client.world.ana_ed25519
        assert (await client.ask("session.status"))["result"]["apiKey"] is None
        result = (await client.ask("session.logon", **trader.params()))["result"]
        assert result["apiKey"] == trader.api_key
        assert result["authorizedSince"] >= result["connectedSince"]
        assert (result["userDataStream"], result["returnRateLimits"]) == (False, True)
        assert (await client.ask("order.place", **timed(**LIMIT)))["result"]["status"] == "NEW"
        assert (await client.ask("account.status", **timed()))["result"]["uid"] == trader.account
        assert (await client.ask("account.status"))["error"]["code"] == -1102  # the timestamp is still needed
        # a request of its own key is that key's
        other = await client.ask("account.status", **client.world.budi.params())
        assert other["result"]["uid"] == client.world.budi.account
        assert (await client.ask("session.logout"))["result"]["apiKey"] is None
        assert (await client.ask("account.status", **timed()))["error"]["code"] == -1102

    run(scenario)


def test_only_ed25519_keys_may_log_on() -> None:
    async def scenario(client: Client) -> None:
        for trader in (client.world.ana, client.world.ana_rsa):
            assert (await client.ask("session.logon", **trader.params()))["error"]["code"] == -2015
        forged = client.world.ana_ed25519.params()
        forged["timestamp"] -= 1
        assert (await client.ask("session.logon", **forged))["error"]["code"] == -1022

    run(scenario)


def test_requests_behind_a_logon_wait_for_it() -> None:
    async def scenario(client: Client) -> None:
        client.send("session.logon", "on", **client.world.ana_ed25519.params())
        client.send("order.place", "order", **timed(newClientOrderId="first", **LIMIT))
        client.send("userDataStream.subscribe", "stream")
        client.send("order.place", "again", **timed(newClientOrderId="second", **LIMIT))
        await client.settled()
        replies = {each["id"]: each["status"] for each in client.received if "id" in each}
        assert replies == {"on": 200, "order": 200, "stream": 200, "again": 200}
        assert [each["event"]["c"] for each in client.events() if each["event"]["e"] == "executionReport"] == ["second"]

    run(scenario)


def test_orders_of_a_connection_keep_their_order() -> None:
    async def scenario(client: Client) -> None:
        for number in range(50):
            client.send("order.place", number, **client.world.ana.params(newClientOrderId=f"n{number}", **LIMIT))
        await client.settled()
        orders = [each["result"]["orderId"] for each in sorted(client.received, key=lambda each: each["id"])]
        assert orders == sorted(orders)

    run(scenario)


def test_a_cancellation_does_not_overtake_an_order_whose_key_is_being_read() -> None:
    async def scenario(client: Client) -> None:
        world = client.world
        ana, budi = world.ana, world.budi
        await client.ask("account.status", **budi.params())
        order = world.rest_order(budi.account, m.BUY, 5_000_000, 1_000, "mine")
        before = world.engine.core.sequence
        client.send("order.place", "place", **ana.params(**LIMIT))
        client.send("order.cancel", "cancel", **budi.params(symbol="BTCUSDT", orderId=order.order_id))
        await client.settled()
        accounts = [
            event.order.account
            for happened in world.engine.history
            if happened.sequence > before
            for event in happened.events
            if isinstance(event, m.OrderChanged)
        ]
        assert accounts == [ana.account, budi.account]

    run(scenario)


def test_a_flood_that_never_gets_in_is_refused_by_weight() -> None:
    async def scenario(client: Client) -> None:
        for number in range(20):
            client.send("order.place", number, **timed(apiKey=f"{number:064}", signature="00", **LIMIT))
        await client.settled()
        assert [each["status"] for each in client.received].count(429) == 10
        assert len(client.world.keys.fetched) == 10

    run(scenario, World(LimitSettings(weight_per_minute=10)))


def test_an_order_that_became_stale_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(client: Client) -> None:
        def stale(_: Call) -> None:
            raise TIMESTAMP_TOO_OLD.error()

        monkeypatch.setattr(Call, "check_fresh", stale)
        ana = client.world.ana
        assert (await client.ask("order.place", **ana.params(**LIMIT)))["error"]["code"] == -1021
        assert client.world.limiter.order_counts(ana.account) == (0, 0)

    run(scenario)


def test_a_revoked_key_ends_the_session_and_its_events() -> None:
    async def scenario(client: Client) -> None:
        trader = client.world.ana_ed25519
        await client.ask("session.logon", **trader.params())
        await client.ask("userDataStream.subscribe")
        del client.world.keys.items[trader.api_key]
        client.world.exchange.keys._known.clear()
        await client.session.check_subscriptions()
        assert client.events()[-1]["event"]["e"] == "eventStreamTerminated"
        reply = await client.ask("account.status", **timed())
        assert (reply["status"], reply["error"]["code"]) == (401, -2015)
        assert (await client.ask("session.status"))["result"]["apiKey"] is None

    run(scenario)


# ---- events ----------------------------------------------------------------------------------------------------------


def test_subscriptions() -> None:
    async def scenario(client: Client) -> None:
        world = client.world
        assert (await client.ask("userDataStream.subscribe"))["error"]["code"] == -1002
        reply = await client.ask("userDataStream.subscribe.signature", **world.ana.params())
        assert reply["result"] == {"subscriptionId": 0}
        reply = await client.ask("userDataStream.subscribe.signature", **world.ana_rsa.params())
        assert reply["error"] == {"code": -2035, "msg": "User Data Stream subscription already active."}
        reply = await client.ask("userDataStream.subscribe.signature", **world.budi.params())
        assert reply["result"] == {"subscriptionId": 1}
        assert (await client.ask("session.subscriptions"))["result"] == [{"subscriptionId": 0}, {"subscriptionId": 1}]
        world.rest_order(world.budi.account, m.SELL, 6_000_000, 1_000, "ask")
        assert [(each["subscriptionId"], each["event"]["e"]) for each in client.events()] == [
            (1, "executionReport"),
            (1, "outboundAccountPosition"),
        ]
        reply = await client.ask("userDataStream.unsubscribe", subscriptionId=1)
        assert reply["result"] == {}
        assert client.events()[-1] | {"event": ...} == {"subscriptionId": 1, "event": ...}
        assert client.events()[-1]["event"]["e"] == "eventStreamTerminated"
        reply = await client.ask("userDataStream.unsubscribe", subscriptionId=1)
        assert reply["error"] == {"code": -2036, "msg": "User Data Stream subscription not active."}
        assert (await client.ask("userDataStream.unsubscribe"))["result"] == {}
        assert (await client.ask("session.subscriptions"))["result"] == []
        reply = await client.ask("userDataStream.subscribe.signature", **world.ana.params())
        assert reply["result"] == {"subscriptionId": 2}

    run(scenario)


def test_a_reader_may_listen_and_a_trader_without_that_right_may_not() -> None:
    async def scenario(client: Client) -> None:
        world = client.world
        only_trade = Trader("bot", world.ana.account, "HMAC", world.keys, permissions={"TRADE"})
        assert (await client.ask("userDataStream.subscribe.signature", **only_trade.params()))["error"]["code"] == -2015

    run(scenario)


def test_logging_out_ends_the_subscription_of_the_logon_only() -> None:
    async def scenario(client: Client) -> None:
        await client.ask("session.logon", **client.world.ana_ed25519.params())
        await client.ask("userDataStream.subscribe")
        await client.ask("userDataStream.subscribe.signature", **client.world.budi.params())
        assert (await client.ask("session.status"))["result"]["userDataStream"] is True
        await client.ask("session.logout")
        assert (await client.ask("session.subscriptions"))["result"] == [{"subscriptionId": 1}]

    run(scenario)


def test_subscription_numbers_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws_api, "SUBSCRIPTION_IDS_MAX", 1)

    async def scenario(client: Client) -> None:
        await client.ask("userDataStream.subscribe.signature", **client.world.ana.params())
        reply = await client.ask("userDataStream.subscribe.signature", **client.world.budi.params())
        assert reply["error"] == {"code": -2042, "msg": "Maximum subscription ID reached for this connection."}

    run(scenario)


def test_a_closed_session_hears_nothing() -> None:
    async def scenario(client: Client) -> None:
        await client.ask("userDataStream.subscribe.signature", **client.world.ana.params())
        client.session.on_close()
        received = len(client.received)
        client.world.rest_order(client.world.ana.account, m.BUY, 5_000_000, 1_000, "x")
        assert len(client.received) == received
        assert client.world.users._listeners == {}

    run(scenario)


def test_microseconds_for_the_whole_connection() -> None:
    async def scenario(client: Client) -> None:
        await client.ask("userDataStream.subscribe.signature", **client.world.ana.params())
        reply = await client.ask("order.place", **client.world.ana.params(**LIMIT))
        assert reply["result"]["transactTime"] == client.events()[0]["event"]["T"]
        assert reply["result"]["transactTime"] > 10**15

    run(scenario, options=read_options("timeUnit=microsecond"))


def test_options() -> None:
    assert read_options("") == Options()
    assert read_options("timeUnit=MICROSECOND&returnRateLimits=false&other=1") == Options(US, has_rate_limits=False)
    for query, code in (("timeUnit=NANOSECOND", -1194), ("returnRateLimits=no", -1130)):
        with pytest.raises(ApiError) as caught:
            read_options(query)
        assert caught.value.code == code


def test_shutting_down_answers_what_is_under_way() -> None:
    async def scenario(client: Client) -> None:
        client.send("order.place", "last", **client.world.ana.params(**LIMIT))
        await asyncio.wait_for(client.session.shut_down(60), 10)  # it ends with the last answer, long before its time
        assert client.received[0]["event"]["e"] == "serverShutdown"
        assert client.received[1]["id"] == "last"
        assert client.closed == [(GOING_AWAY, "The server is shutting down.")]
        assert client.world.engine.core.markets[BTCUSDT].book.orders

    run(scenario)
