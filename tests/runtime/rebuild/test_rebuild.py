"""The trade stream made again from the journal: the same records, and every difference is told."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from config.markets import CATALOGUE
from runtime.engine.follower import Follower
from runtime.engine.leader import Leader
from runtime.engine.replica import Replica
from runtime.market_data.market import MarketView
from runtime.market_data.payloads import Instrument
from runtime.market_data.service import MarketData
from runtime.rebuild import __main__ as rebuild
from runtime.shared.messages import TRADING, MarketState
from runtime.shared.trade_records import TRADES_SCHEMA, TradeBatch, TradeRecord, decode_batch, encode_batch
from tests.runtime.engine.flows import entries, opening, random_commands

Batches = list[TradeBatch]


@pytest.fixture
def world(tmp_path: Path) -> tuple[Path, Batches]:
    """A journal, and what market data published of it meanwhile."""
    leader = Leader(Follower.of_files(tmp_path / "journal", "main", clock=lambda: 1_750_000_000_000_000), "alpha")
    leader.take_over()
    views = [
        MarketView(Instrument(market), MarketState(market.id, TRADING, 0, 0, 0, [], [])) for market in CATALOGUE.markets
    ]
    market_data = MarketData(views)
    batches: Batches = []
    follower = Replica()
    stream = list(entries(iter([*opening(3), *random_commands(5, 600, 3)])))
    for at in range(0, len(stream), 40):
        some = stream[at : at + 40]
        sealed = leader.seal(some)
        leader.make_durable(sealed)
        leader.apply(sealed)
        if trades := market_data.on_feed([follower.apply(sealed.time_us, entry)[1] for entry in some]):
            batches.append(decode_batch(encode_batch("main", trades)))
    (tmp_path / "catalogue.json").write_text(CATALOGUE.model_dump_json())
    assert sum(len(batch.trades) for batch in batches) > 50
    return tmp_path, batches


def run(world: tuple[Path, Batches], command: str, *arguments: str) -> tuple[int, str, str]:
    out, told = io.StringIO(), io.StringIO()
    where = ("--directory", str(world[0] / "journal"), "--catalogue", str(world[0] / "catalogue.json"))
    return rebuild.main([command, *where, *arguments], out, told), out.getvalue(), told.getvalue()


def compare(
    monkeypatch: pytest.MonkeyPatch, world: tuple[Path, Batches], batches: Batches, *arguments: str
) -> tuple[int, str, str]:
    """Compare the journal with a stream that holds `batches`."""
    monkeypatch.setattr(rebuild, "published", lambda *_: iter(batches))
    return run(world, "compare", "--stream", "trades", *arguments)


def test_what_is_rebuilt_is_what_was_published(tmp_path: Path, world: tuple[Path, Batches]) -> None:
    code, out, _ = run(world, "export")
    rebuilt = [decode_batch(line) for line in out.splitlines()]
    assert code == 0
    assert {(batch.schema, batch.group) for batch in rebuilt} == {(TRADES_SCHEMA, "main")}
    of_all = [trade for batch in world[1] for trade in batch.trades]
    assert [trade for batch in rebuilt for trade in batch.trades] == of_all
    half = of_all[len(of_all) // 2].sequence
    assert run(world, "export", "--first", str(half), "--output", str(tmp_path / "half.jsonl"))[:2] == (0, "")
    written = [decode_batch(line) for line in (tmp_path / "half.jsonl").read_text().splitlines()]
    assert [t for batch in written for t in batch.trades] == [t for t in of_all if t.sequence >= half]


def test_what_came_twice_counts_once(monkeypatch: pytest.MonkeyPatch, world: tuple[Path, Batches]) -> None:
    batches = world[1]
    count = sum(len(batch.trades) for batch in batches)
    again = len(batches[1].trades)
    told = compare(monkeypatch, world, [batches[0], batches[1], *batches[1:]])
    assert told == (0, f"{count} trades are equal, {again} came more than once and count once\n", "")
    assert compare(monkeypatch, world, batches[3:])[0] == 0  # older records have left the stream
    assert compare(monkeypatch, world, [])[0] == 0
    others = msgspec.structs.replace(batches[0], group="other")
    assert compare(monkeypatch, world, [others, *batches])[0] == 0


def changed(batch: TradeBatch, **fields: object) -> TradeBatch:
    """Return `batch` with another middle trade."""
    trades = list(batch.trades)
    trades[len(trades) // 2] = msgspec.structs.replace(trades[len(trades) // 2], **fields)
    return msgspec.structs.replace(batch, trades=trades)


def without_one(batch: TradeBatch) -> TradeBatch:
    trades = batch.trades[:1] + batch.trades[2:]
    return msgspec.structs.replace(batch, trades=trades)


def swapped(batch: TradeBatch) -> TradeBatch:
    """Return `batch` with two trades of one market in the wrong order, neither first nor last."""
    trades: list[TradeRecord] = list(batch.trades)
    inner = range(1, len(trades) - 1)
    at, other = next((a, b) for a in inner for b in inner if a < b and trades[a].market == trades[b].market)
    trades[at], trades[other] = trades[other], trades[at]
    return msgspec.structs.replace(batch, trades=trades)


FAULTS: dict[str, tuple[str, Callable[[TradeBatch], TradeBatch]]] = {
    "a trade is lost": ("missing", without_one),
    "a price": ("different", lambda batch: changed(batch, price_ticks=1)),
    "a fee": ("different", lambda batch: changed(batch, buyer_fee=10**9)),
    "a time": ("different", lambda batch: changed(batch, time_us=1)),
    "nobody's trade": ("foreign", lambda batch: changed(batch, trade_id=10**9)),
    "an order": ("out of order", swapped),
    "a label": ("says that it goes", lambda batch: msgspec.structs.replace(batch, last=batch.first)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_difference_is_told(monkeypatch: pytest.MonkeyPatch, world: tuple[Path, Batches], name: str) -> None:
    word, spoil = FAULTS[name]
    at = max(range(1, len(world[1]) - 1), key=lambda place: len(world[1][place].trades))
    code, out, _ = compare(monkeypatch, world, [spoil(b) if i == at else b for i, b in enumerate(world[1])])
    assert (code, word in out) == (1, True), out


def test_one_that_came_twice_is_the_same_twice(monkeypatch: pytest.MonkeyPatch, world: tuple[Path, Batches]) -> None:
    other = changed(world[1][1], lots=10**9)
    code, out, _ = compare(monkeypatch, world, [*world[1], other])
    assert (code, "not alike" in out) == (1, True)


def test_a_stream_that_ends_too_early_shows_when_asked(
    monkeypatch: pytest.MonkeyPatch, world: tuple[Path, Batches]
) -> None:
    last = world[1][-1].last.sequence
    assert compare(monkeypatch, world, world[1][:-1])[0] == 0
    code, out, _ = compare(monkeypatch, world, world[1][:-1], "--to", str(last))
    assert (code, "missing" in out) == (1, True)
    assert compare(monkeypatch, world, world[1][1:], "--first", "1")[0] == 1


def test_records_of_another_schema_are_refused(monkeypatch: pytest.MonkeyPatch, world: tuple[Path, Batches]) -> None:
    def foreign(*_: object) -> Iterator[TradeBatch]:
        yield rebuild.decoded(b'{"schema":"bursa.trades.9","group":"main","trades":[]}', "17")

    def unknown(*_: object) -> Iterator[TradeBatch]:
        document = json.loads(encode_batch("main", world[1][0].trades)) | {"schema": "bursa.trades.9"}
        yield rebuild.decoded(json.dumps(document).encode(), "18")

    for source, number in ((foreign, "17"), (unknown, "18")):
        monkeypatch.setattr(rebuild, "published", source)
        code, _, told = run(world, "compare", "--stream", "trades")
        assert (code, f"record {number}" in told) == (1, True)


def test_wrong_calls_say_why(world: tuple[Path, Batches], tmp_path: Path) -> None:
    catalogue = tmp_path / "broken.json"
    catalogue.write_text("{}")
    out, told = io.StringIO(), io.StringIO()
    where = ["--directory", str(world[0] / "journal"), "--catalogue", str(catalogue)]
    assert rebuild.main(["export", *where], out, told) == 2
    assert "broken.json" in told.getvalue()
    where = ["--directory", str(tmp_path / "nothing"), "--catalogue", str(world[0] / "catalogue.json")]
    assert rebuild.main(["export", *where], out, told) == 2
    assert "no files" in told.getvalue()
