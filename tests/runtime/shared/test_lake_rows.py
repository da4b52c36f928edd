"""A record of the stream fills every column of its table with a value of the declared type, and metrics add up.

Firehose turns the record into Parquet by the table in the catalogue: a field that is missing there, or of another
type, is lost without a word. So the very bytes that are published are held against the very columns of the template.
"""

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from runtime.shared.glue_columns import columns, hive_type
from runtime.shared.messages import Traded
from runtime.shared.trade_metrics import DIMENSIONS, METRICS, daily_query
from runtime.shared.trade_records import TradeBatch, TradeRecord, encode_batch, record

BIGINT_MAX = 2**63 - 1
_STRUCT = re.compile(r"struct<(.*)>")
_ARRAY = re.compile(r"array<(.*)>")


def parts(text: str) -> list[str]:
    """Split the fields of a struct at its own commas."""
    found, depth, start = [], 0, 0
    for place, sign in enumerate(text):
        depth += {"<": 1, ">": -1}.get(sign, 0)
        if sign == "," and depth == 0:
            found.append(text[start:place])
            start = place + 1
    return [*found, text[start:]]


def problems(kind: str, value: Any, path: str = "row") -> Iterator[str]:
    """Yield how `value`, as decoded from JSON, is not of the Hive type `kind`: every field there, and no other."""
    if struct := _STRUCT.fullmatch(kind):
        fields = dict(each.split(":", 1) for each in parts(struct[1]))
        if not isinstance(value, dict) or value.keys() != fields.keys():
            yield f"{path}: fields must be {', '.join(fields)}, were {value}"
            return
        for name, inner in fields.items():
            yield from problems(inner, value[name], f"{path}.{name}")
    elif array := _ARRAY.fullmatch(kind):
        if not isinstance(value, list) or not value:
            yield f"{path}: must be a list with something in it, was {value}"
            return
        for number, each in enumerate(value):
            yield from problems(array[1], each, f"{path}[{number}]")
    else:
        allowed = {"bigint": int, "string": str, "boolean": bool}[kind]
        if type(value) is not allowed or (allowed is int and abs(value) > BIGINT_MAX):
            yield f"{path}: must be {kind}, was {value!r}"


def row_problems(row: dict[str, Any], table_columns: Mapping[str, str] | None = None) -> list[str]:
    declared = columns(TradeBatch) if table_columns is None else table_columns
    table = f"struct<{','.join(f'{name}:{kind}' for name, kind in declared.items())}>"
    return list(problems(table, row))


def published() -> dict[str, Any]:
    """Return a record of the stream, made from an event of the engine."""
    traded = Traded(
        market=1,
        trade_id=7,
        price=65_000_00,
        lots=BIGINT_MAX // 2,
        buyer_is_maker=True,
        buy_order_id=11,
        sell_order_id=12,
        buyer=1000,
        seller=1001,
        buyer_fee=3,
        seller_fee=4,
        buyer_fee_asset=2,
        seller_fee_asset=-1,
    )
    row: dict[str, Any] = json.loads(encode_batch("main", [record("BTCUSDT", traded, 99, 1_790_000_000_000_000)]))
    return row


def test_a_published_trade_fills_every_column_with_its_type() -> None:
    row = published()
    assert row_problems(row) == []
    (trade,) = row["trades"]
    assert len({trade[name] for name in ("buyer", "seller", "buyer_fee", "seller_fee", "buy_order_id")}) == 5
    assert (trade["price_ticks"], trade["time_us"], trade["sequence"]) == (65_000_00, 1_790_000_000_000_000, 99)


@pytest.mark.parametrize("name", list(columns(TradeRecord)))
def test_mutant_a_field_that_is_renamed_or_of_another_type_is_seen(name: str) -> None:
    renamed, typed = published(), published()
    renamed["trades"][0][name + "_"] = renamed["trades"][0].pop(name)
    typed["trades"][0][name] = [typed["trades"][0][name]]
    assert "fields must be" in row_problems(renamed)[0]
    assert row_problems(typed)[0].startswith(f"row.trades[0].{name}: must be {columns(TradeRecord)[name]}")


def test_a_number_that_a_column_cannot_hold_is_seen() -> None:
    row = published()
    row["trades"][0]["lots"] = 2**63
    assert row_problems(row) == [f"row.trades[0].lots: must be bigint, was {2**63}"]


def test_every_column_has_a_hive_type() -> None:
    assert hive_type(list[TradeRecord]) == f"array<{hive_type(TradeRecord)}>"
    assert set(columns(TradeRecord).values()) == {"bigint", "string", "boolean"}


@pytest.fixture
def answers() -> dict[tuple[Any, Any], dict[str, Any]]:
    """The metrics of some trades, by day and market, asked of a database that knows the same standard SQL."""
    base = published()["trades"][0]
    day = 86_400_000_000
    trades = [
        base | {"trade_id": 1, "price_ticks": 100, "lots": 10, "buyer": 1, "seller": 2, "buyer_is_maker": False},
        base | {"trade_id": 2, "price_ticks": 110, "lots": 30, "buyer": 2, "seller": 1, "buyer_is_maker": True},
        base | {"trade_id": 3, "price_ticks": 105, "lots": 20, "buyer": 3, "seller": 3, "buyer_is_maker": True},
        base | {"trade_id": 4, "price_ticks": 200, "lots": 5, "time_us": base["time_us"] + day},
        base | {"trade_id": 1, "price_ticks": 7, "lots": 1, "symbol": "ETHUSDT", "market": 2},
    ]
    with sqlite3.connect(":memory:") as database:
        database.create_function("from_unixtime", 1, lambda seconds: seconds)
        database.create_function("date_trunc", 2, lambda _unit, seconds: int(seconds) // 86_400)
        database.execute(f"CREATE TABLE trades ({', '.join(base)})")
        marks = ", ".join(f":{name}" for name in base)
        database.executemany(f"INSERT INTO trades VALUES ({marks})", trades)
        database.row_factory = sqlite3.Row
        rows = [dict(row) for row in database.execute(daily_query())]
    database.close()
    first = min(row["day"] for row in rows)
    return {(row["day"] - first, row["symbol"]): row for row in rows}


def test_metrics_are_told_by_day_and_market(answers: dict[tuple[Any, Any], dict[str, Any]]) -> None:
    assert answers.keys() == {(0, "BTCUSDT"), (1, "BTCUSDT"), (0, "ETHUSDT")}
    first = {metric.name: answers[0, "BTCUSDT"][metric.name] for metric in METRICS}
    assert first == {
        "trades": 3,
        "lots": 60,
        "turnover": 100 * 10 + 110 * 30 + 105 * 20,
        "buyers": 3,
        "sellers": 3,
        "takers_bought_ppm": 10 * 1_000_000 // 60,
        "range_ppm": 100_000,
        "self_trades": 1,
    }


def test_every_metric_and_dimension_has_a_name_of_its_own() -> None:
    names = [metric.name for metric in METRICS] + [name for name, _, _ in DIMENSIONS]
    assert len(set(names)) == len(names)
    assert all(metric.title and metric.unit for metric in METRICS)
