"""Answers to questions about markets: from memory where it reaches, else from the archive."""

from collections.abc import Mapping
from typing import Final

from runtime.market_data import payloads
from runtime.market_data.archive import Archive
from runtime.market_data.candles import Candle, CandleSeries, opening_ms
from runtime.market_data.market import DAY, MarketView
from runtime.market_data.tickers import DAY_MINUTES, MINUTE_MS, WINDOW_MINUTES_MAX
from runtime.market_data.trades import FIRST_TRADE_ID, AggTrade, Trade
from runtime.shared.market_messages import (
    INTERVALS,
    AskAggTrades,
    AskAveragePrice,
    AskDepth,
    AskKlines,
    AskTickers,
    AskTrades,
)

AskArchived = AskTrades | AskAggTrades | AskKlines
Ask = AskArchived | AskDepth | AskAveragePrice | AskTickers

INVALID_SYMBOL: Final = -1121, "Invalid symbol."
INVALID_INTERVAL: Final = -1120, "Invalid interval."
INVALID_PARAMETER: Final = -1130, "Data sent for parameter '%s' is not valid."
LIMIT_MAX: Final = 5_000


class AskError(ValueError):
    """A question that cannot be answered: a documented code and its text."""

    def __init__(self, code: int, text: str) -> None:
        """Keep both for the client."""
        super().__init__(code, text)
        self.code = code
        self.text = text


class Answers:
    """Answers for the markets by symbol."""

    def __init__(self, markets: Mapping[str, MarketView], archive: Archive) -> None:
        """Answer from `markets` as they stand, and from `archive` what is older."""
        self._markets = markets
        self._archive = archive

    def from_memory(self, ask: Ask, now_ms: int) -> bytes | None:
        """Return the JSON body, or None if memory does not reach far enough back. Raises AskError."""
        if isinstance(ask, AskTickers):
            return self._tickers(ask, now_ms)
        market = self._market(ask.symbol)
        if isinstance(ask, AskDepth):
            return payloads.depth_body(market.instrument, market.book.depth(_limit(ask.limit)))
        if isinstance(ask, AskAveragePrice):
            return payloads.average_price_body(market.average_price(now_ms), market.last_trade_ms)
        if isinstance(ask, AskTrades):
            trades = _trades(market, ask)
            return None if trades is None else payloads.trades_body(market.instrument, trades)
        if isinstance(ask, AskAggTrades):
            aggregates = _agg_trades(market, ask)
            return None if aggregates is None else payloads.agg_trades_body(market.instrument, aggregates)
        market.settle()
        series = _series(market, ask)
        if not _reaches(series, ask):
            return None
        candles = series.between(ask.start_ms, ask.end_ms, _limit(ask.limit))
        return payloads.klines_body(market.instrument, candles)

    async def from_archive(self, ask: AskArchived) -> bytes:
        """Return the JSON body, reading first what is older than memory. Raises AskError or ArchiveError."""
        market = self._market(ask.symbol)
        instrument = market.instrument
        if isinstance(ask, AskTrades):
            return payloads.trades_body(instrument, await self._older_trades(market, ask))
        if isinstance(ask, AskAggTrades):
            return payloads.agg_trades_body(instrument, await self._older_agg_trades(market, ask))
        return payloads.klines_body(instrument, await self._older_candles(market, ask))

    async def _older_trades(self, market: MarketView, ask: AskTrades) -> list[Trade]:
        limit = _limit(ask.limit)
        from_id = ask.from_id if ask.from_id >= 0 else max(FIRST_TRADE_ID, market.last_trade_id - limit + 1)
        trades = await self._archive.trades(market.instrument.market_id, from_id, limit)
        next_id = trades[-1].trade_id + 1 if trades else max(from_id, FIRST_TRADE_ID)
        newer = [trade for trade in market.tape.trades if trade.trade_id >= next_id]
        if newer and newer[0].trade_id == next_id:  # else the ledger is so far behind that some are in neither
            trades += newer
        return trades[:limit]

    async def _older_agg_trades(self, market: MarketView, ask: AskAggTrades) -> list[AggTrade]:
        ring = list(market.tape.aggregates)
        limit = _limit(ask.limit)
        newer = _within(ring, ask)
        older, is_all = await self._archive.agg_trades(
            market.instrument.market_id,
            from_id=ask.from_id,
            before_id=ring[0].first_id if ring else market.last_trade_id + 1,
            start_ms=ask.start_ms,
            end_ms=ask.end_ms,
            limit=limit,
        )
        if _is_forward(ask):
            return [*older, *newer][:limit] if is_all else older
        return [*older, *newer][-limit:]

    async def _older_candles(self, market: MarketView, ask: AskKlines) -> list[Candle]:
        series = _series(market, ask)
        limit = _limit(ask.limit)
        kept_ms = series.candles[0].open_ms
        start_ms = ask.start_ms if ask.start_ms >= 0 else _start_of(ask, limit)
        end_ms = kept_ms - 1 if ask.end_ms < 0 else min(ask.end_ms, kept_ms - 1)
        older = await self._archive.candles(market.instrument.market_id, ask.interval, start_ms, end_ms, limit)
        candles = [candle for candle in older if candle.open_ms < kept_ms]
        if len(candles) < limit:
            candles += series.between(max(start_ms, kept_ms), ask.end_ms, limit - len(candles))
        return candles

    def _market(self, symbol: str) -> MarketView:
        market = self._markets.get(symbol)
        if market is None:
            raise AskError(*INVALID_SYMBOL)
        return market

    def _tickers(self, ask: AskTickers, now_ms: int) -> bytes:
        markets = [self._market(symbol) for symbol in ask.symbols] if ask.symbols else list(self._markets.values())
        entries: list[object] = [_ticker(ask, market, now_ms) for market in markets]
        return payloads.encode(entries[0] if ask.single else entries)


