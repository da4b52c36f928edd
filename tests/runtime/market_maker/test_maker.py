"""The maker against an exchange that checks what it is sent."""

import asyncio
import contextlib
import gzip
import hashlib
import hmac
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from runtime.market_maker import maker as module
from runtime.market_maker.account import Account
from runtime.market_maker.client import BadKeyError, Key
from runtime.market_maker.maker import Maker, is_paused
from runtime.market_maker.quoting import Quote
from runtime.market_maker.recording import Recording
from runtime.market_maker.settings import MakerSettings, read_keys
from tests.runtime.market_maker.fake_exchange import FakeExchange, Resting

HMAC_MAKER = Key("maker-key", "maker-secret-xyz")
TAKER = Key("taker-key", "taker-secret-xyz")
LEVELS = 5
SYMBOLS = ("BTCUSDT", "ETHUSDT")


def _exchange(**other: object) -> FakeExchange:
    keys = {HMAC_MAKER.api_key: HMAC_MAKER.secret_key, TAKER.api_key: TAKER.secret_key}
    return FakeExchange(**({"keys": keys} | other))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_S", 0.02)
    monkeypatch.setattr(module, "_BACKOFF_MIN_S", 0.05)
    monkeypatch.setattr(module, "HOLD_S", 0.3)


@asynccontextmanager
async def _quoting(
    exchange: FakeExchange, *, key: Key = HMAC_MAKER, pause_dir: Path | None = None, recording: Recording | None = None
) -> AsyncIterator[Callable[[], None]]:
    """A maker at work on `exchange`; yields what asks it to stop."""
    settings = MakerSettings(
        rest_url=exchange.rest_url,
        ws_api_url=exchange.ws_url + "/ws-api/v3",
        stream_url=exchange.ws_url,
        maker_keys_file=Path("unused"),
        maker_refresh_ms=50,
        maker_levels=LEVELS,
        maker_start_prices={"BTCUSDT": "60000", "ETHUSDT": "2600"},
        maker_pause_dir=pause_dir,
    )
    stopping = asyncio.Event()
    task = asyncio.create_task(Maker(settings, (key, TAKER), recording).run(stopping))
    try:
        yield stopping.set
    finally:
        stopping.set()
        await asyncio.wait_for(task, 10)


