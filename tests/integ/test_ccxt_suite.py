"""ccxt's own tests, against a running exchange: every method of spot trading that it tests, and that we offer."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ccxt
import pytest

from tests.integ.test_clients_ccxt import PAIR, settings

pytestmark = pytest.mark.integ

CONTRACTS = "There are spot markets only."
MARGIN = "There is no margin, and nothing is lent."
BEYOND = "Asks a route beyond the subset of wallet routes that is offered."
NOT_OFFERED = {
    **dict.fromkeys(("swap", "future", "option", "index"), CONTRACTS),
    **dict.fromkeys(("fetchLeverageTiers", "fetchPosition", "watchPosition", "watchPositions"), CONTRACTS),
    **dict.fromkeys(("fetchMarginModes", "fetchBorrowInterest", "fetchBorrowRateHistory"), MARGIN),
    **dict.fromkeys(("fetchTransfers", "fetchLedger", "fetchLedgerEntry", "fetchStatus"), BEYOND),
}
"""What ccxt believes that the exchange has, and why it has not."""
SKIPPED = {"orderBook": {"timestamp": "A book over REST has the id of its last change, and no time."}}
RAN = {
    "--sync": ("fetchTicker", "fetchOrderBook", "fetchBalance", "fetchOrders", "fetchMyTrades"),
    "--async": ("fetchTicker", "fetchOrderBook", "fetchBalance", "fetchOrders", "fetchMyTrades"),
    "--ws": ("watchTicker", "watchOrderBook", "watchTrades", "watchOHLCV", "watchBalance", "watchOrders"),
}
"""Methods of which at least must have been tested, so that a suite that skips them cannot pass."""


@contextmanager
def trading() -> Iterator[None]:
    """Have the account trade all the while: streams tell nothing of an account to which nothing happens."""
    client = ccxt.binance(settings(0))
    ended = threading.Event()

    def trade() -> None:
        while not ended.wait(0.5):
            client.create_order(PAIR, "market", "buy", 0.0002)
            client.create_order(PAIR, "market", "sell", 0.0002)

    thread = threading.Thread(target=trade)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("mode", RAN)
def test_ccxt_suite(mode: str, tmp_path: Path) -> None:
    (tmp_path / "ccxt").symlink_to(Path(ccxt.__file__).parent)
    ours = settings(0) | {"rateLimit": 1, "has": dict.fromkeys(NOT_OFFERED, False)}
    (tmp_path / "keys.local.json").write_text(json.dumps({"binance": ours}))
    (tmp_path / "skip-tests.json").write_text(json.dumps({"binance": {"skipMethods": SKIPPED}}))
    command = [sys.executable, str(Path(__file__).with_name("ccxt_suite.py")), str(tmp_path), "binance", PAIR]
    options = ["--private", "--info", *([mode] if mode != "--async" else [])]
    with trading():
        run = subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=300)
    output = run.stdout + run.stderr
    (tmp_path / "output").write_text(output)
    assert run.returncode == 0, output[-4000:]
    assert "[TEST_FAILURE]" not in output, "\n".join(re.findall(r"\[TEST_FAILURE\].*", output))
    assert "[TEST_WARNING]" not in output, "\n".join(re.findall(r"\[TEST_WARNING\].*", output))
    tested = set(re.findall(r"TESTING DONE\s+binance (\w+)", output))
    assert tested >= set(RAN[mode]), tested
