"""What the real engine makes of random commands, and other material for tests of market data."""

import random
from functools import lru_cache

from hypothesis import Phase, settings
from hypothesis import strategies as st

from config.markets import CATALOGUE
from runtime.engine.engine import Engine
from runtime.market_data.market import MarketView
from runtime.market_data.payloads import Instrument
from runtime.market_data.trades import Trade
from runtime.shared.messages import BUY, SELL, TRADING, Happened, LevelChanged, MarketState, Traded
from tests.runtime.engine.flows import opening, random_commands

BTCUSDT = CATALOGUE.markets[0]
SEEDED = settings(max_examples=20, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
"""For tests by seeds, which do not shrink."""
START_MS = 1_700_000_000_000  # a Tuesday, 22:13:20


def deal(trade_id: int, price: int, lots: int, *, ms: int = START_MS, maker: bool = False, sequence: int = 1) -> Trade:
    """One trade; `maker` says that the buyer was the maker."""
    return Trade(trade_id, price, lots, ms, maker, sequence)


def levels(engine: Engine, market: int, side: int) -> list[tuple[int, int]]:
    """The engine's own book, best first, summed from its orders."""
    sums: dict[int, int] = {}
    known = engine.markets.get(market)
    for order in known.book.orders.values() if known else ():
        if order.side == side:
            sums[order.price] = sums.get(order.price, 0) + order.remaining
    return sorted(sums.items(), reverse=side == BUY)


def state(engine: Engine, market: int) -> MarketState:
    """What the engine answers to AskMarket."""
    known = engine.markets[market]
    return MarketState(
        market,
        known.status,
        known.update_id,
        known.last_trade_id,
        known.last_price,
        levels(engine, market, BUY),
        levels(engine, market, SELL),
    )


def empty_state(market: int) -> MarketState:
    return MarketState(market, TRADING, 0, 0, 0, [], [])


def empty_views() -> list[MarketView]:
    return [MarketView(Instrument(market), empty_state(market.id)) for market in CATALOGUE.markets]


class EngineRun:
    """An engine that is fed random commands, and what happened."""

    def __init__(self, seed: int, count: int, pause_ms_max: int = 900) -> None:
        draw = random.Random(seed)
        self.engine = Engine()
        self.happened: list[Happened] = []
        time_us = START_MS * 1000
        for command in (*opening(), *random_commands(seed, count)):
            time_us += draw.randrange(pause_ms_max * 1000)
            sequence = len(self.happened) + 1
            _, events = self.engine.apply(sequence, time_us, command)
            self.happened.append(Happened(sequence, time_us, events))

    def trades(self, market: int) -> list[Trade]:
        return [
            Trade(e.trade_id, e.price, e.lots, h.time_us // 1000, e.buyer_is_maker, h.sequence)
            for h in self.happened
            for e in h.events
            if isinstance(e, Traded) and e.market == market
        ]

    def level_changes(self, market: int) -> list[LevelChanged]:
        return [e for h in self.happened for e in h.events if isinstance(e, LevelChanged) and e.market == market]


@lru_cache(8)
def engine_run(seed: int = 7, count: int = 1_500) -> EngineRun:
    """A run shared by tests that only read it."""
    return EngineRun(seed, count)


@st.composite
def tapes(draw: st.DrawFn, pause_ms_max: int = 200_000) -> list[Trade]:
    """Trades at growing times, several to a command now and then."""
    trades: list[Trade] = []
    time_ms = START_MS
    sequence = 0
    for number in range(1, draw(st.integers(0, 60)) + 1):
        if not trades or draw(st.booleans()):
            sequence += 1
            time_ms += draw(st.integers(0, pause_ms_max))
        price = draw(st.integers(95, 105))
        trades.append(Trade(number, price, draw(st.integers(1, 9)), time_ms, draw(st.booleans()), sequence))
    return trades
