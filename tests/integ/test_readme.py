"""What README and the pages of clients show is run as it stands."""

import os
import re
import subprocess
import sys

import pytest

from local.paths import PROJECT

pytestmark = [
    pytest.mark.integ,
    pytest.mark.skipif("BURSA_DEMO" not in os.environ, reason="no exchange is running: `make test` starts one"),
]


def snippets(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (PROJECT / page).read_text(), re.DOTALL)


def output_of(snippet: str) -> str:
    program = snippet.replace(".local/demo.json", os.environ["BURSA_DEMO"])
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_the_snippet_trades() -> None:
    (snippet,) = snippets("README.md")
    assert len([line for line in snippet.splitlines() if line]) <= 8
    assert output_of(snippet).startswith("closed {")


def test_the_pages_of_clients_trade() -> None:
    rest, streams = snippets("docs/clients/ccxt.md")
    assert output_of(rest).startswith("closed ")
    assert output_of(streams).startswith("book [")
    (sdk,) = snippets("docs/clients/binance-sdk-spot.md")
    assert output_of(sdk).startswith("FILLED ")
