"""The synthesis of orders from a feed, and the reading of feeds; the replay itself runs in tests/integ."""

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.markets import CATALOGUE
from local.replay.feed import DepthDiff, FeedError, Top, Trade, read_feed
from local.replay.synthesis import OwnOrder, Synthesis
from runtime.shared.messages import BUY, SELL

MARKET = CATALOGUE.market_by_symbol["BTCUSDT"]
BASE = CATALOGUE.asset("BTC")
LINE = b'1 {"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT","p":"61685.99","q":"0.5","m":true}}\n'


def synthesis() -> Synthesis:
    return Synthesis(MARKET, BASE, "t")


def apply(state: Synthesis, resting: dict[str, OwnOrder], diff: DepthDiff) -> None:
    actions = state.follow(diff)
    for order in actions.cancels:
        del resting[order.client_order_id]
        state.gone(order)
    for order in actions.places:
        if state.is_worth_an_order(order.price, order.lots):
            assert order.client_order_id not in resting
            resting[order.client_order_id] = order
            state.placed(order)


def totals(resting: dict[str, OwnOrder]) -> dict[tuple[int, int], int]:
    sums: dict[tuple[int, int], int] = {}
    for order in resting.values():
        sums[(order.side, order.price)] = sums.get((order.side, order.price), 0) + order.lots
    return sums


LEVEL = st.tuples(
    st.sampled_from(("60000.00", "60000.01")), st.sampled_from(("0", "0.00001", "0.0001", "0.00012", "0.5", "1.23456"))
)


@settings(max_examples=200, deadline=None)
@given(st.lists(LEVEL, min_size=1, max_size=25))
def test_levels_end_at_the_recorded_quantity_wherever_an_order_can_say_it(levels: list[tuple[str, str]]) -> None:
    state, resting = synthesis(), {}
    for number, level in enumerate(levels):
        apply(state, resting, DepthDiff(number, number, [level], []))
        price, wanted = MARKET.ticks(level[0]), state.lots(level[1])
        ours = totals(resting).get((BUY, price), 0)
        assert ours == (wanted if state.is_worth_an_order(price, wanted) else 0)


def test_cancels_the_newest_and_merges_what_is_too_small() -> None:
    state, resting = synthesis(), {}
    for quantity in ("0.1", "0.2", "0.3"):
        apply(state, resting, DepthDiff(1, 1, [("60000", quantity)], []))
    assert [order.lots for order in resting.values()] == [10_000, 10_000, 10_000]
    apply(state, resting, DepthDiff(1, 1, [("60000", "0.20001")], []))  # 0.00001 BTC is worth 0.60 USDT only
    assert [order.lots for order in resting.values()] == [10_000, 10_001]


def test_fills_reduce_the_oldest_first() -> None:
    state, resting = synthesis(), {}
    for quantity in ("0.1", "0.2"):
        apply(state, resting, DepthDiff(1, 1, [], [("60000", quantity)]))
    assert state.taker(Trade("60000", "0.15", buyer_is_maker=False)) == (BUY, 6_000_000, 15_000)
    state.filled(SELL, 6_000_000, 15_000)
    apply(state, resting, DepthDiff(1, 1, [], [("60000", "0")]))
    assert [(order.client_order_id, order.lots) for order in resting.values()] == [("replay-t-1", 0)]  # gone already


def test_reads_its_own_symbol_and_passes_over_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "feed.gz"
    other = LINE.replace(b"btcusdt", b"ethusdt")
    path.write_bytes(gzip.compress(other + LINE + LINE.replace(b"@trade", b"@kline_1m")))
    assert list(read_feed(path, "BTCUSDT")) == [Trade("61685.99", "0.5", buyer_is_maker=True)]


def _zipped(text: bytes) -> bytes:
    """Return the same bytes in every process: they are part of a test's name."""
    return gzip.compress(text, mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not gzip", "not a readable gzip"),
        (_zipped(LINE * 3)[:-9], "not a readable gzip"),
        (_zipped(LINE + b"hello\n"), "line 2: a line starts with local nanoseconds"),
        (_zipped(LINE + b"1 {]\n"), "line 2"),
        (_zipped(LINE.replace(b'"p":"61685.99",', b"")), "line 1: Object missing required field `p`"),
        (_zipped(LINE.replace(b"btcusdt", b"ethusdt")), "none of them"),
        (_zipped(b""), "0 lines"),
    ],
)
def test_a_bad_feed_is_named_with_file_and_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "feed.gz"
    path.write_bytes(content)
    with pytest.raises(FeedError, match=message) as refusal:
        list(read_feed(path, "BTCUSDT"))
    assert str(path) in str(refusal.value)


def test_a_missing_feed_is_named() -> None:
    with pytest.raises(FeedError, match=r"/no/such/feed\.gz"):
        list(read_feed(Path("/no/such/feed.gz"), "BTCUSDT"))


@pytest.mark.skipif("BURSA_FEED" not in os.environ, reason="BURSA_FEED names no recorded feed")
def test_the_recorded_feed_is_followed_by_a_perfect_exchange() -> None:
    state, resting = synthesis(), {}
    tops: list[Top] = []
    compared = tracked = 0
    for record in read_feed(Path(os.environ["BURSA_FEED"]), "BTCUSDT"):
        if isinstance(record, Top):
            tops.append(record)
        elif isinstance(record, DepthDiff):
            apply(state, resting, record)
            while len(tops) > 1 and tops[1].update_id <= record.last:
                tops.pop(0)
            if not tops or tops[0].update_id > record.last:
                continue
            compared += 1
            bids = [price for side, price in totals(resting) if side == BUY]
            asks = [price for side, price in totals(resting) if side == SELL]
            ours = max(bids, default=0), min(asks, default=0)
            tracked += ours == (MARKET.ticks(tops[0].bid), MARKET.ticks(tops[0].ask))
    assert compared > 1_000
    assert tracked / compared >= 0.99
