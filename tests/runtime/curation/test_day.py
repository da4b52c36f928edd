"""A day of trades, each once: duplicates, late and foreign ones, and what cannot be read."""

import random
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.curation.day import (
    BATCH_SCHEMA,
    COLUMNS,
    US_OF_DAY,
    Day,
    Input,
    Manifest,
    Part,
    UnreadableError,
    checked,
    day_number,
    may_hold,
    missing_days,
    read_manifest,
    run_of,
    shrinks,
)
from runtime.shared.glue_columns import columns
from runtime.shared.trade_records import TRADES_SCHEMA, TradeRecord

DAY = date(2026, 11, 20)
START_US = day_number(DAY) * US_OF_DAY


def trade(trade_id: int, market: int = 0, *, time_us: int = START_US, **changed: Any) -> dict[str, Any]:
    made = TradeRecord(
        market, f"M{market}", trade_id, 100 + trade_id, 7, trade_id % 2 == 0, 1, 2, 3, 4, 5, 6, time_us, trade_id
    )
    return msgspec.to_builtins(made) | changed


def batch(*trades: object, schema: str = BATCH_SCHEMA) -> dict[str, Any]:
    place = {"market": 0, "sequence": 1}
    return {"schema": schema, "group": "main", "first": place, "last": place, "trades": list(trades)}


def test_columns_and_schema_are_those_of_the_stream() -> None:
    assert columns(TradeRecord) == COLUMNS
    assert BATCH_SCHEMA == TRADES_SCHEMA


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=1), st.randoms(use_true_random=False))
def test_each_trade_is_there_once_in_order_however_it_came(ids: list[tuple[int, int]], chance: random.Random) -> None:
    day, twice = Day(DAY), ids + ids
    chance.shuffle(twice)
    for number, (market, trade_id) in enumerate(twice):
        day.add("a", number, batch(trade(trade_id, market)))
    found = [
        (market, trade_id, columns["price_ticks"][at], columns["buyer_is_maker"][at])
        for market, columns in day.markets()
        for at, trade_id in enumerate(columns["trade_id"])
    ]
    assert found == [(market, each, 100 + each, each % 2 == 0) for market, each in sorted(set(ids))]
    assert day.rows == len(set(ids))
    assert day.duplicates == len(twice) - len(set(ids))
    assert day.aside == []


def test_a_day_has_its_first_and_last_microsecond_and_tells_of_days_before() -> None:
    day = Day(DAY)
    last = START_US + US_OF_DAY - 1
    record = batch(
        trade(1, time_us=START_US - 1), trade(2), trade(3, time_us=last), trade(4, time_us=START_US + US_OF_DAY)
    )
    day.add("late.parquet", 0, record)
    ((_, found),) = day.markets()
    assert found["trade_id"] == [2, 3]
    assert day.earlier == {date(2026, 11, 19): {"late.parquet"}}


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ("text", "a record must be a batch of trades, was str"),
        (batch(trade(1), schema="bursa.trades.2"), "schema must be 'bursa.trades.1', was 'bursa.trades.2'"),
        (batch(), "trades must be a list of at least one, was []"),
        (batch("text"), "a trade must be a struct, was str"),
        (batch(trade(1, lots=0)), "lots must be an integer from 1, was 0"),
        (batch(trade(1, price_ticks=None)), "price_ticks must be an integer from 1, was None"),
        (batch(trade(1, price_ticks=1.5)), "price_ticks must be an integer from 1, was 1.5"),
        (batch(trade(1, buyer=True)), "buyer must be an integer from"),
        (batch(trade(1, symbol="")), "symbol must be a text, was ''"),
        (batch(trade(1, buyer_is_maker=1)), "buyer_is_maker must be true or false, was 1"),
        (batch(trade(1, buyer=2**63)), "buyer must be an integer from"),
    ],
)
def test_what_cannot_be_read_is_set_aside_with_where_it_was_and_why(record: Any, why: str) -> None:
    day = Day(DAY)
    day.add("some.parquet", 4, record)
    (aside,) = day.aside
    assert (aside.source, aside.number) == ("some.parquet", 4)
    assert aside.why.startswith(why)
    assert day.rows == 0
    assert msgspec.json.decode(aside.line())["why"] == aside.why


def test_the_good_trades_of_a_record_stay_beside_a_bad_one() -> None:
    day = Day(DAY)
    day.add("a", 0, batch(trade(1), trade(2, lots=-1), trade(3)))
    assert day.rows == 2
    assert len(day.aside) == 1


def test_another_trade_under_a_known_id_takes_nobodys_place() -> None:
    day = Day(DAY)
    day.add("a", 0, batch(trade(1)))
    day.add("b", 0, batch(trade(1, lots=8)))
    day.add("c", 0, batch(trade(2, symbol="OTHER")))
    ((_, found),) = day.markets()
    assert found["lots"] == [7]
    assert [each.source for each in day.aside] == ["b", "c"]
    assert day.duplicates == 0


def test_a_run_is_named_by_its_inputs_in_any_order() -> None:
    one, two = Input("a", "x", 1), Input("b", "y", 2)
    assert run_of([one, two]) == run_of([two, one, one])
    names = {run_of([one]), run_of([one, two]), run_of([Input("a", "z", 1)]), run_of([Input("a", "x", 2)]), run_of([])}
    assert len(names) == 5


def test_missing_days_are_made_up_for_oldest_first_within_bounds() -> None:
    today = date(2026, 11, 21)
    assert missing_days(today, [DAY], date(2026, 11, 17)) == [date(2026, 11, d) for d in (17, 18, 19)]
    assert missing_days(today, [], date(2020, 1, 1)) == [date(2026, 11, d) for d in range(14, 21)]
    assert missing_days(today, [], today) == []


def test_what_was_written_before_the_day_began_holds_none_of_it() -> None:
    before, at = datetime(2026, 11, 19, 23, 59, 59, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)
    assert not may_hold(DAY, date(2026, 11, 19), before)
    assert may_hold(DAY, date(2026, 11, 19), at)
    assert may_hold(DAY, DAY, before)


def manifest(rows: int, *keys: str) -> Manifest:
    inputs = tuple(Input(key, "e", 1) for key in keys)
    parts = (Part(0, "M0", "k", rows, 1, rows + 2, "s"),) if rows else ()
    return Manifest(DAY, run_of(inputs), inputs, parts, 0, 0)


def test_a_manifest_reads_back_and_tells_ids_without_a_trade() -> None:
    made = manifest(3, "a")
    assert read_manifest(made.to_json()) == made
    assert made.missing == 2
    with pytest.raises(UnreadableError, match="schema of a manifest"):
        read_manifest(b'{"schema": "other"}')


def test_a_day_only_grows() -> None:
    assert not shrinks(manifest(3, "a"), None)
    assert not shrinks(manifest(4, "a", "b"), manifest(3, "a"))
    assert shrinks(manifest(2, "a", "b"), manifest(3, "a"))
    assert shrinks(manifest(3, "b"), manifest(3, "a"))


def test_a_flag_is_no_number_and_a_number_no_flag() -> None:
    with pytest.raises(UnreadableError, match="market must be an integer from 0, was True"):
        checked(trade(1) | {"market": True})
