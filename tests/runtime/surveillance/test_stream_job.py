"""The Flink job finds what the function finds, and its file says nothing that the tests of its core do not cover."""

import ast
import importlib.util
import random
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runtime.shared.trade_records import Place, TradeBatch, TradeRecord, encode_batch
from runtime.surveillance import job_settings, stream_job
from runtime.surveillance.findings import KINDS, SEVERITY, FindingError, decode_finding, encode_finding
from runtime.surveillance.job_settings import JobSettings, read_settings, source_table
from runtime.surveillance.stream_job import MarketTrades, advance, split
from tests.runtime.surveillance.test_detectors import LIMITS, OWNERS, trade, watched

ENTRY = Path(stream_job.__file__).with_name("flink_job.py")
GROUP = {
    "PropertyGroupId": "surveillance",
    "PropertyMap": {"region": "r", "stream_arn": "arn:s", "queue_url": "https://q", "owner_table": "owners"},
}


def owners_of(accounts: Collection[int]) -> Mapping[int, str]:
    return {account: OWNERS[account] for account in accounts if account in OWNERS}


def run(records: list[bytes]) -> tuple[dict[int, bytes], list[str], int]:
    """Play records as Flink does: each market's part to that market's memory."""
    memory: dict[int, bytes] = {}
    messages, missing = [], 0
    for record in records:
        for part in split(record):
            step = advance(memory.get(part.market), part, owners_of, LIMITS)
            memory[part.market] = step.memory
            messages += step.messages
            missing += step.missing
    return memory, messages, missing


def history(count: int) -> list[TradeRecord]:
    """Trades in which every detector of trades has something to find, in two markets."""
    chance = random.Random(7)
    trades = []
    for number in range(1, count + 1):
        buyer, seller = chance.sample([1000, 1001, 1002, 2000, 2001], 2)
        price = 100_000 + (25_000 if number > count * 3 // 4 else 0) + chance.randrange(100)
        lots = 4_000 if number == count - 3 else 10
        trades += [
            trade(number, number * 20, price, lots, buyer=buyer, seller=seller, market=market) for market in (1, 2)
        ]
    return trades


def test_the_job_finds_what_the_function_finds_however_the_trades_are_cut() -> None:
    trades = history(120)
    expected = [
        finding
        for market in (1, 2)
        for seen in watched([each for each in trades if each.market == market])
        for finding in seen.findings
    ]
    assert {finding.kind for finding in expected} >= {"wash-trade", "volume-spike", "pump"}
    for size in (1, 7, 240):
        records = [encode_batch("main", trades[at : at + size]) for at in range(0, len(trades), size)]
        _, messages, missing = run(records)
        assert missing == 0
        found = [decode_finding(message) for message in messages]
        assert sorted(each.finding_id for each in found) == sorted(each.finding_id for each in expected)


def test_a_record_that_comes_again_after_a_checkpoint_changes_nothing() -> None:
    record = encode_batch("main", [trade(1, 0, buyer=1000, seller=1001)])
    memory, first, _ = run([record])
    again = advance(memory[1], next(split(record)), owners_of, LIMITS)
    assert len(first) == 1
    assert (again.messages, again.memory) == ([], memory[1])
    lost = advance(None, next(split(record)), owners_of, LIMITS)  # the memory was not yet in a checkpoint
    assert [decode_finding(each).finding_id for each in lost.messages] == [decode_finding(first[0]).finding_id]


def test_trades_that_never_came_are_counted() -> None:
    _, _, missing = run([encode_batch("main", [trade(1, 0)]), encode_batch("main", [trade(5, 1)])])
    assert missing == 3


def test_a_record_of_another_schema_stops_the_job() -> None:
    other = msgspec.json.encode(TradeBatch("bursa.trades.9", "main", Place(1, 1), Place(1, 1), []))
    with pytest.raises(ValueError, match=r"schema must be 'bursa.trades.1', was 'bursa.trades.9'"):
        list(split(other))


def test_a_part_carries_the_trades_of_one_market() -> None:
    parts = list(split(encode_batch("main", [trade(2, 0, market=2), trade(1, 0, market=1), trade(1, 0, market=2)])))
    assert [part.market for part in parts] == [1, 2]
    assert isinstance(parts[0], MarketTrades)
    assert [each.trade_id for each in msgspec.msgpack.decode(parts[1].trades, type=list[TradeRecord])] == [1, 2]


def finding_text(**change: Any) -> str:
    (seen,) = watched([trade(1, 0, buyer=1000, seller=1001)])
    return encode_finding(msgspec.structs.replace(seen.findings[0], **change))


def test_a_finding_survives_the_queue() -> None:
    (seen,) = watched([trade(1, 0, buyer=1000, seller=1001)])
    assert decode_finding(encode_finding(seen.findings[0])) == seen.findings[0]
    assert SEVERITY.keys() == set(KINDS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a message must be a finding"),
        ("[]", "a message must be a finding: Expected `object`"),
        (finding_text()[:-1], "a message must be a finding"),
        (finding_text(kind="gossip"), "kind must be one of wash-trade, spoofing, .*, was 'gossip'"),
        (finding_text(last_us=1), "must have 0 < first_us <= last_us"),
        (finding_text(first_us=0), "must have 0 < first_us <= last_us"),
    ],
)
def test_what_is_no_finding_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(FindingError, match=message):
        decode_finding(text)


def test_settings_come_from_the_one_group_and_what_is_missing_is_named() -> None:
    assert read_settings([{"PropertyGroupId": "other", "PropertyMap": {}}, GROUP]) == JobSettings(
        "r", "arn:s", "https://q", "owners"
    )
    with pytest.raises(ValueError, match="must have one property group 'surveillance', had 0"):
        read_settings([])
    with pytest.raises(ValueError, match="lacks queue_url, owner_table"):
        read_settings([GROUP | {"PropertyMap": {"region": "r", "stream_arn": "a"}}])


def test_a_value_cannot_end_the_string_that_it_stands_in() -> None:
    assert "'stream.arn' = 'arn:s'" in source_table(read_settings([GROUP]))
    with pytest.raises(ValueError, match="stream_arn must not hold a quotation mark"):
        source_table(JobSettings("r", "x' , 'y' = 'z", "q", "o"))


def test_the_file_of_the_job_is_a_thin_shell_over_what_is_tested() -> None:
    """PyFlink is not here, so the file is read: every name of ours that it imports exists, and it decides nothing."""
    module = ast.parse(ENTRY.read_text())
    ours = {
        (node.module, alias.name)
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("runtime.")
        for alias in node.names
    }
    assert ours
    for name, attribute in ours:
        assert hasattr(importlib.import_module(name), attribute), f"{name}.{attribute}"
    branches = [node for node in ast.walk(module) if isinstance(node, ast.If | ast.While | ast.Try)]
    assert len(branches) <= 2, "what decides belongs in stream_job"
    assert job_settings.GROUP == "surveillance"


@pytest.mark.skipif(importlib.util.find_spec("pyflink") is None, reason="PyFlink is not installed here")
def test_the_file_of_the_job_can_be_imported_where_pyflink_is() -> None:
    importlib.import_module("runtime.surveillance.flink_job")
