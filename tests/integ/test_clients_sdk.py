"""binance-sdk-spot, unmodified, against a running exchange: REST with HMAC, the WebSocket API with Ed25519."""

import asyncio
import time
from decimal import Decimal
from typing import Any

import pytest
from binance_common.configuration import (
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
)
from binance_common.errors import BadRequestError, UnauthorizedError
from binance_sdk_spot.spot import Spot

from tests.integ.test_clients import SYMBOL, account, clean, demo, far_below, until

pytestmark = pytest.mark.integ

WAIT_S = 20


def rest(number: int, **changes: Any) -> Any:
    keys = account(number)
    return Spot(
        config_rest_api=ConfigurationRestAPI(
            **{"api_key": keys["api_key"], "api_secret": keys["secret_key"], **changes},
            base_path=demo()["rest_url"],
            timeout=10_000,
        )
    ).rest_api


def test_rest() -> None:
    clean(0)
    client, price = rest(0), float(far_below())
    assert abs(client.time().data().server_time - time.time() * 1000) < 5_000
    info = client.exchange_info(symbol=SYMBOL).data()
    assert [each.symbol for each in info.symbols] == [SYMBOL]
    book = until(lambda: client.depth(symbol=SYMBOL, limit=5).data(), lambda book: book.bids and book.asks)
    assert Decimal(book.bids[0][0]) < Decimal(book.asks[0][0])
    placed = client.new_order(
        symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=price
    ).data()
    assert (placed.status, Decimal(placed.price), Decimal(placed.orig_qty)) == (
        "NEW",
        Decimal(str(price)),
        Decimal("0.01"),
    )
    found = client.get_order(symbol=SYMBOL, order_id=placed.order_id).data()
    assert (found.status, found.client_order_id) == ("NEW", placed.client_order_id)
    assert [each.order_id for each in client.get_open_orders(symbol=SYMBOL).data()] == [placed.order_id]
    canceled = client.delete_order(symbol=SYMBOL, order_id=placed.order_id).data()
    assert (canceled.status, canceled.orig_client_order_id) == ("CANCELED", placed.client_order_id)
    bought = client.new_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.001).data()
    assert (bought.status, Decimal(bought.executed_qty)) == ("FILLED", Decimal("0.001"))
    trades = client.my_trades(symbol=SYMBOL, order_id=bought.order_id).data()
    assert [each.id for each in trades] == [each.trade_id for each in bought.fills]
    assert client.all_orders(symbol=SYMBOL, limit=1).data()[0].order_id == bought.order_id
    balances = {each.asset: Decimal(each.free) for each in client.get_account().data().balances}
    assert balances["BTC"] > 0
    assert client.ticker_price(symbol=SYMBOL).data() is not None


def test_microseconds() -> None:
    client = rest(0, time_unit="MICROSECOND")
    assert client.time().data().server_time > 10**15
    assert client.get_account().data().update_time > 10**15


def test_refusals() -> None:
    client = rest(0)
    with pytest.raises(BadRequestError) as caught:
        client.delete_order(symbol=SYMBOL, order_id=999_999_999_999)
    assert caught.value.error_message == "Unknown order sent."
    with pytest.raises(BadRequestError):
        rest(0, api_secret="wrong").get_account()
    with pytest.raises(UnauthorizedError):
        rest(0, api_key="u" * 64).get_account()


def socket_api(number: int, **changes: Any) -> Any:
    keys = account(number)
    options = {"api_key": keys["ed25519_api_key"], "private_key": keys["ed25519_private_key_pem"], **changes}
    return Spot(config_ws_api=ConfigurationWebSocketAPI(**options, stream_url=demo()["ws_api_url"])).websocket_api


@pytest.mark.parametrize("has_logon", [True, False])
def test_websocket_api(has_logon: bool) -> None:  # noqa: FBT001 - a parameter of the test
    async def scenario() -> None:
        price = float(far_below())
        client = socket_api(1)
        await client.create_connection()
        try:
            if has_logon:
                result = (await client.session_logon()).data().result
                assert result.api_key == account(1)["ed25519_api_key"]
            reply = await client.order_place(
                symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=price
            )
            placed = reply.data().result
            assert placed.status == "NEW"
            limits = {(each.rateLimitType, each.interval) for each in reply.rate_limits}
            assert limits == {("ORDERS", "SECOND"), ("ORDERS", "DAY"), ("REQUEST_WEIGHT", "MINUTE")}
            found = (await client.order_status(symbol=SYMBOL, order_id=placed.order_id)).data().result
            assert (found.status, found.order_id) == ("NEW", placed.order_id)
            canceled = (await client.order_cancel(symbol=SYMBOL, order_id=placed.order_id)).data().result
            assert canceled.status == "CANCELED"
            status = (await client.account_status()).data().result
            assert status.account_type == "SPOT"
            assert (await client.depth(symbol=SYMBOL, limit=5)).data().result.last_update_id > 0
            assert (await client.ping()).data().status == 200
        finally:
            await client.close_connection()

    clean(1)
    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_events_of_the_account() -> None:
    async def scenario() -> None:
        client = socket_api(1)
        await client.create_connection()
        heard: asyncio.Queue[Any] = asyncio.Queue()
        try:
            await client.session_logon()
            subscription = await client.user_data_stream_subscribe()
            subscription.stream.on("message", heard.put_nowait)
            placed = await client.order_place(
                symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=float(far_below())
            )
            event = await asyncio.wait_for(heard.get(), WAIT_S)
            report = getattr(event, "actual_instance", event)
            assert (report.i, report.x, report.X) == (placed.data().result.order_id, "NEW", "NEW")
        finally:
            await client.close_connection()

    clean(1)
    asyncio.run(asyncio.wait_for(scenario(), 60))
    clean(1)


def test_market_streams() -> None:
    async def scenario() -> None:
        client = Spot(
            config_ws_streams=ConfigurationWebSocketStreams(stream_url=demo()["stream_url"])
        ).websocket_streams
        connection = await client.create_connection()
        heard: asyncio.Queue[Any] = asyncio.Queue()
        try:
            stream = await connection.book_ticker(symbol=SYMBOL.lower())
            stream.on("message", heard.put_nowait)
            event = await asyncio.wait_for(heard.get(), WAIT_S)
            assert (event.s, Decimal(event.b) < Decimal(event.a)) == (SYMBOL, True)
        finally:
            await connection.close_connection()

    asyncio.run(asyncio.wait_for(scenario(), 60))
