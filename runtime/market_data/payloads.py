"""The JSON that clients receive, field by field as on Binance Spot; nothing else in the exchange writes public JSON.

Numbers inside are integers (ticks, lots, and ticks times lots for turnover); on the wire they are decimal strings with
eight places. Times are in milliseconds. Names of fields below say what the one-letter names on the wire mean.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from msgspec import Struct
from msgspec.json import Encoder

from runtime.market_data.book_builder import Best, Depth, Diff
from runtime.market_data.candles import Candle
from runtime.market_data.tickers import AVERAGE_MINUTES, Statistics
from runtime.market_data.trades import AggTrade, Trade
from runtime.shared.book_side import Level
from runtime.shared.catalogue import CatalogueError, Market
from runtime.shared.money import MoneyError, parse_decimal

PLACES: Final = 8
UNIT: Final = 10**PLACES
PPM_OF_PERCENT: Final = 100_000
"""Thousandths of a percent in one: how fine a price change in percent is told."""

TEXTS_KEPT: Final = 16_384

encode: Final = Encoder().encode


def decimal_text(amount: int) -> str:
    """Return `amount` units of 10**-PLACES as a decimal string."""
    if amount < 0:
        return f"-{-amount // UNIT}.{-amount % UNIT:08d}"
    return f"{amount // UNIT}.{amount % UNIT:08d}"


def rounded(numerator: int, denominator: int) -> int:
    """Return the quotient to the nearest integer, halves away from zero; `denominator` is positive."""
    quotient = (2 * abs(numerator) + denominator) // (2 * denominator)
    return quotient if numerator >= 0 else -quotient


class Instrument:
    """How one market's integers read on the wire."""

    def __init__(self, market: Market) -> None:
        """Raise CatalogueError for a lot finer than the wire can show."""
        self.market_id = market.id
        self.symbol = market.symbol
        self.stream_prefix = f"{market.symbol.lower()}@"
        self._tick = market.tick_units
        try:
            self._lot = parse_decimal(market.lot, PLACES)
        except MoneyError as error:
            raise CatalogueError(f"markets[{market.symbol}].lot: {error}") from None
        # The same few thousand prices and quantities come again and again, so their texts are kept.
        self.price: Final = lru_cache(TEXTS_KEPT)(self._price)
        self.quantity: Final = lru_cache(TEXTS_KEPT)(self._quantity)

    def _price(self, ticks: int) -> str:
        """Return a price, or the difference of two."""
        return decimal_text(ticks * self._tick)

    def _quantity(self, lots: int) -> str:
        """Return a quantity of the base asset."""
        return decimal_text(lots * self._lot)

    def amount(self, turnover: int) -> str:
        """Return an amount of the quote asset, cut to PLACES decimals."""
        return decimal_text(turnover * self._tick * self._lot // UNIT)

    def average(self, turnover: int, lots: int) -> str:
        """Return the average price of `lots`, rounded to PLACES decimals; 0 for none."""
        return decimal_text(rounded(turnover * self._tick, lots) if lots else 0)

    def levels(self, levels: Iterable[Level]) -> list[tuple[str, str]]:
        """Return price levels as pairs of price and quantity."""
        price_text, quantity_text = self.price, self.quantity
        return [(price_text(price), quantity_text(lots)) for price, lots in levels]


def percent_change(open_ticks: int, last_ticks: int) -> str:
    """Return the change from open to last in percent, with three decimals; 0 when there is no opening price."""
    thousandths = rounded((last_ticks - open_ticks) * PPM_OF_PERCENT, open_ticks) if open_ticks else 0
    sign = "-" if thousandths < 0 else ""
    return f"{sign}{abs(thousandths) // 1000}.{abs(thousandths) % 1000:03d}"


# ---- trades ------------------------------------------------------------------------------------------------------


class TradeEvent(
    Struct,
    rename={
        "event": "e",
        "event_ms": "E",
        "symbol": "s",
        "trade_id": "t",
        "price": "p",
        "quantity": "q",
        "time_ms": "T",
        "buyer_is_maker": "m",
        "ignore": "M",
    },
):
    """`@trade`."""

    event: str
    event_ms: int
    symbol: str
    trade_id: int
    price: str
    quantity: str
    time_ms: int
    buyer_is_maker: bool
    ignore: bool = True


class AggTradeEvent(
    Struct,
    rename={
        "event": "e",
        "event_ms": "E",
        "symbol": "s",
        "agg_id": "a",
        "price": "p",
        "quantity": "q",
        "first_id": "f",
        "last_id": "l",
        "time_ms": "T",
        "buyer_is_maker": "m",
        "ignore": "M",
    },
):
    """`@aggTrade`."""

    event: str
    event_ms: int
    symbol: str
    agg_id: int
    price: str
    quantity: str
    first_id: int
    last_id: int
    time_ms: int
    buyer_is_maker: bool
    ignore: bool = True


def trade_event(instrument: Instrument, trade: Trade) -> bytes:
    """`@trade`. The time of the event is that of the trade."""
    return encode(
        TradeEvent(
            "trade",
            trade.time_ms,
            instrument.symbol,
            trade.trade_id,
            instrument.price(trade.price),
            instrument.quantity(trade.lots),
            trade.time_ms,
            trade.buyer_is_maker,
        )
    )


def agg_trade_event(instrument: Instrument, trade: AggTrade) -> bytes:
    """`@aggTrade`. The time of the event is that of the trades."""
    return encode(
        AggTradeEvent(
            "aggTrade",
            trade.time_ms,
            instrument.symbol,
            trade.first_id,
            instrument.price(trade.price),
            instrument.quantity(trade.lots),
            trade.first_id,
            trade.last_id,
            trade.time_ms,
            trade.buyer_is_maker,
        )
    )


class TradeRow(Struct, rename="camel"):
    """A trade, as in GET trades and historicalTrades."""

    id: int
    price: str
    qty: str
    quote_qty: str
    time: int
    is_buyer_maker: bool
    is_best_match: bool = True


class AggTradeRow(
    Struct,
    rename={
        "agg_id": "a",
        "price": "p",
        "quantity": "q",
        "first_id": "f",
        "last_id": "l",
        "time_ms": "T",
        "buyer_is_maker": "m",
        "best_match": "M",
    },
):
    """Trades of one taker at one price, as in GET aggTrades."""

    agg_id: int
    price: str
    quantity: str
    first_id: int
    last_id: int
    time_ms: int
    buyer_is_maker: bool
    best_match: bool = True


def trades_body(instrument: Instrument, trades: Iterable[Trade]) -> bytes:
    """GET trades and historicalTrades."""
    return encode(
        [
            TradeRow(
                trade.trade_id,
                instrument.price(trade.price),
                instrument.quantity(trade.lots),
                instrument.amount(trade.price * trade.lots),
                trade.time_ms,
                trade.buyer_is_maker,
            )
            for trade in trades
        ]
    )


def agg_trades_body(instrument: Instrument, trades: Iterable[AggTrade]) -> bytes:
    """GET aggTrades."""
    return encode(
        [
            AggTradeRow(
                trade.first_id,
                instrument.price(trade.price),
                instrument.quantity(trade.lots),
                trade.first_id,
                trade.last_id,
                trade.time_ms,
                trade.buyer_is_maker,
            )
            for trade in trades
        ]
    )


# ---- book ----------------------------------------------------------------------------------------------------------


class DepthEvent(
    Struct,
    rename={
        "event": "e",
        "event_ms": "E",
        "symbol": "s",
        "first_id": "U",
        "last_id": "u",
        "bids": "b",
        "asks": "a",
    },
):
    """`@depth`: levels that changed, a quantity of 0 for one that is gone; ids have no gap from event to event."""

    event: str
    event_ms: int
    symbol: str
    first_id: int
    last_id: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class DepthBody(Struct, rename="camel"):
    """A book: the id of its last change and the best levels, as pairs of price and quantity."""

    last_update_id: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class BookTickerEvent(
    Struct,
    rename={
        "update_id": "u",
        "symbol": "s",
        "bid_price": "b",
        "bid_quantity": "B",
        "ask_price": "a",
        "ask_quantity": "A",
    },
):
    """`@bookTicker`."""

    update_id: int
    symbol: str
    bid_price: str
    bid_quantity: str
    ask_price: str
    ask_quantity: str


class BookTicker(Struct, rename="camel"):
    """GET ticker/bookTicker."""

    symbol: str
    bid_price: str
    bid_qty: str
    ask_price: str
    ask_qty: str


def depth_event(instrument: Instrument, diff: Diff, event_ms: int) -> bytes:
    """`@depth`: best bids first, best asks first."""
    return encode(
        DepthEvent(
            "depthUpdate",
            event_ms,
            instrument.symbol,
            diff.first_id,
            diff.last_id,
            instrument.levels(sorted(diff.bids.items(), reverse=True)),
            instrument.levels(sorted(diff.asks.items())),
        )
    )


def depth_body(instrument: Instrument, depth: Depth) -> bytes:
    """GET depth, and `@depth5`, `@depth10`, `@depth20`."""
    return encode(DepthBody(depth.update_id, instrument.levels(depth.bids), instrument.levels(depth.asks)))


def book_ticker_event(instrument: Instrument, update_id: int, best: Best) -> bytes:
    """`@bookTicker`. A side without orders shows zeros."""
    return encode(
        BookTickerEvent(
            update_id,
            instrument.symbol,
            instrument.price(best.bid),
            instrument.quantity(best.bid_lots),
            instrument.price(best.ask),
            instrument.quantity(best.ask_lots),
        )
    )


def book_ticker(instrument: Instrument, best: Best) -> BookTicker:
    """One entry of GET ticker/bookTicker."""
    return BookTicker(
        instrument.symbol,
        instrument.price(best.bid),
        instrument.quantity(best.bid_lots),
        instrument.price(best.ask),
        instrument.quantity(best.ask_lots),
    )


# ---- candles --------------------------------------------------------------------------------------------------------


class Kline(
    Struct,
    rename={
        "open_ms": "t",
        "close_ms": "T",
        "symbol": "s",
        "interval": "i",
        "first_id": "f",
        "last_id": "L",
        "open": "o",
        "close": "c",
        "high": "h",
        "low": "l",
        "volume": "v",
        "trades": "n",
        "is_closed": "x",
        "quote_volume": "q",
        "taker_buy_volume": "V",
        "taker_buy_quote_volume": "Q",
        "ignore": "B",
    },
):
    """A candle in `@kline_<interval>`."""

    open_ms: int
    close_ms: int
    symbol: str
    interval: str
    first_id: int
    last_id: int
    open: str
    close: str
    high: str
    low: str
    volume: str
    trades: int
    is_closed: bool
    quote_volume: str
    taker_buy_volume: str
    taker_buy_quote_volume: str
    ignore: str = "0"


class KlineEvent(Struct, rename={"event": "e", "event_ms": "E", "symbol": "s", "kline": "k"}):
    """`@kline_<interval>`."""

    event: str
    event_ms: int
    symbol: str
    kline: Kline


def kline_event(instrument: Instrument, interval: str, candle: Candle, event_ms: int, *, is_closed: bool) -> bytes:
    """`@kline_<interval>`."""
    return encode(
        KlineEvent(
            "kline",
            event_ms,
            instrument.symbol,
            Kline(
                candle.open_ms,
                candle.close_ms,
                instrument.symbol,
                interval,
                candle.first_id,
                candle.last_id,
                instrument.price(candle.open),
                instrument.price(candle.close),
                instrument.price(candle.high),
                instrument.price(candle.low),
                instrument.quantity(candle.lots),
                candle.trades,
                is_closed,
                instrument.amount(candle.turnover),
                instrument.quantity(candle.taker_buy_lots),
                instrument.amount(candle.taker_buy_turnover),
            ),
        )
    )


KlineRow = tuple[int, str, str, str, str, str, int, str, int, str, str, str]
"""Opening time, open, high, low, close, volume, closing time, quote volume, trades, the takers' two volumes, unused."""


def klines_body(instrument: Instrument, candles: Iterable[Candle]) -> bytes:
    """GET klines and uiKlines."""
    return encode(
        [
            (
                candle.open_ms,
                instrument.price(candle.open),
                instrument.price(candle.high),
                instrument.price(candle.low),
                instrument.price(candle.close),
                instrument.quantity(candle.lots),
                candle.close_ms,
                instrument.amount(candle.turnover),
                candle.trades,
                instrument.quantity(candle.taker_buy_lots),
                instrument.amount(candle.taker_buy_turnover),
                "0",
            )
            for candle in candles
        ]
    )


# ---- tickers --------------------------------------------------------------------------------------------------------


class MiniTickerEvent(
    Struct,
    rename={
        "event": "e",
        "event_ms": "E",
        "symbol": "s",
        "close": "c",
        "open": "o",
        "high": "h",
        "low": "l",
        "volume": "v",
        "quote_volume": "q",
    },
):
    """`@miniTicker`: the last 24 hours."""

    event: str
    event_ms: int
    symbol: str
    close: str
    open: str
    high: str
    low: str
    volume: str
    quote_volume: str


class TickerEvent(
    Struct,
    rename={
        "event": "e",
        "event_ms": "E",
        "symbol": "s",
        "change": "p",
        "change_percent": "P",
        "average": "w",
        "previous_close": "x",
        "last": "c",
        "last_quantity": "Q",
        "bid": "b",
        "bid_quantity": "B",
        "ask": "a",
        "ask_quantity": "A",
        "open": "o",
        "high": "h",
        "low": "l",
        "volume": "v",
        "quote_volume": "q",
        "open_ms": "O",
        "close_ms": "C",
        "first_id": "F",
        "last_id": "L",
        "trades": "n",
    },
):
    """`@ticker`: the last 24 hours."""

    event: str
    event_ms: int
    symbol: str
    change: str
    change_percent: str
    average: str
    previous_close: str
    last: str
    last_quantity: str
    bid: str
    bid_quantity: str
    ask: str
    ask_quantity: str
    open: str
    high: str
    low: str
    volume: str
    quote_volume: str
    open_ms: int
    close_ms: int
    first_id: int
    last_id: int
    trades: int


class WindowTickerEvent(
    Struct,
    rename={
        "event": "e",
        "event_ms": "E",
        "symbol": "s",
        "change": "p",
        "change_percent": "P",
        "open": "o",
        "high": "h",
        "low": "l",
        "last": "c",
        "average": "w",
        "volume": "v",
        "quote_volume": "q",
        "open_ms": "O",
        "close_ms": "C",
        "first_id": "F",
        "last_id": "L",
        "trades": "n",
    },
):
    """`@ticker_<window>`."""

    event: str
    event_ms: int
    symbol: str
    change: str
    change_percent: str
    open: str
    high: str
    low: str
    last: str
    average: str
    volume: str
    quote_volume: str
    open_ms: int
    close_ms: int
    first_id: int
    last_id: int
    trades: int


class DayTicker(Struct, rename="camel"):
    """GET ticker/24hr."""

    symbol: str
    price_change: str
    price_change_percent: str
    weighted_avg_price: str
    prev_close_price: str
    last_price: str
    last_qty: str
    bid_price: str
    bid_qty: str
    ask_price: str
    ask_qty: str
    open_price: str
    high_price: str
    low_price: str
    volume: str
    quote_volume: str
    open_time: int
    close_time: int
    first_id: int
    last_id: int
    count: int


class WindowTicker(Struct, rename="camel"):
    """GET ticker and ticker/tradingDay."""

    symbol: str
    price_change: str
    price_change_percent: str
    weighted_avg_price: str
    open_price: str
    high_price: str
    low_price: str
    last_price: str
    volume: str
    quote_volume: str
    open_time: int
    close_time: int
    first_id: int
    last_id: int
    count: int


class MiniTicker(Struct, rename="camel"):
    """GET ticker/24hr, ticker and ticker/tradingDay with type=MINI."""

    symbol: str
    open_price: str
    high_price: str
    low_price: str
    last_price: str
    volume: str
    quote_volume: str
    open_time: int
    close_time: int
    first_id: int
    last_id: int
    count: int


class PriceTicker(Struct):
    """GET ticker/price."""

    symbol: str
    price: str


class AveragePriceEvent(
    Struct,
    rename={
        "event": "e",
        "event_ms": "E",
        "symbol": "s",
        "interval": "i",
        "average": "w",
        "last_trade_ms": "T",
    },
):
    """`@avgPrice`."""

    event: str
    event_ms: int
    symbol: str
    interval: str
    average: str
    last_trade_ms: int


class AveragePrice(Struct, rename="camel"):
    """GET avgPrice."""

    mins: int
    price: str
    close_time: int


def mini_ticker_event(instrument: Instrument, day: Statistics, event_ms: int) -> bytes:
    """`@miniTicker`, and one entry of `!miniTicker@arr`."""
    return encode(
        MiniTickerEvent(
            "24hrMiniTicker",
            event_ms,
            instrument.symbol,
            instrument.price(day.last),
            instrument.price(day.open),
            instrument.price(day.high),
            instrument.price(day.low),
            instrument.quantity(day.lots),
            instrument.amount(day.turnover),
        )
    )


def ticker_event(instrument: Instrument, day: Statistics, last_lots: int, best: Best, event_ms: int) -> bytes:
    """`@ticker`."""
    return encode(
        TickerEvent(
            "24hrTicker",
            event_ms,
            instrument.symbol,
            instrument.price(day.last - day.open),
            percent_change(day.open, day.last),
            instrument.average(day.turnover, day.lots),
            instrument.price(day.previous_close),
            instrument.price(day.last),
            instrument.quantity(last_lots),
            instrument.price(best.bid),
            instrument.quantity(best.bid_lots),
            instrument.price(best.ask),
            instrument.quantity(best.ask_lots),
            instrument.price(day.open),
            instrument.price(day.high),
            instrument.price(day.low),
            instrument.quantity(day.lots),
            instrument.amount(day.turnover),
            day.open_ms,
            event_ms,
            day.first_id,
            day.last_id,
            day.trades,
        )
    )


def window_ticker_event(instrument: Instrument, name: str, window: Statistics, event_ms: int) -> bytes:
    """`@ticker_<name>`, and one entry of `!ticker_<name>@arr`."""
    return encode(
        WindowTickerEvent(
            f"{name}Ticker",
            event_ms,
            instrument.symbol,
            instrument.price(window.last - window.open),
            percent_change(window.open, window.last),
            instrument.price(window.open),
            instrument.price(window.high),
            instrument.price(window.low),
            instrument.price(window.last),
            instrument.average(window.turnover, window.lots),
            instrument.quantity(window.lots),
            instrument.amount(window.turnover),
            window.open_ms,
            event_ms,
            window.first_id,
            window.last_id,
            window.trades,
        )
    )


def day_ticker(instrument: Instrument, day: Statistics, last_lots: int, best: Best, now_ms: int) -> DayTicker:
    """One entry of GET ticker/24hr."""
    return DayTicker(
        instrument.symbol,
        instrument.price(day.last - day.open),
        percent_change(day.open, day.last),
        instrument.average(day.turnover, day.lots),
        instrument.price(day.previous_close),
        instrument.price(day.last),
        instrument.quantity(last_lots),
        instrument.price(best.bid),
        instrument.quantity(best.bid_lots),
        instrument.price(best.ask),
        instrument.quantity(best.ask_lots),
        instrument.price(day.open),
        instrument.price(day.high),
        instrument.price(day.low),
        instrument.quantity(day.lots),
        instrument.amount(day.turnover),
        day.open_ms,
        now_ms,
        day.first_id,
        day.last_id,
        day.trades,
    )


def window_ticker(instrument: Instrument, window: Statistics, close_ms: int) -> WindowTicker:
    """One entry of GET ticker and ticker/tradingDay."""
    return WindowTicker(
        instrument.symbol,
        instrument.price(window.last - window.open),
        percent_change(window.open, window.last),
        instrument.average(window.turnover, window.lots),
        instrument.price(window.open),
        instrument.price(window.high),
        instrument.price(window.low),
        instrument.price(window.last),
        instrument.quantity(window.lots),
        instrument.amount(window.turnover),
        window.open_ms,
        close_ms,
        window.first_id,
        window.last_id,
        window.trades,
    )


def mini_ticker(instrument: Instrument, window: Statistics, close_ms: int) -> MiniTicker:
    """One entry of GET ticker/24hr, ticker and ticker/tradingDay with type=MINI."""
    return MiniTicker(
        instrument.symbol,
        instrument.price(window.open),
        instrument.price(window.high),
        instrument.price(window.low),
        instrument.price(window.last),
        instrument.quantity(window.lots),
        instrument.amount(window.turnover),
        window.open_ms,
        close_ms,
        window.first_id,
        window.last_id,
        window.trades,
    )


def average_price_event(instrument: Instrument, average: str, last_trade_ms: int, event_ms: int) -> bytes:
    """`@avgPrice`."""
    return encode(
        AveragePriceEvent("avgPrice", event_ms, instrument.symbol, f"{AVERAGE_MINUTES}m", average, last_trade_ms)
    )


def average_price_body(average: str, last_trade_ms: int) -> bytes:
    """GET avgPrice."""
    return encode(AveragePrice(AVERAGE_MINUTES, average, last_trade_ms))


def array_of(bodies: Iterable[bytes]) -> bytes:
    """Return payloads of this module as one JSON array."""
    return b"[" + b",".join(bodies) + b"]"
