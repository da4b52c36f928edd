"""Payloads, byte by byte: what clients parse must not move."""

import json
import re
from typing import Any

import pytest
from binance_sdk_spot.websocket_streams import models
from hypothesis import given
from hypothesis import strategies as st

from config.markets import CATALOGUE
from runtime.market_data import payloads
from runtime.market_data.book_builder import Best, Depth, Diff
from runtime.market_data.candles import Candle
from runtime.market_data.payloads import Instrument, decimal_text, percent_change, rounded
from runtime.market_data.tickers import Statistics
from runtime.market_data.trades import AggTrade
from runtime.shared.catalogue import CatalogueError, Market
from runtime.shared.money import format_decimal, parse_decimal
from tests.runtime.market_data.events import deal

BTCUSDT, _, BTCIDR, _ = (Instrument(market) for market in CATALOGUE.markets)
TRADE = deal(12, 6_543_210, 1_500, ms=1_700_000_000_123, maker=True)
BEST = Best(6_543_210, 3, 0, 0)
DAY = Statistics(
    open=6_000_000,
    high=6_600_000,
    low=5_900_000,
    last=6_543_210,
    previous_close=5_999_999,
    lots=300_000,
    turnover=300_000 * 6_250_000,
    trades=7,
    first_id=6,
    last_id=12,
    open_ms=1_699_913_580_000,
)


def candle() -> Candle:
    made = Candle(1_700_000_000_000, 1_700_000_059_999, 0)
    made.open, made.high, made.low, made.close = 6_000_000, 6_600_000, 5_900_000, 6_543_210
    made.lots, made.turnover, made.taker_buy_lots, made.taker_buy_turnover = 300_000, 1_875_000_000_000, 1, 6_000_000
    made.trades, made.first_id, made.last_id = 7, 6, 12
    return made


