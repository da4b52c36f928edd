"""Random requests, right and wrong ones, and all that the gateway makes of them before it asks anyone."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import msgspec

from config.markets import CATALOGUE
from runtime.gateway import orders
from runtime.gateway.dispatch import Operation
from runtime.gateway.endpoints import METHODS, OPERATIONS
from runtime.gateway.errors import ApiError
from runtime.gateway.limit_models import LimitSettings
from runtime.gateway.limits import Limiter
from runtime.gateway.listings import Listing, Listings
from runtime.gateway.params import SCHEMAS, Parameter, Values, not_built
from runtime.shared.messages import encode

LISTINGS = Listings(CATALOGUE)
COMMANDS: dict[str, Callable[[Values, int], Any]] = {
    "order.place": orders.new_order,
    "order.cancel": orders.cancel_order,
    "order.cancelReplace": orders.replace_order,
    "order.amend.keepPriority": orders.amend_order,
    "orderList.place.oco": orders.place_oco,
    "orderList.place.oto": orders.place_oto,
    "orderList.place.otoco": orders.place_otoco,
    "orderList.cancel": orders.cancel_list,
    "openOrders.cancelAll": orders.cancel_all,
}
_RIGHT = {
    "symbol": ("BTCUSDT", "ETHUSDT"),
    "price": ("60000", "60000.00", "59999.5"),
    "quantity": ("0.01", "0.5", "1"),
    "clientorderid": ("mine-1", "yours.2"),
}
_USUAL = ("price", "quantity", "timeInForce", "Id")
"""How parameters end that most orders have."""
_WRONG = ("", "x", "0", "-1", "1e3", "007", "1.", ".5", "9" * 19, "9" * 20, "9" * 21, "0.000000001", "true", "é", "A\n")


def _text(draw: Random, parameter: Parameter) -> str:
    name, schema = parameter.name.lower(), SCHEMAS.get(parameter.reader, {})
    numbers = ("17", "100") if schema.get("type") == "integer" else ("0.01", "0.5")
    right = schema.get("enum") or next((texts for end, texts in _RIGHT.items() if name.endswith(end)), numbers)
    return draw.choice(_WRONG if draw.random() < 0.03 else right)


def _share(parameter: Parameter, usual: float) -> float:
    """Return with which probability a parameter is sent."""
    if parameter.reader is not_built:
        return 0.01
    return 0.98 if parameter.is_mandatory else usual if parameter.name.endswith(_USUAL) else 0.05


def _sent(draw: Random, operation: Operation) -> dict[str, str]:
    usual = draw.choice((0.05, 0.98))
    chosen = [each for each in operation.parameters.declared if draw.random() < _share(each, usual)]
    draw.shuffle(chosen)
    others = ["timestamp"] * (draw.random() < 0.5) + ["unknown"] * (draw.random() < 0.02)
    return {each.name: _text(draw, each) for each in chosen} | dict.fromkeys(others, "1")


def _shown(value: object) -> str:
    if isinstance(value, Listing):
        return value.symbol
    if isinstance(value, list):
        return str([_shown(each) for each in value])
    return repr(value)


def answers(seed: int, count: int) -> Iterator[str]:
    """Yield what comes of `count` requests: the command, or what was read, or the error; and the limits then."""
    draw = Random(seed)
    now_s = [1_700_000_000.0]
    limiter = Limiter(LimitSettings(weight_per_minute=900), CATALOGUE, clock_s=lambda: now_s[0])
    operations = [*OPERATIONS, *(METHODS[name] for name in COMMANDS for _ in range(20))]
    for _ in range(count):
        now_s[0] += draw.random()
        operation = draw.choice(operations)
        address, account = draw.choice(("198.51.100.7", "::1", "no address")), draw.randrange(4)
        try:
            yield str(limiter.charge(address, draw.randrange(40)))
            values = operation.parameters.read(_sent(draw, operation), LISTINGS)
            yield str({name: _shown(value) for name, value in values.items()})
            if command := COMMANDS.get(operation.ws or ""):
                made = encode(command(values, account))
                yield made.replace(orders._OURS.encode(), b"").hex()
                yield str(limiter.count_order(account, draw.choice(("standard", "gone"))))
            yield str(limiter.refund(address, 5, limiter.weights.number))
            yield str(limiter.forget_order(account))
        except ApiError as error:
            yield f"{msgspec.json.encode(error.view())!r} {error.status} {error.retry_at_us}"
    for rate in (limiter.weight_rate, *limiter.order_rates()):
        yield repr(rate.with_count(1))
    for listing in LISTINGS.by_id.values():
        numbers = [0, 1, -1, *(draw.randrange(10**12) for _ in range(20))]
        yield str([(listing.price_text(n), listing.quantity_text(n), listing.quote_text(n)) for n in numbers])
