"""Quotes are the engine's own best levels, second by second, however the feed is cut."""

from runtime.engine.engine import Engine
from runtime.ledger.quotes import SECOND_US, QuoteRow, Quotes
from runtime.shared.messages import BUY, SELL, Happened
from tests.runtime.engine.flows import opening, random_commands
from tests.runtime.market_data.events import state


def _run(count: int, step_us: int) -> tuple[Engine, list[Happened], dict[tuple[int, int], QuoteRow]]:
    """An engine that took random commands, what happened, and what its books were like after each second."""
    engine = Engine()
    happened: list[Happened] = []
    seen: dict[tuple[int, int], QuoteRow] = {}
    for command in (*opening(), *random_commands(3, count)):
        sequence = len(happened) + 1
        time_us = 1_700_000_000 * SECOND_US + sequence * step_us
        _, events = engine.apply(sequence, time_us, command)
        happened.append(Happened(sequence, time_us, events))
        second_us = time_us // SECOND_US * SECOND_US
        for market in engine.markets.values():
            bid, ask = (next(iter(market.book.levels(side, 1)), (0, 0)) for side in (BUY, SELL))
            seen[market.spec.id, second_us] = QuoteRow(market.spec.id, second_us, *bid, *ask)
    return engine, happened, seen


def _held(rows: list[QuoteRow], seconds: list[tuple[int, int]]) -> list[tuple[int, ...]]:
    """What `rows` say of each market and second: a row holds until the next."""
    found = []
    for market, second_us in seconds:
        past = [row for row in rows if row.market == market and row.second_us <= second_us]
        found.append(max(past, key=lambda row: row.second_us)[2:] if past else (0, 0, 0, 0))
    return found


def test_a_row_says_how_the_second_ended_and_holds_until_the_next() -> None:
    _, happened, seen = _run(600, 230_000)
    rows = Quotes(0).follow(happened)
    assert len(rows) == len({row[:2] for row in rows}), "one a second and market"
    assert 100 < len(rows) < len(seen)
    assert _held(rows, list(seen)) == [row[2:] for row in seen.values()]


def test_nothing_is_written_of_what_does_not_move_the_best() -> None:
    _, happened, _ = _run(600, 2 * SECOND_US)
    rows = Quotes(0).follow(happened)
    last: dict[int, tuple[int, ...]] = {}
    for row in rows:
        assert last.get(row.market) != row[2:]
        last[row.market] = row[2:]


def test_what_was_not_written_comes_again_and_what_was_followed_is_not_followed_twice() -> None:
    _, happened, _ = _run(200, 300_000)
    whole = Quotes(0).follow(happened)
    quotes = Quotes(0)
    lost = quotes.follow(happened[:150])
    assert quotes.follow(happened[100:150]) == lost
    assert quotes.follow(happened[100:]) == whole
    quotes.written()
    assert quotes.follow(happened[100:]) == []


def test_books_from_the_engine_are_quoted_once_the_feed_is_level_with_them() -> None:
    engine, happened, _ = _run(400, SECOND_US)
    whole = Quotes(0).follow(happened)
    cut = 300
    ahead, _, _ = _run(cut - len(list(opening())), SECOND_US)
    states = [state(ahead, market) for market in ahead.markets]
    quotes = Quotes(200, states, cut)
    assert quotes.follow(happened[200 : cut - 1]) == [], "the books are newer"
    at_us = happened[cut - 1].time_us
    level = quotes.follow(happened[cut - 1 : cut])
    assert {row.market for row in level} == set(engine.markets)
    assert {row.second_us for row in level} == {at_us}
    assert [row[2:] for row in level] == _held(whole, [row[:2] for row in level])
    quotes.written()
    assert quotes.follow(happened[cut:]) == [row for row in whole if row.second_us > at_us]
