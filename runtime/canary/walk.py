"""What the canary does each minute: places an order that cannot trade, sees it rest, cancels it, sees it gone.

It goes the way of every customer: by the public name, signed, over REST.
"""

import base64
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import urlencode

import msgspec

from runtime.shared.money import format_decimal, parse_decimal

TIMEOUT_S: Final = 5.0
PREFIX: Final = "canary-"
"""How the client order ids of its orders begin."""
BELOW_PERCENT: Final = 3
"""How far under the best bid it buys: out of reach, and within the price bands of every market."""
FAILED: Final = "canary_failed"
ORDER_MS: Final = "canary_order_ms"
"""Names in the log lines, 1 or 0 and milliseconds."""
_SCALE: Final = 8
_BODY_BYTES_MAX: Final = 1024 * 1024


class WalkError(RuntimeError):
    """A step failed, as a customer's would have."""

    def __init__(self, step: str, what: str) -> None:
        """Keep the `step` and what was wrong with it."""
        super().__init__(f"{step}: {what}")
        self.step = step


class Client:
    """Asks the exchange over REST."""

    def __init__(self, url: str, api_key: str, sign: Callable[[bytes], bytes]) -> None:
        """Ask at `url`, such as https://api.bursa.example, by `api_key`, whose private half `sign` uses."""
        self._url = url
        self._api_key = api_key
        self._sign = sign

    def ask(self, method: str, path: str, parameters: Mapping[str, str], *, signed: bool = True) -> Any:  # noqa: ANN401 - whatever JSON the route answers
        """Return the answer. Raises OSError without one, and with one that is an error, saying what."""
        query = urlencode(parameters)
        if signed:
            query = urlencode({**parameters, "timestamp": time.time_ns() // 1_000_000})
            query += "&" + urlencode({"signature": base64.b64encode(self._sign(query.encode()))})
        headers = {"X-MBX-APIKEY": self._api_key} if signed else {}
        # The exchange's own address, which the template gives.
        request = urllib.request.Request(f"{self._url}{path}?{query}", method=method, headers=headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                return msgspec.json.decode(answer.read(_BODY_BYTES_MAX))
        except HTTPError as error:
            text = error.read(300).decode(errors="replace")
            raise OSError(f"HTTP {error.code} {text}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """How long the steps of a walk took, in milliseconds."""

    order_ms: int
    """From sending the order to its acknowledgement, which is durable."""
    cancel_ms: int


def walk(client: Client, symbol: str, name: str, clock: Callable[[], float] = time.monotonic) -> Steps:
    """Go through a whole order called `name`, on the market `symbol`, and leave nothing behind.

    Orders that an earlier walk could not cancel are canceled first. Raises WalkError naming the step.
    """
    asked = {"symbol": symbol}
    with _step("orders left behind"):
        for order in client.ask("GET", "/api/v3/openOrders", asked):
            if order["clientOrderId"].startswith(PREFIX):
                client.ask("DELETE", "/api/v3/order", asked | {"orderId": str(order["orderId"])})
    with _step("rules"):
        (market,) = client.ask("GET", "/api/v3/exchangeInfo", asked, signed=False)["symbols"]
    with _step("quotes"):
        best = client.ask("GET", "/api/v3/ticker/bookTicker", asked, signed=False)["bidPrice"]
        price, quantity = smallest_order(market, best)
    order = asked | {"origClientOrderId": PREFIX + name}
    with _step("order"):
        started = clock()
        client.ask(
            "POST",
            "/api/v3/order",
            asked
            | {
                "side": "BUY",
                "type": "LIMIT_MAKER",
                "price": price,
                "quantity": quantity,
                "newClientOrderId": PREFIX + name,
            },
        )
        order_ms = round((clock() - started) * 1000)
    with _step("order rests"):
        _expect(client.ask("GET", "/api/v3/order", order), "NEW")
    with _step("cancel"):
        started = clock()
        client.ask("DELETE", "/api/v3/order", order)
        cancel_ms = round((clock() - started) * 1000)
    with _step("order is gone"):
        _expect(client.ask("GET", "/api/v3/order", order), "CANCELED")
    return Steps(order_ms=order_ms, cancel_ms=cancel_ms)


def smallest_order(market: Mapping[str, Any], best_bid: str) -> tuple[str, str]:
    """Return price and quantity of the smallest order that `market`, as exchangeInfo tells it, takes below `best_bid`.

    Raises ValueError when nobody bids.
    """
    filters = {each["filterType"]: each for each in market["filters"]}
    tick = _units(filters["PRICE_FILTER"]["tickSize"])
    lot = _units(filters["LOT_SIZE"]["stepSize"])
    bid = _units(best_bid)
    if bid <= 0:
        raise ValueError(f"nobody bids for {market['symbol']}")
    price = bid * (100 - BELOW_PERCENT) // 100 // tick * tick
    least = _units(filters["NOTIONAL"]["minNotional"]) * 10**_SCALE
    lots = max(-(-_units(filters["LOT_SIZE"]["minQty"]) // lot), -(-least // (price * lot)))
    return format_decimal(price, _SCALE), format_decimal(lots * lot, _SCALE)


def _units(text: str) -> int:
    return parse_decimal(text, _SCALE)


def _expect(order: Mapping[str, Any], status: str) -> None:
    if order["status"] != status:
        raise ValueError(f"must be {status}, was {order['status']}")


@contextmanager
def _step(name: str) -> Iterator[None]:
    """Say in which step something went wrong: no answer, an error, or an answer that is not what was asked for."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise WalkError(name, f"{error or type(error).__name__}") from error
