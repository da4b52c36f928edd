"""What every operation answers, asked as a signed client would, with the real engine core behind it."""

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from config.markets import CATALOGUE
from runtime.gateway.answers_market import market_info
from runtime.gateway.auth import rest_payload
from runtime.gateway.dispatch import Request
from runtime.gateway.endpoints import METHODS, OPERATIONS, REFUSED, ROUTES
from runtime.gateway.errors import ApiError
from runtime.gateway.market_link import MarketUnavailableError
from runtime.gateway.params import parse_form
from runtime.gateway.views import MS, US
from runtime.shared import messages as m
from runtime.shared.engine_link import EngineBusyError
from runtime.shared.market_messages import AskDepth, AskKlines, AskTickers, AskTrades
from tests.runtime.gateway.world import ADDRESS, BTCUSDT, LocalMarket, Trader, World, now_ms


@pytest.fixture
def world() -> World:
    return World()


def ask(world: World, route: str, trader: Trader | None = None, unit: int = MS, **parameters: Any) -> Any:
    """Ask as REST does, and return what the JSON says."""
    method, path = route.split()
    query = (
        trader.query(**parameters).encode() if trader else "&".join(f"{k}={v}" for k, v in parameters.items()).encode()
    )
    request = Request(
        parse_form(query),
        ADDRESS,
        (rest_payload(query, b""),),
        trader.api_key if trader else "",
        unit=unit,
    )
    outcome = asyncio.run(world.exchange.serve(ROUTES[path][method], request))
    return msgspec.json.decode(outcome.body)


def refused(*args: Any, **parameters: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        ask(*args, **parameters)
    return caught.value


MAKER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT_MAKER", "quantity": "0.01", "price": "70000"}
STOP = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "STOP_LOSS_LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.01",
    "price": "71000",
    "stopPrice": "70500",
}
LIMIT = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.01",
    "price": "60000",
}


# ---- the exchange ----------------------------------------------------------------------------------------------------


