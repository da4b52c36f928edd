"""One venue that lies moves nothing, what is old is not used, and a price that ends is taken away."""

from hypothesis import given
from hypothesis import strategies as st

from config.markets import CATALOGUE
from runtime.price_feed.reference import (
    DISAGREE,
    OUT_OF_RANGE,
    TOO_FEW,
    Agreed,
    MarketPrice,
    NoPrice,
    Rules,
    Sighting,
    agree,
)
from runtime.price_feed.venues import BITSTAMP, COINBASE, KRAKEN, VENUES, Quote
from runtime.shared.catalogue import PPM
from runtime.shared.messages import SetReferencePrice

MARKET = CATALOGUE.market_by_symbol["BTCUSDT"]
TICK = 10**16
NOW = 1_800_000_000_000_000
RULES = Rules()
PRICES = st.integers(min_value=1, max_value=10_000_000)


def seen(ticks: int, age_us: int = 0) -> Sighting:
    return Sighting(Quote("BTC", ticks * TICK, ticks * TICK), NOW - age_us)


def named(*sightings: Sighting) -> dict[str, Sighting]:
    return {f"venue-{number}": sighting for number, sighting in enumerate(sightings)}


@given(
    center=st.integers(min_value=10_000, max_value=10_000_000),
    apart_ppm=st.lists(st.integers(min_value=-4_000, max_value=4_000), min_size=2, max_size=7),
    lie_ppm=st.integers(min_value=-30_000, max_value=30_000) | st.integers(min_value=30_000, max_value=10**20),
)
def test_one_lying_venue_never_moves_the_price_beyond_the_honest_ones(
    center: int, apart_ppm: list[int], lie_ppm: int
) -> None:
    honest = [center * (PPM + apart) // PPM for apart in apart_ppm]
    outcome = agree(named(*map(seen, honest), seen(center * (PPM + lie_ppm) // PPM)), MARKET, NOW, RULES)
    if isinstance(outcome, Agreed):
        assert min(honest) <= outcome.ticks <= max(honest)


@given(center=st.integers(min_value=10_000, max_value=10_000_000), lie=st.integers(min_value=1, max_value=10**30))
def test_one_lying_venue_cannot_stop_the_price_of_two_that_agree(center: int, lie: int) -> None:
    outcome = agree(named(seen(center), seen(center), seen(lie)), MARKET, NOW, RULES)
    assert isinstance(outcome, Agreed)
    assert outcome.ticks == center
    assert outcome.outliers == (("venue-2",) if abs(lie - center) * 100 > center else ())


@given(
    fresh=st.lists(PRICES, max_size=4),
    old=st.lists(st.tuples(PRICES, st.integers(1, 10**12) | st.integers(-(10**12), -1)), max_size=4),
)
def test_what_is_old_or_from_the_future_is_as_if_never_seen(fresh: list[int], old: list[tuple[int, int]]) -> None:
    aged = [seen(ticks, RULES.stale_us + age if age > 0 else age) for ticks, age in old]
    now = named(*map(seen, fresh))
    later = {f"old-{number}": sighting for number, sighting in enumerate(aged)}
    assert agree(now | later, MARKET, NOW, RULES) == agree(now, MARKET, NOW, RULES)


def test_too_few_or_two_that_differ_are_no_price() -> None:
    assert agree(named(seen(100)), MARKET, NOW, RULES) == NoPrice(TOO_FEW)
    assert agree(named(seen(100), seen(100, RULES.stale_us + 1)), MARKET, NOW, RULES) == NoPrice(TOO_FEW)
    apart = agree(named(seen(100_000), seen(110_000)), MARKET, NOW, RULES)
    assert apart == NoPrice(DISAGREE, ("venue-0", "venue-1"))


def test_the_bounds_belong_to_what_they_bound() -> None:
    assert agree(named(seen(99_000), seen(101_000)), MARKET, NOW, RULES) == Agreed(100_000, ())
    at_the_end = named(seen(100, RULES.stale_us), seen(100, RULES.stale_us))
    assert agree(at_the_end, MARKET, NOW, RULES) == Agreed(100, ())
    most = MARKET.ticks(MARKET.max_price)
    assert agree(named(seen(most), seen(most)), MARKET, NOW, RULES) == Agreed(most, ())
    assert agree(named(seen(most + 1), seen(most + 1)), MARKET, NOW, RULES) == NoPrice(OUT_OF_RANGE)


def test_the_mid_is_rounded_to_the_nearest_tick() -> None:
    third = Sighting(Quote("BTC", 100 * TICK + TICK // 3, 100 * TICK + TICK // 3), NOW)
    assert agree(named(third, third), MARKET, NOW, RULES) == Agreed(100, ())
    half = Sighting(Quote("BTC", 100 * TICK, 101 * TICK), NOW)
    assert agree(named(half, half), MARKET, NOW, RULES) == Agreed(101, ())


def feed_of(ticks: int, at_us: int = NOW) -> MarketPrice:
    price = MarketPrice(MARKET, RULES)
    for venue in VENUES:
        price.see(venue, Quote(venue.symbol("BTC", "USDT"), ticks * TICK, ticks * TICK), at_us)
    return price


def test_a_price_is_told_again_but_not_more_often_than_allowed() -> None:
    price = feed_of(100)
    told = [at for at in range(0, 5_000_000, 50_000) if price.tell(NOW + at)[0] is not None]
    assert told == [0, 1_000_000, 2_000_000, 3_000_000, 4_000_000]


def test_a_price_that_ends_is_taken_away_at_once_and_announced_once() -> None:
    price = feed_of(100)
    assert price.tell(NOW) == (SetReferencePrice(MARKET.id, 100), None)
    price.forget(COINBASE)
    price.forget(KRAKEN)
    command, event = price.tell(NOW + 1)
    assert command == SetReferencePrice(MARKET.id, 0)
    assert event is not None
    assert (event.symbol, event.reason) == ("BTCUSDT", TOO_FEW)
    assert price.tell(NOW + 2) == (None, None)
    later = NOW + RULES.every_us
    price.see(COINBASE, Quote("BTC-USDT", 100 * TICK, 100 * TICK), later)
    assert price.tell(later) == (SetReferencePrice(MARKET.id, 100), None)
    price.forget(BITSTAMP)
    assert price.tell(later + 1)[1] is not None


def test_quotes_of_other_markets_are_not_taken() -> None:
    price = MarketPrice(MARKET, RULES)
    for venue in VENUES:
        price.see(venue, Quote(venue.symbol("ETH", "USDT"), TICK, TICK), NOW)
    command, event = price.tell(NOW)
    assert command == SetReferencePrice(MARKET.id, 0)
    assert event is not None
