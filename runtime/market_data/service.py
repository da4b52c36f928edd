"""Market data, running: events and time in; payloads out to the gateways that asked for them, encoded once for all.

Everything here is synchronous and takes the time as an argument; sockets, clocks and tasks are in `main`.
"""

import logging
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from runtime.market_data import payloads
from runtime.market_data.book_builder import Diff
from runtime.market_data.links import GatewayLink, encode_published
from runtime.market_data.market import MarketView
from runtime.market_data.subjects import FAST, LIVE, SLOW, Subject, subject_of
from runtime.market_data.trades import Trade
from runtime.shared.market_messages import INTERVALS, Followed
from runtime.shared.messages import Happened, LevelChanged, Traded
from runtime.shared.stream_names import StreamName, UnknownStreamError, parse_stream
from runtime.shared.trade_records import TradeRecord, record

logger = logging.getLogger(__name__)

SETTLE_MS: Final = 250
"""A candle closes this long after its time, unless the engine's own time shows earlier that no trade can come."""
STREAMS_MAX: Final = 100_000
"""Streams that one gateway may follow."""


@dataclass(slots=True)
class Topic:
    """A stream that someone follows. `told` is how each market's subject looked when it was told last."""

    name: str
    stream: StreamName
    subject: Subject | None
    markets: list[MarketView]
    links: dict[GatewayLink, None] = field(default_factory=dict)
    told: dict[str, Hashable] = field(default_factory=dict)

    def tell(self, markets: list[MarketView], now_ms: int) -> bytes:
        """Return the states of `markets`; nothing when there are none."""
        assert self.subject
        tell = self.subject.tell
        bodies = [body for market in markets if (body := tell(market, now_ms))]
        if not bodies or self.stream.symbol:
            return b"".join(bodies)
        return payloads.array_of(bodies)


