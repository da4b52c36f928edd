"""What was before, from a real database: a restart changes nothing, and no question notices where memory ends."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from config.markets import CATALOGUE
from runtime.market_data.answers import Answers, AskArchived
from runtime.market_data.archive import Archive, ArchiveError, open_archive
from runtime.market_data.candles import Bar, Candle, Candles
from runtime.market_data.main import Restored, repeat
from runtime.market_data.market import WINDOWS, MarketView
from runtime.market_data.payloads import Instrument
from runtime.market_data.service import MarketData
from runtime.market_data.trade_stream import TradePublisher
from runtime.market_data.trades import Tape, aggregate
from runtime.shared.market_messages import INTERVALS, AskAggTrades, AskKlines, AskTrades
from tests.runtime.ledger.feeds import Database
from tests.runtime.market_data.events import BTCUSDT, EngineRun, empty_state, empty_views, engine_run, state

Scenario = Callable[[Archive, Database], Awaitable[None]]


def with_ledger(conninfo: str, scenario: Scenario) -> None:
    async def opened() -> None:
        database = await Database.open(conninfo)
        archive = await open_archive(conninfo)
        try:
            await scenario(archive, database)
        finally:
            await archive.close()
            await database.connection.close()

    asyncio.run(opened())


def candle_rows(view: MarketView) -> dict[str, list[tuple[Any, ...]]]:
    return {
        interval: [
            tuple(getattr(candle, name) for name in (*Candle.__slots__, *Bar.__slots__)) for candle in series.candles
        ]
        for interval, series in view.candles.series.items()
    }


def whole(run: EngineRun) -> MarketData:
    """Market data that has seen everything."""
    market_data = MarketData(empty_views())
    market_data.on_feed(run.happened)
    return market_data


def test_what_is_published_once_more_is_what_was_published(conninfo: str) -> None:
    run = EngineRun(5, 600, pause_ms_max=1_000)
    published = MarketData(empty_views()).on_feed(run.happened)
    symbols = {market.id: market.symbol for market in CATALOGUE.markets}
    last = run.happened[-1].sequence
    position = run.happened[400].sequence
    assert len({each.market for each in published}) > 1

    async def scenario(archive: Archive, database: Database) -> None:
        assert await archive.repeated(symbols, 0, 0, 10) == []
        await database.take(run.happened)
        assert await archive.repeated(symbols, last, 0, 10**6) == published
        until = [each for each in published if each.sequence <= position]
        assert await archive.repeated(symbols, position, 0, 10**6) == until
        assert await archive.repeated(symbols, position, 0, 7) == until[-7:]
        since_us = until[len(until) // 2].time_us
        since = [each for each in until if each.time_us >= since_us]
        assert await archive.repeated(symbols, position, since_us, 10**6) == since
        restored = Restored(MarketData(empty_views()), last, last)
        publisher = TradePublisher(lambda _data, _after: "", "main")
        await repeat(archive, restored, publisher, published[0].time_us // 1000)
        assert publisher.pulse()["trades_waiting"] == len(published)
        await archive.close()
        await repeat(archive, restored, publisher, 0)  # the database is gone: it goes on without

    with_ledger(conninfo, scenario)


@pytest.mark.parametrize(("seed", "known"), [(1, 0), (2, 40), (3, 700), (4, 1_000)])
def test_after_a_restart_all_is_as_if_there_had_been_none(conninfo: str, seed: int, known: int) -> None:
    """The ledger is somewhat behind; the engine's books are newer than the trades; the feed joins the two."""
    run = EngineRun(seed, 980, pause_ms_max=240_000)  # about a day and a half
    followed = whole(run)
    now_ms = run.happened[-1].time_us // 1000 + 5_000

    async def scenario(archive: Archive, database: Database) -> None:
        if known:
            await database.take(run.happened[:known])
        position, past = await archive.restore([market.id for market in CATALOGUE.markets], now_ms)
        assert position == min(known, len(run.happened))
        views: list[MarketView] = []
        for market in CATALOGUE.markets:
            view = MarketView(Instrument(market), state(run.engine, market.id))
            view.refill(past[market.id], now_ms)
            views.append(view)
        restarted = MarketData(views)
        if run.happened[position:]:
            restarted.on_feed(run.happened[position:])
        for symbol, view in restarted.markets.items():
            other = followed.markets[symbol]
            view.advance(now_ms)
            other.advance(now_ms)
            assert candle_rows(view) == candle_rows(other)
            assert view.tape.trades == other.tape.trades
            assert view.tape.aggregates == other.tape.aggregates
            assert view.book.depth(9999) == other.book.depth(9999)
            for window in WINDOWS:
                assert view.statistics(window, now_ms) == other.statistics(window, now_ms)
            assert view.average_price(now_ms) == other.average_price(now_ms)

    with_ledger(conninfo, scenario)


