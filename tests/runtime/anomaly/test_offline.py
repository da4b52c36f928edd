"""Offline and in SageMaker's container: files in, a model out, scores from it, and clear words for what is wrong."""

import gzip
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runtime.anomaly import container
from runtime.anomaly.__main__ import EXIT_WRONG, main
from runtime.anomaly.baseline import score
from runtime.anomaly.model import ModelError, judge, minutes, read_model, read_trades, train
from runtime.shared.trade_records import TradeRecord, encode_batch
from tests.runtime.anomaly.test_scores import at, ordinary

DAY = 90


def write(path: Path, trades: list[TradeRecord], *, by: int = 50) -> Path:
    """Write a file as the lake has it: records of the stream."""
    lines = [encode_batch("main", trades[start : start + by]) for start in range(0, len(trades), by)]
    text = b"\n".join(lines) + b"\n"
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.fixture
def learned(tmp_path: Path) -> Path:
    write(tmp_path / "monday", ordinary(DAY))
    assert main(["train", str(tmp_path / "model.json"), str(tmp_path / "monday")]) == 0
    return tmp_path / "model.json"


def test_one_file_teaches_and_another_is_scored(
    learned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day = ordinary(DAY, seed=4)
    last = len(day)
    burst = [at(last + 1 + n, DAY, 100_000 + 400 * n, 5_000) for n in range(9)]
    other = [at(n, n, market=2, symbol="ETHUSDT") for n in range(1, 4)]
    write(tmp_path / "tuesday.gz", [*day, *burst, *other])
    assert main(["train", str(learned), str(tmp_path / "monday")]) == 0
    title, _, usual = capsys.readouterr().out.splitlines()
    assert title == f"{learned}: 1 markets"
    assert usual.split()[:2] == ["1", str(DAY)]
    assert main(["score", str(learned), str(tmp_path / "tuesday.gz")]) == 0
    header, row, market, unknown = capsys.readouterr().out.splitlines()
    assert header.split("  ")[0] == "minute (UTC)"
    assert row.split()[:5] == ["2026-09-21", "15:44", "BTCUSDT", "45000", "9"]
    assert market.startswith(f"BTCUSDT: {DAY + 1} minutes, 1 anomalies, drift ")
    assert unknown == "ETHUSDT: not in the model, not scored"


def test_records_that_come_twice_and_single_trades_teach_the_same(learned: Path, tmp_path: Path) -> None:
    day = ordinary(DAY)
    twice = write(tmp_path / "twice", [*day, *day[:300]])
    single = tmp_path / "single"
    single.write_bytes(b"\n".join(msgspec.json.encode(each) for each in day))
    for path in (twice, single):
        assert train(read_trades([path])) == read_model(learned)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "python -m runtime.anomaly"),
        (["guess", "model", "file"], "python -m runtime.anomaly"),
        (["train", "{}/model", "{}/none"], "No such file"),
        (["train", "{}/model", "{}/few"], "no market has enough minutes with trades to learn from; the most were 5"),
        (["train", "{}/model", "{}/bad"], "bad, line 2: must be a trade or a batch of trades"),
        (["train", "{}/model", "{}/other"], "schema must be 'bursa.trades.1', was 'bursa.trades.9'"),
        (["score", "{}/bad", "{}/few"], "must be a model that `train` wrote"),
        (["score", "{}/later", "{}/few"], "schema must be 'bursa.anomaly.1', was 'bursa.anomaly.9'"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "few", ordinary(5))
    (tmp_path / "bad").write_bytes(msgspec.json.encode(at(1, 0)) + b'\n{"market": "one"}\n')
    (tmp_path / "other").write_bytes((tmp_path / "few").read_bytes().replace(b"bursa.trades.1", b"bursa.trades.9"))
    (tmp_path / "later").write_text(json.dumps({"schema": "bursa.anomaly.9", "markets": {}}))
    assert main([each.format(tmp_path) for each in arguments]) == EXIT_WRONG
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_a_market_that_was_not_learned_is_refused(learned: Path) -> None:
    (minute,) = minutes([at(1, 0, market=9)])
    with pytest.raises(ModelError, match="market must be one of 1, was 9"):
        judge(read_model(learned), minute.market, minute.features)


def test_the_container_learns_what_the_command_learns_and_says_why_not(learned: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert container.main(["train"], root) == 1
    assert "no market has enough minutes" in (root / container.FAILURE).read_text()
    (root / container.FILES / "part").mkdir(parents=True)
    (root / container.MODEL).parent.mkdir(parents=True)
    write(root / container.FILES / "part" / "0.gz", ordinary(DAY))
    assert container.main(["train"], root) == 0
    assert (root / container.MODEL).read_bytes() == learned.read_bytes()
    assert container.main(["dance"], root) == 1


@pytest.fixture
def endpoint(learned: Path) -> Iterator[str]:
    server = container.server(read_model(learned), ("127.0.0.1", 0))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def post(url: str, body: bytes) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_endpoint_answers_as_the_function_itself_would(endpoint: str, learned: Path) -> None:
    with urllib.request.urlopen(f"{endpoint}/ping", timeout=10) as answer:
        assert answer.status == 200
    (minute,) = minutes([at(1, 0, lots=1_000_000)])
    body = msgspec.json.encode({"market": 1, "features": minute.features})
    expected = score(read_model(learned).markets[1], minute.features)
    assert expected.value > 0
    assert post(f"{endpoint}/invocations", body) == (200, {"value": expected.value, "feature": expected.feature})


@pytest.mark.parametrize("body", [b"{}", b"[]", b"x" * 5000, b'{"market": 9, "features": [1, 1, 1, 1, 1]}', b""])
def test_a_bad_question_is_refused_and_the_endpoint_lives(endpoint: str, body: bytes) -> None:
    assert post(f"{endpoint}/invocations", body)[0] == 400
    with urllib.request.urlopen(f"{endpoint}/ping", timeout=10) as answer:
        assert answer.status == 200