EXACT: dict[str, tuple[bytes, str]] = {
    "trade": (
        payloads.trade_event(BTCUSDT, TRADE),
        (
            '{"e":"trade","E":1700000000123,"s":"BTCUSDT","t":12,"p":"65432.10000000","q":"0.01500000",'
            '"T":1700000000123,"m":true,"M":true}'
        ),
    ),
    "aggTrade": (
        payloads.agg_trade_event(BTCIDR, AggTrade(12, 14, 950_000, 7, 1_700_000_000_123, buyer_is_maker=False)),
        (
            '{"e":"aggTrade","E":1700000000123,"s":"BTCIDR","a":12,"p":"950000000.00000000","q":"0.00007000",'
            '"f":12,"l":14,"T":1700000000123,"m":false,"M":true}'
        ),
    ),
    "depthUpdate": (
        payloads.depth_event(BTCUSDT, Diff(157, 160, {100: 1, 101: 0}, {103: 2, 102: 3}), 5),
        (
            '{"e":"depthUpdate","E":5,"s":"BTCUSDT","U":157,"u":160,'
            '"b":[["1.01000000","0.00000000"],["1.00000000","0.00001000"]],'
            '"a":[["1.02000000","0.00003000"],["1.03000000","0.00002000"]]}'
        ),
    ),
    "partial depth": (
        payloads.depth_body(BTCUSDT, Depth(160, [(101, 1), (100, 2)], [])),
        '{"lastUpdateId":160,"bids":[["1.01000000","0.00001000"],["1.00000000","0.00002000"]],"asks":[]}',
    ),
    "bookTicker": (
        payloads.book_ticker_event(BTCUSDT, 160, BEST),
        '{"u":160,"s":"BTCUSDT","b":"65432.10000000","B":"0.00003000","a":"0.00000000","A":"0.00000000"}',
    ),
    "kline": (
        payloads.kline_event(BTCUSDT, "1m", candle(), 9, is_closed=True),
        (
            '{"e":"kline","E":9,"s":"BTCUSDT","k":{"t":1700000000000,"T":1700000059999,"s":"BTCUSDT","i":"1m","f":6,'
            '"L":12,"o":"60000.00000000","c":"65432.10000000","h":"66000.00000000","l":"59000.00000000",'
            '"v":"3.00000000","n":7,"x":true,"q":"187500.00000000","V":"0.00001000","Q":"0.60000000","B":"0"}}'
        ),
    ),
    "24hrMiniTicker": (
        payloads.mini_ticker_event(BTCUSDT, DAY, 9),
        (
            '{"e":"24hrMiniTicker","E":9,"s":"BTCUSDT","c":"65432.10000000","o":"60000.00000000","h":"66000.00000000",'
            '"l":"59000.00000000","v":"3.00000000","q":"187500.00000000"}'
        ),
    ),
    "24hrTicker": (
        payloads.ticker_event(BTCUSDT, DAY, 1_500, BEST, 9),
        (
            '{"e":"24hrTicker","E":9,"s":"BTCUSDT","p":"5432.10000000","P":"9.054","w":"62500.00000000",'
            '"x":"59999.99000000","c":"65432.10000000","Q":"0.01500000","b":"65432.10000000","B":"0.00003000",'
            '"a":"0.00000000","A":"0.00000000","o":"60000.00000000","h":"66000.00000000","l":"59000.00000000",'
            '"v":"3.00000000","q":"187500.00000000","O":1699913580000,"C":9,"F":6,"L":12,"n":7}'
        ),
    ),
    "1hTicker": (
        payloads.window_ticker_event(BTCUSDT, "1h", DAY, 9),
        (
            '{"e":"1hTicker","E":9,"s":"BTCUSDT","p":"5432.10000000","P":"9.054","o":"60000.00000000",'
            '"h":"66000.00000000","l":"59000.00000000","c":"65432.10000000","w":"62500.00000000","v":"3.00000000",'
            '"q":"187500.00000000","O":1699913580000,"C":9,"F":6,"L":12,"n":7}'
        ),
    ),
    "avgPrice": (
        payloads.average_price_event(BTCUSDT, "1.00000000", 8, 9),
        '{"e":"avgPrice","E":9,"s":"BTCUSDT","i":"5m","w":"1.00000000","T":8}',
    ),
    "GET trades": (
        payloads.trades_body(BTCUSDT, [TRADE]),
        (
            '[{"id":12,"price":"65432.10000000","qty":"0.01500000","quoteQty":"981.48150000","time":1700000000123,'
            '"isBuyerMaker":true,"isBestMatch":true}]'
        ),
    ),
    "GET aggTrades": (
        payloads.agg_trades_body(BTCUSDT, [AggTrade(12, 14, 100, 7, 5, buyer_is_maker=False)]),
        '[{"a":12,"p":"1.00000000","q":"0.00007000","f":12,"l":14,"T":5,"m":false,"M":true}]',
    ),
    "GET klines": (
        payloads.klines_body(BTCUSDT, [candle()]),
        (
            '[[1700000000000,"60000.00000000","66000.00000000","59000.00000000","65432.10000000","3.00000000",'
            '1700000059999,"187500.00000000",7,"0.00001000","0.60000000","0"]]'
        ),
    ),
    "GET avgPrice": (payloads.average_price_body("9.35751834", 5), '{"mins":5,"price":"9.35751834","closeTime":5}'),
    "GET ticker/24hr": (
        payloads.encode(payloads.day_ticker(BTCUSDT, DAY, 1_500, BEST, 9)),
        (
            '{"symbol":"BTCUSDT","priceChange":"5432.10000000","priceChangePercent":"9.054",'
            '"weightedAvgPrice":"62500.00000000","prevClosePrice":"59999.99000000","lastPrice":"65432.10000000",'
            '"lastQty":"0.01500000","bidPrice":"65432.10000000","bidQty":"0.00003000","askPrice":"0.00000000",'
            '"askQty":"0.00000000","openPrice":"60000.00000000","highPrice":"66000.00000000","lowPrice":"59000.00000000",'
            '"volume":"3.00000000","quoteVolume":"187500.00000000","openTime":1699913580000,"closeTime":9,"firstId":6,'
            '"lastId":12,"count":7}'
        ),
    ),
    "GET ticker/24hr MINI": (
        payloads.encode(payloads.mini_ticker(BTCUSDT, DAY, 9)),
        (
            '{"symbol":"BTCUSDT","openPrice":"60000.00000000","highPrice":"66000.00000000","lowPrice":"59000.00000000",'
            '"lastPrice":"65432.10000000","volume":"3.00000000","quoteVolume":"187500.00000000",'
            '"openTime":1699913580000,"closeTime":9,"firstId":6,"lastId":12,"count":7}'
        ),
    ),
    "GET ticker": (
        payloads.encode(payloads.window_ticker(BTCUSDT, DAY, 9)),
        (
            '{"symbol":"BTCUSDT","priceChange":"5432.10000000","priceChangePercent":"9.054",'
            '"weightedAvgPrice":"62500.00000000","openPrice":"60000.00000000","highPrice":"66000.00000000",'
            '"lowPrice":"59000.00000000","lastPrice":"65432.10000000","volume":"3.00000000",'
            '"quoteVolume":"187500.00000000","openTime":1699913580000,"closeTime":9,"firstId":6,"lastId":12,"count":7}'
        ),
    ),
    "GET ticker/bookTicker": (
        payloads.encode(payloads.book_ticker(BTCUSDT, BEST)),
        (
            '{"symbol":"BTCUSDT","bidPrice":"65432.10000000","bidQty":"0.00003000","askPrice":"0.00000000",'
            '"askQty":"0.00000000"}'
        ),
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact(name: str) -> None:
    made, expected = EXACT[name]
    assert made.decode() == expected


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("trade", models.TradeResponse),
        ("aggTrade", models.AggTradeResponse),
        ("depthUpdate", models.DiffBookDepthResponse),
        ("partial depth", models.PartialBookDepthResponse),
        ("bookTicker", models.BookTickerResponse),
        ("kline", models.KlineResponse),
        ("24hrMiniTicker", models.MiniTickerResponse),
        ("24hrTicker", models.TickerResponse),
        ("1hTicker", models.RollingWindowTickerResponse),
        ("avgPrice", models.AvgPriceResponse),
    ],
)
def test_fields_are_those_of_the_exchanges_own_client(name: str, model: Any) -> None:
    made = json.loads(EXACT[name][0])
    known = {field.alias or key for key, field in model.model_fields.items()} - {"additional_properties"}
    assert set(made) == known
    if name == "kline":
        kline = {field.alias or key for key, field in models.KlineResponseK.model_fields.items()}
        assert set(made["k"]) == kline - {"additional_properties"}


