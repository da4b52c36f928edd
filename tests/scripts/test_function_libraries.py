"""What the layer of functions is filled with, besides wheels."""

import io
from pathlib import Path
from typing import Any

import pytest

from exchange_constructs.ledger_database import DATABASE_AUTHORITIES
from scripts import function_libraries


def test_the_layer_holds_the_roots_of_rds_where_the_migrator_looks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def pip(_command: str, *arguments: str) -> None:
        (target,) = (each.partition("=")[2] for each in arguments if each.startswith("--target="))
        Path(target).mkdir(parents=True)

    def urlopen(url: str, **_options: Any) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(b"roots")

    monkeypatch.setattr(function_libraries, "TARGET", tmp_path / "lambda")
    monkeypatch.setattr(function_libraries, "_pip", pip)
    monkeypatch.setattr(function_libraries.urllib.request, "urlopen", urlopen)
    function_libraries.fetch()
    layer, name = DATABASE_AUTHORITIES.removeprefix("/opt/").split("/")
    assert (tmp_path / "lambda" / layer / name).read_bytes() == b"roots"
    dockerfile = (function_libraries.ROOT / "runtime" / "Dockerfile").read_text()
    assert all(f" {url} rds.pem" in dockerfile for url in asked), "services verify against the same"
    assert asked