def _ticker(ask: AskTickers, market: MarketView, now_ms: int) -> object:
    if ask.kind == "book":
        return payloads.book_ticker(market.instrument, market.book.best())
    if ask.kind == "window":
        if not 1 <= ask.minutes <= WINDOW_MINUTES_MAX:
            raise AskError(INVALID_PARAMETER[0], INVALID_PARAMETER[1] % "windowSize")
        return _since(ask, market, now_ms // MINUTE_MS - ask.minutes, now_ms)
    if ask.kind == "session":
        first_minute = now_ms // MINUTE_MS // DAY_MINUTES * DAY_MINUTES
        return _since(ask, market, first_minute, (first_minute + DAY_MINUTES) * MINUTE_MS - 1)
    day = market.statistics(DAY, now_ms)
    if ask.kind == "price":
        return payloads.PriceTicker(market.instrument.symbol, market.instrument.price(day.last))
    if ask.kind != "day":
        raise AskError(INVALID_PARAMETER[0], INVALID_PARAMETER[1] % "kind")
    if ask.mini:
        return payloads.mini_ticker(market.instrument, day, now_ms)
    return payloads.day_ticker(market.instrument, day, market.last_lots, market.book.best(), now_ms)


def _since(ask: AskTickers, market: MarketView, first_minute: int, close_ms: int) -> object:
    statistics = market.statistics_since(first_minute)
    return (payloads.mini_ticker if ask.mini else payloads.window_ticker)(market.instrument, statistics, close_ms)


def _limit(limit: int) -> int:
    if not 1 <= limit <= LIMIT_MAX:
        raise AskError(INVALID_PARAMETER[0], INVALID_PARAMETER[1] % "limit")
    return limit


def _trades(market: MarketView, ask: AskTrades) -> list[Trade] | None:
    ring = market.tape.trades
    limit = _limit(ask.limit)
    from_id = ask.from_id if ask.from_id >= 0 else market.last_trade_id - limit + 1
    if ring and ring[0].trade_id > max(from_id, FIRST_TRADE_ID):
        return None
    return [trade for trade in ring if trade.trade_id >= from_id][:limit]


def _agg_trades(market: MarketView, ask: AskAggTrades) -> list[AggTrade] | None:
    ring = market.tape.aggregates
    limit = _limit(ask.limit)
    is_whole = not market.last_trade_id or (bool(ring) and ring[0].first_id == FIRST_TRADE_ID)
    chosen = _within(list(ring), ask)
    if not _is_forward(ask):
        return chosen[-limit:] if is_whole or len(chosen) >= limit else None
    reaches = is_whole or (ring and (0 < ring[0].first_id <= ask.from_id or ring[0].time_ms < ask.start_ms))
    return chosen[:limit] if reaches else None


def _is_forward(ask: AskAggTrades) -> bool:
    """Tell whether the oldest are wanted rather than the newest."""
    return ask.from_id >= 0 or ask.start_ms >= 0


def _within(trades: list[AggTrade], ask: AskAggTrades) -> list[AggTrade]:
    return [
        trade
        for trade in trades
        if trade.first_id >= ask.from_id
        and trade.time_ms >= ask.start_ms
        and (ask.end_ms < 0 or trade.time_ms <= ask.end_ms)
    ]


def _series(market: MarketView, ask: AskKlines) -> CandleSeries:
    series = market.candles.series.get(ask.interval)
    if series is None:
        raise AskError(*INVALID_INTERVAL)
    return series


def _reaches(series: CandleSeries, ask: AskKlines) -> bool:
    """Tell whether memory holds every candle asked for."""
    if not series.candles or series.holds_first_trade:
        return True
    kept_ms = series.candles[0].open_ms
    if ask.start_ms >= 0:
        return ask.start_ms >= kept_ms
    return ask.end_ms < 0 or _start_of(ask, _limit(ask.limit)) >= kept_ms


def _start_of(ask: AskKlines, limit: int) -> int:
    """Return when the first of the `limit` candles up to the end asked for opens. Months are all in memory."""
    return max(0, opening_ms(ask.interval, ask.end_ms) - (limit - 1) * INTERVALS[ask.interval])
