"""The canary walks the whole way, leaves nothing behind, and names the step that failed."""

import base64
import io
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from aws_lambda_powertools import Logger
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from runtime.canary import handler
from runtime.canary.walk import BELOW_PERCENT, Client, Steps, WalkError, smallest_order, walk

MARKET = {
    "symbol": "ETHIDR",
    "filters": [
        {"filterType": "PRICE_FILTER", "tickSize": "1000.00000000"},
        {"filterType": "LOT_SIZE", "minQty": "0.00010000", "stepSize": "0.00010000"},
        {"filterType": "NOTIONAL", "minNotional": "50000.00000000"},
    ],
}


class Venue:
    """A small exchange: one market, orders that rest until they are canceled, one route that can be broken."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.bid = "40000000.00000000"
        self.broken: dict[tuple[str, str], Callable[[], Any]] = {}
        self.seen: list[tuple[str, str]] = []
        self.check: Callable[[str, dict[str, str]], None] | None = None

    def answer(self, method: str, path: str, query: str, headers: dict[str, str]) -> tuple[int, Any]:
        self.seen.append((method, path))
        if (method, path) in self.broken:
            answer = self.broken[method, path]()
            return answer if isinstance(answer, tuple) else (200, answer)
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        match method, path:
            case "GET", "/api/v3/exchangeInfo":
                return 200, {"symbols": [MARKET]}
            case "GET", "/api/v3/ticker/bookTicker":
                return 200, {"symbol": "ETHIDR", "bidPrice": self.bid}
        if self.check:
            self.check(query, headers)
        match method, path:
            case "GET", "/api/v3/openOrders":
                return 200, [order for order in self.orders.values() if order["status"] == "NEW"]
            case "POST", "/api/v3/order":
                name = asked["newClientOrderId"]
                self.orders[name] = {**asked, "clientOrderId": name, "orderId": len(self.orders), "status": "NEW"}
                return 200, self.orders[name]
        (order,) = (
            each
            for each in self.orders.values()
            if each["clientOrderId"] == asked.get("origClientOrderId") or str(each["orderId"]) == asked.get("orderId")
        )
        if method == "DELETE":
            order["status"] = "CANCELED"
        return 200, order


@pytest.fixture
def venue() -> Iterator[tuple[Venue, str]]:
    """A venue, and where it listens."""
    held = Venue()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            code, body = held.answer(self.command, parts.path, parts.query, dict(self.headers))
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        do_GET = do_POST = do_DELETE = handle_any  # noqa: N815 - names that the base class looks for

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield held, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def client(url: str) -> Client:
    return Client(url, "name", lambda payload: b"signed " + payload)


def test_a_whole_walk_leaves_nothing(venue: tuple[Venue, str]) -> None:
    held, url = venue
    ticks = iter([1.0, 1.25, 2.0, 2.5])
    assert walk(client(url), "ETHIDR", "one", lambda: next(ticks)) == Steps(order_ms=250, cancel_ms=500)
    (order,) = held.orders.values()
    assert (order["status"], order["clientOrderId"]) == ("CANCELED", "canary-one")
    assert (order["side"], order["type"]) == ("BUY", "LIMIT_MAKER")
    assert (order["price"], order["quantity"]) == ("38800000.00000000", "0.00130000")


def test_what_an_earlier_walk_left_is_canceled_and_nothing_else(venue: tuple[Venue, str]) -> None:
    held, url = venue
    for number, name in enumerate(("canary-old", "mine")):
        held.orders[name] = {"clientOrderId": name, "orderId": 50 + number, "status": "NEW"}
    walk(client(url), "ETHIDR", "one")
    assert {name: order["status"] for name, order in held.orders.items()} == {
        "canary-old": "CANCELED",
        "mine": "NEW",
        "canary-one": "CANCELED",
    }


@pytest.mark.parametrize(
    ("route", "answer", "step", "said"),
    [
        (("GET", "/api/v3/openOrders"), (401, {"code": -2015}), "orders left behind", "HTTP 401"),
        (("GET", "/api/v3/exchangeInfo"), {"symbols": []}, "rules", "not enough values"),
        (("GET", "/api/v3/ticker/bookTicker"), {"bidPrice": "0.00000000"}, "quotes", "nobody bids"),
        (("GET", "/api/v3/ticker/bookTicker"), {"bidPrice": "-1"}, "quotes", "plain decimal"),
        (("POST", "/api/v3/order"), (503, {"code": -1001}), "order", "HTTP 503"),
        (("GET", "/api/v3/order"), {"status": "FILLED"}, "order rests", "must be NEW, was FILLED"),
        (("DELETE", "/api/v3/order"), (400, {"code": -2011}), "cancel", "-2011"),
        (("DELETE", "/api/v3/order"), {}, "order is gone", "must be CANCELED, was NEW"),
    ],
)
def test_the_step_that_fails_is_named(
    venue: tuple[Venue, str], route: tuple[str, str], answer: Any, step: str, said: str
) -> None:
    held, url = venue
    held.broken[route] = lambda: answer
    with pytest.raises(WalkError, match=said) as caught:
        walk(client(url), "ETHIDR", "one")
    assert caught.value.step == step


def test_an_exchange_that_is_away_is_a_step_that_failed() -> None:
    with pytest.raises(WalkError, match="refused"):
        walk(client("http://127.0.0.1:1"), "ETHIDR", "one")


@given(
    tick=st.integers(1, 10**9),
    lot=st.integers(1, 10**9),
    least=st.integers(0, 10**12),
    ticks=st.integers(100, 10**9),
)
def test_the_order_keeps_every_filter(tick: int, lot: int, least: int, ticks: int) -> None:
    def decimal(units: int) -> str:
        return f"{units // 10**8}.{units % 10**8:08d}"

    market = {
        "symbol": "X",
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": decimal(tick)},
            {"filterType": "LOT_SIZE", "minQty": decimal(3 * lot), "stepSize": decimal(lot)},
            {"filterType": "NOTIONAL", "minNotional": decimal(least)},
        ],
    }
    price, quantity = (int(text.replace(".", "")) for text in smallest_order(market, decimal(ticks * tick)))
    assert price % tick == 0
    assert price * 100 <= ticks * tick * (100 - BELOW_PERCENT)
    assert quantity % lot == 0
    assert quantity >= 3 * lot
    assert price * quantity >= least * 10**8
    assert quantity == 3 * lot or price * (quantity - lot) < least * 10**8, "the smallest"


@mock_aws
def test_the_handler_signs_with_a_key_that_stays_in_kms(
    venue: tuple[Venue, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    held, url = venue
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-southeast-3")
    handler._aws.cache_clear()
    log = io.StringIO()
    monkeypatch.setattr(handler, "logger", Logger(service="canary", stream=log))
    kms = boto3.client("kms")
    key = kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    public = load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])
    assert isinstance(public, RSAPublicKey)
    boto3.client("ssm").put_parameter(Name="key", Value="k" * 64, Type="String")
    for name, value in {
        "EXCHANGE_URL": url,
        "SYMBOL": "ETHIDR",
        "SIGNING_KEY": key,
        "API_KEY_PARAMETER": "key",
    }.items():
        monkeypatch.setenv(name, value)

    def check(query: str, headers: dict[str, str]) -> None:
        assert {name.lower(): value for name, value in headers.items()}["x-mbx-apikey"] == "k" * 64
        payload, _, _ = query.rpartition("&signature=")
        public.verify(base64.b64decode(parse_qs(query)["signature"][0]), payload.encode(), PKCS1v15(), SHA256())

    held.check = check
    context: Any = None
    handler.handle({"id": "8a1b2c3d-0000-1111-2222-333344445555"}, context)
    assert set(held.orders) == {"canary-8a1b2c3d-0000-1111-2222-"}
    held.broken["POST", "/api/v3/order"] = lambda: (503, {})
    handler.handle({"id": "two"}, context)
    lines = [json.loads(line) for line in log.getvalue().splitlines() if "canary_failed" in line]
    assert [line["canary_failed"] for line in lines] == [0, 1]
    assert lines[0]["canary_order_ms"] >= 0
    assert "canary_order_ms" not in lines[1]
    assert lines[1]["step"] == "order"
    handler._aws.cache_clear()