def test_ping_and_time(world: World) -> None:
    assert ask(world, "GET /api/v3/ping") == {}
    assert abs(ask(world, "GET /api/v3/time")["serverTime"] - now_ms()) < 5_000
    assert abs(ask(world, "GET /api/v3/time", unit=US)["serverTime"] // 1000 - now_ms()) < 5_000


def test_exchange_info_has_what_strict_clients_need(world: World) -> None:
    info = ask(world, "GET /api/v3/exchangeInfo")
    assert info["timezone"] == "UTC"
    assert [
        (each["rateLimitType"], each["interval"], each["intervalNum"], each["limit"]) for each in info["rateLimits"]
    ] == [
        ("REQUEST_WEIGHT", "MINUTE", 1, 6000),
        ("ORDERS", "SECOND", 10, 100),
        ("ORDERS", "DAY", 1, 200_000),
    ]
    assert [each["symbol"] for each in info["symbols"]] == [market.symbol for market in CATALOGUE.markets]
    market = info["symbols"][0]
    assert market["status"] == "TRADING"
    assert market["permissions"] == []
    assert market["permissionSets"] == [["SPOT"]]
    stops = ["STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]
    assert market["orderTypes"] == ["LIMIT", "MARKET", "LIMIT_MAKER", *stops]
    filters = {each["filterType"]: each for each in market["filters"]}
    assert filters["PRICE_FILTER"] == {
        "filterType": "PRICE_FILTER",
        "minPrice": "0.01000000",
        "maxPrice": "1000000.00000000",
        "tickSize": "0.01000000",
    }
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert filters["NOTIONAL"]["minNotional"] == "5.00000000"
    assert filters["PERCENT_PRICE_BY_SIDE"]["bidMultiplierUp"] == "5"
    assert filters["PERCENT_PRICE_BY_SIDE"]["askMultiplierDown"] == "0.2"
    known = {"PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE", "NOTIONAL", "PERCENT_PRICE_BY_SIDE", "MAX_NUM_ORDERS"}
    known |= {"MAX_NUM_ALGO_ORDERS", "MAX_NUM_ORDER_LISTS", "MAX_NUM_ORDER_AMENDS", "ICEBERG_PARTS"}
    assert set(filters) == known | {"MAX_NUM_ICEBERG_ORDERS", "TRAILING_DELTA"}
    flags = ("icebergAllowed", "ocoAllowed", "otoAllowed", "allowTrailingStop", "cancelReplaceAllowed", "amendAllowed")
    assert [market[name] for name in flags] == [True] * 6
    assert [market[name] for name in ("opoAllowed", "pegInstructionsAllowed", "isMarginTradingAllowed")] == [False] * 3
    for name in ("quoteAssetPrecision", "icebergAllowed", "ocoAllowed", "allowTrailingStop", "isMarginTradingAllowed"):
        assert name in market


def test_exchange_info_of_some_markets(world: World) -> None:
    def symbols(**parameters: Any) -> list[str]:
        return [each["symbol"] for each in ask(world, "GET /api/v3/exchangeInfo", **parameters)["symbols"]]

    assert symbols(symbol="ETHUSDT") == ["ETHUSDT"]
    assert symbols(symbols='["BTCIDR","BTCUSDT"]') == ["BTCIDR", "BTCUSDT"]
    assert symbols(permissions="MARGIN") == []
    assert len(symbols(permissions='["SPOT","MARGIN"]')) == len(CATALOGUE.markets)
    assert symbols(symbolStatus="HALT") == []
    assert refused(world, "GET /api/v3/exchangeInfo", symbol="BTCUSDT", permissions="SPOT").code == -1128
    assert refused(world, "GET /api/v3/exchangeInfo", symbolStatus="OPEN").code == -1122


def test_the_status_of_a_market_is_that_of_the_engine(world: World) -> None:
    world.engine.apply(m.SetMarketStatus(BTCUSDT, m.CANCEL_ONLY))
    statuses = {each["symbol"]: each["status"] for each in ask(world, "GET /api/v3/exchangeInfo")["symbols"]}
    assert (statuses["BTCUSDT"], statuses["ETHUSDT"]) == ("CANCEL_ONLY", "TRADING")
    world.engine.connected = False
    world.exchange._statuses_read_s = float("-inf")
    assert ask(world, "GET /api/v3/exchangeInfo", symbol="BTCUSDT")["symbols"][0]["status"] == "CANCEL_ONLY"


def test_scales_finer_than_the_wire_are_shown_in_full(world: World) -> None:
    listing = world.listings.by_symbol["BTCIDR"]
    info = market_info(listing, "TRADING", has_permissions=False)
    assert info.filters[0]["tickSize"] == "1000.00000000"
    assert info.quote_precision == 2
    assert info.permission_sets == []


# ---- market data -----------------------------------------------------------------------------------------------------


def test_market_data_is_asked_with_checked_parameters_and_passed_on(world: World) -> None:
    assert ask(world, "GET /api/v3/depth", symbol="BTCUSDT") == {"lastUpdateId": 7, "bids": [], "asks": []}
    ask(world, "GET /api/v3/depth", symbol="BTCUSDT", limit=9999)
    ask(world, "GET /api/v3/trades", symbol="BTCUSDT", limit=3)
    ask(world, "GET /api/v3/historicalTrades", symbol="BTCUSDT", fromId=5)
    ask(world, "GET /api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=1_700_000_000_000)
    ask(world, "GET /api/v3/ticker/24hr", symbol="BTCUSDT", type="MINI")
    ask(world, "GET /api/v3/ticker/price")
    ask(world, "GET /api/v3/ticker/bookTicker", symbols='["BTCUSDT"]')
    assert world.market.asked == [
        AskDepth(0, "BTCUSDT", 100),
        AskDepth(0, "BTCUSDT", 5000),
        AskTrades(0, "BTCUSDT", 3, -1),
        AskTrades(0, "BTCUSDT", 500, 5),
        AskKlines(0, "BTCUSDT", "1m", 1_700_000_000_000, -1, 500),
        AskTickers(0, "day", ["BTCUSDT"], single=True, mini=True),
        AskTickers(0, "price", [], single=False),
        AskTickers(0, "book", ["BTCUSDT"], single=False),
    ]


TICKERS = ("ticker/24hr", "ticker", "ticker/tradingDay", "ticker/price", "ticker/bookTicker")


def test_markets_of_another_status_are_left_out_or_refused(world: World) -> None:
    world.engine.apply(m.SetMarketStatus(BTCUSDT, m.HALT))
    assert refused(world, "GET /api/v3/depth", symbol="BTCUSDT", symbolStatus="TRADING").code == -1220
    ask(world, "GET /api/v3/depth", symbol="BTCUSDT", symbolStatus="HALT")
    assert refused(world, "GET /api/v3/depth", symbol="BTCUSDT", symbolStatus="OPEN").code == -1122
    assert world.market.asked == [AskDepth(0, "BTCUSDT", 100)]
    for path in TICKERS:
        route = f"GET /api/v3/{path}"
        world.market.asked.clear()
        error = refused(world, route, symbol="BTCUSDT", symbolStatus="TRADING")
        assert (error.code, error.text) == (-1220, "The symbol's status does not match the requested symbolStatus.")
        ask(world, route, symbols='["BTCUSDT","ETHUSDT"]', symbolStatus="TRADING")
        ask(world, route, symbol="BTCUSDT", symbolStatus="HALT")
        asked = [(question.symbols, question.single) for question in world.market.asked]
        assert asked == [(["ETHUSDT"], False), (["BTCUSDT"], True)], path
        assert ask(world, route, symbols='["ETHUSDT"]', symbolStatus="HALT") == []
    world.market.asked.clear()
    ask(world, "GET /api/v3/ticker/price", symbolStatus="TRADING")
    assert ask(world, "GET /api/v3/ticker/price", symbolStatus="BREAK") == []
    (question,) = world.market.asked
    assert question.symbols == [each.symbol for each in CATALOGUE.markets if each.symbol != "BTCUSDT"]


def test_the_reference_price_is_that_of_the_engine(world: World) -> None:
    route = "GET /api/v3/referencePrice"
    error = refused(world, route, symbol="BTCUSDT")
    assert (error.code, error.text) == (-2043, "This symbol doesn't have a reference price.")
    world.engine.apply(m.SetReferencePrice(BTCUSDT, 7_000_050))
    world.exchange._statuses_read_s = float("-inf")
    answer = ask(world, route, symbol="BTCUSDT")
    assert (answer["symbol"], answer["referencePrice"]) == ("BTCUSDT", "70000.50000000")
    assert answer["timestamp"] == ask(world, route, symbol="BTCUSDT", unit=US)["timestamp"] // 1000
    world.engine.connected = False
    world.exchange._statuses_read_s = float("-inf")
    assert ask(world, route, symbol="BTCUSDT") == answer, "the last that is known"
    world.engine.connected = True
    world.engine.apply(m.SetReferencePrice(BTCUSDT, 0))
    world.exchange._statuses_read_s = float("-inf")
    gone = ask(world, route, symbol="BTCUSDT")
    assert gone["referencePrice"] is None
    assert gone["timestamp"] >= answer["timestamp"]
    assert refused(world, route, symbol="ETHUSDT").code == -2043


def test_market_data_in_microseconds(world: World) -> None:
    assert ask(world, "GET /api/v3/trades", symbol="BTCUSDT", unit=US)[0]["time"] == 1_700_000_000_123_000
    assert ask(world, "GET /api/v3/aggTrades", symbol="BTCUSDT", unit=US)[0]["T"] == 1_700_000_000_123_000
    kline = ask(world, "GET /api/v3/klines", symbol="BTCUSDT", interval="1m", unit=US)[0]
    assert (kline[0], kline[6]) == (1_700_000_000_000_000, 1_700_000_059_999_000)
    assert ask(world, "GET /api/v3/avgPrice", symbol="BTCUSDT", unit=US)["closeTime"] == 1_700_000_000_123_000
    assert ask(world, "GET /api/v3/trades", symbol="BTCUSDT")[0]["time"] == 1_700_000_000_123


def test_combinations_of_market_parameters(world: World) -> None:
    for route, parameters in (
        ("GET /api/v3/ticker/price", {"symbol": "BTCUSDT", "symbols": '["BTCUSDT"]'}),
        ("GET /api/v3/aggTrades", {"symbol": "BTCUSDT", "fromId": 1, "startTime": 1}),
        ("GET /api/v3/klines", {"symbol": "BTCUSDT", "interval": "1m", "startTime": 2, "endTime": 1}),
    ):
        assert refused(world, route, **parameters).code == -1128, route


@pytest.mark.parametrize(
    ("text", "minutes"), [("1m", 1), ("59m", 59), ("1h", 60), ("23h", 1_380), ("1d", 1_440), ("7d", 10_080)]
)
def test_a_window_is_minutes_hours_or_days(world: World, text: str, minutes: int) -> None:
    ask(world, "GET /api/v3/ticker", symbol="BTCUSDT", windowSize=text)
    assert world.market.asked[-1] == AskTickers(0, "window", ["BTCUSDT"], single=True, minutes=minutes)


@pytest.mark.parametrize("text", ["0m", "60m", "24h", "8d", "1w", "m", "1.5h", "-1d"])
def test_another_window_is_refused(world: World, text: str) -> None:
    assert refused(world, "GET /api/v3/ticker", symbol="BTCUSDT", windowSize=text).code == -1130


def test_a_window_needs_a_market(world: World) -> None:
    for route in ("GET /api/v3/ticker", "GET /api/v3/ticker/tradingDay"):
        error = refused(world, route)
        assert (error.code, error.text) == (
            -1102,
            "Param 'symbol' or 'symbols' must be sent, but both were empty/null!",
        )


def test_weights_follow_what_is_asked_for(world: World) -> None:
    for route, parameters, weight in (
        ("GET /api/v3/depth", {"symbol": "BTCUSDT", "limit": 100}, 5),
        ("GET /api/v3/depth", {"symbol": "BTCUSDT", "limit": 101}, 25),
        ("GET /api/v3/depth", {"symbol": "BTCUSDT", "limit": 1000}, 50),
        ("GET /api/v3/depth", {"symbol": "BTCUSDT", "limit": 5000}, 250),
        ("GET /api/v3/ticker/24hr", {}, 80),
        ("GET /api/v3/ticker/24hr", {"symbols": '["BTCUSDT"]'}, 2),
        ("GET /api/v3/ticker/price", {}, 4),
        ("GET /api/v3/ticker", {"symbol": "BTCUSDT"}, 4),
        ("GET /api/v3/ticker/tradingDay", {"symbols": '["BTCUSDT","ETHUSDT"]'}, 8),
        ("GET /api/v3/exchangeInfo", {}, 20),
    ):
        before = world.limiter.used_weight(ADDRESS)
        ask(world, route, **parameters)
        assert world.limiter.used_weight(ADDRESS) - before == weight, route


# ---- orders ----------------------------------------------------------------------------------------------------------


def test_an_order_that_rests(world: World) -> None:
    reply = ask(world, "POST /api/v3/order", world.ana, newClientOrderId="mine", **LIMIT)
    assert reply | {"transactTime": 0, "workingTime": 0} == {
        "symbol": "BTCUSDT",
        "orderId": 1,
        "orderListId": -1,
        "clientOrderId": "mine",
        "transactTime": 0,
        "price": "60000.00000000",
        "origQty": "0.01000000",
        "executedQty": "0.00000000",
        "origQuoteOrderQty": "0.00000000",
        "cummulativeQuoteQty": "0.00000000",
        "status": "NEW",
        "timeInForce": "GTC",
        "type": "LIMIT",
        "side": "BUY",
        "workingTime": 0,
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "fills": [],
    }
    assert abs(reply["transactTime"] - now_ms()) < 5_000
    assert world.limiter.order_counts(world.ana.account) == (1, 1)
    assert world.limiter.used_weight(ADDRESS) == 0  # a successful order weighs nothing


def test_an_order_that_trades(world: World) -> None:
    world.rest_order(world.budi.account, m.SELL, 6_000_000, 400, "cheap")
    world.rest_order(world.budi.account, m.SELL, 6_000_100, 10_000, "dear")
    reply = ask(world, "POST /api/v3/order", world.ana, **LIMIT | {"price": "60001", "quantity": "0.01"})
    assert (reply["status"], reply["executedQty"], reply["cummulativeQuoteQty"]) == (
        "FILLED",
        "0.01000000",
        "600.00600000",
    )
    assert reply["fills"] == [
        {
            "price": "60000.00000000",
            "qty": "0.00400000",
            "commission": "0.00000400",
            "commissionAsset": "BTC",
            "tradeId": 1,
        },
        {
            "price": "60001.00000000",
            "qty": "0.00600000",
            "commission": "0.00000600",
            "commissionAsset": "BTC",
            "tradeId": 2,
        },
    ]
    assert world.limiter.order_counts(world.ana.account) == (0, 0)  # only unfilled orders count


def test_response_types(world: World) -> None:
    ack = ask(world, "POST /api/v3/order", world.ana, newOrderRespType="ACK", **LIMIT)
    assert list(ack) == ["symbol", "orderId", "orderListId", "clientOrderId", "transactTime"]
    assert "fills" not in ask(world, "POST /api/v3/order", world.ana, newOrderRespType="RESULT", **LIMIT)
    assert len(ask(world, "POST /api/v3/order", world.ana, **MAKER)) == 5


def test_expiry_reasons(world: World) -> None:
    for order, reason in (
        (LIMIT | {"timeInForce": "IOC"}, "UNFILLED_IOC_QUANTITY_EXPIRED"),
        (LIMIT | {"timeInForce": "FOK"}, "UNFILLED_FOK_ORDER_EXPIRED"),
        ({"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.01"}, "INSUFFICIENT_LIQUIDITY"),
    ):
        reply = ask(world, "POST /api/v3/order", world.ana, **order)
        assert (reply["status"], reply["expiryReason"]) == ("EXPIRED", reason)


def test_a_market_order_by_amount(world: World) -> None:
    world.rest_order(world.budi.account, m.SELL, 6_000_000, 100_000, "offer")
    reply = ask(
        world, "POST /api/v3/order", world.ana, symbol="BTCUSDT", side="BUY", type="MARKET", quoteOrderQty="120"
    )
    assert (reply["origQuoteOrderQty"], reply["cummulativeQuoteQty"]) == ("120.00000000", "120.00000000")
    assert (reply["origQty"], reply["executedQty"], reply["timeInForce"]) == ("0.00200000", "0.00200000", "GTC")


def test_microseconds(world: World) -> None:
    reply = ask(world, "POST /api/v3/order", world.ana, unit=US, **LIMIT)
    assert abs(reply["transactTime"] // 1000 - now_ms()) < 5_000
    assert (
        ask(world, "GET /api/v3/order", world.ana, unit=US, symbol="BTCUSDT", orderId=1)["time"] == reply["workingTime"]
    )


@pytest.mark.parametrize(
    ("order", "code", "text"),
    [
        (LIMIT | {"quantity": "20"}, -2010, "Account has insufficient balance for requested action."),
        (LIMIT | {"newClientOrderId": "twice"}, -2010, "Duplicate order sent."),
        (MAKER, -2010, "Order would immediately match and take."),
        (LIMIT | {"price": "1"}, -1013, "Filter failure: NOTIONAL"),
        (LIMIT | {"price": "13999", "quantity": "1"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        (LIMIT | {"symbol": "ETHUSDT"}, -2010, "Market is closed."),
        (STOP | {"type": "TAKE_PROFIT_LIMIT", "stopPrice": "70000"}, -2010, "Order would trigger immediately."),
        (STOP | {"icebergQty": "0.00001"}, -1013, "Filter failure: ICEBERG_PARTS"),
        (STOP | {"trailingDelta": "9"}, -1013, "Filter failure: TRAILING_DELTA"),
    ],
)
def test_refusals_of_the_engine(world: World, order: dict[str, Any], code: int, text: str) -> None:
    world.rest_order(world.budi.account, m.SELL, 7_000_000, 1_000, "offer")
    world.engine.apply(m.PlaceOrder(world.ana.account, BTCUSDT, m.BUY, m.LIMIT, m.IOC, 7_000_000, 100, 0, "trade"))
    world.rest_order(world.ana.account, m.BUY, 5_000_000, 1_000, "twice")
    world.engine.apply(m.SetMarketStatus(2, m.HALT))
    counts = world.limiter.order_counts(world.ana.account)
    error = refused(world, "POST /api/v3/order", world.ana, **order)
    assert (error.code, error.text, error.status) == (code, text, 400)
    assert world.limiter.order_counts(world.ana.account) == counts
    assert world.limiter.used_weight(ADDRESS) == 1  # an order that is refused has its weight


def test_too_many_open_orders(world: World) -> None:
    for number in range(200):
        world.rest_order(world.ana.account, m.BUY, 5_000_000, 1_000, f"order{number}")
    error = refused(world, "POST /api/v3/order", world.ana, **LIMIT)
    assert (error.code, error.text) == (-1013, "Filter failure: MAX_NUM_ORDERS")


def test_a_test_order_reaches_nothing(world: World) -> None:
    sequence = world.engine.core.sequence
    assert ask(world, "POST /api/v3/order/test", world.ana, **LIMIT) == {}
    rates = ask(world, "POST /api/v3/order/test", world.ana, computeCommissionRates="true", **LIMIT)
    assert rates["standardCommissionForOrder"] == {"maker": "0.00100000", "taker": "0.00100000"}
    assert refused(world, "POST /api/v3/order/test", world.ana, **LIMIT | {"price": "0.001"}).code == -1013
    assert world.engine.core.sequence == sequence


def test_canceling(world: World) -> None:
    placed = ask(world, "POST /api/v3/order", world.ana, newClientOrderId="mine", **LIMIT)
    report = ask(
        world, "DELETE /api/v3/order", world.ana, symbol="BTCUSDT", orderId=placed["orderId"], newClientOrderId="bye"
    )
    assert (report["status"], report["origClientOrderId"], report["clientOrderId"]) == ("CANCELED", "mine", "bye")
    assert (report["origQty"], report["executedQty"]) == ("0.01000000", "0.00000000")
    error = refused(world, "DELETE /api/v3/order", world.ana, symbol="BTCUSDT", origClientOrderId="mine")
    assert (error.code, error.text) == (-2011, "Unknown order sent.")
    error = refused(world, "DELETE /api/v3/openOrders", world.ana, symbol="BTCUSDT")
    assert (error.code, error.text) == (-2011, "Unknown order sent.")
    for number in range(3):
        ask(world, "POST /api/v3/order", world.ana, newClientOrderId=f"n{number}", **LIMIT)
    error = refused(
        world,
        "DELETE /api/v3/order",
        world.ana,
        symbol="BTCUSDT",
        origClientOrderId="n0",
        cancelRestrictions="ONLY_PARTIALLY_FILLED",
    )
    assert (error.code, error.text) == (-2011, "Order was not canceled due to cancel restrictions.")
    error = refused(world, "DELETE /api/v3/order", world.ana, symbol="BTCUSDT", orderId=2, origClientOrderId="n1")
    assert (error.code, error.text) == (-2039, "Client order ID is not correct for this order ID.")
    reports = ask(world, "DELETE /api/v3/openOrders", world.ana, symbol="BTCUSDT")
    assert [each["origClientOrderId"] for each in reports] == ["n0", "n1", "n2"]


def test_nobody_sees_or_cancels_the_orders_of_others(world: World) -> None:
    ask(world, "POST /api/v3/order", world.ana, newClientOrderId="mine", **LIMIT)
    assert refused(world, "GET /api/v3/order", world.budi, symbol="BTCUSDT", orderId=1).code == -2013
    assert refused(world, "DELETE /api/v3/order", world.budi, symbol="BTCUSDT", orderId=1).code == -2011
    assert ask(world, "GET /api/v3/openOrders", world.budi) == []
    assert ask(world, "GET /api/v3/allOrders", world.budi, symbol="BTCUSDT") == []


def test_queries_of_orders(world: World) -> None:
    ask(world, "POST /api/v3/order", world.ana, newClientOrderId="open", **LIMIT)
    ask(world, "POST /api/v3/order", world.ana, newClientOrderId="gone", **LIMIT | {"timeInForce": "IOC"})
    found = ask(world, "GET /api/v3/order", world.ana, symbol="BTCUSDT", origClientOrderId="open")
    assert (found["orderId"], found["status"], found["isWorking"], found["stopPrice"]) == (1, "NEW", True, "0.00000000")
    assert "expiryReason" not in found
    closed = ask(world, "GET /api/v3/order", world.ana, symbol="BTCUSDT", orderId=2)
    assert (closed["clientOrderId"], closed["status"]) == ("gone", "EXPIRED")
    assert closed["expiryReason"] == "UNFILLED_IOC_QUANTITY_EXPIRED"
    assert world.ledger.waited_for == [world.engine.core.sequence]  # a closed order is read once the ledger is there
    error = refused(world, "GET /api/v3/order", world.ana, symbol="BTCUSDT", orderId=99)
    assert (error.code, error.text) == (-2013, "Order does not exist.")
    assert (
        refused(world, "GET /api/v3/order", world.ana, symbol="BTCUSDT", orderId=2, origClientOrderId="open").code
        == -2039
    )
    assert [each["orderId"] for each in ask(world, "GET /api/v3/openOrders", world.ana)] == [1]
    assert ask(world, "GET /api/v3/openOrders", world.ana, symbol="ETHUSDT") == []
    assert [each["orderId"] for each in ask(world, "GET /api/v3/allOrders", world.ana, symbol="BTCUSDT")] == [1, 2]
    assert [
        each["orderId"] for each in ask(world, "GET /api/v3/allOrders", world.ana, symbol="BTCUSDT", orderId=2)
    ] == [2]


def test_fills_of_an_account(world: World) -> None:
    world.rest_order(world.budi.account, m.SELL, 6_000_000, 1_000, "offer")
    ask(world, "POST /api/v3/order", world.ana, **LIMIT)
    (trade,) = ask(world, "GET /api/v3/myTrades", world.ana, symbol="BTCUSDT")
    assert trade | {"time": 0} == {
        "symbol": "BTCUSDT",
        "id": 1,
        "orderId": 2,
        "orderListId": -1,
        "price": "60000.00000000",
        "qty": "0.01000000",
        "quoteQty": "600.00000000",
        "commission": "0.00001000",
        "commissionAsset": "BTC",
        "time": 0,
        "isBuyer": True,
        "isMaker": False,
        "isBestMatch": True,
    }
    (sold,) = ask(world, "GET /api/v3/myTrades", world.budi, symbol="BTCUSDT", orderId=1)
    assert (sold["commission"], sold["commissionAsset"], sold["isMaker"]) == ("0.60000000", "USDT", True)


def test_spans_and_combinations_of_history(world: World) -> None:
    day = 86_400_000
    for path in ("GET /api/v3/allOrders", "GET /api/v3/myTrades"):
        error = refused(world, path, world.ana, symbol="BTCUSDT", startTime=now_ms() - day - 1, endTime=now_ms())
        assert (error.code, error.text) == (-1127, "More than 24 hours between startTime and endTime.")
        ask(world, path, world.ana, symbol="BTCUSDT", startTime=now_ms() - day + 1_000, endTime=now_ms())
        assert refused(world, path, world.ana, symbol="BTCUSDT", startTime=2, endTime=1).code == -1128
    assert refused(world, "GET /api/v3/myTrades", world.ana, symbol="BTCUSDT", fromId=1, startTime=1).code == -1128


# ---- accounts --------------------------------------------------------------------------------------------------------


def test_the_account(world: World) -> None:
    ask(world, "POST /api/v3/order", world.ana, **LIMIT)
    account = ask(world, "GET /api/v3/account", world.ana)
    assert (account["makerCommission"], account["takerCommission"], account["buyerCommission"]) == (10, 10, 0)
    assert account["commissionRates"]["taker"] == "0.00100000"
    assert (account["canTrade"], account["accountType"], account["permissions"]) == (True, "SPOT", ["SPOT"])
    balances = {each["asset"]: (each["free"], each["locked"]) for each in account["balances"]}
    assert balances == {
        "BTC": ("10.00000000", "0.00000000"),
        "ETH": ("0.00000000", "0.00000000"),
        "USDT": ("999400.00000000", "600.00000000"),
        "IDR": ("0.00000000", "0.00000000"),
    }
    few = ask(world, "GET /api/v3/account", world.ana, omitZeroBalances="true")["balances"]
    assert [each["asset"] for each in few] == ["BTC", "USDT"]


def test_wallet_routes_that_clients_need_to_start(world: World) -> None:
    coins = {each["coin"]: each for each in ask(world, "GET /sapi/v1/capital/config/getall", world.ana)}
    assert Decimal(coins["BTC"]["free"]) == 10
    assert coins["IDR"]["isLegalMoney"] is True
    fees = ask(world, "GET /sapi/v1/asset/tradeFee", world.ana)
    assert fees[0] == {"symbol": "BTCUSDT", "makerCommission": "0.001", "takerCommission": "0.001"}
    assert len(ask(world, "GET /sapi/v1/asset/tradeFee", world.ana, symbol="ETHIDR")) == 1
    assert ask(world, "GET /sapi/v1/margin/allPairs", world.ana) == []
    assert ask(world, "GET /sapi/v1/margin/isolated/allPairs") == []


def test_order_counts(world: World) -> None:
    ask(world, "POST /api/v3/order", world.ana, **LIMIT)
    counts = ask(world, "GET /api/v3/rateLimit/order", world.ana)
    assert [(each["intervalNum"], each["limit"], each["count"]) for each in counts] == [(10, 100, 1), (1, 200_000, 1)]


# ---- who may ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ana", "ana_ed25519", "ana_rsa"])
def test_every_kind_of_key_may_sign(world: World, kind: str) -> None:
    assert ask(world, "POST /api/v3/order", getattr(world, kind), **LIMIT)["status"] == "NEW"


def test_who_may_not(world: World) -> None:
    reader = Trader("reader", world.ana.account, "HMAC", world.keys, permissions={"READ"})
    elsewhere = Trader("elsewhere", world.ana.account, "HMAC", world.keys, ip_list={"192.0.2.0/24"})
    assert ask(world, "GET /api/v3/account", reader)
    for trader in (reader, elsewhere):
        error = refused(world, "POST /api/v3/order", trader, **LIMIT)
        assert (error.code, error.text) == (-2015, "Invalid API-key, IP, or permissions for action.")
    stranger = Trader("stranger", 1, "HMAC", world.keys)
    del world.keys.items[stranger.api_key]
    assert refused(world, "GET /api/v3/account", stranger).code == -2015
    impostor = Trader("impostor", 1, "HMAC", world.keys)
    impostor.secret = b"guessed"
    error = refused(world, "GET /api/v3/account", impostor)
    assert (error.code, error.text) == (-1022, "Signature for this request is not valid.")


def test_an_account_that_the_engine_does_not_know(world: World) -> None:
    ghost = Trader("ghost", 4_711, "HMAC", world.keys)
    assert refused(world, "GET /api/v3/account", ghost).code == -2015
    assert refused(world, "POST /api/v3/order", ghost, **LIMIT).text == "This account may not place or cancel orders."


@pytest.mark.parametrize(
    ("age_ms", "text"),
    [
        (6_000, "Timestamp for this request is outside of the recvWindow."),
        (-2_000, "Timestamp for this request was 1000ms ahead of the server's time."),
    ],
)
def test_stale_and_early_requests(world: World, age_ms: int, text: str) -> None:
    error = refused(world, "POST /api/v3/order", world.ana, timestamp=now_ms() - age_ms, **LIMIT)
    assert (error.code, error.text) == (-1021, text)
    assert ask(world, "GET /api/v3/account", world.ana, timestamp=now_ms() - 6_000, recvWindow=10_000)
    assert ask(world, "GET /api/v3/account", world.ana, timestamp=now_ms() * 1000)


# ---- when something is away ------------------------------------------------------------------------------------------


def test_without_an_engine_an_order_is_refused_at_once_and_never_sent(world: World) -> None:
    world.engine.connected = False
    error = refused(world, "POST /api/v3/order", world.ana, **LIMIT)
    assert (error.code, error.status) == (-1008, 503)
    assert error.text == "Server is currently overloaded with other requests. Please try again in a few minutes."
    assert world.limiter.order_counts(world.ana.account) == (0, 0)
    assert not world.exchange.is_ready
    world.engine.connected = True
    assert world.exchange.is_ready
    assert ask(world, "GET /api/v3/openOrders", world.ana) == []


def test_an_engine_that_does_not_answer_leaves_the_status_unknown(world: World) -> None:
    world.engine.is_silent = True
    error = refused(world, "POST /api/v3/order", world.ana, **LIMIT)
    assert (error.code, error.status) == (-1007, 504)
    assert error.text == (
        "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
    )
    assert world.limiter.order_counts(world.ana.account) == (1, 1)  # it may have been placed


def test_a_busy_engine(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(_: object, __: object) -> None:
        raise EngineBusyError("full")

    monkeypatch.setattr(world.engine, "submit", busy)
    assert refused(world, "POST /api/v3/order", world.ana, **LIMIT).code == -1008
    assert world.limiter.order_counts(world.ana.account) == (0, 0)


def test_without_market_data(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(_: object, __: object) -> tuple[int, bytes]:
        raise MarketUnavailableError("away")

    async def empty(_: object, __: object) -> tuple[int, bytes]:
        return -1112, b"No orders on book for symbol."

    monkeypatch.setattr(LocalMarket, "ask", away)
    assert refused(world, "GET /api/v3/depth", symbol="BTCUSDT").code == -1001
    monkeypatch.setattr(LocalMarket, "ask", empty)
    error = refused(world, "GET /api/v3/depth", symbol="BTCUSDT")
    assert (error.code, error.text) == (-1112, "No orders on book for symbol.")


def test_what_is_not_built_says_so(world: World) -> None:
    error = refused(world, "POST /api/v3/orderList/opo", world.ana, symbol="BTCUSDT", anything="goes")
    assert (error.code, error.text, error.status) == (-1020, "This operation is not supported.", 400)
    assert refused(world, "GET /sapi/v1/capital/deposit/address", world.ana, coin="BTC").code == -1020
    error = refused(world, "POST /api/v3/userDataStream")
    assert (error.code, error.status) == (-1016, 410)
    assert all(operation.rest not in {each.rest for each in OPERATIONS} for operation in REFUSED if operation.rest)
    assert all(operation.ws not in {each.ws for each in OPERATIONS} for operation in REFUSED if operation.ws)
    assert "userDataStream.start" in METHODS


def test_what_an_account_pays_and_may_hold_open_in_a_market(world: World) -> None:
    rates = ask(world, "GET /api/v3/account/commission", world.ana, symbol="BTCUSDT")
    account = ask(world, "GET /api/v3/account", world.ana)
    assert rates["symbol"] == "BTCUSDT"
    assert rates["standardCommission"] == account["commissionRates"]
    assert set(rates["taxCommission"].values()) == {"0.00000000"}
    shown = ask(world, "GET /api/v3/myFilters", world.ana, symbol="BTCUSDT")
    public = ask(world, "GET /api/v3/exchangeInfo", symbol="BTCUSDT")["symbols"][0]["filters"]
    assert shown["symbolFilters"] == [each for each in public if each["filterType"].startswith("MAX_")]
    assert ask(world, "GET /api/v3/myAllocations", world.ana, symbol="BTCUSDT") == []


def test_a_tier_may_hold_more_orders_open(world: World) -> None:
    maker = next(tier for tier in CATALOGUE.tiers if tier.open_orders_factor > 1)
    trader = Trader("maker", world.engine.open("maker", tier=maker.id), "HMAC", world.keys, tier=maker.name)
    shown = ask(world, "GET /api/v3/myFilters", trader, symbol="BTCUSDT")["symbolFilters"]
    most = next(each["maxNumOrders"] for each in shown if each["filterType"] == "MAX_NUM_ORDERS")
    assert most == world.listings.by_symbol["BTCUSDT"].market.open_orders_max * maker.open_orders_factor