class MarketData:
    """All markets, and who follows what."""

    def __init__(self, markets: Iterable[MarketView]) -> None:
        """Start with nobody following."""
        self.markets: Final[Mapping[str, MarketView]] = {market.instrument.symbol: market for market in markets}
        self.sequence = 0
        self._by_id: Final = {market.instrument.market_id: market for market in self.markets.values()}
        self._topics: Final[dict[str, Topic]] = {}
        self._states: Final[dict[int, dict[str, Topic]]] = {LIVE: {}, FAST: {}, SLOW: {}}
        """Topics that tell states, by cadence."""
        self._dirty: Final[dict[GatewayLink, None]] = {}
        self._links: Final[dict[GatewayLink, None]] = {}
        self._engine_ms = 0
        self._second = 0

    # ---- gateways ----------------------------------------------------------------------------------------------

    def join(self, link: GatewayLink) -> None:
        """Take a new gateway."""
        self._links[link] = None

    def leave(self, link: GatewayLink) -> None:
        """Forget a gateway and what it followed."""
        self.unfollow(link, list(link.streams))
        self._links.pop(link, None)
        self._dirty.pop(link, None)

    @property
    def links(self) -> int:
        """Number of gateways."""
        return len(self._links)

    def follow(self, link: GatewayLink, names: list[str], now_ms: int) -> None:
        """Publish `names` to `link` from now on, say so, and tell it the present state where a stream tells states."""
        followed: list[str] = []
        for name in names:
            try:
                stream = parse_stream(name, self.markets.keys())
            except UnknownStreamError as error:
                logger.warning("gateway %s: %s", link.name, error)
                continue
            if len(link.streams) >= STREAMS_MAX:
                logger.warning("gateway %s follows %d streams; no more are taken", link.name, STREAMS_MAX)
                break
            topic = self._topics.get(name) or self._open(name, stream)
            topic.links[link] = None
            link.streams[name] = None
            followed.append(name)
        link.tell(Followed(followed))
        for name in followed:
            self._tell_state(self._topics[name], link, now_ms)
        link.flush()

    def unfollow(self, link: GatewayLink, names: list[str]) -> None:
        """Stop publishing `names` to `link`."""
        for name in names:
            link.streams.pop(name, None)
            topic = self._topics.get(name)
            if topic:
                topic.links.pop(link, None)
                if not topic.links:
                    self._close(topic)

    def _open(self, name: str, stream: StreamName) -> Topic:
        markets = [self.markets[stream.symbol]] if stream.symbol else list(self.markets.values())
        topic = self._topics[name] = Topic(name, stream, subject_of(stream), markets)
        if topic.subject:
            self._states[topic.subject.cadence_ms][name] = topic
        return topic

    def _close(self, topic: Topic) -> None:
        del self._topics[topic.name]
        if topic.subject:
            del self._states[topic.subject.cadence_ms][topic.name]

    def _tell_state(self, topic: Topic, link: GatewayLink, now_ms: int) -> None:
        """Tell one new follower how things stand. Whoever else follows hears of it at the usual pace."""
        if topic.subject is None:
            return
        for market in topic.markets:
            symbol = market.instrument.symbol
            looks = topic.subject.look(market, now_ms)
            if len(topic.links) == 1:
                topic.told[symbol] = looks
            elif topic.told.get(symbol) != looks:
                topic.told.pop(symbol, None)  # some were told this, some were not: have it told to all
        payload = topic.tell(topic.markets, now_ms)
        if payload:
            link.publish(encode_published(topic.name, payload))

    # ---- the engine's events -----------------------------------------------------------------------------------

    def on_feed(self, batch: list[Happened]) -> list[TradeRecord]:
        """Follow the engine by some commands; return the trades among their events.

        Raises GapError when something is missing: then everything must be built anew.
        """
        records: list[TradeRecord] = []
        for happened in batch:
            trades: dict[int, list[Traded]] = {}
            for event in happened.events:
                if isinstance(event, LevelChanged):
                    if event.market in self._by_id:
                        self._by_id[event.market].book.apply(event)
                elif isinstance(event, Traded):
                    trades.setdefault(event.market, []).append(event)
            for market_id, traded in trades.items():
                if market_id in self._by_id:
                    market = self._by_id[market_id]
                    self._on_trades(market, traded, happened)
                    symbol = market.instrument.symbol
                    records += [record(symbol, trade, happened.sequence, happened.time_us) for trade in traded]
        self.sequence = batch[-1].sequence
        self._engine_ms = max(self._engine_ms, batch[-1].time_us // 1000)
        return records

    def _on_trades(self, market: MarketView, traded: list[Traded], happened: Happened) -> None:
        """Take all trades of one command in one market."""
        time_ms = happened.time_us // 1000
        trades = [
            Trade(event.trade_id, event.price, event.lots, time_ms, event.buyer_is_maker, happened.sequence)
            for event in traded
        ]
        aggregates = market.traded(trades)
        instrument = market.instrument
        if topic := self._topics.get(f"{instrument.stream_prefix}trade"):
            for trade in trades:
                self._publish(topic, payloads.trade_event(instrument, trade))
        if topic := self._topics.get(f"{instrument.stream_prefix}aggTrade"):
            for aggregate in aggregates:
                self._publish(topic, payloads.agg_trade_event(instrument, aggregate))

    # ---- time ----------------------------------------------------------------------------------------------------

    def publish_live(self, now_ms: int) -> None:
        """After a batch of events: tell what is told at once, and send."""
        self._publish_states(LIVE, now_ms)
        self._flush()

    def on_tick(self, now_ms: int) -> None:
        """Every 100 ms: tell what is told at that pace, and once a second what is told at that."""
        for market in self.markets.values():
            diff = market.book.take_fast()
            if diff:
                self._publish_diff(market, ("depth@100ms",), diff, now_ms)
        self._publish_states(FAST, now_ms)
        second = max(self._engine_ms, now_ms - SETTLE_MS) // 1000
        if second > self._second:
            self._second = second
            self._on_second(now_ms)
        self._flush()
        for link in self._links:
            link.recover()

    def _on_second(self, now_ms: int) -> None:
        settled_ms = self._second * 1000
        for market in self.markets.values():
            diff = market.book.take_slow()
            if diff:
                self._publish_diff(market, ("depth", "depth@1000ms"), diff, now_ms)
            market.advance(settled_ms)
            for interval in INTERVALS:
                self._publish_closed(market, interval, now_ms)
        self._publish_states(SLOW, now_ms)

    def _publish_diff(self, market: MarketView, subjects: tuple[str, ...], diff: Diff, now_ms: int) -> None:
        payload = b""
        for subject in subjects:
            topic = self._topics.get(market.instrument.stream_prefix + subject)
            if topic:
                payload = payload or payloads.depth_event(market.instrument, diff, now_ms)
                self._publish(topic, payload)

    def _publish_closed(self, market: MarketView, interval: str, now_ms: int) -> None:
        closed = market.candles.series[interval].take_closed()
        if not closed:
            return
        topic = self._topics.get(f"{market.instrument.stream_prefix}kline_{interval}")
        if topic:
            for candle in closed:
                self._publish(topic, payloads.kline_event(market.instrument, interval, candle, now_ms, is_closed=True))

    def _publish_states(self, cadence_ms: int, now_ms: int) -> None:
        """Tell the states of this cadence that look different from when they were told last."""
        for topic in self._states[cadence_ms].values():
            assert topic.subject
            changed: list[MarketView] = []
            for market in topic.markets:
                symbol = market.instrument.symbol
                looks = topic.subject.look(market, now_ms)
                if looks != topic.told.get(symbol):
                    topic.told[symbol] = looks
                    changed.append(market)
            if changed and (payload := topic.tell(changed, now_ms)):
                self._publish(topic, payload)

    # ---- sending -----------------------------------------------------------------------------------------------

    def _publish(self, topic: Topic, payload: bytes) -> None:
        element = encode_published(topic.name, payload)
        for link in topic.links:
            link.publish(element)
            self._dirty[link] = None

    def _flush(self) -> None:
        for link in self._dirty:
            link.flush()
        self._dirty.clear()