async def _until(condition: Callable[[], object], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the exchange and the maker know nothing of the test
            await asyncio.sleep(0.01)


def _ladder(
    exchange: FakeExchange, symbol: str, owner: str = HMAC_MAKER.api_key
) -> tuple[list[Decimal], list[Decimal]]:
    mine = [order for order in exchange.orders.values() if order.symbol == symbol and order.owner == owner]
    return (
        sorted((order.price for order in mine if order.side == "BUY"), reverse=True),
        sorted(order.price for order in mine if order.side == "SELL"),
    )


def _is_full(exchange: FakeExchange, symbol: str) -> bool:
    return [len(side) for side in _ladder(exchange, symbol)] == [LEVELS, LEVELS]


def test_it_quotes_both_sides_trades_and_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        async with _exchange().serve() as exchange:
            old = Resting("ETHUSDT", "BUY", Decimal(1), Decimal(1), "old", HMAC_MAKER.api_key)  # from an earlier life
            exchange.orders["old"] = old
            async with _quoting(exchange):
                await _until(lambda: all(_is_full(exchange, symbol) for symbol in SYMBOLS))
                assert "old" not in exchange.orders
                bids, asks = _ladder(exchange, "BTCUSDT")
                assert Decimal(59_000) < bids[0] < asks[0] < Decimal(61_000)
                assert asks[0] - bids[0] < Decimal(10)
                await _until(lambda: len(exchange.trades) >= 5)
                await _until(lambda: all(_is_full(exchange, symbol) for symbol in SYMBOLS))
                placed = sum(method == "order.place" for _, method, _ in exchange.requests)
                await _until(lambda: sum(m == "order.place" for _, m, _ in exchange.requests) > placed + 10)
            assert exchange.orders == {}
            assert {key for key, _, sent in exchange.requests if sent.get("type") == "LIMIT"} == {TAKER.api_key}
            assert {key for key, _, sent in exchange.requests if sent.get("type") == "LIMIT_MAKER"} == {
                HMAC_MAKER.api_key
            }

    asyncio.run(scenario())


def test_an_ed25519_key_logs_on_once_and_signs_no_order() -> None:
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    exchange = _exchange(keys={"ed": private.public_key(), TAKER.api_key: TAKER.secret_key})

    async def scenario() -> None:
        async with exchange.serve(), _quoting(exchange, key=Key("ed", pem)):
            await _until(lambda: len(_ladder(exchange, "BTCUSDT", "ed")[0]) == LEVELS)
        sent = [(method, "signature" in parameters) for key, method, parameters in exchange.requests if key == "ed"]
        assert sent.count(("session.logon", True)) == 1
        assert not any(signed for method, signed in sent if method != "session.logon")

    asyncio.run(scenario())


def test_it_starts_with_a_clean_book_goes_on_from_the_last_price_and_survives_a_cut() -> None:
    async def scenario() -> None:
        async with _exchange(last_price="30000.00000000").serve() as exchange:
            async with _quoting(exchange):
                await _until(lambda: all(_is_full(exchange, symbol) for symbol in SYMBOLS))
                assert abs(_ladder(exchange, "BTCUSDT")[0][0] - 30_000) < 300
                before = set(exchange.orders)
                exchange.cut()
                await _until(lambda: all(_is_full(exchange, s) for s in SYMBOLS) and not before & set(exchange.orders))
            assert exchange.orders == {}

    asyncio.run(scenario())


def test_it_stays_away_from_a_symbol_while_a_living_process_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _exchange().serve() as exchange, _quoting(exchange, pause_dir=tmp_path):
            await _until(lambda: all(_is_full(exchange, symbol) for symbol in SYMBOLS))
            (tmp_path / "BTCUSDT").write_text(f"{os.getpid()}\n")
            await _until(lambda: _ladder(exchange, "BTCUSDT") == ([], []))
            seen = len(exchange.requests)
            await _until(lambda: len(exchange.requests) > seen + 20)
            assert {sent["symbol"] for _, _, sent in exchange.requests[seen:]} == {"ETHUSDT"}
            (tmp_path / "BTCUSDT").unlink()
            await _until(lambda: _is_full(exchange, "BTCUSDT"))

    asyncio.run(scenario())


def test_a_pause_counts_only_while_its_process_lives(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for content, expected in (
        (str(os.getpid()), True),
        (str(ended.pid), False),
        ("", False),
        ("soon", False),
        ("-1", False),
        ("0", False),
        ("9" * 40, False),
    ):
        (tmp_path / "BTCUSDT").write_text(content)
        assert is_paused(tmp_path, "BTCUSDT") is expected, content
    assert not is_paused(tmp_path, "ETHUSDT")
    assert not is_paused(None, "BTCUSDT")


def test_its_price_follows_those_who_pay_more_and_it_never_asks_below_them() -> None:
    async def scenario() -> None:
        async with _exchange().serve() as exchange, _quoting(exchange):
            await _until(lambda: _is_full(exchange, "BTCUSDT"))
            top = _ladder(exchange, "BTCUSDT")[1][-1] + 100
            for order in [o for o in exchange.orders.values() if o.symbol == "BTCUSDT" and o.side == "SELL"]:
                del exchange.orders[order.client_id]  # taken by whoever then bids above
            exchange.rest_order("BTCUSDT", "BUY", f"{top:.2f}", "foreign")
            await _until(lambda: _is_full(exchange, "BTCUSDT") and _ladder(exchange, "BTCUSDT")[1][0] > top)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("method", "refusal"),
    [
        ("order.place", (-2010, "Account has insufficient balance for requested action.")),
        ("order.place", (-2010, "Market is closed.")),
        (
            "order.cancel",
            (-1008, "Server is currently overloaded with other requests. Please try again in a few minutes."),
        ),
        ("account.status", (-1003, "Too much request weight used; current limit is 6000 request weight per 1 MINUTE.")),
    ],
)
def test_a_refusal_makes_it_pause_and_try_again(
    method: str, refusal: tuple[int, str], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with _exchange(refusals={method: refusal}).serve() as exchange, _quoting(exchange):
            await _until(lambda: not exchange.refusals)
            await _until(lambda: all(_is_full(exchange, symbol) for symbol in SYMBOLS))

        opened = [method for key, method, _ in exchange.requests if key == HMAC_MAKER.api_key]
        assert opened.count("account.status") == (2 if method == "account.status" else 1), (
            "an order refused ends no session"
        )

    asyncio.run(scenario())
    assert refusal[1] in caplog.text
    assert "secret-xyz" not in caplog.text


def test_an_order_that_is_gone_no_longer_rests() -> None:
    account = Account(HMAC_MAKER)
    account.resting = {name: ("BTCUSDT", Quote("BUY", 1)) for name in ("part", "full", "cancelled", "other")}
    for execution, status, name, original in (
        ("NEW", "NEW", "other", ""),
        ("TRADE", "PARTIALLY_FILLED", "part", ""),
        ("TRADE", "FILLED", "full", ""),
        ("CANCELED", "CANCELED", "other", "cancelled"),
    ):
        account._on_event({"e": "executionReport", "x": execution, "X": status, "c": name, "C": original})
    assert set(account.resting) == {"part", "other"}


def test_it_keeps_within_the_accounts_order_limit() -> None:
    async def scenario() -> None:
        async with _exchange(order_limit=10).serve() as exchange, _quoting(exchange):
            await asyncio.sleep(1.5)
            placed = [sent for key, method, sent in exchange.requests if (key, method) == ("maker-key", "order.place")]
            assert 5 <= len(placed) <= 8 + 2  # 80 % of 10 at once, then 0.8 a second

    asyncio.run(scenario())


def test_a_recorded_feed_is_followed_and_then_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "feed.gz"
    with gzip.open(path, "wt") as file:
        for at_ms, price in ((0, 40_000), (300, 41_000), (1_500, 41_100)):
            for stream, data in (
                ("btcusdt@depth@100ms", {"e": "depthUpdate", "b": [], "a": []}),
                (
                    "btcusdt@bookTicker",
                    {"u": 1, "s": "BTCUSDT", "b": f"{price}.00", "B": "1", "a": f"{price + 1}.00", "A": "1"},
                ),
            ):
                file.write(
                    f"{10**18 + at_ms * 10**6} {json.dumps({'stream': stream, 'data': data}, separators=(',', ':'))}\n"
                )

    async def scenario() -> None:
        caplog.set_level("INFO")
        async with _exchange().serve() as exchange, _quoting(exchange, recording=Recording(path)):
            await _until(lambda: abs(_mid(exchange) - 41_000) < 20, 5)
            await _until(lambda: "the recording is over" in caplog.text, 5)
            await _until(lambda: abs(_mid(exchange) - 41_100) < 200 and _is_full(exchange, "ETHUSDT"), 5)

    asyncio.run(scenario())


def _mid(exchange: FakeExchange) -> Decimal:
    bids, asks = _ladder(exchange, "BTCUSDT")
    return (bids[0] + asks[0]) / 2 if bids and asks else Decimal(0)


def test_keys_are_read_or_refused_without_showing_them(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({name: {"api_key": "a", "secret_key": "secret-xyz"} for name in ("maker", "taker")}))
    maker, taker = read_keys(path)
    assert maker == taker == Key("a", "secret-xyz")
    assert "secret-xyz" not in repr(maker)
    for text in (
        '{"maker": {"api_key": "a", "secret_key": "secret-xyz"}}',
        '{"maker": "secret-xyz"}',
        json.dumps({n: {"api_key": "a", "secret_key": "-----BEGIN secret-xyz"} for n in ("maker", "taker")}),
    ):
        path.write_text(text)
        with pytest.raises(BadKeyError) as caught:
            read_keys(path)
        assert "secret-xyz" not in str(caught.value)
    with contextlib.suppress(OSError):
        path.unlink()
    with pytest.raises(BadKeyError, match="No such file"):
        read_keys(path)


def test_a_request_is_signed_as_documented() -> None:
    key = Key("x", "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j")
    sent = {
        "symbol": "LTCBTC",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": 1,
        "price": "0.1",
        "recvWindow": 5000,
        "timestamp": 1499827319559,
    }
    ordered = (
        "price=0.1&quantity=1&recvWindow=5000&side=BUY&symbol=LTCBTC&timeInForce=GTC&timestamp=1499827319559&type=LIMIT"
    )
    assert key.sign(sent) == hmac.new(key.secret_key.encode(), ordered.encode(), hashlib.sha256).hexdigest()