@given(st.integers(-(10**30), 10**30))
def test_decimal_text_is_format_decimal(amount: int) -> None:
    assert decimal_text(amount) == format_decimal(amount, 8)


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6))
def test_rounded_is_to_the_nearest(numerator: int, denominator: int) -> None:
    error = rounded(numerator, denominator) * denominator - numerator
    assert 2 * abs(error) <= denominator


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_percent_change_has_three_decimals(open_ticks: int, last_ticks: int) -> None:
    text = percent_change(open_ticks, last_ticks)
    assert re.fullmatch(r"-?\d+\.\d{3}", text)
    exact = (last_ticks - open_ticks) * 100
    assert abs(int(text.replace(".", "")) * open_ticks - exact * 1000) * 2 <= open_ticks


def test_percent_change_without_an_open_is_zero() -> None:
    assert percent_change(0, 0) == "0.000"


@pytest.mark.parametrize("market", CATALOGUE.markets, ids=lambda market: str(market.symbol))
def test_amounts_agree_with_the_catalogue(market: Market) -> None:
    instrument = Instrument(market)
    assert instrument.price(7) == market.price_text(7)
    lots = 12_345
    units = CATALOGUE.spec(market).quote_units * 7 * lots
    assert parse_decimal(instrument.amount(7 * lots), 8) == units * 10 ** (8 - CATALOGUE.asset(market.quote).decimals)
    assert parse_decimal(instrument.quantity(1), 8) == parse_decimal(market.lot, 8)


def test_a_lot_that_cannot_be_shown_is_refused() -> None:
    market = CATALOGUE.markets[0].model_copy(update={"lot": "0.000000001"})
    with pytest.raises(CatalogueError, match=r"markets\[BTCUSDT\]\.lot: must have at most 8 decimals"):
        Instrument(market)