@dataclass
class Questions:
    """Random questions about a run, which any answerer must answer alike."""

    run: EngineRun
    draw: random.Random

    def make(self) -> AskArchived:
        draw = self.draw
        last_id = self.run.trades(1)[-1].trade_id
        kind = draw.randrange(3)
        if kind == 0:
            return AskTrades(1, "BTCUSDT", draw.randint(1, 200), draw.randint(-1, last_id + 5))
        start_ms, end_ms = self._times()
        if kind == 1:
            from_id = draw.choice((-1, draw.randint(0, last_id)))
            if from_id >= 0:
                start_ms = end_ms = -1
            return AskAggTrades(1, "BTCUSDT", from_id, start_ms, end_ms, draw.randint(1, 200))
        interval = draw.choice([name for name in INTERVALS if name != "1s"])
        return AskKlines(1, "BTCUSDT", interval, start_ms, end_ms, draw.randint(1, 60))

    def _times(self) -> tuple[int, int]:
        first_ms, last_ms = self.run.happened[0].time_us // 1000, self.run.happened[-1].time_us // 1000
        one, other = (self.draw.randint(first_ms - 10**6, last_ms + 10**6) for _ in range(2))
        return self.draw.choice(((-1, -1), (one, -1), (-1, one), (min(one, other), max(one, other))))


async def answered(answers: Answers, ask: AskArchived) -> Any:
    body = answers.from_memory(ask, 0)
    return json.loads(body if body is not None else await answers.from_archive(ask))


def test_answers_do_not_show_where_memory_ends(conninfo: str) -> None:
    run = EngineRun(5, 1_200, pause_ms_max=60_000)
    last_ms = run.happened[-1].time_us // 1000

    def view(kept: int) -> MarketView:
        made = MarketView(Instrument(BTCUSDT), empty_state(1))
        made.tape, made.candles = Tape(kept), Candles(kept)  # type: ignore[misc]
        return made

    small, large = view(60), view(10**6)
    for one in (small, large):
        MarketData([one]).on_feed(run.happened)
        one.advance(last_ms)

    async def scenario(archive: Archive, database: Database) -> None:
        await database.take(run.happened)
        short, long = (Answers({"BTCUSDT": one}, archive) for one in (small, large))
        questions = Questions(run, random.Random(6))
        archived = 0
        for _ in range(400):
            ask = questions.make()
            archived += short.from_memory(ask, 0) is None
            expected = json.loads(long.from_memory(ask, 0) or b"null")
            assert expected is not None
            assert await answered(short, ask) == expected, ask
        assert archived > 50

    with_ledger(conninfo, scenario)


def test_candles_are_read_by_the_minute_and_from_trades_where_those_are_gone(conninfo: str) -> None:
    run = EngineRun(5, 1_200, pause_ms_max=60_000)
    first_ms, last_ms = (run.trades(1)[at].time_ms for at in (0, -1))

    async def scenario(archive: Archive, database: Database) -> None:
        await database.take(run.happened)

        async def asked(interval: str) -> list[tuple[int, ...]]:
            found = await archive.candles(1, interval, first_ms + 3_600_000, last_ms, 1_000)
            return [(each.open_ms, each.high, each.close, each.trades) for each in found]

        intervals = ("1m", "15m", "1h")
        by_minute = {interval: await asked(interval) for interval in intervals}
        assert all(len(found) > 3 for found in by_minute.values())
        await database.connection.execute("UPDATE candles SET high = high + 1000000000")
        for interval, told in by_minute.items():
            assert max(high for _, high, *_ in await asked(interval)) > max(high for _, high, *_ in told), interval
        await database.connection.execute("TRUNCATE candles")
        assert {interval: await asked(interval) for interval in intervals} == by_minute

    with_ledger(conninfo, scenario)


def test_an_empty_ledger_is_position_zero(conninfo: str) -> None:
    async def scenario(archive: Archive, _database: Database) -> None:
        position, past = await archive.restore([1], 10**12)
        assert position == 0
        assert past[1].newest == []
        view = MarketView(Instrument(BTCUSDT), empty_state(1))
        view.refill(past[1], 10**12)
        assert view.candles.series["1m"].last is None

    with_ledger(conninfo, scenario)


def test_it_waits_for_the_schema(conninfo: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def scenario() -> None:
        opening = asyncio.create_task(open_archive(conninfo))
        await asyncio.sleep(0.2)
        assert not opening.done()
        assert "waiting for version 5 of the ledger's schema, is 0" in caplog.text
        database = await Database.open(conninfo)
        archive = await asyncio.wait_for(opening, 5)
        await archive.close()
        with pytest.raises(ArchiveError):
            await archive.trades(1, 1, 10)
        await database.connection.close()

    asyncio.run(scenario())


def test_pages_of_trades(conninfo: str) -> None:
    run = engine_run()
    trades = run.trades(1)

    async def scenario(archive: Archive, database: Database) -> None:
        await database.take(run.happened)
        assert await archive.trades(1, 10, 5) == trades[9:14]
        assert await archive.trades(1, len(trades) + 1, 5) == []

    with_ledger(conninfo, scenario)


def test_an_aggregate_is_never_told_by_half(conninfo: str) -> None:
    run = engine_run()
    told = aggregate(run.trades(1))
    wide = next(one for one in told if one.last_id > one.first_id)

    async def scenario(archive: Archive, database: Database) -> None:
        await database.take(run.happened)
        times = {"start_ms": -1, "end_ms": -1, "before_id": 10**9, "limit": 1}
        for from_id in range(wide.first_id + 1, wide.last_id + 2):
            found, is_all = await archive.agg_trades(1, from_id=from_id, **times)
            assert found == [one for one in told if one.first_id > wide.last_id][:1]
            assert not is_all
        assert await archive.agg_trades(1, from_id=wide.first_id, **times) == ([wide], False)

    with_ledger(conninfo, scenario)
