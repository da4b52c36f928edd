"""Messages of venues, written after their public documents: read exactly, and refused when they are something else."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.price_feed.venues import BITSTAMP, COINBASE, KRAKEN, MESSAGE_BYTES_MAX, VENUES, Quote, Venue, VenueError

UNIT = 10**18
COINBASE_TICKER = (
    '{"type":"ticker","sequence":37475248783,"product_id":"BTC-USDT","price":"60000.015","best_bid":"60000.01",'
    '"best_bid_size":"0.46","best_ask":"60000.02","best_ask_size":"1.56","side":"buy"}'
)
KRAKEN_TICKER = (
    '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USDT","bid":60000.1,"bid_qty":0.5,"ask":60000.2,'
    '"ask_qty":2.0,"last":60000.1}]}'
)
BITSTAMP_BOOK = (
    '{"data":{"timestamp":"1700000000","microtimestamp":"1700000000000000","bids":[["60000","0.5"],["59999","1"]],'
    '"asks":[["60001","0.5"]]},"channel":"order_book_btcusdt","event":"data"}'
)
FIXTURES = ((COINBASE, COINBASE_TICKER), (KRAKEN, KRAKEN_TICKER), (BITSTAMP, BITSTAMP_BOOK))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def test_prices_are_read_exactly() -> None:
    assert COINBASE.read(COINBASE_TICKER) == [Quote("BTC-USDT", 6_000_001 * UNIT // 100, 6_000_002 * UNIT // 100)]
    assert KRAKEN.read(KRAKEN_TICKER) == [Quote("BTC/USDT", 600_001 * UNIT // 10, 600_002 * UNIT // 10)]
    assert BITSTAMP.read(BITSTAMP_BOOK.encode()) == [Quote("btcusdt", 60_000 * UNIT, 60_001 * UNIT)]


def test_a_number_that_no_float_holds_is_kept() -> None:
    message = KRAKEN_TICKER.replace("60000.1,", "60000.100000000000000001,", 1)
    assert KRAKEN.read(message)[0].bid == 60_000_100_000_000_000_000_001


@pytest.mark.parametrize(
    ("venue", "message"),
    [
        (COINBASE, '{"type":"subscriptions","channels":[]}'),
        (COINBASE, '{"type":"heartbeat","sequence":90}'),
        (KRAKEN, '{"channel":"heartbeat"}'),
        (KRAKEN, '{"method":"subscribe","success":true,"result":{"channel":"ticker"}}'),
        (BITSTAMP, '{"event":"bts:subscription_succeeded","channel":"order_book_btcusdt","data":{}}'),
    ],
)
def test_acknowledgements_and_signs_of_life_hold_no_quote(venue: Venue, message: str) -> None:
    assert venue.read(message) == []


@pytest.mark.parametrize(
    ("venue", "message", "text"),
    [
        (COINBASE, '{"type":"error","message":"x","reason":"BTC-XXX is not valid"}', "refused: 'BTC-XXX is not valid'"),
        (KRAKEN, '{"success":false,"error":"Currency pair not supported"}', "refused: 'Currency pair not supported'"),
        (BITSTAMP, '{"event":"bts:error","data":{"message":"Bad"}}', "refused"),
        (COINBASE, COINBASE_TICKER.replace("60000.01", "1e5"), "best_bid: must be a plain decimal number"),
        (COINBASE, COINBASE_TICKER.replace("60000.02", "59000"), "at most ask"),
        (KRAKEN, KRAKEN_TICKER.replace("60000.1,", "NaN,", 1), "bid"),
        (BITSTAMP, BITSTAMP_BOOK.replace('[["60001","0.5"]]', "[]"), "asks must have a level"),
        (BITSTAMP, "[" * 100_000, "not JSON"),
        (KRAKEN, " " * (MESSAGE_BYTES_MAX + 1), "at most 262144 bytes"),
    ],
)
def test_what_is_wrong_is_named(venue: Venue, message: str, text: str) -> None:
    with pytest.raises(VenueError, match=text) as raised:
        venue.read(message)
    assert str(raised.value).startswith(f"{venue.name}: ")


@given(venue=st.sampled_from(VENUES), message=st.binary(max_size=200) | st.text(max_size=200))
@example(venue=KRAKEN, message=b"\xff")
def test_garbage_is_refused_or_holds_nothing(venue: Venue, message: str | bytes) -> None:
    with contextlib.suppress(VenueError):
        assert venue.read(message) == []


@given(fixture=st.sampled_from(FIXTURES), data=st.data())
def test_any_field_may_be_wrong_and_only_a_venue_error_comes_of_it(
    fixture: tuple[Venue, str], data: st.DataObject
) -> None:
    venue, message = fixture
    body: Any = json.loads(message)
    part = body
    while True:
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        key = data.draw(st.sampled_from(keys))
        if not (isinstance(part[key], dict | list) and part[key] and data.draw(st.booleans())):
            break
        part = part[key]
    part[key] = data.draw(JSON)
    try:
        quotes = venue.read(json.dumps(body))
    except VenueError:
        return
    assert all(0 < quote.bid <= quote.ask for quote in quotes)


def test_each_venue_is_asked_for_its_own_names() -> None:
    for venue, name in ((COINBASE, "BTC-USDT"), (KRAKEN, "BTC/USDT"), (BITSTAMP, "btcusdt")):
        symbol = venue.symbol("BTC", "USDT")
        assert symbol == name
        assert all(symbol in message and json.loads(message) for message in venue.subscriptions([symbol]))
        assert venue.url.startswith("wss://")
